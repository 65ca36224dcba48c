//! Digest and length of a stream.

use kiln_digest::{Digest, Hasher};

/// Hashes and counts.
#[derive(Default)]
pub(crate) struct Tally {
    hasher: Hasher,
    pub(crate) bytes: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.bytes += bytes.len() as u64;
    }

    pub(crate) fn finish(self) -> (Digest, u64) {
        (self.hasher.finish(), self.bytes)
    }
}
