//! Files on their way: `<hex>.part`, locked, hashed as they grow, renamed when they are
//! whole.
//!
//! A part is locked (flock) by the process that writes it, so several processes may fetch
//! into one directory. What an interrupted process left is hashed again and continued; the
//! digest of the whole decides whether it was right. Only a verified and synced file ever
//! gets its final name, `<hex>`.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Seek, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use kiln_digest::{Digest, Hasher};

use crate::error::FetchError;

/// An open, locked part.
#[derive(Debug)]
pub(crate) struct Part {
    file: File,
    path: PathBuf,
    hasher: Hasher,
    len: u64,
    /// Whether some bytes come from an earlier process.
    inherited: bool,
}

/// What was found in the directory.
#[derive(Debug)]
pub(crate) enum Opened {
    /// The whole file.
    Whole(PathBuf),
    /// A part, perhaps empty, that is ours now.
    Part(Box<Part>),
}

/// How a part ended.
#[derive(Debug)]
pub(crate) enum Sealed {
    /// Verified and in place.
    Whole(PathBuf),
    /// The bytes have another digest.
    Wrong(Box<Part>, Digest),
}

/// The file for `digest`, if it is in `directory` with this size.
pub(crate) fn whole(directory: &Path, digest: Digest, size: u64) -> Option<PathBuf> {
    let path = directory.join(digest.hex());
    let found = fs::symlink_metadata(&path).ok()?;
    (found.is_file() && found.len() == size).then_some(path)
}

impl Part {
    /// Opens or begins the part for `digest`; `None` while another process writes it.
    pub(crate) fn open(
        directory: &Path,
        digest: Digest,
        size: u64,
    ) -> Result<Option<Opened>, FetchError> {
        fs::create_dir_all(directory).map_err(disk("create", directory))?;
        let path = directory.join(format!("{}.part", digest.hex()));
        loop {
            if let Some(path) = whole(directory, digest, size) {
                return Ok(Some(Opened::Whole(path)));
            }
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path)
                .map_err(disk("write", &path))?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(cause)) => return Err(disk("lock", &path)(cause)),
            }
            // Between opening and locking, another process may have finished or dropped it.
            if !is_same_file(&file, &path) {
                continue;
            }
            let mut part = Self {
                file,
                path,
                hasher: Hasher::new(),
                len: 0,
                inherited: false,
            };
            part.take_over(size)?;
            return Ok(Some(Opened::Part(Box::new(part))));
        }
    }

    /// Hashes what an earlier process left.
    fn take_over(&mut self, size: u64) -> Result<(), FetchError> {
        let mut buffer = vec![0; 256 << 10];
        loop {
            let count = match self.file.read(&mut buffer) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(cause) => return Err(disk("read", &self.path)(cause)),
            };
            self.len += count as u64;
            if self.len > size {
                return self.restart();
            }
            if count == 0 {
                break;
            }
            self.hasher.update(&buffer[..count]);
        }
        self.inherited = self.len > 0;
        Ok(())
    }

    /// How many bytes are here.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Whether some bytes come from an earlier process.
    pub(crate) fn is_inherited(&self) -> bool {
        self.inherited
    }

    /// Adds bytes. The part is kept when this fails.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<(), FetchError> {
        self.file
            .write_all(bytes)
            .map_err(disk("write", &self.path))?;
        self.hasher.update(bytes);
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// Begins again from nothing.
    pub(crate) fn restart(&mut self) -> Result<(), FetchError> {
        self.file
            .set_len(0)
            .and_then(|()| self.file.rewind())
            .map_err(disk("write", &self.path))?;
        self.hasher = Hasher::new();
        self.len = 0;
        self.inherited = false;
        Ok(())
    }

    /// Verifies the part, syncs it, and gives it its name.
    pub(crate) fn seal(self, digest: Digest) -> Result<Sealed, FetchError> {
        let actual = self.hasher.clone().finish();
        if actual != digest {
            return Ok(Sealed::Wrong(Box::new(self), actual));
        }
        let path = self.path.with_extension("");
        self.file
            .sync_all()
            .and_then(|()| fs::rename(&self.path, &path))
            .map_err(disk("write", &path))?;
        if let Some(directory) = path.parent() {
            File::open(directory)
                .and_then(|directory| directory.sync_all())
                .map_err(disk("sync", directory))?;
        }
        Ok(Sealed::Whole(path))
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // Leave no empty files behind. We hold the lock, so it is ours; after a rename it is
        // another file or none.
        if self.len == 0 && is_same_file(&self.file, &self.path) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn is_same_file(file: &File, path: &Path) -> bool {
    let (Ok(open), Ok(named)) = (file.metadata(), fs::metadata(path)) else {
        return false;
    };
    (open.dev(), open.ino()) == (named.dev(), named.ino())
}

fn disk(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FetchError + use<> {
    let path = path.to_owned();
    move |cause| FetchError::Disk {
        action,
        path,
        cause,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_said_plainly() {
        // A device that answers every write as a full disk does.
        let path = Path::new("/dev/full");
        let mut part = Part {
            file: OpenOptions::new().write(true).open(path).unwrap(),
            path: PathBuf::from("downloads/x.part"),
            hasher: Hasher::new(),
            len: 0,
            inherited: false,
        };
        let error = part.append(b"bytes").unwrap_err();
        assert_eq!(error.to_string(), "cannot write downloads/x.part");
        assert_eq!(
            error.hint().as_deref(),
            Some("free some space on the disk of downloads; the next run goes on from there")
        );
    }

    #[test]
    fn an_open_part_is_busy_and_an_empty_one_goes_away() {
        let directory = tempfile::tempdir().unwrap();
        let open = || Part::open(directory.path(), Digest::of(b"ab"), 2).unwrap();
        let Some(Opened::Part(mut part)) = open() else {
            panic!("nothing is there yet");
        };
        assert!(open().is_none());
        part.append(b"a").unwrap();
        drop(part);
        let Some(Opened::Part(mut part)) = open() else {
            panic!("a part is there");
        };
        assert!(part.is_inherited());
        part.append(b"b").unwrap();
        assert!(matches!(
            part.seal(Digest::of(b"ab")).unwrap(),
            Sealed::Whole(_)
        ));
        assert!(matches!(open(), Some(Opened::Whole(_))));

        let other = Part::open(directory.path(), Digest::of(b"c"), 1).unwrap();
        drop(other);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
