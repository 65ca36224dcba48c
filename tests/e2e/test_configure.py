"""Configured systems are what mmdebstrap makes of the same packages.

For sets of packages with all that maintainer scripts do (alternatives, users, diversions, triggers,
caches, certificates), on Debian 12 and 13, kiln's tree and that of mmdebstrap are compared path by
path. A difference that is not in the list below fails the test, and so does an item of the list that
no longer occurs. docs/equality.md holds the same list for readers.
"""

import functools
import os
import re
import shutil
import struct
import subprocess
import tarfile
import tomllib
import unittest

import bootstrap
import engine
import equality
import harness
import small
import trees
from engine import docker

FULL = "KILN_E2E_FULL" in os.environ

# The bases of these tests: the packages that each has besides the essential ones. `reference` is the
# image of the reference family, whose bundle adds packages to those of the base.
PYTHON = ["apt", "python3"]
SETS = {
    "reference": None,
    "tools": [*PYTHON, "git", "openssh-client"],
    "java": [*PYTHON, "default-jre-headless"],
    "r": [*PYTHON, "r-base-core"],
    "blas": [*PYTHON, "fontconfig", "fonts-dejavu-core", "liblapack3", "libopenblas0-pthread"],
    "services": [*PYTHON, "man-db", "molly-guard", "openssh-server", "ssl-cert"],
    "compilers": [*PYTHON, "build-essential", "gfortran", "nodejs", "pkg-config"],
    "desktop": [*PYTHON, "gtk-update-icon-cache", "libgl1", "libgtk-3-0", "xvfb", "xfonts-base"],
}
ONLY_DEBIAN_12 = {"blas": ["libatlas3-base"]}  # Debian 13 has no second BLAS of this kind
SUITES = {"debian-12": "bookworm", "debian-13": "trixie"}
USR_MERGED = {
    "debian-12": ["bin", "sbin", "lib", "lib32", "lib64", "libx32"],
    "debian-13": ["bin", "sbin", "lib", "lib64"],
}
# mmdebstrap needs half a minute for each.
FEW = [("debian-12", "reference"), ("debian-13", "services")]
CHOSEN = [(suite, name) for suite in SUITES for name in SETS] if FULL else FEW

# What kiln's configured systems do not share with those of mmdebstrap.
DIFFERENCES = {
    "content: etc/shadow": "the day of each password is that of the newest file of the packages, not "
    "that of the build; nothing else differs",
    "only mmdebstrap: etc/.pwd.lock": "a lock that nobody holds",
    "only mmdebstrap: etc/*-": "what `/etc/passwd` and its kin were before the last change",
    "only mmdebstrap: etc/hostname": "mmdebstrap copies it from the machine that builds",
    "only mmdebstrap: etc/resolv.conf": "so this one",
    "only mmdebstrap: etc/fstab": "mmdebstrap writes it; it says nothing",
    "only mmdebstrap: etc/apt/sources.list": "mmdebstrap writes where its packages came from, which "
    "is a directory that is gone",
    "only mmdebstrap: run/lock*": "`/run` is of a running system, and empty in images",
    "only mmdebstrap: var/cache/apt/archives/lock": "a lock that nobody holds",
    "only mmdebstrap: var/lib/apt/lists/lock": "a lock that nobody holds",
    "only mmdebstrap: var/lib/apt/extended_states": "apt's notes on what it installed by itself: none",
    "only mmdebstrap: var/cache/debconf/*-old": "what debconf's database was before the last change",
    "only mmdebstrap: var/lib/dpkg/*-old": "what dpkg's database was before the last change",
    "only mmdebstrap: var/lib/dpkg/lock*": "locks that nobody holds",
    "only mmdebstrap: var/lib/dpkg/triggers/Lock": "a lock that nobody holds",
    "only mmdebstrap: var/lib/dpkg/arch": "mmdebstrap writes it; without it dpkg assumes the same",
    "only mmdebstrap: etc/ssh/ssh_host_*": "keys that every container of an image would share",
    "only mmdebstrap: etc/ssl/private/ssl-cert-snakeoil.key": "a key that every container of an image "
    "would share",
    "only mmdebstrap: etc/ssl/certs/ssl-cert-snakeoil.pem": "the certificate of that key",
    "only mmdebstrap: etc/ssl/certs/????????.0": "a link to that certificate",
    "target: etc/systemd/system/*.wants/*": "`/lib/…` or `/usr/lib/…`, which is one directory: it "
    "depends on whether systemd is unpacked before the script runs",
    "content: var/lib/dpkg/triggers/File": "the same lines in another order: mmdebstrap's is the order "
    "in which packages were installed",
}
# What only some of the systems show: all of these occur when all systems are made.
DIFFERENCES_OF_SOME = {
    "content: etc/ssl/certs/java/cacerts": "the time of each certificate is that of the newest file of "
    "the packages, not that of the build; nothing else differs",
    "content: var/cache/fontconfig/*": "it holds the times of directories, which are 1980-01-01 in "
    "images",
    "only mmdebstrap: var/log/fontconfig.log": "a log",
    "content: etc/passwd": "the same lines in another order, which is that in which packages that do not "
    "need each other are configured",
    "content: etc/group": "so here",
    "content: etc/gshadow": "and here",
}

ASPECTS = ["mode", "uid", "gid", "content", "target", "links", "capability"]
# kiln adds the user of the images; mmdebstrap is told to do so, too. Debian 13 without the package passwd
# has passwords of `*` in passwd(5), and a shadow file only if something else made one.
ADD_USER = r"""
    password=$(sed -n 's/^root:\([^:]*\):.*/\1/p' "$1/etc/passwd")
    if [ -e "$1/etc/shadow" ]; then
        echo 'default:!:0:0:99999:7:::' >>"$1/etc/shadow"
    fi
    echo "default:$password:1001:0::/opt/app-root/src:/bin/bash" >>"$1/etc/passwd"
"""
PREFIX = "opt/app-root"
# These hold what must never be in an image, because all who have it would share it.
IDENTITIES = [
    "etc/ssh/ssh_host_*_key",
    "etc/ssh/ssh_host_*_key.pub",
    "etc/ssl/private/ssl-cert-snakeoil.key",
    "etc/ssl/certs/ssl-cert-snakeoil.pem",
]


def write_family(place, systems):
    """Writes a family with these systems as bases, and nothing above them."""
    small.begin_family(place)
    (place / "bundles/nothing").mkdir(parents=True)
    (place / "bundles/nothing/bundle.toml").write_text('title = "Nothing"\n')
    toml = ['[family]\nname = "configured"\nrelease = "1"\n']
    for suite, name in systems:
        packages = SETS[name] + ONLY_DEBIAN_12.get(name, []) * (suite == "debian-12")
        text = small.base_with(suite, packages)
        text = re.sub(r'^code = "(.*)"', rf'code = "\1.{name}"', text, flags=re.M)
        (place / f"bases/{suite}-{name}.toml").write_text(text)
        toml.append(f'[[image]]\nbase = "{suite}-{name}"\nbundle = "nothing"\n')
    (place / "kiln.toml").write_text("\n".join(toml))


@functools.cache
def place():
    return harness.scratch("configured")


def tearDownModule():
    shutil.rmtree(place())


@functools.cache
def of_family():
    """kiln with the shared store and a family of all systems but the reference ones."""
    family = place() / "family"
    family.mkdir()
    write_family(family, [system for system in CHOSEN if SETS[system[1]]])
    kiln = harness.Kiln(harness.built().store, family)
    kiln.run("lock")
    return kiln


@functools.cache
def built(system):
    """The image of a system, built: kiln with its family, and a part of the name that only it has."""
    suite, name = system
    code = suite.replace("debian-", "d")
    if SETS[name] is None:
        kiln, image = harness.built(), f"{harness.IMAGE}-{code}"
    else:
        kiln, image = of_family(), f"{code}.{name}"
    kiln.build(image)
    return kiln, image


@functools.cache
def layers(system):
    """The layers of an image, bottom first."""
    kiln, image = built(system)
    return [blob for blob, _ in kiln.layers(image)]


@functools.cache
def ours(system):
    """The system that kiln made, without the Python tree of the family."""
    tree = trees.of_layers(layers(system))
    del tree["dev"]  # mmdebstrap is told to leave it out
    return {path: it for path, it in tree.items() if not f"{path}/".startswith(f"{PREFIX}/")}


@functools.cache
def archive(system):
    """The tar file of the system that mmdebstrap made."""
    kiln, image = built(system)
    suite, name = system
    downloads = kiln.store / "downloads/sha256"
    archives = [
        (
            downloads / deb["sha256"].removeprefix("sha256:"),
            deb["path"].rpartition("/")[2],
            deb["name"],
            deb["version"],
        )
        for deb in kiln.locked(image)["deb"]
    ]
    target = place() / f"{suite}-{name}"
    return bootstrap.bootstrap(archives, target, USR_MERGED[suite], [ADD_USER])


@functools.cache
def theirs(system):
    with open(archive(system), "rb") as tar:
        tree = trees.of_tar(tar)
    del tree[""]  # layers do not list it
    return tree


def of_both(system, path):
    """The contents of a file in both systems: mmdebstrap's and kiln's."""
    with tarfile.open(archive(system)) as tar:
        their = tar.extractfile(f"./{path}").read()
    return their, trees.content_in_layers(layers(system), path)


class Systems(equality.Equality):
    def test_they_are_what_mmdebstrap_makes(self):
        differences = []
        for system in CHOSEN:
            self.assertGreater(len(ours(system)), 5_000)
            differences += equality.compare(
                theirs(system), ours(system), ["mmdebstrap", "kiln"], ASPECTS
            )
        expected = DIFFERENCES | DIFFERENCES_OF_SOME
        occurring = expected if FULL else DIFFERENCES
        self.check(differences, expected, occurring)

    def test_in_the_shadow_files_only_days_differ(self):
        having = [system for system in CHOSEN if "etc/shadow" in ours(system)]
        self.assertTrue(having)
        for system in having:
            with self.subTest(system):
                their, our = of_both(system, "etc/shadow")
                days = {line.split(b":")[2] for line in our.splitlines()}
                self.assertEqual(*map(without_days, (their, our)))
                self.assertEqual(len(days), 1)

    def test_in_lists_only_the_order_differs(self):
        lists = ["etc/passwd", "etc/group", "etc/gshadow", "var/lib/dpkg/triggers/File"]
        for system in CHOSEN:
            listed = [it for it in lists if it in ours(system)]
            differing = [it for it in listed if theirs(system)[it].content != ours(system)[it].content]
            for path in differing:
                with self.subTest(system, path=path):
                    their, our = of_both(system, path)
                    self.assertEqual(sorted(their.splitlines()), sorted(our.splitlines()))

    def test_in_the_key_stores_of_java_only_times_differ(self):
        path = "etc/ssl/certs/java/cacerts"
        having = [system for system in CHOSEN if path in ours(system)]
        self.assertEqual(having, [(suite, name) for suite, name in CHOSEN if name == "java"])
        for system in having:
            with self.subTest(system):
                (their, _), (our, times) = map(certificates, of_both(system, path))
                self.assertEqual(their, our)
                self.assertGreater(len(our), 100)
                self.assertEqual(len(times), 1)

    def test_no_identity_that_scripts_generate_is_in_an_image(self):
        for system in CHOSEN:
            for pattern in IDENTITIES:
                found = equality.matching(ours(system), pattern)
                self.assertEqual(found, [], system)
                if system[1] == "services":
                    their = equality.matching(theirs(system), pattern)
                    self.assertTrue(their, f"{pattern} is generated by nothing")

    def test_every_package_is_installed(self):
        for system in CHOSEN:
            status = trees.content_in_layers(layers(system), "var/lib/dpkg/status").decode()
            states = re.findall(r"^Status: (.*)$", status, re.MULTILINE)
            self.assertGreater(len(states), 80)
            self.assertEqual(set(states), {"install ok installed"}, system)


class InContainers(unittest.TestCase):
    """What dpkg and apt say of the systems, in an engine."""

    def run_as_root(self, system, script, *options):
        """Runs a shell script in a container; gives what it prints."""
        reference = engine.load(*built(system), self.addCleanup)
        return docker(
            "run", "--rm", "--user", "0", *options, "--entrypoint", "sh", reference, "-euc", script
        ).stdout

    def test_dpkg_finds_nothing_wrong(self):
        for system in CHOSEN:
            with self.subTest(system):
                self.assertEqual(self.run_as_root(system, "dpkg --audit"), "")

    def test_apt_installs_a_package(self):
        script = "apt-get update -qq; apt-get install -qq hello >&2; hello; dpkg --audit"
        for system in CHOSEN:
            with self.subTest(system):
                suite = SUITES[system[0]]
                sources = place() / f"{suite}.list"
                sources.write_text(f"deb {debian()} {suite} main\n")
                mount = f"{sources}:/etc/apt/sources.list:ro"
                options = ["--network", "host", "--volume", mount]
                options += ["--env", "DEBIAN_FRONTEND=noninteractive"]
                said = self.run_as_root(system, script, *options)
                self.assertEqual(said, "Hello, world!\n")


class Documents(unittest.TestCase):
    maxDiff = None

    def test_the_written_list_is_this(self):
        rows = equality.written("Configured systems")
        self.assertEqual(rows, [*DIFFERENCES.items(), *DIFFERENCES_OF_SOME.items()])


def debian():
    """Where this machine's apt finds Debian."""
    command = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Origin: Debian"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return next(line for line in done.stdout.splitlines() if line.rstrip("/").endswith("/debian"))


def without_days(shadow):
    """The lines of a shadow(5) file without the day of the last change, in alphabetical order."""
    lines = [line.split(b":") for line in shadow.splitlines()]
    return sorted([*line[:2], *line[3:]] for line in lines)


def certificates(store):
    """The trusted certificates of a Java key store in the format JKS, by alias, and all times."""
    magic, _, count = struct.unpack_from(">III", store)
    assert magic == 0xFEEDFEED
    offset, found, times = 12, {}, set()

    def take(form):
        nonlocal offset
        (size,) = struct.unpack_from(form, store, offset)
        start = offset + struct.calcsize(form)
        offset = start + size
        return store[start:offset]

    for _ in range(count):
        assert store[offset : offset + 4] == b"\0\0\0\2"  # a trusted certificate
        offset += 4
        alias = take(">H")
        times.add(store[offset : offset + 8])
        offset += 8
        found[alias] = take(">H"), take(">I")
    assert len(store) == offset + 20  # SHA-1 of the password, a text and all before
    return found, times


if __name__ == "__main__":
    unittest.main()
