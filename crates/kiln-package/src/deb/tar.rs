//! Tar archives in memory: POSIX ustar and pax, GNU long names.
//!
//! Written for packages and not on top of a general crate because attribute values in pax records
//! are binary (general readers split records at newlines), because payloads must be views of the
//! archive, and because what readers disagree about must be refused, not guessed: data after the
//! end mark, two forms of a long name for one member, sparse files, global headers.

use std::ops::Range;

use bytes::Bytes;

use super::capability;

const BLOCK: usize = 512;
/// A name that is longer cannot be a path; pax records of all attributes fit as well.
const MAX_EXTENSION: u64 = 256 << 10;

/// What the names and link targets of all members may take together: twenty times what the
/// largest icon themes need.
const MAX_NAME_BYTES: usize = 256 << 20;

/// Why a tar archive cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem} (at byte {offset})")]
pub struct TarError {
    /// Where the header of the member starts.
    pub offset: usize,
    /// What is wrong there.
    pub problem: TarProblem,
}

/// What can be wrong with a tar archive.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum TarProblem {
    #[error("it is truncated")]
    Truncated,
    #[error("a member header is damaged")]
    Header,
    #[error("the header checksum is wrong")]
    Checksum,
    #[error("bytes follow the end mark")]
    Trailing,
    #[error("it has more than {0} members")]
    TooMany(usize),
    #[error("the names of its members take more than {MAX_NAME_BYTES} bytes")]
    Names,
    #[error("a long name or an extended header is malformed")]
    Extension,
    #[error("two headers give the same member a name")]
    Ambiguous,
    #[error("the extended attribute `{0}` is not supported")]
    Attribute(String),
    #[error("members of type `{0}` are not supported")]
    Type(String),
    #[error("`{0}` is a device, a FIFO or a socket")]
    Special(String),
}

/// What a member is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    Directory,
    File(Bytes),
    Symlink(Vec<u8>),
    Hardlink(Vec<u8>),
}

/// A member, its names as the archive spells them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) name: Vec<u8>,
    pub(super) kind: Kind,
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mtime: i64,
    pub(super) capability: Option<Vec<u8>>,
}

impl Member {
    fn name_bytes(&self) -> usize {
        let link = match &self.kind {
            Kind::Symlink(target) | Kind::Hardlink(target) => target.len(),
            Kind::Directory | Kind::File(_) => 0,
        };
        self.name.len() + link
    }
}

/// What headers before a member say about it.
#[derive(Default)]
struct Extensions {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u64>,
    gid: Option<u64>,
    mtime: Option<i64>,
    capability: Option<Vec<u8>>,
    any: bool,
}

/// All members, at most `limit`.
pub(super) fn members(tar: &Bytes, limit: usize) -> Result<Vec<Member>, TarError> {
    let mut members = Vec::new();
    let mut extensions = Extensions::default();
    let mut offset = 0;
    let mut name_bytes = 0;
    loop {
        let at = |problem| TarError { offset, problem };
        let header: &[u8; BLOCK] = tar
            .get(offset..)
            .and_then(|rest| rest.first_chunk())
            .ok_or_else(|| at(TarProblem::Truncated))?;
        if header.iter().all(|&byte| byte == 0) {
            if extensions.any {
                return Err(at(TarProblem::Extension));
            }
            if tar[offset..].iter().any(|&byte| byte != 0) {
                return Err(at(TarProblem::Trailing));
            }
            return Ok(members);
        }
        check_sum(header).map_err(at)?;
        let size = match header[156] {
            b'L' | b'K' | b'x' => None,
            _ => extensions.size,
        }
        .map_or_else(|| unsigned(&header[124..136]), Some)
        .ok_or_else(|| at(TarProblem::Header))?;
        let payload =
            payload(tar, offset + BLOCK, size).ok_or_else(|| at(TarProblem::Truncated))?;
        let next = payload.end.next_multiple_of(BLOCK);
        match header[156] {
            b'L' | b'K' | b'x' => {
                if size > MAX_EXTENSION {
                    return Err(at(TarProblem::Extension));
                }
                extensions.read(header[156], &tar[payload]).map_err(at)?;
            }
            _ => {
                if members.len() == limit {
                    return Err(at(TarProblem::TooMany(limit)));
                }
                let taken = std::mem::take(&mut extensions);
                let member = member(header, tar.slice(payload), taken).map_err(at)?;
                name_bytes += member.name_bytes();
                if name_bytes > MAX_NAME_BYTES {
                    return Err(at(TarProblem::Names));
                }
                members.push(member);
            }
        }
        offset = next;
    }
}

fn payload(tar: &Bytes, start: usize, size: u64) -> Option<Range<usize>> {
    let end = start.checked_add(usize::try_from(size).ok()?)?;
    (end <= tar.len()).then_some(start..end)
}

fn member(header: &[u8; BLOCK], data: Bytes, extensions: Extensions) -> Result<Member, TarProblem> {
    let name = extensions.name.unwrap_or_else(|| plain_name(header));
    let link = extensions.link.unwrap_or_else(|| text(&header[157..257]));
    let shown = || String::from_utf8_lossy(&name[..name.len().min(200)]).into_owned();
    let empty = data.is_empty();
    let kind = match header[156] {
        // Before POSIX, a directory was a file whose name ends with a slash.
        b'0' | b'\0' if name.ends_with(b"/") && empty => Kind::Directory,
        b'0' | b'\0' | b'7' => Kind::File(data),
        b'1' if empty => Kind::Hardlink(link),
        b'2' if empty => Kind::Symlink(link),
        b'5' if empty => Kind::Directory,
        b'1' | b'2' | b'5' => return Err(TarProblem::Header),
        b'3' | b'4' | b'6' => return Err(TarProblem::Special(shown())),
        other => {
            return Err(TarProblem::Type(
                char::from(other).escape_default().to_string(),
            ));
        }
    };
    let id = |extended: Option<u64>, field: &[u8]| {
        extended
            .or_else(|| unsigned(field))
            .and_then(|id| u32::try_from(id).ok())
            .ok_or(TarProblem::Header)
    };
    let mode = unsigned(&header[100..108]).ok_or(TarProblem::Header)?;
    let mtime = extensions.mtime.or_else(|| number(&header[136..148]));
    Ok(Member {
        kind,
        mode: u32::try_from(mode & 0o7777).map_err(|_| TarProblem::Header)?,
        uid: id(extensions.uid, &header[108..116])?,
        gid: id(extensions.gid, &header[116..124])?,
        mtime: mtime.ok_or(TarProblem::Header)?,
        capability: extensions.capability,
        name,
    })
}

/// The name field, and in POSIX headers the prefix before it.
fn plain_name(header: &[u8; BLOCK]) -> Vec<u8> {
    let name = text(&header[..100]);
    let prefix = text(&header[345..500]);
    let is_posix = &header[257..263] == b"ustar\0";
    if !is_posix || prefix.is_empty() {
        return name;
    }
    [&prefix[..], b"/", &name].concat()
}

fn check_sum(header: &[u8; BLOCK]) -> Result<(), TarProblem> {
    let spaces = 8 * u64::from(b' ');
    let sum = header[..148]
        .iter()
        .chain(&header[156..])
        .fold(spaces, |sum, &byte| sum + u64::from(byte));
    if unsigned(&header[148..156]) == Some(sum) {
        Ok(())
    } else {
        Err(TarProblem::Checksum)
    }
}

/// A field up to its first NUL.
fn text(field: &[u8]) -> Vec<u8> {
    field
        .split(|&byte| byte == 0)
        .next()
        .unwrap_or_default()
        .to_vec()
}

fn unsigned(field: &[u8]) -> Option<u64> {
    number(field).and_then(|number| u64::try_from(number).ok())
}

/// Octal digits between blanks, or GNU's big-endian two's complement, marked by the first bit.
fn number(field: &[u8]) -> Option<i64> {
    let (&first, rest) = field.split_first()?;
    if first & 0x80 != 0 {
        // The mark is not part of the number; the bit after it is the sign.
        let negative = first & 0x40 != 0;
        let start = i128::from(first & 0x7f) - if negative { 0x80 } else { 0 };
        return rest
            .iter()
            .try_fold(start, |number, &byte| {
                number.checked_mul(256)?.checked_add(i128::from(byte))
            })
            .and_then(|number| i64::try_from(number).ok());
    }
    let digits = str::from_utf8(field).ok()?.trim_matches([' ', '\0']);
    if digits.is_empty() {
        return Some(0);
    }
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    i64::from_str_radix(digits, 8).ok()
}

impl Extensions {
    fn read(&mut self, kind: u8, data: &[u8]) -> Result<(), TarProblem> {
        self.any = true;
        match kind {
            b'L' => set(&mut self.name, text(data)),
            b'K' => set(&mut self.link, text(data)),
            _ => records(data)?
                .into_iter()
                .try_for_each(|(key, value)| self.record(key, value)),
        }
    }

    /// One record of a pax header. Keys that say nothing about the result are ignored: names of
    /// owners, other times, comments.
    fn record(&mut self, key: &[u8], value: &[u8]) -> Result<(), TarProblem> {
        let decimal = || {
            str::from_utf8(value)
                .ok()
                .and_then(|value| value.parse().ok())
                .ok_or(TarProblem::Extension)
        };
        match key {
            b"path" => set(&mut self.name, value.to_vec()),
            b"linkpath" => set(&mut self.link, value.to_vec()),
            b"size" => set(&mut self.size, decimal()?),
            b"uid" => set(&mut self.uid, decimal()?),
            b"gid" => set(&mut self.gid, decimal()?),
            b"mtime" => set(&mut self.mtime, whole_seconds(value)?),
            b"SCHILY.xattr.security.capability" => {
                let value = capability::version_2(value).ok_or(TarProblem::Extension)?;
                set(&mut self.capability, value)
            }
            _ if [&b"SCHILY.xattr."[..], b"SCHILY.acl.", b"GNU.sparse."]
                .iter()
                .any(|prefix| key.starts_with(prefix)) =>
            {
                Err(TarProblem::Attribute(
                    String::from_utf8_lossy(&key[..key.len().min(100)]).into_owned(),
                ))
            }
            _ => Ok(()),
        }
    }
}

fn set<T>(slot: &mut Option<T>, value: T) -> Result<(), TarProblem> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(TarProblem::Ambiguous),
    }
}

type Record<'a> = (&'a [u8], &'a [u8]);

/// `LENGTH KEY=VALUE\n`, where the length counts the whole record.
fn records(mut data: &[u8]) -> Result<Vec<Record<'_>>, TarProblem> {
    let split = |bytes: &[u8], mark: u8| bytes.iter().position(|&byte| byte == mark);
    let mut records = Vec::new();
    while !data.is_empty() {
        let record = split(data, b' ').and_then(|space| {
            let length: usize = str::from_utf8(&data[..space]).ok()?.parse().ok()?;
            let (record, rest) = data.split_at_checked(length)?;
            let record = record.get(space + 1..)?.strip_suffix(b"\n")?;
            let equals = split(record, b'=')?;
            Some(((&record[..equals], &record[equals + 1..]), rest))
        });
        let (record, rest) = record.ok_or(TarProblem::Extension)?;
        records.push(record);
        data = rest;
    }
    Ok(records)
}

/// A decimal number of seconds, rounded down.
fn whole_seconds(value: &[u8]) -> Result<i64, TarProblem> {
    let parse = || {
        let value = str::from_utf8(value).ok()?;
        let (whole, fraction) = value.split_once('.').unwrap_or((value, ""));
        let seconds: i64 = whole.parse().ok()?;
        if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let below = whole.starts_with('-') && fraction.bytes().any(|byte| byte != b'0');
        seconds.checked_sub(i64::from(below))
    };
    parse().ok_or(TarProblem::Extension)
}
