//! Writing zip archives whose bytes are a function of what they hold.
//!
//! The form: members in the order of the caller, each a local header and its data, then the
//! central directory. No data descriptors, extra fields, comments or ZIP64. Times are
//! 1980-01-01T00:00:00, the first that the format has. A member is compressed by the compressor
//! of layer format 1 (libdeflate, level 5), or stored where that would not make it smaller. So a
//! layer of these members copies their compressed bytes, see [`kiln_layer::Payload`].

use std::io::{self, Write};

use kiln_layer::EntryPath;
use libdeflater::{CompressionLvl, Compressor};

use super::REGULAR;

/// The level at which layers are compressed, too.
const LEVEL: i32 = 5;

const LOCAL_HEADER: [u8; 4] = *b"PK\x03\x04";
const DIRECTORY_HEADER: [u8; 4] = *b"PK\x01\x02";
const END: [u8; 4] = *b"PK\x05\x06";

/// APPNOTE 4.4.3: DEFLATE needs 2.0.
const VERSION: u16 = 20;
/// APPNOTE 4.4.2: made on Unix, so that attributes hold a mode.
const MADE_ON_UNIX: u16 = 3 << 8 | VERSION;
/// APPNOTE 4.4.4, bit 11: the name is UTF-8.
const UTF8: u16 = 1 << 11;
const STORED: u16 = 0;
const DEFLATED: u16 = 8;
/// Year 0 (1980), month 1, day 1.
const DATE: u16 = 1 << 5 | 1;

/// A member to write.
#[derive(Debug, Clone, Copy)]
pub struct NewMember<'a> {
    /// Its path: relative, normal, in UTF-8.
    pub name: &'a str,
    /// Permission bits.
    pub mode: u32,
    /// Its content.
    pub content: &'a [u8],
}

/// Why an archive cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// A name that no reader should accept.
    #[error("`{0}` cannot be the name of a zip member")]
    Name(String),
    /// More than 65,535 members, or 4 GiB: what needs ZIP64 is not written.
    #[error("too many members or bytes for a zip archive")]
    TooLarge,
    /// The destination failed.
    #[error("writing a zip archive")]
    Io(#[from] io::Error),
}

/// Writes an archive of `members` into `out`.
pub fn write<'a>(
    members: impl IntoIterator<Item = NewMember<'a>>,
    out: impl Write,
) -> Result<(), WriteError> {
    let (mut packer, mut archive) = (Packer::default(), Archive::new(out));
    for member in members {
        let (fields, data) = packer.compress(member.content)?;
        archive.add(member.name, member.mode, fields, data)?;
    }
    archive.finish()
}

/// Writes an archive of members that are compressed already.
pub fn write_packed(
    members: impl IntoIterator<Item = PackedMember>,
    out: impl Write,
) -> Result<(), WriteError> {
    let mut archive = Archive::new(out);
    for member in members {
        archive.add(&member.name, member.mode, member.fields, &member.data)?;
    }
    archive.finish()
}

/// A member whose data are as they will stand in an archive.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PackedMember {
    name: String,
    mode: u32,
    data: Vec<u8>,
    fields: Fields,
}

/// Compresses members one after another.
pub struct Packer {
    compressor: Compressor,
    buffer: Vec<u8>,
}

impl Default for Packer {
    fn default() -> Self {
        Self {
            compressor: Compressor::new(CompressionLvl::new(LEVEL).unwrap_or_default()),
            buffer: Vec::new(),
        }
    }
}

impl Packer {
    /// Compresses a member, to be written later.
    pub fn pack(&mut self, member: &NewMember<'_>) -> Result<PackedMember, WriteError> {
        let (fields, data) = self.compress(member.content)?;
        Ok(PackedMember {
            name: member.name.to_owned(),
            mode: member.mode,
            data: data.to_vec(),
            fields,
        })
    }

    fn compress<'a>(&'a mut self, content: &'a [u8]) -> Result<(Fields, &'a [u8]), WriteError> {
        let size = narrow(content.len())?;
        let (method, data) = match deflate(&mut self.compressor, content, &mut self.buffer) {
            Some(data) => (DEFLATED, data),
            None => (STORED, content),
        };
        let fields = Fields {
            method,
            crc32: crc32fast::hash(content),
            compressed: narrow(data.len())?,
            size,
        };
        Ok((fields, data))
    }
}

/// An archive that is being written.
struct Archive<W> {
    out: W,
    directory: Vec<u8>,
    offset: u32,
    count: u16,
}

impl<W: Write> Archive<W> {
    fn new(out: W) -> Self {
        Self {
            out,
            directory: Vec::new(),
            offset: 0,
            count: 0,
        }
    }

    fn add(
        &mut self,
        name: &str,
        mode: u32,
        fields: Fields,
        data: &[u8],
    ) -> Result<(), WriteError> {
        let local = local_header(name, fields)?;
        self.out.write_all(&local)?;
        self.out.write_all(data)?;
        directory_record(&mut self.directory, name, mode, fields, self.offset)?;
        let length = narrow(local.len() + data.len())?;
        let offset = self.offset.checked_add(length);
        self.offset = offset.ok_or(WriteError::TooLarge)?;
        self.count = self.count.checked_add(1).ok_or(WriteError::TooLarge)?;
        Ok(())
    }

    /// Writes the directory.
    fn finish(mut self) -> Result<(), WriteError> {
        let directory_size = narrow(self.directory.len())?;
        // Readers take these values for the sign of ZIP64.
        if self.count == u16::MAX || self.offset.checked_add(directory_size).is_none() {
            return Err(WriteError::TooLarge);
        }
        let out = &mut self.out;
        out.write_all(&self.directory)?;
        out.write_all(&END)?;
        out.write_all(&[0; 4])?;
        out.write_all(&self.count.to_le_bytes())?;
        out.write_all(&self.count.to_le_bytes())?;
        out.write_all(&directory_size.to_le_bytes())?;
        out.write_all(&self.offset.to_le_bytes())?;
        out.write_all(&[0; 2])?;
        Ok(())
    }
}

/// What local header and directory both say of a member's data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Fields {
    method: u16,
    crc32: u32,
    compressed: u32,
    size: u32,
}

impl Fields {
    /// From "version needed" to the length of extra fields (APPNOTE 4.3.7 and 4.3.12).
    fn put(&self, out: &mut Vec<u8>, name: &str) -> Result<(), WriteError> {
        let length = u16::try_from(name.len()).map_err(|_| WriteError::Name(name.to_owned()))?;
        let flags = if name.is_ascii() { 0 } else { UTF8 };
        for field in [VERSION, flags, self.method, 0, DATE] {
            out.extend(field.to_le_bytes());
        }
        for field in [self.crc32, self.compressed, self.size] {
            out.extend(field.to_le_bytes());
        }
        out.extend(length.to_le_bytes());
        out.extend([0; 2]);
        Ok(())
    }
}

fn local_header(name: &str, fields: Fields) -> Result<Vec<u8>, WriteError> {
    if EntryPath::new(name).is_err() {
        return Err(WriteError::Name(name.to_owned()));
    }
    let mut header = LOCAL_HEADER.to_vec();
    fields.put(&mut header, name)?;
    header.extend(name.as_bytes());
    Ok(header)
}

fn directory_record(
    directory: &mut Vec<u8>,
    name: &str,
    mode: u32,
    fields: Fields,
    offset: u32,
) -> Result<(), WriteError> {
    directory.extend(DIRECTORY_HEADER);
    directory.extend(MADE_ON_UNIX.to_le_bytes());
    fields.put(directory, name)?;
    // No comment, first disk, binary.
    directory.extend([0; 6]);
    let mode = REGULAR | (mode & 0o7777);
    directory.extend((mode << 16).to_le_bytes());
    directory.extend(offset.to_le_bytes());
    directory.extend(name.as_bytes());
    Ok(())
}

/// The DEFLATE stream of `content` if it is shorter.
fn deflate<'a>(
    compressor: &mut Compressor,
    content: &[u8],
    packed: &'a mut Vec<u8>,
) -> Option<&'a [u8]> {
    packed.resize(compressor.deflate_compress_bound(content.len()), 0);
    let length = compressor.deflate_compress(content, packed).ok()?;
    (length < content.len()).then(|| &packed[..length])
}

/// Lengths have 32 bits, and the largest one means ZIP64.
fn narrow(length: usize) -> Result<u32, WriteError> {
    match u32::try_from(length) {
        Ok(length) if length < u32::MAX => Ok(length),
        _ => Err(WriteError::TooLarge),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::zip::files;

    fn member(name: &'static str, content: &'static [u8]) -> NewMember<'static> {
        NewMember {
            name,
            mode: 0o644,
            content,
        }
    }

    fn archive(members: &[NewMember<'_>]) -> Bytes {
        let mut out = Vec::new();
        write(members.iter().copied(), &mut out).unwrap();
        out.into()
    }

    /// Spelt out from APPNOTE, so that a change of the form is noticed: archives have digests.
    #[test]
    fn the_form_is_the_documented_one() {
        let crc32 = [0x86, 0xa6, 0x10, 0x36]; // of "hello"
        let fields: Vec<u8> = [
            &[20, 0, 0, 0, 0, 0, 0, 0, 0x21, 0][..],
            &crc32,
            &[5, 0, 0, 0, 5, 0, 0, 0, 1, 0, 0, 0],
        ]
        .concat();
        let expected = [
            b"PK\x03\x04",
            &fields[..],
            b"ahello",
            b"PK\x01\x02\x14\x03",
            &fields,
            &[0, 0, 0, 0, 0, 0, 0, 0, 0xa4, 0x81, 0, 0, 0, 0],
            b"a",
            b"PK\x05\x06\0\0\0\0\x01\0\x01\0",
            &[47, 0, 0, 0, 36, 0, 0, 0, 0, 0],
        ]
        .concat();
        assert_eq!(archive(&[member("a", b"hello")])[..], expected);
    }

    #[test]
    fn an_archive_without_members_is_one() {
        assert!(files(&archive(&[])).unwrap().is_empty());
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        for name in ["/etc/passwd", "../up", "", "a//b"] {
            let outcome = write([member(name, b"")], io::sink());
            assert!(matches!(outcome, Err(WriteError::Name(_))), "{name}");
        }
    }

    #[test]
    fn what_needs_zip64_is_refused() {
        let names: Vec<String> = (0..65_535).map(|number| number.to_string()).collect();
        let members = |count| {
            names[..count].iter().map(|name| NewMember {
                name,
                mode: 0o644,
                content: b"",
            })
        };
        assert!(write(members(65_534), io::sink()).is_ok());
        let outcome = write(members(65_535), io::sink());
        assert!(matches!(outcome, Err(WriteError::TooLarge)));
    }

    proptest! {
        #[test]
        fn our_reader_reads_what_was_written(
            members in prop::collection::btree_map("[a-zé]{1,8}\\.py", (any::<Vec<u8>>(), 0_usize..300), 0..8),
        ) {
            let contents: Vec<_> = members
                .iter()
                .map(|(name, (content, times))| (name, content.repeat(*times)))
                .collect();
            let new: Vec<_> = contents
                .iter()
                .map(|(name, content)| NewMember { name, mode: 0o755, content })
                .collect();
            let mut packer = Packer::default();
            let packed = new.iter().map(|member| packer.pack(member).unwrap());
            let mut later = Vec::new();
            write_packed(packed.collect::<Vec<_>>(), &mut later).unwrap();
            prop_assert_eq!(&archive(&new)[..], later);
            let read = files(&archive(&new)).unwrap();
            prop_assert_eq!(read.len(), contents.len());
            for (read, (name, content)) in read.iter().zip(&contents) {
                prop_assert_eq!(&read.name, *name);
                prop_assert!(read.is_executable());
                prop_assert_eq!(&read.read(1 << 20).unwrap()[..], &content[..]);
            }
        }
    }
}
