//! Cuts `METADATA` out of a wheel that is known in pieces.
//!
//! [`Pieces`] answers reads from the ranges that are here and notes the first read that it
//! cannot answer; the caller fetches that range and asks again. So the reader of zip files
//! decides what is needed: the directory at the end, then one member.

use std::{cell::Cell, io, io::Read as _};

use rawzip::{CompressionMethod, RECOMMENDED_BUFFER_SIZE, ReaderAt, ZipLocator};

/// Longer metadata is not read.
pub(crate) const MAX_METADATA_BYTES: u64 = 16 << 20;
/// A wheel has at most this many members.
const MAX_MEMBERS: usize = 1_000_000;

/// A file of which some ranges are known.
#[derive(Debug)]
pub(crate) struct Pieces {
    total: u64,
    /// Offset and bytes.
    known: Vec<(u64, Vec<u8>)>,
    missing: Cell<Option<u64>>,
}

impl Pieces {
    pub(crate) fn new(total: u64) -> Self {
        Self {
            total,
            known: Vec::new(),
            missing: Cell::new(None),
        }
    }

    pub(crate) fn add(&mut self, offset: u64, bytes: Vec<u8>) {
        self.known.push((offset, bytes));
    }

    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// The offset that a read has missed since the last call.
    pub(crate) fn take_missing(&self) -> Option<u64> {
        self.missing.take()
    }
}

impl ReaderAt for Pieces {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        if offset >= self.total || buffer.is_empty() {
            return Ok(0);
        }
        let rest = self.known.iter().find_map(|(start, bytes)| {
            let from = usize::try_from(offset.checked_sub(*start)?).ok()?;
            bytes.get(from..).filter(|rest| !rest.is_empty())
        });
        let Some(rest) = rest else {
            self.missing.set(self.missing.get().or(Some(offset)));
            return Err(io::Error::other("this part of the file is not here yet"));
        };
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }
}

/// The text of `*.dist-info/METADATA` (the wheel format has exactly one such directory), or
/// why there is none, in words.
pub(crate) fn metadata(wheel: impl ReaderAt, total: u64) -> Result<String, String> {
    let words = |error: rawzip::Error| error.to_string();
    let mut buffer = vec![0; RECOMMENDED_BUFFER_SIZE];
    let archive = ZipLocator::new()
        .locate_in_reader(wheel, &mut buffer, total)
        .map_err(|(_, error)| words(error))?;
    let mut found = None;
    let mut entries = archive.entries(&mut buffer);
    let mut count = 0;
    while let Some(entry) = entries.next_entry().map_err(words)? {
        count += 1;
        if count > MAX_MEMBERS {
            return Err("it has too many members".to_owned());
        }
        if is_metadata(entry.file_path().as_ref()) {
            if found.is_some() {
                return Err("it has more than one dist-info directory".to_owned());
            }
            found = Some((entry.wayfinder(), entry.compression_method()));
        }
    }
    let Some((place, method)) = found else {
        return Err("it has no dist-info/METADATA".to_owned());
    };
    let entry = archive.get_entry(place).map_err(words)?;
    let mut text = Vec::new();
    let read = match method {
        CompressionMethod::STORE => entry
            .verifying_reader(entry.reader())
            .take(MAX_METADATA_BYTES + 1)
            .read_to_end(&mut text),
        CompressionMethod::DEFLATE => entry
            .verifying_reader(flate2::read::DeflateDecoder::new(entry.reader()))
            .take(MAX_METADATA_BYTES + 1)
            .read_to_end(&mut text),
        other => return Err(format!("its METADATA is compressed by {other}")),
    };
    read.map_err(|error| error.to_string())?;
    if text.len() as u64 > MAX_METADATA_BYTES {
        return Err("its METADATA is too long".to_owned());
    }
    // Old metadata may be in other encodings; all fields that kiln reads are ASCII.
    Ok(String::from_utf8_lossy(&text).into_owned())
}

fn is_metadata(path: &[u8]) -> bool {
    path.strip_suffix(b".dist-info/METADATA")
        .is_some_and(|name| !name.is_empty() && !name.contains(&b'/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..600)) {
            let total = bytes.len() as u64;
            proptest::prop_assert!(metadata(bytes, total).is_err());
        }
    }
}
