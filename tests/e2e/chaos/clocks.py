"""A clock that jumps, while a build runs and between builds."""

import functools
import os
import subprocess
import threading

from .run import sleep

DAY = 86400


@functools.cache
def library():
    """What `faketime` makes programs load."""
    command = ["faketime", "-f", "+0", "printenv", "LD_PRELOAD"]
    return subprocess.check_output(command, text=True).strip()


def jumping(run):
    """The clock jumps by days and years, also back behind 1970, and files have any times."""
    run.begin()
    times(run)
    said = run.place / "time"
    env = {"LD_PRELOAD": library(), "FAKETIME_TIMESTAMP_FILE": str(said)}
    env |= {"FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    done = threading.Event()

    def jump():
        while True:
            new = said.with_suffix(".new")
            days = run.random.choice([1, 400, 4000, 30000])
            new.write_text(f"{run.random.uniform(-days, days) * DAY:+.0f}\n")
            new.rename(said)
            if done.wait(run.random.choice([0.01, 0.1, 1])):
                return

    clock = threading.Thread(target=jump)
    clock.start()
    try:
        build = run.build(env=env)
        if run.random.random() < 0.5:
            after = run.instant()
            run.note(f"killed after {after:.3f} s")
            sleep(after)
            run.kill(build)
            run.end(build)
            times(run)
        else:
            run.end(build, must_succeed=True)
    finally:
        done.set()
        clock.join()


def times(run):
    """Gives the files of the store any times, as a wrong clock would have."""
    for directory, _, files in os.walk(run.store):
        if "/rootfs" in directory:
            continue  # kiln gives these their times
        for name in files:
            when = run.random.uniform(0, 2**32)
            path = os.path.join(directory, name)
            if os.stat(path).st_nlink == 1:
                os.utime(path, (when, when))
