//! Reads what uv chose from a `pylock.toml` (PEP 751), and writes the little of one that uv
//! takes as preferences.

use std::{collections::BTreeSet, fmt::Write as _, str::FromStr};

use kiln_digest::Digest;
use pep440_rs::Version;
use pep508_rs::{MarkerEnvironment, MarkerTree, PackageName};
use serde::Deserialize;

use super::{routes::Routes, target::Tags, wheel_name::WheelName};

/// The largest file that is read, in bytes: one of 141 packages has 60 KB.
pub const MAX_BYTES: u64 = 64 << 20;
/// The most packages that are read.
const MAX_PACKAGES: usize = 20_000;

/// A project at one version.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pin {
    /// The project, normalised.
    pub name: PackageName,
    /// The version.
    pub version: Version,
}

/// One file that was chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// The project, normalised.
    pub name: PackageName,
    /// The version.
    pub version: Version,
    /// The source that it comes from.
    pub source: String,
    /// The file's name.
    pub file: String,
    /// SHA-256 of the file.
    pub sha256: Digest,
    /// Its size in bytes, where the index says it.
    pub size: Option<u64>,
    /// Whether it is a source distribution and no wheel.
    pub is_source: bool,
}

/// Why a `pylock.toml` cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PylockError {
    /// No TOML, or not of the form of PEP 751.
    #[error("it is no pylock file of version 1")]
    Malformed(#[source] Option<Box<toml::de::Error>>),
    /// More than any real one.
    #[error("it is larger than {MAX_BYTES} bytes or {MAX_PACKAGES} packages")]
    TooLarge,
    /// A package that comes from elsewhere than an index.
    #[error("`{0}` comes from a directory, an archive or a repository, not from an index")]
    NoIndex(PackageName),
    /// A package without a wheel.
    #[error("`{name}` {version} has no wheel")]
    NoWheel {
        /// The project.
        name: PackageName,
        /// Its version.
        version: String,
    },
    /// A package without a wheel that fits.
    #[error("none of the wheels of `{name}` {version} fits")]
    NoneFits {
        /// The project.
        name: PackageName,
        /// Its version.
        version: String,
    },
    /// A project that is built from source, without a source distribution.
    #[error("`{name}` {version} has no source distribution")]
    NoSource {
        /// The project.
        name: PackageName,
        /// Its version.
        version: String,
    },
    /// A file without a SHA-256.
    #[error("`{file}` has no sha256: the index does not announce it")]
    NoDigest {
        /// The file.
        file: String,
    },
    /// A wheel of another project.
    #[error("`{file}` is no wheel of `{name}`")]
    OtherWheel {
        /// The project.
        name: PackageName,
        /// The wheel.
        file: String,
    },
    /// The same project twice.
    #[error("`{0}` is there twice")]
    Twice(PackageName),
}

impl PylockError {
    /// What a person can do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoWheel { name, .. } | Self::NoneFits { name, .. } => Some(format!(
                "choose a version that has a wheel, or let it be built from its source \
                 distribution: `[from-source.{name}]` beside the requirement"
            )),
            Self::NoSource { name, .. } => Some(format!(
                "choose a version that has one, or drop `[from-source.{name}]`"
            )),
            Self::NoDigest { .. } => Some("use an index that announces sha256 digests".to_owned()),
            _ => None,
        }
    }

    /// The project that it is about.
    pub(crate) fn project(&self) -> Option<&PackageName> {
        match self {
            Self::NoWheel { name, .. }
            | Self::NoneFits { name, .. }
            | Self::NoSource { name, .. }
            | Self::OtherWheel { name, .. }
            | Self::NoIndex(name)
            | Self::Twice(name) => Some(name),
            Self::Malformed(_) | Self::TooLarge | Self::NoDigest { .. } => None,
        }
    }
}

#[derive(Deserialize)]
struct Pylock {
    #[serde(rename = "lock-version")]
    lock_version: String,
    #[serde(default)]
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: Option<String>,
    marker: Option<String>,
    #[serde(default)]
    wheels: Vec<File>,
    sdist: Option<File>,
    vcs: Option<toml::Table>,
    directory: Option<toml::Table>,
    archive: Option<toml::Table>,
}

#[derive(Deserialize)]
struct File {
    name: Option<String>,
    url: Option<String>,
    path: Option<String>,
    size: Option<u64>,
    #[serde(default)]
    hashes: Hashes,
}

#[derive(Deserialize, Default)]
struct Hashes {
    sha256: Option<String>,
}

impl File {
    /// The digest, without which nothing is taken.
    fn sha256(&self, file: &str) -> Result<Digest, PylockError> {
        let hex = self.hashes.sha256.as_deref();
        let digest = hex.and_then(|hex| Digest::from_hex(hex).ok());
        digest.ok_or_else(|| PylockError::NoDigest {
            file: file.to_owned(),
        })
    }

    /// The file's name: said, else the last part of its address.
    fn file_name(&self) -> Option<String> {
        if let Some(name) = &self.name {
            return Some(name.clone());
        }
        let address = self.url.as_deref().or(self.path.as_deref())?;
        let address = address.split(['?', '#']).next()?;
        address.rsplit('/').next().map(decode)
    }
}

/// Decodes `%2B` and the like (RFC 3986, 2.1).
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let decoded = match (first, tail) {
            (b'%', [high, low, ..]) => std::str::from_utf8(&[*high, *low])
                .ok()
                .filter(|pair| pair.bytes().all(|digit| digit.is_ascii_hexdigit()))
                .and_then(|pair| u8::from_str_radix(pair, 16).ok()),
            _ => None,
        };
        if let Some(byte) = decoded {
            bytes.push(byte);
            rest = &tail[2..];
        } else {
            bytes.push(first);
            rest = tail;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Reads a pylock file: exactly one file for each package, which is the source distribution of
/// those in `sources`, and the wheel that fits best of all others. Sorted by name. Which source a
/// file comes from is known beforehand: a project comes from its own source or from nowhere.
pub fn parse(
    text: &str,
    tags: &Tags,
    markers: &MarkerEnvironment,
    sources: &BTreeSet<&PackageName>,
    routes: &Routes,
) -> Result<Vec<Choice>, PylockError> {
    if text.len() as u64 > MAX_BYTES {
        return Err(PylockError::TooLarge);
    }
    let pylock: Pylock =
        toml::from_str(text).map_err(|error| PylockError::Malformed(Some(Box::new(error))))?;
    if !(pylock.lock_version == "1" || pylock.lock_version.starts_with("1.")) {
        return Err(PylockError::Malformed(None));
    }
    if pylock.packages.len() > MAX_PACKAGES {
        return Err(PylockError::TooLarge);
    }
    let mut choices = Vec::with_capacity(pylock.packages.len());
    for package in &pylock.packages {
        if applies(package, markers)? {
            choices.push(choose(package, tags, sources, routes)?);
        }
    }
    choices.sort_by(|a, b| a.name.cmp(&b.name));
    if let Some(pair) = choices.windows(2).find(|pair| pair[0].name == pair[1].name) {
        return Err(PylockError::Twice(pair[0].name.clone()));
    }
    Ok(choices)
}

fn applies(package: &Package, markers: &MarkerEnvironment) -> Result<bool, PylockError> {
    let Some(marker) = &package.marker else {
        return Ok(true);
    };
    if !kiln_recipe::is_bounded(marker) {
        return Err(PylockError::Malformed(None));
    }
    let marker: MarkerTree = marker.parse().map_err(|_| PylockError::Malformed(None))?;
    Ok(marker.evaluate(markers, &[]))
}

fn choose(
    package: &Package,
    tags: &Tags,
    sources: &BTreeSet<&PackageName>,
    routes: &Routes,
) -> Result<Choice, PylockError> {
    let name = PackageName::from_str(&package.name).map_err(|_| PylockError::Malformed(None))?;
    if package.vcs.is_some() || package.directory.is_some() || package.archive.is_some() {
        return Err(PylockError::NoIndex(name));
    }
    let version = package.version.clone().unwrap_or_default();
    if sources.contains(&name) {
        return source(package, name, version, routes);
    }
    if package.wheels.is_empty() {
        return Err(PylockError::NoWheel { name, version });
    }
    let best = package
        .wheels
        .iter()
        .filter_map(|wheel| {
            let file = wheel.file_name()?;
            let parsed: WheelName = file.parse().ok()?;
            Some((parsed.preference(tags)?, file, parsed, wheel))
        })
        .min_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
    let Some((_, file, parsed, wheel)) = best else {
        return Err(PylockError::NoneFits { name, version });
    };
    let same_version = package
        .version
        .as_deref()
        .is_none_or(|version| Version::from_str(version).is_ok_and(|it| it == parsed.version));
    if parsed.name != name || !same_version {
        return Err(PylockError::OtherWheel { name, file });
    }
    Ok(Choice {
        source: routes.source(&name).to_owned(),
        name,
        version: parsed.version,
        sha256: wheel.sha256(&file)?,
        file,
        size: wheel.size,
        is_source: false,
    })
}

/// The source distribution of a package.
fn source(
    package: &Package,
    name: PackageName,
    version: String,
    routes: &Routes,
) -> Result<Choice, PylockError> {
    let found = package.sdist.as_ref().and_then(|sdist| {
        let file = sdist.file_name()?;
        Some((sdist, file, Version::from_str(&version).ok()?))
    });
    let Some((sdist, file, version)) = found else {
        return Err(PylockError::NoSource { name, version });
    };
    Ok(Choice {
        source: routes.source(&name).to_owned(),
        name,
        version,
        sha256: sdist.sha256(&file)?,
        file,
        size: sdist.size,
        is_source: true,
    })
}

/// A pylock file that pins these versions and nothing else. As the output file of `uv pip
/// compile` it makes uv prefer them.
pub fn preferences(pins: &[Pin]) -> String {
    let mut text = String::from("lock-version = \"1.0\"\ncreated-by = \"kiln\"\n");
    for Pin { name, version } in pins {
        let _ = write!(
            text,
            "\n[[packages]]\nname = \"{name}\"\nversion = \"{version}\"\n"
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use kiln_recipe::{Platform, PythonVersion};
    use proptest::prelude::*;

    use super::{super::target::Target, *};

    fn read(packages: &str) -> Result<Vec<Choice>, PylockError> {
        read_with(packages, &BTreeSet::new())
    }

    fn read_with(
        packages: &str,
        sources: &BTreeSet<&PackageName>,
    ) -> Result<Vec<Choice>, PylockError> {
        let python = PythonVersion {
            major: 3,
            minor: 11,
        };
        let target = Target {
            platform: Platform::LinuxAmd64,
            python,
            patch: None,
            glibc: 36,
        };
        let text = format!("lock-version = '1.0'\ncreated-by = 'x'\n{packages}");
        let markers = target.markers().unwrap();
        parse(&text, &target.tags(), &markers, sources, &Routes::default())
    }

    fn wheel(file: &str) -> String {
        let sha256 = Digest::of(file.as_bytes()).hex();
        format!(
            "{{ url = 'http://index.example/x/{file}?q=a/b#c', size = 7, \
             upload-time = 2026-10-28T09:57:07Z, hashes = {{ sha256 = '{sha256}' }} }}"
        )
    }

    fn package(name: &str, version: &str, files: &[&str]) -> String {
        let wheels: Vec<String> = files.iter().map(|file| wheel(file)).collect();
        format!(
            "[[packages]]\nname = '{name}'\nversion = '{version}'\nwheels = [{}]\n",
            wheels.join(", ")
        )
    }

    #[test]
    fn one_wheel_is_chosen_for_each_package() {
        let text = package("b", "1.0", &["b-1.0-py3-none-any.whl"])
            + &package(
                "a",
                "2.0+cu1",
                &[
                    "a-2.0%2Bcu1-py3-none-any.whl",
                    "a-2.0%2Bcu1-cp311-cp311-manylinux_2_28_x86_64.whl",
                    "a-2.0%2Bcu1-cp311-cp311-manylinux_2_39_x86_64.whl",
                    "a-2.0%2Bcu1-cp311-cp311-win_amd64.whl",
                ],
            );
        let files: Vec<String> = read(&text).unwrap().into_iter().map(|it| it.file).collect();
        assert_eq!(
            files,
            [
                "a-2.0+cu1-cp311-cp311-manylinux_2_28_x86_64.whl",
                "b-1.0-py3-none-any.whl"
            ]
        );
    }

    #[test]
    fn a_project_that_is_built_gives_its_source_distribution() {
        let both = package("a", "1", &["a-1-py3-none-any.whl"])
            + &format!("sdist = {}\n", wheel("a-1.tar.gz"));
        let name = PackageName::from_str("a").unwrap();
        let sources = BTreeSet::from([&name]);
        let [choice] = &read_with(&both, &sources).unwrap()[..] else {
            panic!("one package is there");
        };
        assert_eq!(
            (choice.file.as_str(), choice.is_source),
            ("a-1.tar.gz", true)
        );
        assert_eq!(choice.sha256, Digest::of(b"a-1.tar.gz"));
        assert!(!read(&both).unwrap()[0].is_source);
        let wheel_only = package("a", "1", &["a-1-py3-none-any.whl"]);
        assert!(matches!(
            read_with(&wheel_only, &sources),
            Err(PylockError::NoSource { .. })
        ));
    }

    #[test]
    fn packages_for_other_environments_are_left_out() {
        let text = package("a", "1", &["a-1-py3-none-any.whl"]);
        let marked =
            |marker: &str| text.replace("version =", &format!("marker = \"{marker}\"\nversion ="));
        assert_eq!(read(&marked("sys_platform == 'win32'")).unwrap(), []);
        assert_eq!(
            read(&marked("python_full_version < '3.12'")).unwrap().len(),
            1
        );
    }

    #[test]
    fn what_cannot_be_installed_from_an_index_is_an_error() {
        let no_wheel = "[[packages]]\nname = 'a'\nversion = '1'\nsdist = { url = 'x' }\n";
        assert!(matches!(read(no_wheel), Err(PylockError::NoWheel { .. })));
        let unfit = package("a", "1", &["a-1-cp312-cp312-win32.whl"]);
        assert!(matches!(read(&unfit), Err(PylockError::NoneFits { .. })));
        let other = package("a", "1", &["a-2-py3-none-any.whl"]);
        assert!(matches!(read(&other), Err(PylockError::OtherWheel { .. })));
        let directory = "[[packages]]\nname = 'a'\ndirectory = { path = '.' }\n";
        assert!(matches!(read(directory), Err(PylockError::NoIndex(_))));
        let weak = package("a", "1", &["a-1-py3-none-any.whl"]).replace("sha256", "md5");
        assert!(matches!(read(&weak), Err(PylockError::NoDigest { .. })));
        let one = package("a", "1", &["a-1-py3-none-any.whl"]);
        assert!(matches!(
            read(&(one.clone() + &one)),
            Err(PylockError::Twice(_))
        ));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(?s).*", address in "\\PC*") {
            let _ = read(&text);
            let file = File {
                name: None, url: Some(address), path: None, size: None, hashes: Hashes::default(),
            };
            let _ = file.file_name();
        }
    }
}
