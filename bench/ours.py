"""kiln's side of the benchmark: a case, its stores, and one measured build of each kind."""

import json
import os
import pathlib
import shutil
import subprocess

from kiln import ROOT, Kiln, Plan
from measure import measured

FLOOR = ROOT / "target/release/kiln-bench-floor"
# The kinds of actions that make the layers of the operating system.
SYSTEM = ["pack-debs", "deb-database", "configure"]


class Case:
    """An image of a family, built once into a warm store: what all rounds start from."""

    def __init__(self, name, work, family, image, options):
        self.name, self.work = name, work
        self.image, self.options = image, options
        self.warm = Kiln(work / "warm", family)
        self.cold = Kiln(work / "cold", family)

    def prepare(self):
        """Builds once; fetches what is missing, and moves packages only if their file is gone."""
        build = ["-q", "build", *self.options, self.image]
        if not self.warm.succeeds("--offline", *build) and not self.warm.succeeds(*build):
            self.warm.run(*build, "--relock-gone")

    def plan(self):
        return Plan(self.warm, self.image, self.options)

    def files(self, kind):
        """The archives of `debs` or `wheels`: pairs of path and file name."""
        archives = self.plan().archives(kind)
        return [(self.warm.download(it["sha256"]), it["file"]) for it in archives]

    # Stores.

    def new_store(self):
        """An empty store with warm downloads: in the page cache, as a download leaves them."""
        remove(self.cold.store)
        self.cold.run("store", "path")
        self.downloads(self.files("debs") + self.files("wheels"))

    def downloads(self, files):
        for path, _ in files:
            target = self.cold.store / "downloads/sha256" / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.exists():
                target.hardlink_to(path)
            path.read_bytes()

    def known(self, wanted):
        """The cold store also knows the results of the warm store's steps that are `wanted`."""
        keys = {step["key"].removeprefix("sha256:") for step in filter(wanted, self.plan().steps)}
        results = self.cold.store / "actions/results"
        with open(self.warm.store / "actions/results") as lines, open(results, "a") as out:
            for line in lines:
                _, key, result = line.split(" ", 2)
                if key in keys:
                    out.write(line)
                    [result] = json.loads(result).values()
                    digest = result["digest"].removeprefix("sha256:")
                    self.link(f"blobs/sha256/{digest}")
                    # What the layer holds, in brief; blobs that are no layers have none.
                    if (self.warm.store / f"actions/outlines/{digest}").exists():
                        self.link(f"actions/outlines/{digest}")

    def link(self, path):
        """The cold store has a file of the warm one, too."""
        target = self.cold.store / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            target.hardlink_to(self.warm.store / path)

    # Measured.

    def whole(self):
        """Everything, from an empty store."""
        self.new_store()
        return self.build(self.cold)

    def stack(self):
        """The Python packages; the layers of the operating system are in the store."""
        self.new_store()
        self.known(lambda step: any(kind in SYSTEM for kind in step["action"]["kind"]))
        return self.build(self.cold)

    def changed(self, family):
        """Everything is in the store; the family has another lock."""
        self.new_store()
        self.known(lambda step: True)
        other = Case(self.name, self.work, family, self.image, self.options)
        self.downloads(other.files("wheels"))
        return self.build(other.cold)

    def nothing(self):
        """The same build again."""
        return self.build(self.warm)

    def build(self, kiln):
        command = kiln.command("--offline", "--output", "json", "build", *self.options, self.image)
        sample = settled(command)
        lines = map(json.loads, sample.pop("out").splitlines())
        built = next(line for line in lines if line["event"] == "built")
        sample["new"] = sum(layer["size"] for layer in built["layers"] if layer["new"])
        if kiln is not self.warm:
            remove(kiln.store)
        return sample

    def floor(self, kinds):
        """Seconds that nobody can do without: see `bench/floor`."""
        place = self.work / "floor"
        remove(place)
        place.mkdir()
        for kind in kinds:
            for path, file in self.files(kind):
                (place / file).hardlink_to(path)
                path.read_bytes()
        sample = settled([FLOOR, place])
        sample.update(json.loads(sample.pop("out")))
        return sample


def settled(command, **options):
    """Measures a command when nothing that came before it is left to be written."""
    os.sync()
    return measured(command, **options)


def remove(place):
    # What the sandbox unpacked may belong to other users.
    shutil.rmtree(place, ignore_errors=True)
    if pathlib.Path(place).exists():
        subprocess.run(["rm", "-rf", place], check=True)


def changed_family(family, target, bundle, project):
    """A copy of a locked family in which one project has another version than before."""
    remove(target)
    shutil.copytree(family, target)
    path = target / f"bundles/{bundle}/bundle.toml"
    locked = (target / "kiln.lock").read_text()
    version = locked.partition(f'name = "{project}"\nversion = "')[2].partition('"')[0]
    text = path.read_text()
    marker = "requirements = ["
    assert version and marker in text, (project, path)
    path.write_text(text.replace(marker, f'{marker}"{project}!={version}", ', 1))
