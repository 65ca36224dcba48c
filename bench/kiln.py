"""kiln as the benchmarks use it: one store, one family, and the plan of an image as plain data."""

import json
import os
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[1]
BINARY = pathlib.Path(os.environ.get("KILN_BINARY", ROOT / "target/release/kiln"))


def build_binary(*packages):
    """Builds release binaries of packages of this workspace, kiln only where none is given."""
    packages = [it for it in packages if it != "kiln" or "KILN_BINARY" not in os.environ]
    if not packages:
        return
    names = [word for package in packages for word in ("-p", package)]
    subprocess.run(["cargo", "build", "--release", "--quiet", *names], cwd=ROOT, check=True)


class Kiln:
    """kiln with a store and a family."""

    def __init__(self, store, family):
        self.store, self.family = pathlib.Path(store), pathlib.Path(family)

    def command(self, *arguments):
        command = [BINARY, "--store", self.store, "--family", self.family, *arguments]
        return list(map(str, command))

    def run(self, *arguments):
        """Runs kiln and shows what it says; gives its standard output."""
        done = subprocess.run(
            self.command(*arguments), check=True, stdout=subprocess.PIPE, text=True
        )
        return done.stdout

    def succeeds(self, *arguments):
        done = subprocess.run(self.command(*arguments), capture_output=True, check=False)
        return done.returncode == 0

    def json(self, *arguments):
        return [json.loads(line) for line in self.run("--output", "json", *arguments).splitlines()]

    def download(self, digest):
        """Where the store keeps a downloaded archive."""
        return self.store / "downloads/sha256" / digest.removeprefix("sha256:")


class Plan:
    """The steps of one image."""

    def __init__(self, kiln, image, options=()):
        lines = kiln.json("plan", *options, image)
        self.steps = [line for line in lines if "step" in line]
        self.image = next(line for line in lines if "image" in line)
        self.layers = [self.steps[number] for number in self.image["layers"]]

    def archives(self, kind, steps=None):
        """The archives of `debs` or `wheels` that steps read, each once: `file` and `sha256`."""
        found = {}
        for step in self.steps if steps is None else steps:
            for parameters in step["action"]["kind"].values():
                for archive in parameters.get(kind, []):
                    found[archive["sha256"]] = archive
        return list(found.values())
