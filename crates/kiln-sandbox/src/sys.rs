//! System calls that `rustix` does not have, each behind a safe function.
//!
//! The worker, init and what they fork have one thread each, so calls that concern a thread
//! concern the process.

use std::{
    ffi::CStr,
    io,
    os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The error of the last system call unless it gave 0.
pub(crate) fn check(result: i32) -> io::Result<()> {
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Leaves namespaces for new ones.
#[expect(unsafe_code, reason = "system call")]
pub(crate) fn unshare(flags: i32) -> io::Result<()> {
    // SAFETY: callers pass namespace flags only, which concern neither memory nor descriptors.
    check(unsafe { libc::unshare(flags) })
}

/// A copy of this process: `None` in the copy, its id here.
#[expect(unsafe_code, reason = "system call")]
pub(crate) fn fork() -> io::Result<Option<i32>> {
    // SAFETY: this process has one thread, so the copy finds no lock held.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(None),
        child => Ok(Some(child)),
    }
}

/// Ends this process without running what is registered for its end.
#[expect(unsafe_code, reason = "system call")]
pub(crate) fn exit(status: i32) -> ! {
    // SAFETY: always allowed.
    unsafe { libc::_exit(status) }
}

/// Waits for the child.
#[expect(unsafe_code, reason = "system call")]
pub(crate) fn wait_for(child: i32) -> io::Result<i32> {
    let mut status = 0;
    loop {
        // SAFETY: `status` lives.
        if unsafe { libc::waitpid(child, &raw mut status, 0) } == child {
            return Ok(status);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// A child that ended or stopped, and its status; `None` if there is none now.
#[expect(unsafe_code, reason = "system call")]
pub(crate) fn wait_any() -> Option<(i32, i32)> {
    let mut status = 0;
    // SAFETY: `status` lives.
    let child = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG | libc::WUNTRACED) };
    (child > 0).then_some((child, status))
}

/// Sends a signal; -1 is every process that may be signalled but this one.
#[expect(unsafe_code, reason = "system call")]
pub(crate) fn kill(process: i32, signal: i32) {
    // SAFETY: plain system call. It fails when nobody is there, which is as good.
    let _ = unsafe { libc::kill(process, signal) };
}

/// Gives this process this user and this group, and no others.
#[expect(unsafe_code, reason = "system calls")]
pub(crate) fn set_ids(uid: u32, gid: u32) -> io::Result<()> {
    // SAFETY: plain system calls; no pointer is read as the count is 0.
    unsafe {
        check(libc::setgroups(0, std::ptr::null()))?;
        check(libc::setresgid(gid, gid, gid))?;
        check(libc::setresuid(uid, uid, uid))
    }
}

/// The name that `uname` shows.
#[expect(unsafe_code, reason = "system call")]
pub(crate) fn set_hostname(name: &str) -> io::Result<()> {
    // SAFETY: pointer and length belong together.
    check(unsafe { libc::sethostname(name.as_ptr().cast(), name.len()) })
}

/// Brings up the loopback device of this network namespace.
#[expect(unsafe_code, reason = "system calls")]
pub(crate) fn raise_loopback() -> io::Result<()> {
    // SAFETY: an `ifreq` of zeroes is valid; it lives while the kernel reads it; the descriptor is
    // new and ours.
    unsafe {
        let socket = libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0);
        if socket < 0 {
            return Err(io::Error::last_os_error());
        }
        let socket = OwnedFd::from_raw_fd(socket);
        let mut request: libc::ifreq = std::mem::zeroed();
        for (to, &from) in request.ifr_name.iter_mut().zip(b"lo") {
            *to = from.cast_signed();
        }
        request.ifr_ifru.ifru_flags = i16::try_from(libc::IFF_UP).unwrap_or_default();
        check(libc::ioctl(
            socket.as_raw_fd(),
            libc::SIOCSIFFLAGS,
            &raw const request,
        ))
    }
}

/// Makes a mount, and with `recursive` those below it, read-only; its other flags stay.
#[expect(unsafe_code, reason = "system call")]
pub(crate) fn make_read_only(mount: BorrowedFd<'_>, recursive: bool) -> io::Result<()> {
    let attributes = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_RDONLY,
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    let recurse = if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the structure lives and its size is told.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | recurse,
            &raw const attributes,
            size_of_val(&attributes),
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// What a signal does to this process.
#[expect(unsafe_code, reason = "system call")]
pub(crate) fn set_signal(signal: i32, ignore: bool) {
    let action = if ignore { libc::SIG_IGN } else { libc::SIG_DFL };
    // SAFETY: no handler of ours is installed.
    unsafe { libc::signal(signal, action) };
}

/// Does something while a signal is blocked for this thread.
#[expect(unsafe_code, reason = "system calls")]
pub(crate) fn without_signal<T>(signal: i32, what: impl FnOnce() -> T) -> T {
    // SAFETY: all zeroes is a valid set, and both live.
    let (mut blocked, mut before): (libc::sigset_t, libc::sigset_t) =
        unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
    // SAFETY: as above.
    unsafe {
        libc::sigemptyset(&raw mut blocked);
        libc::sigaddset(&raw mut blocked, signal);
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const blocked, &raw mut before);
    }
    let result = what();
    // SAFETY: as above.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, std::ptr::null_mut()) };
    result
}

/// Marks all descriptors from `first` on to be closed by `execve`.
#[expect(unsafe_code, reason = "system call")]
pub(crate) fn close_on_exec_from(first: u32) -> io::Result<()> {
    // SAFETY: descriptors stay open in this program.
    check(unsafe { libc::close_range(first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC.cast_signed()) })
}

/// Makes `number` another name of a descriptor, which programs inherit.
#[expect(unsafe_code, reason = "descriptors by number")]
pub(crate) fn duplicate(descriptor: i32, number: i32) -> io::Result<()> {
    // SAFETY: used between fork and `execve`, where nobody else owns descriptors.
    match unsafe { libc::dup2(descriptor, number) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Executes a program. Returns only if that fails. Both lists are ended by a null pointer.
#[expect(unsafe_code, reason = "system call")]
pub(crate) fn execve(
    program: &CStr,
    argv: &[*const libc::c_char],
    env: &[*const libc::c_char],
) -> io::Error {
    debug_assert!(argv.last().is_some_and(|last| last.is_null()));
    debug_assert!(env.last().is_some_and(|last| last.is_null()));
    // SAFETY: the lists are ended and the strings live.
    unsafe { libc::execve(program.as_ptr(), argv.as_ptr(), env.as_ptr()) };
    io::Error::last_os_error()
}

/// Lowers a limit of this process, soft and hard, to `value` unless it is lower already.
pub(crate) fn lower_limit(resource: Resource, value: u64) -> io::Result<()> {
    let allowed = getrlimit(resource).maximum;
    let limit = Some(allowed.map_or(value, |allowed| allowed.min(value)));
    Ok(setrlimit(
        resource,
        Rlimit {
            current: limit,
            maximum: limit,
        },
    )?)
}

/// Puts a process before all that do not run in real time; what it starts from now on does not.
#[expect(unsafe_code, reason = "system call")]
pub(crate) fn run_in_real_time(process: i32) -> io::Result<()> {
    let lowest = libc::sched_param { sched_priority: 1 };
    let policy = libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK;
    // SAFETY: the structure lives.
    check(unsafe { libc::sched_setscheduler(process, policy, &raw const lowest) })
}

/// Memory is laid out the same way every time. Refused by some engines, which only makes
/// programs that print addresses print other ones.
#[expect(unsafe_code, reason = "system call")]
pub(crate) fn fix_addresses() {
    // SAFETY: plain system call.
    unsafe {
        libc::personality(libc::ADDR_NO_RANDOMIZE.cast_unsigned().into());
    }
}

/// Takes a capability away for good, from this process and what it executes.
#[expect(unsafe_code, reason = "system call")]
pub(crate) fn drop_from_bounding_set(capability: u32) -> io::Result<()> {
    // SAFETY: plain system call.
    check(unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) })
}

/// Whether processes with the same user and as many capabilities may look into this one.
#[expect(unsafe_code, reason = "system call")]
pub(crate) fn set_dumpable(dumpable: bool) -> io::Result<()> {
    // SAFETY: plain system call.
    check(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, i32::from(dumpable), 0, 0, 0) })
}
