"""What is in images, and why: `kiln why`, `kiln diff`, `kiln size`, compared with what is there."""

import gzip
import html.parser
import io
import re
import shutil
import subprocess
import tarfile
import unittest

import harness
from mirror import World

USAGE, NEGATIVE = 2, 1


def layers(world, image):
    """The layers of an image, by digest, with their sizes."""
    manifest = world.kiln.manifest(image)
    return {layer["digest"]: layer["size"] for layer in manifest["layers"]}


def commit(family):
    """Makes a repository of a family; gives how git is called there."""
    git = ["git", "-C", family, "-c", "user.name=T", "-c", "user.email=t@example.org"]
    for words in [("init",), ("add", "."), ("commit", "--message", "first")]:
        subprocess.run([*git, *words], check=True, capture_output=True)
    return git


class Why(unittest.TestCase):
    def test_paths_begin_at_requirements_of_the_family(self):
        world = World("why")
        found = world.kiln.json("why", "alpha")
        self.assertEqual(len(found), 1)
        roots = [path["root"]["requirement"] for path in found[0]["paths"]]
        self.assertEqual(roots, ["alpha", "beta"])
        self.assertEqual(len(found[0]["images"]), 2)
        text = world.run("why", "alpha", "runtime-plain").stdout
        self.assertRegex(text, r"(?m)^  bundles/plain/bundle\.toml:3:\d+ requires beta$")
        self.assertRegex(text, r"(?m)^    beta 1\.0 requires alpha$")
        code, said = world.fails("why", "gama")
        self.assertEqual(code, NEGATIVE)
        self.assertIn("`gamma`", said)
        code, said = world.fails("why", "gamma", "runtime-plain")
        self.assertEqual(code, NEGATIVE)
        self.assertIn("it is in `lab-plain", said)


class Diff(unittest.TestCase):
    def test_what_is_told_to_be_pulled_is_what_the_other_image_lacks(self):
        world = World("diff")
        git = ["git", "-C", world.family, "-c", "user.name=T", "-c", "user.email=t@example.org"]

        def run(*arguments):
            subprocess.run([*git, *arguments], check=True, capture_output=True)

        run("init")
        run("add", ".")
        run("commit", "--message", "first")
        world.run("build", "--all")
        before = {image: layers(world, image) for image in ["runtime-plain", "lab-plain"]}
        elsewhere = harness.scratch("elsewhere") / "family"
        shutil.copytree(world.family, elsewhere)
        world.mirror.wheel("gamma", "2.0", members=[("gamma/data", b"more")])
        world.mirror.wheel("alpha", "1.5")
        world.run("lock", "--upgrade")
        told = world.kiln.json("diff", "HEAD")[0]
        self.assertTrue(told["pull"]["estimated"])
        world.run("build", "--all")
        told = world.kiln.json("diff", "HEAD")[0]
        changes = {
            it["package"]: (it["from"]["version"], it["to"]["version"]) for it in told["packages"]
        }
        self.assertEqual(changes, {"alpha": ("1.0", "1.5"), "gamma": ("1.0", "2.0")})
        self.assertFalse(told["pull"]["estimated"])
        # The store is what says which layers there are.
        for row in told["images"]:
            image = "lab-plain" if row["to"].startswith("lab") else "runtime-plain"
            new = layers(world, row["to"])
            missing = {it: size for it, size in new.items() if it not in before[image]}
            self.assertEqual(row["pull"]["pulled"], len(missing))
            self.assertEqual(row["pull"]["size"], sum(missing.values()))
        # The same in other words: a lock file with its family beside it, an image of a revision.
        from_file = world.kiln.json("diff", elsewhere / "kiln.lock")[0]
        self.assertEqual(from_file["images"], told["images"])
        one = world.kiln.json("diff", "HEAD:lab-plain")[0]
        self.assertEqual(one["images"], [it for it in told["images"] if it["to"].startswith("lab")])
        text = world.run("diff", "HEAD", "--format", "markdown").stdout
        self.assertIn("| gamma | changed | 1.0 → 2.0 |", text)
        # The repository is as it was.
        status = subprocess.run([*git, "status", "--short"], check=True, capture_output=True)
        self.assertEqual(status.stdout.split(), [b"M", b"kiln.lock"])

    def test_a_release_is_compared_with_its_own_lock(self):
        world = World("diff-release")
        own = world.family / "releases/1"
        own.mkdir(parents=True)
        shutil.copytree(world.family / "bundles", own / "bundles")
        (world.family / "kiln.lock").rename(own / "kiln.lock")
        world.edit("kiln.toml", 'release = "1"', 'release = "2"')
        world.edit("bundles/plain/bundle.toml", '["alpha", "beta"]', '["alpha"]')
        world.run("lock")
        commit(world.family)
        for same in ["HEAD", own / "kiln.lock"]:
            told = world.kiln.json("--release", "1", "diff", same)[0]
            self.assertIsNone(told["note"])
            self.assertEqual([it["same"] for it in told["images"]], [True, True])
            self.assertTrue(all("_1_" in it["from"] for it in told["images"]), told)
        told = world.kiln.json("diff", own / "kiln.lock")[0]
        self.assertEqual([it["package"] for it in told["packages"]], ["beta"])
        self.assertIsNone(told["note"])

    def test_revisions_are_compared_whatever_lock_there_is_today_and_from_a_hook(self):
        world = World("diff-history")
        git = commit(world.family)
        subprocess.run([*git, "tag", "v1"], check=True)
        subprocess.run([*git, "rm", "--quiet", "--cached", "kiln.lock"], check=True)
        (world.family / "kiln.lock").unlink()
        elsewhere = {"GIT_DIR": "/nowhere", "GIT_INDEX_FILE": "/nowhere/index"}
        for words, count in [(("v1", "HEAD"), 2), (("v1:lab-plain", "HEAD:lab-plain"), 1)]:
            told = world.kiln.json("diff", *words, env=elsewhere)[0]
            self.assertEqual([it["same"] for it in told["images"]], [True] * count)
        code, said = world.fails("diff", "v1")
        self.assertNotEqual(code, USAGE)
        self.assertIn("`kiln lock` makes it", said)

    def test_of_two_platforms_one_is_meant(self):
        def change(mirror, family):
            path = family / "kiln.toml"
            text = path.read_text()
            path.write_text(text.replace('["linux/amd64"]', '["linux/amd64", "linux/arm64"]'))

        world = World("diff-platforms", change)
        commit(world.family)
        for option in [(), ("--platform", "linux/arm64")]:
            told = world.kiln.json("diff", "HEAD:lab-plain", *option)[0]
            self.assertEqual([it["same"] for it in told["images"]], [True])
            self.assertIsNone(world.kiln.json("size", "lab-plain", *option)[0]["layers"])
        world.edit("kiln.toml", ', "linux/arm64"', "")
        world.run("lock")
        code, said = world.fails("size", "lab-plain", "--platform", "linux/arm64")
        self.assertEqual(code, USAGE)
        self.assertIn("it is locked for linux/amd64", said)

    def test_an_image_that_is_not_clear_is_answered_with_the_near_ones(self):
        world = World("diff-words")
        answers = {"plain": "may mean 2 images", "lab-plian": "did you mean `lab-plain"}
        for word, answer in answers.items():
            code, said = world.fails("diff", word, "lab-plain")
            self.assertEqual(code, USAGE)
            self.assertIn(answer, said)
            self.assertNotIn("git", said)
        code, said = world.fails("diff", "lab-plain")
        self.assertEqual(code, USAGE)
        self.assertIn("or what it was: `kiln diff REV:lab-plain`", said)

    def test_what_cannot_be_compared_is_said(self):
        world = World("nothing-to-compare")
        subprocess.run(["git", "-C", world.family, "init"], check=True, capture_output=True)
        code, said = world.fails("diff", "v1")
        self.assertEqual(code, USAGE)
        self.assertIn("neither a lock file, nor an image, nor a git revision", said)
        code, said = world.fails("diff", "v1:lab-plain", env={"PATH": "/nowhere"})
        self.assertEqual(code, USAGE)
        self.assertIn("git, which cannot be run", said)


class Releases(unittest.TestCase):
    def test_a_name_that_carries_a_release_is_found_in_its_lock(self):
        world = World("named-release")
        own = world.family / "releases/1"
        own.mkdir(parents=True)
        (world.family / "kiln.lock").rename(own / "kiln.lock")
        world.edit("kiln.toml", 'release = "1"', 'release = "2"')
        world.run("lock")
        world.run("build", "lab-plain", "lab-plain_1")
        for release in "12":
            word, named = f"lab-plain_{release}", f"_{release}_"
            sizes = world.kiln.json("size", word)[0]
            self.assertIn(named, sizes["image"])
            self.assertIsNotNone(sizes["layers"])
            self.assertIn(named, world.run("verify-build", word).stdout)
            self.assertIn("gamma", world.run("why", "gamma", word).stdout)
            place = harness.scratch("exported") / release
            done = world.run("export", word, place, "--format", "oci-dir")
            self.assertIn(named, done.stderr)
        code, said = world.fails("why", "gamma", "lab-plain_1", "lab-plain_2")
        self.assertEqual(code, USAGE)
        self.assertIn("several releases", said)


class Size(unittest.TestCase):
    def test_sums_are_those_of_the_layers(self):
        world = World("size")
        planned = world.kiln.json("size", "lab-plain")[0]
        self.assertEqual((planned["layers"], planned["directories"]), (None, []))
        self.assertEqual(world.fails("size", "lab-plain", "--html", "x.html")[0], USAGE)
        world.build("lab-plain")
        sizes = world.kiln.json("size", "lab-plain")[0]
        stored = layers(world, "lab-plain")
        self.assertEqual(sizes["layers"], len(stored))
        unpacked = 0
        for digest in stored:
            content = io.BytesIO(gzip.decompress(world.kiln.blob(digest).read_bytes()))
            with tarfile.open(fileobj=content) as archive:
                unpacked += sum(member.size for member in archive if member.isfile())
        total = {"compressed": sum(stored.values()), "unpacked": unpacked}
        self.assertEqual(sizes["total"], total)
        for key in total:
            packages = [it for component in sizes["components"] for it in component["packages"]]
            self.assertEqual(sum(it[key] for it in packages), total[key])
        of = {it["package"]: it["unpacked"] for it in packages}
        self.assertGreater(of["alpha"], 3_000_000)
        self.assertGreater(of["libsmall"], 3_000_000)  # with its entries in dpkg's database
        page = harness.scratch("page") / "size.html"
        world.run("size", "lab-plain", "--html", page)
        text = page.read_text()
        self.assertIn(">/opt/app-root/lib/python3.11/site-packages/alpha: ", text)
        self.assertEqual(unbalanced(text), [])
        self.assertIsNone(re.search("https?:|<script|src=|href=", text))

    def test_an_image_is_built_however_its_layers_are_compressed(self):
        for option in [["--compression", "zstd"], ["--lazy", "estargz"]]:
            with self.subTest(option[1]):
                world = World(option[1])
                world.run("build", "lab-plain", *option)
                sizes = world.kiln.json("size", "lab-plain")[0]
                stored = layers(world, "lab-plain")
                self.assertEqual(sizes["layers"], len(stored))
                self.assertEqual(sizes["total"]["compressed"], sum(stored.values()))


def unbalanced(text):
    """Elements of a page that are not closed, or are closed without having been opened."""
    wrong, open_elements = [], []

    class Parser(html.parser.HTMLParser):
        def handle_starttag(self, tag, _):
            if tag != "meta":
                open_elements.append(tag)

        def handle_endtag(self, tag):
            if not open_elements or open_elements.pop() != tag:
                wrong.append(tag)

    Parser().feed(text)
    return wrong + open_elements
