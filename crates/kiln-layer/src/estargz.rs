//! The end of a layer that can be read lazily: eStargz's table of contents and footer.
//!
//! Source of the format: `docs/estargz.md` of containerd's stargz-snapshotter. A layer in this
//! form is an ordinary gzip layer whose last file, [`TOC_NAME`], says at which byte of the blob the
//! gzip member of each file begins, and with which digest. A reader finds it through the footer, an
//! empty member with the position in its header, and then fetches single files.
//!
//! Members of payloads already begin where the format wants them to. All that is added are the
//! landmark (which says that nothing is to be fetched ahead), the table and the footer; and large
//! files have a member for each chunk, however they came, so that a reader need not fetch them
//! whole.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;
use jiff::Timestamp;
use kiln_digest::Digest;
use serde::Serialize;

use crate::tar::{Fields, padding, write_header};
use crate::{Entry, EntryKind, EntryPath, LayerError, Payload, REPRODUCIBLE_MTIME, gzip, tar};

/// The table of contents, in the root of the layer.
const TOC_NAME: &str = "stargz.index.json";

/// "No file shall be fetched before it is asked for."
const LANDMARK: &str = ".no.prefetch.landmark";
const LANDMARK_CONTENT: &[u8] = &[0xf];

/// Means the contrary, so that no file may have this name.
const OTHER_LANDMARK: &str = ".prefetch.landmark";

/// Whether a file of a layer is there for lazy readers alone, which do not show it.
pub fn is_for_lazy_readers(path: &EntryPath) -> bool {
    [TOC_NAME, LANDMARK, OTHER_LANDMARK]
        .iter()
        .any(|name| name.as_bytes() == path.as_bytes())
}

/// A part of a file that has a gzip member of its own: a small file, or at most 4 MiB.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Chunk {
    /// Where the member begins, in the packed piece.
    pub(crate) at: usize,
    /// The length of the content.
    pub(crate) size: u64,
    pub(crate) digest: Digest,
    /// The digest of the whole file, which one of its chunks knows.
    pub(crate) file: Option<Digest>,
}

/// What is known of the pieces that were packed, in whatever order they come.
#[derive(Debug, Default)]
pub(crate) struct Chunks(BTreeMap<usize, (usize, Vec<Chunk>)>);

impl Chunks {
    /// Notes the piece with this number: its length in the blob, and its chunks.
    pub(crate) fn put(&mut self, number: usize, length: usize, chunks: Vec<Chunk>) {
        self.0.insert(number, (length, chunks));
    }

    /// The chunks in the order of the layer, each with the place of its member in the blob.
    fn placed(self) -> impl Iterator<Item = (u64, Chunk)> {
        let mut start = 0;
        self.0.into_values().flat_map(move |(length, chunks)| {
            let piece = start;
            start += length as u64;
            chunks
                .into_iter()
                .map(move |chunk| (piece + chunk.at as u64, chunk))
        })
    }
}

/// The entries with the landmark.
pub(crate) fn with_landmark(entries: &[Entry]) -> Result<Vec<Entry>, LayerError> {
    let landmark = file(LANDMARK, Bytes::from_static(LANDMARK_CONTENT))?;
    for entry in entries {
        let unusable = |reason| Err(LayerError::NotLazy(entry.path.clone(), reason));
        match entry.path.as_bytes() {
            _ if is_for_lazy_readers(&entry.path) => {
                return unusable("has a name that eStargz uses itself");
            }
            path if std::str::from_utf8(path).is_err() => return unusable("is not UTF-8"),
            _ => {}
        }
        if let EntryKind::Symlink(target) = &entry.kind
            && std::str::from_utf8(target).is_err()
        {
            return unusable("is a link to what is not UTF-8");
        }
        if time(entry.mtime).is_none() {
            return unusable("has a time that is before the year 0 or after 9999");
        }
    }
    let place = entries.partition_point(|entry| entry.path < landmark.path);
    let mut all = entries.to_vec();
    all.insert(place, landmark);
    Ok(all)
}

fn file(name: &str, content: Bytes) -> Result<Entry, LayerError> {
    let path = EntryPath::new(name).map_err(|_| LayerError::Compressor)?;
    Ok(Entry {
        path,
        kind: EntryKind::File(Payload::Plain(content)),
        mode: 0o644,
        uid: 0,
        gid: 0,
        mtime: REPRODUCIBLE_MTIME,
        capability: None,
    })
}

/// The end of a layer.
pub(crate) struct Ending {
    /// The table as an entry of the tar stream, and the stream's end: one gzip member.
    pub(crate) tar: Vec<u8>,
    /// The digest of the table.
    pub(crate) toc: Digest,
}

impl Ending {
    /// `entries` are those that were written, with the landmark.
    pub(crate) fn new(entries: &[Entry], chunks: Chunks) -> Result<Self, LayerError> {
        let json = Bytes::from(table(entries, chunks));
        let mut tar = Vec::with_capacity(json.len() + 4 * tar::BLOCK);
        write_header(&file(TOC_NAME, json.clone())?, None, &mut tar);
        tar.extend_from_slice(&json);
        tar.resize(tar.len() + padding(json.len() as u64), 0);
        tar.extend_from_slice(&tar::END);
        Ok(Self {
            tar,
            toc: Digest::of(&json),
        })
    }
}

/// The last 51 bytes of the blob: an empty gzip member (its block is stored) that says where the
/// member of the table begins.
pub(crate) fn footer(toc_at: u64) -> Vec<u8> {
    let position = format!("{toc_at:016x}STARGZ");
    let mut footer = gzip::HEADER.to_vec();
    footer[3] = 4; // FEXTRA
    for (length, id) in [(position.len() + 4, &b""[..]), (position.len(), b"SG")] {
        footer.extend_from_slice(id);
        footer.extend_from_slice(&length.to_le_bytes()[..2]);
    }
    footer.extend_from_slice(position.as_bytes());
    footer.extend_from_slice(&[1, 0, 0, 0xff, 0xff]);
    footer.extend_from_slice(&gzip::trailer(0, 0));
    footer
}

#[derive(Serialize)]
struct Table<'a> {
    version: u32,
    entries: Vec<Row<'a>>,
}

/// Fields in the order in which the specification describes them.
#[derive(Serialize, Default)]
#[serde(rename_all = "camelCase")]
struct Row<'a> {
    name: Cow<'a, str>,
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "is_zero")]
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    modtime: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    link_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gid: Option<u32>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    xattrs: BTreeMap<&'static str, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<Digest>,
    #[serde(skip_serializing_if = "is_zero")]
    offset: u64,
    #[serde(skip_serializing_if = "is_zero")]
    chunk_offset: u64,
    #[serde(skip_serializing_if = "is_zero")]
    chunk_size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    chunk_digest: Option<Digest>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// The table of contents as JSON.
fn table(entries: &[Entry], chunks: Chunks) -> Vec<u8> {
    let mut chunks = chunks.placed();
    let mut rows = Vec::with_capacity(entries.len());
    for entry in entries {
        let target = tar::target(entry, entries);
        let fields = Fields::of(entry, target.unwrap_or(entry));
        // Names were checked before.
        let name = String::from_utf8_lossy(&fields.name).into_owned();
        let row = Row {
            name: name.clone().into(),
            kind: match entry.kind {
                EntryKind::Directory => "dir",
                EntryKind::File(_) | EntryKind::Whiteout => "reg",
                EntryKind::Symlink(_) => "symlink",
                EntryKind::Hardlink(_) => "hardlink",
            },
            size: fields.size,
            modtime: time(fields.mtime),
            link_name: std::str::from_utf8(fields.link)
                .ok()
                .filter(|link| !link.is_empty()),
            mode: Some(fields.mode),
            uid: Some(fields.uid),
            gid: Some(fields.gid),
            xattrs: fields
                .capability
                .map(|value| ("security.capability", base64(value)))
                .into_iter()
                .collect(),
            ..Row::default()
        };
        let first = rows.len();
        rows.push(row);
        let mut done = 0;
        let mut digest = None;
        while done < fields.size
            && let Some((offset, chunk)) = chunks.next()
        {
            if done > 0 {
                rows.push(Row {
                    name: name.clone().into(),
                    kind: "chunk",
                    ..Row::default()
                });
            }
            if let Some(row) = rows.last_mut() {
                row.offset = offset;
                row.chunk_offset = done;
                row.chunk_digest = Some(chunk.digest);
                // Zero means: to the end of the file.
                let more = done + chunk.size < fields.size;
                row.chunk_size = if more { chunk.size } else { 0 };
            }
            digest = digest.or(chunk.file);
            done += chunk.size;
        }
        if let Some(row) = rows.get_mut(first) {
            row.digest = digest;
        }
    }
    let table = Table {
        version: 1,
        entries: rows,
    };
    // Plain data with text keys always serialises.
    serde_json::to_vec(&table).unwrap_or_default()
}

/// RFC 3339 in UTC; readers know no years but those of four digits.
fn time(seconds: i64) -> Option<String> {
    let text = Timestamp::from_second(seconds).ok()?.to_string();
    (!text.starts_with('-')).then_some(text)
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let [a, b, c] = [0, 1, 2].map(|index| u32::from(*group.get(index).unwrap_or(&0)));
        let bits = a << 16 | b << 8 | c;
        for index in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * index) & 63) as usize];
            let used = index <= group.len();
            text.push(if used { char::from(digit) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of RFC 4648, section 10.
    #[test]
    fn base64_is_that_of_the_rfc() {
        let vectors = [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ];
        for (plain, encoded) in vectors {
            assert_eq!(base64(plain.as_bytes()), encoded);
        }
        assert_eq!(base64(&[0xfb, 0xff, 0xbf]), "+/+/");
    }

    #[test]
    fn the_footer_has_the_documented_length_and_says_where_the_table_is() {
        let footer = footer(0x1f_2e3d);
        assert_eq!(footer.len(), 51);
        assert_eq!(&footer[10..16], b"\x1a\0SG\x16\0");
        assert_eq!(&footer[16..38], b"00000000001f2e3dSTARGZ");
    }

    #[test]
    fn times_are_those_that_readers_know() {
        assert_eq!(time(REPRODUCIBLE_MTIME).unwrap(), "1980-01-01T00:00:00Z");
        assert_eq!(time(-1).unwrap(), "1969-12-31T23:59:59Z");
        assert_eq!(time(i64::MAX), None);
        assert_eq!(time(-100_000_000_000), None);
    }
}
