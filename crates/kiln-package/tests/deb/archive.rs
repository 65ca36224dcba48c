//! A tiny writer of packages, able to write wrong ones.

use std::io::Write as _;

use bytes::Bytes;
use kiln_package::deb::{self, DebError, DebPackage, Fault, UsrMerge};

/// The control paragraph of most test packages.
pub(crate) const CONTROL: &str = "\
Package: probe
Version: 1.0-1
Architecture: amd64
Maintainer: Somebody <somebody@example.org>
Description: probe
";

/// The time of every member.
pub(crate) const TIME: u64 = 1_700_000_000;

/// A tar archive under construction.
#[derive(Debug, Default, Clone)]
pub(crate) struct Tar(Vec<u8>);

impl Tar {
    pub(crate) fn directory(self, name: &str) -> Self {
        self.member(b'5', name.as_bytes(), b"", b"", 0o755)
    }

    pub(crate) fn file(self, name: &str, content: &[u8]) -> Self {
        self.member(b'0', name.as_bytes(), b"", content, 0o644)
    }

    pub(crate) fn symlink(self, name: &str, target: &str) -> Self {
        self.member(b'2', name.as_bytes(), target.as_bytes(), b"", 0o777)
    }

    pub(crate) fn hardlink(self, name: &str, target: &str) -> Self {
        self.member(b'1', name.as_bytes(), target.as_bytes(), b"", 0o644)
    }

    /// Any member, with a GNU header. `name` and `link` have at most 100 bytes.
    pub(crate) fn member(
        mut self,
        kind: u8,
        name: &[u8],
        link: &[u8],
        content: &[u8],
        mode: u32,
    ) -> Self {
        let mut header = [0; 512];
        let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, name);
        put(100, format!("{mode:07o}\0").as_bytes());
        put(108, b"0000000\0");
        put(116, b"0000000\0");
        put(124, format!("{:011o}\0", content.len()).as_bytes());
        put(136, format!("{TIME:011o}\0").as_bytes());
        put(148, b"        ");
        put(156, &[kind]);
        put(157, link);
        put(257, b"ustar  \0");
        let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.0.extend_from_slice(&header);
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    /// A pax header for the next member.
    pub(crate) fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let mut data = Vec::new();
        for (key, value) in records {
            let rest = 1 + key.len() + 1 + value.len() + 1;
            let mut length = rest + 1;
            while length != rest + length.to_string().len() {
                length += 1;
            }
            data.extend_from_slice(format!("{length} {key}=").as_bytes());
            data.extend_from_slice(value);
            data.push(b'\n');
        }
        self.member(b'x', b"pax", b"", &data, 0o644)
    }

    pub(crate) fn unfinished(self) -> Vec<u8> {
        self.0
    }

    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }
}

/// An `ar` archive of these members.
pub(crate) fn ar(members: &[(&str, &[u8])]) -> Bytes {
    let mut archive = b"!<arch>\n".to_vec();
    for (name, data) in members {
        archive.extend_from_slice(
            format!(
                "{name:<16}{TIME:<12}0     0     100644  {:<10}`\n",
                data.len()
            )
            .as_bytes(),
        );
        archive.extend_from_slice(data);
        archive.resize(archive.len().next_multiple_of(2), b'\n');
    }
    archive.into()
}

/// A package with uncompressed parts.
pub(crate) fn deb(control: &[u8], data: &[u8]) -> Bytes {
    ar(&[
        ("debian-binary", b"2.0\n"),
        ("control.tar", control),
        ("data.tar", data),
    ])
}

/// `control.tar` with the usual paragraph.
pub(crate) fn control() -> Vec<u8> {
    Tar::default()
        .file("./control", CONTROL.as_bytes())
        .finish()
}

/// A package of these files.
pub(crate) fn package(data: Tar) -> Bytes {
    deb(&control(), &data.finish())
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// The merged directories of bookworm.
pub(crate) fn bookworm() -> UsrMerge {
    let names = ["bin", "sbin", "lib", "lib32", "lib64", "libx32"];
    UsrMerge(names.map(str::to_owned).to_vec())
}

/// Reads a package merged as in bookworm.
pub(crate) fn read(archive: Bytes) -> Result<DebPackage, DebError> {
    let spool = tempfile::tempdir().unwrap();
    let result = deb::read(archive, "probe.deb", &bookworm(), spool.path());
    assert!(std::fs::read_dir(spool.path()).unwrap().next().is_none());
    result
}

/// Why a package of these files is refused.
pub(crate) fn refusal(archive: Bytes) -> Fault {
    read(archive).expect_err("it must be refused").fault
}
