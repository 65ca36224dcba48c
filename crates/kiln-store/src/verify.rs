//! Verification: hashing everything again.

use std::{
    collections::BTreeSet,
    fs::File,
    io,
    path::{Path, PathBuf},
};

use kiln_digest::{Digest, Hasher};
use kiln_oci::ManifestDescriptor;

use crate::{Store, StoreError, collect::list, files, lock::Mode};

/// What a verification found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Files that were hashed.
    pub checked: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What was wrong.
    pub wrong: Vec<Wrong>,
    /// Names of images that lack blobs, also because of this verification: building them again
    /// makes them whole.
    pub broken_images: Vec<String>,
}

impl VerifyReport {
    /// Whether nothing was wrong.
    pub fn is_clean(&self) -> bool {
        self.wrong.is_empty() && self.broken_images.is_empty()
    }
}

/// A file that was wrong and is removed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wrong {
    /// A blob whose content has another digest than its name.
    Blob(Digest),
    /// A package whose content has another digest than its name.
    Download(Digest),
    /// A file that is not named by a digest among blobs.
    Stray(PathBuf),
    /// A file of the image layout that cannot be understood. It is as in a new store now: the
    /// next build of an image gives it its name again.
    Layout(PathBuf),
}

impl Store {
    /// Hashes all blobs and packages and removes those that are corrupt, so that the next build
    /// makes or fetches them again. Calls `progress` with the bytes of each file, and `wait` with
    /// the path of the lock before waiting for others who use the store, which happens only when
    /// something must be removed.
    pub fn verify(
        &mut self,
        progress: &mut dyn FnMut(u64),
        wait: &mut dyn FnMut(&Path),
    ) -> Result<VerifyReport, StoreError> {
        let mut report = VerifyReport::default();
        let mut suspects = Vec::new();
        for (directory, wrong) in [
            (
                self.path("blobs/sha256"),
                Wrong::Blob as fn(Digest) -> Wrong,
            ),
            (self.downloads_dir(), Wrong::Download),
        ] {
            for (path, name, size) in list(&directory)? {
                let Ok(digest) = Digest::from_hex(&name) else {
                    // Parts of downloads have other names, and are no concern of ours.
                    if directory != self.downloads_dir() {
                        suspects.push((path.clone(), Wrong::Stray(path)));
                    }
                    continue;
                };
                report.checked += 1;
                report.bytes += size;
                if !is_intact(&path, &digest)? {
                    suspects.push((path, wrong(digest)));
                }
                progress(size);
            }
        }
        if !suspects.is_empty() {
            self.lock.change(Mode::Exclusive, wait)?;
            let removed = remove_wrong(suspects);
            self.lock.change(Mode::Shared, wait)?;
            report.wrong = removed?;
        }
        report.wrong.extend(self.mend_layout()?);
        report.broken_images = self.broken_images()?;
        Ok(report)
    }

    fn broken_images(&self) -> Result<Vec<String>, StoreError> {
        let mut broken = BTreeSet::new();
        for entry in self.images()? {
            if !self.is_whole(&entry.manifest) {
                broken.insert(entry.name);
            }
        }
        Ok(broken.into_iter().collect())
    }

    /// Whether all that a name reaches is there, layers by size.
    fn is_whole(&self, manifest: &ManifestDescriptor) -> bool {
        let mut seen = BTreeSet::new();
        let mut open = vec![(manifest.digest, manifest.kind.media_type().to_owned())];
        while let Some((digest, media_type)) = open.pop() {
            let Ok(bytes) = self.read_document(&digest) else {
                return false;
            };
            let Ok(children) = kiln_oci::children(&media_type, &bytes) else {
                return false;
            };
            for child in children {
                if !child.is_document() && !self.has_blob(&child.digest, child.size) {
                    return false;
                }
                if child.is_document() && seen.insert(child.digest) {
                    open.push((child.digest, child.media_type));
                }
            }
        }
        true
    }
}

/// Removes what is still wrong now that nobody else uses the store: a build may have replaced a
/// corrupt blob meanwhile.
fn remove_wrong(suspects: Vec<(PathBuf, Wrong)>) -> Result<Vec<Wrong>, StoreError> {
    let mut removed = Vec::new();
    for (path, wrong) in suspects {
        let intact = match &wrong {
            Wrong::Blob(digest) | Wrong::Download(digest) => is_intact(&path, digest)?,
            Wrong::Stray(_) | Wrong::Layout(_) => false,
        };
        if !intact && path.exists() {
            files::remove(&path)?;
            removed.push(wrong);
        }
    }
    Ok(removed)
}

/// Whether the file has this digest. One that is gone meanwhile is not wrong; one that cannot be
/// read because its sectors are damaged is.
fn is_intact(path: &Path, digest: &Digest) -> Result<bool, StoreError> {
    let mut hasher = Hasher::new();
    let result = File::open(path).and_then(|file| {
        let mut file = io::BufReader::with_capacity(1 << 18, file);
        io::copy(&mut file, &mut hasher)
    });
    match result {
        Ok(_) => Ok(hasher.finish() == *digest),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) => {
            Ok(false)
        }
        Err(error) => Err(StoreError::io("read", path)(error)),
    }
}
