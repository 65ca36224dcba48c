//! Directories on top of each other, seen as overlayfs sees them.
//!
//! A [`Forest`] holds the roots that a capture concerns: layer directories, and the directory
//! that a job wrote into. A view is a list of roots, topmost first. At each directory of a view it
//! suffices to know which roots make it up: those in which it is a directory, as far down as
//! nothing hides it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use rustix::{
    fs::{self, AtFlags, FileType, Stat},
    io::Errno,
};

use super::{
    LayerTree, Owner, Owners, PartialOwner, Snapshot, SymlinkOwners, TreeError, beneath, owners,
};

/// Marks a directory that hides what is below it. Unprivileged mounts use the first.
pub(super) const OPAQUE: &str = "user.overlay.opaque";
const OPAQUE_PRIVILEGED: &str = "trusted.overlay.opaque";

/// Whether this is overlayfs's mark for a path that was removed.
pub(super) fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

/// A directory tree that may be part of views.
pub(super) struct Root<'a> {
    pub(super) fd: OwnedFd,
    pub(super) kind: RootKind<'a>,
}

pub(super) enum RootKind<'a> {
    /// A layer, and the owners of its symbolic links where they are not on disk.
    Layer(&'a BTreeMap<Vec<u8>, Owner>),
    /// The upper directory of an overlay.
    Upper(&'a SymlinkOwners),
    /// A copy of layers, in which a job wrote. What the job did not touch counts as the layer's.
    Copy(&'a Snapshot, &'a SymlinkOwners),
}

impl<'a> Root<'a> {
    pub(super) fn of_layer(layer: &'a LayerTree) -> Result<Self, TreeError> {
        let kind = RootKind::Layer(&layer.symlinks);
        Self::new(&layer.path, kind)
    }

    pub(super) fn new(path: &Path, kind: RootKind<'a>) -> Result<Self, TreeError> {
        let fd = beneath::root(path)?;
        Ok(Self { fd, kind })
    }
}

/// The roots, and how the owners of what they hold are kept.
pub(super) struct Forest<'a> {
    pub(super) roots: Vec<Root<'a>>,
    pub(super) owners: Owners,
}

/// What is at a path of a view.
#[derive(Debug, Clone)]
pub(super) struct Node {
    /// In which root it is.
    pub(super) root: usize,
    pub(super) kind: NodeKind,
    /// The twelve permission bits.
    pub(super) mode: u32,
    pub(super) owner: Owner,
    pub(super) size: u64,
    pub(super) mtime: i64,
    pub(super) inode: u64,
    /// How many names the inode has.
    pub(super) links: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NodeKind {
    /// A directory, and the roots that make it up, topmost first.
    Directory(Vec<usize>),
    File,
    Symlink,
    /// A device, a FIFO, a socket.
    Special(FileType),
}

impl Node {
    /// The roots that make up the directory; none if it is something else.
    pub(super) fn roots(&self) -> &[usize] {
        match &self.kind {
            NodeKind::Directory(roots) => roots,
            _ => &[],
        }
    }

    /// The group that the directory gives to new files.
    pub(super) fn group_of_new(&self) -> Option<u32> {
        const SETGID: u32 = 0o2000;
        (self.mode & SETGID != 0).then_some(self.owner.gid)
    }
}

/// A directory of a view, open.
pub(super) struct OpenDirectory<'f> {
    forest: &'f Forest<'f>,
    path: Vec<u8>,
    /// The roots that make it up, topmost first.
    open: Vec<(usize, OwnedFd)>,
    /// The group of new files, if it is not that of who makes them.
    group_of_new: Option<u32>,
}

impl Forest<'_> {
    /// Opens the directory that these roots make up at `path`.
    pub(super) fn open<'f>(
        &'f self,
        path: &[u8],
        roots: &[usize],
        group_of_new: Option<u32>,
    ) -> Result<OpenDirectory<'f>, TreeError> {
        let open = |&root: &usize| {
            let directory = beneath::directory(self.roots[root].fd.as_fd(), path)?;
            Ok((root, directory))
        };
        let open: io::Result<_> = roots.iter().map(open).collect();
        Ok(OpenDirectory {
            forest: self,
            path: path.to_vec(),
            open: open.map_err(TreeError::file("open", path))?,
            group_of_new,
        })
    }

    /// Opens the file at `path` in a root to read it.
    pub(super) fn file(&self, root: usize, path: &[u8]) -> Result<File, TreeError> {
        let (directory, name) = beneath::parent(self.roots[root].fd.as_fd(), path)?;
        let file = beneath::open(directory.as_fd(), name);
        Ok(file.map_err(TreeError::file("open", path))?.into())
    }

    /// Where the symbolic link at `path` in a root points.
    pub(super) fn link(&self, root: usize, path: &[u8]) -> Result<Vec<u8>, TreeError> {
        let (directory, name) = beneath::parent(self.roots[root].fd.as_fd(), path)?;
        let target = fs::readlinkat(directory, name, Vec::new());
        let target = target.map_err(|error| TreeError::file("read", path)(error.into()))?;
        Ok(target.into_bytes())
    }
}

impl OpenDirectory<'_> {
    /// The names in those directories that are in `roots`. Not all of them must be visible.
    pub(super) fn names(&self, roots: &[usize], to: &mut BTreeSet<Vec<u8>>) -> io::Result<()> {
        for (root, directory) in &self.open {
            if roots.contains(root) {
                super::remove::for_each_name(directory.as_fd(), |name, _| {
                    to.insert(name.to_vec());
                    Ok(())
                })?;
            }
        }
        Ok(())
    }

    /// What is at a name in this directory.
    pub(super) fn look(&self, name: &[u8]) -> Result<Option<Node>, TreeError> {
        let path = beneath::join(&self.path, name);
        self.find(name, &path)
            .map_err(TreeError::file("inspect", &path))
    }

    fn find(&self, name: &[u8], path: &[u8]) -> io::Result<Option<Node>> {
        let mut found: Option<Node> = None;
        let mut roots = Vec::new();
        for (index, (root, directory)) in self.open.iter().enumerate() {
            let stat = match fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => stat,
                Err(Errno::NOENT) => continue,
                Err(error) => return Err(error.into()),
            };
            let marks = !matches!(self.forest.roots[*root].kind, RootKind::Copy(..));
            if marks && is_whiteout(&stat) {
                break;
            }
            let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
            if found.is_none() {
                let node = self.node(*root, directory.as_fd(), name, path, &stat)?;
                if !is_directory {
                    return Ok(Some(node));
                }
                found = Some(node);
            } else if !is_directory {
                break;
            }
            roots.push(*root);
            let is_last = index + 1 == self.open.len();
            if marks && !is_last && is_opaque(directory.as_fd(), name)? {
                break;
            }
        }
        Ok(found.map(|node| Node {
            kind: NodeKind::Directory(roots),
            ..node
        }))
    }

    fn node(
        &self,
        root: usize,
        directory: BorrowedFd<'_>,
        name: &[u8],
        path: &[u8],
        stat: &Stat,
    ) -> io::Result<Node> {
        if let RootKind::Copy(snapshot, _) = &self.forest.roots[root].kind
            && let Some(layer) = snapshot.untouched(path, stat)
        {
            let (parent, name) = beneath::split(path);
            let directory = beneath::directory(self.forest.roots[layer].fd.as_fd(), parent)?;
            let stat = fs::statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
            return self.node(layer, directory.as_fd(), name, path, &stat);
        }
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => NodeKind::Directory(Vec::new()),
            FileType::RegularFile => NodeKind::File,
            FileType::Symlink => NodeKind::Symlink,
            other => NodeKind::Special(other),
        };
        let owner = match self.forest.owners {
            Owners::Mapped => Owner {
                uid: stat.st_uid,
                gid: stat.st_gid,
            },
            Owners::Recorded => self.recorded(root, directory, name, path, &kind)?,
        };
        Ok(Node {
            root,
            kind,
            mode: stat.st_mode & 0o7777,
            owner,
            size: u64::try_from(stat.st_size).unwrap_or_default(),
            mtime: stat.st_mtime,
            inode: stat.st_ino,
            links: stat.st_nlink,
        })
    }

    /// The owner of a file, where owners are recorded.
    fn recorded(
        &self,
        root: usize,
        directory: BorrowedFd<'_>,
        name: &[u8],
        path: &[u8],
        kind: &NodeKind,
    ) -> io::Result<Owner> {
        let on_disk = match kind {
            NodeKind::File | NodeKind::Directory(_) => {
                owners::recorded(beneath::open(directory, name)?)?
            }
            NodeKind::Symlink | NodeKind::Special(_) => PartialOwner::default(),
        };
        Ok(match &self.forest.roots[root].kind {
            RootKind::Layer(symlinks) => match symlinks.get(path) {
                Some(owner) => *owner,
                None => on_disk.complete(0),
            },
            RootKind::Upper(symlinks) | RootKind::Copy(_, symlinks) => {
                let said = match kind {
                    NodeKind::Symlink => symlinks.of(directory, name)?,
                    _ => on_disk,
                };
                said.complete(self.group_of_new.unwrap_or(0))
            }
        })
    }
}

fn is_opaque(directory: BorrowedFd<'_>, name: &[u8]) -> io::Result<bool> {
    let directory = beneath::open(directory, name)?;
    for attribute in [OPAQUE, OPAQUE_PRIVILEGED] {
        let mut value = [0; 2];
        match fs::fgetxattr(&directory, attribute, &mut value[..]) {
            Ok(1) if value[0] == b'y' => return Ok(true),
            Ok(_) | Err(Errno::NODATA | Errno::RANGE | Errno::NOTSUP | Errno::PERM) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(false)
}
