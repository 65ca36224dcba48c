//! Answers to calls that change owners, where a single id is mapped
//! (`seccomp_unotify(2)`).
//!
//! The kernel stops a process in such a call and asks here. What the call means is looked up
//! through `/proc`, the owner is recorded, and the call succeeds. Everything else that the kernel
//! does in it (permission bits and capabilities that a new owner takes away) is done by a real
//! call that gives the file to the owner that it has.
//!
//! This is no security boundary: a process could change a path between the question and the
//! answer, and would only deceive itself, as init can do no more than any process in the sandbox.

use std::{
    fs::File,
    io,
    os::{
        fd::{AsRawFd as _, BorrowedFd, OwnedFd},
        unix::fs::FileExt as _,
    },
};

use libc::c_long;
use rustix::{
    fs::{
        AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Uid, chownat, fstat, open, openat,
        openat2,
    },
    io::Errno,
};

use crate::tree::{PartialOwner, SymlinkOwners, record};

/// Numbers of `ioctl` requests (`linux/seccomp.h`).
const RECEIVE: u64 = 0xc050_2100;
const SEND: u64 = 0xc018_2101;
const IS_VALID: u64 = 0x4008_2102;

/// Ids from here on are not mapped, whatever the way of mapping.
const UNMAPPED: u32 = 65536;

/// Answers calls and remembers what cannot be recorded at the files.
pub(crate) struct Answers {
    /// What the tree's changes are written to.
    written: OwnedFd,
    symlinks: SymlinkOwners,
}

/// A file, as a call names it.
struct Target {
    directory: Directory,
    path: Vec<u8>,
    follow: bool,
}

/// What a path of a call starts from.
enum Directory {
    Current,
    Descriptor(i32),
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
        // SAFETY: all zeroes is a valid value, and the one that the kernel asks for; it lives.
        let mut question: libc::seccomp_notif = unsafe { std::mem::zeroed() };
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
        let error = match self.change(&question, is_valid) {
            Ok(()) => 0,
            Err(error) => -error.raw_os_error().unwrap_or(libc::EIO),
        };
        let answer = libc::seccomp_notif_resp {
            id: question.id,
            val: 0,
            error,
            flags: 0,
        };
        // SAFETY: the answer lives. It fails if the process was killed meanwhile.
        let _ = unsafe { libc::ioctl(listener.as_raw_fd(), SEND, &raw const answer) };
    }

    fn change(
        &mut self,
        question: &libc::seccomp_notif,
        is_valid: impl Fn() -> bool,
    ) -> io::Result<()> {
        let (target, owner) = parse(question)?;
        for id in [owner.uid, owner.gid].into_iter().flatten() {
            if id >= UNMAPPED {
                return Err(Errno::INVAL.into());
            }
        }
        let file = target.open(question.pid)?;
        // Otherwise it is the number of another process by now.
        if !is_valid() {
            return Err(Errno::SRCH.into());
        }
        let found = fstat(&file)?;
        let user = owner.uid.map(|_| Uid::from_raw(found.st_uid));
        let group = owner.gid.map(|_| Gid::from_raw(found.st_gid));
        chownat(&file, "", user, group, AtFlags::EMPTY_PATH)?;
        if FileType::from_raw_mode(found.st_mode) == FileType::Symlink {
            let path = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
            let path = path.as_os_str().as_encoded_bytes();
            let path = path.strip_prefix(b"/").unwrap_or(path);
            // Below what is mounted in the tree nothing is captured.
            let _ = self.symlinks.record(&self.written, path, owner);
            return Ok(());
        }
        match record(&file, owner) {
            // Neither devices nor some file systems take attributes, and neither is captured.
            Err(error) if is_refusal(&error) => Ok(()),
            result => result,
        }
    }
}

fn is_refusal(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EPERM | libc::EOPNOTSUPP | libc::EACCES)
    )
}

/// What a call wants.
fn parse(question: &libc::seccomp_notif) -> io::Result<(Target, PartialOwner)> {
    let call = c_long::from(question.data.nr);
    let arguments = question.data.args;
    let path = |argument: usize| read_path(question.pid, arguments[argument]);
    let owner = |argument: usize| PartialOwner {
        uid: id(arguments[argument]),
        gid: id(arguments[argument + 1]),
    };
    #[cfg(target_arch = "x86_64")]
    if call == libc::SYS_chown || call == libc::SYS_lchown {
        let target = Target {
            directory: Directory::Current,
            path: path(0)?,
            follow: call == libc::SYS_chown,
        };
        if target.path.is_empty() {
            return Err(Errno::NOENT.into());
        }
        return Ok((target, owner(1)));
    }
    if call == libc::SYS_fchown {
        let target = Target {
            directory: Directory::Descriptor(int(arguments[0])),
            path: Vec::new(),
            follow: true,
        };
        return Ok((target, owner(1)));
    }
    let flags = int(arguments[4]);
    if flags & !(libc::AT_SYMLINK_NOFOLLOW | libc::AT_EMPTY_PATH) != 0 {
        return Err(Errno::INVAL.into());
    }
    let target = Target {
        directory: match int(arguments[0]) {
            libc::AT_FDCWD => Directory::Current,
            descriptor => Directory::Descriptor(descriptor),
        },
        path: path(1)?,
        follow: flags & libc::AT_SYMLINK_NOFOLLOW == 0,
    };
    if target.path.is_empty() && flags & libc::AT_EMPTY_PATH == 0 {
        return Err(Errno::NOENT.into());
    }
    Ok((target, owner(2)))
}

impl Target {
    /// Opens it as the process would.
    fn open(&self, process: u32) -> io::Result<OwnedFd> {
        let mut flags = OFlags::PATH | OFlags::CLOEXEC;
        let directory = match self.directory {
            Directory::Current => format!("/proc/{process}/cwd"),
            Directory::Descriptor(descriptor) => format!("/proc/{process}/fd/{descriptor}"),
        };
        if self.path.is_empty() {
            return open(directory, flags, Mode::empty()).map_err(|error| match error {
                Errno::NOENT => Errno::BADF.into(),
                error => error.into(),
            });
        }
        if !self.follow {
            flags |= OFlags::NOFOLLOW;
        }
        if let Some(own) = self.own_file(process) {
            return Ok(open(own, flags, Mode::empty())?);
        }
        if self.path.starts_with(b"/") {
            // The process may have changed its root.
            let root = open(
                format!("/proc/{process}/root"),
                OFlags::PATH | OFlags::CLOEXEC,
                Mode::empty(),
            )?;
            let within = ResolveFlags::IN_ROOT;
            return Ok(openat2(root, &*self.path, flags, Mode::empty(), within)?);
        }
        let directory = open(directory, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        Ok(openat(directory, &*self.path, flags, Mode::empty())?)
    }

    /// Where a path of the process's own files leads, as `self` would be init here.
    fn own_file(&self, process: u32) -> Option<Vec<u8>> {
        const OWN: [(&[u8], &str); 6] = [
            (b"/proc/self/", ""),
            (b"/proc/thread-self/", ""),
            (b"/dev/fd/", "fd/"),
            (b"/dev/stdin", "fd/0"),
            (b"/dev/stdout", "fd/1"),
            (b"/dev/stderr", "fd/2"),
        ];
        OWN.iter().find_map(|(prefix, below)| {
            let rest = self.path.strip_prefix(*prefix)?;
            Some([format!("/proc/{process}/{below}").as_bytes(), rest].concat())
        })
    }
}

/// A path in the memory of a process, without its NUL.
fn read_path(process: u32, address: u64) -> io::Result<Vec<u8>> {
    const PAGE: u64 = 4096;
    let memory = File::open(format!("/proc/{process}/mem"))?;
    let mut path = Vec::new();
    let mut address = address;
    let fault = || io::Error::from(Errno::FAULT);
    while path.len() < libc::PATH_MAX.unsigned_abs() as usize {
        // The page after this one may not be there.
        let mut page = vec![0; usize::try_from(PAGE - address % PAGE).unwrap_or_default()];
        let count = memory.read_at(&mut page, address).map_err(|_| fault())?;
        if count == 0 {
            return Err(fault());
        }
        let read = &page[..count];
        if let Some(end) = read.iter().position(|&byte| byte == 0) {
            path.extend(&read[..end]);
            return Ok(path);
        }
        path.extend(read);
        address += count as u64;
    }
    Err(Errno::NAMETOOLONG.into())
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
