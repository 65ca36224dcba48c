//! Entry streams → canonical OCI layers.
//!
//! This crate owns *layer format 1*: how a set of [`Entry`]s becomes one tar stream and how
//! that stream is compressed, bit for bit the same on every machine.
//!
//! # Words
//!
//! - **entry**: one path of a layer with its metadata and, for a file, its payload.
//! - **payload**: the bytes of a file; either a raw DEFLATE stream out of a zip (to be copied
//!   into the layer as it is: *transmuxed*), or plain bytes.
//! - **contribution**: the entries of one package, before they are merged with those of others.
//! - **member**: one gzip member (RFC 1952). A layer is many members in a row, which is one
//!   valid gzip file.
//! - **piece**: a unit of work; a batch of small entries or a part of a large file.
//! - **diff ID**: the digest of the uncompressed tar stream.
//!
//! # The way of an entry
//!
//! [`merge()`] makes one sorted list of the contributions, finds conflicts and adds parents;
//! [`write_layer`] checks that the list is a layer, cuts it into pieces (`batch`), packs them on
//! all cores (`pack`) and hashes and writes them in order (`schedule`). [`read_layer`] reads
//! layers of any maker; [`compare_layers`] says in what two of them differ.
//!
//! # Layer format 1
//!
//! 1. The tar stream: entries sorted by path bytes, each with the header that `tar` defines,
//!    payloads padded to 512 bytes, two zero blocks at the end.
//! 2. In gzip form the stream is cut into members: one for each payload that is not empty, and
//!    one for the headers and padding between two payloads (also cut at the end of a piece, see
//!    `batch`). Plain payloads of more than 4 MiB have a member for each 4 MiB.
//! 3. Members of headers are encoded by `deflate`, here. DEFLATE payloads are copied. Plain
//!    payloads are compressed by libdeflate 1.26 (crate `libdeflater` 1.26.1) at level 5.
//! 4. In zstd form each piece is compressed by zstd 1.5.7 (crate `zstd` 0.14.3) at level 3, in
//!    frames of at most 4 MiB of a large file; frames state their content size and have no
//!    checksum.
//! 5. In eStargz form the layer is gzip with a table of contents behind it, and every large file has
//!    a member for each 4 MiB, compressed here (`estargz`).
//!
//! Level 5 of libdeflate, measured on one core with 330 MB of shared libraries and 44 MB of small
//! scripts: 130 MB/s, and 0.6 % larger than level 6 (110 MB/s). Level 4 is 15 % faster but 2 %
//! larger, level 1 60 % faster but 6 to 8 % larger, level 9 three times slower for 1.3 % less. A
//! layer is packed once and pulled often, yet it is packed while somebody waits. Frames of 4 MiB
//! cost zstd 0.7 % of size against a single frame, and can be made in parallel.
//!
//! # Invariants
//!
//! - The bytes depend on the entries and the compression, on nothing else: not on threads, not
//!   on the order of contributions (where directories do not differ), not on the machine.
//! - No payload enters a layer unverified: a copied stream is exactly one DEFLATE stream with
//!   the stated length and CRC-32.
//! - Anonymous memory stays below about 100 MiB for each layer that is written.

mod batch;
mod buffer;
mod compare;
mod deflate;
mod entry;
mod estargz;
mod gzip;
mod hardlinks;
mod inflate;
mod merge;
mod pack;
mod parents;
mod read;
mod schedule;
mod stream;
mod tally;
mod tar;
mod tar_reader;
mod validate;
mod write;

pub use compare::{Aspect, LayerDifferences, PathDifference, compare_layers};
pub use entry::{Entry, EntryKind, EntryPath, EntryPathError, Payload, REPRODUCIBLE_MTIME};
pub use estargz::is_for_lazy_readers;
pub use inflate::CorruptPayload;
pub use merge::{Contribution, Difference, MergeError, merge};
pub use parents::{DirectoryMetadata, OwnedTree, ParentPolicy};
pub use read::{LayerRecord, ReadError, ReadLimits, RecordKind, read_layer};
pub use stream::write_tar;
pub use validate::InvalidEntry;
pub use write::{Compression, LayerError, LayerOptions, LayerSummary, write_layer};

/// The version of the layer format. Part of every action key: whatever changes the bytes of a
/// layer must change it.
pub const LAYER_FORMAT: u32 = 1;
