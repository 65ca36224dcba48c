//! What every component may bring.

use std::collections::BTreeMap;

use kiln_digest::Digest;

use super::{Capability, ComponentId, Location, PythonIndex, PythonRange, Waiver};

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
    /// The Pythons that it goes with; all without.
    pub python: Option<PythonRange>,
    /// What something else in the image must provide.
    pub needs: Vec<Capability>,
    /// What it provides besides its own name.
    pub provides: Vec<Capability>,
    /// What nothing else in the image may provide.
    pub conflicts: Vec<Capability>,
    /// Python indexes by source, each with the projects that come from it alone. Of the components
    /// of images that differ in the IDE alone, no two name different indexes for one project.
    pub python_indexes: BTreeMap<String, PythonIndex>,
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
    /// What is forgiven images with this component.
    pub waivers: Vec<Waiver>,
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
            python: None,
            needs: Vec::new(),
            provides: Vec::new(),
            conflicts: Vec::new(),
            python_indexes: BTreeMap::new(),
            from_source: BTreeMap::new(),
            env: Vec::new(),
            files: Vec::new(),
            runs: Vec::new(),
            labels: BTreeMap::new(),
            winners: BTreeMap::new(),
            waivers: Vec::new(),
            at,
        }
    }
}
