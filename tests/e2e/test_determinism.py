"""The same lock gives the same bytes: whoever builds, where, when and how."""

import filecmp
import json
import os
import pathlib
import shutil
import struct
import subprocess
import tarfile
import tempfile
import tomllib
import unittest

import harness

PLAIN_USER = 12345
OTHER_PLATFORM = "runtime-minimal-d12"


class Surroundings:
    """A place to build in that shares nothing with the other but the downloads."""

    def __init__(self, parent, names, user, umask, env, prefix=()):
        self.place = pathlib.Path(tempfile.mkdtemp(prefix="kiln-", dir=parent))
        self.family = self.place / "family"
        self.store = self.place / "deep/down/store"
        self.umask, self.prefix = umask, list(prefix)
        self.binary = self.place / "kiln"
        home = self.place / "home"
        home.mkdir()
        self.env = {"HOME": str(home), "PATH": os.environ["PATH"], **env}
        self.env["KILN_HOME"] = str(self.store)
        shutil.copy(harness.KILN, self.binary)
        copy_in_order(harness.fresh_family(), self.family, names)
        if user is not None:
            for path in [self.place, *self.place.rglob("*")]:
                os.chown(path, user, user)
            ids = [f"--reuid={user}", f"--regid={user}", "--clear-groups"]
            self.prefix = ["setpriv", *ids, *self.prefix]
        self.run("store", "path")
        downloads = self.store / "downloads/sha256"
        for file in (harness.built().store / "downloads/sha256").iterdir():
            link_or_copy(file, downloads / file.name)

    def run(self, *arguments):
        command = [*self.prefix, self.binary, *arguments]
        done = subprocess.run(
            list(map(str, command)),
            env=self.env,
            cwd=self.family,
            umask=self.umask,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        if done.returncode != 0:
            raise AssertionError(f"{command} ended with {done.returncode}:\n{done.stderr}")
        return done.stdout

    def build(self, *options):
        lines = map(json.loads, self.run("--output", "json", "build", *options).splitlines())
        return next(line for line in lines if line["event"] == "built")

    def remove(self):
        shutil.rmtree(self.place)


def copy_in_order(source, target, names):
    """Copies a directory; `names` orders the entries of each directory, and with it, on a
    `tmpfs`, the order in which a program meets them."""
    target.mkdir()
    for path in names(list(source.iterdir())):
        if path.is_dir():
            copy_in_order(path, target / path.name, names)
        else:
            shutil.copy(path, target / path.name)


def link_or_copy(source, target):
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
        target.chmod(0o644)


class SameBytes(unittest.TestCase):
    def test_user_place_zone_language_umask_clock_and_jobs_change_nothing(self):
        is_root = os.geteuid() == 0
        first = Surroundings(
            tempfile.gettempdir(),
            sorted,
            user=None,
            umask=0o022,
            env={"TZ": "UTC", "LC_ALL": "C"},
            # An ordinary user becomes root, and root an ordinary user.
            prefix=[] if is_root else ["unshare", "--map-root-user"],
        )
        self.addCleanup(first.remove)
        other = Surroundings(
            "/dev/shm",
            lambda paths: sorted(paths, reverse=True),
            user=PLAIN_USER if is_root else None,
            umask=0o077,
            env={"TZ": "Pacific/Apia", "LC_ALL": "tr_TR.UTF-8", "XDG_DATA_HOME": "/nowhere"},
            prefix=["faketime", "-f", "+400d"],
        )
        self.addCleanup(other.remove)
        names = [[path.name for path in os.scandir(it.family)] for it in (first, other)]
        self.assertEqual(*map(sorted, names))
        self.assertNotEqual(*names)

        built = first.build(harness.IMAGE, "--jobs", "1")
        self.assertEqual(built, other.build(harness.IMAGE, "--jobs", "8"))
        self.assertEqual(built["manifest"], harness.built().build()["manifest"])

        blobs = [it.store / "blobs/sha256" for it in (first, other)]
        names = [sorted(path.name for path in directory.iterdir()) for directory in blobs]
        self.assertEqual(*names)
        self.assertGreater(len(names[0]), 5)
        for name in names[0]:
            pair = [directory / name for directory in blobs]
            self.assertTrue(filecmp.cmp(*pair, shallow=False), name)
        self.assertEqual(*[(it.store / "index.json").read_bytes() for it in (first, other)])
        archives = [it.place / "image.tar" for it in (first, other)]
        for it, archive in zip((first, other), archives, strict=True):
            it.run("export", harness.IMAGE, archive)
        self.assertTrue(filecmp.cmp(*archives, shallow=False))


class Platforms(unittest.TestCase):
    """The reference family for two platforms."""

    @classmethod
    def setUpClass(cls):
        cls.family = harness.copy_of_family("platforms")
        toml = cls.family / "kiln.toml"
        text = toml.read_text()
        one = 'platforms = ["linux/amd64"]'
        assert one in text
        toml.write_text(text.replace(one, 'platforms = ["linux/amd64", "linux/arm64"]'))
        cls.kiln = harness.with_downloads("platforms", cls.family)
        cls.kiln.run("lock")
        # Packing executes nothing, so it needs no machine of the platform.
        lines = cls.kiln.json("build", "--pack-only", OTHER_PLATFORM)
        cls.built = [line for line in lines if line["event"] == "built"]

    def inspect(self, what, platform):
        arguments = ["--raw", what, "--platform", f"linux/{platform}", OTHER_PLATFORM]
        return json.loads(self.kiln.run("inspect", *arguments).stdout)

    def test_both_are_built_under_one_name(self):
        self.assertEqual([it["platform"] for it in self.built], ["linux/amd64", "linux/arm64"])
        self.assertEqual(len({it["image"] for it in self.built}), 1)
        index = json.loads((self.kiln.store / "index.json").read_text())
        self.assertEqual(len(index["manifests"]), 1)
        listed = json.loads(self.kiln.blob(index["manifests"][0]["digest"]).read_text())
        self.assertEqual(
            [(it["platform"]["architecture"], it["digest"]) for it in listed["manifests"]],
            [("amd64", self.built[0]["manifest"]), ("arm64", self.built[1]["manifest"])],
        )
        self.kiln.run("store", "verify")
        self.kiln.run("store", "gc")
        self.kiln.run("store", "verify")

    def test_a_second_platform_changes_nothing_of_the_first(self):
        alone = harness.with_downloads("alone").build(OTHER_PLATFORM, "--pack-only")
        self.assertEqual(self.built[0]["manifest"], alone["manifest"])

    def test_each_says_and_is_what_it_is(self):
        # e_machine of the ELF header, at byte 18.
        for platform, machine in [("amd64", 62), ("arm64", 183)]:
            config = self.inspect("config", platform)
            self.assertEqual((config["os"], config["architecture"]), ("linux", platform))
            found = None
            for layer in self.inspect("manifest", platform)["layers"]:
                with tarfile.open(self.kiln.blob(layer["digest"])) as archive:
                    for member in archive:
                        if member.name == "usr/bin/bash":
                            header = archive.extractfile(member).read(20)
                            (found,) = struct.unpack("<18xH", header)
            self.assertEqual(found, machine)

    def test_wheels_fit_their_platform(self):
        lock = tomllib.loads((self.family / "kiln.lock").read_text())
        files = [wheel["file"] for wheel in lock["wheel"] if wheel["name"] == "numpy"]
        for tag in ["x86_64", "aarch64"]:
            self.assertTrue([file for file in files if tag in file], files)

    def test_export_takes_this_machines_platform_or_the_one_that_is_named(self):
        out = harness.scratch("platforms")
        here = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
        for options, wanted in [([], here), (["--platform", "linux/arm64"], "arm64")]:
            archive = out / f"{wanted}.tar"
            self.kiln.run("export", *options, OTHER_PLATFORM, archive)
            command = ["skopeo", "inspect", "--config", "--override-arch", wanted]
            command.append(f"oci-archive:{archive}")
            done = subprocess.run(command, check=True, capture_output=True)
            self.assertEqual(json.loads(done.stdout)["architecture"], wanted)

    def test_other_tools_choose_by_platform_from_the_store(self):
        name = self.built[0]["image"]
        for platform in ["amd64", "arm64"]:
            command = ["skopeo", "inspect", "--config", "--override-arch", platform]
            command.append(f"oci:{self.kiln.store}:{name}")
            done = subprocess.run(command, check=True, capture_output=True)
            self.assertEqual(json.loads(done.stdout), self.inspect("config", platform))


if __name__ == "__main__":
    unittest.main()
