//! What a caller may show while files are fetched.

use std::time::Duration;

use kiln_digest::Digest;

/// One step of one download. Holds no address and no secret: `name` is a file name.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The file was there already.
    Reused {
        /// Which file.
        digest: Digest,
        /// Its name at the source.
        name: String,
        /// Its size in bytes.
        size: u64,
    },
    /// Another process fetches this file; kiln waits for it.
    Waiting {
        /// Which file.
        digest: Digest,
        /// Its name at the source.
        name: String,
    },
    /// Fetching begins.
    Started {
        /// Which file.
        digest: Digest,
        /// Its name at the source.
        name: String,
        /// Its size in bytes.
        size: u64,
        /// How many bytes an earlier, interrupted download left.
        resumed: u64,
    },
    /// Bytes arrived. May go back when a server cannot resume.
    Progress {
        /// Which file.
        digest: Digest,
        /// How many bytes of it are here now.
        bytes: u64,
    },
    /// An attempt failed and another one follows.
    Retried {
        /// Which file.
        digest: Digest,
        /// Its name at the source.
        name: String,
        /// The number of the attempt that failed, from 1.
        attempt: u32,
        /// Why, in one line.
        why: String,
        /// How long kiln waits before the next one.
        wait: Duration,
    },
    /// The file is complete, verified and on disk.
    Finished {
        /// Which file.
        digest: Digest,
        /// Its name at the source.
        name: String,
        /// Its size in bytes.
        size: u64,
    },
}
