"""Signals, at a random instant and at a random system call."""

import os
import signal

import processes

from .run import sleep

# What kiln and its worker do to files and processes.
CALLS = """
    openat read write pread64 writev close rename renameat renameat2 unlinkat mkdirat mkdir fsync fdatasync
    ftruncate flock mmap munmap clone3 clone fchmod fchown utimensat linkat symlinkat copy_file_range execve
    getdents64 pipe2 sendto recvfrom mount umount2 unshare pivot_root setxattr fsetxattr statx exit_group
""".split()


def signals(run):
    """A signal to the whole process group, to kiln alone, or to one process below it."""
    run.begin()
    target = run.random.choice(["group", "kiln", "worker"])
    number = run.random.choice([signal.SIGKILL] * 3 + [signal.SIGINT, signal.SIGTERM])
    after = run.instant()
    run.note(f"{number.name} to {target} after {after:.3f} s")
    build = run.build()
    sleep(after)
    if target == "worker":
        below = sorted(processes.below(build.pid))
        run.note(f"{len(below)} processes below")
        for it in below and [run.random.choice(below)]:
            try:
                os.kill(it, number)
            except ProcessLookupError:
                run.note("which had ended")
    else:
        run.kill(build, number, group=target == "group")
    # Before it catches signals it ends by them.
    run.end(build, may_end=(-number,))


def at_a_call(run):
    """SIGKILL to whatever process of the build makes the N-th system call of a kind."""
    run.begin()
    call = run.random.choice(CALLS)
    number = int(2 ** run.random.uniform(0, 8))
    run.note(f"SIGKILL at {call} {number}")
    run.end(run.build(prefix=strace(f"{call}:signal=KILL:when={number}")))


def strace(*injections):
    """The command that makes system calls of a process and all below it fail."""
    calls = sorted({it.partition(":")[0] for it in injections})
    command = ["strace", "-f", "--seccomp-bpf", "-qqq", "-o", "/dev/null", "-e", f"trace={','.join(calls)}"]
    for injection in injections:
        command += ["-e", f"inject={injection}"]
    return command
