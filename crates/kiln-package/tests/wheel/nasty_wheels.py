"""Writes wheels that use every corner of the format: nasty_wheels.py DIRECTORY."""

import base64
import hashlib
import io
import pathlib
import sys
import zipfile

STORED, DEFLATED = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED
SITE_PACKAGES = "lib/python{}.{}/site-packages".format(*sys.version_info)


class Stream(io.RawIOBase):
    """A file that cannot seek: `zipfile` then writes data descriptors."""

    def __init__(self, file):
        self.file = file

    def writable(self):
        return True

    def write(self, data):
        return self.file.write(data)


def row(path, content):
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    path = '"' + path.replace('"', '""') + '"' if set(path) & set(',"') else path
    return f"{path},sha256={digest},{len(content)}"


def write(directory, file_name, dist_info, files, *, newline="\n", own_row=True, streamed=False,
          unlisted=()):
    """`files`: path → content, or (content, mode, method)."""
    name, version = file_name.split("-")[:2]
    files = dict(files)
    files[f"{dist_info}/METADATA"] = (
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n\nText\n".encode())
    files[f"{dist_info}/WHEEL"] = (
        b"Wheel-Version: 1.0\nGenerator: nasty\nRoot-Is-Purelib: false\nTag: py3-none-any\n")
    rows = []
    for path, content in files.items():
        content = content if isinstance(content, bytes) else content[0]
        if not path.endswith("/") and path not in unlisted:
            rows.append(row(path, content))
    if own_row:
        rows.append(f"{dist_info}/RECORD,,")
    files[f"{dist_info}/RECORD"] = newline.join([*rows, ""]).encode()
    with open(pathlib.Path(directory, file_name), "wb") as file:
        with zipfile.ZipFile(Stream(file) if streamed else file, "w") as archive:
            for path, content in files.items():
                mode, method = 0o100644, DEFLATED
                if not isinstance(content, bytes):
                    content, mode, method = content
                info = zipfile.ZipInfo(path)
                info.external_attr = mode << 16
                info.compress_type = method
                archive.writestr(info, content)


def main(directory):
    data = "Nasty.Project_One-1.0.post1.data"
    write(directory, "Nasty.Project_One-1.0.post1-1nasty-py3-none-any.whl",
          "nasty_project_one-1.0.post1.dist-info", {
        # A package without __init__.py, an empty directory, empty files, odd names.
        "nasty_space/": (b"", 0o040755, STORED),
        "nasty_space/deep/module.py": b"def main():\n    print('module ran')\n",
        "nasty_space/empty/": (b"", 0o040755, STORED),
        "nasty_space/empty_stored.py": (b"", 0o100644, STORED),
        "nasty_space/empty_deflated.py": b"",
        "nasty_space/stored.bin": (bytes(range(256)) * 40, 0o100644, STORED),
        "nasty_space/données/été ☃.txt": "neige\n".encode(),
        "nasty_space/a,\"quoted\" name.txt": b"commas\n",
        "nasty_space/inner-9.dist-info/RECORD": b"not,a,record\n",
        "nasty_space/inner.data/scripts/x": b"#!python\n",
        "nasty.pth": b"import sys\n",
        "nasty_top.py": b"import nasty_space.deep.module as module\n"
                        b"class Tools:\n"
                        b"    class inner:\n"
                        b"        @staticmethod\n"
                        b"        def run():\n            print('inner ran')\n",
        # Modes.
        "nasty_space/run.sh": (b"#!/bin/sh\n", 0o100755, DEFLATED),
        "nasty_space/owner_runs.sh": (b"#!/bin/sh\n", 0o100700, DEFLATED),
        "nasty_space/set_uid.sh": (b"#!/bin/sh\n", 0o104755, DEFLATED),
        "nasty_space/private.txt": (b"x\n", 0o100600, DEFLATED),
        "nasty_space/no_type.sh": (b"#!/bin/sh\n", 0o755, DEFLATED),
        # Scripts.
        f"{data}/scripts/tool.py": (b"#!python\nprint('tool ran')\n", 0o100755, DEFLATED),
        f"{data}/scripts/flags.py": (b"#!python -E\r\nprint('flags')\r\n", 0o100644, DEFLATED),
        f"{data}/scripts/window": (b"#!pythonw\nprint('w')\n", 0o100755, STORED),
        f"{data}/scripts/versioned": (b"#!python3.4\npass\n", 0o100755, DEFLATED),
        f"{data}/scripts/no_newline": (b"#!python", 0o100755, DEFLATED),
        f"{data}/scripts/short": (b"#!pyth", 0o100755, DEFLATED),
        f"{data}/scripts/shell": (b"#!/bin/sh\necho shell\n", 0o100755, DEFLATED),
        f"{data}/scripts/absolute": (b"#!/usr/bin/python\n", 0o100755, DEFLATED),
        f"{data}/scripts/binary": (b"\x7fELF" + bytes(100), 0o100755, DEFLATED),
        f"{data}/scripts/sub/below.py": (b"#!python\n", 0o100755, DEFLATED),
        # Launchers that the build tool wrote; they are written anew.
        f"{data}/scripts/nasty": (b"#!python\nold\n", 0o100755, DEFLATED),
        f"{data}/scripts/nasty-script.py": b"#!python\nold\n",
        f"{data}/scripts/nasty.exe": b"MZ",
        # The other schemes.
        f"{data}/purelib/nasty_pure.py": b"pure\n",
        f"{data}/platlib/nasty_space/plat.py": b"plat\n",
        f"{data}/data/share/nasty/x.json": b"{}\n",
        f"{data}/data/etc/nasty.conf": b"x\n",
        f"{data}/data/lib64/nasty.so": b"so\n",
        f"{data}/data/{SITE_PACKAGES}/nasty_data.py": b"data\n",
        f"{data}/data/bin/from_data": (b"#!python\nnot rewritten\n", 0o100755, DEFLATED),
        "someone-else-3.data/scripts/foreign": (b"#!python\n", 0o100755, DEFLATED),
        "nasty_project_one-1.0.post1.dist-info/licenses/LICENSE": b"Do what you like.\n",
        "nasty_project_one-1.0.post1.dist-info/entry_points.txt":
            b"# comment\n[console_scripts]\n"
            b"nasty = nasty_space.deep.module:main\n"
            b"  nasty-inner=nasty_top:Tools.inner.run [fast,slow]\n"
            b"nasty.called = nasty_space.deep.module:main()\n"
            b"nasty-twice = nasty_top:first\nnasty-twice = nasty_top:second\n"
            b"\n[gui_scripts]\nnasty-window = nasty_space.deep.module:main\n"
            b"[other.group]\nx = y\n",
    })
    write(directory, "versioned-2-py3-none-any.whl", "versioned-2.dist-info", {
        "versioned.py": b"def main():\n    pass\n",
        "versioned-2.data/headers/sub/x.h": b"#pragma once\n",
        "versioned-2.dist-info/entry_points.txt":
            b"[console_scripts]\r\npip = versioned:main\r\npip3 = versioned:main\r\n"
            b"pip3.4 = versioned:main\r\npip-extra = versioned:main\r\n"
            b"easy_install = versioned:main\r\neasy_install-2.7 = versioned:main\r\n",
    }, newline="\r\n")
    write(directory, "signed-0.1-py2.py3-none-any.whl", "signed-0.1.dist-info", {
        "signed.py": b"\n",
        "signed-0.1.dist-info/RECORD.jws": b"{}\n",
        "signed-0.1.dist-info/RECORD.p7s": b"x\n",
    }, own_row=False, unlisted={
        "signed-0.1.dist-info/RECORD.jws", "signed-0.1.dist-info/RECORD.p7s"})
    write(directory, "streamed-1!2.0+local.1-py3-none-any.whl",
          "streamed-1!2.0+local.1.dist-info", {
        "streamed.py": b"x = 1\n" * 1000,
        "streamed_stored.py": (b"x = 1\n", 0o100644, STORED),
    }, streamed=True)


main(sys.argv[1])
