//! Many packages, one layer: entries are merged, conflicts found, directories completed.

use std::collections::{BTreeMap, BTreeSet};

use crate::parents::{ParentPolicy, add_parents};
use crate::{Entry, EntryKind, EntryPath, Payload, hardlinks};

/// What one package adds to a layer.
#[derive(Debug, Clone)]
pub struct Contribution {
    /// The name that errors call the package by.
    pub package: String,
    /// Its entries, in any order.
    pub entries: Vec<Entry>,
}

/// An entry and the number of the contribution that it comes from.
pub(crate) struct Slot {
    pub(crate) entry: Entry,
    /// `None` for a directory that nobody ships.
    pub(crate) package: Option<usize>,
    /// Whether the recipe says that this package wins the path.
    pub(crate) wins: bool,
}

/// How two entries of one path differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Difference {
    /// One is a file, the other a link, and so on.
    Kind,
    /// The bytes of a file, or where a link points.
    Content,
    /// Owner, mode or capabilities.
    Metadata,
}

/// Why packages cannot share a layer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MergeError {
    /// Two packages ship one path, not alike.
    #[error("`{first}` and `{second}` both ship `{path}`, with different {}", .difference.noun())]
    Conflict {
        /// The path.
        path: EntryPath,
        /// The package that comes first.
        first: String,
        /// The other one.
        second: String,
        /// What differs.
        difference: Difference,
    },
    /// A path is a directory in one package and something else in another.
    #[error("`{path}` is a directory in `{directory}` but not in `{other}`")]
    NotADirectory {
        /// The path.
        path: EntryPath,
        /// The package that needs a directory there.
        directory: String,
        /// The package that ships something else.
        other: String,
    },
    /// A hard link to what is no file of the layer.
    #[error(
        "`{package}` ships `{path}` as a hard link to `{target}`, which is no file of the layer"
    )]
    HardlinkTarget {
        /// The package.
        package: String,
        /// The link.
        path: EntryPath,
        /// What it points to.
        target: EntryPath,
    },
}

impl MergeError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Conflict {
                path,
                first,
                second,
                ..
            } => Some(format!(
                "leave one of the two out, or say which wins (`{first}` or `{second}`) in the \
                 family file that brings them: `[winners]` with `\"/{path}\" = \"{first}\"`"
            )),
            Self::NotADirectory { .. } => Some("leave one of the two packages out".to_owned()),
            Self::HardlinkTarget { .. } => None,
        }
    }
}

impl Difference {
    fn noun(self) -> &'static str {
        match self {
            Self::Kind => "kinds of entry",
            Self::Content => "content",
            Self::Metadata => "owner or mode",
        }
    }
}

/// Merges `contributions` into the entries of one layer: sorted, each path once, with every
/// parent directory, hard links after their targets.
///
/// - Directories fold; where their metadata differ, those of the first contribution hold.
/// - Other entries of one path fold if kind, content, owner, mode and capabilities are alike;
///   the modification time is that of the first contribution. Contents are alike if length and
///   CRC-32 are.
/// - `winners` names the package whose entry holds where packages differ.
/// - Missing parents get the metadata that `parents` says.
/// - Of the paths of a hard-linked file the first carries the payload, and all have its metadata.
pub fn merge(
    contributions: Vec<Contribution>,
    winners: &BTreeMap<EntryPath, String>,
    parents: &ParentPolicy,
) -> Result<Vec<Entry>, MergeError> {
    let mut packages = Vec::with_capacity(contributions.len());
    let mut all = Vec::with_capacity(contributions.iter().map(|from| from.entries.len()).sum());
    for (index, Contribution { package, entries }) in contributions.into_iter().enumerate() {
        all.extend(entries.into_iter().map(|entry| Slot {
            wins: winners.get(&entry.path) == Some(&package),
            entry,
            package: Some(index),
        }));
        packages.push(package);
    }
    // Of one path the winner comes first, then the contributions in order (the sort is stable).
    all.sort_by(|a, b| (&a.entry.path, !a.wins).cmp(&(&b.entry.path, !b.wins)));

    let mut replaced = BTreeSet::new();
    let mut merged: Vec<Slot> = Vec::with_capacity(all.len());
    for slot in all {
        match merged.last() {
            Some(kept) if kept.entry.path == slot.entry.path => {
                if !folds(kept, &slot, &packages)? {
                    replaced.insert((slot.entry.path, slot.package));
                }
            }
            _ => merged.push(slot),
        }
    }
    add_parents(&mut merged, &packages, parents)?;
    hardlinks::settle(&mut merged, &packages, &replaced)?;
    Ok(merged.into_iter().map(|slot| slot.entry).collect())
}

/// Whether `other` is the same as `kept`; if it is not, `kept` wins its path or there is an error.
fn folds(kept: &Slot, other: &Slot, packages: &[String]) -> Result<bool, MergeError> {
    let path = || kept.entry.path.clone();
    let name = |slot: &Slot| name(packages, slot).to_owned();
    let not_a_directory = |directory: &Slot, other: &Slot| MergeError::NotADirectory {
        path: path(),
        directory: name(directory),
        other: name(other),
    };
    match (&kept.entry.kind, &other.entry.kind) {
        (EntryKind::Directory, EntryKind::Directory) => return Ok(true),
        (EntryKind::Directory, _) => return Err(not_a_directory(kept, other)),
        (_, EntryKind::Directory) => return Err(not_a_directory(other, kept)),
        _ => {}
    }
    match difference(&kept.entry, &other.entry) {
        None => Ok(true),
        Some(_) if kept.wins => Ok(false),
        Some(difference) => Err(MergeError::Conflict {
            path: path(),
            first: name(kept),
            second: name(other),
            difference,
        }),
    }
}

pub(crate) fn name<'a>(packages: &'a [String], slot: &Slot) -> &'a str {
    slot.package
        .and_then(|index| packages.get(index))
        .map_or("the layer", String::as_str)
}

/// Whether two entries of one path, neither a directory, can be one; if not, why.
fn difference(a: &Entry, b: &Entry) -> Option<Difference> {
    let same_content = match (&a.kind, &b.kind) {
        (EntryKind::File(a), EntryKind::File(b)) => same_bytes(a, b),
        (EntryKind::Symlink(a), EntryKind::Symlink(b)) => a == b,
        (EntryKind::Hardlink(a), EntryKind::Hardlink(b)) => a == b,
        (EntryKind::Whiteout, EntryKind::Whiteout) => return None,
        _ => return Some(Difference::Kind),
    };
    if !same_content {
        return Some(Difference::Content);
    }
    let owner = |entry: &Entry| (entry.uid, entry.gid);
    let is_link = matches!(a.kind, EntryKind::Symlink(_));
    let same_mode = is_link || (a.mode == b.mode && a.capability == b.capability);
    (owner(a) != owner(b) || !same_mode).then_some(Difference::Metadata)
}

fn same_bytes(a: &Payload, b: &Payload) -> bool {
    let crc32 = |payload: &Payload| match payload {
        Payload::Deflated { crc32, .. } => *crc32,
        Payload::Plain(data) => crc32fast::hash(data),
    };
    match (a, b) {
        (Payload::Plain(a), Payload::Plain(b)) => a == b,
        _ => a.size() == b.size() && crc32(a) == crc32(b),
    }
}
