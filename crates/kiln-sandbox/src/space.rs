//! Whether a disk is full. What a command prints about it is for people, so the disk is asked.

use std::{
    fs::File,
    io::{self, Write as _},
    os::fd::AsFd,
};

use rustix::fs::{Mode, OFlags, fstatvfs, openat};

use crate::tree::Cause;

/// Who cannot have this much has no space.
const LITTLE: usize = 1 << 20;

/// What the file system of `directory` answers to a command of this user that wants to write a
/// little more; `None` if there is room. Asked when the command has failed: one that took what it
/// wrote away again has made room.
pub(crate) fn refusal(directory: impl AsFd, uid: u32) -> Option<Cause> {
    let write = || -> io::Result<()> {
        let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
        let file = openat(&directory, ".", flags, Mode::RUSR | Mode::WUSR)?;
        File::from(file).write_all(&vec![1; LITTLE])?;
        // Some blocks are kept for root alone.
        let space = fstatvfs(&directory)?;
        if uid != 0 && space.f_bavail * space.f_frsize < LITTLE as u64 {
            return Err(rustix::io::Errno::NOSPC.into());
        }
        Ok(())
    };
    match write() {
        Err(error) if is_full(error.kind()) => Some(error.into()),
        // Where no file without a name can be made, nothing is known.
        _ => None,
    }
}

fn is_full(kind: io::ErrorKind) -> bool {
    matches!(
        kind,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}
