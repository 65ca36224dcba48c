//! A small writer of zip archives in which every field can be made to lie, and of wheels.

use std::{fmt::Write as _, io::Write as _};

use bytes::Bytes;
use flate2::{Compression, write::DeflateEncoder};

/// The fields that a member has twice: in its local header and in the central directory.
#[derive(Debug, Clone)]
pub(crate) struct Header {
    pub(crate) flags: u16,
    pub(crate) method: u16,
    pub(crate) crc32: u32,
    pub(crate) compressed: u32,
    pub(crate) size: u32,
    pub(crate) name: Vec<u8>,
    pub(crate) extra: Vec<u8>,
}

#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) local: Header,
    pub(crate) central: Header,
    /// Unix type and permissions.
    pub(crate) mode: u32,
    pub(crate) data: Vec<u8>,
    /// What follows the data.
    pub(crate) descriptor: Vec<u8>,
    /// Where the directory says that the local header is, if not where it is.
    pub(crate) offset: Option<u32>,
}

impl Member {
    pub(crate) fn stored(name: &str, content: &[u8]) -> Self {
        Self::new(name, content, 0, content.to_vec())
    }

    pub(crate) fn deflated(name: &str, content: &[u8]) -> Self {
        Self::new(name, content, 8, deflate(content))
    }

    /// Changes both headers in the same way.
    pub(crate) fn both(mut self, change: impl Fn(&mut Header)) -> Self {
        change(&mut self.local);
        change(&mut self.central);
        self
    }

    /// Other compressed bytes, whatever the headers say of their content.
    pub(crate) fn with_data(mut self, data: &[u8]) -> Self {
        self.data = data.to_vec();
        let length = data.len().try_into().unwrap();
        self.both(|header| header.compressed = length)
    }

    pub(crate) fn with_mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    fn new(name: &str, content: &[u8], method: u16, data: Vec<u8>) -> Self {
        let header = Header {
            flags: if name.is_ascii() { 0 } else { 1 << 11 },
            method,
            crc32: crc32fast::hash(content),
            compressed: data.len().try_into().unwrap(),
            size: content.len().try_into().unwrap(),
            name: name.as_bytes().to_vec(),
            extra: Vec::new(),
        };
        Self {
            local: header.clone(),
            central: header,
            mode: 0o100_644,
            data,
            descriptor: Vec::new(),
            offset: None,
        }
    }
}

pub(crate) fn deflate(content: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn header(signature: [u8; 4], version: &[u8], header: &Header) -> Vec<u8> {
    let mut bytes = [&signature[..], version].concat();
    bytes.extend(header.flags.to_le_bytes());
    bytes.extend(header.method.to_le_bytes());
    bytes.extend([0, 0, 0x21, 0]); // 1980-01-01
    for number in [header.crc32, header.compressed, header.size] {
        bytes.extend(number.to_le_bytes());
    }
    for length in [header.name.len(), header.extra.len()] {
        bytes.extend(u16::try_from(length).unwrap().to_le_bytes());
    }
    bytes
}

/// A zip archive of these members, in this order.
pub(crate) fn zip(members: &[Member]) -> Bytes {
    zip_with_count(members, members.len().try_into().unwrap())
}

/// A zip archive that states another count of members.
pub(crate) fn zip_with_count(members: &[Member], count: u16) -> Bytes {
    let mut bytes = Vec::new();
    let mut directory = Vec::new();
    for member in members {
        let offset = member.offset.unwrap_or(bytes.len().try_into().unwrap());
        bytes.extend(header(*b"PK\x03\x04", &[20, 0], &member.local));
        bytes.extend([&member.local.name[..], &member.local.extra, &member.data].concat());
        bytes.extend(&member.descriptor);

        directory.extend(header(*b"PK\x01\x02", &[20, 3, 20, 0], &member.central));
        directory.extend([0; 6]); // comment, disk, internal attributes
        directory.extend((member.mode << 16).to_le_bytes());
        directory.extend(offset.to_le_bytes());
        directory.extend([&member.central.name[..], &member.central.extra].concat());
    }
    let start = u32::try_from(bytes.len()).unwrap();
    let length = u32::try_from(directory.len()).unwrap();
    bytes.extend(directory);
    bytes.extend(b"PK\x05\x06\0\0\0\0");
    bytes.extend([count.to_le_bytes(), count.to_le_bytes()].concat());
    bytes.extend([length.to_le_bytes(), start.to_le_bytes()].concat());
    bytes.extend([0, 0]);
    bytes.into()
}

/// The members of a sound wheel `demo-1.0-py3-none-any.whl` with these files; RECORD is last.
pub(crate) fn wheel_members(files: Vec<Member>) -> Vec<Member> {
    let mut members = files;
    members.push(Member::deflated(
        "demo-1.0.dist-info/METADATA",
        b"Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n\ntext\n",
    ));
    members.push(Member::deflated(
        "demo-1.0.dist-info/WHEEL",
        b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    ));
    let mut record = String::new();
    for member in &members {
        let name = std::str::from_utf8(&member.central.name).unwrap();
        writeln!(record, "{name},sha256=kept,{}", member.central.size).unwrap();
    }
    record.push_str("demo-1.0.dist-info/RECORD,,\n");
    members.push(record_member(&record));
    members
}

pub(crate) fn record_member(text: &str) -> Member {
    Member::deflated("demo-1.0.dist-info/RECORD", text.as_bytes())
}

/// A sound wheel `demo-1.0-py3-none-any.whl` with these files.
pub(crate) fn wheel(files: Vec<Member>) -> Bytes {
    zip(&wheel_members(files))
}
