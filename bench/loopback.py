"""What peers reach over loopback: a Python index, a Debian archive, and a registry that keeps nothing.

The index and the archive are plain files below one directory; every answer may be cached for ever. The
registry takes what it is given, as any registry would, counts the bytes and forgets them: pushing
to it costs what makes layers ready to be pushed, and next to nothing else. It remembers digests, so a
layer is pushed once, as everywhere.
"""

import contextlib
import functools
import hashlib
import http.server
import os
import pathlib
import shutil
import socket
import subprocess
import threading
import uuid


class Server:
    """Serves a directory, and the registry below `/v2/`."""

    def __init__(self, root):
        self.root = pathlib.Path(root)
        self.root.mkdir(parents=True, exist_ok=True)
        handler = functools.partial(Handler, directory=str(self.root))
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port()), handler)
        self.server.daemon_threads = True
        self.server.blobs = {}
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.address = f"127.0.0.1:{self.server.server_port}"

    def port(self):
        """Always the same for one directory: caches of peers hold addresses."""
        place = self.root / "port"
        if not place.exists():
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                place.write_text(str(probe.getsockname()[1]))
        return int(place.read_text())

    def pushed(self):
        """The bytes of all blobs that the registry has seen."""
        return sum(self.server.blobs.values())

    def index(self, name, wheels):
        """Offers wheels, pairs of path and file name, as a simple index; gives its address."""
        place = self.fresh(f"{name}/simple")
        pages = {}
        for path, file in wheels:
            digest = path.name
            project = file.partition("-")[0].lower().replace("_", "-").replace(".", "-")
            (place / project).mkdir(exist_ok=True)
            (place / project / file).hardlink_to(path)
            link = f'<a href="{file}#sha256={digest}">{file}</a>\n'
            pages[project] = pages.get(project, "<!DOCTYPE html>\n") + link
        for project, page in pages.items():
            (place / project / "index.html").write_text(page)
        return f"http://{self.address}/{name}/simple/"

    def archive(self, name, debs):
        """Offers Debian packages as a flat archive; gives its address and its directory."""
        place = self.root / f"{name}/debian"
        files = {file for _, file in debs}
        if not (place / "Packages").exists() or {*os.listdir(place)} != {"Packages", *files}:
            self.fresh(f"{name}/debian")
            for path, file in debs:
                (place / file).hardlink_to(path)
            command = ["dpkg-scanpackages", "--multiversion", "."]
            quiet = subprocess.DEVNULL
            index = subprocess.run(
                command, cwd=place, stdout=subprocess.PIPE, stderr=quiet, check=True
            )
            (place / "Packages").write_bytes(index.stdout)
        return f"http://{self.address}/{name}/debian", place

    def fresh(self, name):
        place = self.root / name
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        return place


class Handler(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def handle(self):
        with contextlib.suppress(ConnectionError):
            super().handle()

    def end_headers(self):
        if self.command in ("GET", "HEAD") and not self.path.startswith("/v2/"):
            self.send_header("Cache-Control", "max-age=31536000, immutable")
        super().end_headers()

    # The registry, as the OCI distribution specification has it.

    def do_GET(self):
        if self.path == "/v2/":
            return self.answer(200)
        if self.path.startswith("/v2/"):
            return self.answer(404)
        return super().do_GET()

    def do_HEAD(self):
        if not self.path.startswith("/v2/"):
            return super().do_HEAD()
        size = self.server.blobs.get(self.path.rpartition("/")[2])
        return self.answer(404) if size is None else self.answer(200, length=size)

    def do_POST(self):
        for _ in self.body():
            pass
        self.answer(202, Location=f"{self.path.partition('?')[0].rstrip('/')}/{uuid.uuid4()}")

    def do_PATCH(self):
        size = sum(map(len, self.body()))
        self.uploads()[self.path] = self.uploads().get(self.path, 0) + size
        end = self.uploads()[self.path] - 1
        self.answer(202, Location=self.path, Range=f"0-{end}")

    def do_PUT(self):
        place, _, query = self.path.partition("?")
        if "/manifests/" in place:
            digest = hashlib.sha256(b"".join(self.body())).hexdigest()
            return self.answer(201, Docker_Content_Digest=f"sha256:{digest}", Location=place)
        size = self.uploads().pop(place, 0) + sum(map(len, self.body()))
        digest = query.partition("digest=")[2].replace("%3A", ":")
        self.server.blobs[digest] = size
        return self.answer(201, Location=f"{place.partition('/uploads')[0]}/{digest}")

    def uploads(self):
        return self.server.__dict__.setdefault("uploads", {})

    def body(self):
        """The pieces of a request's body, of any size."""
        if self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline().partition(b";")[0], 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return
        left = int(self.headers.get("Content-Length", 0))
        while left:
            piece = self.rfile.read(min(left, 1 << 20))
            if not piece:
                return
            left -= len(piece)
            yield piece

    def answer(self, code, length=0, **headers):
        self.send_response(code)
        self.send_header("Docker-Distribution-Api-Version", "registry/2.0")
        self.send_header("Content-Length", str(length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
