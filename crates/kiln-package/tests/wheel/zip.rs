//! What the zip reader accepts and what it refuses.

use kiln_layer::Payload;
use kiln_package::zip::{Fault, ZipError, files};
use proptest::prelude::*;

use crate::archive::{Header, Member, deflate, zip, zip_with_count};

/// Why the archive of these members is refused.
fn fault(members: &[Member]) -> Fault {
    match files(&zip(members)) {
        Err(ZipError::Member { fault, .. }) => fault,
        other => panic!("not refused for a member: {other:?}"),
    }
}

fn one() -> Member {
    Member::deflated("a", b"content content content")
}

fn renamed(name: &[u8]) -> Member {
    one().both(|header| header.name = name.to_vec())
}

#[test]
fn payloads_are_views_of_the_archive() {
    let archive = zip(&[
        one(),
        Member::stored("b/c", b"plain"),
        Member::deflated("é", b""),
    ]);
    let members = files(&archive).unwrap();
    let names: Vec<&str> = members.iter().map(|member| &*member.name).collect();
    assert_eq!(names, ["a", "b/c", "é"]);
    let Payload::Deflated { data, crc32, size } = &members[0].payload else {
        panic!("{:?}", members[0]);
    };
    assert_eq!(*data, deflate(b"content content content"));
    assert_eq!(
        (*crc32, *size),
        (crc32fast::hash(b"content content content"), 23)
    );
    assert!(archive.as_ptr_range().contains(&data.as_ptr()));
    assert_eq!(
        members[0].read(23).unwrap(),
        &b"content content content"[..]
    );
    assert_eq!(members[1].read(5).unwrap(), &b"plain"[..]);
    assert!(matches!(&members[2].payload, Payload::Plain(empty) if empty.is_empty()));
}

#[test]
fn a_stream_ends_where_the_archive_says_and_not_before() {
    let content = b"content content content";
    let whole = deflate(content);
    let cut = Member::deflated("a", content).with_data(&whole[..whole.len() - 1]);
    let members = files(&zip(&[cut])).unwrap();
    assert!(members[0].read(23).is_err());
    // Nor is a file empty that only its size says is.
    for data in [&whole[..], b"", b"\x03\x00x"] {
        let empty = Member::deflated("a", b"").with_data(data);
        assert!(matches!(fault(&[empty]), Fault::Corrupt));
    }
}

#[test]
fn directories_are_left_out() {
    let directory = Member::stored("d/", b"").with_mode(0o040_755);
    assert_eq!(
        files(&zip(&[directory, Member::stored("d/x", b"")]))
            .unwrap()
            .len(),
        1
    );
}

#[test]
fn the_executable_bit_counts_for_regular_files_only() {
    for (mode, expected) in [
        (0o100_755, true),
        (0o100_001, true),
        (0o100_644, false),
        (0o755, false),
        (0, false),
    ] {
        let members = files(&zip(&[one().with_mode(mode)])).unwrap();
        assert_eq!(members[0].is_executable(), expected, "{mode:o}");
    }
}

#[test]
fn a_beginning_is_read_without_the_rest() {
    let mut member = one();
    // Damage behind the part that is looked at.
    member.central.crc32 ^= 1;
    member.local.crc32 ^= 1;
    let members = files(&zip(&[member])).unwrap();
    assert!(members[0].starts_with(b"content").unwrap());
    assert!(!members[0].starts_with(b"contents").unwrap());
    assert!(!members[0].starts_with(&[b'c'; 24]).unwrap());
    assert!(members[0].read(100).is_err());
}

#[test]
fn other_files_are_no_archives() {
    for bytes in [
        &b""[..],
        b"PK",
        b"not a zip archive, but longer than its last record",
    ] {
        assert!(matches!(
            files(&bytes.to_vec().into()),
            Err(ZipError::Structure(_))
        ));
    }
}

#[test]
fn trailing_bytes_are_refused() {
    let mut archive = zip(&[one()]).to_vec();
    archive.push(0);
    assert!(matches!(
        files(&archive.into()),
        Err(ZipError::TrailingBytes)
    ));
}

#[test]
fn a_wrong_member_count_is_refused() {
    for count in [0, 2] {
        let outcome = files(&zip_with_count(&[one()], count));
        assert!(matches!(
            outcome,
            Err(ZipError::MemberCount { found: 1, .. })
        ));
    }
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    for name in [
        &b"../a"[..],
        b"a/../b",
        b"..",
        b"/etc/passwd",
        b"//a",
        b"a//b",
        b"./a",
        b"a/.",
        b"a\\b",
        b"..\\a",
        b"C:a",
        b"c:/a",
        b"a\0b",
        b"a\nb",
        b"a\x7fb",
        b"",
        b"/",
        b"a//",
    ] {
        let fault = fault(&[renamed(name)]);
        assert!(matches!(fault, Fault::Name(_)), "{name:?}: {fault}");
    }
}

#[test]
fn names_in_unknown_encodings_are_refused() {
    assert!(matches!(fault(&[renamed("é".as_bytes())]), Fault::Name(_)));
    let not_utf8 = renamed(b"\xff").both(|header| header.flags = 1 << 11);
    assert!(matches!(fault(&[not_utf8]), Fault::Name(_)));
}

#[test]
fn two_members_at_one_path_are_refused() {
    for names in [
        &["a", "a"][..],
        &["a", "a/"],
        &["a/", "a/"],
        &["a", "a/b"],
        &["a/b", "a"],
        &["a/b/c", "a/b"],
        &["a/b", "a/b/c/d"],
    ] {
        let members: Vec<_> = names.iter().map(|name| Member::stored(name, b"")).collect();
        let members: Vec<_> = members
            .into_iter()
            .map(|member| member.with_mode(0))
            .collect();
        assert!(matches!(fault(&members), Fault::Duplicate), "{names:?}");
    }
}

#[test]
fn encryption_is_refused() {
    for flag in [1 << 0, 1 << 6, 1 << 13] {
        let member = one().both(|header| header.flags |= flag);
        assert!(matches!(fault(&[member]), Fault::Encrypted));
    }
}

#[test]
fn other_compression_methods_are_refused() {
    for method in [9, 12, 14, 93, 99] {
        let member = one().both(|header| header.method = method);
        assert!(matches!(fault(&[member]), Fault::Method(found) if found == method));
    }
}

#[test]
fn links_and_devices_are_refused() {
    for mode in [
        0o120_777, 0o020_666, 0o060_660, 0o010_644, 0o140_755, 0o040_755,
    ] {
        assert!(matches!(fault(&[one().with_mode(mode)]), Fault::FileType(found) if found == mode));
    }
    let file_as_directory = Member::stored("d/", b"").with_mode(0o100_644);
    assert!(matches!(fault(&[file_as_directory]), Fault::FileType(_)));
}

#[test]
fn a_directory_with_content_is_refused() {
    let directory = Member::stored("d/", b"hidden").with_mode(0o040_755);
    assert!(matches!(fault(&[directory]), Fault::DirectoryWithContent));
}

#[test]
fn a_local_header_that_disagrees_is_refused() {
    let changes: [fn(&mut Header); 6] = [
        |header| header.name = b"b".to_vec(),
        |header| header.method = 0,
        |header| header.crc32 ^= 1,
        |header| header.compressed -= 1,
        |header| header.size += 1,
        |header| header.flags |= 1 << 3,
    ];
    for change in changes {
        let mut member = one();
        change(&mut member.local);
        assert!(matches!(fault(&[member]), Fault::LocalHeader(_)));
    }
}

/// A member whose sizes follow its data.
fn streamed(descriptor: impl Fn(&Header) -> Vec<u8>) -> Member {
    let mut member = one().both(|header| header.flags |= 1 << 3);
    member.descriptor = descriptor(&member.central);
    (
        member.local.crc32,
        member.local.compressed,
        member.local.size,
    ) = (0, 0, 0);
    member
}

fn narrow(header: &Header) -> Vec<u8> {
    [header.crc32, header.compressed, header.size]
        .map(u32::to_le_bytes)
        .concat()
}

fn wide(header: &Header) -> Vec<u8> {
    let sizes = [header.compressed, header.size].map(|size| u64::from(size).to_le_bytes());
    [&header.crc32.to_le_bytes()[..], &sizes.concat()].concat()
}

#[test]
fn all_forms_of_data_descriptors_are_accepted() {
    let signed = |descriptor: Vec<u8>| [&b"PK\x07\x08"[..], &descriptor].concat();
    for member in [
        streamed(narrow),
        streamed(wide),
        streamed(|header| signed(narrow(header))),
        streamed(|header| signed(wide(header))),
    ] {
        let members = files(&zip(&[member, Member::stored("b", b"x")])).unwrap();
        assert_eq!(
            members[0].read(100).unwrap(),
            &b"content content content"[..]
        );
    }
}

#[test]
fn a_data_descriptor_that_disagrees_is_refused() {
    for position in [0, 4, 8] {
        let member = streamed(|header| {
            let mut descriptor = narrow(header);
            descriptor[position] ^= 1;
            descriptor
        });
        assert!(matches!(fault(&[member]), Fault::Descriptor));
    }
}

#[test]
fn overlapping_members_are_refused() {
    // Two names for one local header are caught by its name; this one hides a whole member
    // in the data of another.
    let inner = zip(&[Member::stored("b", b"x")]);
    let outer = Member::stored("a", &inner);
    let mut hidden = Member::stored("b", b"x");
    hidden.offset = Some(31); // behind the header of `a` and its name
    assert!(matches!(fault(&[outer, hidden]), Fault::Overlap));
}

#[test]
fn a_member_that_reaches_into_the_directory_is_refused() {
    let member = one().both(|header| header.compressed += 1);
    assert!(matches!(fault(&[member]), Fault::Overlap));
}

#[test]
fn members_outside_the_archive_are_refused() {
    let mut member = one();
    member.offset = Some(0x00ff_ffff);
    assert!(matches!(fault(&[member]), Fault::Outside(_)));
    let member = one().both(|header| header.compressed = 0x7fff_ffff);
    assert!(matches!(fault(&[member]), Fault::Outside(_)));
}

#[test]
fn sizes_beyond_what_deflate_can_make_are_refused() {
    let bomb = one().both(|header| header.size = header.compressed * 1032 + 1);
    assert!(matches!(fault(&[bomb]), Fault::Expansion { .. }));
    let stored = Member::stored("a", b"content").both(|header| header.size += 1);
    assert!(matches!(fault(&[stored]), Fault::Expansion { .. }));
}

#[test]
fn a_zip64_size_that_no_archive_can_hold_is_refused() {
    let huge = one().both(|header| {
        header.size = u32::MAX;
        header.extra = [&[1, 0, 8, 0][..], &(1_u64 << 60).to_le_bytes()].concat();
    });
    assert!(matches!(fault(&[huge]), Fault::Expansion { size, .. } if size == 1 << 60));
    // The marker for a 64-bit size without that size.
    let nothing = one().both(|header| header.size = u32::MAX);
    assert!(matches!(fault(&[nothing]), Fault::Expansion { .. }));
}

#[test]
fn stored_bytes_must_match_their_checksum() {
    let member = Member::stored("a", b"content").both(|header| header.crc32 ^= 1);
    assert!(matches!(fault(&[member]), Fault::Corrupt));
    let empty = Member::deflated("a", b"").both(|header| header.crc32 = 1);
    assert!(matches!(fault(&[empty]), Fault::Corrupt));
}

#[test]
fn inflated_bytes_must_match_what_is_stated() {
    let longer = one().both(|header| header.size -= 1);
    let shorter = one().both(|header| header.size += 1);
    let other = one().both(|header| header.crc32 ^= 1);
    let mut padded = one().both(|header| header.compressed += 1);
    padded.data.push(0);
    let mut broken = one();
    broken.data[0] = 0xff;
    for member in [longer, shorter, other, padded, broken] {
        let members = files(&zip(&[member])).unwrap();
        let outcome = members[0].read(1000);
        assert!(matches!(
            outcome,
            Err(ZipError::Member {
                fault: Fault::Corrupt,
                ..
            })
        ));
    }
}

#[test]
fn no_more_is_inflated_than_the_caller_wants() {
    let members = files(&zip(&[one()])).unwrap();
    let outcome = members[0].read(22);
    assert!(matches!(
        outcome,
        Err(ZipError::Member {
            fault: Fault::Limit { limit: 22 },
            ..
        })
    ));
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let _ = files(&bytes.into());
    }

    #[test]
    fn damaged_archives_never_panic(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)
    ) {
        let mut bytes = zip(&[one(), streamed(wide), Member::stored("b/c", b"x")]).to_vec();
        for (position, value) in damage {
            let position = position.index(bytes.len());
            bytes[position] = value;
        }
        if let Ok(members) = files(&bytes.into()) {
            for member in members {
                let _ = (member.read(1 << 20), member.starts_with(b"#!python"));
            }
        }
    }

    #[test]
    fn what_is_written_is_read(
        contents in prop::collection::btree_map("[a-zé]{1,8}", any::<Vec<u8>>(), 0..12)
    ) {
        let written: Vec<Member> = contents
            .iter()
            .map(|(name, content)| match content.len() % 2 {
                0 => Member::stored(name, content),
                _ => Member::deflated(name, content),
            })
            .collect();
        let members = files(&zip(&written)).unwrap();
        prop_assert_eq!(members.len(), contents.len());
        for (member, (name, content)) in members.iter().zip(&contents) {
            prop_assert_eq!(&member.name, name);
            prop_assert_eq!(&member.read(1 << 20).unwrap()[..], &content[..]);
        }
    }
}
