//! `Packages` indexes: what an archive offers for one architecture (Debian's repository
//! format, "Packages Indices"; Policy 5.3).
//!
//! The reader streams: it holds one stanza at a time, and keeps of it what the solver needs.
//! Relations stay text until the solver asks for them, for it asks for a few hundred packages
//! of sixty thousand.

use std::io::{self, BufRead, Read};

use deb822_fast::borrowed::{BorrowedParagraph, BorrowedParser};
use kiln_digest::Digest;

use super::{
    relation::{Alternatives, RelationError, is_package_name, parse_relations},
    version::Version,
};

/// A stanza larger than this is refused (the largest in Debian has some 50 KiB).
const MAX_STANZA: u64 = 1 << 20;
/// More stanzas than this in one index are refused (all of Debian's `main` has 65,000).
const MAX_PACKAGES: usize = 1_000_000;

/// How a package meets other architectures (Debian's multiarch specification).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MultiArch {
    /// Not at all.
    #[default]
    No,
    /// Several architectures of it may be installed together.
    Same,
    /// It satisfies relations of any architecture.
    Foreign,
    /// It satisfies relations of any architecture that say `:any`.
    Allowed,
}

/// How important the distribution finds a package (Policy 2.5), most important first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// `required`
    Required,
    /// `important`
    Important,
    /// `standard`
    Standard,
    /// `optional`, and no or an unknown priority
    Optional,
    /// `extra`
    Extra,
}

/// Which of the index's archives a package comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ArchiveNumber(pub u16);

/// One version of one package, as an archive offers it.
#[derive(Debug, Clone)]
pub struct Package {
    /// Its name.
    pub name: Box<str>,
    /// Its version.
    pub version: Version,
    /// `all` or the index's architecture.
    pub architecture: Box<str>,
    /// `Multi-Arch`.
    pub multi_arch: MultiArch,
    /// `Essential: yes`
    pub essential: bool,
    /// `Protected: yes`
    pub protected: bool,
    /// `Priority`
    pub priority: Priority,
    /// The archive's path below the repository's root.
    pub path: Box<str>,
    /// Size of the archive in bytes.
    pub size: u64,
    /// SHA-256 of the archive.
    pub sha256: Digest,
    /// `Installed-Size`, in KiB.
    pub installed_size: u64,
    /// Where it comes from.
    pub archive: ArchiveNumber,
    /// `Pre-Depends` and `Depends`, as text.
    pub depends: [Box<str>; 2],
    /// `Provides`, as text.
    pub provides: Box<str>,
    /// `Conflicts` and `Breaks`, as text.
    pub conflicts: [Box<str>; 2],
}

/// Why an index cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PackagesError {
    /// Its bytes cannot be had.
    #[error("the index cannot be unpacked")]
    Read(#[source] io::Error),
    /// One stanza is too large.
    #[error("the stanza at byte {at} has more than {MAX_STANZA} bytes")]
    StanzaTooLarge {
        /// Where it starts.
        at: u64,
    },
    /// There are too many stanzas.
    #[error("it lists more than {MAX_PACKAGES} packages")]
    TooManyPackages,
    /// A stanza is not one.
    #[error("the stanza at byte {at} is malformed: {why}")]
    Stanza {
        /// Where it starts.
        at: u64,
        /// What is wrong.
        why: String,
    },
    /// A field is missing.
    #[error("package `{package}` has no `{field}`")]
    Missing {
        /// The package, empty when its name is missing.
        package: String,
        /// The field.
        field: &'static str,
    },
    /// A field cannot be understood.
    #[error("package `{package}` has a malformed `{field}`: `{value}`")]
    Field {
        /// The package.
        package: String,
        /// The field.
        field: &'static str,
        /// Its value, shortened.
        value: String,
    },
}

impl Package {
    /// The groups of relations of which one each must hold: those of `Pre-Depends`, then those
    /// of `Depends`.
    pub fn dependencies(&self) -> Result<Vec<Alternatives>, RelationError> {
        both(&self.depends)
    }

    /// The relations of which none may hold. In these fields `|` has no meaning (Policy 7.1):
    /// each alternative counts.
    pub fn conflicts(&self) -> Result<Vec<Alternatives>, RelationError> {
        both(&self.conflicts)
    }

    /// `name version`, for messages.
    pub fn label(&self) -> String {
        format!("{} {}", self.name, self.version)
    }
}

fn both(fields: &[Box<str>; 2]) -> Result<Vec<Alternatives>, RelationError> {
    let mut groups = parse_relations(&fields[0])?;
    groups.extend(parse_relations(&fields[1])?);
    Ok(groups)
}

/// Reads an unpacked index. Packages of other architectures than `architecture` and `all` are
/// left out.
pub fn read(
    mut reader: impl BufRead,
    archive: ArchiveNumber,
    architecture: &str,
) -> Result<Vec<Package>, PackagesError> {
    let mut packages = Vec::new();
    let mut stanza = Vec::new();
    let mut at = 0;
    while let Some(end) = next_stanza(&mut reader, &mut stanza, at)? {
        let text = String::from_utf8_lossy(&stanza);
        if !text.trim().is_empty() {
            let package = parse_stanza(&text, at, archive)?;
            if packages.len() == MAX_PACKAGES {
                return Err(PackagesError::TooManyPackages);
            }
            if [architecture, "all"].contains(&&*package.architecture) {
                packages.push(package);
            }
        }
        at = end;
    }
    Ok(packages)
}

/// Reads up to and with the next blank line. Gives the position behind it, or nothing at the
/// end.
fn next_stanza(
    reader: &mut impl BufRead,
    stanza: &mut Vec<u8>,
    at: u64,
) -> Result<Option<u64>, PackagesError> {
    stanza.clear();
    let mut limited = reader.take(MAX_STANZA + 1);
    loop {
        let start = stanza.len();
        let read = limited
            .read_until(b'\n', stanza)
            .map_err(PackagesError::Read)?;
        let length = stanza.len() as u64;
        if length > MAX_STANZA {
            return Err(PackagesError::StanzaTooLarge { at });
        }
        if read == 0 && length == 0 {
            return Ok(None);
        }
        if stanza[start..].iter().all(u8::is_ascii_whitespace) {
            stanza.truncate(start);
            return Ok(Some(at + length));
        }
    }
}

fn parse_stanza(text: &str, at: u64, archive: ArchiveNumber) -> Result<Package, PackagesError> {
    let malformed = |why: String| PackagesError::Stanza { at, why };
    let paragraphs = BorrowedParser::new(text)
        .parse_all()
        .map_err(|error| malformed(error.to_string()))?;
    let [paragraph] = paragraphs.as_slice() else {
        return Err(malformed("it is more than one".to_owned()));
    };
    let fields = Fields::collect(paragraph);
    let name = fields.name;
    let missing = |field| PackagesError::Missing {
        package: name.to_owned(),
        field,
    };
    let bad = |field, value: &str| PackagesError::Field {
        package: name.chars().take(80).collect(),
        field,
        value: value.chars().take(80).collect(),
    };
    let needed = |field, value: &'_ str| {
        if value.is_empty() {
            Err(missing(field))
        } else {
            Ok(())
        }
    };
    needed("Package", name)?;
    if !is_package_name(name) {
        return Err(bad("Package", name));
    }
    needed("Version", fields.version)?;
    let version: Version = fields
        .version
        .parse()
        .map_err(|_| bad("Version", fields.version))?;
    needed("Architecture", fields.architecture)?;
    if !is_package_name(fields.architecture) {
        return Err(bad("Architecture", fields.architecture));
    }
    needed("Filename", fields.path)?;
    if !is_relative_path(fields.path) {
        return Err(bad("Filename", fields.path));
    }
    needed("Size", fields.size)?;
    needed("SHA256", fields.sha256)?;
    Ok(Package {
        name: name.into(),
        version,
        architecture: fields.architecture.into(),
        multi_arch: match fields.multi_arch {
            "same" => MultiArch::Same,
            "foreign" => MultiArch::Foreign,
            "allowed" => MultiArch::Allowed,
            _ => MultiArch::No,
        },
        essential: fields.essential == "yes",
        protected: fields.protected == "yes",
        priority: match fields.priority {
            "required" => Priority::Required,
            "important" => Priority::Important,
            "standard" => Priority::Standard,
            "extra" => Priority::Extra,
            _ => Priority::Optional,
        },
        path: fields.path.strip_prefix("./").unwrap_or(fields.path).into(),
        size: fields.size.parse().map_err(|_| bad("Size", fields.size))?,
        sha256: Digest::from_hex(fields.sha256).map_err(|_| bad("SHA256", fields.sha256))?,
        installed_size: fields.installed_size.parse().unwrap_or(0),
        archive,
        depends: [fields.pre_depends.into(), fields.depends.into()],
        provides: fields.provides.into(),
        conflicts: [fields.conflicts.into(), fields.breaks.into()],
    })
}

/// The fields that are kept; empty when absent.
#[derive(Default)]
struct Fields<'a> {
    name: &'a str,
    version: &'a str,
    architecture: &'a str,
    multi_arch: &'a str,
    essential: &'a str,
    protected: &'a str,
    priority: &'a str,
    path: &'a str,
    size: &'a str,
    sha256: &'a str,
    installed_size: &'a str,
    depends: String,
    pre_depends: String,
    provides: String,
    conflicts: String,
    breaks: String,
}

impl<'a> Fields<'a> {
    fn collect(paragraph: &BorrowedParagraph<'a>) -> Self {
        let mut fields = Self::default();
        for field in paragraph.iter() {
            let single = || field.as_single_line().unwrap_or_default().trim();
            let folded = || field.lines().join(" ");
            match field.name() {
                "Package" => fields.name = single(),
                "Version" => fields.version = single(),
                "Architecture" => fields.architecture = single(),
                "Multi-Arch" => fields.multi_arch = single(),
                "Essential" => fields.essential = single(),
                "Protected" => fields.protected = single(),
                "Priority" => fields.priority = single(),
                "Filename" => fields.path = single(),
                "Size" => fields.size = single(),
                "SHA256" => fields.sha256 = single(),
                "Installed-Size" => fields.installed_size = single(),
                "Depends" => fields.depends = folded(),
                "Pre-Depends" => fields.pre_depends = folded(),
                "Provides" => fields.provides = folded(),
                "Conflicts" => fields.conflicts = folded(),
                "Breaks" => fields.breaks = folded(),
                _ => {}
            }
        }
        fields
    }
}

/// Whether a path stays below the root of the repository that it is joined to.
pub(super) fn is_relative_path(path: &str) -> bool {
    let path = path.strip_prefix("./").unwrap_or(path);
    !path.contains(['\\', '?', '#', '\0'])
        && path.split('/').all(|part| !["", ".", ".."].contains(&part))
}
