//! What can be wrong with a package.

use std::io;

use super::ar::ArError;
use super::control::ControlError;
use super::tar::TarError;
use super::tree::TreeError;
use super::triggers::TriggerError;

/// A package that cannot be used, and why.
#[derive(Debug, thiserror::Error)]
#[error("read Debian package `{file_name}`")]
pub struct DebError {
    /// The file name that the caller gave.
    pub file_name: String,
    /// What is wrong.
    #[source]
    pub fault: Fault,
}

/// What is wrong with a package.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The outer archive.
    #[error(transparent)]
    Ar(#[from] ArError),
    /// A format version other than 2.
    #[error("its format version is `{0}`, not 2")]
    Version(String),
    /// A part is not there.
    #[error("it has no `{0}`")]
    Missing(&'static str),
    /// A member stands where another must.
    #[error("its member `{found}` stands where `{expected}` must")]
    Order {
        /// What deb(5) asks for.
        expected: &'static str,
        /// What is there.
        found: String,
    },
    /// A part occurs twice.
    #[error(
        "its member `{0}` comes after the data archive: readers would differ about which counts"
    )]
    Repeated(String),
    /// bzip2, lzma or unknown.
    #[error("`{0}` is compressed in a way that is not supported")]
    Compression(String),
    /// The compressed stream is damaged or needs too much memory.
    #[error("`{member}` cannot be decompressed")]
    Decompress {
        /// Which part.
        member: String,
        /// What the decoder says.
        #[source]
        source: io::Error,
    },
    /// More bytes than allowed.
    #[error("`{member}` unpacks to more than {limit} bytes")]
    TooLarge {
        /// Which part.
        member: String,
        /// How many were allowed.
        limit: u64,
    },
    /// The temporary file.
    #[error("the unpacked bytes cannot be stored")]
    Spool(#[source] io::Error),
    /// One of the tar archives.
    #[error("`{member}` is not a usable tar archive")]
    Tar {
        /// Which part.
        member: String,
        /// What is wrong with it.
        #[source]
        source: TarError,
    },
    /// The files of the package.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// The control paragraph.
    #[error("its control file is not usable")]
    Control(#[from] ControlError),
    /// A member of the control archive that is no plain file.
    #[error("`{0}` in its control archive is not a plain file")]
    ControlMember(String),
    /// A line of `conffiles`.
    #[error("its conffile `{0}` is not a regular file of the package")]
    Conffile(String),
    /// A path that occurs twice in `conffiles`.
    #[error("its conffile `{0}` is listed twice")]
    RepeatedConffile(String),
    /// A file of directives that is no UTF-8 text.
    #[error("its control file `{0}` is not UTF-8 text")]
    NotText(&'static str),
    /// A line of `triggers`.
    #[error("its triggers are not usable")]
    Triggers(#[from] TriggerError),
}

impl DebError {
    /// What a person may do about it.
    pub fn hint(&self) -> Option<String> {
        match &self.fault {
            Fault::Ar(ArError::Magic | ArError::Truncated { .. }) => Some(
                "the file may be an error page or an incomplete download: compare its sha256".into(),
            ),
            Fault::Compression(_) => Some(
                "repack it: `dpkg-deb --raw-extract FILE.deb DIR && dpkg-deb -Zxz --build DIR`".into(),
            ),
            Fault::Spool(_) => Some(
                "the directory for temporary files must exist and have room for the unpacked package"
                    .into(),
            ),
            _ => None,
        }
    }
}
