//! What is unpacked and must outlive its reader: small in memory, large in an unlinked file that
//! is mapped.

use std::{
    fs::File,
    io::{self, Read, Write},
    ops::Range,
    path::Path,
};

use bytes::Bytes;
use memmap2::Mmap;
use tempfile::{SpooledData, SpooledTempFile};

/// What stays in memory.
const IN_MEMORY: usize = 1 << 20;

/// Bytes that grow at their end.
pub(crate) struct Spool {
    file: SpooledTempFile,
    length: u64,
}

impl Spool {
    /// Empty; `directory` takes the unnamed file.
    pub(crate) fn new(directory: &Path) -> Self {
        Self {
            file: SpooledTempFile::new_in(IN_MEMORY, directory),
            length: 0,
        }
    }

    /// Appends what `reader` gives. The range that it takes.
    pub(crate) fn append(&mut self, mut reader: impl Read) -> io::Result<Range<usize>> {
        let start = self.length;
        self.length += io::copy(&mut reader, &mut self.file)?;
        Ok(index(start)?..index(self.length)?)
    }

    /// All of it.
    pub(crate) fn into_bytes(self) -> io::Result<Bytes> {
        match self.file.into_inner() {
            SpooledData::InMemory(cursor) => Ok(cursor.into_inner().into()),
            SpooledData::OnDisk(file) => map(&file),
        }
    }
}

impl Write for Spool {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.length += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn index(offset: u64) -> io::Result<usize> {
    usize::try_from(offset).map_err(io::Error::other)
}

#[expect(
    unsafe_code,
    reason = "the file was created here, has no name and no other handle: nobody can change it"
)]
fn map(file: &File) -> io::Result<Bytes> {
    // SAFETY: see the reason above; the map outlives the handle, which is closed unchanged.
    let map = unsafe { Mmap::map(file) }?;
    Ok(Bytes::from_owner(map))
}
