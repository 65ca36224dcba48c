"""A CUDA toolkit out of an archive of OS packages: how compilers before CUDA 13 come into images.

NVIDIA's archive is not at hand, so a flat repository of its form is served here, with packages of its names and
directories; the base is the real one.
"""

import email.utils
import gzip
import hashlib
import pathlib
import tomllib
import unittest

import harness
from mirror import EPOCH, Mirror, control, deb, directory, file, signer, symlink

CUDA = "/usr/local/cuda-12.9"

ACCELERATOR = """
title = "CUDA 12.9 with its compiler"
kind = "cuda"
code = "cuda12.devel"
packages = ["cuda-nvcc-12-9", "cuda-cudart-dev-12-9"]

[cuda]
version = "12.9"
flavour = "devel"

[[archive]]
source = "cuda"
suite = "./"
keyring = "mirror.asc"
bases = ["debian-12"]
"""

# Says what it is, and that the headers beside it are those of its release.
NVCC = b"""#!/bin/sh
set -e
here=$(dirname "$(readlink -f "$0")")
grep -q 'CUDART_VERSION 12090' "$here/../include/cuda_runtime_api.h"
echo "Cuda compilation tools, release 12.9"
"""


def tree(path, content, mode=0o644):
    """A file below the toolkit's directory, with the directories above it."""
    above = [it for it in reversed(path.parents) if it.name]
    entry, data = file(f".{path}", content)
    entry.mode = mode
    return [*[directory(f".{it}") for it in above], (entry, data)]


def repository():
    """A flat repository: packages, their list and its signature in one directory."""
    mirror = Mirror()
    nvcc = tree(pathlib.PurePosixPath(f"{CUDA}/bin/nvcc"), NVCC, 0o755)
    header = tree(pathlib.PurePosixPath(f"{CUDA}/include/cuda_runtime_api.h"), b"#define CUDART_VERSION 12090\n")
    packages = {
        "cuda-nvcc-12-9_12.9.86-1_all.deb": deb(
            "cuda-nvcc-12-9", "12.9.86-1", nvcc, ["Depends: cuda-cudart-dev-12-9 (>= 12.9)"]
        ),
        "cuda-cudart-dev-12-9_12.9.79-1_all.deb": deb(
            "cuda-cudart-dev-12-9", "12.9.79-1", [*header, symlink("./usr/local/cuda", "cuda-12.9")]
        ),
    }
    stanzas = []
    for name, body in packages.items():
        mirror.files[f"/cuda/{name}"] = body
        stanzas.append(
            f"{control(body).strip()}\nFilename: ./{name}\nSize: {len(body)}\n"
            f"SHA256: {hashlib.sha256(body).hexdigest()}\n"
        )
    listed = gzip.compress("\n".join(stanzas).encode(), mtime=0)
    mirror.files["/cuda/Packages.gz"] = listed
    release = (
        f"Origin: NVIDIA\nArchitecture: x86_64\nDate: {email.utils.formatdate(EPOCH, usegmt=True)}\n"
        f"SHA256:\n {hashlib.sha256(listed).hexdigest()} {len(listed)} Packages.gz\n"
    )
    mirror.files["/cuda/InRelease"] = signer().sign(release)
    return mirror


class Toolkit(unittest.TestCase):
    def test_the_compiler_of_an_archive_is_found_and_the_image_says_its_cuda(self):
        mirror = repository()
        env = {"KILN_SOURCE_CUDA": f"{mirror.url}/cuda"}
        family = harness.copy_of_family("toolkit")
        (family / "accelerators/cuda-12-devel.toml").write_text(ACCELERATOR)
        (family / "keyrings/mirror.asc").write_bytes(signer().keyring)
        plain, devel = ("debian-12", "minimal", "jupyter"), ("debian-12", "minimal", "jupyter", "cuda-12-devel")
        harness.only_images(family, [plain, devel])
        kiln = harness.Kiln(harness.WORK / "store", family)
        kiln.run("lock", "--no-lint", env=env)
        images = tomllib.loads((family / "kiln.lock").read_text())["image"]
        of = {it["accelerator"]: it["name"] for it in images}
        name, beside = of["cuda-12-devel"], of["cpu"]
        kiln.run("build", name, beside, env=env)

        variables = dict(it.split("=", 1) for it in kiln.config(name)["config"]["Env"])
        self.assertEqual(variables["CUDA_HOME"], CUDA)
        self.assertEqual(variables["CUDA_VERSION"], "12.9")
        self.assertEqual(variables["NVIDIA_REQUIRE_CUDA"], "cuda>=12.0")
        self.assertIn(f"{CUDA}/bin", variables["PATH"].split(":"))
        said = kiln.run("run", "--user", "12345:0", name, "--", "nvcc", "--version").stdout
        self.assertEqual(said, "Cuda compilation tools, release 12.9\n")
        # The accelerator moves nothing of the base.
        debs = [it for it in kiln.locked(name)["deb"] if not it["name"].startswith("cuda-")]
        self.assertEqual(debs, kiln.locked(beside)["deb"])

        # What the archive's key has not signed is not believed.
        mirror.files["/cuda/InRelease"] = mirror.files["/cuda/InRelease"].replace(b"NVIDIA", b"Nobody")
        done = kiln.run("lock", "--upgrade", env=env, check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("cuda", done.stderr)
        self.assertIn("signature", done.stderr)
