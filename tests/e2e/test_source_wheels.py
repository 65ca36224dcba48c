"""Wheels that are built from source distributions: offline, in a locked environment, the same each
time."""

import functools
import os
import tomllib
import unittest

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


# Real projects whose releases are, or can be, source distributions: how they are required, what building
# them needs, and a program that uses them.
C = ["gcc", "libc6-dev", "python3-dev"]
REAL = {
    # `setup.py` alone, without `pyproject.toml`
    "docopt": ("docopt==0.6.2", [], "import docopt; print(docopt.docopt('Usage: x <a>', ['1']))"),
    # a compiled module
    "crcmod": (
        "crcmod==1.7",
        C,
        "import crcmod._crcfunext, crcmod.predefined as p; print(p.mkCrcFun('crc-16')(b'123456789'))",
    ),
    # hatchling
    "reqif": ("reqif==0.0.35", [], "import reqif; print(reqif.__version__)"),
    # flit, which builds itself
    "flit-core": ("flit_core==3.12.0", [], "import flit_core; print(flit_core.__version__)"),
}
SPARK = {"pyspark": ("pyspark==3.5.9", [], "import pyspark; print(pyspark.__version__)")}


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


class Real(unittest.TestCase):
    """Projects of the index that this machine uses."""

    SAID = {"docopt": "{'<a>': '1'}", "crcmod": "47933", "flit-core": "3.12.0", "reqif": "0.0.35"}
    SAID |= {"pyspark": "3.5.9"} if FULL else {}

    @classmethod
    @functools.cache
    def kiln(cls):
        projects = REAL | (SPARK if FULL else {})
        bundle = f"requirements = {[requirement for requirement, _, _ in projects.values()]}\n"
        for name, (_, packages, _) in projects.items():
            bundle += f"\n[from-source.{name}]\npackages = {packages}\n"
        family = small.write_family(harness.scratch("real") / "family", {"real": bundle})
        kiln = harness.Kiln(harness.built().store, family)
        kiln.run("lock")
        kiln.build("real")
        return kiln

    def test_they_work(self):
        for name, (_, _, program) in (REAL | (SPARK if FULL else {})).items():
            with self.subTest(name):
                said = self.kiln().run("run", "real", "--", "python", "-c", program).stdout
                self.assertEqual(said.strip(), self.SAID[name])

    def test_the_lock_names_all_that_they_are_built_from(self):
        lock = tomllib.loads((self.kiln().family / "kiln.lock").read_text())
        built = {wheel["name"]: wheel["built_from"] for wheel in lock["wheel"] if "built_from" in wheel}
        self.assertEqual(built.keys(), self.SAID.keys())

    def test_they_are_the_same_everywhere(self):
        again = harness.Kiln(harness.scratch("real") / "store", self.kiln().family)
        again.run("store", "path")
        for file in (self.kiln().store / "downloads/sha256").iterdir():
            os.link(file, again.store / "downloads/sha256" / file.name)
        self.assertEqual(again.build("real")["manifest"], self.kiln().build("real")["manifest"])


if __name__ == "__main__":
    unittest.main()
