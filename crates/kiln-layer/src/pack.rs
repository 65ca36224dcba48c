//! Packing one piece: the bytes that it adds to the tar stream and to the blob.

use std::ops::Deref;

use kiln_digest::Digest;

use crate::batch::{Batch, CHUNK, Piece};
use crate::buffer::Buffer;
use crate::estargz::Chunk;
use crate::inflate::{CorruptPayload, Inflater, check_empty, check_length, inflate_member};
use crate::tar::{self, padding, write_header};
use crate::write::{Compression, LayerError};
use crate::{Entry, EntryKind, Payload, gzip};

/// The level of libdeflate for plain payloads in gzip form; see the crate's documentation.
const GZIP_LEVEL: i32 = 5;

/// The level of zstd.
const ZSTD_LEVEL: i32 = 3;

/// Room for a few headers, so that most buffers need not grow.
const SLACK: usize = 64 << 10;

/// Bytes of a packed piece: made here, or a view of an archive.
pub(crate) enum Part<'a> {
    Owned(Buffer),
    Borrowed(&'a [u8]),
}

impl Deref for Part<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Owned(buffer) => buffer,
            Self::Borrowed(bytes) => bytes,
        }
    }
}

impl Part<'_> {
    /// How much memory it holds.
    pub(crate) fn held(&self) -> usize {
        match self {
            Self::Owned(buffer) => buffer.capacity(),
            Self::Borrowed(_) => 0,
        }
    }
}

/// A piece in both of its forms.
pub(crate) struct Packed<'a> {
    pub(crate) tar: Part<'a>,
    pub(crate) blob: Part<'a>,
    /// What must go back to the cutter.
    pub(crate) inflater: Option<Box<Inflater<'a>>>,
    /// Where its files are, for a table of contents.
    pub(crate) chunks: Vec<Chunk>,
}

/// One thread's compressors.
pub(crate) struct Packer<'a> {
    compression: Compression,
    /// All entries, sorted, to find the targets of hard links.
    entries: &'a [Entry],
    inflate: libdeflater::Decompressor,
    deflate: libdeflater::Compressor,
    zstd: Option<zstd::bulk::Compressor<'static>>,
    scratch: Vec<u8>,
    chunks: Vec<Chunk>,
}

impl<'a> Packer<'a> {
    pub(crate) fn new(compression: Compression, entries: &'a [Entry]) -> Self {
        Self {
            compression,
            entries,
            inflate: libdeflater::Decompressor::new(),
            deflate: libdeflater::Compressor::new(
                libdeflater::CompressionLvl::new(GZIP_LEVEL).unwrap_or_default(),
            ),
            zstd: None,
            scratch: Vec::new(),
            chunks: Vec::new(),
        }
    }

    /// Packs `piece` into buffers that `spare` hands out.
    pub(crate) fn pack(
        &mut self,
        piece: Piece<'a>,
        spare: impl Fn() -> Buffer,
    ) -> Result<Packed<'a>, LayerError> {
        let (tar, blob, inflater) = match piece {
            Piece::Batch(batch) => {
                let (mut tar, mut blob) = (spare(), spare());
                tar.reserve(batch.nominal + SLACK);
                blob.reserve(batch.nominal / 2 + SLACK);
                self.batch(&batch, &mut tar, &mut blob)?;
                (Part::Owned(tar), Part::Owned(blob), None)
            }
            Piece::Plain { data, whole } => {
                let mut blob = spare();
                self.note(0, data, |_| whole.map(Digest::of));
                self.deflate_member(data, &mut blob)?;
                (Part::Borrowed(data), Part::Owned(blob), None)
            }
            Piece::Whole {
                entry,
                stream,
                crc32,
                size,
            } => {
                let (mut tar, mut blob) = (spare(), spare());
                blob.reserve(stream.len() + SLACK);
                self.copy_member(entry, (stream, crc32), tar.grow(size), &mut blob)?;
                (Part::Owned(tar), Part::Owned(blob), None)
            }
            Piece::Stream {
                entry,
                mut inflater,
                size,
            } => {
                let mut tar = spare();
                let read = inflater
                    .fill(tar.grow(size))
                    .map_err(|reason| corrupt(entry, reason))?;
                let blob = if self.compression == Compression::Estargz {
                    let mut blob = spare();
                    self.note(0, &tar, |_| inflater.digest());
                    self.deflate_member(&tar, &mut blob)?;
                    Part::Owned(blob)
                } else {
                    Part::Borrowed(read)
                };
                (Part::Owned(tar), blob, Some(inflater))
            }
        };
        let blob = match (self.compression, blob) {
            (Compression::Gzip | Compression::Estargz, blob) => blob,
            // What stands in the buffer was only needed to verify it.
            (Compression::Zstd, Part::Owned(mut buffer)) => {
                buffer.truncate(0);
                Part::Owned(self.zstd_frames(&tar, buffer)?)
            }
            (Compression::Zstd, Part::Borrowed(_)) => Part::Owned(self.zstd_frames(&tar, spare())?),
        };
        Ok(Packed {
            tar,
            blob,
            inflater,
            chunks: std::mem::take(&mut self.chunks),
        })
    }

    fn batch(
        &mut self,
        batch: &Batch<'a>,
        tar: &mut Buffer,
        blob: &mut Buffer,
    ) -> Result<(), LayerError> {
        if let Some((crc32, size)) = batch.closes {
            blob.extend(&gzip::trailer(crc32, size));
        }
        // Where the headers and padding begin that are not yet in a member.
        let mut start = 0;
        tar.grow(batch.padding).fill(0);
        let small = batch.entries.len() - usize::from(batch.ends_with_large);
        for (index, entry) in batch.entries.iter().enumerate() {
            self.scratch.clear();
            write_header(entry, tar::target(entry, self.entries), &mut self.scratch);
            tar.extend(&self.scratch);
            let EntryKind::File(payload) = &entry.kind else {
                continue;
            };
            if let Payload::Deflated { data, size, .. } = payload {
                check_length(data.len(), *size).map_err(|reason| corrupt(entry, reason))?;
            }
            if index >= small {
                break;
            }
            match payload {
                Payload::Deflated {
                    data,
                    crc32,
                    size: 0,
                } => {
                    check_empty(data, *crc32).map_err(|reason| corrupt(entry, reason))?;
                }
                Payload::Deflated { data, crc32, size } => {
                    self.headers_member(&tar[start..], blob);
                    let size = usize::try_from(*size).unwrap_or(CHUNK);
                    let (content, at) = (tar.len(), blob.len());
                    self.copy_member(entry, (data, *crc32), tar.grow(size), blob)?;
                    self.note(at, &tar[content..], Some);
                    start = tar.len();
                }
                Payload::Plain(data) if data.is_empty() => {}
                Payload::Plain(data) => {
                    self.headers_member(&tar[start..], blob);
                    tar.extend(data);
                    self.note(blob.len(), data, Some);
                    self.deflate_member(data, blob)?;
                    start = tar.len();
                }
            }
            tar.grow(padding(payload.size())).fill(0);
        }
        // The table of contents is still to come.
        if batch.last && self.compression != Compression::Estargz {
            tar.extend(&tar::END);
        }
        self.headers_member(&tar[start..], blob);
        if batch.opens {
            blob.extend(&gzip::HEADER);
        }
        Ok(())
    }

    /// Notes for a table of contents that the member at `at` of the blob holds `content`. `file`
    /// gives the digest of the whole file, if it is known by now, from that of this part.
    fn note(&mut self, at: usize, content: &[u8], file: impl FnOnce(Digest) -> Option<Digest>) {
        if self.compression == Compression::Estargz {
            let digest = Digest::of(content);
            self.chunks.push(Chunk {
                at,
                size: content.len() as u64,
                digest,
                file: file(digest),
            });
        }
    }

    fn headers_member(&mut self, headers: &[u8], blob: &mut Buffer) {
        if self.compression != Compression::Zstd && !headers.is_empty() {
            self.scratch.clear();
            gzip::write_headers(headers, &mut self.scratch);
            blob.extend(&self.scratch);
        }
    }

    /// Appends a member around `stream` to `blob` and inflates it into `out`, verified.
    fn copy_member(
        &mut self,
        entry: &Entry,
        (stream, crc32): (&[u8], u32),
        out: &mut [u8],
        blob: &mut Buffer,
    ) -> Result<(), LayerError> {
        let start = blob.len();
        blob.extend(&gzip::HEADER);
        blob.extend(stream);
        blob.extend(&gzip::trailer(crc32, out.len() as u64));
        inflate_member(&mut self.inflate, &blob[start..], out)
            .map_err(|reason| corrupt(entry, reason))
    }

    /// Appends a member with `data`, compressed, to `blob`.
    pub(crate) fn deflate_member(
        &mut self,
        data: &[u8],
        blob: &mut Buffer,
    ) -> Result<(), LayerError> {
        if self.compression == Compression::Zstd {
            return Ok(());
        }
        blob.extend(&gzip::HEADER);
        let start = blob.len();
        let bound = self.deflate.deflate_compress_bound(data.len());
        let length = self
            .deflate
            .deflate_compress(data, blob.grow(bound))
            .map_err(|_| LayerError::Compressor)?;
        blob.truncate(start + length);
        blob.extend(&gzip::trailer(crc32fast::hash(data), data.len() as u64));
        Ok(())
    }

    /// Appends frames of at most [`CHUNK`] bytes of content each to `blob`.
    fn zstd_frames(&mut self, tar: &[u8], mut blob: Buffer) -> Result<Buffer, LayerError> {
        let zstd = match &mut self.zstd {
            Some(zstd) => zstd,
            none => none.insert(
                zstd::bulk::Compressor::new(ZSTD_LEVEL).map_err(|_| LayerError::Compressor)?,
            ),
        };
        for chunk in tar.chunks(CHUNK) {
            let start = blob.len();
            let bound = zstd::zstd_safe::compress_bound(chunk.len());
            let length = zstd
                .compress_to_buffer(chunk, blob.grow(bound))
                .map_err(|_| LayerError::Compressor)?;
            blob.truncate(start + length);
        }
        Ok(blob)
    }
}

fn corrupt(entry: &Entry, reason: CorruptPayload) -> LayerError {
    LayerError::Corrupt {
        path: entry.path.clone(),
        source: reason,
    }
}
