"""mmdebstrap: a Debian system from exactly the locked packages."""

import os

from ours import remove

# Debian 12's merged /usr, which must be there before anything is unpacked.
MERGED = "bin sbin lib lib32 lib64 libx32"


def command(repository, target, packages=()):
    """The command that makes a system of a flat archive's packages: a tar, compressed if its name says so.

    Without `packages`, it is the essential ones and apt.
    """
    remove(target)
    merge = f'cd "$1"; for it in {MERGED}; do mkdir -p "usr/$it"; ln -s "usr/$it" "$it"; done'
    return [
        "mmdebstrap",
        # Both give the same tree; a plain user needs subordinate ids.
        "--mode=root" if os.geteuid() == 0 else "--mode=unshare",
        "--variant=essential" if packages else "--variant=apt",
        "--format=tar",
        # Engines fill /dev.
        "--skip=output/dev",
        f"--setup-hook={merge}",
        *([f"--include={','.join(packages)}"] if packages else []),
        "",  # the suite: a flat archive has none
        target,
        f"deb [trusted=yes] copy:{repository} ./",
    ]
