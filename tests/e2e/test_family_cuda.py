"""The CUDA images of the reference family, on machines without a GPU, in the sandbox, as any user of group 0: every
library finds what it is linked to, frameworks import and compute on the processor, the compiler compiles.

Nothing but `--full` runs them: they are 10 GB. Each class has a store of its own, and removes it.
"""

import json
import shutil
import unittest

import harness
import test_family

# Lists the programs and libraries of an image whose needs the dynamic linker does not find, in the environment
# of the image: for each library that is missing, or of which a version is, the files that need it.
LIBRARIES = """
import collections, concurrent.futures, json, os, re, subprocess
LOADER = "/lib64/ld-linux-x86-64.so.2"
TRACE = {**os.environ, "LD_TRACE_LOADED_OBJECTS": "1"}
X86_64, PROGRAM, LIBRARY = 62, 2, 3

def programs():
    for top in ["/opt", "/usr"]:
        for directory, _, names in os.walk(top):
            for path in [os.path.join(directory, it) for it in names]:
                if os.path.islink(path):
                    continue
                with open(path, "rb") as file:
                    head = file.read(20)
                numbers = [int.from_bytes(head[at:at + 2], "little") for at in (16, 18)]
                if head[:4] == b"\\x7fELF" and numbers[0] in (PROGRAM, LIBRARY) and numbers[1] == X86_64:
                    yield path

def said(path):
    done = subprocess.run([LOADER, path], env=TRACE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return path, done.returncode, done.stdout

missing, seen = collections.defaultdict(list), 0
with concurrent.futures.ThreadPoolExecutor() as pool:
    for path, status, text in pool.map(said, programs()):
        seen += 1
        lacks = set(re.findall(r"(\\S+) => not found", text)) | set(re.findall(r"version `(\\S+)' not found", text))
        # Whoever is linked to nothing has nothing to find.
        if status != 0 and not lacks and "no dynamic section" not in text and "statically linked" not in text:
            lacks = {text.strip()}
        # Packages load what lies beside their libraries before these.
        for it in lacks:
            if os.path.exists(os.path.join(os.path.dirname(path), it)):
                continue
            missing[it].append(path)
print(json.dumps([seen, missing]))
"""

# What no image brings, and why that is right: the library and who needs it, as parts of names.
MISSING = [
    ("libcuda.so.1", "", "NVIDIA's driver, which the container runtime brings"),
]

# The runtime says its version to whoever has no driver, too.
VERSION = """
import ctypes, glob, os
path, = glob.glob(os.environ["VIRTUAL_ENV"] + "/lib/python3*/site-packages/nvidia/*/lib/libcudart.so.*")
version = ctypes.c_int()
assert ctypes.CDLL(path).cudaRuntimeGetVersion(ctypes.byref(version)) == 0
print(f"{version.value // 1000}.{version.value % 1000 // 10}", os.environ["CUDA_VERSION"])
"""

KERNEL = """
#include <cstdio>

__global__ void twice(float *it) { it[threadIdx.x] *= 2; }

int main() {
    int version = 0;
    cudaRuntimeGetVersion(&version);
    twice<<<1, 32>>>(nullptr);
    std::printf("%d %s\\n", version, cudaGetErrorName(cudaGetLastError()));
}
"""

COMPILE = f"""
cd /tmp
nvcc -arch=sm_90 -cubin -o twice.cubin {test_family.SHOWN}/twice.cu
cuobjdump --dump-elf-symbols twice.cubin | grep -q _Z5twicePf
nvcc -ptx -o twice.ptx {test_family.SHOWN}/twice.cu
grep -q '[.]entry _Z5twicePf' twice.ptx
nvcc -o twice {test_family.SHOWN}/twice.cu
./twice
"""


class OnCuda(test_family.Bundle):
    """What is tried of all images of a bundle that have CUDA."""

    places = ["in_the_sandbox"]

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        (cls.shown / "libraries.py").write_text(LIBRARIES)

    @classmethod
    def is_on(cls, accelerator):
        return accelerator.startswith("cuda")

    @classmethod
    def with_store(cls, family):
        kiln = harness.with_downloads(f"cuda-{cls.bundle}", family)

        def remove():
            # What the sandbox has unpacked may belong to foreign ids: kiln takes that away.
            kiln.run("store", "gc")
            shutil.rmtree(kiln.store)

        cls.addClassCleanup(remove)
        return kiln

    def test_every_library_finds_what_it_is_linked_to_but_for_the_driver(self):
        for image, run in self.each():
            seen, missing = json.loads(run("python", f"{test_family.SHOWN}/libraries.py"))
            self.assertGreater(seen, 200)
            wrong = {
                library: path
                for library, paths in missing.items()
                for path in paths
                if not any(library == name and part in path for name, part, _ in MISSING)
            }
            self.assertEqual(wrong, {}, image["name"])


if test_family.FULL:

    class PyTorch(OnCuda, unittest.TestCase):
        bundle = "pytorch"

    class TensorFlow(OnCuda, unittest.TestCase):
        bundle = "tensorflow.gpu"

    class Toolkit(OnCuda, unittest.TestCase):
        """CUDA without a framework."""

        bundle = "minimal"

        @classmethod
        def setUpClass(cls):
            super().setUpClass()
            (cls.shown / "version.py").write_text(VERSION)
            (cls.shown / "twice.cu").write_text(KERNEL)

        def test_the_runtime_is_the_one_that_the_image_says(self):
            for image, run in self.each():
                runtime, said = run("python", f"{test_family.SHOWN}/version.py").split()
                self.assertEqual(runtime, said, image["name"])

        def test_the_compiler_makes_kernels_and_programs(self):
            compilers = [it for it in self.each() if it[0]["accelerator"].endswith("-devel")]
            self.assertGreater(len(compilers), 0)
            for _, run in compilers:
                self.assertEqual(run("sh", "-ec", COMPILE), "13020 cudaErrorInsufficientDriver\n")
