//! Trees as maps: an implementation of layers that is too simple to be wrong.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    path::Path,
};

use kiln_layer::{Entry, EntryKind, Payload};

use crate::tree::capability;

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    Directory,
    File(Vec<u8>),
    Symlink(Vec<u8>),
}

/// All that is captured of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) kind: Kind,
    /// 0 for a symbolic link.
    pub(super) mode: u32,
    pub(super) owner: (u32, u32),
    pub(super) capability: Option<Vec<u8>>,
}

pub(super) type Model = BTreeMap<Vec<u8>, Node>;

/// Puts a layer on a tree.
pub(super) fn apply(model: &mut Model, layer: &[Entry]) {
    for entry in layer {
        let path = entry.path.as_bytes();
        let kind = match &entry.kind {
            EntryKind::Whiteout => {
                remove(model, path);
                continue;
            }
            EntryKind::Directory => Kind::Directory,
            EntryKind::File(payload) => Kind::File(content(payload)),
            EntryKind::Symlink(target) => Kind::Symlink(target.clone()),
            EntryKind::Hardlink(target) => model[target.as_bytes()].kind.clone(),
        };
        let is_directory = |node: &Node| node.kind == Kind::Directory;
        if kind != Kind::Directory || !model.get(path).is_some_and(is_directory) {
            remove(model, path);
        }
        let is_link = matches!(kind, Kind::Symlink(_));
        let node = Node {
            kind,
            mode: if is_link { 0 } else { entry.mode },
            owner: (entry.uid, entry.gid),
            capability: entry.capability.clone(),
        };
        model.insert(path.to_vec(), node);
    }
}

fn remove(model: &mut Model, path: &[u8]) {
    let below = [path, b"/"].concat();
    model.retain(|other, _| other != path && !other.starts_with(&below));
}

fn content(payload: &Payload) -> Vec<u8> {
    match payload {
        Payload::Plain(bytes) => bytes.to_vec(),
        Payload::Deflated { .. } => panic!("nothing here is deflated"),
    }
}

/// Reads a tree with plain calls.
pub(super) fn read(root: &Path) -> Model {
    let mut model = Model::new();
    let mut left = vec![root.to_path_buf()];
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let metadata = fs::symlink_metadata(&path).unwrap();
            let mut capability = None;
            let kind = if metadata.is_dir() {
                left.push(path.clone());
                Kind::Directory
            } else if metadata.is_symlink() {
                Kind::Symlink(
                    fs::read_link(&path)
                        .unwrap()
                        .as_os_str()
                        .as_bytes()
                        .to_vec(),
                )
            } else {
                capability = capability::get(fs::File::open(&path).unwrap()).unwrap();
                Kind::File(fs::read(&path).unwrap())
            };
            let node = Node {
                mode: if metadata.is_symlink() {
                    0
                } else {
                    metadata.mode() & 0o7777
                },
                kind,
                owner: (metadata.uid(), metadata.gid()),
                capability,
            };
            let relative = path.strip_prefix(root).unwrap();
            model.insert(relative.as_os_str().as_bytes().to_vec(), node);
        }
    }
    model
}
