//! Which members make a package, and in which order: deb(5).

use bytes::Bytes;

use super::ar;
use super::error::Fault;

/// The two archives of a package, still compressed.
pub(super) struct Container {
    pub(super) control: Part,
    pub(super) data: Part,
}

/// A compressed archive.
pub(super) struct Part {
    /// The name of the member, such as `data.tar.xz`.
    pub(super) name: String,
    pub(super) compression: Compression,
    pub(super) bytes: Bytes,
}

/// How a member is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    Gzip,
    Xz,
    Zstd,
}

/// Finds the parts of a package. Members whose names start with `_` may stand anywhere after the
/// first one; after the data archive, members of any other name are ignored as well, deb(5).
pub(super) fn open(archive: &Bytes) -> Result<Container, Fault> {
    let mut members = ar::members(archive)?.into_iter();
    let version = members.next().ok_or(Fault::Missing("debian-binary"))?;
    if version.name != "debian-binary" {
        return Err(order("debian-binary", &version.name));
    }
    check_version(&version.data)?;

    let mut members = members.filter(|member| !member.name.starts_with('_'));
    let control = part("control.tar", members.next())?;
    let data = part("data.tar", members.next())?;
    for member in members {
        let again = member.name == "debian-binary"
            || ["control.tar", "data.tar"]
                .iter()
                .any(|stem| member.name.starts_with(stem));
        if again {
            return Err(Fault::Repeated(member.name));
        }
    }
    Ok(Container { control, data })
}

fn part(stem: &'static str, member: Option<ar::Member>) -> Result<Part, Fault> {
    let member = member.ok_or(Fault::Missing(stem))?;
    let compression = match member.name.strip_prefix(stem) {
        Some("") => Compression::None,
        Some(".gz") => Compression::Gzip,
        Some(".xz") => Compression::Xz,
        Some(".zst") => Compression::Zstd,
        Some(_) => return Err(Fault::Compression(member.name)),
        None => return Err(order(stem, &member.name)),
    };
    Ok(Part {
        name: member.name,
        compression,
        bytes: member.data,
    })
}

/// `2.0` and a newline; a later minor version must stay readable, and lines may follow.
fn check_version(data: &[u8]) -> Result<(), Fault> {
    let line = data.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let shown = || String::from_utf8_lossy(&line[..line.len().min(40)]).into_owned();
    match line.strip_prefix(b"2.") {
        Some(minor) if !minor.is_empty() && minor.iter().all(u8::is_ascii_digit) => Ok(()),
        _ => Err(Fault::Version(shown())),
    }
}

fn order(expected: &'static str, found: &str) -> Fault {
    Fault::Order {
        expected,
        found: found.to_owned(),
    }
}
