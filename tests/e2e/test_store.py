"""`kiln store`: what it keeps, what it lets go."""

import unittest

import harness
from mirror import World

USAGE = 2


class Forgotten(unittest.TestCase):
    def test_an_image_that_was_taken_out_is_freed_and_its_siblings_stay(self):
        kiln = harness.with_downloads("forgotten")
        kiln.build("runtime-minimal", "--pack-only")
        small = {path.name for path in (kiln.store / "blobs/sha256").iterdir()}
        kiln.build("runtime-datascience", "--pack-only")
        everything = {path.name for path in (kiln.store / "blobs/sha256").iterdir()}
        name = kiln.json("inspect", "runtime-datascience")[0]["image"]
        removed = kiln.json("store", "rm", "runtime-datascience")
        self.assertEqual(removed, [{"removed_images": [name]}])
        gone = kiln.run("inspect", name, check=False)
        self.assertEqual(gone.returncode, 2)
        self.assertIn("is not built", gone.stderr)
        # Nothing but the name is gone.
        self.assertEqual({it.name for it in (kiln.store / "blobs/sha256").iterdir()}, everything)
        kiln.run("store", "gc")
        self.assertEqual({it.name for it in (kiln.store / "blobs/sha256").iterdir()}, small)
        kiln.run("store", "verify")
        kiln.run("inspect", "runtime-minimal")

    def test_where_the_store_is(self):
        kiln = harness.built()
        self.assertEqual(kiln.run("store", "path").stdout, f"{kiln.store}\n")
        self.assertEqual(kiln.json("store", "path"), [{"store": str(kiln.store)}])


def accelerated(_, family):
    """A second runtime image, whose name holds all of the first's."""
    (family / "accelerators").mkdir()
    (family / "accelerators/fast.toml").write_text(
        'title = "Fast"\nkind = "cuda"\ncode = "cuda13.fast"\n[cuda]\nversion = "13.0"\nflavour = "base"\n'
    )
    kiln = (family / "kiln.toml").read_text()
    image = '[[image]]\nbase = "small"\nbundle = "plain"\naccelerator = "fast"\nide = "runtime"\n'
    (family / "kiln.toml").write_text(f"{kiln}\n{image}")


class Meant(unittest.TestCase):
    def test_a_name_means_what_the_lock_says_and_no_other_image_that_is_built(self):
        it = World("meant", accelerated)
        it.build("cuda13.fast-runtime-plain")
        [fast] = it.kiln.json("inspect", "cuda13")
        self.assertTrue(fast["image"].startswith("cuda13.fast-runtime-plain-s1-"))
        plain = fast["image"].removeprefix("cuda13.fast-")
        for said in [plain, "runtime-plain"]:
            code, errors = it.fails("inspect", said)
            self.assertEqual((code, f"`{said}` is not built" in errors), (USAGE, True), errors)
        # A glob takes what is there.
        self.assertEqual(it.kiln.json("inspect", "*runtime-plain*"), [fast])
        it.build("runtime-plain")
        self.assertEqual([one["image"] for one in it.kiln.json("inspect", plain)], [plain])
