//! Writing a layer: the options, the result, the errors.

use std::io::{self, Write};
use std::num::NonZero;
use std::thread;

use kiln_digest::Digest;

use crate::estargz;
use crate::inflate::CorruptPayload;
use crate::schedule;
use crate::validate::{InvalidEntry, validate};
use crate::{Entry, EntryPath};

/// The compressed form of a layer. The tar stream, and so the diff ID, is the same in the first two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Compression {
    /// `application/vnd.oci.image.layer.v1.tar+gzip`: DEFLATE payloads are copied.
    Gzip,
    /// `application/vnd.oci.image.layer.v1.tar+zstd`: smaller and faster to unpack; everything
    /// is compressed here.
    Zstd,
    /// gzip with eStargz's table of contents, so that single files can be fetched: a file in the tar
    /// stream more, and a member for each 4 MiB of every large file.
    Estargz,
}

/// How a layer is written. `Compression::Gzip.into()` is the usual one. Options that change bytes
/// must be part of action keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct LayerOptions {
    /// The compressed form.
    pub compression: Compression,
    /// How many threads work on the layer; never changes its bytes. By default one for each
    /// core, but at most eight: beyond that the two SHA-256 set the pace.
    pub threads: Option<NonZero<usize>>,
}

impl From<Compression> for LayerOptions {
    fn from(compression: Compression) -> Self {
        Self {
            compression,
            threads: None,
        }
    }
}

impl LayerOptions {
    /// The same with this number of threads.
    #[must_use]
    pub fn threads(self, threads: NonZero<usize>) -> Self {
        Self {
            threads: Some(threads),
            ..self
        }
    }

    pub(crate) fn thread_count(self) -> usize {
        let cores = || {
            thread::available_parallelism()
                .map_or(1, NonZero::get)
                .min(8)
        };
        self.threads.map_or_else(cores, NonZero::get)
    }
}

/// What a layer is, once it is written or read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerSummary {
    /// The digest of the blob (compressed).
    pub digest: Digest,
    /// The length of the blob in bytes.
    pub size: u64,
    /// The digest of the tar stream (uncompressed).
    pub diff_id: Digest,
    /// The length of the tar stream in bytes.
    pub unpacked_size: u64,
    /// How many entries it has.
    pub entries: u64,
    /// The digest of the table of contents of [`Compression::Estargz`], once it is written.
    pub toc: Option<Digest>,
}

/// Why a layer could not be written.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// The entries are not a layer.
    #[error("the entries do not form a layer")]
    Invalid(#[from] InvalidEntry),
    /// A payload is not what its archive states.
    #[error("the payload of `{path}` is corrupt")]
    Corrupt {
        /// Where the file would stand.
        path: EntryPath,
        /// What is wrong with it.
        source: CorruptPayload,
    },
    /// The blob could not be written.
    #[error("the layer could not be written")]
    Write(#[from] io::Error),
    /// An entry that a table of contents cannot hold.
    #[error("`{0}` {1}, so the layer cannot be read lazily")]
    NotLazy(EntryPath, &'static str),
    /// A compressor failed, which only lack of memory explains.
    #[error("the compressor failed")]
    Compressor,
}

impl LayerError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Corrupt { .. } => Some(
                "the archive that holds this file is damaged or was made by a broken tool; \
                 fetch it again or use another version of the package"
                    .to_owned(),
            ),
            Self::Write(error) if error.kind() == io::ErrorKind::StorageFull => {
                Some("free some disk space and try again".to_owned())
            }
            Self::NotLazy(..) => Some("build without `--lazy`".to_owned()),
            Self::Invalid(_) | Self::Write(_) | Self::Compressor => None,
        }
    }
}

/// Writes `entries`, as [`merge`](crate::merge()) gives them, as one layer to `out`.
///
/// The bytes depend on the entries and the compression alone. Anonymous memory stays below
/// 100 MiB, whatever the layer. `out` receives writes of up to some megabytes; it needs no
/// buffering.
pub fn write_layer<W: Write + Send>(
    entries: &[Entry],
    options: impl Into<LayerOptions>,
    out: W,
) -> Result<LayerSummary, LayerError> {
    validate(entries)?;
    let options = options.into();
    if options.compression == Compression::Estargz {
        return schedule::run(&estargz::with_landmark(entries)?, options, out);
    }
    schedule::run(entries, options, out)
}
