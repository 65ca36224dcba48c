"""`kiln add`, `kiln remove` and `kiln outdated`: files are edited and locked together or not at all."""

import os
import shutil
import signal
import subprocess
import threading
import tomllib
import unittest

import harness
import waiting
from mirror import World

NEGATIVE, USAGE, RECIPE, RESOLUTION, STORAGE = 1, 2, 3, 4, 8
BUNDLE = "bundles/plain/bundle.toml"


def files(family):
    """Everything in a family's directory: content, and where links lead."""
    found = {}
    for path in sorted(family.rglob("*")):
        name = path.relative_to(family).as_posix()
        if path.is_symlink():
            found[name] = os.readlink(path)
        elif path.is_file():
            found[name] = path.read_bytes()
    return found


def offers_delta(mirror, _):
    """The project that is added, and what a conflict needs."""
    mirror.wheel("delta", "1.2.3", requires=["gamma"])
    mirror.wheel("picky", "1.0", requires=["alpha>=2"])


def world(name, lock=True):
    return World(name, offers_delta, lock)


class Add(unittest.TestCase):
    def test_what_is_added_and_removed_again_leaves_every_byte(self):
        it = world("add")
        bundle = it.family / BUNDLE
        text = '# Why.\r\nrequirements = [ # all\r\n  "alpha",\r\n  "beta" # two\r\n]\r\n[env]\r\n'
        bundle.write_bytes(text.encode())
        it.run("lock")
        before = files(it.family)
        said = it.run("add", "Delta", "--to", "plain").stdout
        self.assertIn("`Delta~=1.2.0` is added to bundle/plain (bundles/plain/bundle.toml:5:3)", said)
        self.assertIn("\n+ delta 1.2.3\n", said)
        edited = text.replace('"beta" # two', '"beta", # two\r\n  "Delta~=1.2.0"')
        self.assertEqual(bundle.read_bytes().decode(), edited)
        self.assertEqual(it.run("lock").stdout, "nothing changed\n")
        lines = it.kiln.json("remove", "delta", "--from", "plain", env=it.mirror.env)
        edits = [line for line in lines if line["event"] == "edited"]
        self.assertEqual([(line["from"], line["to"]) for line in edits], [("Delta~=1.2.0", None)])
        self.assertEqual(files(it.family), before)

    def test_the_same_with_a_real_family_and_the_real_index(self):
        family = harness.scratch("cowsay") / "family"
        shutil.copytree(harness.fresh_family(), family)
        images = [("debian-12", "minimal", "runtime"), ("debian-13", "minimal", "jupyter")]
        harness.only_images(family, images)
        # Locked today, so that no date moves later.
        (family / "kiln.lock").unlink()
        kiln = harness.Kiln(harness.WORK / "store", family)
        kiln.run("lock", "--no-lint")
        before = files(family)
        kiln.run("add", "cowsay", "--to", "minimal")
        bundle = tomllib.loads((family / "bundles/minimal/bundle.toml").read_text())
        self.assertRegex(bundle["requirements"][0], r"^cowsay~=\d+\.\d+\.0$")
        kiln.run("lock", "--check")
        kiln.run("remove", "cowsay", "--from", "minimal")
        self.assertEqual(files(family), before)

    def test_what_cannot_be_locked_is_not_written(self):
        it = world("conflict")
        before = files(it.family)
        for wanted, code, said in [
            ("alpha~=9.0", RESOLUTION, "`alpha~=9.0` of bundle/plain"),
            ("no-such-project", RESOLUTION, "no-such-project"),
            ("delta=>1", USAGE, "\n       ^"),
            ("delta @ https://example.org/delta.whl", USAGE, "by URL"),
        ]:
            found, errors = it.fails("add", wanted, "--to", "plain")
            self.assertEqual((found, said in errors), (code, True), errors)
            self.assertEqual(files(it.family), before)
        it.run("add", "delta", "--to", "plain", "--dry-run")
        self.assertEqual(files(it.family), before)
        it.fails("add", "delta", "--to", "plain", "--offline")
        self.assertEqual(files(it.family), before)

    def test_a_change_that_would_move_another_image_is_refused(self):
        it = world("moves")
        it.mirror.wheel("alpha", "2.0")
        before = files(it.family)
        code, errors = it.fails("add", "picky", "--to", "ide/lab")
        self.assertEqual(code, RESOLUTION)
        self.assertIn("hint: `--allow-moves` moves them", errors)
        self.assertEqual(files(it.family), before)
        said = it.run("add", "picky", "--to", "ide/lab", "--allow-moves").stdout
        self.assertIn("~ alpha 1.0 → 2.0", said)
        self.assertEqual(it.run("lock").stdout, "nothing changed\n")

    def test_an_end_at_any_instant_leaves_both_files_or_the_edited_one_alone(self):
        it = world("killed")
        before = files(it.family)
        for end in [signal.SIGKILL, signal.SIGINT, signal.SIGTERM]:
            go_on = threading.Event()

            def waits(handler, body):
                go_on.wait()
                handler.close_connection = True

            seen = it.mirror.requests["/simple/delta/"]
            with it.mirror.faulty("/simple/delta", waits):
                command = [harness.KILN, "--store", it.store, "--family", it.family]
                child = subprocess.Popen(
                    [*command, "add", "delta", "--to", "plain"],
                    env={**os.environ, **it.mirror.env},
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
                asked = lambda: it.mirror.requests["/simple/delta/"] > seen
                waiting.until(asked, "the index is asked")
                child.send_signal(end)
                self.assertNotEqual(child.wait(), 0)
                go_on.set()
            self.assertEqual(files(it.family), before)
        # What a kill between the two files leaves is completed by the same command.
        it.run("add", "delta~=1.2.0", "--to", "plain", "--no-lock")
        self.assertEqual(it.fails("lock", "--check")[0], NEGATIVE)
        said = it.run("add", "delta", "--to", "plain").stdout
        self.assertIn("`delta~=1.2.0` is in bundle/plain already", said)
        self.assertIn("+ delta 1.2.3", said)
        it.run("lock", "--check")

    def test_a_lock_that_cannot_be_put_takes_the_edit_back(self):
        it = world("unput")
        before = files(it.family)
        trace = harness.scratch("unput-trace") / "trace"
        renames = "rename,renameat,renameat2"
        done = subprocess.run(
            [
                *["strace", "--follow-forks", "--quiet=all", "--output", trace, "--trace", renames],
                *["--trace-path", it.family / BUNDLE, "--trace-path", it.family / "kiln.lock"],
                # The component's file comes first, then the lock.
                *["--inject", f"{renames}:error=EIO:when=2"],
                *[harness.KILN, "--store", it.store, "--family", it.family, "add", "delta", "--to", "plain"],
            ],
            env={**os.environ, **it.mirror.env},
            stderr=subprocess.PIPE,
            text=True,
        )
        self.assertEqual(done.returncode, STORAGE, done.stderr)
        self.assertIn("kiln.lock", done.stderr)
        self.assertIn("Input/output error", done.stderr)
        calls = [line for line in trace.read_text().splitlines() if "rename" in line]
        refused = [("EIO" in line, BUNDLE in line) for line in calls]
        self.assertEqual(refused, [(False, True), (True, False), (False, True)])
        self.assertEqual(files(it.family), before)
        it.run("add", "delta", "--to", "plain")

    def test_links_are_followed_and_files_that_may_not_be_written_are_left(self):
        it = world("link")
        bundle, real = it.family / BUNDLE, it.family / "bundles/elsewhere.toml"
        bundle.rename(real)
        bundle.symlink_to("../elsewhere.toml")
        real.chmod(0o640)
        it.run("add", "delta", "--to", "plain")
        self.assertEqual(os.readlink(bundle), "../elsewhere.toml")
        self.assertIn("delta~=1.2.0", real.read_text())
        self.assertEqual(real.stat().st_mode & 0o777, 0o640)
        it.run("lock", "--check")

    def test_a_release_is_edited_where_it_has_the_file(self):
        it = world("release")
        own = it.family / "releases/1"
        own.mkdir(parents=True)
        (it.family / "kiln.lock").rename(own / "kiln.lock")
        it.edit("kiln.toml", 'release = "1"', 'release = "2"')
        it.run("lock")
        before = files(it.family)
        code, errors = it.fails("--release", "1", "add", "delta", "--to", "plain")
        self.assertEqual(code, USAGE)
        self.assertIn("cp --parents bundles/plain/bundle.toml releases/1/", errors)
        self.assertEqual(files(it.family), before)
        command = ["cp", "--parents", BUNDLE, "releases/1/"]
        subprocess.run(command, cwd=it.family, check=True)
        said = it.run("--release", "1", "add", "delta", "--to", "plain").stdout
        self.assertIn("(releases/1/bundles/plain/bundle.toml:3:", said)
        self.assertEqual(files(it.family)[BUNDLE], before[BUNDLE])
        it.run("lock", "--check")
        it.run("--release", "1", "lock", "--check")
        (own / BUNDLE).unlink()
        it.run("--release", "1", "lock")
        done = it.run("add", "delta", "--to", "plain")
        self.assertIn("warning: `bundles/plain/bundle.toml` is of release 1 as well", done.stderr)

    def test_os_packages_are_added_to_their_own_list(self):
        it = world("os", lock=False)
        it.mirror.deb("libextra", "2.0")
        it.mirror.publish()
        it.run("lock")
        before = files(it.family)
        said = it.run("add", "--os", "libextra (>= 1.5)", "--to", "plain").stdout
        self.assertIn("+ libextra 2.0", said)
        code, errors = it.fails("remove", "libextra", "--from", "plain")
        self.assertEqual((code, "with `--os`" in errors), (USAGE, True), errors)
        it.run("remove", "--os", "libextra", "--from", "plain")
        self.assertEqual(files(it.family), before)

    def test_who_errs_is_told_what_may_have_been_meant(self):
        it = world("errors")
        before = files(it.family)
        for words, said in [
            (["add", "delta", "--to", "plian"], "did you mean `plain`"),
            (["add", "delta", "--to", "cpu"], "make `accelerators/cpu.toml`"),
            (["add", "delta", "delta~=1.0", "--to", "plain"], "`delta` is named twice"),
            (["remove", "alhpa", "--from", "plain"], "did you mean `alpha`?"),
            (["remove", "alpha~=1.0", "--from", "plain"], "name the package alone: `alpha`"),
            (["remove", "gamma", "--from", "plain"], "it is in ide/lab (ides/lab/ide.toml:3:"),
            (["remove", "hello-tools", "--from", "small"], "it is an OS package: with `--os`"),
        ]:
            code, errors = it.fails(*words)
            self.assertEqual((code, said in errors), (USAGE, True), errors)
            self.assertEqual(files(it.family), before)
        (it.family / "bundles/idle").mkdir()
        (it.family / "bundles/idle/bundle.toml").write_text("")
        code, errors = it.fails("add", "delta", "--to", "idle")
        self.assertEqual((code, "no image has bundle/idle" in errors), (USAGE, True), errors)
        it.run("add", "delta", "--to", "idle", "--no-lock")
        idle = (it.family / "bundles/idle/bundle.toml").read_text()
        self.assertEqual(idle, 'requirements = ["delta"]\n')


class Outdated(unittest.TestCase):
    def test_newer_versions_are_told_with_what_holds_them_back(self):
        it = world("outdated", lock=False)
        it.edit(BUNDLE, '["alpha", "beta"]', '["alpha<2", "beta"]')
        it.run("lock")
        self.assertEqual(it.run("outdated", "--exit-code").stdout, "")
        it.mirror.wheel("alpha", "1.5")
        it.mirror.wheel("alpha", "2.0")
        it.mirror.wheel("gamma", "3.0")
        it.mirror.deb("libsmall", "1.6")
        it.mirror.publish()
        it.mirror.requests.clear()
        lines = it.kiln.json("outdated", env=it.mirror.env)
        *packages, summary = lines
        shown = [
            (line["package"], line["version"], line["allowed"], line["newest"], len(line["images"]))
            for line in packages
        ]
        self.assertEqual(
            shown,
            [
                ("alpha", "1.0", "1.5", "2.0", 2),
                ("gamma", "1.0", "3.0", "3.0", 1),
                ("libsmall", "1.0", "1.6", "1.6", 2),
            ],
        )
        held = packages[0]["held_by"][0]
        self.assertEqual((held["requirement"], held["line"]), ("alpha<2", 3))
        self.assertEqual((summary["allowed"], summary["held"]), (3, 1))
        # Each is asked once.
        pages = {path: count for path, count in it.mirror.requests.items() if "/simple/" in path}
        self.assertEqual(set(pages.values()), {1}, pages)
        text = it.run("outdated", "runtime-plain", "--no-os").stdout
        self.assertRegex(text, r"(?m)^alpha +1\.0 +1\.5 +2\.0 +all  bundles/plain/bundle\.toml:3:\d+ alpha<2$")
        self.assertNotIn("libsmall", text)
        self.assertNotIn("gamma", text)
        self.assertIn("| alpha | 1.0 | 1.5 | 2.0 |", it.run("outdated", "--format", "markdown").stdout)
        self.assertEqual(it.fails("outdated", "--exit-code")[0], NEGATIVE)
        # What is allowed is what is chosen.
        it.run("lock", "--upgrade")
        left = it.kiln.json("outdated", env=it.mirror.env)[:-1]
        self.assertEqual([(it["package"], it["version"]) for it in left], [("alpha", "1.5")])


if __name__ == "__main__":
    unittest.main()
