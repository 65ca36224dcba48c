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


class Bundle:
    """What is tried of the images of one bundle; a class of tests for each is made below."""

    bundle = None
    bases = ["debian-12", "debian-13"]
    places = ["in_docker", "in_the_sandbox"]

    @classmethod
    def setUpClass(cls):
        family = harness.scratch("family") / "family"
        shutil.copytree(harness.ROOT / "family", family)
        wanted = [it for it in cls.locked(family) if it["bundle"] == cls.bundle and cls.is_on(it["accelerator"])]
        if not wanted:
            raise AssertionError(f"the reference family has no image with {cls.bundle}")
        harness.only_images(family, [(it["base"], it["bundle"], it["ide"], it["accelerator"]) for it in wanted])
        cls.kiln = cls.with_store(family)
        # Mirrors drop what older locks name.
        cls.kiln.run("lock", "--relock-gone")
        cls.images = [it for it in cls.locked(family) if it["base"] in cls.bases]
        # Handing an image to the engine takes longer than what is tried in it.
        cls.loaded = staticmethod(functools.cache(lambda name: engine.load(cls.kiln, name, cls.addClassCleanup)))
        cls.shown = harness.scratch(cls.bundle)
        cls.shown.chmod(0o777)
        (cls.shown / "imports.py").write_text(IMPORTS)
        (cls.shown / "program").write_text(family_notebooks.script(cls.bundle))

    @staticmethod
    def locked(family):
        return tomllib.loads((family / "kiln.lock").read_text())["image"]

    @classmethod
    def is_on(cls, accelerator):
        return accelerator == "cpu"

    @classmethod
    def with_store(cls, family):
        return harness.Kiln(harness.built().store, family)

    def in_docker(self, image, *command):
        reference = self.loaded(image["name"])
        entry, *arguments = command
        volume = f"{self.shown}:{SHOWN}"
        return docker(
            "run", "--rm", *ANY_USER, "--network", "none", "--volume", volume,
            "--workdir", "/tmp", "--entrypoint", entry, reference, *arguments,
        ).stdout  # fmt: skip

    def in_the_sandbox(self, image, *command):
        volume = f"{self.shown}:{SHOWN}"
        return self.kiln.run(
            "run", *ANY_USER, "--volume", volume, "--workdir", "/tmp", image["name"], "--", *command
        ).stdout

    def each(self, ide=None):
        """Each image with an IDE (with any), built, and what runs a command in it: in all places."""
        for image in self.images:
            if ide in (None, image["ide"]):
                self.kiln.build(image["name"])
                for place in self.places:
                    yield image, functools.partial(getattr(self, place), image)

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
        for image, run in self.each():
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
        if name not in {"r", *family_notebooks.ON_CUDA}:
            title = name.title().replace(".", "")
            globals()[title] = type(title, (Bundle, unittest.TestCase), {"bundle": name, "__module__": __name__})
