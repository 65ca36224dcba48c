//! How the tar stream of a layer is cut into pieces of work.
//!
//! The cuts are part of the layer format: a member of headers ends with its batch, and in zstd
//! form every piece is frames of its own. So they depend on the entries alone, never on the
//! number of threads.
//!
//! - A **batch** is entries in a row. It ends after the entry that brings its nominal length to
//!   [`CHUNK`] or more, or after the *header* of a large file. The nominal length of an entry is
//!   that of one block, of its path, of the target of a symbolic link and of its padded payload.
//!   The padding of a large file begins the next batch.
//! - A **large** file has more than [`CHUNK`] bytes. Plain bytes are cut into chunks. DEFLATE
//!   streams are inflated at once up to [`WHOLE`] bytes, above that chunk by chunk.

use std::mem;

use crate::inflate::Inflater;
use crate::tar::{BLOCK, padding};
use crate::{Compression, Entry, EntryKind, Payload};

/// The size of the pieces that large payloads are cut into.
pub(crate) const CHUNK: usize = 4 << 20;

/// Payloads up to this size are inflated in one piece of memory, larger ones in a stream.
pub(crate) const WHOLE: u64 = 32 << 20;

/// A piece of work; the pieces in their order make up the layer.
pub(crate) enum Piece<'a> {
    /// Headers and small files.
    Batch(Batch<'a>),
    /// At most [`CHUNK`] bytes of a large plain payload; the first of them comes with all.
    Plain {
        data: &'a [u8],
        whole: Option<&'a [u8]>,
    },
    /// A large payload that is inflated at once.
    Whole {
        entry: &'a Entry,
        stream: &'a [u8],
        crc32: u32,
        size: usize,
    },
    /// The next chunk of a payload that is inflated in a stream. The inflater must be given back
    /// to the [`Cutter`] before it can cut on.
    Stream {
        entry: &'a Entry,
        inflater: Box<Inflater<'a>>,
        size: usize,
    },
}

/// See [`Piece::Batch`].
pub(crate) struct Batch<'a> {
    /// CRC-32 and size of the streamed payload whose gzip member ends where the batch starts.
    pub(crate) closes: Option<(u32, u64)>,
    /// The zeros that the batch starts with: the padding of a large file.
    pub(crate) padding: usize,
    pub(crate) entries: &'a [Entry],
    /// Whether the last entry is a large file: only its header belongs to the batch.
    pub(crate) ends_with_large: bool,
    /// Whether that file's gzip member starts where the batch ends.
    pub(crate) opens: bool,
    /// Whether the end of the archive belongs to the batch.
    pub(crate) last: bool,
    /// About how many bytes of tar stream it makes.
    pub(crate) nominal: usize,
}

impl Piece<'_> {
    /// About how much memory its packed parts take.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Self::Batch(batch) => 2 * batch.nominal,
            Self::Plain { data, .. } => data.len(),
            Self::Whole { stream, size, .. } => stream.len() + size,
            Self::Stream { size, .. } => *size,
        }
    }
}

/// What a [`Cutter`] has to give.
pub(crate) enum Cut<'a> {
    Piece(Piece<'a>),
    /// Nothing until the inflater is back.
    Blocked,
    End,
}

/// Cuts the entries of a layer.
pub(crate) struct Cutter<'a> {
    entries: &'a [Entry],
    /// Whether every chunk of a large file shall be a member of its own.
    chunked: bool,
    next: Next<'a>,
    closes: Option<(u32, u64)>,
    padding: usize,
}

enum Next<'a> {
    Batch,
    Plain {
        rest: &'a [u8],
        whole: Option<&'a [u8]>,
    },
    Whole(Piece<'a>),
    Stream(&'a Entry, Box<Inflater<'a>>),
    Blocked(&'a Entry),
    End,
}

impl<'a> Cutter<'a> {
    pub(crate) fn new(entries: &'a [Entry], compression: Compression) -> Self {
        Self {
            entries,
            chunked: compression == Compression::Estargz,
            next: Next::Batch,
            closes: None,
            padding: 0,
        }
    }

    /// The next piece.
    pub(crate) fn cut(&mut self) -> Cut<'a> {
        match mem::replace(&mut self.next, Next::Batch) {
            Next::Batch => Cut::Piece(Piece::Batch(self.batch())),
            Next::Plain { rest, whole } => {
                let (data, rest) = rest.split_at(rest.len().min(CHUNK));
                if !rest.is_empty() {
                    self.next = Next::Plain { rest, whole: None };
                }
                Cut::Piece(Piece::Plain { data, whole })
            }
            Next::Whole(piece) => Cut::Piece(piece),
            Next::Stream(entry, inflater) => {
                let size = usize::try_from(inflater.remaining())
                    .unwrap_or(CHUNK)
                    .min(CHUNK);
                self.next = Next::Blocked(entry);
                Cut::Piece(Piece::Stream {
                    entry,
                    inflater,
                    size,
                })
            }
            Next::Blocked(entry) => {
                self.next = Next::Blocked(entry);
                Cut::Blocked
            }
            Next::End => {
                self.next = Next::End;
                Cut::End
            }
        }
    }

    /// Takes the inflater of a [`Piece::Stream`] back.
    pub(crate) fn give_back(&mut self, inflater: Box<Inflater<'a>>) {
        if let Next::Blocked(entry) = self.next {
            self.next = if inflater.remaining() > 0 {
                Next::Stream(entry, inflater)
            } else {
                Next::Batch
            };
        }
    }

    fn batch(&mut self) -> Batch<'a> {
        let closes = self.closes.take();
        let lead = mem::take(&mut self.padding);
        let mut nominal = lead;
        let mut count = 0;
        let mut large = None;
        for entry in self.entries {
            count += 1;
            nominal += BLOCK + entry.path.as_bytes().len();
            if let EntryKind::Symlink(link) = &entry.kind {
                nominal += link.len();
            }
            if let EntryKind::File(payload) = &entry.kind {
                if payload.size() > CHUNK as u64 {
                    large = Some((entry, payload));
                    break;
                }
                #[expect(clippy::cast_possible_truncation, reason = "at most CHUNK")]
                let size = payload.size() as usize;
                nominal += size + padding(size as u64);
            }
            if nominal >= CHUNK {
                break;
            }
        }
        let (entries, rest) = self.entries.split_at(count);
        self.entries = rest;
        let mut opens = false;
        if let Some((entry, payload)) = large {
            self.padding = padding(payload.size());
            self.next = match payload {
                Payload::Plain(data) => Next::Plain {
                    rest: data,
                    whole: Some(data),
                },
                Payload::Deflated { data, crc32, size } => match usize::try_from(*size) {
                    Ok(whole) if *size <= WHOLE && !self.chunked => Next::Whole(Piece::Whole {
                        entry,
                        stream: data,
                        crc32: *crc32,
                        size: whole,
                    }),
                    _ => {
                        if !self.chunked {
                            opens = true;
                            self.closes = Some((*crc32, *size));
                        }
                        let mut inflater = Inflater::new(data, *crc32, *size);
                        if self.chunked {
                            inflater = inflater.hashing();
                        }
                        Next::Stream(entry, Box::new(inflater))
                    }
                },
            };
        }
        // A batch is still to come after a large file: the one with its padding.
        let last = rest.is_empty() && large.is_none();
        if last {
            self.next = Next::End;
        }
        Batch {
            closes,
            padding: lead,
            entries,
            ends_with_large: large.is_some(),
            opens,
            last,
            nominal,
        }
    }
}
