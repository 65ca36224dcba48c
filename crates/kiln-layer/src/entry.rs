//! What a layer is made of: paths, metadata, payloads.

use std::fmt;

use bytes::Bytes;

/// 1980-01-01T00:00:00Z in seconds since the epoch: the modification time of every directory
/// and of every file that does not come from an OS package. Zip tools cannot store earlier times.
pub const REPRODUCIBLE_MTIME: i64 = 315_532_800;

/// A path inside a layer: relative, `/`-separated, not empty, without empty, `.` or `..`
/// components and without NUL. Any other bytes may occur (Debian ships non-UTF-8 names).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryPath(Vec<u8>);

/// Why bytes are not an [`EntryPath`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryPathError {
    /// Nothing is left of the path.
    #[error("the path is empty")]
    Empty,
    /// The path starts at a root.
    #[error("`{0}` is absolute")]
    Absolute(String),
    /// The path climbs out of the directory that it is relative to.
    #[error("`{0}` leads outside with `..`")]
    Escape(String),
    /// A NUL byte, an empty or a `.` component, or more than 4096 bytes.
    #[error("`{0}` is not a normal path")]
    NotNormal(String),
}

impl EntryPath {
    /// Accepts a path that is already normal.
    pub fn new(path: impl Into<Vec<u8>>) -> Result<Self, EntryPathError> {
        let path = path.into();
        let shown = || String::from_utf8_lossy(&path[..path.len().min(200)]).into_owned();
        if path.is_empty() {
            return Err(EntryPathError::Empty);
        }
        if path[0] == b'/' {
            return Err(EntryPathError::Absolute(shown()));
        }
        if path.len() > 4096 || path.contains(&0) {
            return Err(EntryPathError::NotNormal(shown()));
        }
        for component in path.split(|&byte| byte == b'/') {
            match component {
                b".." => return Err(EntryPathError::Escape(shown())),
                b"" | b"." => return Err(EntryPathError::NotNormal(shown())),
                _ => {}
            }
        }
        Ok(Self(path))
    }

    /// The bytes of the path.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// This path with `name` (itself a normal relative path) below it.
    pub fn join(&self, name: &[u8]) -> Result<Self, EntryPathError> {
        let mut path = self.0.clone();
        path.push(b'/');
        path.extend_from_slice(name);
        Self::new(path)
    }

    /// The directory that holds this path, unless it is the root.
    pub fn parent(&self) -> Option<Self> {
        let slash = self.0.iter().rposition(|&byte| byte == b'/')?;
        Some(Self(self.0[..slash].to_vec()))
    }

    /// The last component.
    pub fn file_name(&self) -> &[u8] {
        self.0
            .rsplit(|&byte| byte == b'/')
            .next()
            .unwrap_or(&self.0)
    }
}

impl fmt::Display for EntryPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for EntryPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(&self.0))
    }
}

/// The bytes of a file. Cloning is cheap: both forms are views of shared memory, usually of a
/// mapped archive.
#[derive(Clone, Debug)]
pub enum Payload {
    /// A raw DEFLATE stream (RFC 1951) as a zip member holds it. It is copied into a gzip layer
    /// and inflated once, to hash and to verify it.
    Deflated {
        /// The compressed bytes.
        data: Bytes,
        /// CRC-32 of the inflated bytes, as the archive states it; verified.
        crc32: u32,
        /// Length of the inflated bytes, as the archive states it; verified.
        size: u64,
    },
    /// Uncompressed bytes.
    Plain(Bytes),
}

impl Payload {
    /// Length of the file in bytes.
    pub fn size(&self) -> u64 {
        match self {
            Self::Deflated { size, .. } => *size,
            Self::Plain(data) => data.len() as u64,
        }
    }
}

/// What stands at a path.
#[derive(Clone, Debug)]
pub enum EntryKind {
    /// A directory.
    Directory,
    /// A regular file.
    File(Payload),
    /// A symbolic link and its target, which may be any bytes.
    Symlink(Vec<u8>),
    /// Another name of a file of the same layer.
    Hardlink(EntryPath),
    /// The removal of this path from the layers below (`.wh.` file, image-spec layer.md).
    Whiteout,
}

/// One path of a layer with its metadata.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Where.
    pub path: EntryPath,
    /// What.
    pub kind: EntryKind,
    /// The twelve permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time in whole seconds since the epoch.
    pub mtime: i64,
    /// The value of the `security.capability` attribute, in its version-2 form.
    pub capability: Option<Vec<u8>>,
}
