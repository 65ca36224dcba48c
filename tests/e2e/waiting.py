"""Waiting for what becomes true in its own time."""

import time

# Long enough for a slow machine with two cores; a test that passes never waits so long.
PATIENCE = 120


def until(condition, what, seconds=PATIENCE, explain=lambda: ""):
    """Asks `condition` again and again until it gives something true; gives that."""
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds} s in vain until {what}\n{explain()}")
        time.sleep(0.2)
    return result
