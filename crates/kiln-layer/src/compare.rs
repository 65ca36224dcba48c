//! What differs between two layers, path by path.
//!
//! It is about what the layers hold, not about their bytes: entries in another order, other
//! compression or another way to write a header are no difference here.

use std::collections::BTreeMap;
use std::io::{self, Read};

use kiln_digest::{Digest, Hasher};

use crate::{EntryPath, LayerRecord, LayerSummary, ReadError, ReadLimits, RecordKind, read_layer};

/// A path at which two layers are not alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathDifference {
    /// Where.
    pub path: EntryPath,
    /// In what, most telling first; never empty.
    pub aspects: Vec<Aspect>,
}

/// In what the entries of one path differ. Of two values the first layer's comes first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Aspect {
    /// The second layer does not have it.
    OnlyInFirst,
    /// The first layer does not have it.
    OnlyInSecond,
    /// What it is, as a word: `file`, `directory`.
    Kind(&'static str, &'static str),
    /// The content of a file.
    Content {
        /// Lengths in bytes.
        sizes: (u64, u64),
    },
    /// Where a link leads.
    Target(Vec<u8>, Vec<u8>),
    /// Permission bits.
    Mode(u32, u32),
    /// User and group.
    Owner((u32, u32), (u32, u32)),
    /// Modification time, in seconds since the epoch.
    Time(i64, i64),
    /// The `security.capability` attribute.
    Capability,
}

/// Two layers, and in what they differ.
#[derive(Debug)]
pub struct LayerDifferences {
    /// What the first layer is.
    pub first: LayerSummary,
    /// What the second layer is.
    pub second: LayerSummary,
    /// The paths that are not alike, sorted.
    pub paths: Vec<PathDifference>,
}

/// Reads two layers, of any maker and compression, and compares their entries.
///
/// Memory grows with the number of entries, not with their size.
pub fn compare_layers(
    first: impl Read,
    second: impl Read,
    limits: ReadLimits,
) -> Result<LayerDifferences, ReadError> {
    let (first, mut left) = entries(first, limits)?;
    let (second, right) = entries(second, limits)?;
    let mut paths = Vec::new();
    for (key, new) in right {
        let aspects = match left.remove(&key) {
            Some(old) => aspects(&old, &new),
            None => vec![Aspect::OnlyInSecond],
        };
        if !aspects.is_empty() {
            paths.push(PathDifference {
                path: key.0,
                aspects,
            });
        }
    }
    paths.extend(left.into_keys().map(|(path, _)| PathDifference {
        path,
        aspects: vec![Aspect::OnlyInFirst],
    }));
    paths.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(LayerDifferences {
        first,
        second,
        paths,
    })
}

/// An opaque whiteout has the path of the directory that it stands in.
type Key = (EntryPath, bool);

struct Seen {
    record: LayerRecord,
    content: Option<Digest>,
}

fn entries(
    blob: impl Read,
    limits: ReadLimits,
) -> Result<(LayerSummary, BTreeMap<Key, Seen>), ReadError> {
    let mut entries = BTreeMap::new();
    let summary = read_layer(blob, limits, |record, reader| {
        let is_file = matches!(record.kind, RecordKind::File);
        let content = is_file.then(|| digest(reader)).transpose()?;
        let opaque = matches!(record.kind, RecordKind::OpaqueWhiteout);
        let seen = Seen {
            record: record.clone(),
            content,
        };
        // Of two entries with one path, the last is what a reader of the layer ends up with.
        entries.insert((record.path.clone(), opaque), seen);
        Ok(())
    })?;
    Ok((summary, entries))
}

fn digest(reader: &mut dyn Read) -> io::Result<Digest> {
    let mut hasher = Hasher::new();
    let mut buffer = [0; 16 << 10];
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok(hasher.finish()),
            count => hasher.update(&buffer[..count]),
        }
    }
}

fn aspects(old: &Seen, new: &Seen) -> Vec<Aspect> {
    let (a, b) = (&old.record, &new.record);
    let mut aspects = Vec::new();
    match (&a.kind, &b.kind) {
        (RecordKind::Symlink(from), RecordKind::Symlink(to)) if from != to => {
            aspects.push(Aspect::Target(from.clone(), to.clone()));
        }
        (RecordKind::Hardlink(from), RecordKind::Hardlink(to)) if from != to => {
            let (from, to) = (from.as_bytes().to_vec(), to.as_bytes().to_vec());
            aspects.push(Aspect::Target(from, to));
        }
        (from, to) if word(from) != word(to) => aspects.push(Aspect::Kind(word(from), word(to))),
        _ => {}
    }
    if let (Some(from), Some(to)) = (old.content, new.content)
        && from != to
    {
        aspects.push(Aspect::Content {
            sizes: (a.size, b.size),
        });
    }
    if a.mode != b.mode {
        aspects.push(Aspect::Mode(a.mode, b.mode));
    }
    if (a.uid, a.gid) != (b.uid, b.gid) {
        aspects.push(Aspect::Owner((a.uid, a.gid), (b.uid, b.gid)));
    }
    if a.capability != b.capability {
        aspects.push(Aspect::Capability);
    }
    if a.mtime != b.mtime {
        aspects.push(Aspect::Time(a.mtime, b.mtime));
    }
    aspects
}

fn word(kind: &RecordKind) -> &'static str {
    match kind {
        RecordKind::Directory => "directory",
        RecordKind::File => "file",
        RecordKind::Symlink(_) => "symbolic link",
        RecordKind::Hardlink(_) => "hard link",
        RecordKind::Whiteout => "removal",
        RecordKind::OpaqueWhiteout => "removal of what is below",
        RecordKind::Other(_) => "special file",
    }
}
