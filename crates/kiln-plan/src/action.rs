//! Actions: the unit of work and of caching.
//!
//! The canonical encoding of an action is compact JSON with the fields in the order in which they
//! are declared here, no optional whitespace, and maps in key order. A change to it that changes
//! an encoding of an existing action must raise [`ACTION_FORMAT`]; golden keys in the tests
//! notice.

use std::collections::BTreeMap;

use kiln_digest::Digest;
use kiln_recipe::{Platform, PythonVersion};
use serde::{Deserialize, Serialize};

/// The version of the meaning of actions: raised when the same encoding would give other bytes.
pub const ACTION_FORMAT: u32 = 2;

/// A pure function from declared inputs to one layer, or to one blob.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Action {
    /// [`ACTION_FORMAT`] of the kiln that made it.
    pub format: u32,
    /// The platform of the image.
    pub platform: Platform,
    /// How the layer is compressed. Actions that make a blob have the default.
    pub compression: Compression,
    /// What to do.
    pub kind: Kind,
}

/// The compressed form of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// gzip, one member for each file: understood everywhere, and free for wheels.
    #[default]
    Gzip,
    /// zstd: smaller and faster to unpack, dearer to make.
    Zstd,
    /// gzip with eStargz's table of contents, so that engines can fetch single files.
    Estargz,
}

/// What an action does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The files of Debian packages.
    PackDebs(PackDebs),
    /// The dpkg database of unpacked, not yet configured packages.
    DebDatabase(DebDatabase),
    /// The skeleton of the Python tree.
    Venv(Venv),
    /// The files of wheels, as an installer would lay them out.
    PackWheels(PackWheels),
    /// Files of the family.
    Files(Files),
    /// What the maintainer scripts of Debian packages change.
    Configure(Configure),
    /// The compiled modules of one wheel (a blob).
    Bytecode(Bytecode),
    /// The compiled modules of several wheels.
    PackBytecode(PackBytecode),
    /// A wheel, built from a source distribution; or what building it requires (a blob).
    BuildWheel(BuildWheel),
    /// What a command of the family changes.
    Run(Run),
}

impl Kind {
    /// What it does, in one word for people.
    pub fn verb(&self) -> &'static str {
        match self {
            Self::PackDebs(_)
            | Self::DebDatabase(_)
            | Self::Venv(_)
            | Self::PackWheels(_)
            | Self::Files(_) => "pack",
            Self::Configure(_) => "configure",
            Self::Bytecode(_) | Self::PackBytecode(_) => "compile",
            Self::BuildWheel(_) => "build",
            Self::Run(_) => "run",
        }
    }
}

/// A package archive as an input.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Archive {
    /// Its file name, which carries name, version and tags.
    pub file: String,
    /// Its content.
    pub sha256: Digest,
}

/// See [`Kind::PackDebs`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackDebs {
    /// Top-level directories that the suite has merged into `/usr`.
    pub usr_merge: Vec<String>,
    /// Whether this layer also holds the links `/bin → usr/bin` … themselves.
    pub links: bool,
    /// The packages, sorted.
    pub debs: Vec<Archive>,
    /// Paths that several packages ship with different content, and the package that wins.
    pub winners: BTreeMap<String, String>,
}

/// See [`Kind::DebDatabase`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DebDatabase {
    /// Top-level directories that the suite has merged into `/usr`.
    pub usr_merge: Vec<String>,
    /// All packages of the image, sorted.
    pub debs: Vec<Archive>,
}

/// Where Python packages go and who owns them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Placement {
    /// The root of the Python tree, absolute: `/opt/app-root`.
    pub prefix: String,
    /// The Python that will use it.
    pub python: PythonVersion,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// See [`Kind::Venv`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Venv {
    /// Where.
    pub placement: Placement,
    /// The interpreter that it borrows: `/usr/bin/python3.11`.
    pub executable: String,
    /// The home directory to make, absolute.
    pub home: String,
}

/// See [`Kind::PackWheels`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackWheels {
    /// Where.
    pub placement: Placement,
    /// The wheels, sorted.
    pub wheels: Vec<Archive>,
    /// Paths that several packages ship with different content, and the package that wins.
    pub winners: BTreeMap<String, String>,
}

/// See [`Kind::Files`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Files {
    /// The files, sorted by destination.
    pub files: Vec<PlacedFile>,
    /// The Python tree: missing directories below it belong to its owner.
    pub placement: Placement,
    /// Paths (absolute, sorted) that are removed from the layers below: compiled modules of sources
    /// that are replaced, which Python would load instead of the new ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removed: Vec<String>,
}

/// One file of the family.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlacedFile {
    /// Where it goes, absolute.
    pub to: String,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Its content.
    pub sha256: Digest,
}

/// See [`Kind::Configure`]. With it, an image needs no [`Kind::DebDatabase`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Configure {
    /// Top-level directories that the suite has merged into `/usr`.
    pub usr_merge: Vec<String>,
    /// Keys of the actions that make the layers of OS packages below, bottom first: packed files,
    /// also of the packages to configure, and what configuring the sets below changed.
    pub layers: Vec<Digest>,
    /// The packages to configure, sorted. Those of `layers` that are not here are configured.
    pub debs: Vec<Archive>,
    /// Of `debs`, those that dpkg itself installs: name and the key of the layer (among `layers`)
    /// that holds the package alone.
    pub installed_by_dpkg: BTreeMap<String, Digest>,
    /// The user that images run as, who gets an entry in `/etc/passwd`.
    pub user: Option<UserEntry>,
}

/// A line of `/etc/passwd`, passwd(5).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserEntry {
    /// Login name; also of the group, when there is none with the id.
    pub name: String,
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Home directory, absolute.
    pub home: String,
    /// Login shell, absolute.
    pub shell: String,
}

/// See [`Kind::Bytecode`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bytecode {
    /// The key of the action that packs the interpreter and all that it depends on.
    pub runtime: Digest,
    /// The interpreter: `/usr/bin/python3.11`.
    pub executable: String,
    /// Where the wheel's files are.
    pub placement: Placement,
    /// The wheel.
    pub wheel: Archive,
}

/// See [`Kind::PackBytecode`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackBytecode {
    /// Who owns the files.
    pub placement: Placement,
    /// Keys of the [`Kind::Bytecode`] actions, sorted.
    pub parts: Vec<Digest>,
    /// Modules (absolute paths of their sources) that several wheels ship with different content,
    /// and the part of the wheel that wins.
    pub winners: BTreeMap<String, Digest>,
}

/// See [`Kind::BuildWheel`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BuildWheel {
    /// What is made of the source distribution.
    pub product: BuildProduct,
    /// Keys of the actions that make the layers of the operating system to build on, bottom
    /// first.
    pub layers: Vec<Digest>,
    /// The interpreter: `/usr/bin/python3.11`.
    pub executable: String,
    /// The source distribution.
    pub sdist: Archive,
    /// The build requirements, sorted.
    pub requirements: Vec<Archive>,
    /// The environment that the family adds to that of the build.
    pub env: BTreeMap<String, String>,
}

/// What [`BuildWheel`] makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BuildProduct {
    /// The wheel: a canonical archive, whatever the build back end wrote.
    Wheel,
    /// What building the wheel requires beyond what `pyproject.toml` says (PEP 517,
    /// `get_requires_for_build_wheel`): a JSON list of texts, sorted. Asked while locking.
    Requirements,
}

/// See [`Kind::Run`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// Keys of the actions that make all layers below, bottom first.
    pub layers: Vec<Digest>,
    /// The command, in exec form; the program is an absolute path.
    pub command: Vec<String>,
    /// The environment, `NAME=value`.
    pub env: Vec<String>,
    /// The working directory.
    pub cwd: String,
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// What it may read besides the layers, sorted by destination.
    pub artifacts: Vec<MountedArtifact>,
}

/// A declared input of a [`Run`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MountedArtifact {
    /// Where it is mounted, read-only: absolute.
    pub to: String,
    /// Its content.
    pub sha256: Digest,
}

impl Action {
    /// The canonical encoding.
    ///
    /// # Panics
    ///
    /// Never: plain data with text keys always serialises.
    pub fn encode(&self) -> Vec<u8> {
        #[expect(
            clippy::expect_used,
            reason = "plain data with text keys always serialises"
        )]
        serde_json::to_vec(self).expect("an action serialises")
    }

    /// The key: the digest of the canonical encoding.
    pub fn key(&self) -> Digest {
        Digest::of(&self.encode())
    }

    /// The keys of the actions whose results it reads, in the order of the parameters.
    pub fn needs(&self) -> Vec<Digest> {
        match &self.kind {
            Kind::PackDebs(_)
            | Kind::DebDatabase(_)
            | Kind::Venv(_)
            | Kind::PackWheels(_)
            | Kind::Files(_) => Vec::new(),
            Kind::Configure(configure) => configure.layers.clone(),
            Kind::Bytecode(bytecode) => vec![bytecode.runtime],
            Kind::PackBytecode(pack) => pack.parts.clone(),
            Kind::BuildWheel(build) => build.layers.clone(),
            Kind::Run(run) => run.layers.clone(),
        }
    }

    /// Whether it runs programs of the image, for which the machine must be of its platform.
    pub fn executes(&self) -> bool {
        matches!(
            self.kind,
            Kind::Configure(_) | Kind::Bytecode(_) | Kind::BuildWheel(_) | Kind::Run(_)
        )
    }

    /// The digests of the files that it reads.
    pub fn inputs(&self) -> Vec<Digest> {
        let archives = |list: &[Archive]| list.iter().map(|archive| archive.sha256).collect();
        match &self.kind {
            Kind::PackDebs(pack) => archives(&pack.debs),
            Kind::DebDatabase(database) => archives(&database.debs),
            Kind::Venv(_) | Kind::PackBytecode(_) => Vec::new(),
            Kind::PackWheels(pack) => archives(&pack.wheels),
            Kind::Files(files) => files.files.iter().map(|file| file.sha256).collect(),
            Kind::Configure(configure) => archives(&configure.debs),
            Kind::Bytecode(bytecode) => vec![bytecode.wheel.sha256],
            Kind::BuildWheel(build) => {
                let mut inputs = archives(&build.requirements);
                inputs.push(build.sdist.sha256);
                inputs
            }
            Kind::Run(run) => run.artifacts.iter().map(|it| it.sha256).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn action() -> Action {
        Action {
            format: ACTION_FORMAT,
            platform: Platform::LinuxAmd64,
            compression: Compression::Gzip,
            kind: Kind::PackWheels(PackWheels {
                placement: Placement {
                    prefix: "/opt/app-root".into(),
                    python: PythonVersion {
                        major: 3,
                        minor: 11,
                    },
                    uid: 1001,
                    gid: 0,
                },
                wheels: vec![Archive {
                    file: "six-1.17.0-py2.py3-none-any.whl".into(),
                    sha256: Digest::of(b"six"),
                }],
                winners: BTreeMap::new(),
            }),
        }
    }

    /// The encoding is a promise to every store and companion that exists: a change here must
    /// come with a new `ACTION_FORMAT`.
    #[test]
    fn the_encoding_is_the_documented_one() {
        let encoded = String::from_utf8(action().encode()).unwrap();
        let six = Digest::of(b"six");
        assert_eq!(
            encoded,
            format!(
                "{{\"format\":2,\"platform\":\"linux/amd64\",\"compression\":\"gzip\",\"kind\":\
                 {{\"pack-wheels\":{{\"placement\":{{\"prefix\":\"/opt/app-root\",\"python\":\
                 \"3.11\",\"uid\":1001,\"gid\":0}},\"wheels\":[{{\"file\":\
                 \"six-1.17.0-py2.py3-none-any.whl\",\"sha256\":\"{six}\"}}],\"winners\":{{}}}}}}}}"
            )
        );
    }

    #[test]
    fn an_action_survives_its_encoding() {
        let decoded: Action = serde_json::from_slice(&action().encode()).unwrap();
        assert_eq!(decoded, action());
        assert_eq!(decoded.key(), action().key());
    }

    #[test]
    fn whatever_changes_bytes_changes_the_key() {
        let key = action().key();
        let mut other = action();
        other.compression = Compression::Zstd;
        assert_ne!(other.key(), key);
        let mut other = action();
        if let Kind::PackWheels(pack) = &mut other.kind {
            pack.placement.uid = 0;
        }
        assert_ne!(other.key(), key);
        let mut other = action();
        if let Kind::PackWheels(pack) = &mut other.kind {
            pack.wheels[0].sha256 = Digest::of(b"seven");
        }
        assert_ne!(other.key(), key);
    }
}
