//! Giving files their owner, mode, capabilities and time.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
};

use rustix::fs::{self, AtFlags, Gid, Mode, Timespec, Timestamps, Uid};

use super::{Owner, Owners, beneath, capability};

/// What a file that is made gets.
pub(super) struct Metadata {
    /// `None` where owners are recorded and there is nothing to say.
    pub(super) owner: Option<Owner>,
    /// The twelve permission bits.
    pub(super) mode: u32,
    /// `security.capability`, of a file.
    pub(super) capability: Option<Vec<u8>>,
    /// In seconds.
    pub(super) mtime: i64,
}

impl Metadata {
    /// Of an open regular file.
    pub(super) fn apply(&self, file: impl AsFd, owners: Owners) -> io::Result<()> {
        let file = file.as_fd();
        if let Some(owner) = self.owner {
            owners.set(file, owner)?;
        }
        // A new owner takes some mode bits and the capabilities away: so they come later.
        fs::fchmod(file, Mode::from_raw_mode(self.mode))?;
        if let Some(value) = &self.capability {
            capability::set(file, value)?;
        }
        Ok(fs::futimens(file, &times(self.mtime))?)
    }

    /// Of a directory, but for its time, which changes as long as something is made in it.
    pub(super) fn apply_to_directory(
        &self,
        parent: BorrowedFd<'_>,
        name: &[u8],
        owners: Owners,
    ) -> io::Result<()> {
        let directory = beneath::open(parent, name)?;
        if let Some(owner) = self.owner {
            owners.set(&directory, owner)?;
        }
        Ok(fs::fchmod(&directory, Mode::from_raw_mode(self.mode))?)
    }

    /// Of a symbolic link, whose owner is not on disk where owners are recorded.
    pub(super) fn apply_to_symlink(
        &self,
        parent: BorrowedFd<'_>,
        name: &[u8],
        owners: Owners,
    ) -> io::Result<()> {
        if let (Owners::Mapped, Some(Owner { uid, gid })) = (owners, self.owner) {
            let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
            let flags = AtFlags::SYMLINK_NOFOLLOW;
            fs::chownat(parent, name, Some(uid), Some(gid), flags)?;
        }
        set_time(parent, name, self.mtime)
    }
}

/// Sets the time of what is at `name`, be it a link.
pub(super) fn set_time(parent: BorrowedFd<'_>, name: &[u8], mtime: i64) -> io::Result<()> {
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    Ok(fs::utimensat(parent, name, &times(mtime), flags)?)
}

fn times(mtime: i64) -> Timestamps {
    let time = Timespec {
        tv_sec: mtime,
        tv_nsec: 0,
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}
