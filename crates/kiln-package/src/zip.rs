//! Zip archives: bounded reading, without copying what they hold; and writing ([`write()`]).
//!
//! The format is PKWARE's APPNOTE 6.3; wheels use a small part of it. The central directory is
//! the only truth (as for every installer), but the local headers and data descriptors must say
//! the same: an archive that two readers could understand in two ways is refused as a whole.
//!
//! [`files`] gives every file in the order of the central directory. Directories are checked
//! and left out: whoever places the files knows their parents.
//!
//! Invariants of what [`files`] returns: names are unique normal relative paths in UTF-8, no
//! name is a directory of another one, payloads do not overlap in the archive, sizes are within
//! what DEFLATE can produce, and stored members match their CRC-32. What a DEFLATE stream
//! really holds is checked when it is inflated: by [`Member::read`], or when the layer is made.

mod error;
mod write;

use std::{
    collections::{HashMap, HashSet},
    io::Read,
    ops::Range,
};

use bytes::Bytes;
use kiln_layer::{EntryPath, Payload};
use rawzip::{CompressionMethod, ZipArchive, ZipFileHeaderRecord, ZipSliceArchive};

pub use error::{Fault, ZipError};
pub use write::{NewMember, PackedMember, Packer, WriteError, write, write_packed};

/// The most members that an archive may have (the largest real wheels have some 30,000).
pub const MAX_MEMBERS: usize = 200_000;

/// The most bytes that the files of one archive may have together.
pub const MAX_TOTAL_SIZE: u64 = 64 << 30;

/// DEFLATE's limit: 258 bytes from two bits.
const MAX_EXPANSION: u64 = 1032;

/// How far from the end the end-of-central-directory record may begin: its 22 bytes and a
/// comment of at most 65,535.
const END_SEARCH: u64 = 22 + 65_535;

const FILE_TYPE: u32 = 0o170_000;
const REGULAR: u32 = 0o100_000;
const DIRECTORY: u32 = 0o040_000;

/// A file in an archive.
#[derive(Debug, Clone)]
pub struct Member {
    /// Path inside the archive.
    pub name: String,
    /// Unix file type and permissions as the archive states them; 0 where it states none.
    pub unix_mode: u32,
    /// The content; a view of the archive.
    pub payload: Payload,
}

impl Member {
    fn refused(&self, fault: Fault) -> ZipError {
        refuse(&self.name, fault)
    }

    /// The whole content, verified, when it has at most `limit` bytes.
    pub fn read(&self, limit: u64) -> Result<Bytes, ZipError> {
        if self.payload.size() > limit {
            return Err(self.refused(Fault::Limit { limit }));
        }
        let (data, crc32, size) = match &self.payload {
            Payload::Plain(data) => return Ok(data.clone()),
            Payload::Deflated { data, crc32, size } => (data, *crc32, *size),
        };
        let inflated = inflate(data, size).filter(|bytes| crc32fast::hash(bytes) == crc32);
        let inflated = inflated.ok_or_else(|| self.refused(Fault::Corrupt))?;
        Ok(inflated.into())
    }

    /// Whether the content begins with `prefix`. Inflates no more than that.
    pub fn starts_with(&self, prefix: &[u8]) -> Result<bool, ZipError> {
        if self.payload.size() < prefix.len() as u64 {
            return Ok(false);
        }
        match &self.payload {
            Payload::Plain(data) => Ok(data.starts_with(prefix)),
            Payload::Deflated { data, .. } => {
                let mut start = vec![0; prefix.len()];
                flate2::bufread::DeflateDecoder::new(&data[..])
                    .read_exact(&mut start)
                    .map_err(|_| self.refused(Fault::Corrupt))?;
                Ok(start == prefix)
            }
        }
    }

    /// Whether the archive marks it as an executable regular file.
    pub fn is_executable(&self) -> bool {
        self.unix_mode & FILE_TYPE == REGULAR && self.unix_mode & 0o111 != 0
    }
}

/// The files of `archive`, in the order of its directory.
pub fn files(archive: &Bytes) -> Result<Vec<Member>, ZipError> {
    let zip = ZipArchive::with_max_search_space(END_SEARCH)
        .locate_in_slice(&archive[..])
        .map_err(|(_, error)| ZipError::Structure(error))?;
    if zip.end_offset() != archive.len() as u64 {
        return Err(ZipError::TrailingBytes);
    }

    let mut members = Vec::new();
    let mut regions = Vec::new();
    let mut paths = Paths::default();
    let mut found = 0;
    let mut total: u64 = 0;
    let mut records = zip.entries();
    while let Some(record) = records.next_entry().map_err(ZipError::Structure)? {
        found += 1;
        if found > MAX_MEMBERS as u64 {
            return Err(ZipError::TooManyMembers);
        }
        let shown = String::from_utf8_lossy(record.file_path().as_bytes()).into_owned();
        let refuse = |fault| refuse(&shown, fault);
        let (name, is_directory) = name(&record).map_err(refuse)?;
        paths.insert(name, is_directory).map_err(refuse)?;
        let located = locate(&zip, &record).map_err(refuse)?;
        let unix_mode = record.external_attributes() >> 16;
        check_type(unix_mode, is_directory, &record).map_err(refuse)?;
        if !is_directory {
            total = total.saturating_add(record.uncompressed_size_hint());
            members.push(Member {
                name: name.to_owned(),
                unix_mode,
                payload: payload(archive, &record, &located).map_err(refuse)?,
            });
        }
        regions.push((located.region, shown));
    }
    if total > MAX_TOTAL_SIZE {
        return Err(ZipError::TooLarge);
    }
    if found != zip.entries_hint() {
        return Err(ZipError::MemberCount {
            stated: zip.entries_hint(),
            found,
        });
    }
    check_overlap(regions, zip.directory_offset())?;
    Ok(members)
}

fn refuse(name: &str, fault: Fault) -> ZipError {
    ZipError::Member {
        name: name.escape_debug().take(200).collect(),
        fault,
    }
}

/// The path of a member without the final `/` of a directory, and whether it is a directory.
fn name<'a>(record: &ZipFileHeaderRecord<'a>) -> Result<(&'a str, bool), Fault> {
    let bytes = record.file_path().as_bytes();
    if !bytes.is_ascii() && !record.flags().is_utf8() {
        return Err(Fault::Name("is neither ASCII nor marked as UTF-8"));
    }
    let name = std::str::from_utf8(bytes).map_err(|_| Fault::Name("is not UTF-8"))?;
    if name.contains(|character: char| character == '\\' || character.is_control()) {
        return Err(Fault::Name("has a backslash or a control character"));
    }
    if bytes.len() >= 2 && bytes[0].is_ascii_alphabetic() && bytes[1] == b':' {
        return Err(Fault::Name("begins with a drive"));
    }
    let (path, is_directory) = match name.strip_suffix('/') {
        Some(path) => (path, true),
        None => (name, false),
    };
    EntryPath::new(path).map_err(|_| Fault::Name("is not a normal relative path"))?;
    Ok((path, is_directory))
}

/// Every path seen so far: explicit members, and directories that members imply.
#[derive(Default)]
struct Paths<'a> {
    explicit: HashSet<&'a str>,
    /// Path → whether it is a directory.
    all: HashMap<&'a str, bool>,
}

impl<'a> Paths<'a> {
    fn insert(&mut self, path: &'a str, is_directory: bool) -> Result<(), Fault> {
        if !self.explicit.insert(path)
            || *self.all.entry(path).or_insert(is_directory) != is_directory
        {
            return Err(Fault::Duplicate);
        }
        let mut rest = path;
        while let Some((parent, _)) = rest.rsplit_once('/') {
            match self.all.insert(parent, true) {
                None => rest = parent,
                // Its own parents are known, too.
                Some(true) => break,
                Some(false) => return Err(Fault::Duplicate),
            }
        }
        Ok(())
    }
}

fn check_type(
    unix_mode: u32,
    is_directory: bool,
    record: &ZipFileHeaderRecord<'_>,
) -> Result<(), Fault> {
    match (unix_mode & FILE_TYPE, is_directory) {
        (0, _) | (REGULAR, false) | (DIRECTORY, true) => {}
        _ => return Err(Fault::FileType(unix_mode)),
    }
    if is_directory && record.uncompressed_size_hint() != 0 {
        return Err(Fault::DirectoryWithContent);
    }
    Ok(())
}

/// Where a member lies in the archive.
struct Located {
    /// Its compressed bytes.
    data: Range<u64>,
    /// All that belongs to it: local header, data, data descriptor.
    region: Range<u64>,
}

/// Finds a member and compares what is said of it in the two (or three) places.
fn locate(
    zip: &ZipSliceArchive<&[u8]>,
    record: &ZipFileHeaderRecord<'_>,
) -> Result<Located, Fault> {
    let flags = record.flags();
    if flags.is_encrypted() || flags.has_strong_encryption() || flags.is_masked() {
        return Err(Fault::Encrypted);
    }
    let entry = zip.get_entry(record.wayfinder()).map_err(Fault::Outside)?;
    let local = entry.local_header();
    let same_flags = local.flags().is_encrypted() == flags.is_encrypted()
        && local.flags().is_utf8() == flags.is_utf8()
        && local.flags().has_data_descriptor() == flags.has_data_descriptor();
    let sizes_follow = flags.has_data_descriptor();
    let agreements = [
        (
            local.file_path().as_bytes() == record.file_path().as_bytes(),
            "name",
        ),
        (
            local.compression_method() == record.compression_method(),
            "method",
        ),
        (same_flags, "set of flags"),
        (sizes_follow || local.crc32() == record.crc32(), "CRC-32"),
        (
            sizes_follow || local.compressed_size_hint() == record.compressed_size_hint(),
            "compressed size",
        ),
        (
            sizes_follow || local.uncompressed_size_hint() == record.uncompressed_size_hint(),
            "size",
        ),
    ];
    if let Some((_, what)) = agreements.iter().find(|(agrees, _)| !agrees) {
        return Err(Fault::LocalHeader(what));
    }

    let (start, end) = entry.compressed_data_range();
    let mut region = record.local_header_offset()..end;
    if sizes_follow {
        region.end += descriptor_length(&zip.get_ref()[index(end)..], record)?;
    }
    Ok(Located {
        data: start..end,
        region,
    })
}

/// The length of the data descriptor at the start of `bytes` (APPNOTE 4.3.9): its signature is
/// optional, and its sizes have 32 or 64 bits.
fn descriptor_length(bytes: &[u8], record: &ZipFileHeaderRecord<'_>) -> Result<u64, Fault> {
    const SIGNATURE: &[u8] = b"PK\x07\x08";
    let crc32 = record.crc32().to_le_bytes();
    let sizes = [
        record.compressed_size_hint(),
        record.uncompressed_size_hint(),
    ];
    let wide = sizes.map(u64::to_le_bytes).concat();
    let mut forms = vec![[&crc32[..], &wide].concat()];
    if let [Ok(compressed), Ok(size)] = sizes.map(u32::try_from) {
        let narrow = [compressed, size].map(u32::to_le_bytes).concat();
        forms.push([&crc32[..], &narrow].concat());
    }
    for form in forms {
        for form in [[SIGNATURE, &form].concat(), form] {
            if bytes.starts_with(&form) {
                return Ok(form.len() as u64);
            }
        }
    }
    Err(Fault::Descriptor)
}

/// A view of the content, with all checks that need no inflating.
fn payload(
    archive: &Bytes,
    record: &ZipFileHeaderRecord<'_>,
    located: &Located,
) -> Result<Payload, Fault> {
    let data = archive.slice(index(located.data.start)..index(located.data.end));
    let (compressed, size) = (data.len() as u64, record.uncompressed_size_hint());
    let crc32 = record.crc32();
    let expansion = match record.compression_method() {
        CompressionMethod::STORE => 1,
        CompressionMethod::DEFLATE => MAX_EXPANSION,
        method => return Err(Fault::Method(method.as_u16())),
    };
    if size > compressed.saturating_mul(expansion) || (expansion == 1 && size != compressed) {
        return Err(Fault::Expansion { compressed, size });
    }
    let plain = match record.compression_method() {
        CompressionMethod::STORE => data,
        // Nothing to copy: a layer then needs no gzip member for it.
        _ if size == 0 && inflate(&data, 0).is_some() => Bytes::new(),
        _ if size == 0 => return Err(Fault::Corrupt),
        _ => return Ok(Payload::Deflated { data, crc32, size }),
    };
    if crc32fast::hash(&plain) == crc32 {
        Ok(Payload::Plain(plain))
    } else {
        Err(Fault::Corrupt)
    }
}

/// The `size` bytes of which `data` are one DEFLATE stream, from its first byte to its last.
/// flate2's readers take a stream that is cut off for one that ends.
fn inflate(data: &[u8], size: u64) -> Option<Vec<u8>> {
    // One byte more than stated is enough to see that there are more.
    let mut inflated = Vec::with_capacity(usize::try_from(size).ok()?.checked_add(1)?);
    let mut stream = flate2::Decompress::new(false);
    let status = stream.decompress_vec(data, &mut inflated, flate2::FlushDecompress::Finish);
    let is_whole = matches!(status, Ok(flate2::Status::StreamEnd))
        && stream.total_in() == data.len() as u64
        && inflated.len() as u64 == size;
    is_whole.then_some(inflated)
}

fn check_overlap(mut regions: Vec<(Range<u64>, String)>, directory: u64) -> Result<(), ZipError> {
    regions.sort_unstable_by_key(|(region, _)| region.start);
    let starts = regions.iter().skip(1).map(|(region, _)| region.start);
    let limits: Vec<u64> = starts.chain([directory]).collect();
    for ((region, name), limit) in regions.iter().zip(limits) {
        if region.end > limit {
            return Err(refuse(name, Fault::Overlap));
        }
    }
    Ok(())
}

/// An offset that was found to lie inside the archive, which is in memory.
fn index(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}
