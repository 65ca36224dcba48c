//! What a job changed: the difference of two views, the tree after the job and the layers.
//!
//! Only directories that other roots make up in one view than in the other can differ, and in
//! them only names that one of those roots has. So an overlay costs what was written to it, also
//! when the tree is compared with other layers than its own.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use kiln_layer::EntryPath;
use rustix::fs::FileType;

use super::{
    Change, ChangeKind, Changes, LayerTree, Owner, Owners, Snapshot, Spool, SymlinkOwners,
    TreeError, beneath, capability,
    compare::differ,
    error::Cause,
    scope::{Place, Scope, relative},
    view::{Forest, Node, NodeKind, Root, RootKind},
};

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
///
/// - Modification times are not compared: those of a layer are made up anyway.
/// - A directory is there if it is new or has another owner or mode. One that is removed is one
///   whiteout; one that is removed and made again is a whiteout for each name that it lost.
/// - Of the names of one file the first carries the content. Names that it had in the layers
///   below, and kept, do not count.
pub(crate) fn capture(capture: &Capture<'_>, spool: &mut Spool) -> Result<Changes, TreeError> {
    let Views {
        forest,
        now,
        before,
    } = Views::of(capture)?;
    let mut walk = Walk {
        forest: &forest,
        scope: Scope::new(capture.prefixes),
        mount_points: capture
            .mount_points
            .iter()
            .map(|path| relative(path))
            .collect(),
        left: vec![Directory {
            path: Vec::new(),
            now,
            before,
            group_of_new: None,
        }],
        found: Vec::new(),
        passed: BTreeMap::new(),
    };
    while let Some(directory) = walk.left.pop() {
        walk.directory(&directory)?;
    }
    let mut changes: Vec<Change> = Vec::new();
    // The number of the change that carries an inode with more names than one.
    let mut carriers = BTreeMap::new();
    let (found, parents) = walk.finish();
    for (path, node) in found {
        let Some(node) = node else {
            changes.push(removed(path));
            continue;
        };
        if node.kind == NodeKind::File && node.links > 1 {
            let carrier = *carriers
                .entry((node.root, node.inode))
                .or_insert(changes.len());
            if let Some(first) = changes.get(carrier) {
                changes.push(Change {
                    path,
                    kind: ChangeKind::Hardlink(first.path.clone()),
                    ..first.clone()
                });
                continue;
            }
        }
        changes.push(changed(&forest, path, &node, spool)?);
    }
    let parents = parents
        .into_iter()
        .map(|(path, node)| changed(&forest, path, &node, spool));
    Ok(Changes {
        parents: parents.collect::<Result<_, _>>()?,
        entries: changes,
    })
}

/// The tree after the job, and what it is compared with.
struct Views<'a> {
    forest: Forest<'a>,
    now: Vec<usize>,
    before: Vec<usize>,
}

impl<'a> Views<'a> {
    fn of(capture: &Capture<'a>) -> Result<Self, TreeError> {
        let layers = capture.layers;
        let compare = capture.compare.unwrap_or(layers);
        // First the layers in their order: a snapshot means them by their numbers.
        let mut all: Vec<&LayerTree> = layers.iter().collect();
        let before = compare.iter().rev().map(|layer| {
            let known = all.iter().position(|known| known.path == layer.path);
            known.unwrap_or_else(|| {
                all.push(layer);
                all.len() - 1
            })
        });
        let before = before.collect();
        let roots = all.into_iter().map(Root::of_layer);
        let mut roots = roots.collect::<Result<Vec<_>, _>>()?;
        let mut now = vec![roots.len()];
        match capture.tree {
            Tree::Overlay { upper } => {
                roots.push(Root::new(upper, RootKind::Upper(capture.symlinks))?);
                now.extend((0..layers.len()).rev());
            }
            Tree::Copy {
                directory,
                snapshot,
            } => {
                let kind = RootKind::Copy(snapshot, capture.symlinks);
                roots.push(Root::new(directory, kind)?);
            }
        }
        Ok(Self {
            forest: Forest {
                roots,
                owners: capture.owners,
            },
            now,
            before,
        })
    }
}

/// A path that differs, and what is there now.
type Found = (Vec<u8>, Option<Node>);

struct Walk<'f> {
    forest: &'f Forest<'f>,
    scope: Scope,
    mount_points: BTreeSet<Vec<u8>>,
    left: Vec<Directory>,
    found: Vec<Found>,
    /// Directories that do not differ, but something in them may.
    passed: BTreeMap<Vec<u8>, Node>,
}

/// A directory of either view.
struct Directory {
    path: Vec<u8>,
    /// The roots that make it up; none if it is no directory.
    now: Vec<usize>,
    before: Vec<usize>,
    group_of_new: Option<u32>,
}

impl Walk<'_> {
    fn directory(&mut self, directory: &Directory) -> Result<(), TreeError> {
        let Directory {
            path, now, before, ..
        } = directory;
        let now_open = self.forest.open(path, now, directory.group_of_new)?;
        let before_open = self.forest.open(path, before, None)?;
        let differing = differing(now, before);
        let mut names = BTreeSet::new();
        now_open
            .names(&differing, &mut names)
            .and_then(|()| before_open.names(&differing, &mut names))
            .map_err(TreeError::file("read", path))?;
        for name in names {
            let path = beneath::join(path, &name);
            let place = self.scope.place(&path);
            if place != Place::Outside {
                EntryPath::new(&path[..]).map_err(|error| TreeError::Path {
                    cause: Cause::of(&error),
                })?;
                let before = before_open.look(&name)?;
                self.name(path, place, now_open.look(&name)?, before.as_ref())?;
            }
        }
        Ok(())
    }

    fn name(
        &mut self,
        path: Vec<u8>,
        place: Place,
        now: Option<Node>,
        before: Option<&Node>,
    ) -> Result<(), TreeError> {
        let roots = |node: Option<&Node>| node.map_or(&[][..], Node::roots).to_vec();
        let directory = Directory {
            path,
            now: roots(now.as_ref()),
            before: roots(before),
            group_of_new: now.as_ref().and_then(Node::group_of_new),
        };
        let path = &directory.path;
        let is_directory = !directory.now.is_empty();
        let was_directory = !directory.before.is_empty();
        if place == Place::Inside && differ(self.forest, path, now.as_ref(), before)? {
            let is_made_to_mount = self.mount_points.contains(path) && before.is_none();
            if is_directory || !is_made_to_mount {
                self.found.push((path.clone(), now));
            }
        } else if let Some(now) = now
            && is_directory
        {
            self.passed.insert(path.clone(), now);
        }
        if directory.now != directory.before
            && (is_directory || (place == Place::Above && was_directory))
        {
            self.left.push(directory);
        }
        Ok(())
    }

    /// What was found, by path, without directories that were only made to mount something; and
    /// the directories above it that do not differ.
    fn finish(mut self) -> (Vec<Found>, BTreeMap<Vec<u8>, Node>) {
        let mut used = BTreeSet::new();
        for (path, _) in &self.found {
            if !self.mount_points.contains(path) {
                let mut above = beneath::split(path).0;
                while !above.is_empty() && used.insert(above.to_vec()) {
                    above = beneath::split(above).0;
                }
            }
        }
        let is_empty_mount_point =
            |path: &Vec<u8>| self.mount_points.contains(path) && !used.contains(path);
        self.found.retain(|(path, _)| !is_empty_mount_point(path));
        self.found.sort_by(|(a, _), (b, _)| a.cmp(b));
        self.passed.retain(|path, _| used.contains(path));
        (self.found, self.passed)
    }
}

/// The roots that are in only one of two lists. If the others are not in the same order, anything
/// may differ: then all.
fn differing(now: &[usize], before: &[usize]) -> Vec<usize> {
    let shared = |list: &[usize], other: &[usize]| -> Vec<usize> {
        list.iter()
            .copied()
            .filter(|root| other.contains(root))
            .collect()
    };
    let common = shared(now, before);
    let all = now.iter().chain(before).copied();
    if common == shared(before, now) {
        all.filter(|root| !common.contains(root)).collect()
    } else {
        all.collect()
    }
}

/// Describes what is at a path that differs, and spools its content.
fn changed(
    forest: &Forest<'_>,
    path: Vec<u8>,
    node: &Node,
    spool: &mut Spool,
) -> Result<Change, TreeError> {
    let mut capability = None;
    let kind = match &node.kind {
        NodeKind::Directory(_) => ChangeKind::Directory,
        NodeKind::Symlink => ChangeKind::Symlink(forest.link(node.root, &path)?),
        NodeKind::File => {
            let mut file = forest.file(node.root, &path)?;
            let mut read = || {
                capability = capability::get(&file)?;
                spool.append(&mut file)
            };
            read().map_err(TreeError::file("read", &path))?
        }
        NodeKind::Special(kind) => {
            return Err(TreeError::Special {
                path: String::from_utf8_lossy(&path).into_owned(),
                kind: noun(*kind).to_owned(),
            });
        }
    };
    Ok(Change {
        path,
        kind,
        mode: node.mode,
        owner: node.owner,
        capability,
    })
}

fn removed(path: Vec<u8>) -> Change {
    Change {
        path,
        kind: ChangeKind::Whiteout,
        mode: 0,
        owner: Owner::default(),
        capability: None,
    }
}

fn noun(kind: FileType) -> &'static str {
    match kind {
        FileType::CharacterDevice => "character device",
        FileType::BlockDevice => "block device",
        FileType::Fifo => "FIFO",
        FileType::Socket => "socket",
        _ => "file of an unknown kind",
    }
}
