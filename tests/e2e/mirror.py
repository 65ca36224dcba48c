"""A small world to lock and build from: a Debian archive and a Python index on loopback.

Its packages are made here, its index is signed with a key made here, and it can be told to
misbehave: to lack files, to break off, to answer nonsense.

With `KILN_SHOW_ERRORS` set, tests print every error that they provoke, to be read.
"""

import collections
import contextlib
import email.utils
import functools
import gzip
import hashlib
import http.server
import io
import json
import os
import pathlib
import random
import subprocess
import tarfile
import tempfile
import threading
import time
import tomllib
import warnings
import zipfile

import harness

SUITE = "bookworm"
EPOCH = 1_767_225_600  # 2026-01-01


class Mirror:
    """Serves files; see `faulty` for how it misbehaves."""

    def __init__(self):
        self.files = {}  # path → bytes
        self.faults = {}  # part of a path → function of the request handler and the bytes
        self.requests = collections.Counter()
        mirror = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                mirror.answer(self)

            def log_message(self, *_):
                pass

            def handle(self):
                # Clients that are killed reset their connections.
                with contextlib.suppress(ConnectionError):
                    super().handle()

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.env = {
            "KILN_SOURCE_DEBIAN": f"{self.url}/debian",
            "KILN_SOURCE_PYPI": f"{self.url}/simple",
        }

    def answer(self, handler):
        path = handler.path.partition("?")[0]
        self.requests[path] += 1
        if path.startswith("/simple/"):
            body = self.page(path)
        elif path.endswith(".whl.metadata"):
            body = metadata(self.files[path.removesuffix(".metadata")])
        else:
            body = self.files.get(path)
        fault = next((fault for part, fault in self.faults.items() if part in path), None)
        with contextlib.suppress(ConnectionError):  # of a client that was killed
            if fault is not None:
                fault(handler, body)
            elif body is None:
                reply(handler, b"not here\n", 404)
            else:
                reply(handler, body)

    def page(self, path):
        """A page of the simple API (PEP 691)."""
        project = path.removeprefix("/simple/").strip("/")
        files = []
        for name, body in self.files.items():
            file = name.rpartition("/")[2]
            if name.startswith("/wheels/") and file.split("-")[0].replace("_", "-") == project:
                about = {"filename": file, "url": name, "size": len(body)}
                about["core-metadata"] = file.endswith(".whl")
                about["hashes"] = {"sha256": hashlib.sha256(body).hexdigest()}
                files.append(about)
        if not files:
            return None
        page = {"meta": {"api-version": "1.1"}, "name": project, "versions": [], "files": files}
        return json.dumps(page).encode()

    @contextlib.contextmanager
    def faulty(self, part, fault):
        """While in it, requests whose path contains `part` are answered by `fault`."""
        self.faults[part] = fault
        try:
            yield
        finally:
            del self.faults[part]

    # What is served.

    def wheel(self, name, version="1.0", members=(), requires=(), raw=None):
        """Offers a wheel. `members` are pairs of name and content; `raw` adds what it likes."""
        self.files[f"/wheels/{name}-{version}-py3-none-any.whl"] = wheel(
            name, version, members, requires, raw
        )

    def sdist(self, name, version="1.0", files=()):
        """Offers a source distribution: pairs of name and text. Its project has no wheel."""
        root = f"{name}-{version}"
        about = f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: {version}\n"
        members = [
            file(f"{root}/{path}", text.encode()) for path, text in [("PKG-INFO", about), *files]
        ]
        self.files[f"/wheels/{root}.tar.gz"] = packed([directory(root), *members])

    def deb(self, name, version="1.0", members=(), fields=()):
        """Offers a Debian package. It is listed by the next `publish`."""
        self.files[f"/debian/pool/main/{name}_{version}_all.deb"] = deb(
            name, version, members, fields
        )

    def publish(self, valid_until=None, secret=None):
        """Lists all Debian packages, and signs the list."""
        stanzas = []
        for path, body in sorted(self.files.items()):
            if path.startswith("/debian/pool/"):
                name, version, _ = path.rpartition("/")[2].split("_")
                stanzas.append(
                    f"{control(body).strip()}\nFilename: {path.removeprefix('/debian/')}\n"
                    f"Size: {len(body)}\nSHA256: {hashlib.sha256(body).hexdigest()}\n"
                )
        dists = f"/debian/dists/{SUITE}"
        packages = gzip.compress("\n".join(stanzas).encode(), mtime=0)
        release = [
            f"Suite: {SUITE}",
            f"Codename: {SUITE}",
            f"Date: {email.utils.formatdate(EPOCH, usegmt=True)}",
            "Architectures: amd64 arm64",
            "Components: main",
        ]
        if valid_until is not None:
            release.append(f"Valid-Until: {email.utils.formatdate(valid_until, usegmt=True)}")
        release.append("SHA256:")
        for architecture in ["amd64", "arm64"]:
            path = f"main/binary-{architecture}/Packages.gz"
            release.append(f" {hashlib.sha256(packages).hexdigest()} {len(packages)} {path}")
            self.files[f"{dists}/{path}"] = packages
        text = "\n".join(release) + "\n"
        self.files[f"{dists}/InRelease"] = (secret or signer()).sign(text)


# Answers.


def reply(handler, body, status=200, headers=(), content=None):
    """Answers with `body`; `content` is what is sent of it, when that is something else."""
    handler.send_response(status)
    handler.send_header("Content-Length", str(len(body)))
    if handler.path.startswith("/simple/"):
        handler.send_header("Content-Type", "application/vnd.pypi.simple.v1+json")
    for name, value in headers:
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(body if content is None else content)


def status(code, times=None, headers=()):
    """Answers with a status; only so many times, if said."""
    left = [times]

    def answer(handler, body):
        if left[0] == 0:
            return reply(handler, body)
        if left[0] is not None:
            left[0] -= 1
        return reply(handler, b"no\n", code, headers)

    return answer


def breaks_off(handler, body):
    """Promises all and closes the connection half way."""
    handler.close_connection = True
    reply(handler, body, content=body[: len(body) // 2])


def changed(handler, body):
    """Answers with other bytes, as many."""
    reply(handler, bytes([body[0] ^ 1]) + body[1:])


def slow(handler, body):
    """Answers in small pieces with pauses between them."""
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    for start in range(0, len(body), len(body) // 8 + 1):
        handler.wfile.write(body[start : start + len(body) // 8 + 1])
        time.sleep(0.1)


# Packages.


def noise(seed, size):
    """Bytes that do not compress, always the same."""
    return random.Random(seed).randbytes(size)


def wheel(name, version, members=(), requires=(), raw=None):
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: {version}\n"
    metadata += "".join(f"Requires-Dist: {requirement}\n" for requirement in requires)
    about = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    entries = [
        (f"{name}/__init__.py", f"# {name}\n".encode()),
        *members,
        (f"{info}/METADATA", metadata.encode()),
        (f"{info}/WHEEL", about.encode()),
    ]
    record = "".join(f"{path},,\n" for path, _ in entries) + f"{info}/RECORD,,\n"
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in [*entries, (f"{info}/RECORD", record.encode())]:
            member = zipfile.ZipInfo(path, (2026, 1, 1, 0, 0, 0))
            member.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(member, content)
        if raw is not None:
            with warnings.catch_warnings(action="ignore"):  # of names that are there already
                raw(archive)
    return out.getvalue()


def file(path, content):
    """A regular file of a Debian package."""
    entry = tarfile.TarInfo(path)
    entry.size, entry.mode, entry.mtime = len(content), 0o644, EPOCH
    return entry, io.BytesIO(content)


def symlink(path, target):
    """A symbolic link of a Debian package."""
    entry = tarfile.TarInfo(path)
    entry.type, entry.linkname, entry.mode, entry.mtime = tarfile.SYMTYPE, target, 0o777, EPOCH
    return entry, None


def directory(path):
    """A directory of a Debian package."""
    entry = tarfile.TarInfo(path)
    entry.type, entry.mode, entry.mtime = tarfile.DIRTYPE, 0o755, EPOCH
    return entry, None


def deb(name, version, members=(), fields=()):
    text = (
        f"Package: {name}\nVersion: {version}\nArchitecture: all\n"
        "Maintainer: Nobody <nobody@example.invalid>\n"
        + "".join(f"{field}\n" for field in fields)
        + f"Description: {name}\n"
    )
    parts = [
        ("debian-binary", b"2.0\n"),
        ("control.tar.gz", packed([file("./control", text.encode())])),
        ("data.tar.gz", packed([directory("./"), *members])),
    ]
    out = b"!<arch>\n"
    for part, content in parts:
        out += f"{part:<16}{EPOCH:<12}0     0     100644  {len(content):<10}`\n".encode()
        out += content + b"\n" * (len(content) % 2)
    return out


def metadata(body):
    """The metadata of a wheel (PEP 658)."""
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return archive.read(name)


def packed(members):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for entry, content in members:
            archive.addfile(entry, content)
    return gzip.compress(out.getvalue(), 1, mtime=0)


def control(archive):
    """The control file of a Debian package, as the real tool reads it."""
    with tempfile.NamedTemporaryFile(suffix=".deb") as path:
        path.write(archive)
        path.flush()
        command = ["dpkg-deb", "--field", path.name]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout


# Keys.


class Signer:
    """A key of gpg."""

    def __init__(self):
        # gpg keeps a socket there: the path must be short.
        self.home = tempfile.TemporaryDirectory(prefix="gpg")
        self.gpg("--quick-generate-key", "Mirror <mirror@example.invalid>", "ed25519", "sign", "0")
        self.keyring = self.gpg("--armor", "--export")

    def gpg(self, *arguments, text=""):
        command = ["gpg", "--homedir", self.home.name, "--batch", "--quiet", "--no-tty"]
        command += ["--passphrase", "", "--pinentry-mode", "loopback", *arguments]
        return subprocess.run(command, input=text.encode(), check=True, capture_output=True).stdout

    def sign(self, text):
        return self.gpg("--clear-sign", text=text)


@functools.cache
def signer():
    return Signer()


# A family that needs nothing else.


@functools.cache
def uv():
    """File name, version and bytes of the resolver that the reference family has locked."""
    family = harness.fresh_family()
    lock = tomllib.loads((family / "kiln.lock").read_text())
    tool = next(tool for tool in lock["tool"] if tool["name"] == "uv")
    shared = harness.WORK / "store"
    path = shared / "downloads/sha256" / tool["sha256"].removeprefix("sha256:")
    return tool["file"], tool["version"], path.read_bytes()


def write_family(place):
    """Writes a family that this mirror can serve."""
    texts = {
        "kiln.toml": f"""
            [family]
            name = "tiny"
            release = "1"
            description = "What the tests need"
            repository = "localhost/tiny"
            default-base = "small"
            # Its packages are no operating system.
            pack-only = true
            platforms = ["linux/amd64"]
            uv = "{uv()[1]}"

            [[image]]
            base = "small"
            bundle = "plain"
            ide = "runtime"

            [[image]]
            base = "small"
            bundle = "plain"
            ide = "lab"
        """,
        "bases/small.toml": f"""
            title = "Small"
            description = "Next to nothing"
            code = "s1"
            distribution = "debian"
            suite = "{SUITE}"
            python = "3.11"
            packages = ["hello-tools", "libsmall"]

            [[archive]]
            source = "debian"
            components = ["main"]
            keyring = "mirror.asc"
        """,
        "bundles/plain/bundle.toml": """
            title = "Plain"
            description = "Two wheels"
            requirements = ["alpha", "beta"]
        """,
        "ides/lab/ide.toml": """
            title = "Lab"
            description = "One wheel"
            requirements = ["gamma"]
            command = ["/bin/true"]
        """,
    }
    for path, text in texts.items():
        target = pathlib.Path(place) / path
        target.parent.mkdir(parents=True, exist_ok=True)
        lines = text.strip("\n").split("\n")
        target.write_text("\n".join(line.removeprefix(" " * 12) for line in lines).rstrip() + "\n")
    keyrings = pathlib.Path(place) / "keyrings"
    keyrings.mkdir(exist_ok=True)
    (keyrings / "mirror.asc").write_bytes(signer().keyring)


class World:
    """A mirror, a family that is locked with it, and a store."""

    IMAGE = "runtime-plain"

    def __init__(self, name, change=lambda mirror, family: None, lock=True):
        self.mirror = Mirror()
        place = harness.scratch(name)
        self.family = place / "family"
        self.store = place / "store"
        write_family(self.family)
        file_name, _, content = uv()
        self.mirror.files[f"/wheels/{file_name}"] = content
        self.mirror.deb("hello-tools", members=[file("./usr/bin/hello", b"#!/bin/sh\n")])
        self.mirror.deb(
            "libsmall", members=[directory("./usr"), file("./usr/lib/small", noise(1, 3_000_000))]
        )
        self.mirror.wheel("alpha", members=[("alpha/data", noise(2, 3_000_000))])
        self.mirror.wheel("beta", requires=["alpha"])
        self.mirror.wheel("gamma")
        change(self.mirror, self.family)
        self.mirror.publish()
        self.kiln = harness.Kiln(self.store, self.family)
        if lock:
            self.run("lock")

    def run(self, *arguments, env=None, **options):
        return self.kiln.run(*arguments, env={**self.mirror.env, **(env or {})}, **options)

    def fails(self, *arguments, **options):
        """Runs what must fail; gives the exit code and what kiln says."""
        done = self.run(*arguments, check=False, **options)
        if done.returncode == 0:
            raise AssertionError(f"kiln {arguments} succeeded:\n{done.stdout}{done.stderr}")
        if os.environ.get("KILN_SHOW_ERRORS"):
            print(f"\n$ kiln {' '.join(map(str, arguments))}\n{done.stderr}[{done.returncode}]")
        return done.returncode, done.stderr

    def build(self, image=IMAGE, store=None, **options):
        """Builds; gives the digest of the manifest."""
        kiln = harness.Kiln(store or self.store, self.family)
        done = kiln.run("--output", "json", "build", image, env=self.mirror.env, **options)
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        return next(line["manifest"] for line in lines if line["event"] == "built")

    def edit(self, path, old, new):
        """Changes a text of the family."""
        target = self.family / path
        text = target.read_text()
        assert old in text, (path, old)
        target.write_text(text.replace(old, new, 1))
