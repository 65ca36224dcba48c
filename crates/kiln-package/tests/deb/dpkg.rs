//! The dpkg database against the one of dpkg itself.
//!
//! `dpkg --force-not-root --root=…` unpacks and configures as anybody, so every test runs
//! everywhere Debian's dpkg is.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use kiln_layer::{Entry, EntryKind};
use kiln_package::deb::{self, DebPackage, unpacked_database};
use tempfile::TempDir;

use crate::archive::bookworm;
use crate::built::{Built, data, is_info, library, plain, read, run, walk, write};

/// An empty root for dpkg.
fn new_root() -> TempDir {
    let root = TempDir::new().unwrap();
    for name in ["info", "updates", "triggers"] {
        fs::create_dir_all(root.path().join("var/lib/dpkg").join(name)).unwrap();
    }
    fs::write(root.path().join("var/lib/dpkg/status"), b"").unwrap();
    root
}

fn dpkg(root: &Path) -> Command {
    let mut option = std::ffi::OsString::from("--root=");
    option.push(root);
    let mut command = Command::new("dpkg");
    command
        .env("LC_ALL", "C.UTF-8")
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .args([
            "--force-not-root",
            "--force-bad-path",
            "--force-depends",
            "--force-breaks",
        ])
        .arg(option);
    command
}

/// Files below dpkg's directory, without those of the written list.
fn database_of(root: &Path) -> BTreeMap<String, (u32, String)> {
    let admin = root.join("var/lib/dpkg");
    let mut files = BTreeMap::new();
    walk(&admin, &mut |path| {
        let name = path
            .strip_prefix(&admin)
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        let metadata = fs::symlink_metadata(path).unwrap();
        // Lock files and backups, which layers do not hold.
        let is_left_out = ["lock", "lock-frontend", "triggers/Lock", "status-old"];
        if metadata.is_file() && !is_left_out.contains(&name.as_str()) {
            let text = String::from_utf8(fs::read(path).unwrap()).unwrap();
            files.insert(name, (metadata.mode() & 0o7777, text));
        }
    });
    files
}

fn database_entries(packages: &[DebPackage]) -> Vec<Entry> {
    let facts: Vec<_> = packages.iter().map(|package| &package.facts).collect();
    let info = packages
        .iter()
        .flat_map(|package| package.entries.iter().cloned());
    let mut entries = unpacked_database(&facts);
    entries.extend(info.filter(|entry| is_info(entry.path.as_bytes())));
    entries
}

fn database_of_entries(entries: &[Entry]) -> BTreeMap<String, (u32, String)> {
    let mut files = BTreeMap::new();
    for entry in entries {
        let path = entry.path.to_string();
        let name = path.strip_prefix("var/lib/dpkg/").unwrap().to_owned();
        if let EntryKind::File(payload) = &entry.kind {
            files.insert(
                name,
                (entry.mode, String::from_utf8(plain(payload)).unwrap()),
            );
        }
    }
    files
}

/// Writes entries into a root as whoever runs the test.
fn materialise(root: &Path, entries: &[Entry]) {
    for entry in entries {
        let path = root.join(std::ffi::OsStr::from_bytes(entry.path.as_bytes()));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        match &entry.kind {
            EntryKind::Directory => fs::create_dir_all(&path).unwrap(),
            EntryKind::File(payload) => {
                fs::write(&path, plain(payload)).unwrap();
                fs::set_permissions(&path, fs::Permissions::from_mode(entry.mode)).unwrap();
            }
            EntryKind::Symlink(target) => {
                symlink(std::ffi::OsStr::from_bytes(target), &path).unwrap();
            }
            EntryKind::Hardlink(first) => {
                let first = root.join(std::ffi::OsStr::from_bytes(first.as_bytes()));
                fs::hard_link(first, &path).unwrap();
            }
            EntryKind::Whiteout => panic!("{}", path.display()),
        }
    }
}

#[test]
fn the_database_equals_the_one_of_dpkg_unpack() {
    let built = Built::new();
    // In the order of our database, so that lines of one trigger come in the same order.
    let archives = [data(&built), library(&built, "-Zxz")];
    let scripts = built.build(
        "z-scripts",
        "Package: z-scripts\nVersion: 1\nArchitecture: all\nMaintainer: A <a@example.org>\nDescription: s\n",
        &["-Zxz"],
        |root| {
            for name in ["postinst", "prerm", "postrm", "config"] {
                write(root, &format!("DEBIAN/{name}"), b"#!/bin/sh\n", 0o755);
            }
            write(root, "DEBIAN/templates", b"Template: z/z\n", 0o644);
        },
    );
    let root = new_root();
    run(dpkg(root.path())
        .arg("--unpack")
        .args(&archives)
        .arg(&scripts));
    let mut theirs = database_of(root.path());

    let packages: Vec<_> = archives
        .iter()
        .chain([&scripts])
        .map(|path| read(path))
        .collect();
    let ours = database_of_entries(&database_entries(&packages));
    // Our conffiles are in place already, so their digests stand where dpkg has a word.
    for facts in packages.iter().map(|package| &package.facts) {
        for conffile in &facts.conffiles {
            if let Some(md5) = &conffile.md5 {
                let status = &mut theirs.get_mut("status").unwrap().1;
                let line = format!(" {} newconffile\n", conffile.path);
                assert!(status.contains(&line), "{status}");
                *status = status.replace(&line, &format!(" {} {md5}\n", conffile.path));
            }
        }
    }
    assert_eq!(theirs, ours);
}

#[test]
fn dpkg_records_the_same_conffiles_when_it_configures() {
    let built = Built::new();
    let archive = library(&built, "-Zxz");
    let root = new_root();
    run(dpkg(root.path()).arg("--unpack").arg(&archive));
    run(dpkg(root.path()).args(["--configure", "-a"]));
    let theirs = fs::read_to_string(root.path().join("var/lib/dpkg/status")).unwrap();
    let facts = read(&archive).facts;
    let ours = unpacked_database(&[&facts]);
    let ours = &database_of_entries(&ours)["status"].1;
    assert_eq!(theirs, ours.replace("ok unpacked", "ok installed"));
}

#[test]
fn dpkg_configures_what_we_unpacked_and_leaves_conffiles_alone() {
    let built = Built::new();
    let packages = [read(&library(&built, "-Zxz")), read(&data(&built))];
    let root = TempDir::new().unwrap();
    for package in &packages {
        materialise(root.path(), &package.entries);
    }
    let facts: Vec<_> = packages.iter().map(|package| &package.facts).collect();
    materialise(root.path(), &deb::usr_merge_links(&bookworm()));
    materialise(root.path(), &unpacked_database(&facts));
    let conffile = root.path().join("etc/probe.conf");
    let before = fs::metadata(&conffile).unwrap();

    run(dpkg(root.path()).args(["--configure", "-a"]));
    assert_eq!(run(dpkg(root.path()).arg("--audit")), b"");
    let status = fs::read_to_string(root.path().join("var/lib/dpkg/status")).unwrap();
    assert_eq!(status.matches("Status: install ok installed\n").count(), 2);
    let after = fs::metadata(&conffile).unwrap();
    assert_eq!((before.ino(), before.mtime()), (after.ino(), after.mtime()));
    walk(root.path(), &mut |path| {
        let name = path.to_string_lossy();
        assert!(!name.contains(".dpkg-"), "{name}");
    });
    let verify = run(dpkg(root.path()).args(["--verify"]));
    assert_eq!(String::from_utf8(verify).unwrap(), "");
}

#[test]
fn without_triggers_dpkg_writes_as_few_files_as_we_do() {
    let built = Built::new();
    let control = "Package: plain\nVersion: 1\nArchitecture: all\n\
                   Maintainer: A <a@example.org>\nDescription: p\n";
    let archive = built.build("plain", control, &["-Zxz"], |_| {});
    let root = new_root();
    run(dpkg(root.path()).arg("--unpack").arg(&archive));
    let ours = database_entries(&[read(&archive)]);
    assert_eq!(database_of(root.path()), database_of_entries(&ours));
}
