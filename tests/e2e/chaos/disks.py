"""A disk that is full: a small file system in a file."""

import os
import subprocess


SIZE = {"tiny": 96 << 20, "working": 1 << 30}


def full(run):
    """Builds on an ext4 with little space, and goes on when there is more."""
    image = run.place / "disk"
    with open(image, "wb") as file:
        file.truncate(SIZE[run.world.name])
    subprocess.run(["mkfs.ext4", "-q", "-E", "lazy_itable_init=1", "-m0", image], check=True)
    disk = run.place / "mounted"
    disk.mkdir()
    subprocess.run(["mount", "-o", "loop", image, disk], check=True)
    run.cleanup.callback(subprocess.run, ["umount", disk], check=True)
    run.store = disk / "store"
    run.begin(*(["empty", "downloads"] if run.world.name == "tiny" else ["base"]))
    ballast = disk / "ballast"
    needed = used(run.world) if run.seed != "downloads" else used(run.world) // 2
    # As often much too little as nearly enough.
    left = int(needed * run.random.random() ** 2 * 1.1)
    about = os.statvfs(disk)
    free = about.f_bavail * about.f_frsize
    run.note(f"{left >> 10} KiB left")
    subprocess.run(["fallocate", "-l", str(max(free - left, 4096)), ballast], check=True)
    run.end(run.build())
    ballast.unlink()


def used(world):
    """The bytes that a whole build adds."""
    sizes = [size(world.seeds["built"]), size(world.seeds.get("base"))]
    return sizes[0] - sizes[1]


def size(store):
    if store is None:
        return 0
    return int(subprocess.check_output(["du", "-s", "-B1", store]).split()[0])


