//! The local content-addressed store: blobs, results of actions, downloads, named images.
//!
//! ```text
//! $KILN_HOME            (mode 0700)
//!   store.json          what makes the directory a store: the version of its format
//!   oci-layout          \
//!   index.json           } an OCI image layout: `skopeo copy oci:$KILN_HOME:NAME …` works
//!   blobs/sha256/HEX    /
//!   actions/results     action key → result, a log
//!   actions/outlines/HEX  what the layer of this digest holds, in brief
//!   actions/failed/HEX  where the state is that the action with this key left when it failed
//!   downloads/sha256/HEX  packages as fetched
//!   facts/HEX           what was read from the package with this digest, in brief
//!   rootfs/             the sandbox's: layers unpacked, states of failed actions; may go any time
//!   tmp/                files that are being written
//!   lock, index.lock    see below
//! ```
//!
//! # Words
//!
//! - **blob**: a file of `blobs/sha256`, named by its digest: a layer, a config, a manifest.
//! - **result**: what an action gave, found by the action's key. The store does not know what
//!   a key means.
//!
//! # Invariants
//!
//! - A file under a digest's name is complete: it was written in `tmp/`, synced and renamed. A
//!   process killed at any instant leaves only files in `tmp/`, or one beside `store.json`, which
//!   are removed by the next one that finds itself alone, or the torn end of the log, which its
//!   checksum gives away.
//! - A result is recorded only after its blob is in place and synced, and returned only while a
//!   blob of the right size is there.
//! - A name enters `index.json` after the blobs that it needs.
//!
//! # Locks
//!
//! All locks are `flock`s, which the kernel drops when a process dies. Whoever uses the store
//! holds `lock` shared; collection and the removal of corrupt blobs hold it exclusively and so
//! wait for everybody else. `index.lock` is held while `index.json` changes, the log's own lock
//! while a record is appended. Who must wait calls a function of the caller's first, so that a
//! person learns why nothing happens. A network file system without `flock` is not supported.

mod blob;
mod collect;
mod error;
mod facts;
mod failed;
mod files;
mod images;
mod lock;
mod notes;
mod open;
mod outlines;
mod results;
mod verify;

use std::path::{Path, PathBuf};

use kiln_digest::Digest;

pub use blob::BlobWriter;
pub use collect::{GcOptions, GcReport, Removed, RemovedKind};
pub use error::StoreError;
pub use failed::FailedAction;
pub use open::{STORE_FORMAT, default_root};
pub use results::ActionResult;
pub use verify::{VerifyReport, Wrong};

/// An open store. Others may use it at the same time; collection waits until it is dropped.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
    lock: lock::Lock,
}

impl Store {
    /// The store's directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where packages are kept as they were fetched.
    pub fn downloads_dir(&self) -> PathBuf {
        self.root.join("downloads/sha256")
    }

    /// Where the package with this digest is, if it is there.
    pub fn download_path(&self, digest: &Digest) -> PathBuf {
        self.downloads_dir().join(digest.hex())
    }

    /// Whether a package with this digest and size was fetched.
    pub fn has_download(&self, digest: &Digest, size: u64) -> bool {
        files::has_size(&self.download_path(digest), size)
    }

    /// Forgets a fetched package, because its bytes are no longer the ones that were verified.
    pub fn remove_download(&self, digest: &Digest) -> Result<(), StoreError> {
        let path = self.download_path(digest);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(StoreError::io("remove", &path)(error))
            }
            _ => Ok(()),
        }
    }

    /// Where unnamed temporary files may be made that hold what is too large for memory.
    pub fn spool_dir(&self) -> PathBuf {
        self.root.join("tmp")
    }

    /// Where the sandbox keeps unpacked layers. It may be dropped at any time.
    pub fn rootfs_dir(&self) -> PathBuf {
        self.root.join("rootfs")
    }

    /// Does `work` while nobody else uses the store. Calls `wait` with the path of the lock before
    /// waiting for others.
    pub fn alone<T>(
        &mut self,
        wait: &mut dyn FnMut(&Path),
        work: impl FnOnce(&Self) -> T,
    ) -> Result<T, StoreError> {
        self.lock.change(lock::Mode::Exclusive, wait)?;
        let done = work(self);
        self.lock.change(lock::Mode::Shared, wait)?;
        Ok(done)
    }

    /// Does `work` if nobody else uses the store, and else nothing.
    pub fn alone_now<T>(&mut self, work: impl FnOnce(&Self) -> T) -> Result<Option<T>, StoreError> {
        let done = self
            .lock
            .try_change(lock::Mode::Exclusive)?
            .then(|| work(self));
        self.lock.change(lock::Mode::Shared, &mut |_| ())?;
        Ok(done)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }
}
