//! The merged `/usr`: top-level directories that are links into `/usr`.

use kiln_layer::{Entry, EntryKind, EntryPath, REPRODUCIBLE_MTIME};

/// The names of the top-level directories that a suite has merged into `/usr`, such as `bin` and
/// `lib64`. A package may ship `lib/x`; its file goes to `usr/lib/x`, where dpkg would put it by
/// following the link `lib → usr/lib`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UsrMerge(pub Vec<String>);

impl UsrMerge {
    /// Where a path goes. `bin` itself becomes `usr/bin`: packages ship it as a directory.
    pub fn place(&self, path: &EntryPath) -> EntryPath {
        let first = first_component(path.as_bytes());
        if !self.contains(first) {
            return path.clone();
        }
        let placed = [b"usr/", path.as_bytes()].concat();
        // Only the length can be wrong, and such a path could not be opened either.
        EntryPath::new(placed).unwrap_or_else(|_| path.clone())
    }

    /// Whether `path` is one of the merged names itself.
    pub(super) fn is_merged_name(&self, path: &EntryPath) -> bool {
        self.contains(path.as_bytes())
    }

    fn contains(&self, name: &[u8]) -> bool {
        self.0.iter().any(|merged| merged.as_bytes() == name)
    }
}

fn first_component(path: &[u8]) -> &[u8] {
    path.split(|&byte| byte == b'/').next().unwrap_or(path)
}

/// The directories below `usr` and the links to them, sorted by path. A package that ships the
/// links itself (Debian's `base-files` since trixie) has entries equal to these, so they fold.
pub fn usr_merge_links(merge: &UsrMerge) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    for name in &merge.0 {
        let Ok(link) = EntryPath::new(name.as_bytes()) else {
            continue;
        };
        let target = merge.place(&link);
        entries.push(link_entry(&link, target.as_bytes().to_vec()));
        entries.push(Entry {
            kind: EntryKind::Directory,
            mode: 0o755,
            ..link_entry(&target, Vec::new())
        });
    }
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    entries.dedup_by(|a, b| a.path == b.path);
    entries
}

/// The one form of a merge link, whoever ships it.
pub(super) fn link_entry(path: &EntryPath, target: Vec<u8>) -> Entry {
    Entry {
        path: path.clone(),
        kind: EntryKind::Symlink(target),
        mode: 0o777,
        uid: 0,
        gid: 0,
        mtime: REPRODUCIBLE_MTIME,
        capability: None,
    }
}
