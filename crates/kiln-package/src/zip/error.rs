//! Why archives and members are refused.

use super::{MAX_MEMBERS, MAX_TOTAL_SIZE};

/// Why an archive is refused.
#[derive(Debug, thiserror::Error)]
pub enum ZipError {
    /// No zip archive, or its directory is damaged.
    #[error("the file is not a valid zip archive")]
    Structure(#[source] rawzip::Error),
    /// Something follows the end of the archive.
    #[error("bytes follow the end of the zip archive")]
    TrailingBytes,
    /// The directory and its summary disagree.
    #[error("the zip archive states {stated} members and has {found}")]
    MemberCount {
        /// Count in the end-of-central-directory record.
        stated: u64,
        /// Count of directory records.
        found: u64,
    },
    /// More than [`MAX_MEMBERS`].
    #[error("the zip archive has more than {MAX_MEMBERS} members")]
    TooManyMembers,
    /// More than [`MAX_TOTAL_SIZE`].
    #[error("the files of the zip archive have more than {MAX_TOTAL_SIZE} bytes")]
    TooLarge,
    /// One member is refused.
    #[error("the zip member `{name}` is refused")]
    Member {
        /// Its name, as far as it can be shown.
        name: String,
        /// Why.
        #[source]
        fault: Fault,
    },
}

/// What is wrong with one member.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// A path that is not relative, normal and portable.
    #[error("its name {0}")]
    Name(&'static str),
    /// The name occurs twice, or is a directory of another member.
    #[error("another member has the same path")]
    Duplicate,
    /// Encrypted or masked.
    #[error("it is encrypted")]
    Encrypted,
    /// Neither stored nor DEFLATE.
    #[error("compression method {0} is neither stored (0) nor deflated (8)")]
    Method(u16),
    /// A symbolic link, a device, …
    #[error("it is neither a regular file nor a directory (mode {0:o})")]
    FileType(u32),
    /// A directory that holds bytes.
    #[error("it is a directory with content")]
    DirectoryWithContent,
    /// The member's own header contradicts the archive's directory.
    #[error("its local header states another {0} than the central directory")]
    LocalHeader(&'static str),
    /// The data descriptor contradicts the archive's directory.
    #[error("its data descriptor contradicts the central directory")]
    Descriptor,
    /// It shares bytes with another member or with the directory.
    #[error("its bytes overlap with another part of the archive")]
    Overlap,
    /// Its header or data lie outside the archive.
    #[error("it lies outside the archive")]
    Outside(#[source] rawzip::Error),
    /// A size that the compressed bytes cannot give.
    #[error("{compressed} bytes cannot become the stated {size}")]
    Expansion {
        /// Bytes in the archive.
        compressed: u64,
        /// Bytes stated for the file.
        size: u64,
    },
    /// Larger than the caller accepts for this kind of file.
    #[error("it has more than {limit} bytes")]
    Limit {
        /// The bound.
        limit: u64,
    },
    /// The content is not what the archive states.
    #[error("its content does not match its stated size and CRC-32")]
    Corrupt,
}
