"""The processes of this machine, those in sandboxes among them."""

import os
import pathlib


def line(process):
    """The command line of a process, its words apart by NUL; empty when it has ended."""
    try:
        return pathlib.Path(f"/proc/{process}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return ""


def name(process):
    """The name of a process; empty when it has ended."""
    try:
        return pathlib.Path(f"/proc/{process}/comm").read_text().strip()
    except OSError:
        return ""


def alive(process):
    """Whether a process is there; one that has ended and is not waited for does not count."""
    return _status(process)[0] not in ("", "Z")


def everyone():
    return [int(entry.name) for entry in os.scandir("/proc") if entry.name.isdigit()]


def with_word(word):
    """The processes that have this argument."""
    return [it for it in everyone() if str(word) in line(it).split("\0")]


def below(process):
    """All descendants of a process."""
    parents = {it: _status(it)[1] for it in everyone()}
    found, pending = [], [process]
    while pending:
        parent = pending.pop()
        children = [it for it, its_parent in parents.items() if its_parent == parent]
        found += children
        pending += children
    return found


def _status(process):
    """State and parent, of proc_pid_stat(5)."""
    try:
        text = pathlib.Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return "", 0
    state, parent = text.rpartition(") ")[2].split()[:2]
    return state, int(parent)
