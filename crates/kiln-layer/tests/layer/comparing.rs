//! In what two layers differ.

use std::io::Write as _;

use kiln_layer::{Aspect, Compression, Entry, EntryKind, ReadLimits, compare_layers};

use crate::sample::{CAP_NET_RAW, deflated, entries, entry, path, plain};
use crate::written;

/// Paths that differ, with how.
fn differences(first: &[u8], second: &[u8]) -> Vec<(String, Vec<Aspect>)> {
    let compared = compare_layers(first, second, ReadLimits::default()).unwrap();
    let paths = compared.paths.into_iter();
    paths.map(|it| (it.path.to_string(), it.aspects)).collect()
}

fn gzip(entries: &[Entry]) -> Vec<u8> {
    written(entries, Compression::Gzip).0
}

#[test]
fn other_compression_is_no_difference() {
    let entries = entries();
    let (zstd, summary) = written(&entries, Compression::Zstd);
    let compared = compare_layers(&gzip(&entries)[..], &zstd[..], ReadLimits::default()).unwrap();
    assert!(compared.paths.is_empty());
    assert_eq!(compared.first.diff_id, compared.second.diff_id);
    assert_eq!(compared.second, summary);
}

#[test]
fn every_kind_of_change_is_named() {
    let file = |content: &str| entry("file", plain(content.to_owned()));
    let link = |target: &str| entry("link", EntryKind::Symlink(target.as_bytes().to_vec()));
    let pairs = [
        (file("one"), file("two"), Aspect::Content { sizes: (3, 3) }),
        (
            file("one"),
            entry("file", EntryKind::Directory),
            Aspect::Kind("file", "directory"),
        ),
        (
            file("one"),
            Entry {
                mode: 0o4755,
                ..file("one")
            },
            Aspect::Mode(0o644, 0o4755),
        ),
        (
            file("one"),
            Entry {
                gid: 7,
                ..file("one")
            },
            Aspect::Owner((0, 0), (0, 7)),
        ),
        (
            file("one"),
            Entry {
                capability: Some(CAP_NET_RAW.to_vec()),
                ..file("one")
            },
            Aspect::Capability,
        ),
        (
            file("one"),
            Entry {
                mtime: 1,
                ..file("one")
            },
            Aspect::Time(kiln_layer::REPRODUCIBLE_MTIME, 1),
        ),
        (
            link("a"),
            link("b"),
            Aspect::Target(b"a".to_vec(), b"b".to_vec()),
        ),
        (
            file("one"),
            entry("file", EntryKind::Whiteout),
            Aspect::Kind("file", "removal"),
        ),
    ];
    for (first, second, expected) in pairs {
        let path = first.path.to_string();
        let found = differences(&gzip(&[first]), &gzip(&[second]));
        let [(at, aspects)] = found.as_slice() else {
            panic!("one path differs, not {found:?}");
        };
        assert_eq!(*at, path);
        assert!(aspects.contains(&expected), "{aspects:?}");
    }
}

#[test]
fn what_one_layer_lacks_is_named() {
    let layer = |names: &[&str]| {
        let entries: Vec<_> = names.iter().map(|name| entry(name, plain("x"))).collect();
        gzip(&entries)
    };
    let found = differences(&layer(&["a", "b", "d"]), &layer(&["b", "c"]));
    assert_eq!(
        found,
        [
            ("a".into(), vec![Aspect::OnlyInFirst]),
            ("c".into(), vec![Aspect::OnlyInSecond]),
            ("d".into(), vec![Aspect::OnlyInFirst]),
        ]
    );
}

#[test]
fn a_hard_link_that_leads_elsewhere_is_named() {
    let layer = |target: &str| {
        gzip(&[
            entry("a", plain("x")),
            entry("b", deflated(b"x")),
            entry("c", EntryKind::Hardlink(path(target))),
        ])
    };
    let found = differences(&layer("a"), &layer("b"));
    let expected = Aspect::Target(b"a".to_vec(), b"b".to_vec());
    assert_eq!(found, [("c".to_owned(), vec![expected])]);
}

/// GNU tar writes other headers and another order: that is no difference of entries.
#[test]
fn a_layer_of_another_maker_with_the_same_entries_has_no_differences() {
    let ours = gzip(&[entry("a", plain("1")), entry("b", plain("2"))]);
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in [("b", "2"), ("a", "1")] {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_mtime(kiln_layer::REPRODUCIBLE_MTIME.unsigned_abs());
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(content.len() as u64);
        let path = format!("./{name}");
        builder
            .append_data(&mut header, path, content.as_bytes())
            .unwrap();
    }
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&builder.into_inner().unwrap()).unwrap();
    assert_eq!(differences(&ours, &encoder.finish().unwrap()), []);
}

#[test]
fn a_damaged_layer_is_an_error() {
    let whole = gzip(&entries());
    let mut damaged = whole.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    assert!(compare_layers(&damaged[..], &whole[..], ReadLimits::default()).is_err());
}
