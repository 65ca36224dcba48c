use std::io::Write as _;

use flate2::{Compression, write::GzEncoder};
use proptest::prelude::*;

use super::*;

/// A ustar header and its content, by hand (POSIX.1-2017, pax, "ustar Interchange Format").
fn member(name: &str, kind: u8, link: &str, mode: u32, mtime: u64, content: &[u8]) -> Vec<u8> {
    let mut header = [0_u8; 512];
    let mut field = |at: usize, text: &str| {
        header[at..at + text.len()].copy_from_slice(text.as_bytes());
    };
    field(0, name);
    field(100, &format!("{mode:07o}"));
    field(108, "0001750");
    field(116, "0001750");
    field(124, &format!("{:011o}", content.len()));
    field(136, &format!("{mtime:011o}"));
    field(148, "        ");
    field(157, link);
    field(257, "ustar\x0000");
    header[156] = kind;
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..154].copy_from_slice(format!("{sum:06o}").as_bytes());
    header[154] = 0;
    let mut bytes = header.to_vec();
    bytes.extend(content);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

fn archive(members: &[Vec<u8>]) -> Bytes {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(&members.concat()).unwrap();
    gzip.write_all(&[0; 1024]).unwrap();
    gzip.finish().unwrap().into()
}

fn file(name: &str, content: &[u8]) -> Vec<u8> {
    member(name, b'0', "", 0o664, 1_700_000_000, content)
}

fn read_tar(members: &[Vec<u8>]) -> Result<Sdist, SdistError> {
    read(&archive(members), "a-1.tar.gz", &std::env::temp_dir())
}

fn content(entry: &Entry) -> &[u8] {
    match &entry.kind {
        EntryKind::File(Payload::Plain(content)) => content,
        other => panic!("{other:?} is no plain file"),
    }
}

#[test]
fn the_content_of_the_one_directory_is_read() {
    let pyproject = b"[build-system]\nrequires = ['hatchling']\nbuild-backend = 'hatchling.build'";
    let sdist = read_tar(&[
        member("a-1/", b'5', "", 0o700, 0, b""),
        file("a-1/pyproject.toml", pyproject),
        member("a-1/configure", b'0', "", 0o744, 0, b"#!/bin/sh\n"),
        member("a-1/doc", b'2', "src/doc", 0o777, 0, b""),
        member("a-1/same", b'1', "a-1/configure", 0o744, 0, b""),
    ])
    .unwrap();
    let paths: Vec<String> = sdist
        .entries
        .iter()
        .map(|entry| entry.path.to_string())
        .collect();
    assert_eq!(paths, ["configure", "doc", "pyproject.toml", "same"]);
    assert_eq!(content(&sdist.entries[2]), pyproject);
    assert_eq!(content(&sdist.entries[3]), b"#!/bin/sh\n");
    let modes: Vec<u32> = sdist.entries.iter().map(|entry| entry.mode).collect();
    assert_eq!(modes, [0o755, 0o777, 0o644, 0o755]);
    assert!(sdist.entries.iter().all(|it| (it.uid, it.gid) == (0, 0)));
    assert_eq!(sdist.build_system.backend, "hatchling.build");
}

#[test]
fn times_are_the_archives_but_none_is_before_1980() {
    let sdist = read_tar(&[
        file("a-1/new", b""),
        member("a-1/old", b'0', "", 0o644, 0, b""),
    ])
    .unwrap();
    let times: Vec<i64> = sdist.entries.iter().map(|entry| entry.mtime).collect();
    assert_eq!(times, [1_700_000_000, 315_532_800]);
}

#[test]
fn the_later_of_two_members_of_one_path_holds() {
    let sdist = read_tar(&[file("a-1/x", b"first"), file("a-1/x", b"second")]).unwrap();
    assert_eq!(content(&sdist.entries[0]), b"second");
}

#[test]
fn a_zip_serves_as_well() {
    let mut zip = Vec::new();
    let member = |name, mode, content| crate::zip::NewMember {
        name,
        mode,
        content,
    };
    crate::zip::write(
        [
            member("a-1/setup.py", 0o644, &b"import setuptools"[..]),
            member("a-1/run", 0o755, b""),
        ],
        &mut zip,
    )
    .unwrap();
    let sdist = read(&zip.into(), "a-1.zip", &std::env::temp_dir()).unwrap();
    assert_eq!(sdist.entries.len(), 2);
    assert_eq!(sdist.entries[0].mode, 0o755);
    assert_eq!(content(&sdist.entries[1]), b"import setuptools");
    assert_eq!(sdist.build_system, BuildSystem::default());
}

#[test]
fn what_leads_outside_is_refused() {
    let link = |target| [member("a-1/b/link", b'2', target, 0o777, 0, b"")];
    assert!(read_tar(&link("../other")).is_ok());
    for target in ["/etc/passwd", "../../b", "../../../etc", "x/../../../y"] {
        assert!(
            matches!(read_tar(&link(target)), Err(SdistError::Link(_))),
            "{target}"
        );
    }
    assert!(read_tar(&[file("a-1/../../x", b"")]).is_err());
    let nowhere = [member("a-1/x", b'1', "a-1/y", 0o644, 0, b"")];
    assert!(matches!(read_tar(&nowhere), Err(SdistError::Link(_))));
}

#[test]
fn what_is_no_source_distribution_is_refused() {
    let two = [file("a-1/x", b""), file("b-1/x", b"")];
    assert!(matches!(read_tar(&two), Err(SdistError::Top)));
    assert!(matches!(read_tar(&[file("x", b"")]), Err(SdistError::Top)));
    assert!(matches!(read_tar(&[]), Err(SdistError::Top)));
    let fifo = [member("a-1/x", b'6', "", 0o644, 0, b"")];
    assert!(matches!(read_tar(&fifo), Err(SdistError::Kind(_))));
    let plain = Bytes::from(file("a-1/x", b""));
    let spool = std::env::temp_dir();
    assert!(matches!(
        read(&plain, "a-1.tar.gz", &spool),
        Err(SdistError::NotGzip)
    ));
    assert!(matches!(
        read(&plain, "a-1.tar.bz2", &spool),
        Err(SdistError::Form(_))
    ));
}

proptest! {
    #[test]
    fn no_bytes_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
        at: usize,
        value: u8,
    ) {
        let spool = std::env::temp_dir();
        let _ = read(&bytes.clone().into(), "a-1.zip", &spool);
        let gzipped = [&[0x1f, 0x8b][..], &bytes].concat();
        let _ = read(&gzipped.into(), "a-1.tar.gz", &spool);
        let mut damaged = [
            member("a-1/link", b'2', "target", 0o777, 0, b""),
            file("a-1/pyproject.toml", b"[build-system]\n"),
        ];
        let at = at % 1024;
        damaged[at / 512][at % 512] = value;
        let _ = read_tar(&damaged);
    }
}
