"""File trees as data: what a directory or a tar stream holds, path by path.

Also a program: `trees.py DIRECTORY` prints a listing as JSON. So it can run under fakeroot, which
remembers the owners of what a plain user unpacked.
"""

import collections
import dataclasses
import fnmatch
import hashlib
import json
import os
import pathlib
import stat
import subprocess
import sys
import tarfile

CAPABILITY = "security.capability"
# https://github.com/opencontainers/image-spec/blob/v1.1.0/layer.md#whiteouts
WHITEOUT = ".wh."


@dataclasses.dataclass(frozen=True)
class Node:
    """What stands at a path. `links` are all names of a file that has several, `capability` is its
    attribute `security.capability` in hexadecimal digits."""

    type: str
    mode: int
    uid: int
    gid: int
    mtime: int
    content: str = ""
    target: str = ""
    links: tuple[str, ...] = ()
    capability: str = ""

    def differences(self, other, aspects):
        """The aspects in which the two are not equal."""
        if self.type != other.type:
            return ["type"]
        return [name for name in aspects if getattr(self, name) != getattr(other, name)]


def of_directory(root):
    """The tree below a directory: path → Node. The directory itself is the empty path."""
    nodes, files = {}, {}
    pending = [""]
    while pending:
        path = pending.pop()
        full = os.path.join(root, path)
        status = os.lstat(full)
        if stat.S_ISDIR(status.st_mode):
            pending += [os.path.join(path, name) for name in os.listdir(full)]
        if stat.S_ISREG(status.st_mode) and status.st_nlink > 1:
            files[path] = status.st_dev, status.st_ino
        nodes[path] = _node_of_file(full, status)
    return _with_links(nodes, files)


def _node_of_file(path, status):
    content, target, capability = "", "", ""
    if stat.S_ISREG(status.st_mode):
        with open(path, "rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
            if CAPABILITY in os.listxattr(file.fileno()):
                capability = os.getxattr(file.fileno(), CAPABILITY).hex()
        type = "file"
    elif stat.S_ISLNK(status.st_mode):
        type, target = "symlink", os.readlink(path)
    else:
        type = "directory" if stat.S_ISDIR(status.st_mode) else "special"
    mode = stat.S_IMODE(status.st_mode)
    mtime = int(status.st_mtime)
    ids = status.st_uid, status.st_gid
    return Node(type, mode, *ids, mtime, content, target, capability=capability)


def of_tar(stream):
    """The tree of an uncompressed tar stream."""
    return _with_links(*_entries_of_tar(stream))


def of_layers(blobs):
    """The tree of compressed layers, bottom first, as the OCI image specification stacks them."""
    nodes, files = {}, {}
    for blob in blobs:
        with subprocess.Popen([_packer(blob), "-dc", blob], stdout=subprocess.PIPE) as plain:
            upper, names = _entries_of_tar(plain.stdout)
            plain.stdout.read()  # padding that tarfile does not ask for
        assert plain.returncode == 0, blob
        for path in [path for path in upper if path.rpartition("/")[2].startswith(WHITEOUT)]:
            del upper[path]
            directory, slash, name = path.rpartition("/")
            assert not name.startswith(WHITEOUT * 2), f"{path}: only single paths are removed"
            _remove(nodes, files, directory + slash + name.removeprefix(WHITEOUT))
        for path, node in upper.items():
            if path in nodes and not node.type == nodes[path].type == "directory":
                _remove(nodes, files, path)
        nodes.update(upper)
        files.update({path: (blob, name) for path, name in names.items()})
    return _with_links(nodes, files)


def _packer(blob):
    """The program that packed a layer, by its first byte."""
    with open(blob, "rb") as file:
        return "gzip" if file.read(1) == b"\x1f" else "zstd"


def contents_in_layers(blobs, pattern):
    """The contents of all regular files whose paths match, in compressed layers, bottom first."""
    found = {}
    for blob in blobs:
        with subprocess.Popen(["gzip", "-dc", blob], stdout=subprocess.PIPE) as plain:
            with tarfile.open(fileobj=plain.stdout, mode="r|") as tar:
                for member in tar:
                    path = _normal(member.name)
                    if member.isreg() and fnmatch.fnmatchcase(path, pattern):
                        found[path] = tar.extractfile(member).read()
            plain.stdout.read()
    return found


def content_in_layers(blobs, path):
    """The content of a regular file in compressed layers, bottom first."""
    return contents_in_layers(blobs, path)[path]


def _remove(nodes, files, path):
    """Takes a path and all below it out of a tree."""
    for it in [it for it in nodes if it == path or it.startswith(f"{path}/")]:
        del nodes[it]
        files.pop(it, None)


def _entries_of_tar(stream):
    """What a tar stream holds: path → Node, and for files with several names path → the first."""
    nodes, files = {}, {}
    types = {tarfile.DIRTYPE: "directory", tarfile.SYMTYPE: "symlink", tarfile.REGTYPE: "file"}
    with tarfile.open(fileobj=stream, mode="r|", errors="surrogateescape") as tar:
        for member in tar:
            path = _normal(member.name)
            if member.islnk():
                first = _normal(member.linkname)
                files[first] = files[path] = first
                nodes[path] = nodes[first]
                continue
            content = ""
            if member.isreg():
                content = hashlib.file_digest(tar.extractfile(member), "sha256").hexdigest()
            nodes[path] = Node(
                types.get(member.type, "special"),
                member.mode & 0o7777,  # Docker adds the type
                member.uid,
                member.gid,
                int(member.mtime),
                content,
                member.linkname if member.issym() else "",
                capability=member.pax_headers.get(f"SCHILY.xattr.{CAPABILITY}", "")
                .encode(errors="surrogateescape")
                .hex(),
            )
    return nodes, files


def _normal(name):
    """The path that a tar archive means: relative, and empty for the root."""
    path = name.removeprefix("./").strip("/")
    return "" if path == "." else path


def _with_links(nodes, files):
    """Enters all names of a file, given as path → what tells the file from others, into each."""
    groups = collections.defaultdict(list)
    for path, file in files.items():
        groups[file].append(path)
    for group in groups.values():
        # Names outside the tree do not count.
        if len(group) > 1:
            links = tuple(sorted(group))
            nodes.update((path, dataclasses.replace(nodes[path], links=links)) for path in group)
    return nodes


def below(nodes, directory):
    """The part of a tree below a directory, with paths from there."""
    prefix = directory.strip("/") + "/"
    return {
        path.removeprefix(prefix): dataclasses.replace(
            node, links=tuple(link.removeprefix(prefix) for link in node.links)
        )
        for path, node in nodes.items()
        if path.startswith(prefix)
    }


class Unpacked:
    """A directory into which archives are unpacked with owners, by root or under fakeroot."""

    def __init__(self, path):
        self.path = pathlib.Path(path)
        self.path.mkdir(parents=True)
        self.path.chmod(0o755)
        database = self.path.with_name(self.path.name + ".owners")
        database.touch()
        self.as_root = [] if os.geteuid() == 0 else ["fakeroot", "-i", database, "-s", database]

    def run(self, *command, **options):
        return subprocess.run(
            list(map(str, [*self.as_root, *command])), check=True, capture_output=True, **options
        )

    def unpack(self, *layers):
        """Unpacks compressed layers one upon the other with GNU tar. In sorted archives `a-b` stands
        between `a` and `a/c`; tar would think `a` complete and lose its time when `a/c` comes."""
        script = (
            'root=$1; shift; for layer; do tar -xpf "$layer" --numeric-owner '
            '--delay-directory-restore -C "$root"; done'
        )
        self.run("sh", "-euc", script, "sh", self.path, *layers)

    def unpack_debs(self, archives):
        """Unpacks the files of Debian packages as `dpkg-deb -x` does, but that links to
        directories are followed, as dpkg itself does when it installs."""
        script = (
            'root=$1; shift; for deb; do dpkg-deb --fsys-tarfile "$deb" | '
            'tar -xpf - --numeric-owner --keep-directory-symlink -C "$root"; done'
        )
        self.run("bash", "-euo", "pipefail", "-c", script, "sh", self.path, *archives)

    def listing(self):
        done = self.run(sys.executable, __file__, self.path)
        return {
            path: Node(**{**fields, "links": tuple(fields["links"])})
            for path, fields in json.loads(done.stdout).items()
        }


if __name__ == "__main__":
    tree = of_directory(sys.argv[1])
    json.dump({path: dataclasses.asdict(node) for path, node in tree.items()}, sys.stdout)
