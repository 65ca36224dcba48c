"""What the end-to-end tests share: kiln as a user would type it.

One store and one freshly locked copy of the reference family, with fewer images, serve all tests that change
neither; a test that needs a store of its own gets one whose downloads are hard links, so that
nothing is fetched twice.
"""

import functools
import itertools
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import tomllib

import output_schema

ROOT = pathlib.Path(__file__).resolve().parents[2]
KILN = pathlib.Path(os.environ.get("KILN_BINARY", ROOT / "target/release/kiln"))
WORK = pathlib.Path(os.environ.get("KILN_E2E_WORK") or tempfile.mkdtemp(prefix="kiln-e2e-"))
IMAGE = "jupyter-datascience"
# Of the reference family, what most tests need.
BASES = ["debian-12", "debian-13"]
BUNDLES = ["minimal", "datascience"]


class Kiln:
    """kiln with a store and a family."""

    def __init__(self, store, family):
        self.store = pathlib.Path(store)
        self.family = pathlib.Path(family)

    def run(self, *arguments, check=True, env=None, **options):
        """Runs kiln; gives the finished process with text output."""
        command = [KILN, "--store", self.store, "--family", self.family, *arguments]
        done = subprocess.run(
            list(map(str, command)),
            env={**os.environ, **(env or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )
        if check and done.returncode != 0:
            raise AssertionError(f"kiln {arguments} ended with {done.returncode}:\n{done.stderr}")
        return done

    def json(self, *arguments, **options):
        """Runs kiln with `--output json`; gives the parsed lines, which are as the schema says."""
        done = self.run("--output", "json", *arguments, **options)
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        for line in lines:
            output_schema.check(KILN, line)
        return lines

    def build(self, image=IMAGE, *arguments):
        """Builds one image; gives what kiln says of it."""
        lines = self.json("build", image, *arguments)
        return next(line for line in lines if line["event"] == "built")

    def manifest(self, image=IMAGE):
        return json.loads(self.run("inspect", "--raw", "manifest", image).stdout)

    def config(self, image=IMAGE):
        return json.loads(self.run("inspect", "--raw", "config", image).stdout)

    def blob(self, digest):
        return self.store / "blobs/sha256" / digest.removeprefix("sha256:")

    def locked(self, image=IMAGE):
        """The locked packages of an image, by kind: `wheel` and `deb`."""
        lock = tomllib.loads((self.family / "kiln.lock").read_text())
        name = self.json("inspect", image)[0]["image"]
        wanted = next(it for it in lock["image"] if it["name"] == name)["sets"]
        sets = [it for it in lock["set"] if it["id"] in wanted]
        ids = {id for it in sets for kind in ["wheels", "debs"] for id in it.get(kind, [])}
        return {
            kind: [it for it in lock.get(kind, []) if it["id"] in ids] for kind in ["wheel", "deb"]
        }

    def layers(self, image=IMAGE):
        """The paths of the image's layers, bottom first, with what each holds."""
        history = self.config(image)["history"]
        blobs = [self.blob(layer["digest"]) for layer in self.manifest(image)["layers"]]
        return list(zip(blobs, history, strict=True))


def scratch(name):
    """A new directory for a test."""
    return pathlib.Path(tempfile.mkdtemp(prefix=f"{name}-", dir=WORK))


def only_images(family, images):
    """Writes a family's images anew: (base, bundle, IDE) each, and the accelerator where it has one."""
    file = family / "kiln.toml"
    kept, images_table = [], False
    for line in file.read_text().splitlines():
        if line.startswith("["):
            images_table = line == "[[image]]"
        if not images_table:
            kept.append(line)
    for base, bundle, ide, *accelerator in images:
        image = {"base": base, "bundle": bundle, "ide": ide, "accelerator": (*accelerator, "cpu")[0]}
        kept += ["[[image]]", *(f'{key} = "{name}"' for key, name in image.items()), ""]
    file.write_text("\n".join(kept))


@functools.cache
def fresh_family():
    """A copy of the reference family with the images that most tests need, locked now: mirrors drop what
    older locks name."""
    family = WORK / "family"
    if not (family / "kiln.lock").exists():
        shutil.copytree(ROOT / "family", family, dirs_exist_ok=True)
        only_images(family, itertools.product(BASES, BUNDLES, ["jupyter", "runtime"]))
        (family / "kiln.lock").unlink(missing_ok=True)
        Kiln(WORK / "store", family).run("lock")
    return family


@functools.cache
def built():
    """kiln with the shared store, in which the reference image is built."""
    kiln = Kiln(WORK / "store", fresh_family())
    kiln.build()
    return kiln


def with_downloads(name, family=None):
    """kiln with a store of its own that has the shared store's downloads and nothing else."""
    shared = built()
    store = scratch(name) / "store"
    Kiln(store, shared.family).run("store", "path")
    downloads = store / "downloads/sha256"
    downloads.mkdir(parents=True, exist_ok=True)
    for file in (shared.store / "downloads/sha256").iterdir():
        os.link(file, downloads / file.name)
    return Kiln(store, family or shared.family)


def copy_of_family(name):
    """A copy of the locked reference family that a test may change."""
    target = scratch(name) / "family"
    shutil.copytree(fresh_family(), target)
    return target
