//! Why a source distribution cannot be read.

use std::io;

use kiln_layer::{EntryPath, EntryPathError, ReadError};

use crate::zip::ZipError;

/// Why a source distribution cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SdistError {
    /// Neither a gzipped tar archive nor a zip.
    #[error("`{0}` is neither a .tar.gz nor a .zip")]
    Form(String),
    /// The name promises gzip.
    #[error("it is not compressed with gzip")]
    NotGzip,
    /// The tar archive is refused.
    #[error("its archive cannot be read")]
    Tar(#[from] ReadError),
    /// The zip archive is refused.
    #[error(transparent)]
    Zip(#[from] ZipError),
    /// A path that leads outside, or is none.
    #[error("it has a path that cannot be used")]
    Path(#[from] EntryPathError),
    /// A link that leads outside, or nowhere.
    #[error("its link `{0}` leads out of the archive or to nothing")]
    Link(EntryPath),
    /// A device or the like.
    #[error("its member `{0}` is neither a file nor a directory nor a link")]
    Kind(EntryPath),
    /// Not one directory with everything below it.
    #[error("its files do not stand below one directory")]
    Top,
    /// `pyproject.toml` is no TOML, or `[build-system]` not what PEP 518 says.
    #[error("its pyproject.toml cannot be used: {0}")]
    Pyproject(String),
    /// The temporary file failed.
    #[error("unpacking it into a temporary file")]
    Spool(#[source] io::Error),
}
