//! Opening the inputs of actions.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use kiln_digest::Digest;
use kiln_store::Store;
use memmap2::Mmap;

/// The directory that holds the family's own files.
#[derive(Debug, Clone)]
pub struct FamilyFiles {
    /// The directory.
    pub root: PathBuf,
}

impl FamilyFiles {
    /// The bytes of the file at `path` below the family's directory, if they are the locked ones.
    pub(crate) fn read(&self, path: &str, sha256: &Digest) -> io::Result<Bytes> {
        let bytes = std::fs::read(self.root.join(path))?;
        if Digest::of(&bytes) != *sha256 {
            let why = format!("`{path}` has changed since it was locked");
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        Ok(Bytes::from(bytes))
    }
}

/// Maps a file of the store.
#[expect(unsafe_code, reason = "memory map of a file that nobody else writes")]
pub(crate) fn map(path: &Path) -> io::Result<Bytes> {
    let file = File::open(path)?;
    if file.metadata()?.len() == 0 {
        return Ok(Bytes::new());
    }
    // SAFETY: downloads and blobs are written under another name, synced, renamed and never written again;
    // the store's directory is open to its owner alone.
    let map = unsafe { Mmap::map(&file)? };
    Ok(Bytes::from_owner(map))
}

/// Whether the bytes of a downloaded archive are still the ones that were verified.
pub(crate) fn is_intact(store: &Store, sha256: &Digest) -> bool {
    has_digest(&store.download_path(sha256), sha256)
}

/// Whether the file is there and has this digest.
pub(crate) fn has_digest(path: &Path, digest: &Digest) -> bool {
    map(path).is_ok_and(|bytes| Digest::of(&bytes) == *digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_rotted_or_is_gone_has_another_digest() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("blob");
        let digest = Digest::of(b"content");
        assert!(!has_digest(&path, &digest));
        std::fs::write(&path, "content").unwrap();
        assert!(has_digest(&path, &digest));
        std::fs::write(&path, "cOntent").unwrap();
        assert!(!has_digest(&path, &digest));
    }
}
