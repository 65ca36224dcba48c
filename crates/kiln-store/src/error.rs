//! What can go wrong with a store.

use std::{io, path::PathBuf};

use kiln_digest::Digest;
use kiln_oci::{DocumentError, ImageError, LayoutError};

/// What can go wrong with a store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Neither `KILN_HOME` nor `XDG_DATA_HOME` nor `HOME` says where the store is.
    #[error("nothing says where the store is")]
    NoHome,
    /// The directory holds something else.
    #[error("`{}` is not a store, and not empty", .0.display())]
    NotAStore(PathBuf),
    /// The directory was made by a later kiln.
    #[error(
        "the store `{}` has format {found}; this kiln knows formats up to {}",
        path.display(),
        crate::STORE_FORMAT
    )]
    NewerFormat {
        /// The store.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// The file that makes a directory a store cannot be understood.
    #[error("`{}` is damaged", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The parser's words.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The file system refused something.
    #[error("cannot {action} `{}`", path.display())]
    Io {
        /// What was tried: "write", "open", …
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A blob was written that has another size than promised.
    #[error("{digest} should have {expected} bytes but {written} were written")]
    WrongSize {
        /// The blob.
        digest: Digest,
        /// The size promised at the end.
        expected: u64,
        /// The size written.
        written: u64,
    },
    /// A blob that an image needs is not there.
    #[error("the store lacks blob {0}")]
    MissingBlob(Digest),
    /// A blob of an image has other content than its name says.
    #[error("blob {0} is damaged")]
    CorruptBlob(Digest),
    /// An image of this name is not one of kiln's.
    #[error("image `{name}` cannot be read")]
    Image {
        /// Its name.
        name: String,
        /// Why.
        #[source]
        source: ImageError,
    },
    /// The name points to an index of several platforms, not to one image.
    #[error("`{0}` names images for several platforms")]
    SeveralPlatforms(String),
    /// The name cannot be used.
    #[error(transparent)]
    Name(LayoutError),
}

impl StoreError {
    pub(crate) fn io(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }

    pub(crate) fn damaged(path: impl Into<PathBuf>, source: DocumentError) -> Self {
        Self::Damaged {
            path: path.into(),
            source: Box::new(source),
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Self::NoHome => "set KILN_HOME to a directory for the store",
            Self::NotAStore(_) => "set KILN_HOME to a new or empty directory",
            Self::NewerFormat { .. } => "use the newer kiln, or set KILN_HOME to another directory",
            Self::Damaged { path, .. } if path.ends_with("store.json") => {
                "if the directory is a store of kiln's, restore the file: it says {\"format\":1}"
            }
            Self::Damaged { path, .. } if path.ends_with("index.json") => {
                "`kiln store verify` makes it again; the next build of an image gives it its name"
            }
            Self::Damaged { .. } => {
                "move the file away; what it named is found again by the next build"
            }
            Self::MissingBlob(_) | Self::CorruptBlob(_) => {
                "`kiln store verify` removes what is damaged; the next build makes it again"
            }
            Self::Io { source, .. } => return io_hint(source).map(str::to_owned),
            Self::Image { name, .. } => {
                return Some(format!(
                    "`kiln store rm {name}` takes its name away; then build it again"
                ));
            }
            Self::SeveralPlatforms(_) => "choose one with `--platform`",
            Self::WrongSize { .. } | Self::Name(_) => return None,
        };
        Some(text.to_owned())
    }
}

fn io_hint(error: &io::Error) -> Option<&'static str> {
    Some(match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "the disk or quota is full: free space with `kiln store gc`, or set KILN_HOME to a \
             directory on another disk"
        }
        io::ErrorKind::FileTooLarge => "files of this size are not allowed here; see `ulimit -f`",
        io::ErrorKind::ReadOnlyFilesystem => {
            "the file system is read-only: set KILN_HOME to a directory that can be written"
        }
        io::ErrorKind::PermissionDenied => {
            "the store belongs to another user: set KILN_HOME to a directory of your own"
        }
        io::ErrorKind::Unsupported => {
            "the file system lacks something, perhaps locks: set KILN_HOME to a directory on a \
             local disk"
        }
        _ => return None,
    })
}
