//! Why a wheel cannot be placed.

use std::io;

use kiln_layer::EntryPathError;

use crate::zip::ZipError;

/// Why a wheel cannot be placed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WheelError {
    /// The name of the archive does not follow the wheel specification.
    #[error("`{0}` is not the name of a wheel")]
    FileName(String),
    /// The placement's prefix cannot stand in a `#!` line and in shell scripts as it is.
    #[error("the prefix `/{0}` has other characters than ASCII letters, digits and `/._+-`")]
    Prefix(String),
    /// The interpreter that an environment is based on is not an absolute path.
    #[error("`{0}` is not the absolute path of an interpreter")]
    Interpreter(String),
    /// The archive itself is refused.
    #[error(transparent)]
    Zip(#[from] ZipError),
    /// No `.dist-info` directory, or several.
    #[error("the wheel has {0} `.dist-info` directories instead of one")]
    DistInfoCount(usize),
    /// Name or version differ between the file name, the `.dist-info` directory and METADATA.
    #[error("{place} says `{found}`, but the file name says `{expected}`")]
    OtherProject {
        /// Where it was found.
        place: String,
        /// What stands there.
        found: String,
        /// What the file name says.
        expected: String,
    },
    /// A file that every wheel has is not there.
    #[error("the wheel has no `{0}`")]
    Missing(String),
    /// A metadata file cannot be understood.
    #[error("`{path}` is malformed: {reason}")]
    Malformed {
        /// The file.
        path: String,
        /// What is wrong, with the line where it helps.
        reason: String,
    },
    /// Made for a later version of the wheel format.
    #[error("the wheel has format version {0}; this program knows version 1")]
    WheelVersion(String),
    /// A file of the archive that RECORD does not list.
    #[error("RECORD does not list `{0}`")]
    NotRecorded(String),
    /// RECORD lists a file that the archive does not have.
    #[error("RECORD lists `{0}`, which the wheel does not have")]
    NotInArchive(String),
    /// RECORD states another size than the archive.
    #[error("RECORD says that `{path}` has {recorded} bytes, but it has {actual}")]
    RecordedSize {
        /// The file.
        path: String,
        /// Bytes according to RECORD.
        recorded: String,
        /// Bytes according to the archive.
        actual: u64,
    },
    /// A file below `.data` that belongs to no known scheme.
    #[error("`{0}` is in no known scheme (purelib, platlib, scripts, headers, data)")]
    Scheme(String),
    /// An entry point that cannot become a launcher.
    #[error("the entry point `{name} = {value}` cannot become a command: {reason}")]
    EntryPoint {
        /// Name of the command.
        name: String,
        /// What it refers to.
        value: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// Two files of the wheel would stand at one path.
    #[error("two files of the wheel would be placed at `{0}`")]
    Collision(String),
    /// A file of the wheel would replace what makes the environment one.
    #[error("the wheel would replace `{0}`, which belongs to the environment itself")]
    Reserved(String),
    /// A path that cannot stand in a layer.
    #[error("a file cannot be placed")]
    Path(#[from] EntryPathError),
    /// The canonical form cannot be written.
    #[error("writing its canonical form")]
    Write(#[source] io::Error),
}

impl WheelError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::FileName(_) => "a wheel is named NAME-VERSION[-BUILD]-PYTHON-ABI-PLATFORM.whl",
            Self::Prefix(_) => "choose a plain prefix such as /opt/app-root",
            Self::WheelVersion(_) => "a newer kiln may know this format",
            Self::OtherProject { .. } => "the file may have been renamed; fetch it again",
            Self::NotRecorded(_) | Self::NotInArchive(_) | Self::RecordedSize { .. } => {
                "the wheel was changed after it was built, or was built wrongly; \
                 another version of the package may be sound"
            }
            Self::Zip(_) => {
                "the archive is damaged or misleading; fetch it again, or use another version"
            }
            _ => return None,
        };
        Some(hint.to_owned())
    }
}
