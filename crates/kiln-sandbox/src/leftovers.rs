//! What processes that were killed have left: found cheaply, removed by a worker.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};

use crate::{Sandbox, SandboxError, protocol::Task, scratch};

/// Whether processes that were killed have left something in this directory of unpacked layers.
/// A look at few directories, so that a build with nothing to do needs no sandbox. What belongs to
/// subordinate ids is not seen: it goes when the sandbox is next used.
pub fn has_leftovers(rootfs: &Path) -> bool {
    let scratch = scratch::directory(rootfs);
    let labels = directories(&scratch);
    if labels.iter().any(|it| !scratch::abandoned(it).is_empty()) {
        return true;
    }
    let labels = directories(rootfs).into_iter().filter(|it| *it != scratch);
    let boots = labels.flat_map(|label| directories(&label));
    boots.flat_map(|boot| directories(&boot)).any(|path| {
        let name = path.file_name().unwrap_or_default();
        name.as_encoded_bytes().starts_with(b".")
            && File::open(&path)
                .is_ok_and(|it| flock(&it, FlockOperation::NonBlockingLockExclusive).is_ok())
    })
}

fn directories(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

impl Sandbox {
    /// Removes what processes that were killed have left.
    pub fn sweep(&self) -> Result<(), SandboxError> {
        for path in scratch::abandoned(&self.scratch()?) {
            self.discard(&path)?;
        }
        // Who opens the directory of unpacked layers cleans it.
        self.ask(&self.ids, Task::Unpack(Vec::new())).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leftovers_are_temporary_and_nobody_locks_them() {
        let rootfs = tempfile::tempdir().unwrap();
        let make = |path: &str| {
            let path = rootfs.path().join(path);
            fs::create_dir_all(&path).unwrap();
            path
        };
        assert!(!has_leftovers(&rootfs.path().join("not-there")));
        make("root/boot/0123");
        make("scratch/root/failed-0123");
        assert!(!has_leftovers(rootfs.path()));

        let scratch = make("scratch/root/x");
        assert!(has_leftovers(rootfs.path()));
        fs::remove_dir(scratch).unwrap();

        let unpacked = make("root/boot/.x");
        assert!(has_leftovers(rootfs.path()));
        let lock = File::open(unpacked).unwrap();
        flock(&lock, FlockOperation::LockExclusive).unwrap();
        assert!(!has_leftovers(rootfs.path()));
    }
}
