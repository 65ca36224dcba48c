//! `InRelease`: what one suite of an archive consists of (Debian's repository format, "Release
//! files").

use std::collections::HashMap;

use deb822_fast::borrowed::BorrowedParser;
use jiff::{Timestamp, fmt::rfc2822::DateTimeParser};
use kiln_digest::Digest;

use super::{
    compression::Compression,
    packages::is_relative_path,
    signature::{SignatureError, Signed, verify, verify_detached},
};

/// More files than this in one release are refused (bookworm lists some 700).
const MAX_FILES: usize = 200_000;
/// How far ahead of this machine's clock a release may be, in seconds.
const CLOCK_SKEW: i64 = 24 * 60 * 60;
/// How large an index may be whose unpacked size the release does not say.
const MAX_UNPACKED: u64 = 1 << 30;

/// A file that the release names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct File {
    /// Its SHA-256.
    pub sha256: Digest,
    /// Its size in bytes.
    pub size: u64,
}

/// A `Packages` or `Contents` index: where it is, and what it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackagesFile {
    /// The path below the archive's root.
    pub path: String,
    /// The path by its digest, where the archive has such: it stays while a mirror is updated.
    /// Some mirrors leave these out.
    pub by_hash: Option<String>,
    /// What it must be.
    pub file: File,
    /// How it is packed.
    pub compression: Compression,
    /// How large it may be unpacked.
    pub unpacked_limit: u64,
}

/// The signed description of a suite.
#[derive(Debug, Clone)]
pub struct Release {
    /// `Codename`: `bookworm`; empty when absent.
    pub codename: String,
    /// `Suite`: `oldstable`; empty when absent.
    pub suite: String,
    /// `Date`: when it was made.
    pub date: Timestamp,
    /// `Valid-Until`: until when it may be believed.
    pub valid_until: Option<Timestamp>,
    /// `Acquire-By-Hash`: whether indexes can be fetched by their digests.
    pub by_hash: bool,
    /// `Architectures`
    pub architectures: Vec<String>,
    /// `Components`
    pub components: Vec<String>,
    /// Whether packages of architecture `all` are listed with those of every architecture.
    pub all_is_included: bool,
    /// `SHA256`: the files below the suite's directory.
    pub files: HashMap<String, File>,
    /// Fingerprints (upper-case hex) of the keys that vouch for it, sorted.
    pub signed_by: Vec<String>,
}

/// Why a release cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReleaseError {
    /// It is not signed as it should be.
    #[error("its signature cannot be relied on")]
    Signature(#[from] SignatureError),
    /// It is signed, but not a release.
    #[error("it is malformed: {0}")]
    Malformed(String),
    /// It describes another suite.
    #[error("it describes the suite `{found}`, not `{wanted}`")]
    OtherSuite {
        /// What was asked for.
        wanted: String,
        /// Codename and suite that it has.
        found: String,
    },
    /// It says itself that it is too old.
    #[error("it has expired: it was valid until {valid_until}")]
    Expired {
        /// Its `Valid-Until`.
        valid_until: Timestamp,
    },
    /// It is from the future.
    #[error("it is from the future: its date is {date}")]
    Future {
        /// Its `Date`.
        date: Timestamp,
    },
    /// It is older than the one that the lock was made from.
    #[error("it is of {date}, older than the one in the lock, of {previous}")]
    Rollback {
        /// Its `Date`.
        date: Timestamp,
        /// The `Date` in the lock.
        previous: Timestamp,
    },
    /// It is the release of a flat repository and lists no index of packages.
    #[error("it lists no `Packages`")]
    NoPackages,
    /// It lists no index of packages for a component.
    #[error(
        "it lists no packages of component `{component}` for `{architecture}`; \
         it has components {} for {}",
        components.join(", "), architectures.join(", ")
    )]
    NotListed {
        /// The component.
        component: String,
        /// The architecture.
        architecture: String,
        /// The components that it has.
        components: Vec<String>,
        /// The architectures that it has.
        architectures: Vec<String>,
    },
}

impl ReleaseError {
    /// What a person can do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Signature(error) => error.hint(),
            Self::Expired { .. } => Some(
                "use a mirror that is up to date; for a snapshot or a slow mirror set \
                 `check-valid-until = false` on the archive"
                    .to_owned(),
            ),
            Self::Rollback { .. } => Some(
                "the mirror is out of date, or somebody holds back updates: use another mirror; \
                 if the older state is meant, remove the `[[index]]` entry from the lock"
                    .to_owned(),
            ),
            Self::Future { .. } => Some("check the clock of this machine".to_owned()),
            Self::Malformed(_)
            | Self::OtherSuite { .. }
            | Self::NoPackages
            | Self::NotListed { .. } => None,
        }
    }
}

/// What a release must be.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// The suite that was asked for, by its codename or its suite's name.
    pub suite: &'a str,
    /// The keyring: `OpenPGP` keys, binary or armored.
    pub keyring: &'a [u8],
    /// Whether it must not have expired.
    pub check_valid_until: bool,
    /// The date of the release that the previous lock was made from.
    pub previous: Option<Timestamp>,
    /// The time of day.
    pub now: Timestamp,
}

/// Where a suite's files are below the archive's root: `dists/bookworm/`; or, of a flat repository,
/// whose suite ends in a slash, that very directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SuiteDirectory {
    path: String,
    flat: bool,
}

impl SuiteDirectory {
    /// The directory of a suite.
    pub fn of(suite: &str) -> Self {
        match suite.strip_suffix('/') {
            None => Self {
                path: format!("dists/{suite}/"),
                flat: false,
            },
            Some(directory) => {
                let parts = directory
                    .split('/')
                    .filter(|part| !matches!(*part, "" | "."));
                let path: String = parts.flat_map(|part| [part, "/"]).collect();
                Self { path, flat: true }
            }
        }
    }

    /// Whether it is that of a flat repository, which has no components.
    pub fn is_flat(&self) -> bool {
        self.flat
    }

    /// The path of a file in it, below the archive's root.
    pub fn path(&self, name: &str) -> String {
        format!("{}{name}", self.path)
    }
}

impl Release {
    /// Verifies and reads a `Release` with its signature apart.
    pub fn open_detached(
        text: &[u8],
        signature: &[u8],
        expected: &Expected<'_>,
    ) -> Result<Self, ReleaseError> {
        let signed = verify_detached(text, signature, expected.keyring, expected.now)?;
        Self::of(signed, expected)
    }

    /// Verifies and reads an `InRelease`.
    pub fn open(bytes: &[u8], expected: &Expected<'_>) -> Result<Self, ReleaseError> {
        Self::of(verify(bytes, expected.keyring, expected.now)?, expected)
    }

    fn of(signed: Signed, expected: &Expected<'_>) -> Result<Self, ReleaseError> {
        let Signed { text, signed_by } = signed;
        let release = Self {
            signed_by,
            ..Self::parse(&text)?
        };
        release.check(expected)?;
        Ok(release)
    }

    /// Reads the text of a release.
    pub fn parse(text: &str) -> Result<Self, ReleaseError> {
        let malformed = |why: &str| ReleaseError::Malformed(why.to_owned());
        // Signed text has network line ends.
        let text = text.replace("\r\n", "\n");
        let paragraphs = BorrowedParser::new(&text)
            .parse_all()
            .map_err(|error| ReleaseError::Malformed(error.to_string()))?;
        let [fields] = paragraphs.as_slice() else {
            return Err(malformed("it is not one paragraph"));
        };
        let field = |name| fields.get_single(name).unwrap_or_default().trim();
        let words = |name| {
            field(name)
                .split_ascii_whitespace()
                .map(str::to_owned)
                .collect()
        };
        let time = |name| match field(name) {
            "" => Ok(None),
            text => match parse_date(text) {
                Some(time) => Ok(Some(time)),
                None => Err(malformed(&format!("its `{name}` is no date: `{text:.60}`"))),
            },
        };
        let architectures: Vec<String> = words("Architectures");
        let all_is_included = !architectures.iter().any(|it| it == "all")
            || field("No-Support-for-Architecture-all").contains("Packages");
        Ok(Self {
            codename: field("Codename").to_owned(),
            suite: field("Suite").to_owned(),
            date: time("Date")?.ok_or_else(|| malformed("it has no `Date`"))?,
            valid_until: time("Valid-Until")?,
            by_hash: field("Acquire-By-Hash") == "yes",
            architectures,
            components: words("Components"),
            all_is_included,
            files: parse_files(fields.get("SHA256").unwrap_or_default())?,
            signed_by: Vec::new(),
        })
    }

    fn check(&self, expected: &Expected<'_>) -> Result<(), ReleaseError> {
        let wanted = expected.suite;
        // A flat repository is a directory, and has no name of its own.
        let is_flat = SuiteDirectory::of(wanted).is_flat();
        // Ubuntu's `noble-updates` has the codename `noble`: it must not pass for `noble`.
        let is_pocket = self
            .suite
            .strip_prefix(wanted)
            .is_some_and(|it| it.starts_with('-'));
        if !is_flat && self.suite != wanted && (self.codename != wanted || is_pocket) {
            return Err(ReleaseError::OtherSuite {
                wanted: wanted.to_owned(),
                found: match (self.codename.as_str(), self.suite.as_str()) {
                    ("", suite) => suite.to_owned(),
                    (codename, "") => codename.to_owned(),
                    (codename, suite) => format!("{codename} ({suite})"),
                },
            });
        }
        match expected.previous {
            Some(previous) if self.date < previous => {
                return Err(ReleaseError::Rollback {
                    date: self.date,
                    previous,
                });
            }
            _ => {}
        }
        if self.date.as_second() > expected.now.as_second() + CLOCK_SKEW {
            return Err(ReleaseError::Future { date: self.date });
        }
        match self.valid_until {
            Some(valid_until) if expected.check_valid_until && valid_until < expected.now => {
                Err(ReleaseError::Expired { valid_until })
            }
            _ => Ok(()),
        }
    }

    /// The `Packages` indexes of a component: one, or two where packages of architecture `all`
    /// are listed apart. Each in the smallest form that is listed.
    pub fn packages(
        &self,
        suite: &str,
        component: &str,
        architecture: &str,
    ) -> Result<Vec<PackagesFile>, ReleaseError> {
        let own = self.packages_file(suite, component, architecture);
        let all = || self.packages_file(suite, component, "all");
        let all = if self.all_is_included { None } else { all() };
        if own.is_none() && all.is_none() {
            return Err(ReleaseError::NotListed {
                component: component.to_owned(),
                architecture: architecture.to_owned(),
                components: self.components.clone(),
                architectures: self.architectures.clone(),
            });
        }
        Ok(own.into_iter().chain(all).collect())
    }

    /// The `Packages` index of a flat repository, of all architectures.
    pub fn flat_packages(&self, directory: &SuiteDirectory) -> Result<PackagesFile, ReleaseError> {
        let found = self.index_file(directory, "", "Packages");
        found.ok_or(ReleaseError::NoPackages)
    }

    fn packages_file(
        &self,
        suite: &str,
        component: &str,
        architecture: &str,
    ) -> Option<PackagesFile> {
        let directory = format!("{component}/binary-{architecture}/");
        self.index_file(&SuiteDirectory::of(suite), &directory, "Packages")
    }

    /// The `Contents` index of a component, which says which package has which file: beside the
    /// component's others, as Debian has it, or one for all components, as Ubuntu has it. Flat
    /// repositories have none.
    pub fn contents(
        &self,
        suite: &str,
        component: &str,
        architecture: &str,
    ) -> Option<PackagesFile> {
        let name = format!("Contents-{architecture}");
        let suite = SuiteDirectory::of(suite);
        self.index_file(&suite, &format!("{component}/"), &name)
            .or_else(|| self.index_file(&suite, "", &name))
    }

    /// An index in a directory of a suite, in the smallest form that is listed.
    fn index_file(
        &self,
        suite: &SuiteDirectory,
        directory: &str,
        name: &str,
    ) -> Option<PackagesFile> {
        let plain = format!("{directory}{name}");
        Compression::ALL.into_iter().find_map(|compression| {
            let name = format!("{plain}{}", compression.suffix());
            let file = *self.files.get(&name)?;
            let hex = file.sha256.hex();
            let by_hash = self
                .by_hash
                .then(|| suite.path(&format!("{directory}by-hash/SHA256/{hex}")));
            let unpacked_limit = self.files.get(&plain).map_or(MAX_UNPACKED, |it| it.size);
            Some(PackagesFile {
                path: suite.path(&name),
                by_hash,
                file,
                compression,
                unpacked_limit,
            })
        })
    }
}

/// A date as `date -R -u` writes it, with `UTC`, `GMT`, `Z` or `+0000`.
fn parse_date(text: &str) -> Option<Timestamp> {
    let (time, zone) = text.rsplit_once(' ')?;
    if !["UTC", "GMT", "Z", "+0000"].contains(&zone) {
        return None;
    }
    DateTimeParser::new()
        .parse_timestamp(format!("{time} +0000"))
        .ok()
}

/// Lines of digest, size and path.
fn parse_files(lines: &[&str]) -> Result<HashMap<String, File>, ReleaseError> {
    if lines.len() > MAX_FILES {
        return Err(ReleaseError::Malformed(format!(
            "it lists more than {MAX_FILES} files"
        )));
    }
    let mut files = HashMap::new();
    for line in lines.iter().filter(|line| !line.trim().is_empty()) {
        let mut words = line.split_ascii_whitespace();
        let mut next = || words.next().unwrap_or_default();
        let (digest, size, path) = (next(), next(), next());
        let path = path.strip_prefix("./").unwrap_or(path);
        match (
            Digest::from_hex(digest),
            size.parse(),
            is_relative_path(path),
        ) {
            (Ok(sha256), Ok(size), true) => {
                files.insert(path.to_owned(), File { sha256, size });
            }
            _ => {
                return Err(ReleaseError::Malformed(format!(
                    "`{line:.120}` names no file"
                )));
            }
        }
    }
    Ok(files)
}
