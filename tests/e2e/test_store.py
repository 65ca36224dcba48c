"""`kiln store`: what it keeps, what it lets go."""

import unittest

import harness


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
