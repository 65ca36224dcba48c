"""What goes wrong: the exit code, words that say what, where and what to do, and a store that the
next plain build finishes from.

Everything comes from a mirror on loopback (see mirror.py), which misbehaves as it is told.
"""

import collections
import concurrent.futures
import functools
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import time
import tomllib
import unittest

import harness
import mirror
import output_schema
from mirror import World, breaks_off, changed, file, slow, status, symlink

# Exit codes, as documented.
USAGE, RECIPE, RESOLUTION, NETWORK, INTEGRITY, STORAGE, INTERNAL = 2, 3, 4, 5, 6, 8, 70


@functools.cache
def right():
    """The honest world, and the digest that every plain build of it gives."""
    world = World("right")
    return world, world.build()


def world(name):
    """The honest world again: another mirror, another store, the same lock."""
    honest, _ = right()
    fresh = World(name, lock=False)
    shutil.copy(honest.family / "kiln.lock", fresh.family)
    return fresh


class Faults(unittest.TestCase):
    maxDiff = None

    def assert_fails(self, world, arguments, code, *words, **options):
        """kiln fails with this code and says these words; gives all that it says."""
        found, said = world.fails(*arguments, **options)
        self.assertEqual(found, code, said)
        for word in words:
            self.assertIn(word, said)
        self.assertNotIn("panicked", said)
        return said

    def assert_recovers(self, world, store=None):
        """The store is intact, and a plain build goes on to the right digest."""
        kiln = harness.Kiln(store or world.store, world.family)
        kiln.run("store", "verify")
        self.assertEqual(world.build(store=store), right()[1])
        kiln.run("store", "verify")


class Family(Faults):
    def test_an_unknown_key_is_named_with_its_place_and_the_key_that_was_meant(self):
        bad = world("key")
        bad.edit("bundles/plain/bundle.toml", "requirements =", "requirments =")
        self.assert_fails(
            bad, ["lock"], RECIPE, "bundles/plain/bundle.toml:3:1", "requirments", "`requirements`"
        )

    def test_bundle_and_ide_that_contradict_each_other_are_both_named(self):
        def change(mirror, family):
            mirror.wheel("alpha", "2.0")
            ide = family / "ides/lab/ide.toml"
            ide.write_text(ide.read_text().replace('"gamma"', '"gamma", "alpha>=2"'))
            bundle = family / "bundles/plain/bundle.toml"
            bundle.write_text(bundle.read_text().replace('"alpha"', '"alpha<2"'))

        bad = World("conflict", change, lock=False)
        self.assert_fails(
            bad,
            ["lock"],
            RESOLUTION,
            "bundles/plain/bundle.toml:3",
            "ides/lab/ide.toml:3",
            "alpha<2",
            "alpha>=2",
        )
        self.assertFalse((bad.family / "kiln.lock").exists())

    def test_a_requirement_that_nothing_meets_is_named_with_its_place(self):
        bad = world("impossible")
        bad.edit("ides/lab/ide.toml", '"gamma"', '"gamma>=7"')
        before = (bad.family / "kiln.lock").read_bytes()
        self.assert_fails(bad, ["lock"], RESOLUTION, "gamma>=7", "ides/lab/ide.toml:3")
        self.assertEqual((bad.family / "kiln.lock").read_bytes(), before)

    def test_an_unknown_os_package_is_named_with_near_names(self):
        bad = world("package")
        bad.edit("bases/small.toml", '"hello-tools"', '"helo-tools"')
        self.assert_fails(
            bad, ["lock"], RESOLUTION, "helo-tools", "bases/small.toml:7", "hello-tools`"
        )

    def test_a_stale_lock_is_refused_with_what_differs_and_where(self):
        bad = world("stale")
        bad.edit("bundles/plain/bundle.toml", '"beta"', '"gamma"')
        said = self.assert_fails(
            bad,
            ["build", World.IMAGE],
            RECIPE,
            "beta",
            "gamma",
            "bundles/plain/bundle.toml:3",
            "kiln lock",
        )
        self.assertIn("does not fit", said)
        self.assertEqual(bad.fails("lock", "--check")[0], 1)

    def test_a_family_without_a_lock_says_how_to_make_one(self):
        bad = World("unlocked", lock=False)
        self.assert_fails(bad, ["build", World.IMAGE], RECIPE, "kiln.lock", "`kiln lock`")

    def test_a_lock_that_cannot_be_read_is_refused_with_the_place(self):
        bad = world("unreadable")
        lock = bad.family / "kiln.lock"
        line = lock.read_text().count("\n") + 1
        lock.write_text(lock.read_text() + "<<<<<<< HEAD\n")
        words = ["kiln.lock", f"line {line}", "last good version"]
        self.assert_fails(bad, ["build", World.IMAGE], RECIPE, *words)


class Names(Faults):
    def test_an_unknown_image_is_answered_with_the_near_ones(self):
        self.assert_fails(
            right()[0], ["build", "runtime-plane"], USAGE, "runtime-plane", "runtime-plain"
        )

    def test_an_ambiguous_name_is_answered_with_what_it_may_mean(self):
        said = self.assert_fails(right()[0], ["build", "plain"], USAGE, "plain")
        for name in ["runtime-plain-s1", "lab-plain-s1"]:
            self.assertIn(name, said)

    def test_an_image_that_is_not_built_is_said_to_be_so(self):
        for command in [["inspect"], ["load", "docker"], ["export"]]:
            arguments = [*command, "lab-plain"] + (["x.tar"] if command == ["export"] else [])
            self.assert_fails(right()[0], arguments, USAGE, "not built", "kiln build lab-plain")

    def test_a_platform_that_is_not_built_is_answered_with_those_that_are(self):
        self.assert_fails(
            right()[0],
            ["inspect", World.IMAGE, "--platform", "linux/arm64"],
            USAGE,
            "linux/arm64",
            "linux/amd64",
        )

    def test_a_directory_without_a_family_is_said_to_be_so(self):
        empty = harness.Kiln(right()[0].store, harness.scratch("nothing"))
        done = empty.run("plan", "--all", check=False)
        self.assertEqual(done.returncode, USAGE)
        self.assertIn("kiln.toml", done.stderr)


class Sources(Faults):
    def test_a_server_that_fails_now_and_then_is_asked_again(self):
        patient = world("patient")
        with (
            patient.mirror.faulty("alpha-1.0", status(503, times=2)),
            patient.mirror.faulty("beta-1.0", status(429, times=1, headers=[("Retry-After", "1")])),
            patient.mirror.faulty("hello-tools", slow),
        ):
            self.assert_recovers(patient)

    def test_a_download_that_breaks_off_goes_on(self):
        broken = world("broken")
        cut = []

        def once(handler, body):
            if cut:
                return mirror.reply(handler, body)
            cut.append(True)
            return breaks_off(handler, body)

        with broken.mirror.faulty("libsmall", once):
            self.assert_recovers(broken)
        self.assertTrue(cut)

    def test_a_server_that_does_not_recover_is_named_with_the_file_and_what_to_do(self):
        # Each is tried for some seconds, so all at once.
        cases = [
            ("gone", status(404), NETWORK, ["--relock-gone", "KILN_SOURCE_DEBIAN"]),
            ("failing", status(500), NETWORK, ["500", "another mirror"]),
            ("busy", status(429), NETWORK, ["429", "another mirror"]),
            ("truncating", breaks_off, NETWORK, ["broke off", "the next run goes on"]),
            ("forbidding", status(403), NETWORK, ["403", ".netrc"]),
            ("changing", changed, INTEGRITY, ["expected sha256:", "got sha256:"]),
        ]
        right()

        def case(arguments):
            name, fault, code, words = arguments
            bad = world(name)
            with bad.mirror.faulty("libsmall", fault):
                self.assert_fails(
                    bad, ["build", World.IMAGE], code, "libsmall_1.0_all.deb", "`debian`", *words
                )
            self.assert_recovers(bad)

        with concurrent.futures.ThreadPoolExecutor(len(cases)) as pool:
            list(pool.map(case, cases))

    def test_a_file_that_the_index_announces_anew_is_refused(self):
        bad = world("announced")
        good = dict(bad.mirror.files)
        bad.mirror.wheel("beta", members=[("beta/other", b"other")])
        self.assert_fails(
            bad, ["build", World.IMAGE], INTEGRITY, "beta-1.0", "expected sha256:", "lock again"
        )
        bad.mirror.files = good
        self.assert_recovers(bad)

    def test_a_digest_edited_in_the_lock_is_noticed(self):
        bad = world("edited")
        lock = bad.family / "kiln.lock"
        text = lock.read_text()
        for package in ["beta-1.0-py3", "libsmall_1.0"]:
            start = text.index('sha256 = "sha256:', text.index(package)) + len('sha256 = "sha256:')
            other = "0" if text[start] != "0" else "1"
            lock.write_text(text[:start] + other + text[start + 1 :])
            self.assert_fails(bad, ["build", World.IMAGE], RECIPE, "lock was edited", "`kiln lock`")
        lock.write_text(text)
        self.assert_recovers(bad)

    def test_a_package_that_left_the_mirror_is_relocked_when_asked(self):
        bad = world("left")
        del bad.mirror.files["/wheels/beta-1.0-py3-none-any.whl"]
        bad.mirror.wheel("beta", "1.1", requires=["alpha"])
        self.assert_fails(bad, ["build", World.IMAGE], NETWORK, "beta-1.0", "--relock-gone")
        done = bad.run("build", "--relock-gone", World.IMAGE)
        self.assertIn("beta 1.0 → 1.1", done.stdout)
        self.assertNotIn("alpha", done.stdout)

    def test_an_index_is_believed_only_with_a_good_signature_in_time(self):
        bad = world("signature")
        path = f"/debian/dists/{mirror.SUITE}/InRelease"
        good = bad.mirror.files[path]
        where = ["bases/small.toml:9", "`debian`"]
        (bad.family / "kiln.lock").unlink()
        bad.mirror.files[path] = good.replace(b"Components: main", b"Components: mine")
        self.assert_fails(bad, ["lock"], INTEGRITY, "signature", "use another mirror", *where)
        stranger = mirror.Signer()
        self.addCleanup(stranger.home.cleanup)
        bad.mirror.publish(secret=stranger)
        self.assert_fails(bad, ["lock"], INTEGRITY, "mirror.asc", *where)
        bad.mirror.publish(valid_until=mirror.EPOCH + 86400)
        self.assert_fails(
            bad, ["lock"], INTEGRITY, "expired", "2026-01-02", "check-valid-until", *where
        )
        bad.mirror.files[path] = good
        packages = f"/debian/dists/{mirror.SUITE}/main/binary-amd64/Packages.gz"
        with bad.mirror.faulty(packages, changed):
            self.assert_fails(bad, ["lock"], INTEGRITY, "Packages.gz", *where)
        with bad.mirror.faulty("InRelease", status(404)):
            self.assert_fails(bad, ["lock"], NETWORK, mirror.SUITE, "does the source have", *where)
        bad.run("lock")
        self.assert_recovers(bad)

    def test_without_a_network_the_error_says_what_is_missing(self):
        bad = world("offline")
        self.assert_fails(
            bad, ["build", World.IMAGE, "--offline"], NETWORK, "network is off", "--offline"
        )
        command = ["unshare", "--net", "--map-root-user", harness.KILN, "--store", bad.store]
        command += ["--family", bad.family, "build", World.IMAGE]
        environment = {**os.environ, **bad.mirror.env}
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        self.assertEqual(done.returncode, NETWORK, done.stderr)
        self.assertIn("check the network", done.stderr)
        show(command, done)
        self.assert_recovers(bad)
        # What is here needs no network.
        self.assertEqual(bad.build("runtime-plain-s1"), right()[1])
        bad.run("build", World.IMAGE, "--offline")

    def test_a_source_that_nothing_names_says_how_to_name_it(self):
        bad = world("unnamed")
        # apt's own sources are asked by suite, so the suite must be unknown to them, too.
        bad.edit("bases/small.toml", 'source = "debian"', 'source = "elsewhere"\nsuite = "nowhere"')
        self.assert_fails(
            bad, ["lock"], NETWORK, "`elsewhere`", "KILN_SOURCE_ELSEWHERE", "[sources]"
        )


class Packages(Faults):
    def build_of(self, name, change, code, *words):
        """Locks packages and fails to build them."""
        bad = World(name, change)
        said = self.assert_fails(bad, ["build", World.IMAGE], code, *words)
        bad.run("store", "verify")
        self.assertFalse(list((bad.store / "blobs/sha256").glob("tmp*")))
        return said

    def test_two_wheels_with_one_path_are_both_named(self):
        def change(mirror, _):
            mirror.wheel("beta", members=[("alpha/data", b"other")])

        self.build_of("clash", change, RECIPE, "alpha/data", "`alpha`", "`beta`", "[winners]")

    def test_the_hint_on_two_wheels_with_one_path_helps(self):
        def change(mirror, _):
            mirror.wheel("beta", members=[("alpha/data", b"other")])

        clashing = World("winner", change)
        _, said = clashing.fails("build", World.IMAGE)
        winner = re.search(r"`\[winners\]` with `(.*)`", said).group(1)
        with open(clashing.family / "bundles/plain/bundle.toml", "a") as bundle:
            bundle.write(f"\n[winners]\n{winner}\n")
        clashing.run("lock")
        clashing.build()

    def test_wheels_of_different_layers_with_one_path_are_both_named(self):
        def change(mirror, _):
            mirror.wheel("gamma", members=[("alpha/data", b"other")])

        clashing = World("across", change)
        said = self.assert_fails(
            clashing, ["build", "lab-plain"], RECIPE, "alpha/data", "`alpha`", "`gamma`"
        )
        # What is known by now must be found out from the outlines of the layers alone.
        clashing.build()
        self.assert_fails(clashing, ["build", "lab-plain"], RECIPE, "`gamma`")
        winner = re.search(r"`\[winners\]` with `(.*)`", said).group(1)
        with open(clashing.family / "ides/lab/ide.toml", "a") as ide:
            ide.write(f"\n[winners]\n{winner}\n")
        clashing.run("lock")
        clashing.run("build", "lab-plain")

    def test_a_wheel_cannot_leave_its_tree(self):
        for path in ["../../evil", "/etc/evil", "beta-1.0.data/scripts/../../../evil"]:

            def change(mirror, _, path=path):
                mirror.wheel("beta", raw=lambda archive: archive.writestr(path, b"evil"))

            self.build_of("escape", change, INTEGRITY, "beta-1.0-py3-none-any.whl", path)

    def test_a_wheel_with_a_member_twice_is_refused(self):
        def change(mirror, _):
            def twice(archive):
                archive.writestr("beta/__init__.py", b"other")

            mirror.wheel("beta", raw=twice)

        self.build_of("twice", change, INTEGRITY, "beta-1.0-py3-none-any.whl", "beta/__init__.py")

    def test_a_zip_bomb_ends_early(self):
        def change(mirror, _):
            def bomb(archive):
                with archive.open("beta/bomb", "w") as member:
                    for _ in range(256):
                        member.write(bytes(1 << 20))

            mirror.wheel("beta", raw=bomb)
            # Both headers say that the member is small (APPNOTE 4.3.7 and 4.3.12).
            path = "/wheels/beta-1.0-py3-none-any.whl"
            body = bytearray(mirror.files[path])
            local = body.index(b"beta/bomb") - 30 + 22
            central = body.rindex(b"beta/bomb") - 46 + 24
            for at in (local, central):
                self.assertEqual(body[at : at + 4], (256 << 20).to_bytes(4, "little"))
                body[at : at + 4] = (1 << 10).to_bytes(4, "little")
            mirror.files[path] = bytes(body)

        said = self.build_of("bomb", change, INTEGRITY, "beta-1.0-py3-none-any.whl", "beta/bomb")
        self.assertNotIn("packed plain", said)

    def test_a_debian_package_cannot_leave_its_tree(self):
        def through_a_link(mirror, _):
            members = [symlink("./out", "/etc"), file("./out/x", b"x")]
            mirror.deb("libsmall", members=members)

        def with_dots(mirror, _):
            mirror.deb("libsmall", members=[file("./../../etc/x", b"x")])

        self.build_of("link", through_a_link, INTEGRITY, "libsmall_1.0_all.deb", "out")
        self.build_of("dots", with_dots, INTEGRITY, "libsmall_1.0_all.deb", "etc/x")


class Several(Faults):
    """Of several images, one that cannot be built does not stop the others."""

    def built(self, world):
        """The images that the store has."""
        images = world.kiln.json("images")
        return {line["image"].split("_")[0] for line in images if line["manifest"]}

    def test_an_image_whose_download_is_missing_is_left_out(self):
        bad = world("several")
        with bad.mirror.faulty("gamma-1.0-py3", status(404)):
            words = ["gamma-1.0", "not built: lab-plain", "1 of 2 images"]
            said = self.assert_fails(bad, ["build", "--all"], NETWORK, *words)
        self.assertRegex(said, "hint: .*--relock-gone")
        self.assertEqual(self.built(bad), {"runtime-plain-s1-py311"})
        # Its other half is as if it had been built alone, and so is what is built next.
        self.assert_recovers(bad)
        bad.run("build", "--all")
        self.assertEqual(len(self.built(bad)), 2)

    def test_a_missing_download_that_all_need_fails_all_with_one_error(self):
        bad = world("all")
        with bad.mirror.faulty("beta-1.0-py3", status(404)):
            said = self.assert_fails(bad, ["build", "--all"], NETWORK, "beta-1.0", "2 of 2 images")
        self.assertEqual(said.count("error: source"), 1, said)
        self.assertEqual(self.built(bad), set())
        self.assert_recovers(bad)

    def test_images_with_packages_that_do_not_fit_together_are_left_out(self):
        def change(mirror, _):
            mirror.wheel("gamma", members=[("alpha/data", b"other")])

        clashing = World("fit", change)
        done = clashing.run("--output", "json", "build", "--all", check=False)
        self.assertEqual(done.returncode, RECIPE, done.stderr)
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        for line in lines:
            output_schema.check(harness.KILN, line)
        events = collections.Counter(line["event"] for line in lines)
        self.assertEqual((events["built"], events["image-failed"], events["failed"]), (1, 1, 1))
        failed = next(line for line in lines if line["event"] == "image-failed")
        self.assertEqual((failed["code"], len(failed["images"])), (RECIPE, 1))
        self.assertIn("lab-plain", failed["images"][0])
        whole = next(line for line in lines if line["event"] == "built-all")
        self.assertEqual((whole["images"], whole["failed"]), (1, 1))
        self.assertEqual(self.built(clashing), {"runtime-plain-s1-py311"})

    def test_an_image_that_cannot_be_planned_is_left_out(self):
        def change(_, family):
            below = "plain"
            for number in range(100):
                bundle = family / f"bundles/b{number}"
                bundle.mkdir()
                (bundle / "note").write_text(f"{number}\n")
                file = f'[[file]]\nsource = "note"\nto = "/opt/notes/{number}"\n'
                (bundle / "bundle.toml").write_text(f'extends = "{below}"\n{file}')
                below = bundle.name
            with (family / "kiln.toml").open("a") as images:
                images.write(f'\n[[image]]\nbase = "small"\nbundle = "{below}"\n')

        bad = World("unplanned", change)
        done = bad.run("build", "--all", check=False)
        self.assertEqual(done.returncode, RECIPE, done.stderr)
        self.assertRegex(done.stdout, r"runtime-b99-\S+ +not built")
        words = ["would have 1", "not built: runtime-b99", "1 of 3 images", "hint: each `[[run]]`"]
        for word in words:
            self.assertIn(word, done.stderr)
        self.assertEqual(self.built(bad), {"lab-plain-s1-py311", "runtime-plain-s1-py311"})
        # The others are as they were.
        self.assertEqual(bad.build(), right()[1])

    def test_a_damaged_mirror_concerns_the_image_that_needs_it_alone(self):
        bad = world("lying")
        with bad.mirror.faulty("gamma-1.0-py3-none-any.whl", changed):
            words = ["gamma-1.0", "not built: lab-plain"]
            self.assert_fails(bad, ["build", "--all"], INTEGRITY, *words)
        self.assertEqual(self.built(bad), {"runtime-plain-s1-py311"})
        self.assert_recovers(bad)

    def test_a_release_that_cannot_be_built_does_not_stop_the_others(self):
        world = World("releases")
        for name in ["0", "1"]:
            (world.family / "releases" / name).mkdir(parents=True)
        (world.family / "kiln.lock").rename(world.family / "releases/1/kiln.lock")
        world.edit("kiln.toml", 'release = "1"', 'release = "2"')
        words = ["there is no", "releases/0/kiln.lock", "not built: lab-plain_0", "`kiln lock`"]
        images = ["lab-plain", "lab-plain_0", "lab-plain_1"]
        said = self.assert_fails(world, ["build", *images], RECIPE, *words)
        self.assertEqual(said.count("error: there is no"), 2, said)
        self.assertEqual(self.built(world), {"lab-plain-s1-py311"})

    def test_the_table_says_what_images_share(self):
        good = world("shared")
        lines = good.kiln.json("build", "--all", env=good.mirror.env)
        images = [line for line in lines if line["event"] == "built"]
        whole = lines[-1]
        layers = {layer["digest"]: layer["size"] for it in images for layer in it["layers"]}
        self.assertEqual(whole["distinct_size"], sum(layers.values()))
        self.assertEqual(whole["size"], sum(image["size"] for image in images))
        runtime, lab = sorted(images, key=lambda it: it["size"])
        # All that the runtime image has is in the other one, too.
        self.assertEqual((runtime["own_size"], runtime["shared_size"]), (0, runtime["size"]))
        self.assertEqual(lab["shared_size"], runtime["size"])
        self.assertEqual(lab["own_size"], lab["size"] - runtime["size"])
        table = good.run("build", "--all").stdout
        self.assertRegex(table, r"image +manifest +layers +new +size +shared +own\n")
        self.assertIn(f"each layer once: {whole['distinct_layers']} layers", table)


class Moves(Faults):
    """A change moves no image that it does not concern, unless it is told to."""

    def test_an_image_moves_when_that_is_allowed_and_stays_where_it_is_then(self):
        def change(mirror, _):
            mirror.wheel("alpha", "0.9", members=[("alpha/data", b"older")])
            mirror.wheel("delta", requires=["alpha<1"])

        def alphas():
            lock = tomllib.loads(lock_file.read_text())
            return [wheel["version"] for wheel in lock["wheel"] if wheel["name"] == "alpha"]

        world = World("moves", change)
        lock_file = world.family / "kiln.lock"
        before, manifest = lock_file.read_bytes(), world.build()
        world.edit("ides/lab/ide.toml", '"gamma"', '"delta"')
        words = ["runtime-plain", "alpha 1.0 → 0.9", "ide/lab", "--allow-moves"]
        said = self.assert_fails(world, ["lock"], RESOLUTION, *words)
        self.assertNotIn("lab-plain", said, "it is concerned")
        self.assertEqual((lock_file.read_bytes(), alphas()), (before, ["1.0"]))
        world.run("lock", "--allow-moves")
        self.assertEqual(alphas(), ["0.9"])
        moved = world.build()
        self.assertNotEqual(moved, manifest)
        # From now on this is what images have, and nothing moves back by itself.
        self.assertIn("nothing changed", world.run("lock").stdout)
        self.assertEqual(world.build(), moved)


class Storage(Faults):
    def test_a_full_disk_is_said_to_be_full_and_the_build_goes_on_elsewhere(self):
        bad = world("full")
        place = harness.scratch("disk")
        kiln = " ".join(map(str, [harness.KILN, "--family", bad.family]))
        script = f"""
            mount -t tmpfs -o size=64m full {place}
            head -c 56M /dev/zero >{place}/ballast
            {kiln} --store {place}/store build {World.IMAGE}
            code=$?
            {kiln} --store {place}/store store verify >&2 || exit 99
            rm {place}/ballast
            {kiln} --store {place}/store --output json build {World.IMAGE} || exit 98
            exit $code
        """
        command = ["unshare", "--mount", "--map-root-user", "sh", "-c", script]
        environment = {**os.environ, **bad.mirror.env}
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        show(command, done)
        self.assertEqual(done.returncode, STORAGE, done.stderr)
        self.assertIn("No space left on device", done.stderr)
        self.assertRegex(done.stderr, "hint: .*(free|full)")
        self.assertIn(right()[1], done.stdout)

    def test_a_read_only_store_is_said_to_be_so(self):
        bad = world("read-only")
        place = harness.scratch("disk")
        kiln = " ".join(map(str, [harness.KILN, "--family", bad.family]))
        script = f"""
            mount -t tmpfs -o ro full {place}
            {kiln} --store {place}/store build {World.IMAGE}
        """
        command = ["unshare", "--mount", "--map-root-user", "sh", "-c", script]
        environment = {**os.environ, **bad.mirror.env}
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        show(command, done)
        self.assertEqual(done.returncode, STORAGE, done.stderr)
        self.assertIn("read-only", done.stderr)
        self.assertIn("KILN_HOME", done.stderr)

    def test_a_directory_of_somebody_else_is_left_alone(self):
        bad = world("foreign")
        place = harness.scratch("documents")
        (place / "letter.txt").write_text("dear")
        bad.kiln = harness.Kiln(place, bad.family)
        self.assert_fails(
            bad, ["build", World.IMAGE], STORAGE, str(place), "not a store", "KILN_HOME"
        )
        self.assertEqual([path.name for path in place.iterdir()], ["letter.txt"])

    def test_a_store_of_a_later_kiln_is_left_alone(self):
        bad = world("later")
        bad.run("store", "path")
        (bad.store / "store.json").write_text('{"format":999}')
        self.assert_fails(bad, ["build", World.IMAGE], STORAGE, "999", "newer kiln")

    def test_a_download_that_rotted_is_fetched_again(self):
        rotten = world("rotten")
        downloads = self.downloaded(rotten)
        for path in downloads:
            flip(path)
        self.assertEqual(rotten.build(), right()[1])
        rotten.run("store", "verify")

    def test_what_rotted_is_found_by_verify_and_made_again(self):
        rotten = world("blob")
        rotten.build()
        layer = rotten.kiln.manifest(World.IMAGE)["layers"][-1]["digest"]
        flip(rotten.kiln.blob(layer))
        download = max(
            (rotten.store / "downloads/sha256").iterdir(), key=lambda path: path.stat().st_size
        )
        flip(download)
        self.assert_fails(rotten, ["store", "verify"], INTEGRITY, "kiln build")
        self.assertFalse(rotten.kiln.blob(layer).exists())
        self.assertFalse(download.exists())
        self.assertEqual(rotten.build(), right()[1])
        rotten.run("store", "verify")

    def test_a_blob_that_rotted_does_not_leave_the_store(self):
        rotten = world("export")
        rotten.build()
        flip(rotten.kiln.blob(rotten.kiln.manifest(World.IMAGE)["layers"][0]["digest"]))
        target = harness.scratch("out") / "image.tar"
        self.assert_fails(rotten, ["export", World.IMAGE, target], INTEGRITY, "kiln store verify")
        self.assertFalse(target.exists())

    def downloaded(self, world):
        """Makes the store have all downloads and no results."""
        world.build()
        shutil.rmtree(world.store / "actions")
        shutil.rmtree(world.store / "blobs")
        (world.store / "index.json").unlink()
        return list((world.store / "downloads/sha256").iterdir())


class Processes(Faults):
    def test_a_build_killed_at_any_instant_leaves_a_store_that_is_right(self):
        honest = world("killed")
        started = time.monotonic()
        honest.build(store=harness.scratch("timed") / "store")
        whole = time.monotonic() - started
        kills = 0
        for number in range(10):
            store = harness.scratch("kill") / "store"
            command = [harness.KILN, "--store", store, "--family", honest.family]
            child = subprocess.Popen(
                [*command, "build", World.IMAGE],
                env={**os.environ, **honest.mirror.env},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            try:
                child.wait(timeout=whole * (number + 1) / 12)
            except subprocess.TimeoutExpired:
                child.kill()
            kills += child.wait() == -signal.SIGKILL
            with self.subTest(number=number):
                self.assert_recovers(honest, store)
        self.assertGreater(kills, 5)

    def test_an_interrupted_build_says_that_it_goes_on(self):
        bad = world("interrupted")
        with bad.mirror.faulty("libsmall", lambda handler, body: time.sleep(30)):
            command = [harness.KILN, "--store", bad.store, "--family", bad.family]
            child = subprocess.Popen(
                [*command, "build", World.IMAGE],
                env={**os.environ, **bad.mirror.env},
                stderr=subprocess.PIPE,
                text=True,
            )
            while not any("libsmall" in path for path in bad.mirror.requests):
                self.assertIsNone(child.poll())
                time.sleep(0.01)
            child.send_signal(signal.SIGINT)
            _, said = child.communicate(timeout=20)
        self.assertEqual(child.returncode, 130, said)
        self.assertIn("run it again", said)
        self.assert_recovers(bad)

    def test_an_interrupted_build_says_what_had_failed_before(self):
        bad = world("failed-then-interrupted")
        command = [harness.KILN, "--store", bad.store, "--family", bad.family]
        with (
            bad.mirror.faulty("gamma-1.0-py3", status(404)),
            bad.mirror.faulty("libsmall", lambda handler, body: time.sleep(30)),
            subprocess.Popen(
                [*command, "--output", "json", "build", "--all"],
                env={**os.environ, **bad.mirror.env},
                stdout=subprocess.PIPE,
                text=True,
            ) as child,
        ):
            failed = []
            for line in map(json.loads, child.stdout):
                if line["event"] == "given-up":
                    child.send_signal(signal.SIGINT)
                if line["event"] in ["image-failed", "failed"]:
                    failed.append((line["event"], line["code"], "gamma-1.0" in str(line)))
        self.assertEqual(child.returncode, 130)
        self.assertEqual(failed, [("image-failed", NETWORK, True), ("failed", 130, False)])
        self.assert_recovers(bad)

    def test_without_threads_a_build_ends_and_the_next_goes_on(self):
        poor = world("threads")
        for number in range(1, 9):
            # Every thread after so many is refused, as by `ulimit -u`.
            refuse = f"inject=clone3:error=EAGAIN:when={number}+"
            command = ["strace", "-f", "-qqq", "-o", "/dev/null", "-e", "trace=clone3", "-e", refuse]
            command += [harness.KILN, "--store", poor.store, "--family", poor.family]
            done = subprocess.run(
                [*command, "build", World.IMAGE],
                env={**os.environ, **poor.mirror.env},
                capture_output=True,
                text=True,
                timeout=60,
            )
            with self.subTest(number=number):
                self.assertIn(done.returncode, [0, INTERNAL], done.stderr)
                show(command, done)
        self.assert_recovers(poor)

    def test_two_builds_at_once_in_one_store_give_one_result(self):
        shared = world("twice")
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            digests = list(pool.map(lambda _: shared.build(), range(4)))
        self.assertEqual(set(digests), {right()[1]})
        self.assert_recovers(shared)


def flip(path):
    """Changes one byte in the middle of a file."""
    content = bytearray(pathlib.Path(path).read_bytes())
    content[len(content) // 2] ^= 0x20
    path.chmod(0o644)
    path.write_bytes(content)


def show(command, done):
    if os.environ.get("KILN_SHOW_ERRORS"):
        print(f"\n$ {command[:3]} …\n{done.stderr}[{done.returncode}]")


if __name__ == "__main__":
    unittest.main()
