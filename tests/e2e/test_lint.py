"""Lints against real packages: what is wrong is found, and mending it is enough."""

import shutil
import tomllib
import unittest

from harness import ROOT, WORK, Kiln, scratch

KILN_TOML = """[family]
name = "linted"
release = "1"
repository = "localhost/linted"
uv = "0.13.9"

[[image]]
base = "debian-12"
bundle = "own"
"""

CUDA_TOML = """kind = "cuda"
code = "gpu"

[cuda]
version = "{}"
flavour = "base"
"""


class Family:
    """A family that is changed step by step."""

    arguments = []

    def setUp(self):
        self.family = scratch("lint") / "family"
        (self.family / "bundles/own").mkdir(parents=True)
        (self.family / "bases").mkdir()
        shutil.copytree(ROOT / "family/keyrings", self.family / "keyrings")
        self.base("debian-12")
        self.kiln = Kiln(WORK / "lint-store", self.family)

    def base(self, name):
        """Puts the image on this base, which is the only one."""
        for other in (self.family / "bases").iterdir():
            other.unlink()
        shutil.copy(ROOT / f"family/bases/{name}.toml", self.family / "bases")
        (self.family / "kiln.toml").write_text(KILN_TOML.replace("debian-12", name))

    def found(self, requirements, packages=(), more=""):
        """Locks a bundle; gives the exit code and what is found, by lint and subject."""
        text = f"requirements = {list(requirements)!r}\npackages = {list(packages)!r}\n{more}"
        (self.family / "bundles/own/bundle.toml").write_text(text.replace("'", '"'))
        self.kiln.run("lock", "--no-lint")
        done = self.kiln.run("lint", *self.arguments, check=False)
        lines = self.kiln.json("lint", *self.arguments, check=False)
        findings = {(it["lint"], it["subject"]): it for it in lines if it["event"] == "finding"}
        return done, findings


class WithArchives(Family, unittest.TestCase):
    """Rules that look into archives, which are downloaded."""

    def test_a_driver_manager_that_is_missing_is_named_and_enough(self):
        done, found = self.found(["pyodbc"])
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertEqual(list(found), [("missing-library", "libodbc.so.2")])
        finding = found["missing-library", "libodbc.so.2"]
        self.assertIn("add `libodbc2` to `packages` in bundles/own/bundle.toml", finding["hint"])
        self.assertEqual(finding["at"], "bundles/own/bundle.toml:1:17")
        done, found = self.found(["pyodbc"], ["libodbc2"])
        self.assertEqual((done.returncode, found), (0, {}), done.stderr)

    def test_an_openmp_that_is_missing_is_named_and_enough(self):
        done, found = self.found(["lightgbm"])
        self.assertEqual(list(found), [("missing-library", "libgomp.so.1")], done.stderr)
        done, found = self.found(["lightgbm"], ["libgomp1"])
        self.assertEqual((done.returncode, found), (0, {}), done.stderr)

    def test_cuda_that_a_library_drags_in_is_found_and_can_be_waived(self):
        done, found = self.found(["xgboost"])
        self.assertEqual(done.returncode, 1, done.stderr)
        (lint, subject), finding = next(iter(found.items()))
        self.assertEqual(lint, "cuda-in-cpu-image")
        self.assertEqual(finding["origin"]["path"], ["xgboost", subject])
        waiver = (
            '[[waive]]\nlint = "cuda-in-cpu-image"\nsubject = "nvidia-*"\n'
            'reason = "nothing loads it on CPUs"\n'
        )
        done, found = self.found(["xgboost"], more=waiver)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertTrue(all(it["waived"] for it in found.values()), found)
        done, found = self.found(["xgboost-cpu"])
        self.assertEqual((done.returncode, found), (0, {}), done.stderr)

    def test_a_program_that_was_built_on_a_newer_system_than_its_wheel_says_is_found(self):
        # Tagged `manylinux1`, with a program that was built on Ubuntu 24.04.
        done, found = self.found(["tritonclient==2.60.0"])
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertEqual({lint for lint, _ in found}, {"too-new-symbol"})
        self.assertIn("GLIBC_2.38", found["too-new-symbol", "libc.so.6"]["reason"])
        # Debian 13 is new enough.
        self.base("debian-13")
        done, found = self.found(["tritonclient==2.60.0"])
        self.assertEqual((done.returncode, found), (0, {}), done.stderr)


class WithoutArchives(Family, unittest.TestCase):
    """Rules that need nothing but the lock: nothing is downloaded."""

    arguments = ["--offline"]

    def on_cuda(self, version):
        (self.family / "accelerators").mkdir(exist_ok=True)
        (self.family / "accelerators/gpu.toml").write_text(CUDA_TOML.format(version))
        (self.family / "kiln.toml").write_text(KILN_TOML + 'accelerator = "gpu"\n')

    def test_packages_for_two_versions_of_cuda_are_found(self):
        self.on_cuda("12.4")
        # PyTorch 2.6 is built for CUDA 12.
        done, found = self.found(["torch==2.6.0", "cupy-cuda13x"])
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertEqual(list(found), [("two-cuda-stacks", "cupy-cuda13x")])
        done, found = self.found(["torch==2.6.0", "cupy-cuda12x"])
        self.assertEqual((done.returncode, found), (0, {}), done.stderr)

    def test_an_accelerator_with_another_cuda_than_its_packages_is_found(self):
        self.on_cuda("13.0")
        done, found = self.found(["torch==2.6.0"])
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertEqual(list(found), [("two-cuda-stacks", "nvidia-cublas-cu12")])
        self.on_cuda("12.4")
        done, found = self.found(["torch==2.6.0"])
        self.assertEqual((done.returncode, found), (0, {}), done.stderr)

    def test_a_tensorflow_that_finds_neither_its_cuda_nor_its_cudnn_is_found(self):
        self.on_cuda("13.0")
        done, found = self.found(["tensorflow==2.18.1"])
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertEqual(list(found), [("never-released", "tensorflow")])
        self.on_cuda("12.5")
        done, found = self.found(["tensorflow==2.18.1", "nvidia-cudnn-cu12~=8.9.0"])
        self.assertEqual(list(found), [("never-released", "tensorflow")], done.stderr)
        done, found = self.found(["tensorflow==2.18.1", "nvidia-cudnn-cu12~=9.3.0"])
        self.assertEqual((done.returncode, found), (0, {}), done.stderr)

    def test_what_is_of_the_driver_is_found_and_what_stands_on_it_is_not(self):
        base = self.family / "bases/debian-12.toml"
        everything = '["main", "contrib", "non-free", "non-free-firmware"]'
        base.write_text(base.read_text().replace('["main"]', everything, 1))
        done, found = self.found([], ["nvidia-smi"])
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn(("driver-in-image", "nvidia-smi"), found)
        self.assertEqual({lint for lint, _ in found}, {"driver-in-image"})
        done, found = self.found([], ["libnvidia-egl-wayland1"])
        self.assertEqual((done.returncode, found), (0, {}), done.stderr)

    def test_a_component_without_use_is_found(self):
        self.on_cuda("12.5")
        (self.family / "kiln.toml").write_text(KILN_TOML)
        done, found = self.found(["numpy"])
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(list(found), [("unused-component", "gpu")])
        self.on_cuda("12.5")
        self.assertEqual(self.found(["numpy"])[1], {})

    def test_a_bundle_that_names_what_its_parent_has_is_found(self):
        (self.family / "bundles/child").mkdir()
        (self.family / "kiln.toml").write_text(KILN_TOML.replace('"own"', '"child"'))
        child = self.family / "bundles/child/bundle.toml"
        # pandas brings numpy.
        child.write_text('extends = "own"\nrequirements = ["numpy"]\n')
        done, found = self.found(["pandas"])
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(list(found), [("empty-bundle", "child")])
        child.write_text('extends = "own"\nrequirements = ["numpy", "scipy"]\n')
        self.assertEqual(self.found(["pandas"])[1], {})

    def test_an_image_may_have_its_budget_to_the_last_byte(self):
        self.found(["numpy"])
        lock = tomllib.loads((self.family / "kiln.lock").read_text())
        size = sum(it["size"] for kind in ["deb", "wheel"] for it in lock[kind])
        done, found = self.found(["numpy"], more=f'max-size = "{size} B"\n')
        self.assertEqual((done.returncode, found), (0, {}), done.stderr)
        done, found = self.found(["numpy"], more=f'max-size = "{size - 1} B"\n')
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertEqual([lint for lint, _ in found], ["over-budget"])


if __name__ == "__main__":
    unittest.main()
