"""System calls that fail: no space, broken sectors, no descriptors, interrupts."""

import signal

from .kills import strace

WRITES = "write pwrite64 writev fsync fdatasync ftruncate fallocate"
NAMES = "rename renameat renameat2 mkdir mkdirat linkat symlinkat openat"
ERRORS = {
    "ENOSPC": f"{WRITES} {NAMES} setxattr fsetxattr",
    "EIO": f"{WRITES} {NAMES} read pread64 copy_file_range getdents64 unlinkat statx flock fchmod",
    "EMFILE": "openat socket pipe2 memfd_create dup fcntl epoll_create1 socketpair eventfd2",
    "ENOMEM": "mmap clone3 clone mprotect",
    "EINTR": "read write openat flock poll ppoll wait4 waitid recvfrom sendto recvmsg sendmsg accept4 connect",
    "EAGAIN": "clone3 clone",
}
# Without memory or threads the loader, the allocator and libraries give up in their own ways: 127 is the
# loader's, 70 that of a panic.
ABRUPTLY = dict.fromkeys(["ENOMEM", "EAGAIN"], (-signal.SIGABRT, -signal.SIGSEGV, 127, 70))
# Threads wake each other by writing to an eventfd, which cannot fail for want of space; libraries rely on it.
PANIC = (70,)


def failing(run):
    """The N-th call of a kind fails, or some in a row, or all from there on."""
    run.begin()
    error = run.random.choice([*ERRORS])
    call = run.random.choice(ERRORS[error].split())
    first = int(2 ** run.random.uniform(0, 7))
    # An interrupt does not come for ever.
    last = run.random.choice(["", "", f"..{first + run.random.randrange(1, 6)}"] + ["+"] * (error != "EINTR"))
    run.note(f"{error} at {call} {first}{last}")
    build = run.build(prefix=strace(f"{call}:error={error}:when={first}{last}"))
    # What it says is written, too.
    writes = call.startswith("write")
    run.end(build, may_end=ABRUPTLY.get(error, PANIC if writes else ()), mute=writes)
