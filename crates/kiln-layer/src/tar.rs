//! Canonical tar headers: ustar, with PAX records only where ustar cannot say it.
//!
//! Source of the format: POSIX.1-2024, `pax`, "ustar Interchange Format" and "pax Extended
//! Header". What POSIX leaves open is fixed here, because each choice shows in the diff ID:
//!
//! - A path of more than 100 bytes is split into `prefix` and `name` at the first slash that
//!   leaves at most 100 bytes behind it; where no slash does (or the path is not ASCII) the
//!   path stands in a `path` record and the header repeats what fits of its ASCII bytes.
//! - Records are sorted by keyword. They are written as raw bytes even where a path is not
//!   UTF-8: every reader that was tried takes them so, and GNU tar complains about the
//!   `hdrcharset` record that POSIX has for this.
//! - A directory's name ends in a slash. Symbolic links have mode 0777; whiteouts are empty
//!   files of mode 0600 of root, at [`REPRODUCIBLE_MTIME`]. A hard link repeats the metadata of
//!   its target: engines apply them to the shared inode once more.
//! - Owners are numbers: `uname` and `gname` are empty. Device numbers are zero.

use crate::{Entry, EntryKind, REPRODUCIBLE_MTIME};

/// The unit of tar: headers are one block, payloads are padded to blocks.
pub(crate) const BLOCK: usize = 512;

/// Two zero blocks: the end of the archive.
pub(crate) const END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];

/// What marks the removal of a path in the name of a file (image-spec, layer.md, "Whiteouts").
pub(crate) const WHITEOUT_PREFIX: &[u8] = b".wh.";

/// The PAX keyword of file capabilities, as GNU tar, libarchive and container engines know it.
pub(crate) const CAPABILITY_RECORD: &[u8] = b"SCHILY.xattr.security.capability";

/// The name of every header that holds records; it is never a path in the layer.
const RECORDS_NAME: &[u8] = b"././@PaxHeader";

const NAME: usize = 100;
const PREFIX: usize = 155;
/// The greatest values of the octal fields of 7 and of 11 digits.
const MAX_SHORT: u64 = 0o777_7777;
const MAX_LONG: u64 = 0o777_7777_7777;

/// How many zeros follow a payload of `size` bytes.
pub(crate) fn padding(size: u64) -> usize {
    #[expect(clippy::cast_possible_truncation, reason = "less than a block")]
    let rest = (size % BLOCK as u64) as usize;
    (BLOCK - rest) % BLOCK
}

/// Appends the header of `entry`. `target` is the entry that a hard link points to.
pub(crate) fn write_header(entry: &Entry, target: Option<&Entry>, out: &mut Vec<u8>) {
    let fields = Fields::of(entry, target.unwrap_or(entry));
    let records = fields.records();
    if !records.is_empty() {
        write_block(
            &Fields {
                name: RECORDS_NAME.to_vec(),
                kind: b'x',
                size: records.len() as u64,
                ..Fields::default()
            },
            out,
        );
        out.extend_from_slice(&records);
        out.resize(out.len() + padding(records.len() as u64), 0);
    }
    write_block(&fields, out);
}

/// The entry that a hard link of `entries`, which are sorted, points to.
pub(crate) fn target<'a>(link: &Entry, entries: &'a [Entry]) -> Option<&'a Entry> {
    let EntryKind::Hardlink(target) = &link.kind else {
        return None;
    };
    let index = entries
        .binary_search_by(|entry| entry.path.cmp(target))
        .ok()?;
    entries.get(index)
}

/// What a header says.
#[derive(Default)]
pub(crate) struct Fields<'a> {
    pub(crate) name: Vec<u8>,
    pub(crate) link: &'a [u8],
    kind: u8,
    pub(crate) size: u64,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mtime: i64,
    pub(crate) capability: Option<&'a [u8]>,
}

impl<'a> Fields<'a> {
    /// What the header of `entry` says; `metadata` is the entry that it points to, if it is a hard
    /// link, else itself.
    pub(crate) fn of(entry: &'a Entry, metadata: &'a Entry) -> Self {
        let path = entry.path.as_bytes();
        let fields = Self {
            name: path.to_vec(),
            mode: metadata.mode,
            uid: metadata.uid,
            gid: metadata.gid,
            mtime: metadata.mtime,
            capability: metadata.capability.as_deref(),
            ..Self::default()
        };
        match &entry.kind {
            EntryKind::Directory => Self {
                name: [path, b"/"].concat(),
                kind: b'5',
                mtime: REPRODUCIBLE_MTIME,
                ..fields
            },
            EntryKind::File(payload) => Self {
                kind: b'0',
                size: payload.size(),
                ..fields
            },
            EntryKind::Symlink(link) => Self {
                kind: b'2',
                link,
                mode: 0o777,
                capability: None,
                ..fields
            },
            EntryKind::Hardlink(link) => Self {
                kind: b'1',
                link: link.as_bytes(),
                ..fields
            },
            EntryKind::Whiteout => Self {
                name: whiteout_name(path),
                kind: b'0',
                mode: 0o600,
                uid: 0,
                gid: 0,
                mtime: REPRODUCIBLE_MTIME,
                capability: None,
                ..fields
            },
        }
    }

    /// The PAX records that this header needs, sorted by keyword.
    fn records(&self) -> Vec<u8> {
        let mut records = Vec::new();
        if let Some(capability) = self.capability {
            write_record(CAPABILITY_RECORD, capability, &mut records);
        }
        write_number(b"gid", self.gid.into(), MAX_SHORT, &mut records);
        if self.link.len() > NAME || !self.link.is_ascii() {
            write_record(b"linkpath", self.link, &mut records);
        }
        write_number(b"mtime", self.mtime, MAX_LONG, &mut records);
        if split(&self.name).is_none() {
            write_record(b"path", &self.name, &mut records);
        }
        let size = i64::try_from(self.size).unwrap_or(i64::MAX);
        write_number(b"size", size, MAX_LONG, &mut records);
        write_number(b"uid", self.uid.into(), MAX_SHORT, &mut records);
        records
    }
}

fn whiteout_name(path: &[u8]) -> Vec<u8> {
    let start = path
        .iter()
        .rposition(|&byte| byte == b'/')
        .map_or(0, |slash| slash + 1);
    [&path[..start], WHITEOUT_PREFIX, &path[start..]].concat()
}

/// Splits a path into `prefix` and `name`, unless it must stand in a record.
fn split(path: &[u8]) -> Option<(&[u8], &[u8])> {
    if !path.is_ascii() {
        return None;
    }
    if path.len() <= NAME {
        return Some((b"", path));
    }
    // The name may not be empty, so the slash that ends a directory does not count.
    let from = path.len() - NAME - 1;
    let slash = from
        + path[from..path.len() - 1]
            .iter()
            .position(|&byte| byte == b'/')?;
    (slash <= PREFIX).then(|| (&path[..slash], &path[slash + 1..]))
}

/// Writes `length keyword=value\n`, where the length counts its own digits too.
fn write_record(keyword: &[u8], value: &[u8], records: &mut Vec<u8>) {
    let rest = keyword.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    records.extend_from_slice(length.to_string().as_bytes());
    records.push(b' ');
    records.extend_from_slice(keyword);
    records.push(b'=');
    records.extend_from_slice(value);
    records.push(b'\n');
}

/// Writes a record for a number that its octal field cannot hold.
fn write_number(keyword: &[u8], value: i64, max: u64, records: &mut Vec<u8>) {
    if !u64::try_from(value).is_ok_and(|value| value <= max) {
        write_record(keyword, value.to_string().as_bytes(), records);
    }
}

fn write_block(fields: &Fields<'_>, out: &mut Vec<u8>) {
    let mut block = [0; BLOCK];
    if let Some((prefix, name)) = split(&fields.name) {
        block[..name.len()].copy_from_slice(name);
        block[345..345 + prefix.len()].copy_from_slice(prefix);
    } else {
        fill_with_ascii(&mut block[..NAME], &fields.name);
    }
    octal(&mut block[100..108], fields.mode.into());
    octal(&mut block[108..116], fields.uid.into());
    octal(&mut block[116..124], fields.gid.into());
    octal(&mut block[124..136], fields.size);
    octal(
        &mut block[136..148],
        u64::try_from(fields.mtime).unwrap_or(0),
    );
    block[156] = fields.kind;
    fill_with_ascii(&mut block[157..257], fields.link);
    block[257..265].copy_from_slice(b"ustar\x0000");
    octal(&mut block[329..337], 0);
    octal(&mut block[337..345], 0);
    // The checksum is taken as if its own field were eight spaces.
    let sum = block.iter().map(|&byte| u64::from(byte)).sum::<u64>() + 8 * u64::from(b' ');
    octal(&mut block[148..155], sum);
    block[155] = b' ';
    out.extend_from_slice(&block);
}

/// Octal digits and a NUL; zero where a record overrides the field.
fn octal(field: &mut [u8], value: u64) {
    let digits = field.len() - 1;
    let value = if value >> (3 * digits) == 0 { value } else { 0 };
    for (index, digit) in field[..digits].iter_mut().rev().enumerate() {
        *digit = b'0' + (value >> (3 * index)).to_le_bytes()[0] % 8;
    }
}

fn fill_with_ascii(field: &mut [u8], bytes: &[u8]) {
    let ascii = bytes.iter().filter(|byte| byte.is_ascii());
    for (to, from) in field.iter_mut().zip(ascii) {
        *to = *from;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EntryPath, Payload};

    fn file(path: &str, payload: Payload) -> Entry {
        Entry {
            path: EntryPath::new(path).unwrap(),
            kind: EntryKind::File(payload),
            mode: 0o644,
            uid: 0,
            gid: 0,
            mtime: 0,
            capability: None,
        }
    }

    fn header(entry: &Entry) -> Vec<u8> {
        let mut out = Vec::new();
        write_header(entry, None, &mut out);
        out
    }

    /// The header that GNU tar 1.34 writes for such a file with `--format=ustar --numeric-owner
    /// --owner=:0 --group=:0 --mode=0644 --mtime=@0`.
    #[test]
    fn a_plain_file_has_the_header_of_gnu_tar() {
        let header = header(&file("a", Payload::Plain("xyz".into())));
        assert_eq!(header.len(), BLOCK);
        assert_eq!(header[..2], *b"a\0");
        assert_eq!(header[100..124], *b"0000644\x000000000\x000000000\0");
        assert_eq!(header[124..148], *b"00000000003\x0000000000000\0");
        assert_eq!(header[148..157], *b"007341\0 0");
        assert_eq!(header[257..265], *b"ustar\x0000");
        assert!(header[265..329].iter().all(|&byte| byte == 0));
        assert_eq!(header[329..345], *b"0000000\x000000000\0");
    }

    #[test]
    fn long_paths_are_split_at_the_first_slash_that_is_far_enough() {
        let name = "n".repeat(50);
        let path = format!("{name}/{name}/{name}/{name}");
        let (prefix, rest) = split(path.as_bytes()).unwrap();
        assert_eq!(prefix, format!("{name}/{name}/{name}").as_bytes());
        assert_eq!(rest, name.as_bytes());
        assert_eq!(
            split("x".repeat(100).as_bytes()).map(|(prefix, _)| prefix.len()),
            Some(0)
        );
        assert_eq!(split(&[b'x'; 101]), None);
        // A directory whose only slash far enough is its last byte.
        assert_eq!(split(format!("{}/", "x".repeat(100)).as_bytes()), None);
        // A prefix of 155 bytes is the longest.
        let path = |prefix: usize| format!("{}/{}", "p".repeat(prefix), "n".repeat(100));
        assert!(split(path(155).as_bytes()).is_some());
        assert!(split(path(156).as_bytes()).is_none());
        assert!(split("ü".as_bytes()).is_none());
    }

    #[test]
    fn the_length_of_a_record_counts_its_own_digits() {
        for length in 0..1200 {
            let mut record = Vec::new();
            write_record(b"path", &vec![b'v'; length], &mut record);
            let text = String::from_utf8(record).unwrap();
            let (stated, _) = text.split_once(' ').unwrap();
            assert_eq!(stated.parse(), Ok(text.len()));
        }
    }

    #[test]
    fn eight_gibibytes_need_a_size_record() {
        let payload = |size| Payload::Deflated {
            data: "".into(),
            crc32: 0,
            size,
        };
        assert_eq!(header(&file("a", payload((8 << 30) - 1))).len(), BLOCK);
        let with_record = header(&file("a", payload(8 << 30)));
        assert_eq!(with_record.len(), 3 * BLOCK);
        assert_eq!(with_record[156], b'x');
        assert!(with_record[BLOCK..].starts_with(b"19 size=8589934592\n\0"));
        assert_eq!(with_record[2 * BLOCK + 124..][..12], *b"00000000000\0");
    }
}
