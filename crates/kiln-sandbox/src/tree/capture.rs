//! What a job changed.

use std::{io, path::Path};

use super::{Change, LayerTree, Owners, Snapshot, Spool, SymlinkOwners, TreeError};

/// What to capture.
pub(crate) struct Capture<'a> {
    /// The layers of the job's tree, bottom first.
    pub(crate) layers: &'a [LayerTree],
    /// The layers that the tree is compared with, bottom first; the same if `None`.
    pub(crate) compare: Option<&'a [LayerTree]>,
    /// How the tree was made.
    pub(crate) tree: Tree<'a>,
    /// How owners are kept.
    pub(crate) owners: Owners,
    /// What was recorded of symbolic links while the job ran.
    pub(crate) symlinks: &'a SymlinkOwners,
    /// Directories (absolute inside) below which changes are captured, with themselves; empty
    /// for all.
    pub(crate) prefixes: &'a [String],
    /// Paths (absolute inside) that were made to mount something on, with the directories above
    /// them that were made for that: not captured as long as nothing else is in them.
    pub(crate) mount_points: &'a [String],
}

/// How the tree of a job was made.
#[derive(Clone, Copy)]
pub(crate) enum Tree<'a> {
    /// By overlayfs, with this upper directory.
    Overlay {
        /// `upperdir`.
        upper: &'a Path,
    },
    /// By [`copy_layers`](super::copy_layers).
    Copy {
        /// The copy.
        directory: &'a Path,
        /// What it was before the job.
        snapshot: &'a Snapshot,
    },
}

/// Finds what differs between the layers and the tree, sorted by path, and appends the content
/// of files to the spool. Nothing may be running in the tree.
pub(crate) fn capture(capture: &Capture<'_>, spool: &mut Spool) -> Result<Vec<Change>, TreeError> {
    let _ = (capture, spool);
    Err(TreeError::file("capture", "")(io::ErrorKind::Unsupported.into()))
}
