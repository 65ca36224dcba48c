//! Entries against the trees that `dpkg-deb --extract` makes.
//!
//! No root is needed: what only root sees in a file system, owners, is read from `tar --list`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use kiln_layer::EntryKind;
use kiln_package::deb::{self, DebPackage, UsrMerge};
use tempfile::TempDir;

use crate::built::{Built, data, is_info, library, plain, read, run, walk};

/// What is compared of a path. Hard links are told by the content that they share and by
/// `same_as`, the first path of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Node {
    kind: &'static str,
    mode: u32,
    owner: String,
    mtime: Option<i64>,
    content: Vec<u8>,
    same_as: Option<Vec<u8>>,
}

type Nodes = BTreeMap<Vec<u8>, Node>;

/// The merged directories, by the text of the path.
fn merged(path: &[u8]) -> Vec<u8> {
    let first = path.split(|&byte| byte == b'/').next().unwrap();
    let is_merged = [&b"bin"[..], b"sbin", b"lib", b"lib32", b"lib64", b"libx32"].contains(&first);
    [if is_merged { &b"usr/"[..] } else { b"" }, path].concat()
}

/// The tree that `dpkg-deb --extract` makes, after usr-merge, with the owners of the archive.
fn extracted(archive: &Path) -> Nodes {
    let directory = TempDir::new().unwrap();
    run(Command::new("dpkg-deb")
        .arg("-x")
        .args([archive, directory.path()]));
    let owners = owners(archive);
    let mut nodes = Nodes::new();
    let mut inodes: BTreeMap<u64, Vec<Vec<u8>>> = BTreeMap::new();
    walk(directory.path(), &mut |path| {
        let relative = path
            .strip_prefix(directory.path())
            .unwrap()
            .as_os_str()
            .as_bytes();
        if relative.is_empty() {
            return;
        }
        let metadata = fs::symlink_metadata(path).unwrap();
        let (kind, content) = if metadata.is_dir() {
            ("directory", Vec::new())
        } else if metadata.is_symlink() {
            (
                "symlink",
                fs::read_link(path)
                    .unwrap()
                    .into_os_string()
                    .as_bytes()
                    .to_vec(),
            )
        } else {
            ("file", fs::read(path).unwrap())
        };
        let is_merge_link =
            kind == "symlink" && !relative.contains(&b'/') && merged(relative) != relative;
        let placed = if is_merge_link {
            relative.to_vec()
        } else {
            merged(relative)
        };
        if kind == "file" && metadata.nlink() > 1 {
            inodes
                .entry(metadata.ino())
                .or_default()
                .push(placed.clone());
        }
        nodes.insert(
            placed,
            Node {
                kind,
                mode: metadata.mode() & 0o7777,
                owner: owners[relative].clone(),
                mtime: (kind != "directory" && !is_merge_link).then(|| metadata.mtime()),
                content,
                same_as: None,
            },
        );
    });
    for mut paths in inodes.into_values() {
        paths.sort();
        for path in &paths {
            nodes.get_mut(path).unwrap().same_as = Some(paths[0].clone());
        }
    }
    nodes
}

/// `UID/GID` of every path, as GNU tar lists them.
fn owners(archive: &Path) -> BTreeMap<Vec<u8>, String> {
    let mut unpack = Command::new("dpkg-deb")
        .arg("--fsys-tarfile")
        .arg(archive)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let listing = run(Command::new("tar")
        .args([
            "-tv",
            "--numeric-owner",
            "--full-time",
            "--quoting-style=literal",
        ])
        .stdin(unpack.stdout.take().unwrap()));
    assert!(unpack.wait().unwrap().success());
    let mut owners = BTreeMap::new();
    for line in listing
        .split(|&byte| byte == b'\n')
        .filter(|line| !line.is_empty())
    {
        let mut rest = line;
        let mut fields = Vec::new();
        for _ in 0..5 {
            let start = rest.iter().position(|&byte| byte != b' ').unwrap();
            let length = rest[start..].iter().position(|&byte| byte == b' ').unwrap();
            fields.push(&rest[start..start + length]);
            rest = &rest[start + length..];
        }
        let mut name = &rest[1..];
        for mark in [&b" -> "[..], b" link to "] {
            if let Some(at) = name.windows(mark.len()).position(|window| window == mark) {
                name = &name[..at];
            }
        }
        let name = name.strip_prefix(b"./").unwrap_or(name);
        let name = name.strip_suffix(b"/").unwrap_or(name);
        let owner = String::from_utf8(fields[1].to_vec()).unwrap();
        owners.insert(name.to_vec(), owner);
    }
    owners
}

/// Our entries in the same form, without info files.
fn ours(package: &DebPackage) -> Nodes {
    let mut nodes = Nodes::new();
    let mut names: BTreeMap<Vec<u8>, Vec<Vec<u8>>> = BTreeMap::new();
    for entry in &package.entries {
        let path = entry.path.as_bytes().to_vec();
        if is_info(&path) {
            continue;
        }
        let is_merge_link = merged(&path) != path;
        let (kind, content) = match &entry.kind {
            EntryKind::Directory => ("directory", Vec::new()),
            EntryKind::Symlink(target) => ("symlink", target.clone()),
            EntryKind::File(payload) => ("file", plain(payload)),
            EntryKind::Hardlink(file) => {
                let names = names.entry(file.as_bytes().to_vec()).or_default();
                names.push(path);
                continue;
            }
            EntryKind::Whiteout => panic!("{path:?}"),
        };
        let node = Node {
            kind,
            mode: entry.mode,
            owner: format!("{}/{}", entry.uid, entry.gid),
            mtime: (kind != "directory" && !is_merge_link).then_some(entry.mtime),
            content,
            same_as: None,
        };
        nodes.insert(path, node);
    }
    for (file, mut names) in names {
        names.push(file.clone());
        names.sort();
        let same_as = Some(names[0].clone());
        let node = Node {
            same_as,
            ..nodes[&file].clone()
        };
        nodes.extend(names.into_iter().map(|name| (name, node.clone())));
    }
    nodes
}

fn assert_same_tree(archive: &Path) {
    let (theirs, ours) = (extracted(archive), ours(&read(archive)));
    let mut differences = Vec::new();
    let paths: BTreeSet<_> = theirs.keys().chain(ours.keys()).collect();
    for path in paths {
        let (their, our) = (theirs.get(path), ours.get(path));
        if their != our {
            let brief = |node: Option<&Node>| {
                node.map(|node| Node {
                    content: node.content[..node.content.len().min(40)].to_vec(),
                    ..node.clone()
                })
            };
            differences.push(format!(
                "{}: {:?} but {:?}",
                String::from_utf8_lossy(path),
                brief(their),
                brief(our)
            ));
        }
    }
    assert!(
        differences.is_empty(),
        "{}: {differences:#?}",
        archive.display()
    );
}

#[test]
fn entries_equal_the_tree_that_dpkg_deb_extracts() {
    for compression in ["-Znone", "-Zgzip", "-Zxz", "-Zzstd"] {
        let built = Built::new();
        assert_same_tree(&library(&built, compression));
        assert_same_tree(&data(&built));
    }
}

#[test]
fn a_suite_without_merge_keeps_the_tree_of_dpkg_deb() {
    let built = Built::new();
    let archive = library(&built, "-Zxz");
    let spool = TempDir::new().unwrap();
    let bytes = fs::read(&archive).unwrap();
    let package = deb::read(bytes.into(), "x.deb", &UsrMerge::default(), spool.path()).unwrap();
    let listed = run(Command::new("dpkg-deb").arg("--fsys-tarfile").arg(&archive));
    let paths = package
        .entries
        .iter()
        .filter(|entry| !is_info(entry.path.as_bytes()));
    let listing = tar_names(&listed);
    let ours: Vec<_> = paths.map(|entry| entry.path.as_bytes().to_vec()).collect();
    assert_eq!(listing, ours);
}

fn tar_names(archive: &[u8]) -> Vec<Vec<u8>> {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("x.tar");
    fs::write(&path, archive).unwrap();
    let listing = run(Command::new("tar")
        .args(["-t", "--quoting-style=literal", "-f"])
        .arg(&path));
    let mut names: Vec<Vec<u8>> = listing
        .split(|&byte| byte == b'\n')
        .map(|name| name.strip_prefix(b"./").unwrap_or(name))
        .map(|name| name.strip_suffix(b"/").unwrap_or(name).to_vec())
        .filter(|name| !name.is_empty())
        .collect();
    names.sort();
    names
}

/// For a maintainer with a directory of real packages: `KILN_TEST_DEBS=DIR cargo test -p
/// kiln-package --test deb -- --ignored`.
#[test]
#[ignore = "needs a directory of real packages"]
fn real_packages_equal_the_trees_that_dpkg_deb_extracts() {
    let directory = std::env::var_os("KILN_TEST_DEBS").expect("KILN_TEST_DEBS names a directory");
    let mut count = 0;
    for file in fs::read_dir(directory).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            assert_same_tree(&path);
            count += 1;
        }
    }
    assert!(count > 0);
}
