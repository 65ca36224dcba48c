//! The tree of a job as a copy of its layers, for machines that do not let us mount overlayfs.
//!
//! Files share their blocks with the layers where the file system can do that. Names of one file
//! (hard links) become files of their own, because that is what overlayfs makes of them as soon
//! as one is written to.
//!
//! What a job touched is told by the inode and the time of its last change: what has neither
//! changed is still the layer's, and its content need not be read.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
    thread,
    time::Duration,
};

use rustix::{
    fs::{self, AtFlags, Mode, OFlags, Stat},
    time::{ClockId, clock_gettime},
};

use super::{
    LayerTree, Owners, TreeError, beneath, capability,
    metadata::{Metadata, set_time},
    view::{Forest, Node, NodeKind, Root},
};

/// What a copy was when it was made: tells what a job touched.
#[derive(Debug, Default)]
pub(crate) struct Snapshot(BTreeMap<Vec<u8>, Copied>);

/// A file that was copied.
#[derive(Debug)]
struct Copied {
    /// Which layer it is from.
    layer: usize,
    inode: u64,
    changed: (i64, u64),
}

impl Snapshot {
    /// The layer that a path is from, if it is still as it was copied.
    pub(super) fn untouched(&self, path: &[u8], stat: &Stat) -> Option<usize> {
        let copied = self.0.get(path)?;
        let same = copied.inode == stat.st_ino && copied.changed == changed(stat);
        same.then_some(copied.layer)
    }
}

fn changed(stat: &Stat) -> (i64, u64) {
    (stat.st_ctime, stat.st_ctime_nsec)
}

/// Copies the layers (bottom first) as one tree into the empty directory `target`.
pub(crate) fn copy_layers(
    layers: &[LayerTree],
    target: &Path,
    owners: Owners,
) -> Result<Snapshot, TreeError> {
    let roots = layers
        .iter()
        .map(Root::of_layer)
        .collect::<Result<_, _>>()?;
    let forest = Forest { roots, owners };
    let mut copier = Copier {
        forest: &forest,
        target: beneath::root(target)?,
        snapshot: BTreeMap::new(),
        times: Vec::new(),
        left: vec![Directory {
            path: Vec::new(),
            roots: (0..layers.len()).rev().collect(),
            group_of_new: None,
        }],
    };
    fs::chmodat(
        &copier.target,
        ".",
        Mode::from_raw_mode(0o755),
        AtFlags::empty(),
    )
    .map_err(|error| TreeError::file("prepare", "/")(error.into()))?;
    while let Some(directory) = copier.left.pop() {
        copier.directory(&directory)?;
    }
    copier.finish()
}

struct Copier<'f> {
    forest: &'f Forest<'f>,
    target: OwnedFd,
    snapshot: BTreeMap<Vec<u8>, Copied>,
    /// Modification times of directories.
    times: Vec<(Vec<u8>, i64)>,
    left: Vec<Directory>,
}

/// A directory whose content is still to be copied.
struct Directory {
    path: Vec<u8>,
    roots: Vec<usize>,
    group_of_new: Option<u32>,
}

impl Copier<'_> {
    fn directory(&mut self, directory: &Directory) -> Result<(), TreeError> {
        let Directory { path, roots, .. } = directory;
        let from = self.forest.open(path, roots, None)?;
        let to = beneath::directory(self.target.as_fd(), path);
        let to = to.map_err(TreeError::file("open", path))?;
        let mut names = BTreeSet::new();
        from.names(roots, &mut names)
            .map_err(TreeError::file("read", path))?;
        for name in names {
            if let Some(node) = from.look(&name)? {
                let path = beneath::join(path, &name);
                self.node(directory, &node, to.as_fd(), &name, path)?;
            }
        }
        Ok(())
    }

    fn node(
        &mut self,
        directory: &Directory,
        node: &Node,
        to: BorrowedFd<'_>,
        name: &[u8],
        path: Vec<u8>,
    ) -> Result<(), TreeError> {
        let owners = self.forest.owners;
        let in_setgid = directory.group_of_new.is_some();
        let mut metadata = Metadata {
            owner: owners.must_say(node.owner, in_setgid).then_some(node.owner),
            mode: node.mode,
            capability: None,
            mtime: node.mtime,
        };
        let made = match &node.kind {
            NodeKind::Directory(roots) => {
                let make = || {
                    fs::mkdirat(to, name, Mode::RWXU)?;
                    metadata.apply_to_directory(to, name, owners)
                };
                make().map_err(TreeError::file("copy", &path))?;
                self.times.push((path.clone(), node.mtime));
                self.left.push(Directory {
                    path,
                    roots: roots.clone(),
                    group_of_new: node.group_of_new(),
                });
                return Ok(());
            }
            NodeKind::File => {
                let mut from = self.forest.file(node.root, &path)?;
                let mut copy = || {
                    // Who is another user than 0 and the only one, as with a program of people,
                    // cannot give files capabilities; and nothing is captured there.
                    if rustix::process::geteuid().is_root() {
                        metadata.capability = capability::get(&from)?;
                    }
                    copy_file(&mut from, to, name, &metadata, owners)
                };
                copy()
            }
            NodeKind::Symlink => {
                let link = self.forest.link(node.root, &path)?;
                let make = || {
                    fs::symlinkat(&link, to, name)?;
                    metadata.apply_to_symlink(to, name, owners)
                };
                make()
            }
            // Unpacking makes none.
            NodeKind::Special(_) => return Ok(()),
        };
        let stat = made.and_then(|()| Ok(fs::statat(to, name, AtFlags::SYMLINK_NOFOLLOW)?));
        let stat = stat.map_err(TreeError::file("copy", &path))?;
        let copied = Copied {
            layer: node.root,
            inode: stat.st_ino,
            changed: changed(&stat),
        };
        self.snapshot.insert(path, copied);
        Ok(())
    }

    fn finish(self) -> Result<Snapshot, TreeError> {
        for (path, mtime) in &self.times {
            let (directory, name) = beneath::parent(self.target.as_fd(), path)?;
            set_time(directory.as_fd(), name, *mtime).map_err(TreeError::file("copy", path))?;
        }
        // The clock of the file system ticks a few hundred times in a second: a change within
        // the tick of the copy would go unnoticed.
        let latest = self.snapshot.values().map(|copied| copied.changed).max();
        while latest.is_some_and(|latest| latest >= now()) {
            thread::sleep(Duration::from_millis(1));
        }
        Ok(Snapshot(self.snapshot))
    }
}

/// The time that a file would get that is changed now.
fn now() -> (i64, u64) {
    let now = clock_gettime(ClockId::RealtimeCoarse);
    (now.tv_sec, u64::try_from(now.tv_nsec).unwrap_or_default())
}

fn copy_file(
    from: &mut File,
    to: BorrowedFd<'_>,
    name: &[u8],
    metadata: &Metadata,
    owners: Owners,
) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let mut copy = File::from(fs::openat(to, name, flags, Mode::RUSR | Mode::WUSR)?);
    if fs::ioctl_ficlone(&copy, &*from).is_err() {
        // The kernel copies, without a way through our memory.
        io::copy(from, &mut copy)?;
    }
    metadata.apply(&copy, owners)
}
