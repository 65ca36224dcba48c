//! Where files go: the paths of a virtual environment, and the entries that stand there.

use std::collections::{BTreeMap, btree_map};

use kiln_layer::{Entry, EntryKind, EntryPath, Payload, REPRODUCIBLE_MTIME};

use super::WheelError;

/// Where an environment is, for which Python, and who owns its files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// The environment's directory, such as `opt/app-root`. ASCII letters, digits and `/._+-`.
    pub prefix: EntryPath,
    /// Major and minor version of Python.
    pub python: (u8, u8),
    /// Owner of every entry.
    pub uid: u32,
    /// Group of every entry.
    pub gid: u32,
    /// Mode of directories, such as `0o775`.
    pub directory_mode: u32,
    /// Mode of files, such as `0o664`.
    pub file_mode: u32,
    /// Mode of executable files, such as `0o775`.
    pub executable_mode: u32,
}

impl Placement {
    /// The absolute path of the Python that launchers and scripts name:
    /// `/opt/app-root/bin/python3.11`. So pip spells it in an environment that
    /// `python3.11 -m venv` made.
    pub fn interpreter(&self) -> String {
        let (major, minor) = self.python;
        format!("/{}/bin/python{major}.{minor}", self.prefix)
    }

    /// The directory of pure and of platform packages, below the prefix:
    /// `lib/python3.11/site-packages`. Python as Debian builds it has one directory for both.
    pub fn site_packages(&self) -> String {
        let (major, minor) = self.python;
        format!("lib/python{major}.{minor}/site-packages")
    }

    /// What makes the directory an environment, below the prefix: no wheel may replace it.
    pub(super) fn own_paths(&self) -> [String; 5] {
        let (major, minor) = self.python;
        [
            "bin/python".to_owned(),
            "bin/python3".to_owned(),
            format!("bin/python{major}.{minor}"),
            "lib64".to_owned(),
            "pyvenv.cfg".to_owned(),
        ]
    }

    pub(super) fn check(&self) -> Result<(), WheelError> {
        let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._+-".contains(byte);
        if self.prefix.as_bytes().iter().all(is_plain) {
            Ok(())
        } else {
            Err(WheelError::Prefix(self.prefix.to_string()))
        }
    }
}

/// Entries below one prefix, each at its own path, with all their parents from the prefix on.
pub(super) struct Tree<'a> {
    placement: &'a Placement,
    entries: BTreeMap<EntryPath, Entry>,
}

impl<'a> Tree<'a> {
    pub(super) fn new(placement: &'a Placement) -> Result<Self, WheelError> {
        placement.check()?;
        let mut tree = Self {
            placement,
            entries: BTreeMap::new(),
        };
        tree.directory_at(placement.prefix.clone())?;
        Ok(tree)
    }

    /// A file at `path` below the prefix.
    pub(super) fn file(
        &mut self,
        path: &str,
        payload: Payload,
        is_executable: bool,
    ) -> Result<(), WheelError> {
        let mode = if is_executable {
            self.placement.executable_mode
        } else {
            self.placement.file_mode
        };
        self.insert(path, EntryKind::File(payload), mode)
    }

    /// A symbolic link at `path` below the prefix. Its mode is what every link has on Linux.
    pub(super) fn symlink(&mut self, path: &str, target: &str) -> Result<(), WheelError> {
        self.insert(path, EntryKind::Symlink(target.into()), 0o777)
    }

    /// A directory at `path` below the prefix.
    pub(super) fn directory(&mut self, path: &str) -> Result<(), WheelError> {
        self.directory_at(self.placement.prefix.join(path.as_bytes())?)
    }

    /// Whether something stands at `path` below the prefix.
    pub(super) fn holds(&self, path: &str) -> bool {
        let path = self.placement.prefix.join(path.as_bytes());
        path.is_ok_and(|path| self.entries.contains_key(&path))
    }

    /// All entries, sorted by path.
    pub(super) fn into_entries(self) -> Vec<Entry> {
        self.entries.into_values().collect()
    }

    fn insert(&mut self, path: &str, kind: EntryKind, mode: u32) -> Result<(), WheelError> {
        let path = self.placement.prefix.join(path.as_bytes())?;
        if let Some(parent) = path.parent() {
            self.directory_at(parent)?;
        }
        let entry = self.entry(path.clone(), kind, mode);
        match self.entries.entry(path) {
            btree_map::Entry::Vacant(vacant) => {
                vacant.insert(entry);
                Ok(())
            }
            btree_map::Entry::Occupied(occupied) => {
                Err(WheelError::Collision(format!("/{}", occupied.key())))
            }
        }
    }

    /// The directory and its parents from the prefix on.
    fn directory_at(&mut self, path: EntryPath) -> Result<(), WheelError> {
        let mut missing = Some(path);
        while let Some(path) = missing {
            match self.entries.get(&path).map(|entry| &entry.kind) {
                Some(EntryKind::Directory) => break,
                Some(_) => return Err(WheelError::Collision(format!("/{path}"))),
                None => {}
            }
            missing = if path == self.placement.prefix {
                None
            } else {
                path.parent()
            };
            let mode = self.placement.directory_mode;
            let entry = self.entry(path.clone(), EntryKind::Directory, mode);
            self.entries.insert(path, entry);
        }
        Ok(())
    }

    fn entry(&self, path: EntryPath, kind: EntryKind, mode: u32) -> Entry {
        Entry {
            path,
            kind,
            mode,
            uid: self.placement.uid,
            gid: self.placement.gid,
            mtime: REPRODUCIBLE_MTIME,
            capability: None,
        }
    }
}

/// `path` as seen from the directory `from`; both are normal and relative to one directory.
pub(super) fn relative(path: &str, from: &str) -> String {
    let path: Vec<&str> = path.split('/').collect();
    let from: Vec<&str> = from.split('/').collect();
    let common = path.iter().zip(&from).take_while(|(a, b)| a == b).count();
    let mut parts = vec![".."; from.len() - common];
    parts.extend(&path[common..]);
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn placement(prefix: &str) -> Placement {
        Placement {
            prefix: EntryPath::new(prefix).unwrap(),
            python: (3, 11),
            uid: 1001,
            gid: 0,
            directory_mode: 0o775,
            file_mode: 0o664,
            executable_mode: 0o775,
        }
    }

    fn empty() -> Payload {
        Payload::Plain(Bytes::new())
    }

    #[test]
    fn parents_are_listed_from_the_prefix_on() {
        let placement = placement("opt/app-root");
        let mut tree = Tree::new(&placement).unwrap();
        tree.file("a/b/c", empty(), false).unwrap();
        tree.file("a/d", empty(), true).unwrap();
        let listed: Vec<_> = tree
            .into_entries()
            .into_iter()
            .map(|entry| (entry.path.to_string(), entry.mode, entry.uid))
            .collect();
        let path = |path: &str| format!("opt/app-root{path}");
        assert_eq!(
            listed,
            [
                (path(""), 0o775, 1001),
                (path("/a"), 0o775, 1001),
                (path("/a/b"), 0o775, 1001),
                (path("/a/b/c"), 0o664, 1001),
                (path("/a/d"), 0o775, 1001),
            ]
        );
    }

    #[test]
    fn one_path_holds_one_thing() {
        let placement = placement("p");
        let mut tree = Tree::new(&placement).unwrap();
        tree.file("a", empty(), false).unwrap();
        for clash in [
            tree.file("a", empty(), false),
            tree.file("a/b", empty(), false),
        ] {
            assert!(matches!(clash, Err(WheelError::Collision(path)) if path == "/p/a"));
        }
        tree.file("d/e", empty(), false).unwrap();
        assert!(tree.file("d", empty(), false).is_err());
        tree.directory("d").unwrap();
    }

    #[test]
    fn prefixes_that_need_quoting_are_refused() {
        for prefix in ["opt/a b", "opt/$x", "opt/a'b", "opt/é", "opt/a\nb"] {
            assert!(Tree::new(&placement(prefix)).is_err(), "{prefix}");
        }
    }

    #[test]
    fn relative_paths_climb_only_as_far_as_needed() {
        let site = "lib/python3.11/site-packages";
        assert_eq!(relative("lib/python3.11/site-packages/a/b", site), "a/b");
        assert_eq!(relative("bin/x", site), "../../../bin/x");
        assert_eq!(relative("lib/python3.11/x", site), "../x");
        assert_eq!(relative("lib64/x", site), "../../../lib64/x");
    }
}
