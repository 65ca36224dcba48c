//! What a capture found, on its way from the worker to kiln: an index, and the bytes of files in a
//! spool file that both have open.

use std::{fs::File, io, io::Seek as _};

use bytes::Bytes;
use kiln_layer::{Entry, EntryKind, EntryPath, Payload, REPRODUCIBLE_MTIME};
use memmap2::Mmap;
use serde::{Deserialize, Serialize};

use super::{Owner, TreeError, error::Cause};

/// What a capture found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Changes {
    /// What differs, sorted by path.
    pub(crate) entries: Vec<Change>,
    /// The directories above these that do not differ, sorted by path.
    pub(crate) parents: Vec<Change>,
}

/// One path that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Change {
    /// Where, relative to the root.
    #[serde(with = "latin1")]
    pub(crate) path: Vec<u8>,
    /// What is there.
    pub(crate) kind: ChangeKind,
    /// The twelve permission bits.
    pub(crate) mode: u32,
    /// Who owns it.
    pub(crate) owner: Owner,
    /// `security.capability` in version-2 form.
    pub(crate) capability: Option<Vec<u8>>,
}

/// What is at a path that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ChangeKind {
    /// A directory.
    Directory,
    /// A file, whose bytes are in the spool.
    File {
        /// Where they begin.
        offset: u64,
        /// How many they are.
        length: u64,
    },
    /// A symbolic link and its target.
    Symlink(#[serde(with = "latin1")] Vec<u8>),
    /// Another name of the file at this path, which is before it in the index.
    Hardlink(#[serde(with = "latin1")] Vec<u8>),
    /// Nothing any more.
    Whiteout,
}

/// Paths are bytes, JSON is not: each byte becomes the character of its number.
mod latin1 {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        let text: String = bytes.iter().map(|&byte| char::from(byte)).collect();
        serializer.serialize_str(&text)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.chars()
            .map(|char| u8::try_from(char).map_err(|_| D::Error::custom("not a byte")))
            .collect()
    }
}

/// The spool file while a capture writes it.
pub(crate) struct Spool {
    file: File,
    length: u64,
}

impl Spool {
    /// Begins to write at the end of `file`.
    pub(crate) fn new(mut file: File) -> io::Result<Self> {
        let length = file.seek(io::SeekFrom::End(0))?;
        Ok(Self { file, length })
    }

    /// Appends the bytes of a file, and says where they are. The kernel copies them.
    pub(super) fn append(&mut self, content: &mut File) -> io::Result<ChangeKind> {
        let offset = self.length;
        let length = io::copy(content, &mut self.file)?;
        self.length += length;
        Ok(ChangeKind::File { offset, length })
    }
}

/// The entries of an index, which is sorted by path; their payloads are views of the mapped spool.
pub(crate) fn entries(changes: Vec<Change>, spool: &File) -> Result<Vec<Entry>, TreeError> {
    let bytes = map(spool).map_err(TreeError::file("map", "the spool of captured files"))?;
    let path = |bytes: Vec<u8>| {
        EntryPath::new(bytes).map_err(|error| TreeError::Path {
            cause: Cause::of(&error),
        })
    };
    changes
        .into_iter()
        .map(|change| {
            let kind = match change.kind {
                ChangeKind::Directory => EntryKind::Directory,
                ChangeKind::File { offset, length } => {
                    let content = slice(&bytes, offset, length).ok_or(io::ErrorKind::UnexpectedEof);
                    let content = content
                        .map_err(|kind| TreeError::file("read", &change.path)(kind.into()))?;
                    EntryKind::File(Payload::Plain(content))
                }
                ChangeKind::Symlink(target) => EntryKind::Symlink(target),
                ChangeKind::Hardlink(target) => EntryKind::Hardlink(path(target)?),
                ChangeKind::Whiteout => EntryKind::Whiteout,
            };
            Ok(Entry {
                path: path(change.path)?,
                kind,
                mode: change.mode,
                uid: change.owner.uid,
                gid: change.owner.gid,
                mtime: REPRODUCIBLE_MTIME,
                capability: change.capability,
            })
        })
        .collect()
}

fn slice(bytes: &Bytes, offset: u64, length: u64) -> Option<Bytes> {
    let start = usize::try_from(offset).ok()?;
    let end = start.checked_add(usize::try_from(length).ok()?)?;
    (end <= bytes.len()).then(|| bytes.slice(start..end))
}

#[expect(unsafe_code, reason = "memory map of a file that nobody else writes")]
fn map(spool: &File) -> io::Result<Bytes> {
    if spool.metadata()?.len() == 0 {
        return Ok(Bytes::new());
    }
    // SAFETY: the file has no name; only the worker had it open besides us, and the worker has
    // ended its writing when the index of what it wrote is here.
    let map = unsafe { Mmap::map(spool)? };
    Ok(Bytes::from_owner(map))
}
