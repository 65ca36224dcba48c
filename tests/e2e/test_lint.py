"""Lints against real packages: what is wrong is found, and mending it is enough."""

import pathlib
import shutil
import unittest

from harness import ROOT, WORK, Kiln

KILN_TOML = """[family]
name = "linted"
release = "1"
repository = "localhost/linted"
uv = "0.13.9"

[[image]]
base = "debian-12"
bundle = "own"
"""


class Lint(unittest.TestCase):
    """One family that is changed step by step."""

    def setUp(self):
        self.family = pathlib.Path(WORK) / "lint-family"
        shutil.rmtree(self.family, ignore_errors=True)
        (self.family / "bundles/own").mkdir(parents=True)
        (self.family / "bases").mkdir()
        shutil.copytree(ROOT / "family/keyrings", self.family / "keyrings")
        shutil.copy(ROOT / "family/bases/debian-12.toml", self.family / "bases")
        (self.family / "kiln.toml").write_text(KILN_TOML)
        self.kiln = Kiln(WORK / "lint-store", self.family)

    def found(self, requirements, packages=(), more=""):
        """Locks a bundle; gives the exit code and what is found, by lint and subject."""
        text = f"requirements = {list(requirements)!r}\npackages = {list(packages)!r}\n{more}"
        (self.family / "bundles/own/bundle.toml").write_text(text.replace("'", '"'))
        self.kiln.run("lock", "--no-lint")
        done = self.kiln.run("lint", check=False)
        lines = self.kiln.json("lint", check=False)
        findings = {(it["lint"], it["subject"]): it for it in lines if it["event"] == "finding"}
        return done, findings

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


if __name__ == "__main__":
    unittest.main()
