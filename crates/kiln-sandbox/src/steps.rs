//! The steps of a job that are no commands. They run in init, in the root of the sandbox: links
//! lead where they lead for commands.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, symlink},
    path::Path,
};

use kiln_layer::REPRODUCIBLE_MTIME;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, Timespec, Timestamps, XattrFlags, utimensat};

use crate::{
    Step,
    protocol::Failure,
    tree::{Owner, Owners, recorded, remove_tree},
};

const CAPABILITY: &str = "security.capability";

/// Does a step that is no command; `Run` is somebody else's.
pub(crate) fn perform(step: &Step, owners: Owners) -> Result<(), Failure> {
    let (what, result) = match step {
        Step::Write {
            path,
            mode,
            uid,
            gid,
            content,
        } => {
            let owner = Owner {
                uid: *uid,
                gid: *gid,
            };
            let written = write(Path::new(path), *mode, owner, content, owners);
            (format!("write `{path}`"), written)
        }
        Step::Copy { from, to } => (
            format!("copy `{from}` to `{to}`"),
            copy(Path::new(from), Path::new(to), owners),
        ),
        Step::Directory {
            path,
            mode,
            uid,
            gid,
        } => {
            let owner = Owner {
                uid: *uid,
                gid: *gid,
            };
            let made = directory(Path::new(path), *mode, owner, owners);
            (format!("make the directory `{path}`"), made)
        }
        Step::Remove { path } => return Ok(remove_tree(Path::new(path))?),
        Step::DirectoryTimes => (
            "set the times of directories".to_owned(),
            set_directory_times(),
        ),
        Step::Run(_) => return Ok(()),
    };
    result.map_err(|error| Failure::Step {
        step: what,
        cause: error.into(),
    })
}

fn write(path: &Path, mode: u32, owner: Owner, content: &[u8], owners: Owners) -> io::Result<()> {
    make_parents(path, owners)?;
    remove_file(path)?;
    let mut file = create(path)?;
    file.write_all(content)?;
    finish(&file, owner, mode, owners)?;
    set_time(path)
}

fn copy(from: &Path, to: &Path, owners: Owners) -> io::Result<()> {
    let found = fs::symlink_metadata(from)?;
    make_parents(to, owners)?;
    remove_file(to)?;
    if found.is_symlink() {
        symlink(fs::read_link(from)?, to)?;
        if owners == Owners::Mapped {
            std::os::unix::fs::lchown(to, Some(found.uid()), Some(found.gid()))?;
        }
        return Ok(());
    }
    if !found.is_file() {
        return Err(io::Error::other("not a file"));
    }
    let mut source = fs::File::open(from)?;
    let mut target = create(to)?;
    io::copy(&mut source, &mut target)?;
    let owner = match owners {
        Owners::Mapped => Owner {
            uid: found.uid(),
            gid: found.gid(),
        },
        Owners::Recorded => recorded(&source)?.complete(0),
    };
    finish(&target, owner, found.mode(), owners)?;
    let mut value = [0; 64];
    if let Ok(length) = rustix::fs::fgetxattr(&source, CAPABILITY, &mut value[..]) {
        rustix::fs::fsetxattr(&target, CAPABILITY, &value[..length], XattrFlags::empty())?;
    }
    let seconds = Timespec {
        tv_sec: found.mtime(),
        tv_nsec: found.mtime_nsec(),
    };
    Ok(rustix::fs::futimens(
        &target,
        &Timestamps {
            last_access: seconds,
            last_modification: seconds,
        },
    )?)
}

fn directory(path: &Path, mode: u32, owner: Owner, owners: Owners) -> io::Result<()> {
    make_directory(path, owners)?;
    finish(open_directory(path)?, owner, mode, owners)
}

fn make_parents(path: &Path, owners: Owners) -> io::Result<()> {
    path.parent()
        .map_or(Ok(()), |parent| make_directory(parent, owners))
}

/// Makes a directory and those above it, where they are not there.
fn make_directory(path: &Path, owners: Owners) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    make_parents(path, owners)?;
    fs::create_dir(path)?;
    // One with the setgid bit above it would give its group and the bit.
    finish(open_directory(path)?, Owner::default(), 0o755, owners)
}

fn open_directory(path: &Path) -> io::Result<rustix::fd::OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

fn create(path: &Path) -> io::Result<fs::File> {
    fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

/// Removes what is at a path, unless that is a directory.
fn remove_file(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// Gives owner and mode, in this order: a new owner takes mode bits away.
fn finish(file: impl rustix::fd::AsFd, owner: Owner, mode: u32, owners: Owners) -> io::Result<()> {
    owners.set(&file, owner)?;
    Ok(rustix::fs::fchmod(
        &file,
        Mode::from_raw_mode(mode & 0o7777),
    )?)
}

/// Gives the modification time that layers give everything.
pub(crate) fn set_time(path: &Path) -> io::Result<()> {
    let time = Timespec {
        tv_sec: REPRODUCIBLE_MTIME,
        tv_nsec: 0,
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    Ok(utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

/// Sets the time of every directory of the tree that has another one: they are those that the
/// job changed. Setting it changes no other directory's time.
fn set_directory_times() -> io::Result<()> {
    let root = fs::metadata("/")?;
    let device = root.dev();
    let mut pending = vec![(Path::new("/").to_owned(), root)];
    while let Some((path, found)) = pending.pop() {
        if found.mtime() != REPRODUCIBLE_MTIME || found.mtime_nsec() != 0 {
            set_time(&path)?;
        }
        for entry in fs::read_dir(&path)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                let found = entry.metadata()?;
                // What is mounted in the tree is not of it.
                if found.dev() == device {
                    pending.push((entry.path(), found));
                }
            }
        }
    }
    Ok(())
}
