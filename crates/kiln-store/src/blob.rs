//! Blobs: reading and writing files that are named by their content.

use std::{
    fs::File,
    io::{self, Read, Write},
    path::PathBuf,
};

use kiln_digest::Digest;
use tempfile::NamedTempFile;

use crate::{Store, StoreError, files};

impl Store {
    /// Where the blob with this digest is, if it is there.
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.path("blobs/sha256").join(digest.hex())
    }

    /// Whether a blob with this digest and size is there.
    pub fn has_blob(&self, digest: &Digest, size: u64) -> bool {
        files::has_size(&self.blob_path(digest), size)
    }

    /// Opens a blob. Its content is not verified here.
    pub fn open_blob(&self, digest: &Digest) -> Result<File, StoreError> {
        let path = self.blob_path(digest);
        File::open(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => StoreError::MissingBlob(*digest),
            _ => StoreError::io("open", path)(error),
        })
    }

    /// [`Store::open_blob`] in the form in which `kiln-oci` wants it
    /// ([`kiln_oci::OpenBlob`]).
    pub fn blob_opener(&self) -> impl Fn(&Digest) -> io::Result<Box<dyn Read + Send>> + '_ {
        |digest| {
            let file = self.open_blob(digest).map_err(|error| match error {
                StoreError::Io { source, .. } => source,
                error => io::Error::new(io::ErrorKind::NotFound, error),
            })?;
            Ok(Box::new(file))
        }
    }

    /// Starts a new blob, whose digest is known only at its end.
    pub fn blob_writer(&self) -> Result<BlobWriter, StoreError> {
        let file = files::temporary_in(&self.path("tmp"))?;
        Ok(BlobWriter {
            file,
            written: 0,
            blobs: self.path("blobs/sha256"),
        })
    }

    /// Writes a small blob that is in memory, unless it is there.
    pub fn put_blob(&self, bytes: &[u8]) -> Result<Digest, StoreError> {
        let digest = Digest::of(bytes);
        // Small enough to look instead of trusting the size.
        if !std::fs::read(self.blob_path(&digest)).is_ok_and(|found| found == bytes) {
            let mut writer = self.blob_writer()?;
            writer
                .write_all(bytes)
                .map_err(|error| writer.failed(error))?;
            writer.commit(&digest, bytes.len() as u64)?;
        }
        Ok(digest)
    }
}

/// A blob that is being written. Dropped before [`BlobWriter::commit`], it leaves nothing.
///
/// It does not buffer; writers of layers hand over large pieces.
#[derive(Debug)]
pub struct BlobWriter {
    file: NamedTempFile,
    written: u64,
    blobs: PathBuf,
}

impl BlobWriter {
    /// Finishes the blob. The writer of the bytes hashed them on the way and answers for
    /// `digest`; `size` is checked.
    pub fn commit(self, digest: &Digest, size: u64) -> Result<(), StoreError> {
        if self.written != size {
            let written = self.written;
            return Err(StoreError::WrongSize {
                digest: *digest,
                expected: size,
                written,
            });
        }
        // A blob that is there already is replaced: it may be damaged.
        files::publish(self.file, &self.blobs.join(digest.hex()))
    }

    /// The store's error for an error of [`Write`], with its hint.
    pub fn failed(&self, source: io::Error) -> StoreError {
        StoreError::Io {
            action: "write",
            path: self.file.path().to_owned(),
            source,
        }
    }
}

impl Write for BlobWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.as_file_mut().write(bytes)?;
        self.written += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
