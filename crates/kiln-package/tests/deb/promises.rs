//! What a package becomes.

use kiln_layer::{Entry, EntryKind, EntryPath, Payload, REPRODUCIBLE_MTIME};
use kiln_package::deb::{DebPackage, UsrMerge, read_facts, unpacked_database, usr_merge_links};

use crate::archive::{CONTROL, TIME, Tar, ar, bookworm, control, deb, gzip, package, read};

fn entry<'a>(package: &'a DebPackage, path: &str) -> &'a Entry {
    let found = package
        .entries
        .iter()
        .find(|entry| entry.path.as_bytes() == path.as_bytes());
    found.unwrap_or_else(|| panic!("no {path}"))
}

fn content(entry: &Entry) -> &[u8] {
    match &entry.kind {
        EntryKind::File(Payload::Plain(bytes)) => bytes,
        other => panic!("{other:?}"),
    }
}

fn text<'a>(package: &'a DebPackage, path: &str) -> &'a str {
    str::from_utf8(content(entry(package, path))).unwrap()
}

#[test]
fn merged_directories_move_and_lists_keep_the_shipped_paths() {
    let package = read(package(
        Tar::default()
            .directory("./")
            .directory("./lib/")
            .directory("./usr/")
            .directory("./usr/lib/")
            .file("./lib/x", b"1")
            .hardlink("./usr/lib/y", "./lib/x")
            .file("./library", b"2"),
    ))
    .unwrap();
    assert_eq!(content(entry(&package, "usr/lib/x")), b"1");
    assert_eq!(content(entry(&package, "library")), b"2");
    let EntryKind::Hardlink(first) = &entry(&package, "usr/lib/y").kind else {
        panic!();
    };
    assert_eq!(first.as_bytes(), b"usr/lib/x");
    assert_eq!(
        text(&package, "var/lib/dpkg/info/probe.list"),
        "/.\n/lib\n/usr\n/usr/lib\n/lib/x\n/usr/lib/y\n/library\n"
    );
}

#[test]
fn a_hard_link_to_a_hard_link_leads_to_the_file() {
    let package = read(package(
        Tar::default()
            .file("./usr/bin/z", b"same")
            .hardlink("./usr/bin/m", "./usr/bin/z")
            .hardlink("./usr/bin/a", "./usr/bin/m"),
    ))
    .unwrap();
    assert_eq!(content(entry(&package, "usr/bin/z")), b"same");
    for link in ["usr/bin/m", "usr/bin/a"] {
        let EntryKind::Hardlink(file) = &entry(&package, link).kind else {
            panic!("{link}");
        };
        assert_eq!(file.as_bytes(), b"usr/bin/z");
    }
}

#[test]
fn entries_are_sorted_and_unique() {
    let package = read(package(
        Tar::default()
            .file("./z", b"")
            .directory("./a/")
            .directory("./a")
            .file("./a/b", b""),
    ))
    .unwrap();
    assert!(package.entries.is_sorted_by(|a, b| a.path < b.path));
}

#[test]
fn files_and_links_keep_their_times_and_directories_do_not() {
    let package = read(package(
        Tar::default()
            .directory("./d")
            .file("./f", b"")
            .symlink("./s", "f"),
    ))
    .unwrap();
    let time = i64::try_from(TIME).unwrap();
    assert_eq!(entry(&package, "d").mtime, REPRODUCIBLE_MTIME);
    assert_eq!(entry(&package, "f").mtime, time);
    assert_eq!(entry(&package, "s").mtime, time);
    assert_eq!(
        entry(&package, "var/lib/dpkg/info/probe.list").mtime,
        REPRODUCIBLE_MTIME
    );
}

#[test]
fn a_package_that_ships_the_merge_links_agrees_with_the_table() {
    let merge = bookworm();
    let links = usr_merge_links(&merge);
    let mut files = Tar::default();
    for name in &merge.0 {
        files = files
            .directory(&format!("./usr/{name}"))
            .symlink(&format!("./{name}"), &format!("usr/{name}"));
    }
    let package = read(package(files)).unwrap();
    for link in links {
        let shipped = entry(&package, &link.path.to_string());
        assert_eq!(format!("{link:?}"), format!("{shipped:?}"));
    }
}

#[test]
fn without_a_table_nothing_moves() {
    let merge = UsrMerge::default();
    let path = EntryPath::new("lib/x").unwrap();
    assert_eq!(merge.place(&path), path);
    assert!(usr_merge_links(&merge).is_empty());
}

#[test]
fn capabilities_take_their_version_2_form() {
    let mut value = vec![1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0x0a];
    value.resize(20, 0);
    let mut with_root = value.clone();
    with_root[3] = 3;
    with_root.extend_from_slice(&[0; 4]);
    for shipped in [&value, &with_root] {
        let files = Tar::default()
            .pax(&[("SCHILY.xattr.security.capability", shipped)])
            .file("./usr/bin/ping", b"")
            .file("./usr/bin/other", b"");
        let package = read(package(files)).unwrap();
        assert_eq!(
            entry(&package, "usr/bin/ping").capability.as_ref(),
            Some(&value)
        );
        assert_eq!(entry(&package, "usr/bin/other").capability, None);
    }
}

#[test]
fn extended_headers_win_over_plain_ones() {
    let name = format!("./{}/file", "long".repeat(40));
    let package = read(package(
        Tar::default()
            .pax(&[
                ("path", name.as_bytes()),
                ("uid", b"4000000000"),
                ("gid", b"7"),
                ("mtime", b"-1.5"),
                ("comment", b"a\nb"),
            ])
            .file("./short", b"x"),
    ))
    .unwrap();
    let entry = entry(&package, &name[2..]);
    assert_eq!((entry.uid, entry.gid, entry.mtime), (4_000_000_000, 7, -2));
}

#[test]
fn long_names_of_gnu_tar_are_read() {
    let name = format!("./{}/file", "long".repeat(40));
    let target = "t".repeat(300);
    let package = read(package(
        Tar::default()
            .member(
                b'K',
                b"././@LongLink",
                b"",
                format!("{target}\0").as_bytes(),
                0,
            )
            .member(
                b'L',
                b"././@LongLink",
                b"",
                format!("{name}\0").as_bytes(),
                0,
            )
            .symlink("./short", "short"),
    ))
    .unwrap();
    let EntryKind::Symlink(found) = &entry(&package, &name[2..]).kind else {
        panic!();
    };
    assert_eq!(found, target.as_bytes());
}

#[test]
fn members_that_only_signers_understand_are_skipped() {
    let (control, data) = (control(), Tar::default().file("./a", b"").finish());
    let package = read(ar(&[
        ("debian-binary/", b"2.1\nmore\n"),
        ("_note", b"odd"),
        ("control.tar/", &control),
        ("_other", b""),
        ("data.tar.gz", &gzip(&data)),
        ("_gpgorigin", b"x"),
        ("anything", b""),
    ]))
    .unwrap();
    assert_eq!(package.facts.name, "probe");
    entry(&package, "a");
}

#[test]
fn a_large_archive_is_read_from_a_mapped_file() {
    let large: Vec<u8> = (0..=250).cycle().take(3 << 20).collect();
    let data = Tar::default().file("./large", &large).finish();
    let archive = ar(&[
        ("debian-binary", b"2.0\n"),
        ("control.tar", &control()),
        ("data.tar.gz", &gzip(&data)),
    ]);
    let package = read(archive).unwrap();
    assert_eq!(content(entry(&package, "large")), large);
}

#[test]
fn control_files_become_info_files_with_their_modes() {
    let paragraph = format!("{CONTROL}Multi-Arch: same\n");
    let control = Tar::default()
        .directory("./")
        .file("./control", paragraph.as_bytes())
        .file("./md5sums", b"their own\n")
        .file("./with.dot", b"ignored by dpkg")
        .file("./list", b"ignored by dpkg")
        .member(b'0', b"./postinst", b"", b"#!/bin/sh\n", 0o755)
        .finish();
    let package = read(deb(&control, &Tar::default().file("./a", b"").finish())).unwrap();
    let info: Vec<_> = package
        .entries
        .iter()
        .filter_map(|entry| entry.path.as_bytes().strip_prefix(b"var/lib/dpkg/info/"))
        .map(|name| str::from_utf8(name).unwrap())
        .collect();
    assert_eq!(
        info,
        [
            "probe:amd64.list",
            "probe:amd64.md5sums",
            "probe:amd64.postinst"
        ]
    );
    let script = entry(&package, "var/lib/dpkg/info/probe:amd64.postinst");
    assert_eq!(script.mode, 0o755);
    assert_eq!(script.mtime, i64::try_from(TIME).unwrap());
    assert_eq!(
        text(&package, "var/lib/dpkg/info/probe:amd64.md5sums"),
        "their own\n"
    );
    assert_eq!(text(&package, "var/lib/dpkg/info/probe:amd64.list"), "/a\n");
}

#[test]
fn the_database_depends_on_the_set_of_packages_and_not_on_its_order() {
    let named = |name: &str, trigger: &str| {
        let control = Tar::default()
            .file("./control", CONTROL.replace("probe", name).as_bytes())
            .file("./triggers", format!("interest {trigger}\n").as_bytes());
        read(deb(&control.finish(), &Tar::default().finish()))
            .unwrap()
            .facts
    };
    let (a, b) = (named("aa", "shared"), named("bb", "shared"));
    let one = format!("{:?}", unpacked_database(&[&a, &b]));
    let other = format!("{:?}", unpacked_database(&[&b, &a, &b]));
    assert_eq!(one, other);
}

#[test]
fn errors_read_as_sentences_with_hints() {
    let error = read(b"<html>".to_vec().into()).unwrap_err();
    let shown = |error: &dyn std::error::Error| {
        let mut text = format!("failed to {error}");
        let mut source = error.source();
        while let Some(cause) = source {
            text = format!("{text}: {cause}");
            source = cause.source();
        }
        text
    };
    insta::assert_snapshot!(shown(&error), @"failed to read Debian package `probe.deb`: it is not a Debian package: it does not start with `!<arch>`");
    insta::assert_snapshot!(error.hint().unwrap(), @"the file may be an error page or an incomplete download: compare its sha256");
    let files = Tar::default().member(b'6', b"./run/fifo", b"", b"", 0o600);
    let error = read(package(files)).unwrap_err();
    insta::assert_snapshot!(shown(&error), @"failed to read Debian package `probe.deb`: `data.tar` is not a usable tar archive: `./run/fifo` is a device, a FIFO or a socket (at byte 0)");
    let files = Tar::default()
        .symlink("./x", "/etc")
        .file("./x/passwd", b"");
    let error = read(package(files)).unwrap_err();
    insta::assert_snapshot!(shown(&error), @"failed to read Debian package `probe.deb`: it ships `x/passwd` below `x`, which it ships as something else than a directory");
}

#[test]
fn facts_alone_are_the_facts_of_the_whole_package() {
    let built = crate::built::Built::new();
    for archive in [
        crate::built::library(&built, "-Zxz"),
        crate::built::data(&built),
    ] {
        let bytes = bytes::Bytes::from(std::fs::read(&archive).unwrap());
        let spool = tempfile::tempdir().unwrap();
        let facts = read_facts(bytes, "probe.deb", &bookworm(), spool.path()).unwrap();
        assert_eq!(facts, crate::built::read(&archive).facts);
    }
}
