"""Files of the store that lose or change bytes."""

import os
import shutil
import zipfile

from .run import Broken

INTEGRITY = 6  # exit code, as documented
KINDS = ["blobs", "downloads", "actions", "rootfs", "index.json", "oci-layout"]


def rotten(run):
    """Some files rot; a build that comes first is right or fails, and verification heals."""
    run.begin("built", *(["downloads"] if run.world.name == "tiny" else ["base", "unpacked"]))
    forget_results(run)
    kinds = run.random.sample(KINDS, run.random.randrange(1, 4))
    # Unpacked layers are trusted until the next boot or verification, as is documented.
    trusted = "rootfs" in kinds
    for kind in kinds:
        found = files(run.store / kind)
        for path in run.random.sample(found, min(len(found), run.random.choice([1, 1, 3]))):
            before = modes(path)
            damage(run, path)
            trusted |= kind == "downloads" and modes(path) not in (None, before)
    if not trusted and run.random.random() < 0.6:
        run.note("built first")
        run.end(run.build())
    verify = run.start("store", "verify")
    if (code := run.end(verify)) not in (0, INTEGRITY):
        raise Broken(f"verification ended with {code}:\n{run.said(verify)}")


def modes(path):
    """The modes of a wheel's members. Nothing in a wheel tells whether they are right, so they, too, are
    trusted until verification."""
    try:
        with zipfile.ZipFile(path) as archive:
            return [(it.create_system, it.external_attr) for it in archive.infolist()]
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile):
        return None


def files(path):
    """The regular files at or below a path, sorted."""
    if path.is_file():
        return [path]
    return sorted(it for it in path.rglob("*") if it.is_file() and not it.is_symlink())


def forget_results(run):
    """Some results are no longer known: what they need is read again."""
    log = run.store / "actions/results"
    if log.exists() and run.random.random() < 0.7:
        lines = log.read_text().splitlines(keepends=True)
        kept = [line for line in lines if run.random.random() < 0.6]
        log.write_text("".join(kept))
        run.note(f"{len(lines) - len(kept)} results forgotten")


def damage(run, path):
    """Changes a file, and none that shares its bytes with it."""
    fresh = path.with_name(path.name + "~")
    shutil.copy2(path, fresh)
    about = path.stat()
    os.chown(fresh, about.st_uid, about.st_gid)
    size = about.st_size
    kind = run.random.choice(["flip", "flip", "flip", "truncate", "extend", "zero", "remove"])
    at = run.random.randrange(size) if size else 0
    with open(fresh, "r+b") as file:
        if kind == "flip" and size:
            file.seek(at)
            byte = file.read(1)[0]
            file.seek(at)
            file.write(bytes([byte ^ 1 << run.random.randrange(8)]))
        elif kind == "zero":
            file.seek(at)
            file.write(bytes(min(size - at, 4096)))
        elif kind == "truncate":
            file.truncate(at)
        elif kind == "extend":
            file.seek(size)
            file.write(run.random.randbytes(100))
    fresh.rename(path)
    if kind == "remove":
        path.unlink()
    run.note(f"{kind} {path.relative_to(run.store)} at {at} of {size}")
