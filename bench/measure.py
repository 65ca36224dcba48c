"""What a command costs: wall time, CPU time, peak anonymous memory, bytes written.

A command counts with all that it starts. What a daemon does for it counts as well: `daemons` are process
ids, and what they and their descendants used in the meantime is added.

CPU time: user and system time of the command as the kernel gives it when it is waited for, which holds
all descendants that were waited for; for daemons the same four numbers from `/proc/PID/stat`.

Anonymous memory: the sum over all processes (resident pages without those of files and shared memory,
`/proc/PID/statm`), sampled every 10 ms; new processes are looked for every 100 ms. Mapped archives do not
count, whole inflated files would.

Bytes written: `write_bytes` of `/proc/PID/io`: what was handed to file systems that have storage behind
them, whether it got there or was deleted before.
"""

import contextlib
import os
import pathlib
import subprocess
import tempfile
import threading
import time

PAGE = os.sysconf("SC_PAGE_SIZE")
TICK = os.sysconf("SC_CLK_TCK")


class Failed(Exception):
    """A command ended with an error; the text is what it said."""


def measured(command, daemons=(), env=None, cwd=None):
    """Runs a command; gives `seconds`, `cpu`, `memory`, `written` and `out`, its standard output. `holders` says
    which processes had the memory: pairs of name and bytes, the largest first."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        before = Usage.of(daemons)
        started = time.monotonic()
        process = subprocess.Popen(
            list(map(str, command)),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            env={**os.environ, **(env or {})},
            cwd=cwd,
        )
        with sampled([process.pid, *daemons]) as peak:
            # Left as a zombie until its account is read.
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
            seconds = time.monotonic() - started
        written = written_by(process.pid)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        after = Usage.of(daemons)
        out.seek(0)
        err.seek(0)
        text = out.read().decode()
        if process.returncode != 0:
            raise Failed(f"{command} ended with {process.returncode}:\n{text}{err.read().decode()}")
    return {
        "seconds": seconds,
        "cpu": usage.ru_utime + usage.ru_stime + after.cpu - before.cpu,
        "memory": sum(size for _, size in peak),
        "holders": sorted(peak, key=lambda it: -it[1]),
        "written": written + after.written - before.written,
        "out": text,
    }


def total(samples):
    """Commands one after the other, as one."""
    return {
        "seconds": sum(it["seconds"] for it in samples),
        "cpu": sum(it["cpu"] for it in samples),
        "memory": max(it["memory"] for it in samples),
        "written": sum(it["written"] for it in samples),
    }


class Usage:
    """What processes and their descendants have used so far."""

    def __init__(self, cpu, written):
        self.cpu, self.written = cpu, written

    @classmethod
    def of(cls, pids):
        living = family(pids) if pids else []
        return cls(sum(map(cpu_of, living)), sum(map(written_by, living)))


def cpu_of(pid):
    """CPU seconds of a process and of its children that it has waited for."""
    with contextlib.suppress(OSError):
        fields = stat(pid)
        return sum(map(int, fields[11:15])) / TICK
    return 0


def written_by(pid):
    with contextlib.suppress(OSError):
        lines = pathlib.Path(f"/proc/{pid}/io").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("write_bytes:"))
    return 0


def stat(pid):
    """The fields of `/proc/PID/stat` after the name, which may hold anything: the state first."""
    return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def family(pids):
    """Processes and all their living descendants."""
    children = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError):
                children.setdefault(int(stat(name)[1]), []).append(int(name))
    found, todo = [], list(pids)
    while todo:
        pid = todo.pop()
        found.append(pid)
        todo += children.get(pid, [])
    return found


@contextlib.contextmanager
def sampled(pids):
    """While in it, what it gives are the processes when they had the most anonymous memory: pairs of name and bytes."""
    peak, done = [], threading.Event()

    def watch():
        turn, living, most = 0, pids, 0
        while not done.wait(0.01):
            if turn % 10 == 0:
                living = family(pids)
            turn += 1
            sizes = list(map(anonymous, living))
            if sum(sizes) > most:
                most = sum(sizes)
                peak[:] = [(name_of(pid), size) for pid, size in zip(living, sizes, strict=True) if size > 0]

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield peak
    finally:
        done.set()
        watcher.join()


def name_of(pid):
    with contextlib.suppress(OSError):
        return pathlib.Path(f"/proc/{pid}/comm").read_text().strip()
    return "?"


def anonymous(pid):
    with contextlib.suppress(OSError, ValueError):
        with open(f"/proc/{pid}/statm", "rb") as statm:
            _, resident, shared, *_ = map(int, statm.read().split())
        return (resident - shared) * PAGE
    return 0
