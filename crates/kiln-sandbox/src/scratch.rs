//! Scratch directories: where the writable parts of trees are, `<rootfs>/scratch/<label>/<name>`.
//!
//! A directory in use has a locked file in it. Directories that nobody locks, or without that file,
//! were left by kiln processes that were killed. Between making a directory and locking its file,
//! its maker shares a lock on the parent, which who cleans up must have alone. Those of failed jobs have names that begin with `failed-`, a
//! description of their job, and stay. What commands wrote belongs to ids that only a worker may
//! touch, so removing a directory is a worker's task.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use kiln_digest::Digest;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use crate::{Bind, Command, Job, LayerBlob, SandboxError};

const LOCK: &str = "lock";
const DESCRIPTION: &str = "job.json";
const FAILED: &str = "failed-";

/// A scratch directory in use.
#[derive(Debug)]
pub(crate) struct Scratch {
    /// Where it is.
    pub(crate) path: PathBuf,
    _lock: File,
}

/// What is kept of a failed job beside its tree.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Kept {
    /// The layers of its tree, bottom first.
    pub(crate) layers: Vec<LayerBlob>,
    /// Files that were mounted.
    pub(crate) binds: Vec<Bind>,
    /// Whether overlayfs was used.
    pub(crate) overlay: bool,
    /// The command that failed.
    pub(crate) command: Command,
}

/// The directory of all scratch directories.
pub(crate) fn directory(rootfs: &Path) -> PathBuf {
    rootfs.join("scratch")
}

/// The directory of all scratch directories of one mapping of ids.
pub(crate) fn parent(rootfs: &Path, label: &str) -> Result<PathBuf, SandboxError> {
    let parent = directory(rootfs).join(label);
    fs::create_dir_all(&parent).map_err(SandboxError::io(format!(
        "`{}` could not be made",
        parent.display()
    )))?;
    Ok(parent)
}

impl Scratch {
    /// Makes a new one.
    pub(crate) fn new(parent: &Path) -> Result<Self, SandboxError> {
        let make = || -> io::Result<Self> {
            let all = File::open(parent)?;
            flock(&all, FlockOperation::LockShared)?;
            let path = tempfile::Builder::new()
                .prefix("")
                .tempdir_in(parent)?
                .keep();
            Self::lock(path)
        };
        make().map_err(SandboxError::io("no scratch directory could be made"))
    }

    fn lock(path: PathBuf) -> io::Result<Self> {
        let lock = File::create(path.join(LOCK))?;
        flock(&lock, FlockOperation::LockExclusive)?;
        Ok(Self { path, _lock: lock })
    }

    /// Takes up the tree of a failed job.
    pub(crate) fn resume(path: &Path) -> Result<(Self, Kept), SandboxError> {
        let kept = description(path)?;
        let scratch = Self::lock(path.to_owned()).map_err(no_state(path))?;
        Ok((scratch, kept))
    }

    /// Where the tree of this job is kept if it fails.
    pub(crate) fn place_of_failed(parent: &Path, job: &Job) -> Result<PathBuf, SandboxError> {
        let json = serde_json::to_vec(job)
            .map_err(io::Error::from)
            .map_err(SandboxError::io("the job could not be described"))?;
        Ok(parent.join(format!("{FAILED}{}", Digest::of(&json).hex())))
    }

    /// Keeps the tree at `place`, where nothing is.
    pub(crate) fn keep(self, place: &Path, kept: &Kept) -> Result<(), SandboxError> {
        let keep = || -> io::Result<()> {
            fs::write(self.path.join(DESCRIPTION), serde_json::to_vec(kept)?)?;
            fs::rename(&self.path, place)
        };
        keep().map_err(SandboxError::io(
            "the state of the failed job could not be kept",
        ))
    }
}

/// What is kept of a failed job.
pub(crate) fn description(path: &Path) -> Result<Kept, SandboxError> {
    fs::read(path.join(DESCRIPTION))
        .and_then(|description| Ok(serde_json::from_slice(&description)?))
        .map_err(no_state(path))
}

fn no_state(path: &Path) -> impl FnOnce(io::Error) -> SandboxError {
    SandboxError::io(format!(
        "there is no state of a failed job at `{}`",
        path.display()
    ))
}

/// Scratch directories that nobody uses any more. None while somebody is making one.
pub(crate) fn abandoned(parent: &Path) -> Vec<PathBuf> {
    let Ok(all) = File::open(parent) else {
        return Vec::new();
    };
    if flock(&all, FlockOperation::NonBlockingLockExclusive).is_err() {
        return Vec::new();
    }
    let Ok(entries) = fs::read_dir(parent) else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().as_encoded_bytes();
            !name.starts_with(FAILED.as_bytes()) && is_abandoned(path)
        })
        .collect()
}

fn is_abandoned(path: &Path) -> bool {
    match File::open(path.join(LOCK)) {
        Ok(lock) => flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok(),
        // Its maker was killed before it locked it, or somebody while removing it. Perhaps it is
        // just being removed: two may do that at once.
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_locks_is_abandoned_even_before_it_had_a_lock() {
        let parent = tempfile::tempdir().unwrap();
        let used = Scratch::new(parent.path()).unwrap();
        let left = Scratch::new(parent.path()).unwrap().path;
        let begun = parent.path().join("begun");
        fs::create_dir(&begun).unwrap();
        fs::create_dir(parent.path().join("failed-job")).unwrap();
        let mut expected = vec![begun, left];
        let mut found = abandoned(parent.path());
        expected.sort();
        found.sort();
        assert_eq!(found, expected);
        // Somebody may just be making one.
        let all = File::open(parent.path()).unwrap();
        flock(&all, FlockOperation::LockShared).unwrap();
        assert_eq!(abandoned(parent.path()), Vec::<PathBuf>::new());
        drop(used);
    }
}
