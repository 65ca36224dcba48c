#!/usr/bin/env python3
"""Writes the first inputs of the fuzzers into corpus/: small, valid, one of each form.

    fuzz/seeds.py

Files with other names, which fuzzers found, stay as they are. Only real tools make what has a
format of its own: zipfile, tarfile, gzip, dpkg-deb, Python's compiler. The signed release and its
key are in checks/signed/.
"""

import gzip
import hashlib
import io
import json
import pathlib
import py_compile
import subprocess
import tarfile
import tempfile
import zipfile
import zlib

HERE = pathlib.Path(__file__).resolve().parent
FAMILY = HERE.parent / "family"
SHA = hashlib.sha256(b"").hexdigest()
DIGEST = f"sha256:{SHA}"


def seed(target, name, content):
    """Writes one input."""
    place = HERE / "corpus" / target
    place.mkdir(parents=True, exist_ok=True)
    data = content if isinstance(content, bytes) else content.encode()
    (place / f"seed-{name}").write_bytes(data)


def sections(files):
    """Several files in one input, as checks/src/sections.rs reads them."""
    parts = [(name, text if isinstance(text, bytes) else text.encode()) for name, text in files]
    return b"\n".join(b"=== " + name.encode() + b"\n" + content for name, content in parts)


WHEEL = "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
METADATA = """Metadata-Version: 2.1
Name: demo
Version: 1.0
Requires-Python: >=3.9
Provides-Extra: all
Requires-Dist: numpy (>=1.20,<3) ; python_version >= "3.9"
Requires-Dist: six[extra]~=1.16 ; extra == 'all' and sys_platform == "linux"

A text.
"""
ENTRY_POINTS = "[console_scripts]\ndemo = demo.cli:main [all]\n\n[gui_scripts]\nwin = demo:w\n"
PYPROJECT = """[build-system]
requires = ["setuptools>=61", "wheel"]
build-backend = "setuptools.build_meta:__legacy__"
backend-path = ["."]
"""


def members():
    """The members of a wheel with everything that installers treat on their own."""
    return [
        ("demo/__init__.py", "x = 1\n"),
        ("demo/tool!", "#!/bin/sh\n"),
        ("demo-1.0.data/scripts/run!", "#!python\nprint(1)\n"),
        ("demo-1.0.data/headers/demo.h", "int x;\n"),
        ("demo-1.0.data/data/share/demo/a.txt", "a"),
        ("demo-1.0.data/purelib/b.py", ""),
        ("demo-1.0.dist-info/METADATA", METADATA),
        ("demo-1.0.dist-info/WHEEL", WHEEL),
        ("demo-1.0.dist-info/entry_points.txt", ENTRY_POINTS),
        ("demo-1.0.dist-info/RECORD", '"demo-1.0.dist-info/RECORD",,\n'),
    ]


def zips():
    """Wheels, source distributions and archives of modules as zip files."""
    plain = [(name.rstrip("!"), text) for name, text in members()]
    record = "".join(f"{name},,\n" for name, _ in plain)
    for name, method in [("stored", zipfile.ZIP_STORED), ("deflated", zipfile.ZIP_DEFLATED)]:
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", method) as archive:
            for path, text in plain:
                info = zipfile.ZipInfo(path)
                info.external_attr = 0o100644 << 16
                archive.writestr(info, record if path.endswith("RECORD") else text, method)
        seed("zip", f"wheel-{name}", out.getvalue())
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("demo-1.0/", "")
        archive.writestr("demo-1.0/pyproject.toml", PYPROJECT)
        archive.writestr("demo-1.0/a.py", "x = 1\n" * 20)
    seed("sdist", "zip", b"\1" + out.getvalue())
    seed("zip", "sdist", out.getvalue())
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("lib/__pycache__/a.cpython-312.pyc", bytes(100))
    seed("zip", "modules", out.getvalue())
    seed("wheel", "whole", sections(members()))
    named = [("!name", "Demo_X-1.0+l.1-1-cp312-cp312-manylinux_2_17_x86_64.whl")]
    parts = [(name.replace("demo-1.0", "demo_x-1.0+l.1"), text) for name, text in members()]
    text = METADATA.replace("demo", "Demo.X").replace("1.0", "1.0+l.1")
    parts = [(name, text if name.endswith("METADATA") else t) for name, t in parts]
    seed("wheel", "local", sections(named + parts))
    seed("sdist", "sections", b"\3" + sections([("demo-1.0/pyproject.toml", PYPROJECT)]))


def tar(form):
    """A tar archive of every kind of member that packages ship."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:

        def add(name, kind=tarfile.REGTYPE, content=b"", **more):
            info = tarfile.TarInfo(name)
            info.type, info.size, info.mtime = kind, len(content), 1_700_000_000
            info.mode = 0o755 if kind == tarfile.DIRTYPE else 0o644
            for key, value in more.items():
                setattr(info, key, value)
            archive.addfile(info, io.BytesIO(content))

        for place in ["demo-1.0", "demo-1.0/usr", "demo-1.0/usr/bin"]:
            add(place, tarfile.DIRTYPE)
        add("demo-1.0/usr/bin/tool", content=b"#!/bin/sh\n", mode=0o4755)
        add("demo-1.0/usr/bin/link", tarfile.SYMTYPE, linkname="tool")
        add("demo-1.0/usr/bin/hard", tarfile.LNKTYPE, linkname="demo-1.0/usr/bin/tool")
        add("demo-1.0/pyproject.toml", content=PYPROJECT.encode())
        add("demo-1.0/usr/.wh.gone")
        long = "demo-1.0/" + "long/" * 30 + "name"
        add(long, content=b"x")
        if form == tarfile.PAX_FORMAT:
            add(
                "demo-1.0/usr/bin/caps",
                content=b"x",
                pax_headers={
                    "mtime": "1700000000.5",
                    "uid": "3000000",
                    "SCHILY.xattr.user.a": "b\n",
                },
            )
    return out.getvalue().rstrip(b"\0") + bytes(1024)


def tars():
    """Layers, source distributions and the files of Debian packages."""
    for name, form in [
        ("ustar", tarfile.USTAR_FORMAT),
        ("gnu", tarfile.GNU_FORMAT),
        ("pax", tarfile.PAX_FORMAT),
    ]:
        stream = tar(form)
        seed("layer", name, b"\1" + stream)
        seed("layer", f"{name}-gzip", b"\0" + gzip.compress(stream, mtime=0))
        seed("sdist", name, b"\2" + stream)
        seed("deb_tar", name, stream.replace(b".wh.gone", b"a.gone"))
    zstd = subprocess.run(["zstd", "-q"], input=stream, stdout=subprocess.PIPE, check=True).stdout
    seed("layer", "zstd", b"\0" + zstd)
    seed("sdist", "gzip", b"\0" + gzip.compress(stream, mtime=0))


CONTROL = """Package: demo
Source: demo-src (1.0)
Version: 1:1.0~rc1-2+b1
Architecture: amd64
Multi-Arch: same
Essential: yes
Maintainer: Somebody <somebody@example.org>
Pre-Depends: libc6 (>= 2.36), dpkg (>= 1.19.3~)
Depends: python3:any (<< 3.12), a | b (= 1.0), ${misc}
Provides: demo-api (= 1)
Description: a demo
 of several lines
 .
 and a last one
"""


def debs():
    """Packages and control files of Debian."""
    files = [
        ("control/control", CONTROL.replace(", ${misc}", "")),
        ("control/conffiles", "/etc/demo.conf\nremove-on-upgrade /etc/old.conf\n"),
        ("control/triggers", "interest-noawait /usr/share/demo\nactivate-await ldconfig\n"),
        ("control/md5sums", "d41d8cd98f00b204e9800998ecf8427e  etc/demo.conf\n"),
        ("control/postinst", "#!/bin/sh\nset -e\n"),
        ("control/shlibs", "libdemo 1 demo\n"),
        ("etc/demo.conf", "a = 1\n"),
        ("bin/demo", "x"),
    ]
    seed("deb", "whole", sections(files))
    seed("control", "control", CONTROL)
    seed("control", "triggers", files[2][1] + "interest a-b\nactivate /x # y\n")
    seed("control", "relations", "a (>= 1.0~), b:any | c [amd64] <!nocheck>, d (<< 2:1-1)\n")
    seed("control", "versions", "1.0 1.0-0 0:1.0 1.00 1.0~ 1.0+b1 2:0 a.b 1. 1.0\n")
    with tempfile.TemporaryDirectory() as place:
        tree = pathlib.Path(place) / "demo"
        for name, text in files:
            path = tree / name.replace("control/", "DEBIAN/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            path.chmod(0o755 if name.endswith("postinst") else 0o644)
        for form in ["none", "gzip", "xz", "zstd"]:
            made = pathlib.Path(place) / f"{form}.deb"
            command = ["dpkg-deb", "--root-owner-group", "--uniform-compression", f"-Z{form}"]
            subprocess.run([*command, "-b", tree, made], check=True, stdout=subprocess.DEVNULL)
            seed("deb_archive", form, made.read_bytes())


def indexes():
    """What versions are chosen from."""
    stanza = CONTROL.replace(", ${misc}", "") + (
        f"Conflicts: other\nFilename: pool/d/demo.deb\nSize: 12\nSHA256: {SHA}\n"
    )
    seed("packages", "two", stanza + "\n" + stanza.replace("demo", "other").replace("amd64", "all"))
    seed("release", "signed", (HERE / "checks/signed/InRelease").read_bytes())
    seed("release", "plain", (HERE / "checks/signed/Release").read_bytes())
    signed = [(name, (HERE / f"checks/signed/{file}").read_bytes())
              for name, file in [("message", "InRelease"), ("keyring", "keyring.asc")]]
    seed("release", "sections", sections(signed))
    entry = f'url = "https://mirror.example.org/x/NAME", size = 7, hashes = {{ sha256 = "{SHA}" }}'
    wheel = "{ " + entry.replace("NAME", "demo-1.0%2Bl-py3-none-any.whl") + " }"
    native = "{ " + entry.replace("NAME", "b-2-cp312-cp312-manylinux_2_28_x86_64.whl") + " }"
    sdist = "{ " + entry.replace("NAME", "demo-1.0.tar.gz") + " }"
    seed("pylock", "two", f"""lock-version = "1.0"
created-by = "uv"
requires-python = ">=3.9"

[[packages]]
name = "demo"
version = "1.0+l"
marker = "sys_platform == 'linux' and python_full_version >= '3.9'"
index = "https://mirror.example.org/simple"
sdist = {sdist}
wheels = [{wheel}]

[[packages]]
name = "b"
version = "2"
wheels = [{native}]
""")
    seed("python_metadata", "metadata", METADATA)
    seed("python_metadata", "pyproject", PYPROJECT)
    seed("python_metadata", "names", """demo-1.0-py3-none-any.whl
a_b-1!2.0.post1.dev2+l.1-1x-cp312.cp311-abi3-manylinux_2_17_x86_64.manylinux2014_x86_64.whl
demo[a,b]>=1.0,!=1.1,<2; python_version < "3.13" and (os_name == 'posix' or extra == "x")
six===1.16
x @ https://mirror.example.org/x.whl
""")
    page = {
        "meta": {"api-version": "1.1"},
        "name": "demo",
        "files": [
            {"filename": "demo-1.0-py3-none-any.whl", "url": "../../f/demo-1.0-py3-none-any.whl",
             "hashes": {"sha256": SHA}, "size": 7, "requires-python": ">=3.9", "yanked": "bad",
             "core-metadata": {"sha256": SHA}},
            {"filename": "demo-1.0.tar.gz", "url": "https://u:p@files.example.org/demo-1.0.tar.gz",
             "hashes": {}, "yanked": False, "dist-info-metadata": True},
        ],
    }
    seed("project_page", "json", b"\0" + json.dumps(page).encode())
    html = (f"<!DOCTYPE html><html><head><base href='/simple/'></head><body><!-- <a href=x> -->"
            f'<A HREF="../f/a-1%2Bx-py3-none-any.whl#sha256={SHA}" data-yanked=""'
            f" data-requires-python='&gt;=3.9' data-dist-info-metadata=sha256={SHA}>a</A>"
            f"<a href=//files.example.org/a-2.tar.gz>a-2.tar.gz</a></body></html>")
    seed("project_page", "html", b"\1" + html.encode())


def host():
    """The host's own configuration."""
    seed("host", "apt", "deb [arch=amd64 signed-by=/k.gpg] http://mirror.example.org/d a main x\n"
         "deb-src http://mirror.example.org/d a main\n# no\ndeb mirror+file:/etc/m b main\n")
    seed("host", "deb822", "Types: deb\nURIs: http://u:p@mirror.example.org/d\nSuites: a b\n"
         "Components: main\nEnabled: yes\nSigned-By:\n -----BEGIN\n .\n\nTypes: deb-src\n")
    seed("host", "pip", "[global]\nindex-url = https://u:p@mirror.example.org/simple\n"
         "[install]\n--index_url:\n  http://[::1]:8080/%20x?q#f\n")
    seed("host", "uv", '[[index]]\nname = "a"\nurl = "https://mirror.example.org/s/"\n'
         'default = true\n[pip]\nindex-url = "file:///a"\n')
    seed("host", "netrc", 'machine mirror.example.org login a password "b \\" c"\n'
         "macdef x\necho\n\ndefault login d password e\nmachine https://m.example.org:8/d login f\n")
    seed("host", "help", "  -i, --index-url <url>  Base (default https://mirror.example.org/s)\n"
         "  --default-index <X>\n   [env: A=] (by default: <https://mirror.example.org/s>)\n  -x\n")


def documents():
    """Documents of users, of the store and of registries."""
    text = (FAMILY / "kiln.lock").read_text()
    blocks = text.split("\n\n")
    kinds = {}
    for block in blocks[1:]:
        kinds.setdefault(block.split("\n")[0], block)
    seed("lock", "blocks", blocks[0] + "\n\n" + "\n\n".join(kinds.values()) + "\n")
    seed("lock", "empty", 'version = 1\nfamily = "x"\nrelease = "1"\n')
    seed("lock", "request", 'version = 1\nfamily = "x"\nrelease = "1"\n\n[[request]]\n'
         'component = "bundle/a"\nrequirements = ["six"]\n\n[request.from_source.six]\n'
         f'env = {{ A = "b" }}\n\n[request.files]\n"/a b" = "{DIGEST}"\n')
    tar_gzip = "application/vnd.oci.image.layer.v1.tar+gzip"
    line = f"{DIGEST} {DIGEST} {DIGEST} 10 20 {tar_gzip}\n"
    seed("companion", "one", "# comment\nversion 1\n" + line)
    files = [(str(path.relative_to(FAMILY)) + ("!" if path.suffix == ".sh" else ""),
              path.read_bytes() if path.suffix != ".asc" else b"")
             for path in sorted(FAMILY.rglob("*")) if path.is_file() and path.name != "kiln.lock"]
    seed("family", "reference", sections(files))
    edited = ('# A bundle.\nextends = "minimal"\nrequirements = [ # sorted\n    # Its authors call it beta.\n    "alpha~=1.0.0", # first\n'
              '    \'psycopg[binary] ; sys_platform == "linux"\',\n]\npackages = ["libodbc2", "r-base (>= 4)"]\n\n[env]\nA = "[x]"\n')
    seed("edit", "several-lines", sections([
        ("file", edited), ("python", "numpy"), ("python", "psycopg[c]~=3.3.0"), ("os", "libgl1 (>> 1)"), ("-os", "libodbc2"),
        ("-python", "alpha")]))
    seed("edit", "one-line", sections([
        ("file", "requirements = ['b', \"a\"]\r\n[env]\r\nx = nan\r\n"), ("python", "A [x, y] ; extra == 'z'"), ("os", "x:any"),
        ("-python", "b"), ("-python", "a")]))
    seed("image_name", "reference", "{cuda}-{ide}-{bundle}-{os}-{python}_{release}_{date}\n"
         "jupyter-datascience-debian12-py311_2026.1_20261101\ncuda-runtime-minimal-os-py312_1_20260101\n"
         "jupyter\n*-py311*\n")
    seed("image_name", "other", "x.{ide}_{os}.{python}-{bundle}-{release}_{date}\nx.a_b.py39-c-1_20260101\n")
    descriptor = {"mediaType": tar_gzip, "digest": DIGEST, "size": 10,
                  "annotations": {"dev.kiln.layer.unpacked-size": "20"}}
    manifest = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "config": {"mediaType": "application/vnd.oci.image.config.v1+json",
                           "digest": DIGEST, "size": 2}, "layers": [descriptor]}
    config = {"architecture": "amd64", "os": "linux", "created": "2026-01-01T00:00:00Z",
              "config": {"Env": ["A=b"], "Entrypoint": ["a"], "Labels": {"a": "b"}},
              "rootfs": {"type": "layers", "diff_ids": [DIGEST]}, "history": [{"comment": "x"}]}
    seed("oci", "image", sections([("manifest", json.dumps(manifest)), ("config", json.dumps(config))]))
    seed("oci", "manifest", json.dumps(manifest))
    index = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
             "manifests": [{"mediaType": manifest["mediaType"], "digest": DIGEST, "size": 10,
                            "platform": {"architecture": "amd64", "os": "linux"},
                            "annotations": {"org.opencontainers.image.ref.name": "a-b"}}]}
    seed("oci", "index", json.dumps(index))
    layer = {"layer": {"media_type": "gzip", "digest": DIGEST, "diff_id": DIGEST,
                       "size": 10, "unpacked_size": 20}}
    seed("results_log", "two", f"{SHA} {json.dumps(layer)}\n{SHA} " +
         json.dumps({"blob": {"digest": DIGEST, "size": 5}}) + "\n")
    placement = {"prefix": "/opt/a", "python": "3.11", "uid": 1001, "gid": 0}
    archive = {"file": "six-1.17.0-py2.py3-none-any.whl", "sha256": DIGEST}
    for kind, parameters in {
        "pack-wheels": {"placement": placement, "wheels": [archive], "winners": {}},
        "venv": {"placement": placement, "executable": "/usr/bin/python3",
                 "home": "/opt/a/src"},
    }.items():
        action = {"format": 1, "platform": "linux/amd64", "compression": "gzip",
                  "kind": {kind: parameters}}
        seed("action", kind, json.dumps(action, separators=(",", ":")))


SOURCE = '''"""Doc."""
import os
from a import b as c

class A(dict):
    x: int = 1_000_000_000_000
    def f(self, *a, k=(1, 2.5, 3j, b"x", None, ..., "é"), **kw):
        return {i for i in a if i in {1, 2, "z"}}, lambda y: y + self.x

async def g():
    async with A() as a:
        yield a[1:2], f"{a!r:>{3}}"
'''


def bytecode():
    """Module files of this Python, and of Python 3.14 without anything in it."""
    with tempfile.TemporaryDirectory() as place:
        source = pathlib.Path(place) / "a.py"
        for name, text in [("module", SOURCE), ("empty", "")]:
            source.write_text(text)
            made = source.with_suffix(".pyc")
            mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
            py_compile.compile(source, made, dfile="/a.py", doraise=True, invalidation_mode=mode)
            seed("bytecode", name, made.read_bytes())
    record = (0).to_bytes(4, "little") + (3).to_bytes(4, "little") + b"abc"
    seed("key_store", "records", record)
    store = b"\xfe\xed\xfe\xed" + (2).to_bytes(4, "big") + (1).to_bytes(4, "big")
    store += (2).to_bytes(4, "big") + b"\0\x01a" + (5).to_bytes(8, "big")
    store += b"\0\x05X.509" + (3).to_bytes(4, "big") + b"der"
    seed("key_store", "one", store)


def deflated():
    """DEFLATE streams with stored, fixed and dynamic blocks."""
    text = (HERE / "seeds.py").read_bytes()[:3000]
    for name, level, strategy in [
        ("stored", 0, zlib.Z_DEFAULT_STRATEGY),
        ("fixed", 9, zlib.Z_FIXED),
        ("dynamic", 9, zlib.Z_DEFAULT_STRATEGY),
        ("huffman", 9, zlib.Z_HUFFMAN_ONLY),
    ]:
        packer = zlib.compressobj(level, zlib.DEFLATED, -15, 9, strategy)
        seed("deflate", name, packer.compress(text) + packer.flush(zlib.Z_FULL_FLUSH) + packer.flush())
    seed("deflate", "empty", b"\x03\x00")


def libraries():
    """A library with versions, a program, and an index of files."""
    with tempfile.TemporaryDirectory() as place:
        place = pathlib.Path(place)
        (place / "a.c").write_text("int f(void) { return 1; }\nint main(void) { return f(); }\n")
        (place / "a.map").write_text("A_1 { global: f; local: *; };\n")
        small = ["-nostdlib", "-s", "-Wl,--build-id=none", "-Wl,-z,noseparate-code"]
        for name, options in {
            "library": ["-shared", "-fPIC", "-Wl,-soname,libf.so.1",
                        "-Wl,--version-script,a.map"],
            "needing": ["-shared", "-fPIC", "-Wl,-rpath,$ORIGIN/lib", "-lc", "-lm",
                        "-Wl,--no-as-needed"],
        }.items():
            command = ["cc", *small, "a.c", "-o", name, *options]
            subprocess.run(command, check=True, cwd=place)
            seed("elf", name, (place / name).read_bytes())
    seed("contents", "debian", """bin/bash                          shells/bash
usr/lib/x86_64-linux-gnu/libGL.so.1               libs/libgl1
lib/x86_64-linux-gnu/libz.so.1    libs/zlib1g,oldlibs/zlib1g-old
./usr/lib/libopen.so.0    universe/libs/libopen0
usr/share/doc/a file   doc/a
""")


if __name__ == "__main__":
    for write in [zips, tars, debs, indexes, host, documents, bytecode, deflated, libraries]:
        write()
