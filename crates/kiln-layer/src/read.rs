//! Reading layers, ours and others': to verify, to inspect, to unpack.
//!
//! A layer may be gzip of any number of members, zstd of any number of frames, or a bare tar
//! stream. It is read once, in a stream; both digests are of all its bytes, also of those after
//! the end of the archive.

use std::io::{self, BufRead, BufReader, Read};

use crate::tally::Tally;
use crate::tar_reader::{Next, TarReader};
use crate::{EntryPath, EntryPathError, LayerSummary};

/// What a reader puts up with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadLimits {
    /// The length of the tar stream in bytes.
    pub unpacked_size: u64,
    /// How many entries there may be.
    pub entries: u64,
}

impl Default for ReadLimits {
    /// 64 GiB and four million entries.
    fn default() -> Self {
        Self {
            unpacked_size: 64 << 30,
            entries: 4_000_000,
        }
    }
}

/// What stands at a path of a layer that is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecordKind {
    /// A directory.
    Directory,
    /// A regular file; its content is read through the second argument of the visitor.
    File,
    /// A symbolic link.
    Symlink(Vec<u8>),
    /// Another name of a file.
    Hardlink(EntryPath),
    /// The removal of the path from the layers below.
    Whiteout,
    /// The removal of all that the layers below have in this directory.
    OpaqueWhiteout,
    /// A device, a FIFO or something else, by its tar type flag.
    Other(u8),
}

/// One entry of a layer that is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerRecord {
    /// Where; without a leading `./` or `/`. The root directory itself is not shown.
    pub path: EntryPath,
    /// What.
    pub kind: RecordKind,
    /// The length of the content in bytes.
    pub size: u64,
    /// The twelve permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time in whole seconds since the epoch.
    pub mtime: i64,
    /// The value of the `security.capability` attribute.
    pub capability: Option<Vec<u8>>,
}

/// Why a layer could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The bytes could not be read or inflated, or the visitor failed.
    #[error("the layer could not be read")]
    Io(#[from] io::Error),
    /// The tar stream is not one.
    #[error("the tar stream is malformed at byte {offset}: {reason}")]
    Malformed {
        /// Where in the tar stream.
        offset: u64,
        /// What is wrong there.
        reason: &'static str,
    },
    /// A path that leads outside, or is none.
    #[error("the layer has a path that cannot be used")]
    Path(#[from] EntryPathError),
    /// More than [`ReadLimits`] allow.
    #[error("the layer has more {0} than allowed")]
    Limit(&'static str),
}

/// Reads a layer and shows each entry to `visit`, with a reader of the content of files. What
/// `visit` leaves unread is skipped.
///
/// The summary is of what was read: a caller that expects certain digests compares them.
pub fn read_layer<R: Read>(
    blob: R,
    limits: ReadLimits,
    mut visit: impl FnMut(&LayerRecord, &mut dyn Read) -> io::Result<()>,
) -> Result<LayerSummary, ReadError> {
    let mut blob = BufReader::with_capacity(
        256 << 10,
        Tallied {
            inner: blob,
            tally: Tally::default(),
        },
    );
    let magic = blob.fill_buf()?;
    let stream: Box<dyn Read + '_> = match magic {
        [0x1f, 0x8b, ..] => Box::new(flate2::bufread::MultiGzDecoder::new(&mut blob)),
        // A frame, or a skippable frame (RFC 8878, sections 3.1.1 and 3.1.2).
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => {
            Box::new(zstd::stream::read::Decoder::with_buffer(&mut blob)?)
        }
        _ => Box::new(&mut blob),
    };
    let mut reader = TarReader::new(stream, limits.unpacked_size);
    let mut entries = 0;
    loop {
        let next = reader.next_record()?;
        if matches!(next, Next::End) {
            break;
        }
        if entries == limits.entries {
            return Err(ReadError::Limit("entries"));
        }
        entries += 1;
        if let Next::Record(record) = next {
            visit(&record, &mut reader.content())?;
        }
    }
    let (diff_id, unpacked_size) = reader.finish()?;
    io::copy(&mut blob, &mut io::sink())?;
    let (digest, size) = blob.into_inner().tally.finish();
    Ok(LayerSummary {
        digest,
        size,
        diff_id,
        unpacked_size,
        entries,
        toc: None,
    })
}

/// Tallies all that is read through it.
struct Tallied<R> {
    inner: R,
    tally: Tally,
}

impl<R: Read> Read for Tallied<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.tally.add(&buffer[..count]);
        Ok(count)
    }
}
