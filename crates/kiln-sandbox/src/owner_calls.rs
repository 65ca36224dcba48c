//! Answers to calls that change owners or tell them, where a single id is mapped
//! (`seccomp_unotify(2)`).
//!
//! The kernel stops a process in such a call and asks here. What the call means is looked up
//! through `/proc`, a new owner is recorded, and the call succeeds. Everything else that the kernel
//! does in it (permission bits and capabilities that a new owner takes away) is done by a real
//! call that gives the file to the owner that it has. Calls that look at a file see the recorded
//! owner; the kernel answers them itself where nothing is recorded.
//!
//! This is no security boundary: a process could change a path between the question and the
//! answer, and would only deceive itself, as init can do no more than any process in the sandbox.

use std::{
    io,
    os::fd::{AsRawFd as _, BorrowedFd, OwnedFd},
};

use libc::{c_long, seccomp_notif};
use rustix::{
    fs::{AtFlags, FileType, Gid, Stat, Statx, StatxFlags, Uid, chownat, fstat, statx},
    io::Errno,
};

use crate::{
    call_target::{Directory, Target, read_path, write_memory},
    tree::{Owner, PartialOwner, SymlinkOwners, record, recorded},
};

/// Numbers of `ioctl` requests (`linux/seccomp.h`).
const RECEIVE: u64 = 0xc050_2100;
const SEND: u64 = 0xc018_2101;
const IS_VALID: u64 = 0x4008_2102;

/// Ids from here on are not mapped, whatever the way of mapping.
const UNMAPPED: u32 = 65536;

/// `SECCOMP_USER_NOTIF_FLAG_CONTINUE`: the kernel goes on as if nobody had been asked.
const CONTINUE: u32 = 1;

/// Flags of calls with a directory that are understood here.
const AT_FLAGS: i32 = libc::AT_SYMLINK_NOFOLLOW
    | libc::AT_EMPTY_PATH
    | libc::AT_NO_AUTOMOUNT
    | libc::AT_STATX_FORCE_SYNC
    | libc::AT_STATX_DONT_SYNC;

/// Calls that change owners.
#[cfg(target_arch = "x86_64")]
pub(crate) const CHANGES: [c_long; 4] = [
    libc::SYS_chown,
    libc::SYS_lchown,
    libc::SYS_fchown,
    libc::SYS_fchownat,
];
#[cfg(target_arch = "aarch64")]
pub(crate) const CHANGES: [c_long; 2] = [libc::SYS_fchown, libc::SYS_fchownat];

/// Calls that tell owners.
#[cfg(target_arch = "x86_64")]
pub(crate) const QUESTIONS: [c_long; 5] = [
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
];
#[cfg(target_arch = "aarch64")]
pub(crate) const QUESTIONS: [c_long; 3] = [libc::SYS_fstat, libc::SYS_newfstatat, libc::SYS_statx];

/// Answers calls and remembers what cannot be recorded at the files.
pub(crate) struct Answers {
    /// What the tree's changes are written to.
    written: OwnedFd,
    symlinks: SymlinkOwners,
}

/// What a call wants.
enum Call {
    /// A new owner.
    Change(PartialOwner),
    /// A `struct stat` at this address.
    Stat(u64),
    /// A `struct statx` with these fields at this address.
    Statx { fields: u32, address: u64 },
}

impl Answers {
    /// Nothing is recorded yet; changes of the tree are written to this directory.
    pub(crate) fn new(written: OwnedFd) -> Self {
        Self {
            written,
            symlinks: SymlinkOwners::default(),
        }
    }

    /// What was recorded of symbolic links.
    pub(crate) fn into_symlinks(self) -> SymlinkOwners {
        self.symlinks
    }

    /// Answers the call that waits at `listener`.
    #[expect(unsafe_code, reason = "system calls")]
    pub(crate) fn answer(&mut self, listener: BorrowedFd<'_>) {
        // SAFETY: all zeroes is a valid value, and the one that the kernel asks for.
        let mut question: seccomp_notif = unsafe { std::mem::zeroed() };
        // SAFETY: it lives.
        let received = unsafe { libc::ioctl(listener.as_raw_fd(), RECEIVE, &raw mut question) };
        if received != 0 {
            return; // the process was killed meanwhile
        }
        let is_valid = || {
            // SAFETY: the number lives.
            let result =
                unsafe { libc::ioctl(listener.as_raw_fd(), IS_VALID, &raw const question.id) };
            result == 0
        };
        let mut answer = libc::seccomp_notif_resp {
            id: question.id,
            val: 0,
            error: 0,
            flags: 0,
        };
        match self.find(&question, is_valid) {
            Ok(true) => {}
            Ok(false) => answer.flags = CONTINUE,
            Err(error) => answer.error = -error.raw_os_error().unwrap_or(libc::EIO),
        }
        // SAFETY: the answer lives. It fails if the process was killed meanwhile.
        let _ = unsafe { libc::ioctl(listener.as_raw_fd(), SEND, &raw const answer) };
    }

    /// Does what a call wants; `false` if the kernel is to do it.
    fn find(&mut self, question: &seccomp_notif, is_valid: impl Fn() -> bool) -> io::Result<bool> {
        let call = c_long::from(question.data.nr);
        let changes = CHANGES.contains(&call);
        let parsed = parse(question).and_then(|(target, call)| {
            let file = target.open(question.pid)?;
            // Otherwise it is the number of another process by now.
            if is_valid() {
                Ok((file, call))
            } else {
                Err(Errno::SRCH.into())
            }
        });
        match parsed {
            Ok((file, Call::Change(owner))) => self.change(&file, owner).map(|()| true),
            Ok((file, call)) => Ok(tell(question.pid, &file, &call).unwrap_or(false)),
            // What is wrong with it the kernel can say best.
            Err(_) if !changes => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn change(&mut self, file: &OwnedFd, owner: PartialOwner) -> io::Result<()> {
        for id in [owner.uid, owner.gid].into_iter().flatten() {
            if id >= UNMAPPED {
                return Err(Errno::INVAL.into());
            }
        }
        let found = fstat(file)?;
        let user = owner.uid.map(|_| Uid::from_raw(found.st_uid));
        let group = owner.gid.map(|_| Gid::from_raw(found.st_gid));
        chownat(file, "", user, group, AtFlags::EMPTY_PATH)?;
        if FileType::from_raw_mode(found.st_mode) == FileType::Symlink {
            let path = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
            let path = path.as_os_str().as_encoded_bytes();
            let path = path.strip_prefix(b"/").unwrap_or(path);
            // Below what is mounted in the tree nothing is captured.
            let _ = self.symlinks.record(&self.written, path, owner);
            return Ok(());
        }
        match record(file, owner) {
            // Neither devices nor some file systems take attributes, and neither is captured.
            Err(error) if is_refusal(&error) => Ok(()),
            result => result,
        }
    }
}

/// Tells a process about a file, with the recorded owner; `false` if none is recorded.
fn tell(process: u32, file: &OwnedFd, call: &Call) -> io::Result<bool> {
    let owner = recorded(file)?;
    if owner == PartialOwner::default() {
        return Ok(false);
    }
    let Owner { uid, gid } = owner.complete(0);
    match *call {
        Call::Change(_) => return Ok(false),
        Call::Stat(address) => {
            let mut found = fstat(file)?;
            (found.st_uid, found.st_gid) = (uid, gid);
            write_memory(process, address, stat_bytes(&found))?;
        }
        Call::Statx { fields, address } => {
            let fields = StatxFlags::from_bits_retain(fields);
            let mut found = statx(file, "", AtFlags::EMPTY_PATH, fields)?;
            (found.stx_uid, found.stx_gid) = (uid, gid);
            write_memory(process, address, statx_bytes(&found))?;
        }
    }
    Ok(true)
}

#[expect(unsafe_code, reason = "a structure of the kernel as bytes")]
fn stat_bytes(found: &Stat) -> &[u8] {
    // SAFETY: the kernel filled the whole of it, and it lives as long as the result.
    unsafe { std::slice::from_raw_parts(std::ptr::from_ref(found).cast(), size_of::<Stat>()) }
}

#[expect(unsafe_code, reason = "a structure of the kernel as bytes")]
fn statx_bytes(found: &Statx) -> &[u8] {
    // SAFETY: the kernel filled the whole of it, and it lives as long as the result.
    unsafe { std::slice::from_raw_parts(std::ptr::from_ref(found).cast(), size_of::<Statx>()) }
}

fn is_refusal(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EPERM | libc::EOPNOTSUPP | libc::EACCES)
    )
}

/// What a call wants, and of which file.
fn parse(question: &seccomp_notif) -> io::Result<(Target, Call)> {
    let arguments = question.data.args;
    let owner = |argument: usize| {
        Call::Change(PartialOwner {
            uid: id(arguments[argument]),
            gid: id(arguments[argument + 1]),
        })
    };
    let path = |argument: usize| read_path(question.pid, arguments[argument]);
    let named = |follow: bool| -> io::Result<Target> {
        Ok(Target {
            directory: Directory::Current,
            path: some(path(0)?)?,
            follow,
        })
    };
    let open = Target {
        directory: Directory::Descriptor(int(arguments[0])),
        path: Vec::new(),
        follow: true,
    };
    let at = |flags: u64| -> io::Result<Target> {
        let flags = int(flags);
        if flags & !AT_FLAGS != 0 {
            return Err(Errno::INVAL.into());
        }
        let path = path(1)?;
        Ok(Target {
            directory: match int(arguments[0]) {
                libc::AT_FDCWD => Directory::Current,
                descriptor => Directory::Descriptor(descriptor),
            },
            path: if flags & libc::AT_EMPTY_PATH == 0 {
                some(path)?
            } else {
                path
            },
            follow: flags & libc::AT_SYMLINK_NOFOLLOW == 0,
        })
    };
    Ok(match c_long::from(question.data.nr) {
        #[cfg(target_arch = "x86_64")]
        libc::SYS_chown => (named(true)?, owner(1)),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_lchown => (named(false)?, owner(1)),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_stat => (named(true)?, Call::Stat(arguments[1])),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_lstat => (named(false)?, Call::Stat(arguments[1])),
        libc::SYS_fchown => (open, owner(1)),
        libc::SYS_fstat => (open, Call::Stat(arguments[1])),
        libc::SYS_fchownat => (at(arguments[4])?, owner(2)),
        libc::SYS_newfstatat => (at(arguments[3])?, Call::Stat(arguments[2])),
        libc::SYS_statx => {
            let call = Call::Statx {
                fields: low(arguments[3]),
                address: arguments[4],
            };
            (at(arguments[2])?, call)
        }
        _ => return Err(Errno::NOSYS.into()),
    })
}

/// A path that is not empty.
fn some(path: Vec<u8>) -> io::Result<Vec<u8>> {
    if path.is_empty() {
        return Err(Errno::NOENT.into());
    }
    Ok(path)
}

/// The lower half of an argument, as an `int`.
fn int(argument: u64) -> i32 {
    low(argument).cast_signed()
}

/// The lower half of an argument, as an id; -1 leaves it as it is.
fn id(argument: u64) -> Option<u32> {
    Some(low(argument)).filter(|&id| id != u32::MAX)
}

/// The kernel, too, looks at the lower half only.
fn low(argument: u64) -> u32 {
    u32::try_from(argument & u64::from(u32::MAX)).unwrap_or_default()
}
