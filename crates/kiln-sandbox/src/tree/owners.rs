//! Who owns what.
//!
//! Where several ids are mapped the kernel knows the owners of files. With a single id it does
//! not: every file belongs to user 0, and its owner is *recorded* as attribute
//! `user.kiln.owner`, whose value is `uid:gid`. Rules of records:
//!
//! - No record means owner 0. A part may be empty (`33:`): it was never said.
//! - A new file in a directory with the setgid bit belongs to the directory's group, as the
//!   kernel does it. So that files of layers are not taken for new ones after overlayfs has
//!   copied them up, unpacking records 0 there, too.
//! - Symbolic links cannot have such attributes. Owners of those in layers are in a file beside
//!   the layer directory; those that commands change, in a table by inode ([`SymlinkOwners`]).

use std::{
    collections::BTreeMap,
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd},
};

use rustix::fs::{self, AtFlags, Gid, StatxFlags, Uid, XattrFlags};
use serde::{Deserialize, Serialize};

use super::{TreeError, beneath};

const RECORD: &str = "user.kiln.owner";

/// How owners are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Owners {
    /// By the kernel.
    Mapped,
    /// As records.
    Recorded,
}

/// A user and a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Owner {
    /// The user.
    pub(crate) uid: u32,
    /// The group.
    pub(crate) gid: u32,
}

/// What a call to `chown` says: -1 is `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct PartialOwner {
    /// The user.
    pub(crate) uid: Option<u32>,
    /// The group.
    pub(crate) gid: Option<u32>,
}

impl From<Owner> for PartialOwner {
    fn from(owner: Owner) -> Self {
        Self {
            uid: Some(owner.uid),
            gid: Some(owner.gid),
        }
    }
}

impl PartialOwner {
    /// This, and what is `before` where it says nothing.
    pub(crate) fn over(self, before: Self) -> Self {
        Self {
            uid: self.uid.or(before.uid),
            gid: self.gid.or(before.gid),
        }
    }

    /// This, completed: the user is 0 if it was never said, the group the one of new files.
    pub(crate) fn complete(self, inherited: u32) -> Owner {
        Owner {
            uid: self.uid.unwrap_or(0),
            gid: self.gid.unwrap_or(inherited),
        }
    }
}

impl Owners {
    /// Gives the file or directory behind `fd` (which may be an `O_PATH` one) this owner.
    pub(crate) fn set(self, fd: impl AsFd, owner: Owner) -> io::Result<()> {
        match self {
            Self::Mapped => {
                let (uid, gid) = (Uid::from_raw(owner.uid), Gid::from_raw(owner.gid));
                Ok(fs::chownat(
                    fd,
                    "",
                    Some(uid),
                    Some(gid),
                    AtFlags::EMPTY_PATH,
                )?)
            }
            Self::Recorded => record(fd, owner.into()),
        }
    }

    /// Whether the owner of a file that a layer has must be set: the kernel always has to be
    /// told, records are only for what is not obvious.
    pub(super) fn must_say(self, owner: Owner, in_setgid_directory: bool) -> bool {
        self == Self::Mapped || owner != Owner::default() || in_setgid_directory
    }
}

/// Records the owner of the file or directory behind `fd`, which may be an `O_PATH` one.
pub(crate) fn record(fd: impl AsFd, owner: PartialOwner) -> io::Result<()> {
    let fd = fd.as_fd();
    let PartialOwner { uid, gid } = owner.over(recorded(fd)?);
    let text = |id: Option<u32>| id.map(|id| id.to_string()).unwrap_or_default();
    let value = format!("{}:{}", text(uid), text(gid));
    Ok(fs::setxattr(
        name_of(fd),
        RECORD,
        value.as_bytes(),
        XattrFlags::empty(),
    )?)
}

/// The recorded owner of the file or directory behind `fd`, which may be an `O_PATH` one.
pub(crate) fn recorded(fd: impl AsFd) -> io::Result<PartialOwner> {
    let mut value = [0; 32];
    match fs::getxattr(name_of(fd.as_fd()), RECORD, &mut value[..]) {
        Ok(length) => Ok(parse(&value[..length]).unwrap_or_default()),
        // A command may have written anything there.
        Err(rustix::io::Errno::NODATA | rustix::io::Errno::RANGE | rustix::io::Errno::NOTSUP) => {
            Ok(PartialOwner::default())
        }
        Err(error) => Err(error.into()),
    }
}

/// A path that means the very file that is open, also if it was opened with `O_PATH`.
fn name_of(fd: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

fn parse(value: &[u8]) -> Option<PartialOwner> {
    let (uid, gid) = std::str::from_utf8(value).ok()?.split_once(':')?;
    let part = |text: &str| match text {
        "" => Some(None),
        id => id.parse().ok().map(Some),
    };
    Some(PartialOwner {
        uid: part(uid)?,
        gid: part(gid)?,
    })
}

/// Owners of the symbolic links that commands chowned, where owners are recorded.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct SymlinkOwners(BTreeMap<String, PartialOwner>);

impl SymlinkOwners {
    /// Records the owner of the symbolic link at `path` below `written`: the upper directory
    /// (overlayfs shows other inode numbers, so the link must be copied up before) or the copy.
    pub(crate) fn record(
        &mut self,
        written: impl AsFd,
        path: &[u8],
        owner: PartialOwner,
    ) -> Result<(), TreeError> {
        let (parent, name) = beneath::parent(written.as_fd(), path)?;
        let key = key(parent.as_fd(), name).map_err(TreeError::file("inspect", path))?;
        let before = self.0.get(&key).copied().unwrap_or_default();
        self.0.insert(key, owner.over(before));
        Ok(())
    }

    /// What was recorded for the link `name` in `directory`.
    pub(super) fn of(&self, directory: BorrowedFd<'_>, name: &[u8]) -> io::Result<PartialOwner> {
        if self.0.is_empty() {
            return Ok(PartialOwner::default());
        }
        Ok(self
            .0
            .get(&key(directory, name)?)
            .copied()
            .unwrap_or_default())
    }
}

/// Names an inode. Its number may be used again for a later one; the time of birth tells them
/// apart, where the file system knows it.
fn key(directory: BorrowedFd<'_>, name: &[u8]) -> io::Result<String> {
    let wanted = StatxFlags::INO | StatxFlags::BTIME;
    let found = fs::statx(directory, name, AtFlags::SYMLINK_NOFOLLOW, wanted)?;
    let born = found.stx_btime;
    Ok(format!(
        "{} {}.{:09}",
        found.stx_ino, born.tv_sec, born.tv_nsec
    ))
}
