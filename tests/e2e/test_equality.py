"""What kiln packs equals what the tools that people trust unpack.

Every difference that may occur is in the list below, with its reason. A difference that is not in
the list fails the test; so does an item of the list that no longer occurs. docs/equality.md holds
the same list for readers.
"""

import functools
import os
import re
import shutil
import subprocess
import unittest

import harness
import trees
from equality import Equality, compare, written

IMAGES = ["jupyter-datascience-d12", "jupyter-datascience-d13"]

# What kiln's layers of Debian packages do not share with the unpacked packages.
DEBIAN_DIFFERENCES = {
    "only kiln: var/lib/dpkg/info/*": "dpkg's notes on each package, which dpkg itself would write "
    "when it unpacks",
}

# What an engine puts into a container of its own.
OF_DOCKER = re.compile(
    r"|\.dockerenv|dev(/.*)?|proc|sys|etc/(hosts|hostname|resolv\.conf|mtab)", re.ASCII
)

ASPECTS = ["mode", "uid", "gid", "content", "target", "links"]
REPRODUCIBLE_MTIME = 315532800  # 1980-01-01T00:00:00Z
USR_MERGED = {
    "jupyter-datascience-d12": ["bin", "sbin", "lib", "lib32", "lib64", "libx32"],
    "jupyter-datascience-d13": ["bin", "sbin", "lib", "lib64"],
}


def sh(*command, **options):
    return subprocess.run(list(map(str, command)), check=True, capture_output=True, **options)


@functools.cache
def place():
    """Where everything of this module is unpacked."""
    path = harness.scratch("equality")
    path.chmod(0o755)
    return path


def tearDownModule():
    shutil.rmtree(place())


@functools.cache
def kiln():
    """kiln with the shared store, in which both images are built."""
    shared = harness.built()
    for image in IMAGES:
        shared.build(image)
    return shared


@functools.cache
def layers(image):
    """The layers of an image, bottom first: the blob and what was done to make it."""
    *steps, total = [line for line in kiln().json("plan", image) if "step" in line or "image" in line]
    actions = {step["step"]: step["action"]["kind"] for step in steps}
    blobs = [blob for blob, _ in kiln().layers(image)]
    return list(zip(blobs, [actions[step] for step in total["layers"]], strict=True))


@functools.cache
def whole(image):
    """The tree of all layers of an image."""
    return trees.of_layers([blob for blob, _ in layers(image)])


@functools.cache
def system(image):
    """A directory with the files of Debian packages only, and its tree."""
    unpacked = trees.Unpacked(place() / f"{image}.system")
    unpacked.unpack(*[blob for blob, action in layers(image) if "pack-debs" in action])
    return unpacked.path, unpacked.listing()


def download(package):
    return kiln().store / "downloads/sha256" / package["sha256"].removeprefix("sha256:")


class Debian(Equality):
    def test_the_system_tree_is_what_dpkg_deb_unpacks(self):
        differences = []
        for image in IMAGES:
            unpacked = trees.Unpacked(place() / f"{image}.debs")
            for name in USR_MERGED[image]:
                (unpacked.path / "usr" / name).mkdir(parents=True, mode=0o755)
                (unpacked.path / name).symlink_to(f"usr/{name}")
            archives = [download(package) for package in kiln().locked(image)["deb"]]
            self.assertGreater(len(archives), 100)
            unpacked.unpack_debs(archives)
            theirs, (_, ours) = unpacked.listing(), system(image)
            for tree in [theirs, ours]:
                del tree[""]
            differences += compare(theirs, ours, ["dpkg", "kiln"], ASPECTS)
            # Where merge links come from decides on their time, and nothing looks at it.
            files = [path for path, node in theirs.items() if node.type == "file"]
            links = [path for path, node in theirs.items() if node.type == "symlink" and "/" in path]
            differences += [
                f"mtime: {path}"
                for path in files + links
                if path in ours and theirs[path].mtime != ours[path].mtime
            ]
            directories = [node for node in ours.values() if node.type == "directory"]
            self.assertEqual({node.mtime for node in directories}, {REPRODUCIBLE_MTIME})
            self.assertTrue(any(node.links for node in ours.values()), "hard links were compared")
        self.check(differences, DEBIAN_DIFFERENCES)


class Documents(unittest.TestCase):
    maxDiff = None

    def test_the_written_list_is_this(self):
        self.assertEqual(written("Debian packages"), [*DEBIAN_DIFFERENCES.items()])


class Tools(Equality):
    """Other readers of images see the same tree."""

    def test_gzip_finds_every_layer_sound(self):
        for image in IMAGES:
            for blob, _ in layers(image):
                with open(blob, "rb") as layer:
                    sh("gzip", "--test", stdin=layer)

    def test_skopeo_copies_to_a_docker_archive(self):
        for image in IMAGES:
            name = kiln().json("inspect", image)[0]["image"]
            archive = place() / f"{image}.docker.tar"
            sh("skopeo", "copy", f"oci:{kiln().store}:{name}", f"docker-archive:{archive}")
            archive.unlink()

    def test_umoci_unpacks_the_same_tree(self):
        rootless = [] if os.geteuid() == 0 else ["--rootless"]
        aspects = ["mode", "content", "target", "links"] + ([] if rootless else ["uid", "gid"])
        image = IMAGES[0]
        layout, bundle = place() / "layout", place() / "bundle"
        kiln().run("export", "--format", "oci-dir", image, layout)
        name = kiln().json("inspect", image)[0]["image"]
        sh("umoci", "unpack", *rootless, "--image", f"{layout}:{name}", bundle)
        theirs, ours = trees.of_directory(bundle / "rootfs"), dict(whole(image))
        for tree in [theirs, ours]:
            tree.pop("", None)
        self.assertEqual(list(compare(theirs, ours, ["umoci", "kiln"], aspects))[:50], [])
        self.assertTrue((bundle / "config.json").exists())
        shutil.rmtree(bundle)
        shutil.rmtree(layout)

    def test_docker_exports_the_same_tree(self):
        for image in IMAGES:
            with self.subTest(image):
                reference = self.loaded(image)
                container = sh("docker", "create", reference).stdout.decode().strip()
                self.addCleanup(sh, "docker", "rm", container)
                export = ["docker", "export", container]
                with subprocess.Popen(export, stdout=subprocess.PIPE) as exporting:
                    theirs = trees.of_tar(exporting.stdout)
                    self.assertEqual(exporting.wait(), 0)
                ours = dict(whole(image))
                # Docker's own files have changed the times of these.
                changed = {"dev", "etc", ""}
                times = [
                    f"mtime: {path}"
                    for path, node in theirs.items()
                    if path in ours
                    and path not in changed
                    and node.mtime != ours[path].mtime
                    and not OF_DOCKER.fullmatch(path)
                ]
                found = times + [
                    difference
                    for difference in compare(theirs, ours, ["docker", "kiln"], ASPECTS)
                    if not OF_DOCKER.fullmatch(difference.split(": ", 1)[1])
                ]
                self.assertEqual(found[:50], [])

    def loaded(self, image):
        """The name of the image in Docker; it is removed in the end unless it was there before."""
        before = sh("docker", "images", "--quiet", "--no-trunc").stdout.split()
        kiln().run("load", "docker", image)
        config = kiln().json("inspect", image)[0]["config_digest"]
        if config.encode() not in before:
            self.addCleanup(sh, "docker", "rmi", config)
        return config


if __name__ == "__main__":
    unittest.main()
