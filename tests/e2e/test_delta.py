"""What a bundle adds to a configured system is what apt and dpkg install there.

On a base, a bundle brings users, keys, file triggers, alternatives, Java, manuals and fonts. In a
container of the base, apt installs exactly these packages; then both systems are compared path by path. A
difference that is not in the list below fails the test, and so does an item of the list that no longer
occurs. docs/equality.md holds the same list for readers.
"""

import functools
import os
import re
import shutil
import tarfile
import unittest

import equality
import harness
import small
import trees
from test_configure import ASPECTS, PREFIX

BASE = ["apt", "man-db", "python3"]
BUNDLE = ["default-jre-headless", "fontconfig", "fonts-dejavu-core", "libopenblas0-pthread"]
BUNDLE += ["openssh-server", "ssl-cert"]
SUITES = {"debian-12": "d12", "debian-13": "d13"}

FULL = "KILN_E2E_FULL" in os.environ
DIFFERENCES = {
    "content: etc/group": "ids are given in the order in which packages are configured; the names are "
    "the same",
    "content: etc/gshadow": "the same lines in that order",
    "gid: *": "one of these ids",
    "content: etc/shadow": "in that order, too, and the day is that of the newest file of the packages; "
    "nothing else differs",
    "content: etc/machine-id": "the identity of one machine; in images the file is empty, and the first "
    "start fills it",
    "mode: etc/machine-id": "an empty one must be writable for that",
    "only apt: etc/ssh/ssh_host_*": "keys that every container of an image would share",
    "only apt: etc/ssl/private/ssl-cert-snakeoil.key": "a key that every container of an image would "
    "share",
    "only apt: etc/ssl/certs/ssl-cert-snakeoil.pem": "the certificate of that key",
    "only apt: etc/ssl/certs/????????.0": "a link to that certificate",
    "only apt: etc/.pwd.lock": "a lock that nobody holds",
    "only apt: etc/*-": "what `/etc/passwd` and its kin were before the last change",
    "content: etc/ssl/certs/java/cacerts": "the time of each certificate is that of the newest file of "
    "the packages; nothing else differs",
    "content: var/cache/fontconfig/*": "it holds the times of directories, which are 1980-01-01 in "
    "images",
    "content: var/lib/dpkg/triggers/File": "the same lines in another order: apt's is the order in which "
    "packages were installed",
    "only apt: var/cache/apt/*": "what apt knows of its archives, and a lock",
    "only apt: var/cache/debconf/*": "what debconf's database was before the last change, and an empty "
    "directory",
    "only apt: var/cache/ldconfig/aux-cache": "ldconfig makes it again when it is missed",
    "only apt: var/lib/apt/*": "apt's notes on what it installed by itself, and an empty directory",
    "only apt: var/lib/dpkg/lock*": "locks that nobody holds",
    "only apt: var/lib/dpkg/status-old": "what dpkg's database was before the last change",
    "only apt: var/lib/dpkg/triggers/Lock": "a lock that nobody holds",
    "only apt: var/log/*": "logs",
}
# An engine gives these to each container.
OF_CONTAINERS = re.compile(rf"|(dev|proc|sys|mnt|{PREFIX})(/.*)?|etc/(hosts|hostname|resolv\.conf)")


def write_family(place):
    """Writes a family in which each suite has an image of the base, and one of the bundle on it."""
    small.begin_family(place)
    toml = '[family]\nname = "delta"\nrelease = "1"\nbytecode = false\n'
    for name, packages in [("nothing", []), ("much", BUNDLE)]:
        (place / "bundles" / name).mkdir(parents=True)
        text = f'title = "{name}"\npackages = {packages}\n'
        (place / "bundles" / name / "bundle.toml").write_text(text)
    for suite in SUITES:
        (place / f"bases/{suite}.toml").write_text(small.base_with(suite, BASE))
        for name in ["nothing", "much"]:
            toml += f'\n[[image]]\nbase = "{suite}"\nbundle = "{name}"\n'
    (place / "kiln.toml").write_text(toml)


@functools.cache
def place():
    path = harness.scratch("delta")
    path.chmod(0o755)
    return path


def tearDownModule():
    shutil.rmtree(place())


@functools.cache
def kiln():
    """kiln with the shared store and the family, with all its images built."""
    family = place() / "family"
    family.mkdir()
    write_family(family)
    kiln = harness.Kiln(harness.built().store, family)
    kiln.run("lock")
    kiln.run("build", "--all")
    return kiln


def added(code):
    """The archives that the bundle adds to the base: name of the file → path in the store."""
    base, all = (
        {it["id"]: it for it in kiln().locked(f"{name}-{code}")["deb"]} for name in ["nothing", "much"]
    )
    return {
        it["path"].rpartition("/")[2]: kiln().store
        / "downloads/sha256"
        / it["sha256"].removeprefix("sha256:")
        for id, it in all.items()
        if id not in base
    }


@functools.cache
def archive(code):
    """A tar file of a container of the base in which apt has installed what the bundle adds."""
    exchange = place() / f"{code}.exchange"
    exchange.mkdir()
    for file, path in added(code).items():
        os.link(path, exchange / file)
    script = """
        printf '#!/bin/sh\\nexit 101\\n' >/usr/sbin/policy-rc.d
        chmod 755 /usr/sbin/policy-rc.d
        apt-get install --quiet --yes --no-install-recommends /mnt/*.deb >/mnt/said 2>&1
        rm /usr/sbin/policy-rc.d
        tar --create --file /mnt/tree.tar --format=pax --xattrs --xattrs-include=security.capability \\
            --one-file-system --numeric-owner --exclude=./dev --exclude=./proc --exclude=./sys \\
            --exclude=./mnt --directory / .
    """
    done = kiln().run(
        *["run", "--user", "0:0", "--workdir", "/", "--volume", f"{exchange}:/mnt"],
        *["--env", "DEBIAN_FRONTEND=noninteractive", f"nothing-{code}", "--", "/bin/sh", "-euc", script],
        check=False,
    )
    if done.returncode != 0:
        raise AssertionError(done.stderr + (exchange / "said").read_text())
    return exchange / "tree.tar"


def layers(code):
    """The layers of the image with the bundle."""
    return [blob for blob, _ in kiln().layers(f"much-{code}")]


def compared(code):
    """How the systems differ."""
    with open(archive(code), "rb") as tar:
        trees_of_both = [trees.of_tar(tar), trees.of_layers(layers(code))]
    theirs, ours = (
        {path: it for path, it in tree.items() if not OF_CONTAINERS.fullmatch(path)}
        for tree in trees_of_both
    )
    return equality.compare(theirs, ours, ["apt", "kiln"], ASPECTS)


def of_both(code, path):
    """The lines of a file in both systems."""
    with tarfile.open(archive(code)) as tar:
        theirs = tar.extractfile(f"./{path}").read()
    ours = trees.content_in_layers(layers(code), path)
    return theirs.splitlines(), ours.splitlines()


def without(lines, field):
    """Lines with fields between colons, without one of these, in alphabetical order."""
    rows = [line.split(b":") for line in lines]
    return sorted(row[:field] + row[field + 1 :] for row in rows)


@unittest.skipUnless(FULL, "for ./test --full")
class Delta(equality.Equality):
    def test_it_is_what_apt_installs(self):
        found = []
        for code in SUITES.values():
            self.assertGreater(len(added(code)), 30)
            found += compared(code)
        self.check(found, DIFFERENCES)

    def test_of_accounts_only_order_ids_of_groups_and_days_differ(self):
        for code in SUITES.values():
            for path, field in [("group", 2), ("shadow", 2)]:
                theirs, ours = of_both(code, f"etc/{path}")
                self.assertEqual(without(ours, field), without(theirs, field), (code, path))

    def test_in_other_lists_only_the_order_differs(self):
        for code in SUITES.values():
            for path in ["etc/gshadow", "var/lib/dpkg/triggers/File"]:
                theirs, ours = of_both(code, path)
                self.assertEqual(sorted(ours), sorted(theirs), (code, path))


class Documents(unittest.TestCase):
    maxDiff = None

    def test_the_written_list_is_this(self):
        self.assertEqual(equality.written("Deltas"), [*DIFFERENCES.items()])


if __name__ == "__main__":
    unittest.main()
