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

# What no image brings, and why that is right: libraries, and who needs them, as a part of a path.
MISSING = [
    (["libcuda.so.1"], "", "NVIDIA's driver, which the container runtime brings"),
    (
        ["libibverbs.so.1", "libmlx5.so.1", "librdmacm.so.1"],
        "/libcufile_rdma.so",
        "a plugin of cuFile for InfiniBand, which it goes on without",
    ),
    (
        ["libfabric.so.1", "libmlx5.so.1", "libmpi.so.40", "liboshmem.so.40", "libpmix.so.2", "libucp.so.0", "libucs.so.0"],
        "/nvshmem/lib/nvshmem_",
        "plugins of NVSHMEM for what clusters have: it loads the one that is asked for",
    ),
    (
        ["libc10.so", "libc10_cuda.so", "libtorch.so", "libtorch_cpu.so", "libtorch_cuda.so"],
        "/torchvision/",
        "torch has loaded its libraries before",
    ),
    (["libtriton.so"], "/triton/plugins/", "what is loaded into Triton finds Triton there"),
    (["libquadmath.so.0"], "/torch/lib/libgfortran.so.5", "nothing in PyTorch's wheel is linked to this library of it"),
]

# The runtime says its version to whoever has no driver, too; that of CUDA 11 does not, but its compiler of
# kernels does.
VERSION = """
import ctypes, glob, os

def library(name):
    path, = glob.glob(os.environ["VIRTUAL_ENV"] + "/lib/python3*/site-packages/nvidia/*/lib/" + name)
    return ctypes.CDLL(path)

version, major, minor = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
if library("libcudart.so.*").cudaRuntimeGetVersion(ctypes.byref(version)) != 0:
    assert library("libnvrtc.so.11*").nvrtcVersion(ctypes.byref(major), ctypes.byref(minor)) == 0
    version = ctypes.c_int(1000 * major.value + 10 * minor.value)
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
    maxDiff = None

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
            is_right = lambda library, path: any(library in names and part in path for names, part, _ in MISSING)
            wrong = [
                (library, path) for library, paths in missing.items() for path in paths if not is_right(library, path)
            ]
            self.assertEqual(wrong, [], image["name"])


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
