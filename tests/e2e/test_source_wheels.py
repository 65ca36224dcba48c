"""Wheels that are built from source distributions: offline, in a locked environment, the same each
time."""

import functools
import io
import json
import os
import re
import shutil
import subprocess
import tomllib
import unittest
import zipfile

import harness
import mirror
import small

FULL = "KILN_E2E_FULL" in os.environ
RESOLUTION, INTEGRITY, SANDBOX = 4, 6, 7  # exit codes, as documented

# A program of C, of a project without `pyproject.toml`.
FAST = [
    (
        "setup.py",
        "from setuptools import Extension, setup\n"
        "setup(name='fast', version='1.0', ext_modules=[Extension('fast', ['fast.c'])])\n",
    ),
    (
        "fast.c",
        "#define PY_SSIZE_T_CLEAN\n#include <Python.h>\n"
        "static PyObject *answer(PyObject *self, PyObject *none) { return PyLong_FromLong(42); }\n"
        "static PyMethodDef methods[] = {{\"answer\", answer, METH_NOARGS, NULL}, {NULL}};\n"
        "static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, \"fast\", NULL, -1, methods};\n"
        "PyMODINIT_FUNC PyInit_fast(void) { return PyModule_Create(&module); }\n",
    ),
]
# A build back end of the project's own, which does what the test wants of it.
PYPROJECT = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
BACKEND = """
import os, socket, sys, time, zipfile

NAME = {name!r}


def build_wheel(directory, config_settings=None, metadata_directory=None):
    {script}
    info = f"{{NAME}}-1.0.dist-info"
    file = f"{{NAME}}-1.0-py3-none-any.whl"
    members = {{
        f"{{NAME}}.py": f"VALUE = {{value!r}}\\n",
        f"{{info}}/METADATA": f"Metadata-Version: 2.1\\nName: {{NAME}}\\nVersion: 1.0\\n",
        f"{{info}}/WHEEL": "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
    }}
    record = "".join(f"{{path}},,\\n" for path in [*members, f"{{info}}/RECORD"])
    with zipfile.ZipFile(os.path.join(directory, file), "w") as wheel:
        for path, text in {{**members, f"{{info}}/RECORD": record}}.items():
            wheel.writestr(path, text)
    return file
"""


def project(name, script):
    """The files of a project whose back end runs `script`, which says what `value` is."""
    return [("pyproject.toml", PYPROJECT), ("backend.py", BACKEND.format(name=name, script=script))]


class World:
    """An index with source distributions, the real Debian, and a family that builds `projects`."""

    def __init__(self, name, projects, table=True, packages=()):
        self.mirror = mirror.Mirror()
        wheels = harness.built().locked()["wheel"]
        tool = mirror.uv()
        self.mirror.files[f"/wheels/{tool[0]}"] = tool[2]
        # What legacy projects are built with.
        for wheel in [it for it in wheels if it["name"] in ("packaging", "setuptools", "wheel")]:
            path = harness.built().store / "downloads/sha256" / wheel["sha256"].split(":")[1]
            self.mirror.files[f"/wheels/{wheel['file']}"] = path.read_bytes()
        for it, files in projects.items():
            self.mirror.sdist(it, files=files)
        bundle = f"requirements = {[*projects]}\n"
        for it in projects:
            bundle += f"\n[from-source.{it}]\npackages = {[*packages]}\n" * table
        family = small.write_family(harness.scratch(name) / "family", {"built": bundle})
        self.env = {"KILN_SOURCE_PYPI": f"{self.mirror.url}/simple"}
        self.kiln = harness.Kiln(harness.built().store, family)

    def run(self, *arguments, **options):
        return self.kiln.run(*arguments, env=self.env, **options)

    def says(self, program):
        self.run("build", "built")
        return self.run("run", "built", "--", "python", "-c", program).stdout


class Made(unittest.TestCase):
    """Projects that are made here."""

    def test_a_legacy_project_with_c_code(self):
        world = World("fast", {"fast": FAST}, packages=["gcc", "libc6-dev", "python3-dev"])
        world.run("lock")
        self.assertEqual(world.says("import fast; print(fast.answer())"), "42\n")
        lock = (world.kiln.family / "kiln.lock").read_bytes()
        world.run("lock")
        self.assertEqual((world.kiln.family / "kiln.lock").read_bytes(), lock)
        # The compiler is in no image.
        found = world.run("run", "built", "--", "sh", "-c", "command -v gcc", check=False)
        self.assertNotEqual(found.returncode, 0)

    def test_a_build_has_no_network_and_no_day_and_nothing_of_this_machine(self):
        script = """
    found = sorted(os.environ)
    value = [os.environ.get("SOURCE_DATE_EPOCH"), socket.gethostname(), "KILN_TEST_SECRET" in found]
    try:
        socket.create_connection(("127.0.0.1", PORT), timeout=5)
    except ConnectionRefusedError:
        value.append("refused")
"""
        script = script.strip().replace("PORT", "9")
        world = World("walls", {"walls": project("walls", script)})
        world.env["KILN_TEST_SECRET"] = "secret"
        world.run("lock")
        said = world.says("import walls; print(walls.VALUE)")
        self.assertEqual(said, "['315532800', 'kiln', False, 'refused']\n")

    def test_a_build_that_gives_another_wheel_than_the_lock_says_fails(self):
        world = World("random", {"dice": project("dice", "value = time.time_ns()")})
        world.run("lock")
        elsewhere = harness.Kiln(harness.scratch("random") / "store", world.kiln.family)
        elsewhere.run("store", "path")
        for file in (world.kiln.store / "downloads/sha256").iterdir():
            os.link(file, elsewhere.store / "downloads/sha256" / file.name)
        done = elsewhere.run("build", "built", env=world.env, check=False)
        self.assertEqual(done.returncode, INTEGRITY, done.stderr)
        self.assertIn("dice", done.stderr)
        self.assertNotIn("panicked", done.stderr)

    def test_a_build_that_fails_shows_what_it_said(self):
        script = "raise SystemExit('there is no such thing')"
        world = World("broken", {"broken": project("broken", script)})
        done = world.run("lock", check=False)
        self.assertEqual(done.returncode, SANDBOX, done.stderr)
        self.assertIn("there is no such thing", done.stderr)
        self.assertIn("broken", done.stderr)

    def test_a_project_without_a_table_is_not_built(self):
        world = World("refused", {"fast": FAST}, table=False)
        done = world.run("lock", check=False)
        self.assertEqual(done.returncode, RESOLUTION, done.stderr)
        self.assertRegex(done.stderr, r"hint: .*\[from-source\.fast\]")


if __name__ == "__main__":
    unittest.main()
