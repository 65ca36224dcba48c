"""Wheels that kiln builds beside those that pip builds of the same source distributions, with the
same build requirements, in an image with the same operating system and Python."""

import subprocess
import tomllib
import unittest
import zipfile

import harness
import small

COMPILER = ["gcc", "libc6-dev", "python3-dev"]
# Projects of which the index has no wheel at these versions: legacy `setup.py`, C code, hatchling;
# and flit's own, whose back end is in its own tree.
PROJECTS = {
    "docopt": ("0.6.2", []),
    "antlr4-python3-runtime": ("4.9.3", []),
    "crcmod": ("1.7", COMPILER),
    "reqif": ("0.0.35", []),
    "flit-core": ("3.12.0", []),
}


def family(name, text):
    return harness.Kiln(
        harness.WORK / "store", small.write_family(harness.scratch(name) / "family", {name: text})
    )


def ours():
    """kiln with the images of the projects, and their locked wheels."""
    text = f"requirements = {[f'{name}=={it[0]}' for name, it in PROJECTS.items()]}\n"
    for name, (_, packages) in PROJECTS.items():
        text += f"\n[from-source.{name}]\npackages = {packages}\n"
    kiln = family("built", text)
    kiln.run("lock")
    kiln.run("build", "built")
    return kiln, tomllib.loads((kiln.family / "kiln.lock").read_text())["wheel"]


def theirs(kiln, wheels):
    """The wheels that pip builds, by project."""
    sources = [it for it in wheels if "built_from" in it]
    wanted = {id for it in sources for id in it["built_from"].get("requirements", [])}
    pins = [f"{it['name']}=={it['version']}" for it in wheels if it["id"] in wanted]
    pip = family("pip", f"packages = {COMPILER}\nrequirements = {['pip', *pins]}\n")
    pip.run("lock")
    pip.run("build", "pip")
    place = harness.scratch("pip")
    (place / "out").mkdir()
    for it in sources:
        digest = it["built_from"]["sha256"].removeprefix("sha256:")
        archive = kiln.store / "downloads/sha256" / digest
        (place / it["built_from"]["file"]).write_bytes(archive.read_bytes())
    command = "python -m pip wheel --no-deps --no-build-isolation --no-index --no-cache-dir -w out"
    files = [it["built_from"]["file"] for it in sources]
    pip.run(
        *["run", "pip", "--user", "0:0", "--volume", f"{place}:/work"],
        *["--env", "SOURCE_DATE_EPOCH=315532800", "--", "sh", "-c"],
        f"cd /work && {command} {' '.join(files)}",
    )
    return {path.name: path for path in (place / "out").iterdir()}


def content(path):
    """What a wheel holds, but for the list of it; libraries without what says where they were
    compiled."""
    with zipfile.ZipFile(path) as wheel:
        names = [it for it in wheel.namelist() if not it.endswith(("/", ".dist-info/RECORD"))]
        return {name: stripped(name, wheel.read(name)) for name in names}


def stripped(name, content):
    if not name.endswith(".so"):
        return content
    path = harness.scratch("so") / "library"
    path.write_bytes(content)
    remove = ["--remove-section=.note.gnu.build-id", "--remove-section=.gnu_debuglink"]
    subprocess.run(["objcopy", "--strip-debug", *remove, path], check=True)
    return path.read_bytes()


class Equality(unittest.TestCase):
    def test_wheels_hold_what_those_of_pip_hold(self):
        kiln, wheels = ours()
        built = {it["file"]: it for it in wheels if "built_from" in it}
        expected = theirs(kiln, wheels)
        self.assertEqual(sorted(built), sorted(expected))
        for file, wheel in built.items():
            with self.subTest(file):
                mine = content(kiln.blob(wheel["sha256"]))
                pips = content(expected[file])
                self.assertEqual(sorted(mine), sorted(pips))
                different = [name for name in mine if mine[name] != pips[name]]
                self.assertEqual(different, [])

    def test_they_work_where_they_are_installed(self):
        kiln, _ = ours()
        program = (
            "import crcmod._crcfunext, crcmod.predefined, docopt, antlr4, reqif, flit_core;"
            "print(hex(crcmod.predefined.mkCrcFun('crc-32')(b'123456789')))"
        )
        said = kiln.run("run", "built", "--", "python", "-c", program).stdout
        # The check value of CRC-32 in every catalogue of such functions.
        self.assertEqual(said, "0xcbf43926\n")


if __name__ == "__main__":
    unittest.main()
