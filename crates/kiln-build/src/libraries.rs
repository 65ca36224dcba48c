//! What the archives of a lock have of programs and libraries, read once and kept in the store.
//!
//! The kept form is JSON with a version in front; one of another version counts as absent.

use std::{io, path::PathBuf};

use kiln_digest::Digest;
use kiln_lock::{Deb, Wheel};
use kiln_package::libraries::{self, Libraries, LibrariesError};
use kiln_store::{Store, StoreError};

use crate::inputs;

/// The version of what is kept. Raise it when more is read from archives, or something else.
const VERSION: &str = "libraries 3\n";

/// An archive that may hold libraries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LibraryArchive<'a> {
    /// Its SHA-256.
    pub sha256: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Which archive it is.
    pub of: Package<'a>,
}

/// The package of a [`LibraryArchive`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Package<'a> {
    /// A Debian package.
    Deb(&'a Deb),
    /// A wheel.
    Wheel(&'a Wheel),
}

/// Why the libraries of an archive cannot be known.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LibraryError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The archive cannot be opened.
    #[error("opening `{}`", path.display())]
    Open {
        /// Where it is.
        path: PathBuf,
        /// What went wrong.
        #[source]
        source: io::Error,
    },
    /// The archive has other bytes than it was downloaded with.
    #[error("`{file}` is damaged in the store: it has changed since it was stored")]
    Damaged {
        /// Its name.
        file: String,
    },
    /// The archive cannot be read.
    #[error("looking into `{file}`")]
    Read {
        /// Its name.
        file: String,
        /// What is wrong.
        #[source]
        source: LibrariesError,
    },
}

impl LibraryError {
    /// What to do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Store(error) => error.hint(),
            Self::Damaged { .. } => Some("`kiln store verify` removes what is damaged".to_owned()),
            Self::Open { .. } | Self::Read { .. } => None,
        }
    }

    /// Whether the archive is to blame, and not the store or the disk.
    pub fn is_of_archive(&self) -> bool {
        match self {
            Self::Store(_) | Self::Open { .. } => false,
            Self::Damaged { .. } => true,
            Self::Read { source, .. } => source.is_of_archive(),
        }
    }
}

impl<'a> LibraryArchive<'a> {
    /// The archive of a Debian package.
    pub fn deb(deb: &'a Deb) -> Self {
        Self {
            sha256: deb.sha256,
            size: deb.size,
            of: Package::Deb(deb),
        }
    }

    /// The archive of a wheel.
    pub fn wheel(wheel: &'a Wheel) -> Self {
        Self {
            sha256: wheel.sha256,
            size: wheel.size,
            of: Package::Wheel(wheel),
        }
    }

    /// The name of the file.
    pub fn file(&self) -> &'a str {
        match self.of {
            Package::Deb(deb) => deb.path.rsplit('/').next().unwrap_or(&deb.path),
            Package::Wheel(wheel) => &wheel.file,
        }
    }

    /// Whether it says of itself that it is the same for all processors, and so has no libraries.
    pub fn is_portable(&self) -> bool {
        match self.of {
            Package::Deb(deb) => deb.architecture == "all",
            Package::Wheel(wheel) => wheel.file.ends_with("-none-any.whl"),
        }
    }

    /// What is known of it without reading it: of portable ones, and of those that were read
    /// before.
    pub fn known(&self, store: &Store) -> Result<Option<Libraries>, LibraryError> {
        if self.is_portable() {
            return Ok(Some(Libraries::default()));
        }
        let kept = store.facts(&self.sha256)?;
        let json = kept
            .as_deref()
            .and_then(|it| it.strip_prefix(VERSION.as_bytes()));
        Ok(json.and_then(|json| serde_json::from_slice(json).ok()))
    }

    /// Where the store has it: downloaded, or built.
    pub fn path(&self, store: &Store) -> Option<PathBuf> {
        if store.has_download(&self.sha256, self.size) {
            return Some(store.download_path(&self.sha256));
        }
        let built = store.has_blob(&self.sha256, self.size);
        built.then(|| store.blob_path(&self.sha256))
    }

    /// Reads it where it is, and keeps what it says. Its bytes are compared with its digest first:
    /// what is kept counts for every lock with that digest.
    pub fn read(&self, store: &Store, path: PathBuf) -> Result<Libraries, LibraryError> {
        let archive = match inputs::map(&path) {
            Ok(archive) => archive,
            Err(source) => return Err(LibraryError::Open { path, source }),
        };
        if Digest::of(&archive) != self.sha256 {
            let file = self.file().to_owned();
            return Err(LibraryError::Damaged { file });
        }
        let spool = store.spool_dir();
        let read = match self.of {
            Package::Deb(_) => libraries::of_deb(&archive, self.file(), &spool),
            Package::Wheel(_) => libraries::of_wheel(&archive, &spool),
        };
        let libraries = read.map_err(|source| LibraryError::Read {
            file: self.file().to_owned(),
            source,
        })?;
        // Plain data with text keys always serialises.
        let json = serde_json::to_vec(&libraries).unwrap_or_default();
        store.put_facts(&self.sha256, &[VERSION.as_bytes(), &json].concat())?;
        Ok(libraries)
    }
}

#[cfg(test)]
mod tests {
    use kiln_lock::PackageId;

    use super::*;

    /// A wheel with one stored file: with other content it is as long, and as readable.
    fn wheel(content: &str) -> Vec<u8> {
        let mut zip = Vec::new();
        let mut crc = flate2::Crc::new();
        crc.update(content.as_bytes());
        let length = u32::try_from(content.len()).unwrap().to_le_bytes();
        let common = [
            &[20, 0, 0, 0, 0, 0, 0, 0, 0x21, 0][..],
            &crc.sum().to_le_bytes(),
            &length,
            &length,
            &[5, 0, 0, 0],
        ]
        .concat();
        zip.extend([b"PK\x03\x04", &common[..], b"a.txt", content.as_bytes()].concat());
        let directory = u32::try_from(zip.len()).unwrap();
        zip.extend([b"PK\x01\x02\x14\0", &common[..], &[0; 14], b"a.txt"].concat());
        let size = u32::try_from(zip.len()).unwrap() - directory;
        let end = [&size.to_le_bytes()[..], &directory.to_le_bytes(), &[0; 2]].concat();
        zip.extend([b"PK\x05\x06\0\0\0\0\x01\0\x01\0", &end[..]].concat());
        zip
    }

    fn locked(archive: &[u8]) -> Wheel {
        let file = "a-1-cp311-cp311-linux_x86_64.whl".to_owned();
        Wheel {
            id: PackageId(format!("pypi/{file}")),
            name: "a".to_owned(),
            version: "1".to_owned(),
            source: "pypi".to_owned(),
            file,
            size: archive.len() as u64,
            sha256: Digest::of(archive),
            requires: Vec::new(),
            built_from: None,
        }
    }

    #[test]
    fn of_a_damaged_archive_nothing_is_kept() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(home.path().join("store")).unwrap();
        let (good, damaged) = (wheel("good"), wheel("bad!"));
        assert_eq!(good.len(), damaged.len());
        let wheel = locked(&good);
        let archive = LibraryArchive::wheel(&wheel);
        let path = store.download_path(&wheel.sha256);
        std::fs::create_dir_all(store.downloads_dir()).unwrap();
        std::fs::write(&path, &damaged).unwrap();
        let error = archive.read(&store, archive.path(&store).unwrap());
        let error = error.unwrap_err();
        assert!(matches!(error, LibraryError::Damaged { .. }), "{error}");
        assert!(error.is_of_archive() && error.hint().is_some());
        assert_eq!(archive.known(&store).unwrap(), None);
        std::fs::write(&path, &good).unwrap();
        archive.read(&store, path).unwrap();
        assert_eq!(archive.known(&store).unwrap(), Some(Libraries::default()));
    }
}
