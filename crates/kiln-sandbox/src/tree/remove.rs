//! Removing trees, however deep they are and whatever their modes say.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
    path::Path,
};

use rustix::{
    fs::{self, AtFlags, Dir, FileType},
    io::Errno,
};

use super::{TreeError, beneath};

/// Removes `path` and everything below it; nothing happens when it is not there.
///
/// Two processes may remove one tree at once.
pub(crate) fn remove_tree(path: &Path) -> Result<(), TreeError> {
    let shown = path.as_os_str().as_encoded_bytes();
    let remove = || {
        let (parent, name) = (path.parent(), path.file_name());
        let (Some(parent), Some(name)) = (parent, name) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let parent = std::fs::File::open(parent)?;
        remove_at(parent.as_fd(), name.as_encoded_bytes())
    };
    match remove() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result.map_err(TreeError::file("remove", shown)),
    }
}

/// Removes `name` in `parent` and everything below it.
pub(crate) fn remove_at(parent: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
    match fs::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR) => {}
        Err(error) => return Err(error.into()),
    }
    let directory = match beneath::child(parent, name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        opened => opened?,
    };
    loop {
        clear_directory(&directory)?;
        match fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            // Another process that removes the same tree has moved something here since.
            Err(Errno::NOTEMPTY | Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Removes everything in a directory.
///
/// Directories that are not empty are moved to the top and emptied there: so neither the stack
/// nor the number of open files depends on how deep the tree is.
pub(super) fn clear_directory(directory: impl AsFd) -> io::Result<()> {
    let top = directory.as_fd();
    let mut moved = 0_u64;
    loop {
        let mut left = Vec::new();
        for_each_name(top, |name, kind| {
            if !unlink(top, name, kind)? {
                left.push(name.to_vec());
            }
            Ok(())
        })?;
        if left.is_empty() {
            return Ok(());
        }
        for name in left {
            clear_one(top, &name, &mut moved)?;
        }
    }
}

/// Empties the directory `name` in `top`, by moving what is not empty in it to `top`, and
/// removes it.
fn clear_one(top: BorrowedFd<'_>, name: &[u8], moved: &mut u64) -> io::Result<()> {
    let directory = match beneath::child(top, name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        opened => opened?,
    };
    for_each_name(directory.as_fd(), |name, kind| {
        if unlink(directory.as_fd(), name, kind)? {
            return Ok(());
        }
        loop {
            let to = format!(".removed-{moved}");
            *moved += 1;
            match fs::renameat(&directory, name, top, &to) {
                Ok(()) | Err(Errno::NOENT) => return Ok(()),
                Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR) => {}
                // overlayfs does not move directories of layers; these are only as deep as
                // layers are.
                Err(Errno::XDEV) => return remove_at(directory.as_fd(), name),
                Err(error) => return Err(error.into()),
            }
        }
    })?;
    unlink(top, name, FileType::Directory).map(|_| ())
}

/// Removes a file or an empty directory; `false` if it is a directory that is not empty.
fn unlink(directory: BorrowedFd<'_>, name: &[u8], kind: FileType) -> io::Result<bool> {
    if kind != FileType::Directory {
        match fs::unlinkat(directory, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => return Ok(true),
            Err(Errno::ISDIR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    match fs::unlinkat(directory, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(true),
        Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Calls `visit` with every name in `directory` but `.` and `..`.
pub(super) fn for_each_name(
    directory: BorrowedFd<'_>,
    mut visit: impl FnMut(&[u8], FileType) -> io::Result<()>,
) -> io::Result<()> {
    for entry in Dir::new(beneath::open(directory, b".")?)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            visit(name, entry.file_type())?;
        }
    }
    Ok(())
}
