//! Opening what is below a directory, without following a symbolic link anywhere.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use rustix::fs::{self, Mode, OFlags};

use super::TreeError;

const DIRECTORY: OFlags = OFlags::PATH
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// Opens a directory that kiln itself made, as the root of what is below it.
pub(crate) fn root(path: &Path) -> Result<OwnedFd, TreeError> {
    fs::open(path, DIRECTORY, Mode::empty())
        .map_err(|error| TreeError::file("open", path.as_os_str().as_encoded_bytes())(error.into()))
}

/// Opens the directory `path` (relative; empty for `root` itself) to look names up in it.
pub(crate) fn directory(root: BorrowedFd<'_>, path: &[u8]) -> io::Result<OwnedFd> {
    let mut here = child(root, b".")?;
    for name in path
        .split(|&byte| byte == b'/')
        .filter(|name| !name.is_empty())
    {
        here = child(here.as_fd(), name)?;
    }
    Ok(here)
}

/// Opens the directory `name` in `directory`. The name is one component, and not `..`.
pub(crate) fn child(directory: BorrowedFd<'_>, name: &[u8]) -> io::Result<OwnedFd> {
    if name == b".." {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    Ok(fs::openat(directory, name, DIRECTORY, Mode::empty())?)
}

/// Opens the directory that holds `path`, and gives the last component.
pub(crate) fn parent<'p>(
    root: BorrowedFd<'_>,
    path: &'p [u8],
) -> Result<(OwnedFd, &'p [u8]), TreeError> {
    let (parent, name) = split(path);
    let parent = directory(root, parent).map_err(TreeError::file("open", parent))?;
    Ok((parent, name))
}

/// Cuts a path into the directory that holds it and the last component.
pub(crate) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&byte| byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

/// Opens the regular file or directory `name` in `directory` for reading.
pub(crate) fn open(directory: BorrowedFd<'_>, name: &[u8]) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    Ok(fs::openat(directory, name, flags, Mode::empty())?)
}

/// The path of `name` in `directory`, which is empty for the root.
pub(crate) fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    if directory.is_empty() {
        name.to_vec()
    } else {
        [directory, b"/", name].concat()
    }
}
