//! Tar streams of any maker, read in bounded memory: ustar, PAX, and GNU's long names and
//! base-256 numbers. Sparse files, which no layer should have, are refused.

use std::io::{self, Read};

use kiln_digest::Digest;

use crate::read::{LayerRecord, ReadError, RecordKind};
use crate::tally::Tally;
use crate::tar::{BLOCK, CAPABILITY_RECORD, WHITEOUT_PREFIX, padding};
use crate::{EntryPath, EntryPathError};

/// The most that PAX records or a GNU long name of one entry may take.
const MAX_EXTENSION: u64 = 1 << 20;

const OPAQUE: &[u8] = b".wh..wh..opq";

/// Reads one record after the other.
pub(crate) struct TarReader<S> {
    stream: S,
    tally: Tally,
    max_size: u64,
    /// How much content of the current entry, and how much padding behind it, is unread.
    unread: u64,
    padding: usize,
}

/// What a [`TarReader`] finds.
pub(crate) enum Next {
    Record(LayerRecord),
    /// The root directory, which has no path.
    Root,
    /// The end of the archive.
    End,
}

/// What extended headers say about the entry that follows them.
#[derive(Default)]
struct Extension {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u64>,
    gid: Option<u64>,
    mtime: Option<i64>,
    capability: Option<Vec<u8>>,
}

impl<S: Read> TarReader<S> {
    pub(crate) fn new(stream: S, max_size: u64) -> Self {
        Self {
            stream,
            tally: Tally::default(),
            max_size,
            unread: 0,
            padding: 0,
        }
    }

    /// What comes next.
    pub(crate) fn next_record(&mut self) -> Result<Next, ReadError> {
        let mut extension = Extension::default();
        loop {
            self.skip_content()?;
            let Some(header) = self.header()? else {
                return Ok(Next::End);
            };
            let kind = header[156];
            let size = match extension.size {
                Some(size) => size,
                None => self.number(&header[124..136])?,
            };
            match kind {
                b'x' | b'g' | b'L' | b'K' => {
                    let size = self.number(&header[124..136])?;
                    let data = self.extension_data(size)?;
                    match kind {
                        b'x' => self.parse_records(&data, &mut extension)?,
                        b'L' => extension.path = Some(until_nul(&data).to_vec()),
                        b'K' => extension.link = Some(until_nul(&data).to_vec()),
                        // Global records carry comments at most.
                        _ => {}
                    }
                }
                b'S' => return Err(self.malformed("sparse files are not supported")),
                _ => return self.record(&header, kind, size, extension),
            }
        }
    }

    /// The content of the current file.
    pub(crate) fn content(&mut self) -> Content<'_, S> {
        Content(self)
    }

    /// Reads to the end, and gives the digest and the length of the stream.
    pub(crate) fn finish(mut self) -> Result<(Digest, u64), ReadError> {
        let mut buffer = [0; 8192];
        while self.fill(&mut buffer)? > 0 {}
        Ok(self.tally.finish())
    }

    /// Reads until `buffer` is full or the stream ends.
    fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, ReadError> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.stream.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.tally.add(&buffer[..filled]);
        if self.tally.bytes > self.max_size {
            return Err(ReadError::Limit("bytes"));
        }
        Ok(filled)
    }

    /// A header block, unless the archive ends. Some makers leave the zero blocks out.
    fn header(&mut self) -> Result<Option<[u8; BLOCK]>, ReadError> {
        let mut header = [0; BLOCK];
        let filled = self.fill(&mut header)?;
        if filled == 0 || (filled == BLOCK && header == [0; BLOCK]) {
            return Ok(None);
        }
        if filled < BLOCK {
            return Err(self.malformed("it ends inside a header"));
        }
        let stated = self.number(&header[148..156])?;
        let sum = |byte: u8| u64::from(byte);
        let outside = header[..148].iter().chain(&header[156..]);
        if outside.copied().map(sum).sum::<u64>() + 8 * sum(b' ') != stated {
            return Err(self.malformed("the checksum of a header is wrong"));
        }
        Ok(Some(header))
    }

    fn skip_content(&mut self) -> Result<(), ReadError> {
        let mut buffer = [0; 8192];
        let mut rest = self.unread + self.padding as u64;
        (self.unread, self.padding) = (0, 0);
        while rest > 0 {
            let wanted = usize::try_from(rest)
                .unwrap_or(buffer.len())
                .min(buffer.len());
            let filled = self.fill(&mut buffer[..wanted])?;
            if filled < wanted {
                return Err(self.malformed("it ends inside a file"));
            }
            rest -= filled as u64;
        }
        Ok(())
    }

    fn extension_data(&mut self, size: u64) -> Result<Vec<u8>, ReadError> {
        if size > MAX_EXTENSION {
            return Err(ReadError::Limit("extended header bytes"));
        }
        let mut data = vec![0; usize::try_from(size).unwrap_or(0)];
        if self.fill(&mut data)? < data.len() {
            return Err(self.malformed("it ends inside an extended header"));
        }
        self.padding = padding(size);
        Ok(data)
    }

    fn record(
        &mut self,
        header: &[u8; BLOCK],
        flag: u8,
        size: u64,
        extension: Extension,
    ) -> Result<Next, ReadError> {
        let name = extension.path.unwrap_or_else(|| ustar_path(header));
        let link = extension
            .link
            .unwrap_or_else(|| until_nul(&header[157..257]).to_vec());
        let is_file = matches!(flag, b'0' | b'7' | 0) && !(flag == 0 && name.ends_with(b"/"));
        let size = if is_file { size } else { 0 };
        if size > self.max_size {
            return Err(ReadError::Limit("bytes"));
        }
        (self.unread, self.padding) = (size, padding(size));
        let Some(path) = normal(&name)? else {
            return Ok(Next::Root);
        };
        let (path, kind) = match flag {
            b'5' => (path, RecordKind::Directory),
            0 if !is_file => (path, RecordKind::Directory),
            b'2' => (path, RecordKind::Symlink(link)),
            b'1' => {
                let target = normal(&link)?.ok_or(EntryPathError::Empty)?;
                (path, RecordKind::Hardlink(target))
            }
            _ if is_file => file_or_whiteout(path)?,
            other => (path, RecordKind::Other(other)),
        };
        let id = |extended: Option<u64>, field: &[u8]| {
            let value = extended.map_or_else(|| self.number(field), Ok)?;
            u32::try_from(value).map_err(|_| self.malformed("an owner is out of range"))
        };
        let mtime = match extension.mtime {
            Some(mtime) => mtime,
            None => i64::try_from(self.number(&header[136..148])?).unwrap_or(i64::MAX),
        };
        let mode = (self.number(&header[100..108])? & 0o7777) as u32;
        Ok(Next::Record(LayerRecord {
            path,
            kind,
            size,
            mode,
            uid: id(extension.uid, &header[108..116])?,
            gid: id(extension.gid, &header[116..124])?,
            mtime,
            capability: extension.capability,
        }))
    }

    /// An octal number, or GNU's big-endian one.
    fn number(&self, field: &[u8]) -> Result<u64, ReadError> {
        let error = || self.malformed("a number in a header is wrong");
        if let [0x80, rest @ ..] = field {
            return rest
                .iter()
                .try_fold(0_u64, |value, &byte| {
                    Some(value.checked_mul(256)? + u64::from(byte))
                })
                .ok_or_else(error);
        }
        let digits = until_nul(field).trim_ascii();
        digits
            .iter()
            .try_fold(0_u64, |value, &digit| match digit {
                b'0'..=b'7' => Some(value.checked_mul(8)? + u64::from(digit - b'0')),
                _ => None,
            })
            .ok_or_else(error)
    }

    fn parse_records(&self, mut data: &[u8], extension: &mut Extension) -> Result<(), ReadError> {
        let error = || self.malformed("an extended header is wrong");
        while !data.is_empty() {
            let space = data
                .iter()
                .take(20)
                .position(|&byte| byte == b' ')
                .ok_or_else(error)?;
            let length: usize = decimal(&data[..space]).ok_or_else(error)?;
            let record = data.get(space + 1..length).ok_or_else(error)?;
            data = &data[length..];
            let record = record.strip_suffix(b"\n").ok_or_else(error)?;
            let equals = record
                .iter()
                .position(|&byte| byte == b'=')
                .ok_or_else(error)?;
            let (keyword, value) = (&record[..equals], &record[equals + 1..]);
            match keyword {
                b"path" => extension.path = Some(value.to_vec()),
                b"linkpath" => extension.link = Some(value.to_vec()),
                b"size" => extension.size = Some(decimal(value).ok_or_else(error)?),
                b"uid" => extension.uid = Some(decimal(value).ok_or_else(error)?),
                b"gid" => extension.gid = Some(decimal(value).ok_or_else(error)?),
                b"mtime" => extension.mtime = Some(seconds(value).ok_or_else(error)?),
                CAPABILITY_RECORD => extension.capability = Some(value.to_vec()),
                _ if keyword.starts_with(b"GNU.sparse.") => {
                    return Err(self.malformed("sparse files are not supported"));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn malformed(&self, reason: &'static str) -> ReadError {
        ReadError::Malformed {
            offset: self.tally.bytes,
            reason,
        }
    }
}

/// See [`TarReader::content`].
pub(crate) struct Content<'a, S>(&'a mut TarReader<S>);

impl<S: Read> Read for Content<'_, S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let reader = &mut *self.0;
        let wanted = usize::try_from(reader.unread)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let filled = reader
            .fill(&mut buffer[..wanted])
            .map_err(|error| match error {
                ReadError::Io(error) => error,
                other => io::Error::other(other),
            })?;
        if filled < wanted {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        reader.unread -= filled as u64;
        Ok(filled)
    }
}

fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|&byte| byte == 0).next().unwrap_or_default()
}

fn ustar_path(header: &[u8; BLOCK]) -> Vec<u8> {
    let name = until_nul(&header[..100]);
    // GNU's own format, `ustar  `, has other fields where ustar has the prefix.
    let prefix = if &header[257..263] == b"ustar\0" {
        until_nul(&header[345..500])
    } else {
        b""
    };
    if prefix.is_empty() {
        name.to_vec()
    } else {
        [prefix, b"/", name].concat()
    }
}

/// The path without `.` components and outer slashes; `None` is the root.
fn normal(name: &[u8]) -> Result<Option<EntryPath>, EntryPathError> {
    let components = name
        .split(|&byte| byte == b'/')
        .filter(|part| !matches!(*part, b"" | b"."));
    let path = components.collect::<Vec<_>>().join(&b'/');
    if path.is_empty() {
        Ok(None)
    } else {
        EntryPath::new(path).map(Some)
    }
}

fn file_or_whiteout(path: EntryPath) -> Result<(EntryPath, RecordKind), EntryPathError> {
    let name = path.file_name();
    let Some(hidden) = name.strip_prefix(WHITEOUT_PREFIX) else {
        return Ok((path, RecordKind::File));
    };
    if name == OPAQUE {
        // In the root it concerns the root, which has no path.
        let directory = path.parent().ok_or(EntryPathError::Empty)?;
        return Ok((directory, RecordKind::OpaqueWhiteout));
    }
    let hidden = match path.parent() {
        Some(parent) => parent.join(hidden)?,
        None => EntryPath::new(hidden)?,
    };
    Ok((hidden, RecordKind::Whiteout))
}

fn decimal<T: std::str::FromStr>(text: &[u8]) -> Option<T> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Whole seconds, rounded towards the past as `stat` does.
fn seconds(text: &[u8]) -> Option<i64> {
    let point = text
        .iter()
        .position(|&byte| byte == b'.')
        .unwrap_or(text.len());
    let whole: i64 = decimal(&text[..point])?;
    let has_fraction = text[point..].iter().any(|byte| matches!(byte, b'1'..=b'9'));
    if text.starts_with(b"-") && has_fraction {
        whole.checked_sub(1)
    } else {
        Some(whole)
    }
}
