"""Families to build, and stores to begin from.

`tiny` packs made-up packages from a mirror on loopback. `working` has a real Debian whose base is
configured in the stores that runs begin from; left to do is all else that executes: the packages of
a bundle are configured, a wheel is built from source, modules are compiled, a command is run.
"""

import dataclasses
import pathlib
import shutil
import subprocess
import time

import harness
import mirror
import small
from test_source_wheels import project


@dataclasses.dataclass
class World:
    """A locked family, its sources, and what an undisturbed build gives."""

    name: str
    family: pathlib.Path
    mirror: mirror.Mirror
    env: dict  # where the sources are
    image: str
    seeds: dict  # name → store to begin from; None is an empty one
    right: str = ""  # digest of the manifest
    takes: dict = dataclasses.field(default_factory=dict)  # seed → seconds, undisturbed


def clone(source, target, without=()):
    """Copies a store, but for some of its entries. What is copied must be at rest. What kiln never changes in
    place, it shares with the original."""
    target.mkdir(mode=0o700)
    near = source.stat().st_dev == target.stat().st_dev
    for entry in source.iterdir():
        if entry.name in without:
            continue
        shared = ["--link"] if near and entry.name in ("blobs", "downloads", "rootfs") else []
        subprocess.run(["cp", "--archive", *shared, entry, target], check=True)


def measured(world, built):
    """Builds from each seed; `built` names the store that is kept as the seed `built`."""
    for name, seed in [*world.seeds.items()]:
        store = harness.scratch(f"{world.name}-{name}") / "store"
        if seed is not None:
            clone(seed, store)
        kiln = harness.Kiln(store, world.family)
        started = time.monotonic()
        lines = kiln.json("build", world.image, env=world.env)
        world.takes[name] = time.monotonic() - started
        digest = next(line["manifest"] for line in lines if line["event"] == "built")
        if world.right not in ("", digest):
            raise AssertionError(f"{world.name}: two undisturbed builds, two digests")
        world.right = digest
        if name == built:
            world.seeds["built"], world.takes["built"] = store, 0.05
        else:
            shutil.rmtree(store)
    return world


def tiny():
    """Packs only; from an empty store, or one with all downloads."""

    def change(source, family):
        modules = [(f"many/m{it}.py", f"VALUE = {it}\n".encode()) for it in range(60)]
        source.wheel("many", members=modules)
        for name in ["hello-tools", "libsmall"]:
            links = [mirror.symlink(f"./usr/share/{name}-{it}", "small") for it in range(20)]
            source.deb(name, members=[*links, mirror.file(f"./usr/lib/{name}", mirror.noise(3, 200_000))])
        bundle = family / "bundles/plain/bundle.toml"
        bundle.write_text(bundle.read_text().replace('"beta"', '"beta", "many"'))

    made = mirror.World("tiny", change)
    downloads = harness.scratch("tiny-downloads") / "store"
    kiln = harness.Kiln(downloads, made.family)
    made.build(store=downloads)
    for path in ["actions", "blobs", "index.json", "rootfs"]:
        remove(downloads / path)
    kiln.run("store", "path")
    world = World(
        "tiny",
        made.family,
        made.mirror,
        made.mirror.env,
        made.IMAGE,
        {"empty": None, "downloads": downloads},
    )
    return measured(world, "empty")


def working():
    """Executes; from a store in which the base is configured, with its layers unpacked or not."""
    source = mirror.Mirror()
    tool = mirror.uv()
    source.files[f"/wheels/{tool[0]}"] = tool[2]
    modules = [
        (f"alpha/m{it}.py", f'"""Module {it}."""\nVALUE = [{it}] * {it}\n'.encode()) for it in range(40)
    ]
    source.wheel("alpha", members=modules)
    source.sdist("made", files=project("made", "value = sum(range(100))"))
    build = "mkdir -p /srv/made && for i in $(seq 30); do echo $i >/srv/made/$i; done && ln -s 1 /srv/made/l"
    bundles = {
        "bare": "",
        "work": 'packages = ["netbase"]\nrequirements = ["alpha", "made"]\n'
        "\n[from-source.made]\npackages = []\n" + small.run("/bin/sh", "-ec", build),
    }
    family = small.write_family(harness.scratch("working") / "family", bundles)
    env = {"KILN_SOURCE_PYPI": f"{source.url}/simple"}
    shared = harness.Kiln(harness.WORK / "store", family)
    shared.run("lock", env=env)
    shared.run("build", "work", env=env)

    # A store that knows the base and has all downloads. Other tests unpack layers in the shared one meanwhile.
    base = harness.scratch("working-base") / "store"
    clone(shared.store, base, without=["index.json", "resolve", "rootfs", "tmp"])
    kiln = harness.Kiln(base, family)
    kiln.run("build", "bare", env=env)
    kiln.run("store", "gc", env=env)
    # A collection keeps what was long in the making; here that is to be made.
    results = (base / "actions/results").read_text().splitlines(keepends=True)
    (base / "actions/results").write_text("".join(it for it in results if '{"blob"' not in it))
    world = World("working", family, source, env, "runtime-work", {"base": base})
    measured(world, "base")
    unpacked = harness.scratch("working-unpacked") / "store"
    clone(base, unpacked)
    remove(unpacked / "rootfs")
    subprocess.run(["cp", "-al", world.seeds["built"] / "rootfs", unpacked], check=True)
    world.seeds["unpacked"], world.takes["unpacked"] = unpacked, world.takes["base"] * 0.8
    return world


def remove(path):
    """Removes a file or a directory, if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
