//! What goes wrong with trees. The errors cross from the worker to kiln, so their causes are data.

use std::{fmt, io};

use kiln_digest::Digest;
use serde::{Deserialize, Serialize};

/// Why something could not be done to a tree.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum TreeError {
    /// A file system refused something.
    #[error("could not {action} `{path}`")]
    File {
        /// A verb.
        action: String,
        /// The path, relative to the tree where there is one.
        path: String,
        /// Why.
        #[source]
        cause: Cause,
    },
    /// A layer could not be read.
    #[error("the layer {diff_id} could not be unpacked")]
    Layer {
        /// Its name.
        diff_id: Digest,
        /// Why.
        #[source]
        cause: Cause,
    },
    /// What came as a layer could not be read.
    #[error("what came as a layer could not be unpacked")]
    Stream {
        /// Why.
        #[source]
        cause: Cause,
    },
    /// A layer is not what its name says.
    #[error("the layer {expected} is damaged: its content has the digest {found}")]
    Damaged {
        /// Its name.
        expected: Digest,
        /// The digest of what is there.
        found: Digest,
    },
    /// Layers cannot express what a command made, or it is of no use in an image.
    #[error("`/{path}` is a {kind}, which layers of kiln cannot hold")]
    Special {
        /// Where it is.
        path: String,
        /// What it is.
        kind: String,
    },
    /// A path that no layer can hold.
    #[error("a path that was made cannot be in a layer")]
    Path {
        /// Why.
        #[source]
        cause: Cause,
    },
}

impl TreeError {
    /// For `map_err`: could not `action` the `path`.
    pub(super) fn file<'a>(
        action: &'a str,
        path: impl AsRef<[u8]> + 'a,
    ) -> impl FnOnce(io::Error) -> Self + 'a {
        move |error| Self::File {
            action: action.to_owned(),
            path: String::from_utf8_lossy(path.as_ref()).into_owned(),
            cause: error.into(),
        }
    }

    /// The system's error number behind it.
    pub fn os_error(&self) -> Option<i32> {
        match self {
            Self::File { cause, .. }
            | Self::Layer { cause, .. }
            | Self::Stream { cause }
            | Self::Path { cause } => cause.os_error,
            Self::Damaged { .. } | Self::Special { .. } => None,
        }
    }

    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Special { path, .. } => Some(format!(
                "remove `/{path}` at the end of the command that makes it"
            )),
            Self::Damaged { .. } => Some(
                "check the store with `kiln store verify`, which removes what is damaged, and \
                 build again"
                    .to_owned(),
            ),
            Self::File { .. } | Self::Layer { .. } | Self::Stream { .. } | Self::Path { .. } => {
                None
            }
        }
    }
}

/// An error that happened in another process, in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// The error and its causes.
    pub text: String,
    /// The system's number for it.
    pub os_error: Option<i32>,
}

impl From<io::Error> for Cause {
    fn from(error: io::Error) -> Self {
        Self {
            os_error: os_error(&error),
            text: words(&error),
        }
    }
}

impl From<rustix::io::Errno> for Cause {
    fn from(error: rustix::io::Errno) -> Self {
        io::Error::from(error).into()
    }
}

impl From<String> for Cause {
    fn from(text: String) -> Self {
        Self {
            text,
            os_error: None,
        }
    }
}

impl From<&str> for Cause {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl Cause {
    /// What kind of error of the system it was, if it was one.
    pub fn kind(&self) -> Option<io::ErrorKind> {
        let number = self.os_error?;
        Some(io::Error::from_raw_os_error(number).kind())
    }

    pub(super) fn of(error: &(dyn std::error::Error + 'static)) -> Self {
        let mut innermost = Some(error);
        let mut number = None;
        while let Some(error) = innermost {
            number = number.or_else(|| error.downcast_ref().and_then(os_error));
            innermost = error.source();
        }
        Self {
            text: words(error),
            os_error: number,
        }
    }
}

fn os_error(error: &io::Error) -> Option<i32> {
    error.raw_os_error()
}

/// The error and its causes in one line.
fn words(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Cause {}
