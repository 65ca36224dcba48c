//! ELF files that no linker makes: of entries that are there twice the last one counts, and however
//! often they name a name, what is kept is bounded.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::{fs, process::Command};

use bytes::Bytes;
use kiln_package::{
    elf::{self, Dynamic, ElfError},
    libraries::{LibrariesError, MAX_FACTS, of_wheel},
};
use proptest::prelude::*;

const HEADER: usize = 64;
const PROGRAM_HEADER: usize = 56;

const STRTAB: u64 = 5;
const STRSZ: u64 = 10;
const NEEDED: u64 = 1;
const SONAME: u64 = 14;
const RPATH: u64 = 15;
const RUNPATH: u64 = 29;
const VERNEED: u64 = 0x6fff_fffe;
const VERNEEDNUM: u64 = 0x6fff_ffff;
const VERDEF: u64 = 0x6fff_fffc;
const VERDEFNUM: u64 = 0x6fff_fffd;

/// A shared object for x86-64 with these dynamic segments and then these strings. Addresses are
/// offsets; each segment names the strings.
fn object(segments: &[&[(u64, u64)]], strings: &[u8]) -> Vec<u8> {
    let mut segments: Vec<_> = segments.iter().map(|it| it.to_vec()).collect();
    let headers = HEADER + PROGRAM_HEADER * (segments.len() + 1);
    // Two entries for the strings, and the end mark.
    let length = |entries: &Vec<(u64, u64)>| 16 * (entries.len() + 3);
    let table = headers + segments.iter().map(length).sum::<usize>();
    for entries in &mut segments {
        entries.splice(
            0..0,
            [(STRTAB, table as u64), (STRSZ, strings.len() as u64)],
        );
        entries.push((0, 0));
    }
    let mut bytes = [elf::MAGIC, &[2, 1, 1], &[0; 9]].concat();
    bytes.extend(3_u16.to_le_bytes());
    bytes.extend(62_u16.to_le_bytes());
    bytes.resize(32, 0);
    bytes.extend((HEADER as u64).to_le_bytes());
    bytes.resize(54, 0);
    for field in [PROGRAM_HEADER, segments.len() + 1] {
        bytes.extend(u16::try_from(field).unwrap().to_le_bytes());
    }
    bytes.resize(HEADER, 0);
    let mut header = |kind: u32, at: usize, length: usize| {
        bytes.extend(kind.to_le_bytes());
        bytes.extend([0; 4]);
        for field in [at, at, at, length, length, 1] {
            bytes.extend((field as u64).to_le_bytes());
        }
    };
    header(1, 0, table + strings.len());
    let mut at = headers;
    for entries in &segments {
        header(2, at, 16 * entries.len());
        at += 16 * entries.len();
    }
    for (tag, value) in segments.iter().flatten() {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(value.to_le_bytes());
    }
    bytes.extend(strings);
    bytes
}

fn read(bytes: &[u8]) -> Result<Dynamic, ElfError> {
    elf::read(bytes).map(|it| it.unwrap().1)
}

#[test]
fn of_entries_that_are_there_twice_the_last_one_counts() {
    let strings = b"/first\0/last\0";
    // What the first ones say is not even read: 999 lies outside.
    for (tag, first) in [(SONAME, 0), (SONAME, 999), (RUNPATH, 999), (RPATH, 999)] {
        let found = read(&object(&[&[(tag, first), (tag, 7)]], strings)).unwrap();
        let names = found
            .soname
            .iter()
            .chain(&found.runpath)
            .chain(&found.rpath);
        assert_eq!(names.collect::<Vec<_>>(), ["/last"], "{tag} {first}");
    }
    let found = read(&object(&[&[(RPATH, 999), (RUNPATH, 7)]], strings)).unwrap();
    assert_eq!(
        (found.runpath, found.rpath),
        (vec!["/last".to_owned()], vec![])
    );
}

#[test]
fn of_several_dynamic_segments_the_last_one_alone_is_read() {
    let crowd = vec![(NEEDED, 0); elf::MAX_ENTRIES];
    let bytes = object(&[&crowd, &[(SONAME, 0)]], b"last\0");
    assert_eq!(read(&bytes).unwrap().soname.as_deref(), Some("last"));
    let bytes = object(&[&[(SONAME, 0)], &crowd], b"last\0");
    assert_eq!(read(&bytes), Err(ElfError::TooMany("dynamic entries")));
}

/// A small file that says a long name many times over.
fn echo(times: usize) -> Vec<u8> {
    let name = [&[b'a'; elf::MAX_NAME - 1][..], &[0]].concat();
    object(&[&vec![(NEEDED, 0); times]], &name)
}

#[test]
fn names_are_counted_by_their_bytes() {
    let most = elf::MAX_BYTES / (elf::MAX_NAME - 1);
    assert_eq!(read(&echo(most)).unwrap().needed.len(), most);
    assert_eq!(read(&echo(most + 1)), Err(ElfError::TooMany("names")));
}

#[test]
fn a_package_that_says_too_much_is_an_error() {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("echo.so"), echo(200)).unwrap();
    let wheel = |copies: usize| {
        let script = "import sys, zipfile\n\
            z = zipfile.ZipFile('demo.whl', 'w', zipfile.ZIP_DEFLATED)\n\
            for i in range(int(sys.argv[1])): z.write('echo.so', f'{i}.so')\n\
            z.close()\n";
        let python = Command::new("python3")
            .current_dir(home.path())
            .args(["-c", script, &copies.to_string()])
            .status();
        assert!(python.unwrap().success());
        let archive = Bytes::from(fs::read(home.path().join("demo.whl")).unwrap());
        of_wheel(&archive, home.path())
    };
    assert_eq!(wheel(10).unwrap().objects.len(), 10);
    let copies = MAX_FACTS / (200 * (elf::MAX_NAME - 1)) + 1;
    let error = wheel(copies).unwrap_err();
    assert!(matches!(error, LibrariesError::TooMuch), "{error}");
}

#[test]
fn a_cut_library_is_an_error_or_says_what_the_whole_one_says() {
    let entries = [(NEEDED, 0), (NEEDED, 7), (SONAME, 7), (RUNPATH, 0)];
    let whole = object(&[&entries], b"/first\0/last\0");
    let says = read(&whole).unwrap();
    assert_eq!(says.needed, ["/first", "/last"]);
    let mut errors = 0;
    for length in 0..whole.len() {
        match elf::read(&whole[..length]) {
            Ok(found) => assert!(found.is_none_or(|(_, it)| it == says), "{length}"),
            Err(_) => errors += 1,
        }
    }
    // From behind `e_machine` to the end of the strings.
    assert_eq!(errors, whole.len() - 20);
}

prop_compose! {
    /// An entry that the reader looks at, with a value near the parts of a small file.
    fn entry()(
        tag in prop::sample::select(vec![
            NEEDED, SONAME, RPATH, RUNPATH, VERNEED, VERNEEDNUM, VERDEF, VERDEFNUM, STRTAB, STRSZ,
        ]),
        value in prop_oneof![0_u64..512, any::<u64>()],
    ) -> (u64, u64) {
        (tag, value)
    }
}

proptest! {
    #[test]
    fn no_entries_panic(
        entries in prop::collection::vec(entry(), 0..12),
        strings in prop::collection::vec(prop_oneof![Just(0_u8), any::<u8>()], 0..256),
    ) {
        let _ = elf::read(&object(&[&entries], &strings));
    }

    #[test]
    fn no_headers_panic(bytes in prop::collection::vec(any::<u8>(), 0..256), at: usize) {
        let mut whole = object(&[&[(NEEDED, 0), (SONAME, 0)]], b"name\0");
        // All from behind `e_machine` may be anything.
        let at = 20 + at % (whole.len() - 20);
        let end = whole.len().min(at + bytes.len());
        whole[at..end].copy_from_slice(&bytes[..end - at]);
        prop_assert!(elf::machine(&whole).is_some());
        let _ = elf::read(&whole);
    }
}
