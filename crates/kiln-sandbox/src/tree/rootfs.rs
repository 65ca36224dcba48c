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
    io::{self, ErrorKind},
    os::{
        fd::AsFd,
        unix::{ffi::OsStrExt as _, fs::DirBuilderExt as _},
    },
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};

use super::{Owner, Owners, TreeError, remove_tree, unpack::unpack};
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
            self.unpack(layer, &directory)?;
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

    fn unpack(&self, layer: &LayerBlob, directory: &Path) -> Result<(), TreeError> {
        let temporary = self
            .temporary()
            .map_err(TreeError::file("prepare", bytes(directory)))?;
        let path = &temporary.path;
        let tree = path.join(TREE);
        fs::create_dir(&tree).map_err(TreeError::file("make", bytes(&tree)))?;
        let unpacked = unpack(layer, &tree, self.owners).and_then(|symlinks| {
            let list: Vec<_> = symlinks.into_iter().collect();
            serde_json::to_vec(&list)
                .map_err(io::Error::from)
                .and_then(|text| fs::write(path.join(SYMLINKS), text))
                .and_then(|()| match fs::rename(path, directory) {
                    Err(error) if is_taken(&error) => Ok(()),
                    renamed => renamed,
                })
                .map_err(TreeError::file("keep", bytes(directory)))
        });
        // Nothing is there any more if it has its final name.
        let removed = remove_tree(path);
        unpacked.and(removed)
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
