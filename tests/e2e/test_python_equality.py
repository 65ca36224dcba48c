"""The Python tree of an image is what `venv` and `pip install --no-deps` make of the locked wheels, and
works as theirs does.

For the reference images and for sets of requirements of the field, kiln's tree and pip's are compared
path by path. A difference that is not in the list below fails the test, and so does an item of the
list that no longer occurs. docs/equality.md holds the same list for readers.
"""

import configparser
import csv
import dataclasses
import functools
import io
import json
import os
import pathlib
import random
import re
import shutil
import unittest
import zipfile

import equality
import harness
import python_sets
import trees

FULL = "KILN_E2E_FULL" in os.environ
# With KILN_E2E_SETS only these sets are looked at: to find out about one of them.
WHOLE = "KILN_E2E_SETS" not in os.environ
# The small sets are of both bases, so one of these large images suffices for a short run.
REFERENCE = ["jupyter-datascience-d12", "jupyter-datascience-d13"][: (2 if FULL else 1) * WHOLE]
SEED = os.environ.get("KILN_E2E_SEED") or str(random.SystemRandom().randrange(10**6))
# Later wheels would make other sets each day.
EXCLUDE_NEWER = "2026-11-15"

DIFFERENCES = {
    "only pip: */REQUESTED": "the files of a package must not depend on who asked for it",
    "record: */REQUESTED": "there is no such file",
    "content: */INSTALLER": "it names the installer, which is `kiln`",
    "record: */INSTALLER": "hash and size of another content",
    "only pip: bin/Activate.ps1": "no PowerShell in the images",
    "only pip: .gitignore": "`venv` of Python 3.13 writes one that says `*`: tools that obey it "
    "would ignore all that users keep below",
    "content: bin/activate*": "kiln's own scripts, which set what those of `venv` set and do not "
    "change with Python",
    "mode: bin/activate*": "`venv` copies the mode of its template; kiln gives every file the "
    "mode of the user policy",
    "content: pyvenv.cfg": "Python's version as `X.Y`: a bug-fix release of Python changes no layer",
    "only kiln: bin/start-notebook.sh": "a file of the family, from the IDE",
    "only kiln: src": "the user's home, from the family",
    "only kiln: */__pycache__*": "compiled modules, which are compared with Python's own",
}

# The files of the environment itself, and of the family.
OF_NO_PACKAGE = re.compile(
    r"bin/(activate(\.csh|\.fish)?|python(3(\.\d+)?)?|start-notebook\.sh)|lib64|pyvenv\.cfg"
)
PREFIX = "opt/app-root"
USER, GROUP = 1001, 0
REPRODUCIBLE_MTIME = 315532800  # 1980-01-01T00:00:00Z
# What makes the part of the system; all else makes the Python tree.
OF_THE_SYSTEM = {"pack-debs", "deb-database", "configure"}


@dataclasses.dataclass(frozen=True)
class Examined:
    """What is known of an image: its wheels, how its Python tree differs from pip's and from the
    policy of owners and times; and what `installed.py` says in it, if it is one of a set."""

    name: str
    wheels: dict[str, pathlib.Path]
    versions: list[list[str]]
    differences: list[str]
    foreign: list[str]
    said: dict


@functools.cache
def place():
    """Where everything of this module is."""
    path = harness.scratch("python")
    path.chmod(0o755)
    return path


def setUpModule():
    print(f"what is uninstalled is chosen by KILN_E2E_SEED={SEED}")


def tearDownModule():
    shutil.rmtree(place())


@functools.cache
def of_sets():
    """kiln with a family of the sets. Compiling the modules of all would take most of the time."""
    family = python_sets.write_family(place() / "family", python_sets.CHOSEN, bytecode=not FULL)
    if FULL and WHOLE:  # a store of its own, which can be made smaller
        kiln = harness.with_downloads("python-store", family)
    else:
        kiln = harness.Kiln(harness.built().store, family)
    kiln.run("lock", "--exclude-newer", EXCLUDE_NEWER)
    return kiln


def of_references():
    """The reference images: kiln with its family, and a part of the name that only it has."""
    return [(harness.built(), image) for image in REFERENCE]


def images_of_sets():
    """The images of the sets, likewise."""
    return [(of_sets(), f"runtime-{name}") for name in python_sets.CHOSEN]


@functools.cache
def examined(kiln, image):
    kiln.build(image)
    locked = kiln.locked(image)["wheel"]
    wheels = {
        it["file"]: kiln.store / "downloads/sha256" / it["sha256"].removeprefix("sha256:")
        for it in locked
    }
    layers = python_layers(kiln, image)
    ours = trees.below(trees.of_layers(layers), PREFIX)
    environment = installed_by_pip(kiln, image, locked, wheels)
    found = Examined(
        image,
        wheels,
        sorted([it["name"], it["version"]] for it in locked),
        list(differences(environment, layers, ours)),
        [path for path, it in ours.items() if not of_the_user(it)],
        said_inside(kiln, image) if image not in REFERENCE else {},
    )
    shutil.rmtree(environment)
    if FULL and WHOLE and image not in REFERENCE:
        kiln.run("store", "gc")  # gigabytes of unpacked layers
    return found


def python_layers(kiln, image):
    """The layers of an image that hold its Python tree, bottom first."""
    *steps, total = [it for it in kiln.json("plan", image) if "step" in it or "image" in it]
    kinds = {it["step"]: it["action"]["kind"] for it in steps}
    blobs = [blob for blob, _ in kiln.layers(image)]
    return [
        blob
        for blob, step in zip(blobs, total["layers"], strict=True)
        if not OF_THE_SYSTEM & set(kinds[step])
    ]


def of_the_user(node):
    return (node.uid, node.gid, node.mtime) == (USER, GROUP, REPRODUCIBLE_MTIME)


def installed_by_pip(kiln, image, locked, wheels):
    """The directory of an environment that the image's own Python makes with `venv` and pip, below
    the image's own operating system and at the place where kiln puts its own."""
    environment, links = place() / "environment", place() / "wheels"
    environment.mkdir()
    links.mkdir()
    for file, path in wheels.items():
        os.link(path, links / file)
    # As pip takes it from an index, but that the index is a directory.
    (links / "requirements.txt").write_text(
        "".join(f"{it['name']}=={it['version']}\n" for it in locked)
    )
    pip = next(it["file"] for it in locked if it["name"] == "pip")
    install = (
        f"umask 002; python=$(readlink /usr/bin/python3); "
        f"/usr/bin/$python -m venv --without-pip /{PREFIX} && "
        f"exec /{PREFIX}/bin/$python /mnt/{pip}/pip install --quiet --no-deps --no-compile "
        "--no-cache-dir --no-index --find-links /mnt --requirement /mnt/requirements.txt"
    )
    clean = ["/usr/bin/env", "-i", "PATH=/usr/bin", "HOME=/tmp", "LC_ALL=C.UTF-8"]
    clean += ["PYTHONDONTWRITEBYTECODE=1", "PIP_ROOT_USER_ACTION=ignore"]
    clean += ["PIP_CONFIG_FILE=/dev/null", "PIP_DISABLE_PIP_VERSION_CHECK=1"]
    kiln.run(
        *["run", "--user", "0:0", "--workdir", "/", "--volume", f"{links}:/mnt:ro"],
        *["--volume", f"{environment}:/{PREFIX}", image, "--", *clean, "/bin/sh", "-c", install],
    )
    shutil.rmtree(links)
    return environment


def differences(environment, layers, ours):
    """How the trees differ; of RECORD files, how their rows do."""
    theirs = trees.below(trees.of_directory(environment.parent), environment.name)
    records = trees.contents_in_layers(layers, "*/RECORD")
    aspects = ["mode", "content", "target", "links"]
    for difference in equality.compare(theirs, ours, ["pip", "kiln"], aspects):
        path = difference.removeprefix("content: ")
        if path != difference and path.endswith(".dist-info/RECORD"):
            their_rows = record_rows((environment / path).read_bytes())
            our_rows = record_rows(records[f"{PREFIX}/{path}"])
            for file in sorted(their_rows.keys() | our_rows.keys()):
                if their_rows.get(file) != our_rows.get(file):
                    yield f"record: {file}"
        else:
            yield difference


def record_rows(content):
    """The rows of a RECORD by path; there may be several of one path."""
    rows = {}
    for row in csv.reader(io.StringIO(content.decode(), newline="")):
        rows.setdefault(row[0], []).append(row)
    return rows


def said_inside(kiln, image):
    """What `installed.py` says in the image."""
    exchange = place() / "exchange"
    exchange.mkdir()
    shutil.copy(pathlib.Path(__file__).with_name("installed.py"), exchange)
    done = kiln.run(
        *["run", "--user", "0:0", "--volume", f"{exchange}:/mnt", "--env", "HOME=/tmp"],
        *["--env", "PYTHONDONTWRITEBYTECODE=1", image, "--"],
        *["python", "/mnt/installed.py", SEED, "/mnt"],
        check=False,
    )
    if done.returncode != 0:
        raise AssertionError(f"{image}: ended with {done.returncode}:\n{done.stderr[-5000:]}")
    said = json.loads((exchange / "said.json").read_text())
    shutil.rmtree(exchange)
    return said


def normal(name):
    """The normal form of a project's name."""
    return re.sub(r"[-_.]+", "-", name).lower()


def entry_points(wheel):
    """The rows of `entry_points.txt` of a wheel: group, name, value."""
    with zipfile.ZipFile(wheel) as archive:
        own = re.compile(r"[^/]+\.dist-info/entry_points\.txt")
        paths = [it for it in archive.namelist() if own.fullmatch(it)]
        if not paths:
            return []
        parser = configparser.ConfigParser(delimiters=("=",), interpolation=None, strict=False)
        parser.optionxform = str
        parser.read_string(archive.read(paths[0]).decode())
        return sorted([group, *it] for group in parser.sections() for it in parser.items(group))


class Python(equality.Equality):
    def of_all(self):
        return [examined(*it) for it in of_references() + images_of_sets()]

    def of_sets(self):
        return [examined(*it) for it in images_of_sets()]

    def test_the_tree_is_what_venv_and_pip_make(self):
        found = [it for image in self.of_all() for it in image.differences]
        self.check(found, DIFFERENCES, DIFFERENCES if WHOLE else {})

    def test_the_tree_belongs_to_the_user_and_has_one_time(self):
        for image in self.of_all():
            self.assertEqual(image.foreign, [], image.name)

    @unittest.skipUnless(WHOLE, "some sets only")
    def test_the_sets_are_of_many_wheels(self):
        wheels = {file for image in self.of_sets() for file in image.wheels}
        self.assertGreater(len(wheels), 400 if FULL else 100)

    def test_pip_check_finds_nothing_wrong(self):
        for image in self.of_sets():
            said = image.said["check"]
            self.assertEqual(said, [0, "No broken requirements found.\n"], image.name)

    def test_importlib_metadata_agrees_with_the_lock(self):
        for image in self.of_sets():
            versions = sorted([normal(name), version] for name, version in image.said["versions"])
            self.assertEqual(versions, image.versions, image.name)
            self.assertEqual(image.said["installers"], ["kiln\n"], image.name)
            self.assertEqual(image.said["direct"], [], image.name)

    def test_every_file_is_in_a_record_with_its_hash(self):
        for image in self.of_sets():
            self.assertEqual(image.said["wrong_rows"], [], image.name)
            others = [it for it in image.said["unowned"] if not OF_NO_PACKAGE.fullmatch(it)]
            self.assertEqual(others, [], image.name)

    def test_entry_points_are_those_of_the_wheels(self):
        for image in self.of_sets():
            theirs = {normal(it.split("-")[0]): entry_points(path) for it, path in image.wheels.items()}
            ours = {normal(name): points for name, points in image.said["entry_points"].items()}
            self.assertEqual(ours, theirs, image.name)

    def test_every_module_can_be_imported(self):
        errors = [
            f"{module}: {why}"
            for image in self.of_sets()
            for module, why in image.said["errors"].items()
        ]
        expected = python_sets.UNIMPORTABLE
        self.check(errors, expected, expected if FULL and WHOLE else {})

    def test_pip_uninstalls_without_leaving_anything(self):
        for image in self.of_sets():
            done = image.said["uninstalled"]
            what = f"{image.name}, KILN_E2E_SEED={SEED}: {done['names']}"
            self.assertIsNone(done["failed"], what)
            self.assertEqual([done["left"], done["lost"], done["new"]], [[], [], []], what)


class Documents(unittest.TestCase):
    maxDiff = None

    def test_the_written_list_is_this(self):
        rows = equality.written("Python")
        self.assertEqual(rows, [*DIFFERENCES.items()])


if __name__ == "__main__":
    unittest.main()
