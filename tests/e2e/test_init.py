"""`kiln init`: a family that locks, builds and starts as it is."""

import functools
import tomllib
import unittest

import harness


@functools.cache
def begun():
    """kiln with a family that `kiln init` has made, locked. Its store is the shared one."""
    family = harness.scratch("begun") / "images"
    kiln = harness.Kiln(harness.built().store, family)
    # The suite of the reference image, so nearly everything has been fetched.
    kiln.run("init", "--debian", "bookworm", family)
    kiln.run("lock")
    return kiln


class Begun(unittest.TestCase):
    def test_a_new_family_builds_and_starts(self):
        kiln = begun()
        kiln.build("runtime-starter", "--pack-only")
        version = "import numpy; print(numpy.__version__)"
        printed = kiln.run("run", "runtime-starter", "--", "python", "-c", version).stdout
        numpy = next(it for it in kiln.locked("runtime-starter")["wheel"] if it["name"] == "numpy")
        self.assertEqual(printed.strip(), numpy["version"])

    def test_its_jupyterlab_starts(self):
        kiln = begun()
        kiln.build("jupyter-starter", "--pack-only")
        kiln.run("run", "jupyter-starter", "--", "jupyter", "lab", "--version")
        script = "/opt/app-root/bin/start-notebook.sh"
        kiln.run("run", "jupyter-starter", "--", script, "--version")

    def test_its_lock_is_of_two_images_on_one_base(self):
        lock = tomllib.loads((begun().family / "kiln.lock").read_text())
        self.assertEqual(lock["family"], "images")
        self.assertEqual({it["ide"] for it in lock["image"]}, {"jupyter", "runtime"})

    def test_nothing_is_overwritten(self):
        kiln = begun()
        before = {path: path.stat().st_mtime_ns for path in kiln.family.rglob("*")}
        done = kiln.run("init", kiln.family, check=False)
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertIn("is there already", done.stderr)
        after = {path: path.stat().st_mtime_ns for path in kiln.family.rglob("*")}
        self.assertEqual(after, before)
