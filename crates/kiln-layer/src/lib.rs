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
//! - **member**: one gzip member (RFC 1952). A layer is many members in a row, which is one
//!   valid gzip file.
//! - **diff ID**: the digest of the uncompressed tar stream.

mod batch;
mod buffer;
mod deflate;
mod entry;
mod gzip;
mod hardlinks;
mod inflate;
mod merge;
mod pack;
mod parents;
mod schedule;
mod tar;
mod validate;
mod write;

pub use entry::{Entry, EntryKind, EntryPath, EntryPathError, Payload, REPRODUCIBLE_MTIME};
pub use inflate::CorruptPayload;
pub use merge::{Contribution, Difference, MergeError, merge};
pub use parents::{DirectoryMetadata, OwnedTree, ParentPolicy};
pub use validate::InvalidEntry;
pub use write::{Compression, LayerError, LayerOptions, LayerSummary, write_layer};

/// The version of the layer format. Part of every action key: whatever changes the bytes of a
/// layer must change it.
pub const LAYER_FORMAT: u32 = 1;
