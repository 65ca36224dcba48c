"""The CPU images of the reference family in use: every package imports, and a notebook runs to its end, as any
user of group 0, in an engine and in the sandbox.

`./test` tries the bundle that is not Python alone, on one base; `--full` tries all of them wherever they are.
"""

import functools
import json
import os
import pathlib
import shutil
import tomllib
import unittest

import engine
import family_notebooks
import harness
from engine import docker

FULL = "KILN_E2E_FULL" in os.environ
# Whom platforms start containers as: some user id, and group 0.
ANY_USER = ("--user", "12345:0")
# Hadoop, below Spark, does not start for a user id without a name.
NEED_A_NAME = {"spark"}
# Where images see the directory of a test.
SHOWN = "/mnt/test"

# Imports what each distribution of an image holds, and prints what cannot be imported, and why. setuptools
# comes first: it brings distutils, which Debian 12 leaves out, but not to a process that has imported pip.
IMPORTS = """
import setuptools
import importlib, importlib.metadata, json
failed, tried = {}, set()
for module, owners in sorted(importlib.metadata.packages_distributions().items()):
    if module.isidentifier() and not module.startswith("_"):
        try:
            importlib.import_module(module)
        except BaseException as error:
            failed[module] = f"{type(error).__name__}: {error}"
        tried |= set(owners)
print(json.dumps([sorted(tried), failed]))
"""


def family(bundles):
    """A copy of the reference family with the CPU images of some bundles alone, locked now."""
    target = harness.scratch("family") / "family"
    shutil.copytree(harness.ROOT / "family", target)
    locked = tomllib.loads((target / "kiln.lock").read_text())["image"]
    wanted = [it for it in locked if it["bundle"] in bundles and it["accelerator"] == "cpu"]
    harness.only_images(target, [(it["base"], it["bundle"], it["ide"]) for it in wanted])
    harness.Kiln(harness.built().store, target).run("lock", "--relock-gone")
    return target


class Bundle:
    """What is tried of the images of one bundle; a class of tests for each is made below."""

    bundle = None
    bases = ["debian-12", "debian-13"]

    @classmethod
    def setUpClass(cls):
        cls.kiln = harness.Kiln(harness.built().store, family([cls.bundle]))
        lock = tomllib.loads((cls.kiln.family / "kiln.lock").read_text())
        cls.images = [it for it in lock["image"] if it["base"] in cls.bases]
        if not cls.images:
            raise AssertionError(f"the reference family has no image with {cls.bundle}")
        cls.shown = harness.scratch(cls.bundle)
        cls.shown.chmod(0o777)
        (cls.shown / "imports.py").write_text(IMPORTS)
        (cls.shown / "program").write_text(family_notebooks.script(cls.bundle))

    def user(self):
        return () if self.bundle in NEED_A_NAME else ANY_USER

    def in_docker(self, image, *command):
        reference = engine.load(self.kiln, image["name"], self.addCleanup)
        entry, *arguments = command
        volume = f"{self.shown}:{SHOWN}"
        return docker(
            "run", "--rm", *self.user(), "--network", "none", "--volume", volume,
            "--workdir", "/tmp", "--entrypoint", entry, reference, *arguments,
        ).stdout  # fmt: skip

    def in_the_sandbox(self, image, *command):
        volume = f"{self.shown}:{SHOWN}"
        return self.kiln.run(
            "run", *self.user(), "--volume", volume, "--workdir", "/tmp", image["name"], "--", *command
        ).stdout

    def each(self, ide):
        """Each image with an IDE, built, and what runs a command in it: in both places."""
        for image in self.images:
            if image["ide"] == ide:
                self.kiln.build(image["name"])
                for place in [self.in_docker, self.in_the_sandbox]:
                    yield image, functools.partial(place, image)

    def test_a_notebook_runs_to_its_end(self):
        for _, run in self.each("jupyter"):
            notebook = self.shown / "notebook.ipynb"
            notebook.write_text(family_notebooks.document(self.bundle))
            notebook.chmod(0o666)
            run("jupyter", "execute", "--inplace", f"{SHOWN}/notebook.ipynb")
            printed = family_notebooks.printed(notebook.read_text())
            self.assertEqual(printed, family_notebooks.PROGRAMS[self.bundle][1], run)

    def test_without_jupyter_the_same_program_says_the_same(self):
        interpreter = "Rscript" if self.bundle == "r" else "python"
        for _, run in self.each("runtime"):
            lines = run(interpreter, f"{SHOWN}/program").splitlines()
            self.assertEqual(lines[-1], family_notebooks.PROGRAMS[self.bundle][1], run)

    def test_every_distribution_imports(self):
        for ide in ["jupyter", "runtime"]:
            for image, run in self.each(ide):
                tried, failed = json.loads(run("python", f"{SHOWN}/imports.py").splitlines()[-1])
                known = family_notebooks.NEED_MORE
                self.assertEqual({it: why for it, why in failed.items() if it not in known}, {}, run)
                for module in failed:
                    self.assertIn(known[module], failed[module])
                locked = {it["name"] for it in self.kiln.locked(image["name"])["wheel"]}
                normal = {it.lower().replace("_", "-").replace(".", "-") for it in tried}
                self.assertEqual(locked - normal, family_notebooks.WITHOUT_MODULES & locked)


class R(Bundle, unittest.TestCase):
    bundle = "r"
    bases = Bundle.bases if FULL else ["debian-13"]


if FULL:
    for name in family_notebooks.PROGRAMS:
        if name != "r":
            title = name.title().replace(".", "")
            globals()[title] = type(title, (Bundle, unittest.TestCase), {"bundle": name, "__module__": __name__})
