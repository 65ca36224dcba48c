"""Layers and images in every form are what other people's tools take them for.

One small image holds what is hard to write down: long and foreign names, hard links, capabilities,
removed paths, set-user-id programs, large files. It is made in every form and given to the tools;
what they unpack is compared with the entries of the layers. With KILN_E2E_FULL the reference image goes
the same way.
"""

import fnmatch
import functools
import hashlib
import json
import os
import pathlib
import subprocess
import tarfile
import unittest

import equality
import harness
import newer_docker
import registry
import small
import trees

FULL = "KILN_E2E_FULL" in os.environ
GO_PACKAGES = pathlib.Path("/usr/share/gocode")
SCHEMAS = GO_PACKAGES / "src/github.com/opencontainers/image-spec/schema"
FORMS = {
    "gzip": [],
    "zstd": ["--compression", "zstd"],
    "estargz": ["--lazy", "estargz"],
}
# Nobody's tools but skopeo and podman (and newer Dockers) read zstd layers yet.
GZIP_FORMS = ["gzip", "estargz"]
# What is there for lazy readers alone.
LAZY = {"stargz.index.json", ".no.prefetch.landmark"}
ASPECTS = ["mode", "uid", "gid", "mtime", "content", "target", "links", "capability"]

ODD = """
import os, random, shutil

os.makedirs("/srv/odd")
os.chdir("/srv/odd")

def file(name, content=b"", mode=0o644, uid=0, gid=0):
    with open(name, "wb") as out:
        out.write(content)
    os.chown(name, uid, gid)
    os.chmod(name, mode)

file("empty")
file("setuid", b"#!/bin/sh\\n", 0o4755)
file("setgid", b"#!/bin/sh\\n", 0o2755, 0, 42)
file("closed", b"secret", 0o000, 1001, 1001)
file("numbers", b"7", 0o644, 60000, 60001)
file("größe-尺寸-\\N{SNAKE}", b"names")
file("tab\\tand\\nnewline \\"quoted\\" \\\\", b"names")
file("n" * 255, b"names")
deep = "/".join(["directory-%02d" % number for number in range(30)])
os.makedirs(deep)
file(deep + "/" + "d" * 120, b"names")
os.symlink("t" * 1000, "long-target")
os.symlink("größe-尺寸", "foreign-target")
os.symlink("/nowhere", "dangling")
file("first", b"of three")
for name in ["second", deep + "/third"]:
    os.link("first", name)
file("able", b"to listen", 0o755)
os.setxattr("able", "security.capability",
    bytes.fromhex("01000002" "00040000" "00000000" "00000000" "00000000"))
os.link("able", "able-too")
os.mkdir("shared"); os.chmod("shared", 0o3775); os.chown("shared", 1001, 0)
# 9 MB that hardly compress, and 9 MB that do.
file("noise", random.Random(1).randbytes(9_000_000))
file("zeros", bytes(9_000_001))
file("block", bytes(512))
os.remove("/etc/issue.net")
shutil.rmtree("/usr/share/doc/python3")
shutil.move("/usr/share/doc/openssh-client", "/usr/share/doc/moved")
os.remove("/etc/ssh/ssh_config")
os.mkdir("/etc/ssh/ssh_config")
"""


def sh(*command, **options):
    done = subprocess.run(list(map(str, command)), capture_output=True, **options)
    if done.returncode != 0:
        raise AssertionError(f"{command} ended with {done.returncode}: {done.stderr.decode()}")
    return done


class Made:
    """An image in one form, exported as an image layout."""

    def __init__(self, kiln, image, form):
        kiln.build(image, *FORMS[form])
        self.form = form
        self.name = kiln.json("inspect", image)[0]["image"]
        self.place = harness.scratch(f"form-{form}")
        self.layout = self.place / "layout"
        self.archive = self.place / "image.tar"
        self.docker = self.place / "docker.tar"
        kiln.run("export", "--format", "oci-dir", image, self.layout)
        kiln.run("export", image, self.archive)
        kiln.run("export", "--format", "docker-archive", image, self.docker)
        self.manifest = kiln.manifest(image)
        self.config = kiln.config(image)
        self.index = json.loads((self.layout / "index.json").read_text())
        [descriptor] = self.index["manifests"]
        self.digest = descriptor["digest"]

    def blob(self, digest):
        return self.layout / "blobs/sha256" / digest.removeprefix("sha256:")

    @property
    def blobs(self):
        return [self.blob(layer["digest"]) for layer in self.manifest["layers"]]

    @functools.cached_property
    def tree(self):
        """What the layers are together."""
        return trees.of_layers(self.blobs)


@functools.cache
def odd(name):
    """kiln with a family whose image is the small one. In one store a name means one form at a time, so
    each process has a name of its own."""
    bundle = small.script("/usr/bin/python3", "odd.py")
    place = harness.scratch(name) / "family"
    family = small.write_family(place, {name: bundle}, scripts={"odd.py": ODD})
    kiln = harness.Kiln(harness.built().store, family)
    kiln.run("lock")
    return kiln


@functools.cache
def made(form, name="odd"):
    """The small image."""
    return Made(odd(name), name, form)


@functools.cache
def reference(form):
    """The reference image."""
    if form == "gzip":
        return Made(harness.built(), harness.IMAGE, form)
    return Made(harness.with_downloads(form), harness.IMAGE, form)


def images(forms):
    """The images in these forms."""
    found = [(form, made(form)) for form in forms]
    if FULL:
        found += [(f"reference, {form}", reference(form)) for form in forms]
    return found


# What engines put into every container, and the directories that get it.
ENGINES_OWN = [
    *(
        f"only {engine}: {path}"
        for engine in ["docker", "podman"]
        for path in [".dockerenv", "dev*", "etc/host*", "etc/mtab", "etc/resolv.conf", "proc*", "run*", "sys*"]
    ),
    *(f"mtime: {directory}" for directory in ["dev", "etc", "proc", "run", "sys"]),
]


def podman(test):
    """podman with a storage of its own."""
    place = harness.scratch("podman")
    test.addCleanup(subprocess.run, ["rm", "-rf", place], check=True)
    return ["podman", "--root", place / "root", "--runroot", place / "run"]


@functools.cache
def lazy_reader():
    """A program that reads lazy layers with the library of containerd's stargz snapshotter."""
    place = harness.scratch("go")
    reader = place / "estargz"
    go = {"GO111MODULE": "off", "GOPATH": str(GO_PACKAGES), "GOCACHE": str(place / "cache")}
    source = harness.ROOT / "tests/e2e/estargz/main.go"
    sh("go", "build", "-o", reader, source, env={**os.environ, **go})
    return reader


class Formats(unittest.TestCase):
    """One class, that is, one process: the images are made once."""

    maxDiff = None

    def test_the_image_holds_what_is_hard(self):
        tree = made("gzip").tree
        odd = trees.below(tree, "srv/odd")
        self.assertEqual(odd["setuid"].mode, 0o4755)
        self.assertEqual(odd["able"].capability[:16], "0100000200040000")
        self.assertEqual(len(odd["first"].links), 3)
        self.assertEqual((odd["numbers"].uid, odd["numbers"].gid), (60000, 60001))
        self.assertIn("größe-尺寸-\N{SNAKE}", odd)
        self.assertNotIn("etc/issue.net", tree)
        self.assertEqual(tree["etc/ssh/ssh_config"].type, "directory")

    def test_zstd_layers_have_the_diff_ids_of_gzip_layers(self):
        gzip, zstd = made("gzip"), made("zstd")
        self.assertEqual(gzip.config["rootfs"], zstd.config["rootfs"])
        self.assertNotEqual(gzip.manifest["layers"], zstd.manifest["layers"])

    def test_lazy_layers_hold_the_same_and_what_readers_need(self):
        lazy = {path: node for path, node in made("estargz").tree.items() if path not in LAZY}
        pair = made("gzip").tree, lazy
        self.assertEqual(list(equality.compare(*pair, ["gzip", "estargz"], ASPECTS)), [])
        self.assertLessEqual(LAZY, made("estargz").tree.keys())
        ordinary, lazy = made("gzip").config["rootfs"], made("estargz").config["rootfs"]
        self.assertFalse(set(ordinary["diff_ids"]) & set(lazy["diff_ids"]))

    def test_lazy_layers_are_gzip(self):
        kiln = harness.built()
        done = kiln.run(
            "build", harness.IMAGE, "--lazy", "estargz", "--compression", "zstd", check=False
        )
        self.assertEqual(done.returncode, 2)
        self.assertIn("gzip", done.stderr)

    def test_layers_pass_their_own_tools_and_have_their_diff_ids(self):
        for what, image in images(FORMS):
            tool = "zstd" if "zstd" in what else "gzip"
            layers = zip(image.blobs, image.config["rootfs"]["diff_ids"], strict=True)
            for blob, diff_id in layers:
                with self.subTest(what, layer=blob.name):
                    with open(blob, "rb") as packed:
                        self.assertEqual(sh(tool, "--test", "--quiet", stdin=packed).stderr, b"")
                        packed.seek(0)
                        plain = sh(tool, "-dc", stdin=packed).stdout
                    self.assertEqual(f"sha256:{hashlib.sha256(plain).hexdigest()}", diff_id)

    def test_gnu_tar_unpacks_what_the_layers_say(self):
        for what, image in images(GZIP_FORMS):
            for blob in image.blobs:
                with self.subTest(what, layer=blob.name):
                    place = harness.scratch("tar") / "root"
                    place.mkdir()
                    done = sh(
                        "tar", "--extract", "--file", blob, "--directory", place, "--numeric-owner",
                        "--preserve-permissions", "--xattrs", "--xattrs-include=security.capability",
                        "--delay-directory-restore",
                    )  # fmt: skip
                    self.assertEqual(done.stderr, b"")
                    with subprocess.Popen(["gzip", "-dc", blob], stdout=subprocess.PIPE) as plain:
                        layer = trees.of_tar(plain.stdout)
                        plain.stdout.read()
                    found = trees.of_directory(place)
                    found.pop("")
                    self.assertEqual(list(equality.compare(layer, found, ["layer", "tar"], ASPECTS)), [])
                    sh("rm", "-rf", place.parent)

    def test_documents_follow_the_schemas_of_the_image_specification(self):
        for what, image in images(FORMS):
            manifest = image.blob(image.digest)
            for document, schema in [
                (image.layout / "oci-layout", "image-layout-schema"),
                (image.layout / "index.json", "image-index-schema"),
                (manifest, "image-manifest-schema"),
                (image.blob(image.manifest["config"]["digest"]), "config-schema"),
            ]:
                with self.subTest(what, schema=schema):
                    sh(
                        "/usr/bin/python3", "-W", "ignore", "-m", "jsonschema",
                        "--base-uri", f"{SCHEMAS.as_uri()}/",
                        "--instance", document, SCHEMAS / f"{schema}.json",
                    )  # fmt: skip

    def test_the_validator_of_the_open_container_initiative_finds_no_fault(self):
        for what, image in images(GZIP_FORMS):
            with self.subTest(what):
                # It cannot read archives of any maker.
                reference = ["--type", "image", "--ref", f"name={image.name}"]
                sh("oci-image-tool", "validate", *reference, image.layout)

    def test_skopeo_copies_and_inspects_every_form(self):
        for what, image in images(FORMS):
            for place in [
                f"oci:{image.layout}:{image.name}",
                f"oci-archive:{image.archive}:{image.name}",
                f"docker-archive:{image.docker}",
            ]:
                with self.subTest(what, place=place.partition(":")[0]):
                    config = json.loads(sh("skopeo", "inspect", "--config", "--raw", place).stdout)
                    self.assertEqual(config, image.config)
                    copy = harness.scratch("copy")
                    sh("skopeo", "copy", "--quiet", place, f"dir:{copy}")
                    if place.startswith("oci"):
                        self.assertEqual(json.loads((copy / "manifest.json").read_text()), image.manifest)
                    sh("rm", "-rf", copy)

    def test_a_registry_takes_every_form(self):
        place = registry.Registry(self).address
        for what, image in images(FORMS):
            with self.subTest(what):
                target = f"docker://{place}/team/images:{image.name}-{image.form}"
                source = f"oci:{image.layout}:{image.name}"
                # Without it skopeo may put the gzip layer of a form that it has pushed before in the place
                # of a zstd layer with the same diff ID.
                sh("skopeo", "copy", "--quiet", "--preserve-digests", "--dest-tls-verify=false", source, target)
                manifest = sh("skopeo", "inspect", "--tls-verify=false", "--raw", target).stdout
                self.assertEqual(f"sha256:{hashlib.sha256(manifest).hexdigest()}", image.digest)

    def same(self, image, found, by, allowed=()):
        found.pop("", None)
        differences = equality.compare(image.tree, found, ["layers", by], ASPECTS)
        unexpected = [
            it for it in differences if not any(fnmatch.fnmatchcase(it, own) for own in allowed)
        ]
        self.assertEqual(unexpected[:20], [])

    def test_by_umoci(self):
        for what, image in images(GZIP_FORMS):
            with self.subTest(what):
                bundle = image.place / "bundle"
                sh("umoci", "unpack", "--image", f"{image.layout}:{image.name}", bundle)
                self.same(image, trees.of_directory(bundle / "rootfs"), "umoci")
                sh("rm", "-rf", bundle)

    def test_by_docker(self):
        for what, image in images(FORMS):
            with self.subTest(what):
                self.loaded(image, ["docker"], image.docker)

    def test_by_podman(self):
        for what, image in images(FORMS):
            for archive in [image.archive, image.docker]:
                with self.subTest(what, archive=archive.name):
                    self.loaded(image, podman(self), archive)

    def test_by_buildah(self):
        storage = podman(self)[1:]
        for what, image in images(FORMS):
            with self.subTest(what):
                source = f"oci-archive:{image.archive}:{image.name}"
                container = sh("buildah", *storage, "from", "--quiet", source).stdout.decode().strip()
                root = sh("buildah", *storage, "mount", container).stdout.decode().strip()
                self.same(image, trees.of_directory(root), "buildah")
                sh("buildah", *storage, "rm", container)

    def loaded(self, image, command, archive):
        """An engine loads an archive and gives the tree of a container back."""
        text = sh(*command, "load", "--input", archive).stdout.decode()
        loaded = text.strip().split()[-1]
        self.addCleanup(subprocess.run, [*map(str, command), "rmi", loaded], capture_output=True)
        container = sh(*command, "create", loaded, "/bin/true").stdout.decode().strip()
        with subprocess.Popen(
            [*map(str, command), "export", container], stdout=subprocess.PIPE
        ) as export:
            tree = trees.of_tar(export.stdout)
            export.stdout.read()
        sh(*command, "rm", container)
        self.same(image, tree, command[0], ENGINES_OWN)


    @unittest.skipUnless(FULL, "another Debian must be packed for it")
    def test_by_docker_with_the_containerd_image_store(self):
        docker = newer_docker.NewerDocker(self)
        self.assertIn("io.containerd.snapshotter.v1", docker.answers())
        for what, image in images(FORMS):
            for archive in [image.archive, image.docker]:
                with self.subTest(what, archive=archive.name):
                    self.loaded(image, docker.command, archive)

    def test_a_foreign_reader_verifies_every_chunk_and_shows_what_the_layers_say(self):
        for what, image in images(["estargz"]):
            arguments = []
            for layer, blob in zip(image.manifest["layers"], image.blobs, strict=True):
                arguments += [blob, layer["annotations"]["containerd.io/snapshot/stargz/toc.digest"]]
            found = {str(blob): {} for blob in image.blobs}
            for line in sh(lazy_reader(), *arguments).stdout.splitlines():
                entry = json.loads(line)
                found[entry["layer"]][entry["name"]] = entry
            for blob in image.blobs:
                with self.subTest(what, layer=blob.name):
                    self.same_as_tar(blob, found[str(blob)])
            chunks = [it["chunks"] for layer in found.values() for it in layer.values()]
            self.assertGreaterEqual(max(chunks), 3, "a large file is read in parts")

    def same_as_tar(self, blob, found):
        """Hard links are their files, as in a mounted layer."""
        members, contents = {}, {}
        with tarfile.open(blob, "r:gz") as layer:
            for member in layer:
                members[member.name] = member
                if member.isreg():
                    digest = hashlib.file_digest(layer.extractfile(member), "sha256")
                    contents[member.name] = f"sha256:{digest.hexdigest()}"
        self.assertEqual(list(members)[-1], "stargz.index.json")
        del members["stargz.index.json"]
        self.assertEqual(found.keys(), members.keys())
        types = {tarfile.DIRTYPE: "dir", tarfile.REGTYPE: "reg", tarfile.SYMTYPE: "symlink"}
        for name, member in members.items():
            entry = found[name]
            if member.islnk():
                member = members[member.linkname]
            capability = "SCHILY.xattr.security.capability" in member.pax_headers
            self.assertEqual(
                [
                    entry["type"], entry["mode"], entry["uid"], entry["gid"], entry["time"],
                    entry["size"], entry["link"], entry["sha256"], bool(entry["xattrs"]),
                ],
                [
                    types[member.type], member.mode, member.uid, member.gid, int(member.mtime),
                    member.size, member.linkname, contents.get(member.name, ""), capability,
                ],
                name,
            )  # fmt: skip

    def test_a_changed_layer_is_not_believed(self):
        image = made("estargz")
        layer, blob = image.manifest["layers"][0], image.blobs[0]
        toc = layer["annotations"]["containerd.io/snapshot/stargz/toc.digest"]
        other = toc[:-1] + ("0" if toc[-1] != "0" else "1")
        done = subprocess.run([lazy_reader(), blob, other], capture_output=True)
        self.assertNotEqual(done.returncode, 0)

    def test_a_kiln_container_does_not_show_what_is_for_lazy_readers(self):
        odd("odd").build("odd", *FORMS["estargz"])
        listing = odd("odd").run("run", "odd", "--", "/bin/ls", "-A", "/").stdout.split()
        self.assertIn("etc", listing)
        self.assertFalse(LAZY & set(listing))


if __name__ == "__main__":
    unittest.main()
