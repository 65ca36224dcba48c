//! Scratch directories: where the writable parts of trees are, `<rootfs>/scratch/<label>/<name>`.
//!
//! A directory in use has a locked file in it. Directories that nobody locks were left by kiln
//! processes that were killed. Those of failed jobs have names that begin with `failed-`, a
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

/// The directory of all scratch directories of one mapping of ids.
pub(crate) fn parent(rootfs: &Path, label: &str) -> Result<PathBuf, SandboxError> {
    let parent = rootfs.join("scratch").join(label);
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
            loop {
                let path = tempfile::Builder::new()
                    .prefix("")
                    .tempdir_in(parent)?
                    .keep();
                // Somebody who cleans up may have taken it for left behind before it was locked.
                match Self::lock(path) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    result => return result,
                }
            }
        };
        make().map_err(SandboxError::io("no scratch directory could be made"))
    }

    fn lock(path: PathBuf) -> io::Result<Self> {
        let lock = File::create(path.join(LOCK))?;
        flock(&lock, FlockOperation::LockExclusive)?;
        // Locked before somebody who cleans up, or after?
        fs::metadata(path.join(LOCK))?;
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

/// Scratch directories that nobody uses any more.
pub(crate) fn abandoned(parent: &Path) -> Vec<PathBuf> {
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
    // One without a lock file is just being made, or just being removed.
    File::open(path.join(LOCK))
        .is_ok_and(|lock| flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok())
}
