//! What family files say, as plain data. [`crate::parse`] makes it; nothing changes it after.

use std::{collections::BTreeMap, fmt, str::FromStr};

use kiln_digest::Digest;
use serde::{Deserialize, Serialize};

use crate::name::{ImageName, NamePattern};

/// A place in a family file, for error messages. Lines and columns count from 1, columns in
/// characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Location {
    /// The file, relative to the family's directory, with `/`.
    pub file: String,
    /// The line.
    pub line: u32,
    /// The column.
    pub column: u32,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// An operating system and a processor architecture, as OCI names them (image-spec,
/// image-index.md): `linux/amd64`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Platform {
    /// x86-64.
    LinuxAmd64,
    /// 64-bit ARM.
    LinuxArm64,
}

/// Why a text is not a [`Platform`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown platform `{0}`: known are `linux/amd64` and `linux/arm64`")]
pub struct ParsePlatformError(String);

impl Platform {
    /// `linux`.
    pub const fn os(self) -> &'static str {
        "linux"
    }

    /// The OCI (and Go) name of the architecture; also Debian's.
    pub const fn architecture(self) -> &'static str {
        match self {
            Self::LinuxAmd64 => "amd64",
            Self::LinuxArm64 => "arm64",
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os(), self.architecture())
    }
}

impl FromStr for Platform {
    type Err = ParsePlatformError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "linux/amd64" => Ok(Self::LinuxAmd64),
            "linux/arm64" => Ok(Self::LinuxArm64),
            _ => Err(ParsePlatformError(text.chars().take(80).collect())),
        }
    }
}

impl TryFrom<String> for Platform {
    type Error = ParsePlatformError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Platform> for String {
    fn from(platform: Platform) -> Self {
        platform.to_string()
    }
}

/// A Python feature version, `3.11`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PythonVersion {
    /// 3.
    pub major: u8,
    /// 11.
    pub minor: u8,
}

impl fmt::Display for PythonVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl FromStr for PythonVersion {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.split_once('.')
            .and_then(|(major, minor)| {
                Some(Self {
                    major: major.parse().ok()?,
                    minor: minor.parse().ok()?,
                })
            })
            .filter(|version| version.to_string() == text)
            .ok_or_else(|| format!("`{text}` is not a Python feature version such as `3.11`"))
    }
}

impl TryFrom<String> for PythonVersion {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<PythonVersion> for String {
    fn from(version: PythonVersion) -> Self {
        version.to_string()
    }
}

/// What a component is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ComponentKind {
    /// An operating system with its Python.
    Base,
    /// What computes: cpu, cuda, …
    Accelerator,
    /// A set of libraries.
    Bundle,
    /// What starts when the image starts.
    Ide,
}

/// A component's kind and name, written `bundle/datascience`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ComponentId {
    /// The kind.
    pub kind: ComponentKind,
    /// The name, unique within the kind.
    pub name: String,
}

impl fmt::Display for ComponentKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Base => "base",
            Self::Accelerator => "accelerator",
            Self::Bundle => "bundle",
            Self::Ide => "ide",
        })
    }
}

impl fmt::Display for ComponentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.name)
    }
}

impl TryFrom<String> for ComponentId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let (kind, name) = text
            .split_once('/')
            .ok_or_else(|| format!("`{text}` names no component"))?;
        let kind = match kind {
            "base" => ComponentKind::Base,
            "accelerator" => ComponentKind::Accelerator,
            "bundle" => ComponentKind::Bundle,
            "ide" => ComponentKind::Ide,
            _ => return Err(format!("`{kind}` is no kind of component")),
        };
        Ok(Self {
            kind,
            name: name.to_owned(),
        })
    }
}

impl From<ComponentId> for String {
    fn from(id: ComponentId) -> Self {
        id.to_string()
    }
}

/// A Python requirement (PEP 508) and where it stands.
#[derive(Debug, Clone)]
pub struct Requirement {
    /// The text as written.
    pub text: String,
    /// What it means.
    pub parsed: pep508_rs::Requirement,
    /// Where.
    pub at: Location,
}

/// An OS package: a name and an optional constraint, written as Debian writes a dependency:
/// `libodbc2` or `libodbc2 (>= 2.3)`.
#[derive(Debug, Clone)]
pub struct OsPackage {
    /// The text as written.
    pub text: String,
    /// The package.
    pub name: String,
    /// Relation (`<<`, `<=`, `=`, `>=`, `>>`) and version.
    pub constraint: Option<(String, String)>,
    /// Where.
    pub at: Location,
}

/// How a project is built whose wheel no index has: `[from-source.NAME]`.
#[derive(Debug, Clone)]
pub struct FromSource {
    /// OS packages of the build environment, beside those of the base. They enter no image.
    pub os_packages: Vec<OsPackage>,
    /// Build requirements, beside those that the source distribution names.
    pub requirements: Vec<Requirement>,
    /// Environment of the build.
    pub env: BTreeMap<String, String>,
    /// Where it is declared.
    pub at: Location,
}

/// A file of the family that goes into images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacedFile {
    /// Where it is, relative to the family's directory.
    pub source: String,
    /// Where it goes: an absolute, normal path in the image.
    pub to: String,
    /// Permission bits.
    pub mode: u32,
    /// Owner and group; the family's user for paths below its prefix or home, else root.
    pub owner: (u32, u32),
    /// Its content.
    pub sha256: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// Where it is declared.
    pub at: Location,
}

/// A command of the family that changes an image: `[[run]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunCommand {
    /// The command, in exec form; the program is an absolute path.
    pub command: Vec<String>,
    /// Who runs it.
    pub user: RunUser,
    /// Its environment beside the image's, in order. `${NAME}` in a value means what `NAME` was
    /// before.
    pub env: Vec<(String, String)>,
    /// What it may read besides the image, in order of destination.
    pub artifacts: Vec<Artifact>,
    /// Where it is declared.
    pub at: Location,
}

/// Who runs a [`RunCommand`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RunUser {
    /// The user that images run as.
    Image,
    /// `0:0`.
    Root,
}

/// A file that a [`RunCommand`] may read and the image does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// Where it is mounted, read-only: an absolute, normal path.
    pub to: String,
    /// Its content.
    pub sha256: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// Where it comes from.
    pub origin: ArtifactOrigin,
}

/// Where an [`Artifact`] comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArtifactOrigin {
    /// A file of the family, relative to its directory.
    Family(String),
    /// A file of a named source.
    Source {
        /// The source.
        source: String,
        /// The path below the source's address.
        path: String,
    },
}

/// What every component may bring.
#[derive(Debug, Clone)]
pub struct Component {
    /// Kind and name.
    pub id: ComponentId,
    /// For people: `Jupyter`; the name when not given.
    pub title: String,
    /// One sentence for people.
    pub description: String,
    /// Python requirements.
    pub requirements: Vec<Requirement>,
    /// OS packages.
    pub os_packages: Vec<OsPackage>,
    /// Projects that may be built from their source distribution, by normalised name. Of the
    /// components of images that differ in the IDE alone, no two say it of one project.
    pub from_source: BTreeMap<String, FromSource>,
    /// Environment, in order. `${NAME}` in a value means what `NAME` was before.
    pub env: Vec<(String, String)>,
    /// Files, in order of destination.
    pub files: Vec<PlacedFile>,
    /// Commands that change the image after the files are in place, in order.
    pub runs: Vec<RunCommand>,
    /// Labels of the image.
    pub labels: BTreeMap<String, String>,
    /// Paths (absolute in the image) that several packages ship with different content, and the
    /// package whose file wins.
    pub winners: BTreeMap<String, String>,
    /// The file that declares it, line 1.
    pub at: Location,
}

impl Component {
    /// A component of which no file says anything.
    pub fn new(id: ComponentId, at: Location) -> Self {
        Self {
            title: id.name.clone(),
            id,
            description: String::new(),
            requirements: Vec::new(),
            os_packages: Vec::new(),
            from_source: BTreeMap::new(),
            env: Vec::new(),
            files: Vec::new(),
            runs: Vec::new(),
            labels: BTreeMap::new(),
            winners: BTreeMap::new(),
            at,
        }
    }
}

/// One archive of OS packages that a base uses: one suite of one named source.
#[derive(Debug, Clone)]
pub struct Archive {
    /// The source's name: `debian`, `debian-security`.
    pub source: String,
    /// `bookworm`, `bookworm-security`.
    pub suite: String,
    /// `main`, …
    pub components: Vec<String>,
    /// The keyring (binary or armored `OpenPGP`) that must have signed `InRelease`: a file of the
    /// family, and its bytes.
    pub keyring: String,
    /// The bytes of the keyring.
    pub keyring_bytes: Vec<u8>,
    /// Whether an expired `Valid-Until` is an error.
    pub check_valid_until: bool,
    /// Where it is declared.
    pub at: Location,
}

/// An operating system with its Python.
#[derive(Debug, Clone)]
pub struct Base {
    /// What it brings.
    pub component: Component,
    /// The `{os}` of image names: `d12`.
    pub code: String,
    /// `debian` or `ubuntu`.
    pub distribution: String,
    /// `bookworm`.
    pub suite: String,
    /// The Python that its OS packages bring.
    pub python: PythonVersion,
    /// Where its OS packages come from.
    pub archives: Vec<Archive>,
}

/// What computes. `cpu` always exists.
#[derive(Debug, Clone)]
pub struct Accelerator {
    /// What it brings.
    pub component: Component,
    /// Whether image names get the `cuda` flag.
    pub cuda: bool,
}

/// A set of libraries.
#[derive(Debug, Clone)]
pub struct Bundle {
    /// What it brings beyond its parent.
    pub component: Component,
    /// The bundle that it extends.
    pub extends: Option<String>,
    /// Whether its parent's pins bind it not.
    pub independent: bool,
}

/// What starts when the image starts. `runtime` always exists and starts nothing.
#[derive(Debug, Clone)]
pub struct Ide {
    /// What it brings.
    pub component: Component,
    /// The command, as an exec-form entrypoint; empty for none.
    pub command: Vec<String>,
    /// The TCP port that it serves.
    pub port: Option<u16>,
}

/// The user that images run as, and who owns the Python tree. Arbitrary-UID platforms need
/// group 0 and group-writable trees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// User id, 1001 unless said.
    pub uid: u32,
    /// Group id, 0 unless said.
    pub gid: u32,
    /// The Python tree, `/opt/app-root` unless said.
    pub prefix: String,
    /// Working directory and `HOME`, `/opt/app-root/src` unless said.
    pub home: String,
    /// Login name, `default` unless said.
    pub name: String,
    /// Login shell, `/bin/bash` unless said.
    pub shell: String,
}

impl Default for User {
    fn default() -> Self {
        Self {
            uid: 1001,
            gid: 0,
            prefix: "/opt/app-root".to_owned(),
            home: "/opt/app-root/src".to_owned(),
            name: "default".to_owned(),
            shell: "/bin/bash".to_owned(),
        }
    }
}

/// One image of the family: a combination of components.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Combination {
    /// Name of the base.
    pub base: String,
    /// Name of the accelerator.
    pub accelerator: String,
    /// Name of the bundle.
    pub bundle: String,
    /// Name of the IDE.
    pub ide: String,
    /// Where it is declared.
    pub at: Location,
}

/// A whole family. Every name that one part uses of another exists (`parse` checked it).
#[derive(Debug, Clone)]
pub struct Family {
    /// Its name.
    pub name: String,
    /// Its release, `2026b`.
    pub release: String,
    /// One sentence for people.
    pub description: String,
    /// Who makes it (`org.opencontainers.image.vendor`).
    pub vendor: Option<String>,
    /// Where its family files live (`org.opencontainers.image.source`).
    pub source: Option<String>,
    /// SPDX expression (`org.opencontainers.image.licenses`).
    pub licenses: Option<String>,
    /// The image repository, without a tag: `registry.example/workbench`.
    pub repository: String,
    /// The base that is meant when a part of a name fits images that differ in the base alone.
    pub default_base: Option<String>,
    /// Platforms of every image.
    pub platforms: Vec<Platform>,
    /// How image names look.
    pub pattern: NamePattern,
    /// Who runs and owns.
    pub user: User,
    /// Whether images are packed only: no maintainer script runs, nothing is compiled.
    pub pack_only: bool,
    /// Whether images hold compiled Python modules.
    pub bytecode: bool,
    /// Where named sources live, when the host's own settings shall not decide.
    pub sources: BTreeMap<String, String>,
    /// The exact version of the `uv` binary that resolves Python.
    pub uv: Option<String>,
    /// Bases by name.
    pub bases: BTreeMap<String, Base>,
    /// Accelerators by name.
    pub accelerators: BTreeMap<String, Accelerator>,
    /// Bundles by name; `extends` has no cycles.
    pub bundles: BTreeMap<String, Bundle>,
    /// IDEs by name.
    pub ides: BTreeMap<String, Ide>,
    /// The images, in the order of the file; no two are the same.
    pub images: Vec<Combination>,
    /// The text of every family file that was read, for error messages.
    pub texts: BTreeMap<String, String>,
}

impl Family {
    /// The bundles that `name` stands on, the root first and `name` last. Empty for an unknown
    /// name.
    pub fn chain(&self, name: &str) -> Vec<&Bundle> {
        let mut chain = Vec::new();
        let mut next = self.bundles.get(name);
        while let Some(bundle) = next {
            chain.push(bundle);
            next = bundle
                .extends
                .as_deref()
                .and_then(|parent| self.bundles.get(parent));
        }
        chain.reverse();
        chain
    }

    /// The components of an image in layer order: base, accelerator, bundle chain, IDE.
    pub fn components(&self, image: &Combination) -> Vec<&Component> {
        let base = self.bases.get(&image.base).map(|base| &base.component);
        let accelerator = self
            .accelerators
            .get(&image.accelerator)
            .map(|it| &it.component);
        let ide = self.ides.get(&image.ide).map(|ide| &ide.component);
        let chain = self
            .chain(&image.bundle)
            .into_iter()
            .map(|bundle| &bundle.component);
        base.into_iter()
            .chain(accelerator)
            .chain(chain)
            .chain(ide)
            .collect()
    }

    /// The parts of an image's name, for an image that has this date (`YYYYMMDD`). `None` for a
    /// combination of unknown components.
    pub fn image_name(&self, image: &Combination, date: &str) -> Option<ImageName> {
        let base = self.bases.get(&image.base)?;
        Some(ImageName {
            cuda: self.accelerators.get(&image.accelerator)?.cuda,
            ide: image.ide.clone(),
            bundle: image.bundle.clone(),
            os: base.code.clone(),
            python: format!("py{}{}", base.python.major, base.python.minor),
            release: self.release.clone(),
            date: date.to_owned(),
        })
    }
}
