//! What entries must fulfil to be a layer.

use crate::tar::WHITEOUT_PREFIX;
use crate::{Entry, EntryKind, EntryPath};

/// Symbolic links are as long as paths at most.
const MAX_LINK: usize = 4096;

/// An entry that cannot be part of the layer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEntry {
    /// Entries must be sorted by path bytes, each path once.
    #[error("`{0}` is out of order or a duplicate")]
    Order(EntryPath),
    /// The directory that holds the path is not in the layer, or not a directory.
    #[error("the directory that holds `{0}` is missing")]
    Parent(EntryPath),
    /// Names that start with `.wh.` mean removals to every reader of layers.
    #[error("`{0}` has a name that is reserved for whiteouts")]
    Reserved(EntryPath),
    /// A hard link must point to a file that stands before it.
    #[error("`{path}` is a hard link to `{target}`, which is no file before it in the layer")]
    Hardlink {
        /// The link.
        path: EntryPath,
        /// What it points to.
        target: EntryPath,
    },
    /// A symbolic link's target is empty, has a NUL byte or more than 4096 bytes.
    #[error("the target of the symbolic link `{0}` is not usable")]
    Symlink(EntryPath),
    /// More than the twelve permission bits.
    #[error("`{0}` has a mode with more than the permission bits")]
    Mode(EntryPath),
    /// A capability attribute that is not in version-2 form, or not on a file or a hard link.
    #[error("the capability attribute of `{0}` is not in version-2 form on a file")]
    Capability(EntryPath),
}

pub(crate) fn validate(entries: &[Entry]) -> Result<(), InvalidEntry> {
    for pair in entries.windows(2) {
        if pair[0].path >= pair[1].path {
            return Err(InvalidEntry::Order(pair[1].path.clone()));
        }
    }
    let find = |path: &EntryPath| {
        let index = entries
            .binary_search_by(|entry| entry.path.cmp(path))
            .ok()?;
        entries.get(index)
    };
    // Neighbours mostly share their parent.
    let mut known: Option<EntryPath> = None;
    for entry in entries {
        let path = || entry.path.clone();
        if entry.path.file_name().starts_with(WHITEOUT_PREFIX) {
            return Err(InvalidEntry::Reserved(path()));
        }
        if entry.mode > 0o7777 {
            return Err(InvalidEntry::Mode(path()));
        }
        if let Some(capability) = &entry.capability
            && !(matches!(entry.kind, EntryKind::File(_) | EntryKind::Hardlink(_))
                && is_version_2(capability))
        {
            return Err(InvalidEntry::Capability(path()));
        }
        match &entry.kind {
            EntryKind::Symlink(link)
                if link.is_empty() || link.len() > MAX_LINK || link.contains(&0) =>
            {
                return Err(InvalidEntry::Symlink(path()));
            }
            EntryKind::Hardlink(target)
                if *target >= entry.path
                    || !find(target)
                        .is_some_and(|found| matches!(found.kind, EntryKind::File(_))) =>
            {
                return Err(InvalidEntry::Hardlink {
                    path: path(),
                    target: target.clone(),
                });
            }
            _ => {}
        }
        if let Some(parent) = entry.path.parent()
            && known.as_ref() != Some(&parent)
        {
            if !find(&parent).is_some_and(|found| matches!(found.kind, EntryKind::Directory)) {
                return Err(InvalidEntry::Parent(path()));
            }
            known = Some(parent);
        }
    }
    Ok(())
}

/// `struct vfs_cap_data` of revision 2 (linux/capability.h): a little-endian word with the
/// revision in its highest byte and the effective bit in its lowest, then two pairs of sets.
fn is_version_2(capability: &[u8]) -> bool {
    capability.len() == 20 && matches!(capability[..4], [0 | 1, 0, 0, 2])
}
