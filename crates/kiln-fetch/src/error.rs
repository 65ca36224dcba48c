//! What can go wrong while something is fetched.

use std::{io, path::PathBuf};

use kiln_digest::Digest;

use crate::{source::SourceError, url::Url};

/// What was asked for, and of whom: the words of an error message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// The source's name.
    pub from: String,
    /// What was wanted: a file name, or a few words.
    pub what: String,
    /// Where it was looked for.
    pub url: Url,
}

/// Why something could not be fetched. No variant shows a login, a query or a header.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// It is not known where the source lives.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The network is needed and switched off.
    #[error("{what} of source `{from}` is not here, and the network is off")]
    Offline {
        /// The source's name.
        from: String,
        /// What was wanted.
        what: String,
    },
    /// The source answered that it has no such file (404 or 410).
    #[error("source `{}` has no {} (any more): {}", subject.from, subject.what, subject.url)]
    Gone {
        /// What was asked for.
        subject: Box<Subject>,
    },
    /// The source wants a login, or another one (401, 403, 407).
    #[error(
        "source `{}` refuses access to {} (status {status}): {}",
        subject.from, subject.what, subject.url
    )]
    Denied {
        /// What was asked for.
        subject: Box<Subject>,
        /// The HTTP status.
        status: u16,
    },
    /// The source answered with a status that kiln can do nothing with, also after retries.
    #[error(
        "source `{}` answered with status {status} for {}: {}",
        subject.from, subject.what, subject.url
    )]
    Status {
        /// What was asked for.
        subject: Box<Subject>,
        /// The HTTP status.
        status: u16,
    },
    /// The source could not be reached, or broke off, also after retries.
    #[error(
        "{} could not be fetched from source `{}`: {}",
        subject.what, subject.from, subject.url
    )]
    Unreachable {
        /// What was asked for.
        subject: Box<Subject>,
        /// What broke.
        #[source]
        cause: Transport,
    },
    /// The bytes are others than the lock or the index names.
    #[error(
        "{} from source `{}` is not the file that was asked for: \
         expected {expected}, got {actual} ({})",
        subject.what, subject.from, subject.url
    )]
    WrongDigest {
        /// What was asked for.
        subject: Box<Subject>,
        /// What it should be.
        expected: Digest,
        /// What it is.
        actual: Digest,
    },
    /// The file is larger or smaller than the lock says.
    #[error(
        "{} from source `{}` is not the file that was asked for: \
         expected {expected} bytes, got {actual} ({})",
        subject.what, subject.from, subject.url
    )]
    WrongSize {
        /// What was asked for.
        subject: Box<Subject>,
        /// What it should be, in bytes.
        expected: u64,
        /// What it is: a number of bytes, or "more".
        actual: String,
    },
    /// The project page announces another sha256 than the lock.
    #[error(
        "source `{from}` now announces another {what}: expected {expected}, announced {announced}"
    )]
    OtherFileAnnounced {
        /// The source's name.
        from: String,
        /// The file's name.
        what: String,
        /// What the lock says.
        expected: Digest,
        /// What the page says.
        announced: Digest,
    },
    /// A document is larger than its bound.
    #[error(
        "{} from source `{}` is larger than {limit} bytes: {}",
        subject.what, subject.from, subject.url
    )]
    TooLarge {
        /// What was asked for.
        subject: Box<Subject>,
        /// The bound, in bytes.
        limit: u64,
    },
    /// The source answered something that cannot be read.
    #[error(
        "{} from source `{}` cannot be read: {why} ({})",
        subject.what, subject.from, subject.url
    )]
    Malformed {
        /// What was asked for.
        subject: Box<Subject>,
        /// What is wrong with it.
        why: String,
    },
    /// A lock or an index names a path that leads out of the source.
    #[error("`{path}` is not a path inside source `{from}`")]
    BadPath {
        /// The source's name.
        from: String,
        /// The path.
        path: String,
    },
    /// A local file could not be read or written.
    #[error("cannot {action} {}", path.display())]
    Disk {
        /// What was tried: "write", "read", …
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        cause: io::Error,
    },
    /// The HTTP client could not be set up.
    #[error("the network could not be set up")]
    Setup(#[source] Transport),
    /// Somebody called [`Fetcher::cancel`](crate::Fetcher::cancel).
    #[error("cancelled")]
    Cancelled,
}

/// What broke between here and a server.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Transport {
    /// The connection closed before all bytes had come.
    #[error("the connection closed after {got} of {expected} bytes")]
    Truncated {
        /// Bytes that came.
        got: u64,
        /// Bytes that were to come.
        expected: u64,
    },
    /// Nothing arrived for too long.
    #[error("nothing arrived for {seconds} s")]
    Stalled {
        /// How long kiln waited, in seconds.
        seconds: u64,
    },
    /// The server sent another range than was asked for.
    #[error("the server answered with another part of the file than was asked for")]
    WrongRange,
    /// The server sends us to places where kiln does not go.
    #[error("{0}")]
    Redirect(String),
    /// The client's own words, with no address in them.
    #[error("{0}")]
    Client(String),
}

impl FetchError {
    /// What a person can do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Source(error) => error.hint(),
            Self::Offline { from, .. } => Some(format!(
                "run once without `--offline`, or point `{}` to a local mirror",
                crate::source::variable(from)
            )),
            Self::Gone { subject } => Some(format!(
                "mirrors drop old versions: lock again with `kiln lock --relock-gone`, or point \
                 `{}` to a mirror that still has it",
                crate::source::variable(&subject.from)
            )),
            Self::Denied { subject, .. } => Some(match subject.url.host() {
                Some(host) => format!("add a login for `{host}` to ~/.netrc"),
                None => "check the file's permissions".to_owned(),
            }),
            Self::Status { .. } => Some("try again later, or use another mirror".to_owned()),
            Self::Unreachable { cause, .. } => Some(match cause {
                Transport::Client(why) if why.contains("certificate") => {
                    "if a proxy or a mirror has its own certificate authority, name its file in \
                     `SSL_CERT_FILE`"
                        .to_owned()
                }
                Transport::Redirect(_) | Transport::WrongRange => {
                    "the server is set up wrongly: use another mirror".to_owned()
                }
                _ => "check the network and the proxy settings (`HTTPS_PROXY`, `NO_PROXY`); what \
                      was fetched is kept, and the next run goes on from there"
                    .to_owned(),
            }),
            Self::WrongDigest { .. } | Self::WrongSize { .. } | Self::OtherFileAnnounced { .. } => {
                Some(
                    "the mirror, or somebody between it and here, changed the file; nothing of it \
                     was kept. Try another mirror; if the change is meant, lock again"
                        .to_owned(),
                )
            }
            Self::Disk { path, cause, .. } if is_full(cause) => Some(format!(
                "free some space on the disk of {}; the next run goes on from there",
                path.parent().unwrap_or(path).display()
            )),
            Self::TooLarge { .. } | Self::Malformed { .. } => Some(
                "perhaps a proxy or a login page answered instead of the source: look at the \
                 address, or use another mirror"
                    .to_owned(),
            ),
            Self::BadPath { .. } => Some(
                "no source has such files: what names it is damaged or forged, so take the last \
                 good lock, or another mirror"
                    .to_owned(),
            ),
            Self::Setup(_) => Some(
                "install `ca-certificates`, or name a file of certificates in `SSL_CERT_FILE`"
                    .to_owned(),
            ),
            Self::Disk { .. } | Self::Cancelled => None,
        }
    }

    /// Whether the bytes that came are others than those that were promised.
    pub fn is_integrity(&self) -> bool {
        matches!(
            self,
            Self::WrongDigest { .. } | Self::WrongSize { .. } | Self::OtherFileAnnounced { .. }
        )
    }

    /// Whether the source does not have it (any more).
    pub fn is_gone(&self) -> bool {
        matches!(self, Self::Gone { .. })
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

impl Subject {
    pub(crate) fn unreachable(&self, cause: Transport) -> FetchError {
        FetchError::Unreachable {
            subject: Box::new(self.clone()),
            cause,
        }
    }

    pub(crate) fn malformed(&self, why: impl Into<String>) -> FetchError {
        FetchError::Malformed {
            subject: Box::new(self.clone()),
            why: why.into(),
        }
    }

    pub(crate) fn gone(&self) -> FetchError {
        FetchError::Gone {
            subject: Box::new(self.clone()),
        }
    }

    pub(crate) fn too_large(&self, limit: u64) -> FetchError {
        FetchError::TooLarge {
            subject: Box::new(self.clone()),
            limit,
        }
    }

    pub(crate) fn wrong_size(&self, expected: u64, actual: impl Into<String>) -> FetchError {
        FetchError::WrongSize {
            subject: Box::new(self.clone()),
            expected,
            actual: actual.into(),
        }
    }

    pub(crate) fn wrong_digest(&self, expected: Digest, actual: Digest) -> FetchError {
        FetchError::WrongDigest {
            subject: Box::new(self.clone()),
            expected,
            actual,
        }
    }

    pub(crate) fn offline(&self) -> FetchError {
        FetchError::Offline {
            from: self.from.clone(),
            what: self.what.clone(),
        }
    }
}
