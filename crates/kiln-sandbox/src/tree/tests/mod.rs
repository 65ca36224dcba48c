//! Layers of made entries, trees of them, and the changes that are found in those.
//!
//! What needs a mount runs in a mount namespace of its own: the test starts itself again.

mod edits;
mod layers;
mod model;

use std::{
    collections::BTreeMap,
    env,
    fs::{self, File},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use bytes::Bytes;
use kiln_layer::{
    Compression, Entry, EntryKind, EntryPath, Payload, REPRODUCIBLE_MTIME, write_layer,
};

use super::{
    Capture, LayerTree, Owner, Owners, Rootfs, Snapshot, Spool, SymlinkOwners, Tree, TreeError,
    capture, copy_layers, entries,
};
use crate::{Captured, LayerBlob};

const INSIDE: &str = "KILN_TEST_NAMESPACE";

/// Runs `test`, whose full name is `name`, where it may mount.
fn in_namespace(name: &str, test: impl FnOnce()) {
    if env::var_os(INSIDE).is_some() {
        return test();
    }
    let mut unshare = Command::new("unshare");
    unshare.arg("--mount");
    if !is_root() {
        unshare.args(["--user", "--map-root-user"]);
    }
    let status = unshare
        .arg(env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture"])
        .env(INSIDE, if is_root() { "root" } else { "single" })
        .status()
        .unwrap();
    assert!(status.success(), "{name} failed in its namespace");
}

fn is_root() -> bool {
    match env::var_os(INSIDE) {
        Some(inside) => inside == "root",
        None => rustix::process::geteuid().is_root(),
    }
}

/// How owners can be kept here: only root has more than one.
fn ways_to_own() -> Vec<Owners> {
    if is_root() {
        vec![Owners::Mapped, Owners::Recorded]
    } else {
        vec![Owners::Recorded]
    }
}

fn entry(path: &str, kind: EntryKind, mode: u32) -> Entry {
    Entry {
        path: EntryPath::new(path).unwrap(),
        kind,
        mode,
        uid: 0,
        gid: 0,
        mtime: REPRODUCIBLE_MTIME,
        capability: None,
    }
}

fn file(path: &str, content: &str) -> Entry {
    let payload = Payload::Plain(Bytes::copy_from_slice(content.as_bytes()));
    entry(path, EntryKind::File(payload), 0o644)
}

fn directory(path: &str) -> Entry {
    entry(path, EntryKind::Directory, 0o755)
}

fn owned(entry: Entry, uid: u32, gid: u32) -> Entry {
    Entry { uid, gid, ..entry }
}

/// Writes a layer of these entries.
fn blob(directory: &Path, entries: &[Entry]) -> LayerBlob {
    let mut bytes = Vec::new();
    let written = write_layer(entries, Compression::Gzip, &mut bytes).unwrap();
    let path = directory.join(written.digest.hex());
    fs::write(&path, bytes).unwrap();
    LayerBlob {
        diff_id: written.diff_id,
        path,
    }
}

/// A directory for a test, with layers unpacked in it.
struct Bench {
    directory: tempfile::TempDir,
    owners: Owners,
}

impl Bench {
    fn new(owners: Owners) -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self { directory, owners }
    }

    fn rootfs(&self) -> Rootfs {
        Rootfs::open(&self.directory.path().join("rootfs"), "test", self.owners).unwrap()
    }

    fn unpack(&self, entries: &[Entry]) -> Result<LayerTree, TreeError> {
        self.rootfs().layer(&blob(self.directory.path(), entries))
    }

    /// A new empty directory.
    fn make(&self, name: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }
}

/// How a tree of layers is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Overlay,
    Copy,
}

/// A tree of layers that can be edited.
struct Made {
    way: Way,
    owners: Owners,
    layers: Vec<LayerTree>,
    /// Where it is seen.
    tree: PathBuf,
    /// Where what is written goes.
    written: PathBuf,
    snapshot: Snapshot,
    symlinks: SymlinkOwners,
}

impl Made {
    /// Makes a tree of `layers`, bottom first.
    fn new(bench: &Bench, way: Way, layers: Vec<LayerTree>) -> Self {
        let tree = bench.make("merged");
        let mut snapshot = Snapshot::default();
        let written = match way {
            Way::Overlay => {
                let (upper, work) = (bench.make("upper"), bench.make("work"));
                let lower: Vec<_> = layers
                    .iter()
                    .rev()
                    .map(|layer| layer.path.to_str().unwrap())
                    .collect();
                let options = format!(
                    "userxattr,lowerdir={},upperdir={},workdir={}",
                    lower.join(":"),
                    upper.display(),
                    work.display()
                );
                let mut mount = Command::new("mount");
                mount.args(["-t", "overlay", "overlay", "-o", &options]);
                assert!(mount.arg(&tree).status().unwrap().success());
                upper
            }
            Way::Copy => {
                snapshot = copy_layers(&layers, &tree, bench.owners).unwrap();
                tree.clone()
            }
        };
        Self {
            way,
            owners: bench.owners,
            layers,
            tree,
            written,
            snapshot,
            symlinks: SymlinkOwners::default(),
        }
    }

    fn captured(&self, compare: Option<&[LayerTree]>) -> Result<Vec<Entry>, TreeError> {
        Ok(self.captured_below(compare, &[], &[])?.entries)
    }

    fn captured_below(
        &self,
        compare: Option<&[LayerTree]>,
        prefixes: &[String],
        mount_points: &[String],
    ) -> Result<Captured, TreeError> {
        let spool: File = tempfile::tempfile().unwrap();
        let what = Capture {
            layers: &self.layers,
            compare,
            tree: match self.way {
                Way::Overlay => Tree::Overlay {
                    upper: &self.written,
                },
                Way::Copy => Tree::Copy {
                    directory: &self.written,
                    snapshot: &self.snapshot,
                },
            },
            owners: self.owners,
            symlinks: &self.symlinks,
            prefixes,
            mount_points,
        };
        let changes = capture(&what, &mut Spool::new(spool.try_clone().unwrap()).unwrap())?;
        Ok(Captured {
            entries: entries(changes.entries, &spool)?,
            parents: entries(changes.parents, &spool)?,
        })
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        if self.way == Way::Overlay {
            assert!(
                Command::new("umount")
                    .arg(&self.tree)
                    .status()
                    .unwrap()
                    .success()
            );
        }
    }
}

/// Paths and what happened to them, for short expectations.
fn summary(entries: &[Entry]) -> BTreeMap<String, &'static str> {
    let kind = |entry: &Entry| match entry.kind {
        EntryKind::Directory => "directory",
        EntryKind::File(_) => "file",
        EntryKind::Symlink(_) => "symlink",
        EntryKind::Hardlink(_) => "hardlink",
        EntryKind::Whiteout => "removed",
    };
    entries
        .iter()
        .map(|entry| (entry.path.to_string(), kind(entry)))
        .collect()
}

/// An owner that is not root.
const SOMEBODY: Owner = Owner { uid: 33, gid: 44 };
