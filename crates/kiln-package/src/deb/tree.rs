//! The files of a package: from tar members to entries at their placed paths.

use std::collections::HashMap;

use bytes::Bytes;
use kiln_layer::{Entry, EntryKind, EntryPath, EntryPathError, Payload, REPRODUCIBLE_MTIME};

use super::tar::{Kind, Member};
use super::usr_merge::{self, UsrMerge};

/// `PATH_MAX`: no system can make a link with a longer target.
const MAX_TARGET: usize = 4096;

/// Why the members of an archive do not make a tree.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// A name that is no path.
    #[error("it ships a file under a name that is not allowed: {0}")]
    Path(EntryPathError),
    /// A newline would forge lines of dpkg's file lists.
    #[error("it ships a file with a newline in its name: {0:?}")]
    Newline(String),
    /// `.wh.` names mean removals in a layer.
    #[error("it ships `{0}`, a name that removes files in container layers")]
    Whiteout(EntryPath),
    /// Two members for one path.
    #[error("it ships `{0}` twice")]
    Duplicate(EntryPath),
    /// A path below something that is not a directory.
    #[error("it ships `{path}` below `{link}`, which it ships as something else than a directory")]
    ThroughLink {
        /// The path that cannot be.
        path: EntryPath,
        /// What stands in its way.
        link: EntryPath,
    },
    /// A hard link to nothing, to a later member or to something else than a file.
    #[error("its hard link `{path}` does not lead to a file before it: `{target}`")]
    Hardlink {
        /// The link.
        path: EntryPath,
        /// Where it leads.
        target: String,
    },
    /// A link without a target.
    #[error("its symbolic link `{0}` has an unusable target")]
    Symlink(EntryPath),
    /// A top-level name of the merged `/usr` that is something else.
    #[error("it ships `{0}` as something else than a directory or the link into `/usr`")]
    Merged(EntryPath),
}

/// A path as the package spells it.
#[derive(Debug)]
pub(super) struct Shipped {
    /// Without leading `./` and trailing `/`; empty for the root.
    pub(super) path: Vec<u8>,
    /// The bytes, when it is a regular file or a hard link to one.
    pub(super) content: Option<Bytes>,
}

/// The files of a package.
#[derive(Debug, Default)]
pub(super) struct Tree {
    /// All paths in the order of the archive.
    pub(super) shipped: Vec<Shipped>,
    entries: Vec<Entry>,
    /// Where in `entries` a path stands.
    places: HashMap<EntryPath, usize>,
}

impl Tree {
    /// Places all members.
    pub(super) fn build(members: Vec<Member>, merge: &UsrMerge) -> Result<Self, TreeError> {
        let mut tree = Self::default();
        for member in members {
            tree.add(member, merge)?;
        }
        Ok(tree)
    }

    /// The entries of the tree and `more`, sorted and checked.
    pub(super) fn into_entries(mut self, more: Vec<Entry>) -> Result<Vec<Entry>, TreeError> {
        for entry in more {
            self.insert(entry)?;
        }
        self.entries.sort_by(|a, b| a.path.cmp(&b.path));
        check_parents(&self.entries)?;
        Ok(self.entries)
    }

    fn add(&mut self, member: Member, merge: &UsrMerge) -> Result<(), TreeError> {
        let name = shipped_name(&member.name).to_vec();
        if name.contains(&b'\n') {
            let shown = String::from_utf8_lossy(&name[..name.len().min(200)]).into_owned();
            return Err(TreeError::Newline(shown));
        }
        if name.is_empty() && member.kind == Kind::Directory {
            self.shipped.push(Shipped {
                path: name,
                content: None,
            });
            return Ok(());
        }
        let path = EntryPath::new(name.clone()).map_err(TreeError::Path)?;
        if path
            .as_bytes()
            .split(|&byte| byte == b'/')
            .any(|part| part.starts_with(b".wh."))
        {
            return Err(TreeError::Whiteout(path));
        }
        let mut content = None;
        let entry = if merge.is_merged_name(&path) && member.kind != Kind::Directory {
            merge_link(&path, &member, merge)?
        } else {
            let placed = merge.place(&path);
            let kind = self.kind(&placed, member.kind, merge, &mut content)?;
            let is_directory = matches!(kind, EntryKind::Directory);
            Entry {
                path: placed,
                kind,
                mode: member.mode,
                uid: member.uid,
                gid: member.gid,
                mtime: if is_directory {
                    REPRODUCIBLE_MTIME
                } else {
                    member.mtime
                },
                capability: member.capability,
            }
        };
        self.shipped.push(Shipped {
            path: name,
            content,
        });
        self.insert(entry)
    }

    fn kind(
        &self,
        path: &EntryPath,
        kind: Kind,
        merge: &UsrMerge,
        content: &mut Option<Bytes>,
    ) -> Result<EntryKind, TreeError> {
        Ok(match kind {
            Kind::Directory => EntryKind::Directory,
            Kind::File(bytes) => {
                *content = Some(bytes.clone());
                EntryKind::File(Payload::Plain(bytes))
            }
            Kind::Symlink(target)
                if target.is_empty() || target.len() > MAX_TARGET || target.contains(&0) =>
            {
                return Err(TreeError::Symlink(path.clone()));
            }
            Kind::Symlink(target) => EntryKind::Symlink(target),
            Kind::Hardlink(target) => {
                let (first, bytes) = EntryPath::new(shipped_name(&target))
                    .ok()
                    .and_then(|target| self.file(&merge.place(&target)))
                    .ok_or_else(|| TreeError::Hardlink {
                        path: path.clone(),
                        target: String::from_utf8_lossy(&target[..target.len().min(200)])
                            .into_owned(),
                    })?;
                *content = Some(bytes);
                EntryKind::Hardlink(first)
            }
        })
    }

    /// The bytes of all regular files by shipped path.
    pub(super) fn contents(&self) -> HashMap<&[u8], &Bytes> {
        let files = self.shipped.iter();
        files
            .filter_map(|shipped| Some((&shipped.path[..], shipped.content.as_ref()?)))
            .collect()
    }

    /// The file at a path or behind the hard link there: its own path and its bytes. Links are
    /// kept as links to the file itself, so this follows one link at most.
    fn file(&self, path: &EntryPath) -> Option<(EntryPath, Bytes)> {
        let entry = &self.entries[*self.places.get(path)?];
        match &entry.kind {
            EntryKind::File(Payload::Plain(bytes)) => Some((entry.path.clone(), bytes.clone())),
            EntryKind::Hardlink(first) if first != path => self.file(first),
            _ => None,
        }
    }

    /// Adds an entry. Directories fold as they do for dpkg: the first one stays as it is.
    fn insert(&mut self, entry: Entry) -> Result<(), TreeError> {
        if let Some(&place) = self.places.get(&entry.path) {
            let both = (&self.entries[place].kind, &entry.kind);
            return match both {
                (EntryKind::Directory, EntryKind::Directory) => Ok(()),
                _ => Err(TreeError::Duplicate(entry.path)),
            };
        }
        self.places.insert(entry.path.clone(), self.entries.len());
        self.entries.push(entry);
        Ok(())
    }
}

/// In sorted entries, whatever stands below a path follows it, perhaps after siblings such as
/// `path-x`, so one search for each link and file finds what would be written through it.
fn check_parents(entries: &[Entry]) -> Result<(), TreeError> {
    for entry in entries {
        if matches!(entry.kind, EntryKind::Directory) {
            continue;
        }
        let below = [entry.path.as_bytes(), b"/"].concat();
        let next = entries.partition_point(|other| other.path.as_bytes() < &below[..]);
        match entries.get(next) {
            Some(other) if other.path.as_bytes().starts_with(&below) => {
                return Err(TreeError::ThroughLink {
                    path: other.path.clone(),
                    link: entry.path.clone(),
                });
            }
            _ => {}
        }
    }
    Ok(())
}

/// `./usr/bin/` → `usr/bin`. What is not normal after that is refused by [`EntryPath`].
pub(super) fn shipped_name(name: &[u8]) -> &[u8] {
    let name = match name {
        b"." => b"",
        _ => name.strip_prefix(b"./").unwrap_or(name),
    };
    match name.iter().rposition(|&byte| byte != b'/') {
        Some(last) => &name[..=last],
        // Only slashes: `./` is the root, `/` is absolute.
        None if name.is_empty() => name,
        None => b"/",
    }
}

/// A package may ship the links of the merged `/usr`, in exactly the form of the table.
fn merge_link(path: &EntryPath, member: &Member, merge: &UsrMerge) -> Result<Entry, TreeError> {
    let target = merge.place(path).as_bytes().to_vec();
    if member.kind == Kind::Symlink(target.clone()) && (member.uid, member.gid) == (0, 0) {
        Ok(usr_merge::link_entry(path, target))
    } else {
        Err(TreeError::Merged(path.clone()))
    }
}
