"""What is promised after every fault."""

import pathlib
import time

import processes

from .run import Broken

# How long what was killed may take to vanish.
VANISHES = 20


def all_of(run):
    """The next plain build, verification, and nothing left behind."""
    no_processes(run)
    run.kiln("build", run.world.image)
    run.kiln("store", "verify")
    no_processes(run)
    no_mounts(run)
    no_strays(run)


def no_processes(run):
    deadline = time.monotonic() + VANISHES
    while left := run.theirs():
        if time.monotonic() > deadline:
            lines = [f"{it}: {processes.line(it)!r}" for it in left]
            raise Broken("processes stayed behind:\n" + "\n".join(lines))
        time.sleep(0.02)


def no_mounts(run):
    """Nothing is mounted in the store, and nothing but what the run mounted for itself."""
    for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines():
        point = line.split()[4]
        if point.startswith(f"{run.store}/"):
            raise Broken(f"a mount stayed behind: {line}")


def no_strays(run):
    """No file of the store is a temporary one."""
    strays = [*run.store.glob(".kiln-*"), *run.store.glob("tmp/*"), *run.store.glob("downloads/sha256/*.part")]
    strays += run.store.glob("rootfs/*/*/.*")
    strays += run.store.glob("rootfs/scratch/*/*")
    known = {"actions", "blobs", "downloads", "facts", "index.json", "index.lock", "lock", "lost+found"}
    known |= {"oci-layout", "resolve", "rootfs", "store.json", "tmp"}
    strays += [it for it in run.store.iterdir() if it.name not in known]
    if strays:
        raise Broken("files stayed behind: " + ", ".join(str(it.relative_to(run.store)) for it in strays))
