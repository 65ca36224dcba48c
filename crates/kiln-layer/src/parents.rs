//! The directories above the entries of a layer.

use std::collections::{BTreeMap, BTreeSet};

use crate::merge::{MergeError, Slot, name};
use crate::{Entry, EntryKind, EntryPath, REPRODUCIBLE_MTIME};

/// Owner and mode of a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DirectoryMetadata {
    /// The twelve permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

impl Default for DirectoryMetadata {
    /// 0755 and root, as nearly every directory of an operating system.
    fn default() -> Self {
        Self {
            mode: 0o755,
            uid: 0,
            gid: 0,
        }
    }
}

/// A directory that belongs to the layer with everything below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnedTree {
    /// The directory, such as `opt/app-root`.
    pub prefix: EntryPath,
    /// Owner and mode of it and of the directories below it.
    pub directory: DirectoryMetadata,
}

/// The metadata of directories that no package of a layer ships.
///
/// A layer lists every parent of its entries, and must not depend on the layers around it for
/// their metadata: so these are the same for all layers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParentPolicy {
    /// Trees with metadata of their own. The first that holds a directory decides.
    pub trees: Vec<OwnedTree>,
    /// OS directories that are not [`DirectoryMetadata::default`].
    pub table: BTreeMap<EntryPath, DirectoryMetadata>,
}

impl Default for ParentPolicy {
    /// No trees, and the directories of Debian's `base-files` that are not 0755.
    fn default() -> Self {
        let special: [(&[u8], u32); 4] = [
            (b"root", 0o700),
            (b"run/lock", 0o1777),
            (b"tmp", 0o1777),
            (b"var/tmp", 0o1777),
        ];
        let table = special
            .into_iter()
            .filter_map(|(path, mode)| {
                let metadata = DirectoryMetadata {
                    mode,
                    ..DirectoryMetadata::default()
                };
                Some((EntryPath::new(path).ok()?, metadata))
            })
            .collect();
        Self {
            trees: Vec::new(),
            table,
        }
    }
}

impl ParentPolicy {
    /// What a directory gets that no package ships.
    pub fn metadata(&self, path: &EntryPath) -> DirectoryMetadata {
        let tree = self.trees.iter().find(|tree| is_in(path, &tree.prefix));
        tree.map(|tree| tree.directory)
            .or_else(|| self.table.get(path).copied())
            .unwrap_or_default()
    }

    fn directory(&self, path: EntryPath) -> Entry {
        let DirectoryMetadata { mode, uid, gid } = self.metadata(&path);
        Entry {
            path,
            kind: EntryKind::Directory,
            mode,
            uid,
            gid,
            mtime: REPRODUCIBLE_MTIME,
            capability: None,
        }
    }
}

/// Whether `path` is `tree` or below it.
fn is_in(path: &EntryPath, tree: &EntryPath) -> bool {
    match path.as_bytes().strip_prefix(tree.as_bytes()) {
        Some(rest) => rest.is_empty() || rest[0] == b'/',
        None => false,
    }
}

/// Adds the parents that are missing in `slots`, which are sorted, and sets the modification
/// time of all directories.
pub(crate) fn add_parents(
    slots: &mut Vec<Slot>,
    packages: &[String],
    policy: &ParentPolicy,
) -> Result<(), MergeError> {
    let mut missing: BTreeSet<EntryPath> = BTreeSet::new();
    // Neighbours mostly share their parent.
    let mut known: Option<EntryPath> = None;
    for slot in slots.iter() {
        let mut next = slot.entry.path.parent();
        if next == known {
            continue;
        }
        known.clone_from(&next);
        while let Some(parent) = next {
            match slots.binary_search_by(|slot| slot.entry.path.cmp(&parent)) {
                Ok(index) if matches!(slots[index].entry.kind, EntryKind::Directory) => break,
                Ok(index) => {
                    return Err(MergeError::NotADirectory {
                        path: parent,
                        directory: name(packages, slot).to_owned(),
                        other: name(packages, &slots[index]).to_owned(),
                    });
                }
                Err(_) => {}
            }
            next = parent.parent();
            if !missing.insert(parent) {
                break;
            }
        }
    }
    for slot in slots.iter_mut() {
        if matches!(slot.entry.kind, EntryKind::Directory) {
            slot.entry.mtime = REPRODUCIBLE_MTIME;
        }
    }
    let added = missing.into_iter().map(|path| Slot {
        entry: policy.directory(path),
        package: None,
        wins: false,
    });
    slots.extend(added);
    slots.sort_by(|a, b| a.entry.path.cmp(&b.entry.path));
    Ok(())
}
