//! Many packages in one layer.

use std::collections::BTreeMap;

use kiln_layer::{
    Contribution, Difference, DirectoryMetadata, Entry, EntryKind, EntryPath, MergeError,
    OwnedTree, ParentPolicy, merge,
};

use crate::sample::{deflated, entry, path, plain};

fn package(name: &str, entries: impl Into<Vec<Entry>>) -> Contribution {
    Contribution {
        package: name.to_owned(),
        entries: entries.into(),
    }
}

fn merged(contributions: Vec<Contribution>) -> Result<Vec<Entry>, MergeError> {
    merge(contributions, &BTreeMap::new(), &ParentPolicy::default())
}

fn shown(entries: &[Entry]) -> Vec<String> {
    entries
        .iter()
        .map(|entry| {
            let kind = match &entry.kind {
                EntryKind::Directory => "/".to_owned(),
                EntryKind::File(payload) => format!(" {}", payload.size()),
                EntryKind::Symlink(target) => format!(" -> {}", String::from_utf8_lossy(target)),
                EntryKind::Hardlink(target) => format!(" = {target}"),
                EntryKind::Whiteout => " gone".to_owned(),
            };
            format!(
                "{:o} {}:{} {}{kind}",
                entry.mode, entry.uid, entry.gid, entry.path
            )
        })
        .collect()
}

#[test]
fn entries_are_sorted_by_path_bytes_and_all_parents_are_there() {
    let entries = merged(vec![
        package(
            "b",
            [entry("usr/lib/b", plain("b")), entry("usr-x", plain("x"))],
        ),
        package("a", [entry("usr/bin/a", plain("a"))]),
    ]);
    let expected = [
        "755 0:0 usr/",
        "644 0:0 usr-x 1",
        "755 0:0 usr/bin/",
        "644 0:0 usr/bin/a 1",
        "755 0:0 usr/lib/",
        "644 0:0 usr/lib/b 1",
    ];
    assert_eq!(shown(&entries.unwrap()), expected);
}

#[test]
fn parents_follow_the_policy() {
    let directory = DirectoryMetadata {
        mode: 0o775,
        uid: 1001,
        gid: 0,
    };
    let tree = OwnedTree {
        prefix: path("opt/app-root"),
        directory,
    };
    let policy = ParentPolicy {
        trees: vec![tree],
        ..ParentPolicy::default()
    };
    let contribution = package(
        "a",
        [
            entry("opt/app-root/lib/a", plain("")),
            entry("opt/app-root-not/a", plain("")),
            entry("tmp/a", plain("")),
            Entry {
                mode: 0o700,
                ..entry("var", EntryKind::Directory)
            },
            entry("var/a", plain("")),
        ],
    );
    let entries = merge(vec![contribution], &BTreeMap::new(), &policy).unwrap();
    let directories: Vec<String> = shown(&entries)
        .into_iter()
        .filter(|e| e.ends_with('/'))
        .collect();
    let expected = [
        "755 0:0 opt/",
        "775 1001:0 opt/app-root/",
        "755 0:0 opt/app-root-not/",
        "775 1001:0 opt/app-root/lib/",
        "1777 0:0 tmp/",
        "700 0:0 var/",
    ];
    let mut sorted = directories.clone();
    sorted.sort_by(|a, b| a.split(' ').next_back().cmp(&b.split(' ').next_back()));
    assert_eq!(directories.len(), expected.len());
    for line in expected {
        assert!(
            directories.iter().any(|shown| shown == line),
            "{line} in {directories:?}"
        );
    }
}

#[test]
fn every_directory_has_the_fixed_time() {
    let late = Entry {
        mtime: 1_700_000_000,
        ..entry("d", EntryKind::Directory)
    };
    let entries = merged(vec![package("a", [late])]).unwrap();
    assert_eq!(entries[0].mtime, kiln_layer::REPRODUCIBLE_MTIME);
}

#[test]
fn equal_files_and_all_directories_fold_and_the_first_package_decides() {
    let first = Entry {
        mode: 0o700,
        ..entry("d", EntryKind::Directory)
    };
    let entries = merged(vec![
        package(
            "a",
            [
                first,
                Entry {
                    mtime: 1,
                    ..entry("d/f", plain("same"))
                },
            ],
        ),
        package(
            "b",
            [
                entry("d", EntryKind::Directory),
                entry("d/f", deflated(b"same")),
            ],
        ),
    ])
    .unwrap();
    assert_eq!(shown(&entries), ["700 0:0 d/", "644 0:0 d/f 4"]);
    assert_eq!(entries[1].mtime, 1);
}

#[test]
fn packages_that_differ_are_both_named() {
    let base = || entry("f", plain("one"));
    let cases = [
        (entry("f", plain("two")), Difference::Content),
        (entry("f", deflated(b"three")), Difference::Content),
        (
            entry("f", EntryKind::Symlink(b"x".to_vec())),
            Difference::Kind,
        ),
        (
            Entry {
                mode: 0o755,
                ..base()
            },
            Difference::Metadata,
        ),
        (Entry { gid: 5, ..base() }, Difference::Metadata),
    ];
    for (other, expected) in cases {
        let error = merged(vec![package("a", [base()]), package("b", [other])]).unwrap_err();
        let MergeError::Conflict {
            path: at,
            first,
            second,
            difference,
        } = &error
        else {
            panic!("{error:?}");
        };
        assert_eq!(
            (at, first.as_str(), second.as_str()),
            (&path("f"), "a", "b")
        );
        assert_eq!(*difference, expected);
        assert!(
            error.to_string().starts_with("`a` and `b` both ship `f`"),
            "{error}"
        );
        assert!(error.hint().is_some());
    }
}

#[test]
fn the_winner_wins_wherever_it_stands() {
    let winners: BTreeMap<EntryPath, String> = [(path("f"), "c".to_owned())].into();
    let mut packages: Vec<Contribution> = [("a", "1"), ("b", "22"), ("c", "333")]
        .map(|(name, content)| package(name, [entry("f", plain(content))]))
        .into();
    for _ in 0..3 {
        packages.rotate_left(1);
        let entries = merge(packages.clone(), &winners, &ParentPolicy::default()).unwrap();
        assert_eq!(shown(&entries), ["644 0:0 f 3"]);
    }
    packages.retain(|contribution| contribution.package != "c");
    assert!(merge(packages, &winners, &ParentPolicy::default()).is_err());
}

#[test]
fn a_file_where_another_package_has_a_directory_is_an_error_even_with_a_winner() {
    let file = || package("a", [entry("x", plain(""))]);
    let inside = || package("b", [entry("x/y", plain(""))]);
    let directory = || package("b", [entry("x", EntryKind::Directory)]);
    let winners: BTreeMap<EntryPath, String> = [(path("x"), "a".to_owned())].into();
    for contributions in [
        vec![file(), inside()],
        vec![inside(), file()],
        vec![file(), directory()],
        vec![directory(), file()],
    ] {
        let error = merge(contributions, &winners, &ParentPolicy::default()).unwrap_err();
        let expected = MergeError::NotADirectory {
            path: path("x"),
            directory: "b".to_owned(),
            other: "a".to_owned(),
        };
        assert_eq!(error, expected);
    }
}

#[test]
fn the_first_path_of_a_hard_linked_file_carries_it() {
    let file = Entry {
        mode: 0o755,
        uid: 7,
        ..entry("m", plain("content"))
    };
    let links = [
        entry("z", EntryKind::Hardlink(path("m"))),
        entry("a", EntryKind::Hardlink(path("z"))),
    ];
    let entries = merged(vec![package("p", [vec![file], links.to_vec()].concat())]).unwrap();
    assert_eq!(
        shown(&entries),
        ["755 7:0 a 7", "755 7:0 m = a", "755 7:0 z = a"]
    );
}

#[test]
fn hard_links_to_nothing_to_themselves_or_to_another_packages_file_are_errors() {
    let link = |to| entry("l", EntryKind::Hardlink(path(to)));
    let circle = [link("k"), entry("k", EntryKind::Hardlink(path("l")))];
    for entries in [vec![link("gone")], vec![link("l")], circle.to_vec()] {
        let error = merged(vec![package("p", entries)]).unwrap_err();
        assert!(
            matches!(error, MergeError::HardlinkTarget { .. }),
            "{error:?}"
        );
    }
    // `p` links to its own `f`, but the recipe prefers that of `q`.
    let winners: BTreeMap<EntryPath, String> = [(path("f"), "q".to_owned())].into();
    let contributions = vec![
        package("p", [entry("f", plain("p")), link("f")]),
        package("q", [entry("f", plain("q"))]),
    ];
    let error = merge(contributions, &winners, &ParentPolicy::default()).unwrap_err();
    assert!(
        matches!(error, MergeError::HardlinkTarget { .. }),
        "{error:?}"
    );
}
