//! No bytes make a reader panic, and what it accepts obeys the rules.

use bytes::Bytes;
use kiln_layer::{EntryKind, EntryPath};
use kiln_package::deb::{Paragraph, Triggers};
use proptest::prelude::*;

use crate::archive::{CONTROL, Tar, ar, control, deb, package, read};

/// Names made of the parts that matter.
fn name() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        "[a-c]",
        Just("..".into()),
        Just(".".into()),
        Just(String::new()),
        Just("bin".into()),
        Just("lib".into()),
        Just("usr".into())
    ];
    proptest::collection::vec(part, 0..5).prop_map(|parts| parts.join("/"))
}

fn files() -> impl Strategy<Value = Tar> {
    let member = (
        prop_oneof![Just(b'0'), Just(b'1'), Just(b'2'), Just(b'5')],
        name(),
        name(),
    );
    proptest::collection::vec(member, 0..8).prop_map(|members| {
        members
            .into_iter()
            .fold(Tar::default(), |tar, (kind, name, link)| {
                tar.member(kind, name.as_bytes(), link.as_bytes(), b"", 0o755)
            })
    })
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_an_error(bytes: Vec<u8>) {
        prop_assert!(read(bytes.into()).is_err());
    }

    #[test]
    fn an_archive_with_arbitrary_parts_never_panics(
        names in proptest::collection::vec(
            "(debian-binary|(control|data)\\.tar(|\\.gz|\\.xz|\\.zst))", 0..4),
        bytes: Vec<u8>,
    ) {
        let members: Vec<(&str, &[u8])> =
            names.iter().map(|name| (name.as_str(), &bytes[..])).collect();
        let _ = read(ar(&members));
        let mut archive = ar(&members).to_vec();
        archive.extend_from_slice(&bytes);
        let _ = read(archive.into());
    }

    #[test]
    fn arbitrary_parts_never_panic(bytes: Vec<u8>) {
        for name in ["data.tar", "data.tar.gz", "data.tar.xz", "data.tar.zst"] {
            let _ = read(ar(&[
                ("debian-binary", b"2.0\n"), ("control.tar", &control()), (name, &bytes),
            ]));
        }
        let _ = read(deb(&bytes, &Tar::default().finish()));
    }

    #[test]
    fn a_changed_package_never_panics(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let files = Tar::default()
            .pax(&[("path", b"./long"), ("mtime", b"1.5")])
            .file("./etc/a", b"content")
            .hardlink("./etc/b", "./long")
            .symlink("./etc/c", "b");
        let mut archive = package(files).to_vec();
        for (index, byte) in changes {
            let index = index.index(archive.len());
            archive[index] = byte;
        }
        let _ = read(archive.into());
    }

    #[test]
    fn headers_of_arbitrary_bytes_never_panic(
        kind: u8,
        name in proptest::collection::vec(any::<u8>(), 0..100),
        link in proptest::collection::vec(any::<u8>(), 0..100),
        data: Vec<u8>,
    ) {
        let tar = Tar::default().member(kind, &name, &link, &data, 0o644);
        let _ = read(package(tar.file("./etc/a", b"")));
    }

    #[test]
    fn accepted_trees_are_unique_sorted_and_never_go_through_a_link(files in files()) {
        if let Ok(package) = read(package(files)) {
            let entries = &package.entries;
            prop_assert!(entries.is_sorted_by(|a, b| a.path < b.path));
            for entry in entries {
                let above = std::iter::successors(entry.path.parent(), EntryPath::parent);
                for parent in above {
                    let found = entries.iter().find(|other| other.path == parent);
                    prop_assert!(found.is_none_or(|e| matches!(e.kind, EntryKind::Directory)));
                }
                if let EntryKind::Hardlink(first) = &entry.kind {
                    let found = entries.iter().find(|other| other.path == *first);
                    prop_assert!(matches!(found.unwrap().kind, EntryKind::File(_)));
                }
            }
        }
    }

    #[test]
    fn arbitrary_control_text_never_panics(text: String) {
        let _ = Paragraph::parse(&text);
        let _ = Triggers::parse(&text);
        let text = format!("{CONTROL}{text}");
        let control = Tar::default()
            .file("./control", text.as_bytes())
            .file("./conffiles", text.as_bytes())
            .finish();
        let _ = read(deb(&control, &Tar::default().finish()));
    }

    #[test]
    fn fields_come_back_as_they_were_written(
        value in "[!-~]([ -~]{0,20}[!-~])?",
        more in proptest::collection::vec(" [ \t]{0,2}[!-~]{1,20}", 0..4),
    ) {
        let value = [vec![value], more].concat().join("\n");
        let paragraph = Paragraph::parse(&format!("One: 1\nTwo: {value}\nThree: 3\n")).unwrap();
        prop_assert_eq!(paragraph.get("two"), Some(value.as_str()));
        prop_assert_eq!(paragraph.iter().count(), 3);
    }

    #[test]
    fn shared_bytes_are_not_copied(content in proptest::collection::vec(any::<u8>(), 1..5000)) {
        let archive = package(Tar::default().file("./a", &content));
        let range = archive.as_ptr_range();
        let package = read(archive.clone()).unwrap();
        let EntryKind::File(kiln_layer::Payload::Plain(bytes)) = &package.entries[0].kind else {
            panic!("the file comes first");
        };
        prop_assert_eq!(bytes, &Bytes::from(content));
        prop_assert!(range.contains(&bytes.as_ptr()));
    }
}
