//! The `ar` archive around a package: deb(5), ar(5), the common format without symbol tables.

use bytes::Bytes;

const MAGIC: &[u8] = b"!<arch>\n";
const HEADER: usize = 60;
/// Packages have three members, signed ones a few more.
const MAX_MEMBERS: usize = 64;

/// Why bytes are not an archive that can be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArError {
    /// The first bytes are something else.
    #[error("it is not a Debian package: it does not start with `!<arch>`")]
    Magic,
    /// The archive ends within a member, or a member states a size beyond its end.
    #[error("it is truncated: the member at byte {offset} goes past its end")]
    Truncated {
        /// Where the header of the member starts.
        offset: usize,
    },
    /// A header that is not one.
    #[error("the member header at byte {offset} is damaged")]
    Header {
        /// Where it starts.
        offset: usize,
    },
    /// More members than any package has.
    #[error("it has more than {MAX_MEMBERS} members")]
    TooMany,
}

/// One file of the archive.
#[derive(Debug, Clone)]
pub(super) struct Member {
    /// Without padding and without the slash that GNU ar appends.
    pub(super) name: String,
    pub(super) data: Bytes,
}

/// The members in order.
pub(super) fn members(archive: &Bytes) -> Result<Vec<Member>, ArError> {
    if !archive.starts_with(MAGIC) {
        return Err(ArError::Magic);
    }
    let mut offset = MAGIC.len();
    let mut members = Vec::new();
    while offset < archive.len() {
        if members.len() == MAX_MEMBERS {
            return Err(ArError::TooMany);
        }
        let header = archive
            .get(offset..offset + HEADER)
            .ok_or(ArError::Truncated { offset })?;
        let damaged = ArError::Header { offset };
        if &header[58..] != b"`\n" {
            return Err(damaged);
        }
        let name = text(&header[..16]).ok_or_else(|| damaged.clone())?;
        let size: usize = text(&header[48..58])
            .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
            .and_then(|digits| digits.parse().ok())
            .ok_or(damaged)?;
        let start = offset + HEADER;
        let end = start
            .checked_add(size)
            .filter(|&end| end <= archive.len())
            .ok_or(ArError::Truncated { offset })?;
        members.push(Member {
            name: name.strip_suffix('/').unwrap_or(name).to_owned(),
            data: archive.slice(start..end),
        });
        // Members start at even offsets. Some writers leave out the last padding byte.
        offset = end + end % 2;
    }
    Ok(members)
}

fn text(field: &[u8]) -> Option<&str> {
    let text = str::from_utf8(field).ok()?.trim_end_matches(' ');
    (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())).then_some(text)
}
