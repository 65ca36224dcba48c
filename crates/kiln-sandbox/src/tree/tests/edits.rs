//! Whatever is done to a tree: what is captured, put on the layers, is the tree; and it is the
//! same however the tree was made and owners were kept.

use std::{
    collections::BTreeMap,
    fs,
    os::fd::AsFd as _,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, lchown, symlink},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use kiln_layer::{Entry, EntryKind, EntryPath, Payload, REPRODUCIBLE_MTIME};
use proptest::prelude::*;

use super::{Bench, Made, Way, in_namespace, model, ways_to_own};
use crate::Captured;
use crate::tree::{Owner, Owners, PartialOwner, beneath, capability, owners::record};

const OWNERS: [Owner; 3] = [
    Owner { uid: 0, gid: 0 },
    Owner { uid: 0, gid: 5 },
    Owner { uid: 7, gid: 8 },
];
/// `cap_net_raw` in version-2 form.
const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

#[derive(Debug, Clone)]
enum Edit {
    Write(String, String),
    Remove(String),
    /// Within one directory: a file that is moved to a directory that gives its group to new
    /// ones keeps its own, which records cannot tell.
    Rename(String, String),
    Link(String, String),
    Mkdir(String, u32),
    /// A directory that gives its group to new files.
    Shared(String, u32),
    Symlink(String, String),
    Chmod(String, u32),
    Chown(String, Owner),
    Setcap(String),
}

impl Edit {
    fn path(&self) -> &str {
        match self {
            Self::Write(path, _)
            | Self::Remove(path)
            | Self::Rename(path, _)
            | Self::Link(path, _)
            | Self::Mkdir(path, _)
            | Self::Shared(path, _)
            | Self::Symlink(path, _)
            | Self::Chmod(path, _)
            | Self::Chown(path, _)
            | Self::Setcap(path) => path,
        }
    }
}

fn name() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "b", "a.b", "c"]).prop_map(str::to_owned)
}

fn path() -> impl Strategy<Value = String> {
    prop::collection::vec(name(), 1..=3).prop_map(|names| names.join("/"))
}

fn owner() -> impl Strategy<Value = Owner> {
    prop::sample::select(&OWNERS)
}

fn content() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["", "one", "two", "three"]).prop_map(str::to_owned)
}

fn file_mode() -> impl Strategy<Value = u32> {
    prop::sample::select(vec![0o644, 0o755, 0o4755, 0o2755, 0o000])
}

fn directory_mode() -> impl Strategy<Value = u32> {
    prop::sample::select(vec![0o755, 0o755, 0o700, 0o1777, 0o2775, 0o000])
}

fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        3 => (path(), content()).prop_map(|(path, content)| Edit::Write(path, content)),
        3 => path().prop_map(Edit::Remove),
        2 => (path(), name()).prop_map(|(path, name)| Edit::Rename(path, name)),
        2 => (path(), name()).prop_map(|(path, name)| Edit::Link(path, name)),
        2 => (path(), prop::sample::select(vec![0o755, 0o700, 0o000]))
            .prop_map(|(path, mode)| Edit::Mkdir(path, mode)),
        1 => (path(), 5_u32..7).prop_map(|(path, gid)| Edit::Shared(path, gid)),
        1 => (path(), name()).prop_map(|(path, target)| Edit::Symlink(path, target)),
        2 => (path(), file_mode()).prop_map(|(path, mode)| Edit::Chmod(path, mode)),
        2 => (path(), owner()).prop_map(|(path, owner)| Edit::Chown(path, owner)),
        1 => path().prop_map(Edit::Setcap),
    ]
}

fn kind() -> impl Strategy<Value = EntryKind> {
    prop_oneof![
        3 => content().prop_map(|text| EntryKind::File(Payload::Plain(Bytes::from(text)))),
        3 => Just(EntryKind::Directory),
        1 => name().prop_map(|target| EntryKind::Symlink(target.into_bytes())),
        2 => Just(EntryKind::Whiteout),
        1 => path().prop_map(|target| EntryKind::Hardlink(EntryPath::new(target).unwrap())),
    ]
}

fn entry() -> impl Strategy<Value = Entry> {
    let modes = (file_mode(), directory_mode());
    (path(), kind(), modes, owner(), prop::bool::weighted(0.2)).prop_map(
        |(path, kind, (file_mode, directory_mode), owner, capable)| Entry {
            path: EntryPath::new(path).unwrap(),
            mode: match kind {
                EntryKind::Directory => directory_mode,
                EntryKind::Symlink(_) => 0o777,
                _ => file_mode,
            },
            capability: (capable && matches!(kind, EntryKind::File(_)))
                .then(|| CAPABILITY.to_vec()),
            kind,
            uid: owner.uid,
            gid: owner.gid,
            mtime: REPRODUCIBLE_MTIME,
        },
    )
}

/// Makes a layer of what was drawn: with parents, without what is below files, and with hard
/// links that have something to link to.
fn layer() -> impl Strategy<Value = Vec<Entry>> {
    prop::collection::vec(entry(), 0..12).prop_map(|drawn| {
        let mut layer: BTreeMap<EntryPath, Entry> = BTreeMap::new();
        for entry in drawn {
            let mut parents = Vec::new();
            let mut above = entry.path.parent();
            while let Some(parent) = above {
                above = parent.parent();
                parents.push(parent);
            }
            let is_file = |path| {
                layer
                    .get(path)
                    .is_some_and(|found| !matches!(found.kind, EntryKind::Directory))
            };
            let below = |other: &EntryPath| other.parent().as_ref() == Some(&entry.path);
            if parents.iter().any(is_file) || layer.keys().any(below) {
                continue;
            }
            for parent in parents {
                let directory = super::directory(&parent.to_string());
                layer.entry(parent).or_insert(directory);
            }
            layer.insert(entry.path.clone(), entry);
        }
        let files: BTreeMap<_, _> = layer
            .values()
            .filter(|entry| matches!(entry.kind, EntryKind::File(_)))
            .map(|entry| (entry.path.clone(), entry.clone()))
            .collect();
        layer
            .into_values()
            .filter_map(|entry| match &entry.kind {
                EntryKind::Hardlink(target) => {
                    let file = files.get(target).filter(|file| file.path < entry.path)?;
                    Some(Entry {
                        path: entry.path,
                        kind: entry.kind,
                        ..file.clone()
                    })
                }
                _ => Some(entry),
            })
            .collect()
    })
}

/// Layers without removals of what is not there: overlayfs lists the names of such removals where
/// it has nothing to merge.
fn without_idle_removals(mut layers: Vec<Vec<Entry>>) -> Vec<Vec<Entry>> {
    let mut base = model::Model::new();
    for layer in &mut layers {
        layer.retain(|entry| {
            !matches!(entry.kind, EntryKind::Whiteout) || base.contains_key(entry.path.as_bytes())
        });
        model::apply(&mut base, layer);
    }
    layers
}

impl Made {
    /// Edits the tree with plain calls. Those that fail do so in every tree.
    fn edit(&mut self, edit: &Edit) {
        let parent = self.tree.join(edit.path());
        let parent = parent.parent().unwrap();
        if !parent.canonicalize().is_ok_and(|path| path == parent) {
            return;
        }
        let at = |path: &str| self.tree.join(path);
        let is_directory =
            |path: &Path| fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir());
        let is_link = |path: &Path| path.is_symlink();
        match edit {
            Edit::Write(path, content) if !is_link(&at(path)) => {
                let _ = fs::write(at(path), content);
            }
            Edit::Remove(path) => {
                let _ = if is_directory(&at(path)) {
                    fs::remove_dir_all(at(path))
                } else {
                    fs::remove_file(at(path))
                };
            }
            // overlayfs cannot rename a directory of a layer, and what a layer says about the
            // owner of a symbolic link is lost when it gets another name.
            Edit::Rename(path, name) if !is_directory(&at(path)) && !is_link(&at(path)) => {
                let _ = fs::rename(at(path), at(path).with_file_name(name));
            }
            Edit::Link(path, name) if !is_link(&at(path)) => {
                let _ = fs::hard_link(at(path), at(path).with_file_name(name));
            }
            Edit::Write(..) | Edit::Rename(..) | Edit::Link(..) => {}
            Edit::Mkdir(path, mode) => {
                if fs::create_dir(at(path)).is_ok() {
                    let inherited = fs::metadata(at(path)).unwrap().mode() & 0o2000;
                    chmod(&at(path), mode | inherited);
                }
            }
            Edit::Shared(path, gid) => {
                let path = at(path);
                if fs::create_dir(&path).is_ok() {
                    let owner = Owner { uid: 0, gid: *gid };
                    self.chown(&path, owner);
                    chmod(&path, 0o2775);
                }
            }
            Edit::Symlink(path, target) => {
                let _ = symlink(target, at(path));
            }
            Edit::Chmod(path, mode) => {
                let path = at(path);
                // Which files a shared directory has given its group to is not known any more
                // when it has become an ordinary one.
                if path.is_file() && !is_link(&path) {
                    chmod(&path, *mode);
                }
            }
            Edit::Chown(path, owner) => {
                let path = at(path);
                let is_shared =
                    is_directory(&path) && fs::metadata(&path).unwrap().mode() & 0o2000 != 0;
                if fs::symlink_metadata(&path).is_ok() && !is_shared {
                    self.chown(&path, *owner);
                }
            }
            Edit::Setcap(path) => {
                let path = at(path);
                if path.is_file() && !is_link(&path) {
                    capability::set(fs::File::open(path).unwrap(), &CAPABILITY).unwrap();
                }
            }
        }
    }

    fn chown(&mut self, path: &PathBuf, owner: Owner) {
        if self.owners == Owners::Mapped {
            return lchown(path, Some(owner.uid), Some(owner.gid)).unwrap();
        }
        // The kernel does what it does when an owner changes: copy up, clear mode bits.
        lchown(path, Some(0), Some(0)).unwrap();
        let owner = PartialOwner::from(owner);
        if path.is_symlink() {
            let relative = path.strip_prefix(&self.tree).unwrap();
            let written = beneath::root(&self.written).unwrap();
            let relative = relative.as_os_str().as_encoded_bytes();
            self.symlinks.record(&written, relative, owner).unwrap();
        } else {
            let parent = beneath::root(path.parent().unwrap()).unwrap();
            let name = path.file_name().unwrap().as_encoded_bytes();
            record(beneath::open(parent.as_fd(), name).unwrap(), owner).unwrap();
        }
    }
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Everything about entries, in a form that can be compared.
fn told(entries: &[Entry]) -> Vec<String> {
    entries.iter().map(|entry| format!("{entry:?}")).collect()
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: ProptestConfig::default().cases / 8,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    // Run by the test below.
    #[test]
    #[ignore = "needs a mount namespace"]
    fn property(
        layers in prop::collection::vec(layer(), 1..4),
        edits in prop::collection::vec(edit(), 0..12),
        left_out in 0_usize..4,
    ) {
        let layers = without_idle_removals(layers);
        let mut first: Option<(Vec<Entry>, Vec<Entry>)> = None;
        for owners in ways_to_own() {
            for way in [Way::Overlay, Way::Copy] {
                let bench = Bench::new(owners);
                let trees: Vec<_> = layers.iter().map(|layer| bench.unpack(layer).unwrap()).collect();
                // Equal layers are one directory, which overlayfs takes once.
                let mut distinct = trees.clone();
                distinct.dedup();
                prop_assume!(distinct.len() == trees.len());
                prop_assume!(trees.iter().enumerate().all(|(at, tree)| !trees[..at].contains(tree)));
                let mut compare = trees.clone();
                if left_out < compare.len() {
                    compare.remove(left_out);
                }
                let mut made = Made::new(&bench, way, trees);

                let mut base = model::Model::new();
                for layer in &layers {
                    model::apply(&mut base, layer);
                }
                if owners == Owners::Mapped {
                    prop_assert_eq!(&model::read(&made.tree), &base, "{:?} before", way);
                }
                for edit in &edits {
                    made.edit(edit);
                }
                let after = model::read(&made.tree);

                let Captured { entries: found, parents } =
                    made.captured_below(None, &[], &[]).unwrap();
                let mut complete = [&found[..], &parents].concat();
                complete.sort_by(|a, b| a.path.cmp(&b.path));
                for entry in &complete {
                    if let Some(parent) = entry.path.parent() {
                        let at = complete.binary_search_by(|other| other.path.cmp(&parent));
                        prop_assert!(at.is_ok(), "the parents of {:?} are missing", entry.path);
                    }
                }
                let against = made.captured(Some(&compare)).unwrap();
                if owners == Owners::Mapped {
                    model::apply(&mut base, &complete);
                    prop_assert_eq!(&base, &after, "{:?}", way);
                    let mut base = model::Model::new();
                    for (number, layer) in layers.iter().enumerate() {
                        if number != left_out {
                            model::apply(&mut base, layer);
                        }
                    }
                    model::apply(&mut base, &against);
                    prop_assert_eq!(&base, &after, "{:?} against other layers", way);
                }
                match &first {
                    None => first = Some((complete, against)),
                    Some((first, first_against)) => {
                        prop_assert_eq!(told(first), told(&complete), "{:?} {:?}", way, owners);
                        let (a, b) = (told(first_against), told(&against));
                        prop_assert_eq!(a, b, "{:?} {:?} against other layers", way, owners);
                    }
                }
            }
        }
    }
}

#[test]
fn what_is_captured_is_what_was_done_however_the_tree_was_made() {
    let name = "tree::tests::edits::what_is_captured_is_what_was_done_however_the_tree_was_made";
    in_namespace(name, || {
        property();
    });
}
