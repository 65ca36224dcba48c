"""Modules that are compiled ahead: what Python itself would have compiled, and nothing else changes."""

import json
import os
import re
import unittest

import harness
import trees

FULL = "KILN_E2E_FULL" in os.environ
PREFIX = "opt/app-root"
MINIMAL = "runtime-minimal"
IMAGES = [MINIMAL, "runtime-minimal-d13"] + [harness.IMAGE, f"{harness.IMAGE}-d13"] * FULL

# Run by the image's own Python: how each module was compiled, beside what Python makes of it.
COMPARE = """
import _imp, importlib.util, json, marshal, os, struct, sys, warnings

warnings.simplefilter("ignore")


def same(one, other):
    if type(one) is not type(other):
        return False
    if hasattr(one, "co_code"):
        names = [name for name in dir(one) if name.startswith("co_") and not callable(getattr(one, name))]
        return all(same(getattr(one, name), getattr(other, name)) for name in names)
    if isinstance(one, tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, frozenset):
        return sorted(map(repr, one)) == sorted(map(repr, other))
    return repr(one) == repr(other)  # 0.0 is not -0.0, and NaN is NaN


wrong, count, left_out = [], 0, []
for directory, _, files in os.walk(sys.argv[1]):
    for name in files:
        if not name.endswith(".py"):
            continue
        path = os.path.join(directory, name)
        with open(path, "rb") as file:
            source = file.read()
        try:
            code = compile(source, path, "exec", dont_inherit=True, optimize=0)
        except (SyntaxError, ValueError, RecursionError):
            code = None
        try:
            with open(importlib.util.cache_from_source(path), "rb") as file:
                compiled = file.read()
        except FileNotFoundError:
            left_out.append(path)
            if code is not None:
                wrong.append("not compiled: " + path)
            continue
        count += 1
        header = importlib.util.MAGIC_NUMBER + struct.pack("<I", 1)
        header += _imp.source_hash(importlib.util._RAW_MAGIC_NUMBER, source)
        if code is None or compiled[:16] != header or not same(code, marshal.loads(compiled[16:])):
            wrong.append("differs: " + path)
print(json.dumps([count, left_out, wrong]))
"""


def bytecode(tree):
    """The paths of compiled modules in the Python tree."""
    return {path for path in tree if path.startswith(f"{PREFIX}/") and path.endswith(".pyc")}


class Compiled(unittest.TestCase):
    maxDiff = None

    def test_modules_are_what_python_compiles(self):
        kiln = harness.built()
        for image in IMAGES:
            with self.subTest(image):
                kiln.build(image)
                program = ["python", "-I", "-c", COMPARE, f"/{PREFIX}/lib"]
                done = kiln.run("run", "--read-only", image, "--", *program)
                count, left_out, wrong = json.loads(done.stdout)
                self.assertEqual(wrong[:50], [])
                self.assertGreater(count, 500)
                self.assertLess(len(left_out), count / 100)

    def test_modules_of_the_image_are_not_read_from_their_sources(self):
        kiln = harness.built()
        for image, imports in [(MINIMAL, "pip._internal.commands.install"), (harness.IMAGE, "pandas")]:
            kiln.build(image)
            # -v tells of every module where its code comes from.
            program = ["python", "-v", "-c", f"import {imports}"]
            said = kiln.run("run", "--read-only", image, "--", *program).stderr
            loaded = re.findall(rf"^# code object from '?(/{PREFIX}/\S+?)'?$", said, re.MULTILINE)
            self.assertGreater(len(loaded), 50)
            self.assertEqual([path for path in loaded if not path.endswith(".pyc")], [])
            self.assertNotIn("# wrote", said)

    def test_owners_and_modes_are_those_of_the_sources(self):
        kiln = harness.built()
        tree = trees.of_layers([blob for blob, _ in kiln.layers()])
        self.assertGreater(len(bytecode(tree)), 5_000)
        for path in bytecode(tree):
            node, directory = tree[path], tree[path.rpartition("/")[0]]
            self.assertEqual((node.uid, node.gid, node.mode), (1001, 0, 0o664), path)
            self.assertEqual((directory.uid, directory.gid, directory.mode), (1001, 0, 0o775), path)

    def test_another_image_in_the_same_build_changes_nothing(self):
        alone = harness.with_downloads("alone")
        self.assertEqual(
            alone.build(MINIMAL)["manifest"], harness.built().build(MINIMAL)["manifest"]
        )

    def test_without_bytecode_everything_else_is_the_same(self):
        whole = harness.built()
        without = harness.with_downloads("without")
        layers = [layer["digest"] for layer in without.build(MINIMAL, "--no-bytecode")["layers"]]
        of_whole = [layer["digest"] for layer in whole.build(MINIMAL)["layers"]]
        self.assertEqual([digest for digest in of_whole if digest in layers], layers)
        self.assertGreater(len(of_whole), len(layers))
        tree = trees.of_layers([blob for blob, _ in without.layers(MINIMAL)])
        self.assertEqual(bytecode(tree), set())


if __name__ == "__main__":
    unittest.main()
