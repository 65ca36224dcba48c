//! The directory that holds unpacked layers: `<rootfs>/<label>/<boot>/<diff id>/`.
//!
//! The label says how ids map, as that decides what is on disk. Unpacked trees are not synced to
//! disk, so they are trusted until the machine boots again. A layer is unpacked under another
//! name, which begins with a dot, and renamed when it is whole; two workers may do it at once,
//! and the first wins. The directory of an unpacked layer holds `tree`, its content, and
//! `symlinks.json`, owners of symbolic links that the file system does not know.
//!
//! Locks: who unpacks holds `flock` on the directory under its temporary name, so what is not
//! locked belongs to a worker that died. Between making a directory and locking it, its maker
//! shares a lock on `<boot>`, which who cleans up must have alone.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, ErrorKind, Read},
    os::{
        fd::AsFd,
        unix::{ffi::OsStrExt as _, fs::DirBuilderExt as _},
    },
    path::{Path, PathBuf},
};

use kiln_digest::Digest;
use rustix::fs::{FlockOperation, flock};

use super::{
    Owner, Owners, TreeError,
    error::Cause,
    remove_tree,
    unpack::{Failure, Unpacked, unpack},
};
use crate::LayerBlob;

const TREE: &str = "tree";
const SYMLINKS: &str = "symlinks.json";

/// Unpacked layers of one mapping of ids.
pub(crate) struct Rootfs {
    /// `<rootfs>/<label>/<boot>`.
    directory: PathBuf,
    owners: Owners,
}

/// A layer that is unpacked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LayerTree {
    /// The directory with its content: a `lowerdir` of overlayfs.
    pub(crate) path: PathBuf,
    /// The owners of its symbolic links, where owners are recorded and it is not root.
    pub(crate) symlinks: BTreeMap<Vec<u8>, Owner>,
}

impl Rootfs {
    /// `label` names the mapping of ids: `root`, `sub-<start>-<count>` or `single-<uid>`. What
    /// is left of earlier boots and of workers that died is removed.
    pub(crate) fn open(rootfs: &Path, label: &str, owners: Owners) -> Result<Self, TreeError> {
        let boot = boot()?;
        let labelled = rootfs.join(label);
        let directory = labelled.join(&boot);
        // Nobody else may reach the set-user-id programs of images.
        let make = fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&directory);
        make.map_err(TreeError::file("make", bytes(&directory)))?;
        for name in names(&labelled)? {
            if name.as_bytes() != boot.as_bytes() {
                remove_tree(&labelled.join(name))?;
            }
        }
        let rootfs = Self { directory, owners };
        rootfs.clean()?;
        Ok(rootfs)
    }

    /// Whether the layer is unpacked.
    pub(crate) fn has(&self, layer: &LayerBlob) -> bool {
        self.directory.join(layer.diff_id.hex()).join(TREE).is_dir()
    }

    /// The layer, unpacked now if it is not yet.
    pub(crate) fn layer(&self, layer: &LayerBlob) -> Result<LayerTree, TreeError> {
        let directory = self.directory.join(layer.diff_id.hex());
        if !directory.join(TREE).is_dir() {
            self.unpack(layer)?;
        }
        let symlinks = directory.join(SYMLINKS);
        let list: Vec<(Vec<u8>, Owner)> = fs::read(&symlinks)
            .and_then(|text| Ok(serde_json::from_slice(&text)?))
            .map_err(TreeError::file("read", bytes(&symlinks)))?;
        Ok(LayerTree {
            path: directory.join(TREE),
            symlinks: list.into_iter().collect(),
        })
    }

    fn unpack(&self, layer: &LayerBlob) -> Result<(), TreeError> {
        let fails = |cause| TreeError::Layer {
            diff_id: layer.diff_id,
            cause,
        };
        let blob = fs::File::open(&layer.path).map_err(|error| fails(error.into()))?;
        self.keep(blob, |unpacked| match unpacked {
            Ok(found) if found == layer.diff_id => Ok(()),
            Ok(found) => Err(TreeError::Damaged {
                expected: layer.diff_id,
                found,
            }),
            Err(cause) => Err(fails(cause)),
        })
    }

    /// Unpacks the layer that comes on `stream`, and says which one it was.
    pub(crate) fn receive(&self, stream: impl Read) -> Result<Digest, TreeError> {
        let mut received = None;
        self.keep(stream, |unpacked| {
            received = Some(unpacked.map_err(|cause| TreeError::Stream { cause })?);
            Ok(())
        })?;
        received.ok_or_else(|| TreeError::Stream {
            cause: io::Error::from(ErrorKind::UnexpectedEof).into(),
        })
    }

    /// Unpacks a layer under the name of its diff ID, if `is_wanted` has nothing against what was read.
    fn keep(
        &self,
        layer: impl Read,
        is_wanted: impl FnOnce(Result<Digest, Cause>) -> Result<(), TreeError>,
    ) -> Result<(), TreeError> {
        let temporary = self
            .temporary()
            .map_err(TreeError::file("prepare", bytes(&self.directory)))?;
        let path = &temporary.path;
        let tree = path.join(TREE);
        fs::create_dir(&tree).map_err(TreeError::file("make", bytes(&tree)))?;
        let kept = match unpack(layer, &tree, self.owners) {
            Ok(Unpacked { diff_id, symlinks }) => {
                is_wanted(Ok(diff_id)).and_then(|()| self.name(path, diff_id, symlinks))
            }
            Err(Failure::Layer(cause)) => is_wanted(Err(cause)),
            Err(Failure::Tree(error)) => Err(error),
        };
        // Nothing is there any more if it has its final name.
        let removed = remove_tree(path);
        kept.and(removed)
    }

    /// Gives what is unpacked in `path` its final name.
    fn name(
        &self,
        path: &Path,
        diff_id: Digest,
        symlinks: BTreeMap<Vec<u8>, Owner>,
    ) -> Result<(), TreeError> {
        let directory = self.directory.join(diff_id.hex());
        let list: Vec<_> = symlinks.into_iter().collect();
        serde_json::to_vec(&list)
            .map_err(io::Error::from)
            .and_then(|text| fs::write(path.join(SYMLINKS), text))
            .and_then(|()| match fs::rename(path, &directory) {
                Err(error) if is_taken(&error) => Ok(()),
                renamed => renamed,
            })
            .map_err(TreeError::file("keep", bytes(&directory)))
    }

    /// Makes a directory under a name that nobody else has, and locks it.
    fn temporary(&self) -> io::Result<Temporary> {
        let all = fs::File::open(&self.directory)?;
        flock(&all, FlockOperation::LockShared)?;
        let path = tempfile::Builder::new()
            .prefix(".")
            .tempdir_in(&self.directory)?
            .keep();
        let lock = fs::File::open(&path)?;
        flock(&lock, FlockOperation::LockExclusive)?;
        Ok(Temporary { path, _lock: lock })
    }

    /// Removes what workers that died have left.
    fn clean(&self) -> Result<(), TreeError> {
        let fails = || TreeError::file("clean", bytes(&self.directory));
        let all = fs::File::open(&self.directory).map_err(fails())?;
        if !try_lock(&all).map_err(fails())? {
            return Ok(());
        }
        for name in names(&self.directory)? {
            let path = self.directory.join(&name);
            if name.as_bytes().starts_with(b".")
                && let Ok(left) = fs::File::open(&path)
                && try_lock(&left).map_err(fails())?
            {
                remove_tree(&path)?;
            }
        }
        Ok(())
    }
}

/// A directory that is being filled.
struct Temporary {
    path: PathBuf,
    _lock: fs::File,
}

fn try_lock(file: impl AsFd) -> io::Result<bool> {
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Whether a directory could not be renamed because another worker was faster.
fn is_taken(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::AlreadyExists | ErrorKind::DirectoryNotEmpty
    )
}

/// What names the time since the machine was started (random(4)).
fn boot() -> Result<String, TreeError> {
    let path = "/proc/sys/kernel/random/boot_id";
    let text = fs::read_to_string(path).map_err(TreeError::file("read", path))?;
    Ok(text.trim().replace('/', "-"))
}

fn names(directory: &Path) -> Result<Vec<std::ffi::OsString>, TreeError> {
    let entries = fs::read_dir(directory)
        .and_then(|entries| entries.map(|entry| Ok(entry?.file_name())).collect());
    entries.map_err(TreeError::file("read", bytes(directory)))
}

fn bytes(path: &Path) -> &[u8] {
    path.as_os_str().as_bytes()
}
