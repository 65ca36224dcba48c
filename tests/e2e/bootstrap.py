"""Debian systems as mmdebstrap makes them: what configured images are measured by.

It gets the very archives that kiln has locked, as a flat repository, and their exact versions.
"""

import os
import pathlib
import subprocess

# How long, on a busy machine, one system may take.
PATIENCE = 900


class Failed(AssertionError):
    """mmdebstrap did not make it."""


def bootstrap(archives, place, usr_merge, hooks=(), form="tar"):
    """Makes a system of Debian archives: (path, file name, package name, version) each.

    `usr_merge` are the top-level links into `/usr` that must be there before anything is
    unpacked. `hooks` are shell commands that run at the end with the root as `$1`. Gives the path
    of a tar file with the tree, compressed if `form` says so.
    """
    repository = pathlib.Path(place) / "repository"
    repository.mkdir(parents=True)
    for path, name, _, _ in archives:
        os.link(path, repository / name)
    with open(repository / "Packages", "wb") as index:
        scan = ["dpkg-scanpackages", "--multiversion", "."]
        run(scan, cwd=repository, stdout=index)
    links = " ".join(usr_merge)
    merge = f'cd "$1"; for it in {links}; do mkdir -p "usr/$it"; ln -s "usr/$it" "$it"; done'
    target = pathlib.Path(place) / f"tree.{form}"
    command = [
        "mmdebstrap",
        # Both give the same tree; a plain user needs subordinate ids.
        "--mode=root" if os.geteuid() == 0 else "--mode=unshare",
        "--variant=essential",
        # The file's name says whether it is compressed.
        "--format=tar",
        # Engines fill /dev.
        "--skip=output/dev",
        f"--include={','.join(f'{name}={version}' for _, _, name, version in archives)}",
        f"--setup-hook={merge}",
        *[f"--customize-hook={hook}" for hook in hooks],
        "",  # the suite: a flat repository has none
        target,
        f"deb [trusted=yes] copy:{repository} ./",
    ]
    run(command, stdout=subprocess.PIPE)
    return target


def run(command, **options):
    done = subprocess.run(
        list(map(str, command)), stderr=subprocess.PIPE, timeout=PATIENCE, **options
    )
    if done.returncode != 0:
        raise Failed(f"{command[0]} ended with {done.returncode}:\n{done.stderr.decode()}")
