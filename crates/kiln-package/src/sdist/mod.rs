//! Source distributions of Python projects: what they hold, and how they want to be built.
//!
//! Sources: the Python packaging specification "Source distribution format", and PEP 517 and 518
//! for `[build-system]`. An sdist is a `.tar.gz` (old ones are `.zip`) of one directory,
//! `NAME-VERSION/`, whose content [`read`] gives.
//!
//! Invariants of what is read: paths are normal and below the directory; links, which only tar
//! archives have, lead to members of the archive; modes are 0755 or 0644; root owns everything.
//! Of times the archive's own are kept, because `make` and old build scripts compare them, but
//! none is before 1980, where zip archives begin.

mod build_system;
mod error;

use std::{collections::BTreeMap, ops::Range, path::Path};

use bytes::Bytes;
use kiln_layer::{Entry, EntryKind, EntryPath, Payload, ReadLimits, RecordKind, read_layer};

pub use build_system::BuildSystem;
pub use error::SdistError;

use crate::{spool::Spool, zip};

/// The most members of an archive, and the most bytes that they have together.
const LIMITS: ReadLimits = ReadLimits {
    unpacked_size: 16 << 30,
    entries: 400_000,
};

/// The largest `pyproject.toml`.
const MAX_PYPROJECT: usize = 4 << 20;

/// 1980-01-01T00:00:00Z.
const EARLIEST: i64 = 315_532_800;

/// What a source distribution holds.
#[derive(Debug, Clone)]
pub struct Sdist {
    /// Its files, links and explicit directories, sorted, relative to its one directory.
    pub entries: Vec<Entry>,
    /// How it wants to be built.
    pub build_system: BuildSystem,
}

/// Reads a source distribution. `spool` is a directory for an unnamed file that holds what is
/// unpacked.
pub fn read(archive: &Bytes, file_name: &str, spool: &Path) -> Result<Sdist, SdistError> {
    let form = Form::of(file_name)
        .ok_or_else(|| SdistError::Form(file_name.chars().take(200).collect()))?;
    let members = match form {
        Form::Tar => tar(archive, spool)?,
        Form::Zip => unzip(archive, spool)?,
    };
    let entries = below_top(members)?;
    let build_system = match pyproject(&entries) {
        Some(text) => BuildSystem::parse(text)?,
        None => BuildSystem::default(),
    };
    Ok(Sdist {
        entries,
        build_system,
    })
}

/// The form of the archive, which its name decides.
#[derive(Debug, Clone, Copy)]
enum Form {
    Tar,
    Zip,
}

impl Form {
    fn of(file_name: &str) -> Option<Self> {
        let (stem, extension) = file_name.rsplit_once('.')?;
        match extension {
            "gz" if stem.rsplit_once('.')?.1 == "tar" => Some(Self::Tar),
            "tgz" => Some(Self::Tar),
            "zip" => Some(Self::Zip),
            _ => None,
        }
    }
}

/// Members by path; where a path is there twice, the later one holds, as for every reader.
type Members = BTreeMap<EntryPath, Entry>;

/// A member of a tar archive, whose content is not yet mapped.
enum Found {
    File(Range<usize>),
    Other(RecordKind),
}

fn tar(archive: &Bytes, spool: &Path) -> Result<Members, SdistError> {
    if !archive.starts_with(&[0x1f, 0x8b]) {
        return Err(SdistError::NotGzip);
    }
    let mut spooled = Spool::new(spool);
    let mut found = BTreeMap::new();
    read_layer(&archive[..], LIMITS, |record, content| {
        let what = match &record.kind {
            RecordKind::File => Found::File(spooled.append(content)?),
            other => Found::Other(other.clone()),
        };
        found.insert(record.path.clone(), (what, record.mode, record.mtime));
        Ok(())
    })?;
    let spooled = spooled.into_bytes().map_err(SdistError::Spool)?;
    let mut members = Members::new();
    for (path, (what, mode, mtime)) in &found {
        let kind = match what {
            Found::File(range) => EntryKind::File(Payload::Plain(spooled.slice(range.clone()))),
            Found::Other(RecordKind::Directory) => EntryKind::Directory,
            Found::Other(RecordKind::Symlink(target)) => {
                check_link(path, target)?;
                EntryKind::Symlink(target.clone())
            }
            // A copy serves as well, and needs no order.
            Found::Other(RecordKind::Hardlink(target)) => match found.get(target) {
                Some((Found::File(range), ..)) => {
                    EntryKind::File(Payload::Plain(spooled.slice(range.clone())))
                }
                _ => return Err(SdistError::Link(path.clone())),
            },
            Found::Other(_) => return Err(SdistError::Kind(path.clone())),
        };
        members.insert(path.clone(), entry(path.clone(), kind, *mode, *mtime));
    }
    Ok(members)
}

fn unzip(archive: &Bytes, spool: &Path) -> Result<Members, SdistError> {
    let mut spooled = Spool::new(spool);
    let mut found = Vec::new();
    for member in zip::files(archive)? {
        let content = member.read(LIMITS.unpacked_size)?;
        let range = spooled.append(&content[..]).map_err(SdistError::Spool)?;
        found.push((member, range));
    }
    let spooled = spooled.into_bytes().map_err(SdistError::Spool)?;
    let mut members = Members::new();
    for (member, range) in found {
        let path = EntryPath::new(member.name.as_str())?;
        let kind = EntryKind::File(Payload::Plain(spooled.slice(range)));
        let mode = if member.is_executable() { 0o755 } else { 0o644 };
        members.insert(path.clone(), entry(path, kind, mode, EARLIEST));
    }
    Ok(members)
}

fn entry(path: EntryPath, kind: EntryKind, mode: u32, mtime: i64) -> Entry {
    let mode = match &kind {
        EntryKind::Symlink(_) => 0o777,
        EntryKind::Directory => 0o755,
        _ if mode & 0o111 != 0 => 0o755,
        _ => 0o644,
    };
    Entry {
        path,
        kind,
        mode,
        uid: 0,
        gid: 0,
        mtime: mtime.max(EARLIEST),
        capability: None,
    }
}

/// Refuses a symbolic link that leads out of the archive.
fn check_link(path: &EntryPath, target: &[u8]) -> Result<(), SdistError> {
    let mut depth = path.as_bytes().split(|&byte| byte == b'/').count() - 1;
    let outside = || SdistError::Link(path.clone());
    if target.starts_with(b"/") {
        return Err(outside());
    }
    for component in target.split(|&byte| byte == b'/') {
        match component {
            b"" | b"." => {}
            // One directory, the top, must stay above it.
            b".." => {
                depth = depth
                    .checked_sub(1)
                    .filter(|it| *it > 0)
                    .ok_or_else(outside)?;
            }
            _ => depth += 1,
        }
    }
    Ok(())
}

/// Takes away the one directory at the top.
fn below_top(members: Members) -> Result<Vec<Entry>, SdistError> {
    let mut top: Option<Vec<u8>> = None;
    let mut entries = Vec::with_capacity(members.len());
    for (path, entry) in members {
        let bytes = path.as_bytes();
        let end = bytes.iter().position(|&byte| byte == b'/');
        let first = &bytes[..end.unwrap_or(bytes.len())];
        if top.get_or_insert_with(|| first.to_vec()) != first {
            return Err(SdistError::Top);
        }
        match end {
            Some(end) => entries.push(Entry {
                path: EntryPath::new(&bytes[end + 1..])?,
                ..entry
            }),
            None if matches!(entry.kind, EntryKind::Directory) => {}
            None => return Err(SdistError::Top),
        }
    }
    if entries.is_empty() {
        return Err(SdistError::Top);
    }
    Ok(entries)
}

fn pyproject(entries: &[Entry]) -> Option<&[u8]> {
    let entry = entries
        .iter()
        .find(|entry| entry.path.as_bytes() == b"pyproject.toml")?;
    match &entry.kind {
        EntryKind::File(Payload::Plain(content)) => Some(content),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
