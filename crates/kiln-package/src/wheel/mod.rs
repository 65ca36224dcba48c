//! Wheels → entries of a virtual environment; and the environment itself.
//!
//! [`entries`] does what `pip install --no-deps --no-compile` does, as data: the same tree, but
//! for the list below. [`venv()`] does what `python -m venv --without-pip` does. [`canonical()`]
//! rewrites a wheel that was just built. Sources: the
//! Python packaging specifications "Binary distribution format", "Recording installed projects"
//! and "Entry points"; pip 26 where they leave something open.
//!
//! # Words
//!
//! - **prefix**: the directory of the environment.
//! - **scheme**: a kind of file with its directory. Files at the top of a wheel are `purelib`
//!   or `platlib`, which is one directory here; those in `NAME-VERSION.data/SCHEME/` belong to
//!   the named scheme: `scripts` (`bin`), `headers` (`include/site/pythonX.Y/NAME`), `data`
//!   (the prefix itself), `purelib`, `platlib`.
//! - **launcher**: the script that installers write for an entry point.
//!
//! # Algorithm
//!
//! Read the zip directory; find the one `.dist-info`; compare project and version of file name,
//! directory and METADATA; compare RECORD with the archive; give every file its place; write
//! launchers, `INSTALLER` and the new RECORD. Only metadata files and scripts whose `#!` line
//! must change are inflated: all other payloads stay what the archive holds, so that a layer
//! can copy them. Hashes in RECORD are kept as they are and not computed again: the wheel's own
//! digest and the CRC-32 of each member cover the bytes.
//!
//! # Differences from pip
//!
//! Of the tree:
//!
//! - `INSTALLER` says `kiln`.
//! - No `REQUESTED`: it would make the files of a package depend on who asked for it. And no
//!   `direct_url.json`: packages come from an index.
//! - RECORD has no row for a launcher that the wheel brought along and that was replaced (pip
//!   keeps such a row, for a file that does not exist), and no file twice.
//! - Headers go to the normal form of the project's name; pip takes the name as a requirement
//!   spells it, which would make the files depend on who asked for them.
//! - Files for `lib64` are placed into `lib`, of which it is a link; RECORD says `lib64`, as
//!   pip's does.
//! - The environment has no `Activate.ps1`, and no `.gitignore` even where newer versions of
//!   `venv` write one: it says `*`, and code checkers obey it in every directory below, also
//!   where users keep their work. `pyvenv.cfg` states Python's version as `X.Y`.
//!
//! Wheels that pip accepts and this module refuses, because they are wrong in a way that could
//! hide something: a RECORD that does not agree with the archive, another project or version
//! inside than the file name says, symbolic links (pip would write files), all that
//! [`crate::zip`] refuses, two files for one place, another `bin/python` or `pyvenv.cfg`,
//! commands whose names are no plain file names.

mod canonical;
mod entry_points;
mod error;
mod headers;
mod layout;
mod name;
mod record;
mod venv;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use kiln_layer::{Entry, Payload};

pub use canonical::{Description, canonical, describe};
pub use error::WheelError;
pub use layout::Placement;
pub use record::record_path;
pub use venv::venv;

use self::{
    entry_points::EntryPoints,
    headers::header,
    layout::{Tree, relative},
    name::FileName,
    record::Row,
};
use crate::zip::{self, Member};

/// What `INSTALLER` says.
const INSTALLER: &[u8] = b"kiln\n";

/// The most bytes of RECORD: hundreds for each of the most files that an archive may have.
const MAX_RECORD: u64 = 64 << 20;

/// The most bytes of METADATA, which ends with the project's description.
const MAX_METADATA: u64 = 16 << 20;

/// The most bytes of WHEEL and `entry_points.txt`. Every few bytes of the latter become a file.
const MAX_SMALL_METADATA: u64 = 1 << 20;

/// The most bytes of a script whose `#!` line must be rewritten.
const MAX_SCRIPT: u64 = 64 << 20;

/// The entries of a wheel, sorted by path, with all directories from the prefix on.
///
/// `archive` is the whole wheel, best a map of its file; payloads are views of it. `file_name`
/// is the wheel's own name, with project, version and tags; the tags are not looked at.
pub fn entries(
    archive: &Bytes,
    file_name: &str,
    placement: &Placement,
) -> Result<Vec<Entry>, WheelError> {
    let mut tree = Tree::new(placement)?;
    let wheel = Wheel::open(archive, file_name)?;
    let site_packages = placement.site_packages();
    let interpreter = placement.interpreter();
    let mut rows = wheel.checked_record()?;
    let mut new_rows = Vec::with_capacity(rows.len());
    let points = wheel.entry_points()?;

    let record_path = wheel.metadata_path("RECORD");
    let installer_path = wheel.metadata_path("INSTALLER");
    for member in &wheel.members {
        let row = rows.remove(&member.name);
        if member.name == record_path || member.name == installer_path {
            continue;
        }
        let place = Place::of(&member.name, &wheel.file_name.project, placement)?;
        if place.is_script && points.replaces(last_component(&place.path)) {
            continue;
        }
        let recorded_path = relative(&place.path, &site_packages);
        let (payload, row) = match rewritten(member, place.is_script, &interpreter)? {
            Some(content) => (
                Payload::Plain(content.clone()),
                Row::of(recorded_path, &content),
            ),
            // Only signatures of RECORD may lack a row.
            None => (
                member.payload.clone(),
                match row {
                    Some(row) => row.at(recorded_path),
                    None => Row::bare(recorded_path),
                },
            ),
        };
        tree.file(&place.on_disk(), payload, member.is_executable())?;
        new_rows.push(row);
    }

    let mut generate = |path: String, content: Vec<u8>, is_executable| {
        new_rows.push(Row::of(relative(&path, &site_packages), &content));
        tree.file(&path, Payload::Plain(content.into()), is_executable)
    };
    for (name, text) in points.launchers(placement.python, &interpreter)? {
        generate(format!("bin/{name}"), text.into_bytes(), true)?;
    }
    generate(
        format!("{site_packages}/{installer_path}"),
        INSTALLER.to_vec(),
        false,
    )?;
    new_rows.push(Row::bare(record_path.clone()));
    let record = record::render(new_rows).into_bytes();
    tree.file(
        &format!("{site_packages}/{record_path}"),
        Payload::Plain(record.into()),
        false,
    )?;
    let of_environment = placement.own_paths();
    match of_environment.into_iter().find(|path| tree.holds(path)) {
        Some(path) => Err(WheelError::Reserved(path)),
        None => Ok(tree.into_entries()),
    }
}

/// A wheel whose names were found to agree.
struct Wheel {
    file_name: FileName,
    members: Vec<Member>,
    /// Position in `members` by name.
    positions: BTreeMap<String, usize>,
    /// Name of the `.dist-info` directory.
    dist_info: String,
}

impl Wheel {
    fn open(archive: &Bytes, file_name: &str) -> Result<Self, WheelError> {
        let file_name = FileName::parse(file_name)?;
        let members = zip::files(archive)?;
        let names = members.iter().map(|member| member.name.clone());
        let positions: BTreeMap<_, _> = names.zip(0..).collect();
        let dist_info: BTreeSet<&str> = positions
            .keys()
            .filter_map(|name| Some(name.split_once('/')?.0))
            .filter(|directory| directory.ends_with(".dist-info"))
            .collect();
        let [dist_info] = dist_info.iter().collect::<Vec<_>>()[..] else {
            return Err(WheelError::DistInfoCount(dist_info.len()));
        };
        let wheel = Self {
            dist_info: (*dist_info).to_owned(),
            file_name,
            members,
            positions,
        };
        wheel.check_names()?;
        wheel.check_version()?;
        Ok(wheel)
    }

    /// A file of the `.dist-info` directory.
    fn metadata_path(&self, name: &str) -> String {
        format!("{}/{name}", self.dist_info)
    }

    /// The content of a file of the `.dist-info` directory, if there is one.
    fn metadata(&self, name: &str) -> Result<Option<Bytes>, WheelError> {
        let Some(&position) = self.positions.get(&self.metadata_path(name)) else {
            return Ok(None);
        };
        let limit = match name {
            "RECORD" => MAX_RECORD,
            "METADATA" => MAX_METADATA,
            _ => MAX_SMALL_METADATA,
        };
        Ok(Some(self.members[position].read(limit)?))
    }

    fn required_metadata(&self, name: &str) -> Result<Bytes, WheelError> {
        self.metadata(name)?
            .ok_or_else(|| WheelError::Missing(self.metadata_path(name)))
    }

    fn text(&self, name: &str, content: &Bytes) -> Result<String, WheelError> {
        String::from_utf8(content.to_vec()).map_err(|_| self.malformed(name, "it is not UTF-8"))
    }

    fn malformed(&self, name: &str, reason: &str) -> WheelError {
        WheelError::Malformed {
            path: self.metadata_path(name),
            reason: reason.to_owned(),
        }
    }

    /// Compares project and version in all three places that name them.
    fn check_names(&self) -> Result<(), WheelError> {
        let expected = &self.file_name;
        let other = |place: String, name: &str, version: &str| WheelError::OtherProject {
            place,
            found: format!("{name} {version}"),
            expected: format!("{} {}", expected.project, expected.version),
        };
        let stem = self.dist_info.trim_end_matches(".dist-info");
        let (name, version) = stem.rsplit_once('-').unwrap_or((stem, ""));
        if !expected.means(name, version) {
            return Err(other(self.dist_info.clone(), name, version));
        }
        // Old wheels have descriptions in other encodings; name and version are ASCII.
        let metadata = self.required_metadata("METADATA")?;
        let metadata = String::from_utf8_lossy(&metadata);
        let value = |key| {
            header(&metadata, key)
                .ok_or_else(|| self.malformed("METADATA", &format!("no `{key}` header")))
        };
        let (name, version) = (value("Name")?, value("Version")?);
        if !expected.means(&name, &version) {
            return Err(other(self.metadata_path("METADATA"), &name, &version));
        }
        Ok(())
    }

    /// Minor versions of the format are compatible, major ones are not. `Root-Is-Purelib`
    /// needs no look: both kinds have one directory.
    fn check_version(&self) -> Result<(), WheelError> {
        let text = self.text("WHEEL", &self.required_metadata("WHEEL")?)?;
        let version = header(&text, "Wheel-Version")
            .ok_or_else(|| self.malformed("WHEEL", "no `Wheel-Version` header"))?;
        let major = version
            .split('.')
            .next()
            .and_then(|major| major.parse().ok());
        match major {
            Some(0 | 1) => Ok(()),
            Some(2_u32..) => Err(WheelError::WheelVersion(version)),
            None => Err(self.malformed("WHEEL", "`Wheel-Version` is no version")),
        }
    }

    fn entry_points(&self) -> Result<EntryPoints, WheelError> {
        match self.metadata("entry_points.txt")? {
            Some(content) => {
                let text = self.text("entry_points.txt", &content)?;
                EntryPoints::parse(&self.metadata_path("entry_points.txt"), &text)
            }
            None => Ok(EntryPoints::default()),
        }
    }

    /// The rows of RECORD, which lists every file of the archive and nothing else. RECORD need
    /// not list itself and its signatures, which are made after it.
    fn checked_record(&self) -> Result<BTreeMap<String, Row>, WheelError> {
        let text = self.text("RECORD", &self.required_metadata("RECORD")?)?;
        let record = self.metadata_path("RECORD");
        let rows = record::parse(&record, &text)?;
        for member in &self.members {
            let signature = member.name.strip_prefix(&record);
            if matches!(signature, Some("" | ".jws" | ".p7s")) {
                continue;
            }
            let row = rows
                .get(&member.name)
                .ok_or_else(|| WheelError::NotRecorded(member.name.clone()))?;
            let actual = member.payload.size();
            if !row.size.is_empty() && row.size.parse() != Ok(actual) {
                return Err(WheelError::RecordedSize {
                    path: member.name.clone(),
                    recorded: row.size.clone(),
                    actual,
                });
            }
        }
        match rows.keys().find(|path| !self.positions.contains_key(*path)) {
            Some(path) => Err(WheelError::NotInArchive(path.clone())),
            None => Ok(rows),
        }
    }
}

/// Where a file of a wheel goes.
struct Place {
    /// Below the prefix.
    path: String,
    is_script: bool,
}

impl Place {
    fn of(member: &str, project: &str, placement: &Placement) -> Result<Self, WheelError> {
        let site_packages = placement.site_packages();
        let (top, below) = member.split_once('/').unwrap_or((member, ""));
        // Any `.data` directory counts, as for pip: not only the one with the wheel's name.
        let Some(_) = top.strip_suffix(".data") else {
            return Ok(Self {
                path: format!("{site_packages}/{member}"),
                is_script: false,
            });
        };
        let unknown = || WheelError::Scheme(member.to_owned());
        let (scheme, file) = below.split_once('/').ok_or_else(unknown)?;
        let (major, minor) = placement.python;
        let path = match scheme {
            "purelib" | "platlib" => format!("{site_packages}/{file}"),
            "scripts" => format!("bin/{file}"),
            "headers" => format!("include/site/python{major}.{minor}/{project}/{file}"),
            "data" => file.to_owned(),
            _ => return Err(unknown()),
        };
        Ok(Self {
            path,
            is_script: scheme == "scripts",
        })
    }

    /// `lib64` is a link to `lib`: a directory in its place would hide all that `lib` holds.
    fn on_disk(&self) -> String {
        match self.path.strip_prefix("lib64/") {
            Some(below) => format!("lib/{below}"),
            None => self.path.clone(),
        }
    }
}

fn last_component(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// The new content of a script whose first line begins with `#!python`: the line names the
/// environment's interpreter instead, and nothing else.
fn rewritten(
    member: &Member,
    is_script: bool,
    interpreter: &str,
) -> Result<Option<Bytes>, WheelError> {
    if !is_script || !member.starts_with(b"#!python")? {
        return Ok(None);
    }
    let content = member.read(MAX_SCRIPT)?;
    let line_end = content.iter().position(|&byte| byte == b'\n');
    let rest = line_end.map_or(&[][..], |end| &content[end + 1..]);
    let content = [b"#!", interpreter.as_bytes(), b"\n", rest].concat();
    Ok(Some(content.into()))
}
