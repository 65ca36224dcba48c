//! The programs and shared libraries of a package: what each says to the dynamic linker, and the
//! links and configuration files by which it is found.
//!
//! Only files that begin as ELF files are inflated, one at a time, and large ones into an
//! unlinked file that is mapped. Of a file that cannot be read nothing is kept but that it is there.

use std::{
    io::{ErrorKind, Read},
    path::Path,
};

use bytes::Bytes;
use kiln_layer::Payload;
use serde::{Deserialize, Serialize};

use crate::{
    deb::{self, DebError, Fault},
    elf::{self, Dynamic, Machine},
    spool::Spool,
    zip::{self, Member, ZipError},
};

/// Why the libraries of a package cannot be known.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LibrariesError {
    /// The wheel cannot be read.
    #[error(transparent)]
    Wheel(#[from] ZipError),
    /// The Debian package cannot be read.
    #[error(transparent)]
    Deb(#[from] DebError),
    /// It says more than is kept.
    #[error(
        "its programs and libraries name more than {} MiB of libraries, versions and links",
        MAX_FACTS >> 20
    )]
    TooMuch,
    /// A file that is too large for memory could not be put on disk.
    #[error("unpacking `{name}`")]
    Spool {
        /// The file.
        name: String,
        /// What went wrong.
        #[source]
        source: std::io::Error,
    },
}

impl LibrariesError {
    /// Whether the package is to blame, and not the disk on which it is unpacked.
    pub fn is_of_archive(&self) -> bool {
        match self {
            Self::Spool { .. } => false,
            Self::Deb(error) => !matches!(error.fault, Fault::Spool(_)),
            Self::Wheel(_) | Self::TooMuch => true,
        }
    }
}

/// The most bytes that are kept of one package. Those of the largest ones have some hundred
/// kilobytes.
pub const MAX_FACTS: usize = 32 << 20;

/// What an entry weighs beside its names.
const ENTRY: usize = 64;

/// The largest file of the linker's configuration that is read.
const MAX_CONFIGURATION: usize = 64 << 10;

/// What a package has of programs and libraries.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Libraries {
    /// Programs and shared objects, in the order of the archive.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub objects: Vec<Object>,
    /// Links by which libraries are found: `libz.so.1` → `libz.so.1.2.13`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<Link>,
    /// Directories that `/etc/ld.so.conf.d` adds to those of the linker.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub directories: Vec<String>,
}

/// A program or shared object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Object {
    /// Its path as the archive spells it, relative.
    pub path: String,
    /// For which processors it is.
    pub machine: Machine,
    /// What it says.
    pub dynamic: Dynamic,
}

/// A symbolic or hard link to a library.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// Its path as the archive spells it, relative.
    pub path: String,
    /// Where it leads, as written.
    pub target: String,
}

/// The libraries of a wheel. `spool` is a directory for what is too large for memory.
pub fn of_wheel(archive: &Bytes, spool: &Path) -> Result<Libraries, LibrariesError> {
    let mut found = Collected::default();
    for member in zip::files(archive)? {
        if !member.starts_with(elf::MAGIC)? {
            continue;
        }
        let Some(bytes) = inflated(&member, spool)? else {
            continue;
        };
        found.object(&member.name, &bytes);
        if found.is_full {
            break;
        }
    }
    found.finish()
}

/// The content of a member, spooled; nothing when it is not what the archive says it is.
fn inflated(member: &Member, spool: &Path) -> Result<Option<Bytes>, LibrariesError> {
    let (data, size) = match &member.payload {
        Payload::Plain(data) => return Ok(Some(data.clone())),
        Payload::Deflated { data, size, .. } => (data, *size),
    };
    let stream = flate2::bufread::DeflateDecoder::new(&data[..]);
    let mut content = Spool::new(spool);
    // One byte more than stated is enough to see that there are more.
    let stream = stream.take(size.saturating_add(1));
    let failed = |source| LibrariesError::Spool {
        name: member.name.clone(),
        source,
    };
    let length = match content.append(stream) {
        Ok(range) => range.len() as u64,
        // A damaged stream: whoever packs the wheel says so.
        Err(error) if error.kind() == ErrorKind::InvalidInput => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let bytes = content.into_bytes().map_err(failed)?;
    Ok((length == size).then_some(bytes))
}

/// The libraries of a Debian package; `file_name` is for messages.
pub fn of_deb(archive: &Bytes, file_name: &str, spool: &Path) -> Result<Libraries, LibrariesError> {
    let mut found = Collected::default();
    deb::visit(archive, file_name, spool, &mut |name, content| {
        let Ok(path) = std::str::from_utf8(name) else {
            return;
        };
        let library = || path.rsplit('/').next().is_some_and(|it| it.contains(".so"));
        match content {
            deb::Content::File(bytes) if elf::is_elf(bytes) => found.object(path, bytes),
            deb::Content::File(bytes)
                if path.starts_with("etc/ld.so.conf.d/") && bytes.len() <= MAX_CONFIGURATION =>
            {
                found.directories(directories(bytes));
            }
            deb::Content::Link(target) if library() => {
                if let Ok(target) = std::str::from_utf8(target) {
                    found.link(path, target);
                }
            }
            _ => {}
        }
    })?;
    found.finish()
}

/// Lines of `ld.so.conf`: directories, separated by white space, colons or commas; what follows
/// `#` is a comment.
fn directories(text: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(text);
    let lines = text
        .lines()
        .map(|line| line.split('#').next().unwrap_or(""));
    let words = lines
        .flat_map(|line| line.split(|c: char| c.is_ascii_whitespace() || c == ':' || c == ','));
    let absolute = words.filter(|word| word.starts_with('/'));
    absolute
        .map(|word| word.trim_end_matches('/').to_owned())
        .collect()
}

/// What was found so far, and whether it is more than is kept.
#[derive(Default)]
struct Collected {
    libraries: Libraries,
    size: usize,
    is_full: bool,
}

impl Collected {
    /// Whether so many bytes more are kept.
    fn takes(&mut self, bytes: usize) -> bool {
        self.size = self.size.saturating_add(bytes).saturating_add(ENTRY);
        self.is_full |= self.size > MAX_FACTS;
        !self.is_full
    }

    fn object(&mut self, path: &str, bytes: &[u8]) {
        let (machine, dynamic) = match elf::read(bytes) {
            Ok(Some(read)) => read,
            Ok(None) => return,
            // It is there, and nobody can say more: others may need it by its name.
            Err(_) => match elf::machine(bytes) {
                Some(machine) => (machine, Dynamic::default()),
                None => return,
            },
        };
        if self.takes(path.len() + dynamic.size()) {
            self.libraries.objects.push(Object {
                path: path.to_owned(),
                machine,
                dynamic,
            });
        }
    }

    fn link(&mut self, path: &str, target: &str) {
        if self.takes(path.len() + target.len()) {
            self.libraries.links.push(Link {
                path: path.to_owned(),
                target: target.to_owned(),
            });
        }
    }

    fn directories(&mut self, directories: Vec<String>) {
        for directory in directories {
            if self.takes(directory.len()) {
                self.libraries.directories.push(directory);
            }
        }
    }

    fn finish(self) -> Result<Libraries, LibrariesError> {
        if self.is_full {
            return Err(LibrariesError::TooMuch);
        }
        Ok(self.libraries)
    }
}
