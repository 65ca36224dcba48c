//! What a lock says, as plain data.
//!
//! Invariants (checked on reading): lists are sorted by id and without duplicates; every id that
//! one part names exists; an image's sets stand in layer order.

use std::{collections::BTreeMap, fmt};

use kiln_digest::Digest;
use kiln_recipe::{ComponentId, Platform, PythonVersion};
use serde::{Deserialize, Serialize};

/// The version of the lock's format.
pub const LOCK_VERSION: u32 = 1;

/// Names one locked package: `{source}/{file stem}`, for Debian
/// `debian/libc6_2.36-9+deb12u14_amd64`, for wheels `pypi/numpy-2.4.6-cp311-….whl`. Bound to that
/// one source.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PackageId(pub String);

impl AsRef<str> for PackageId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PackageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The tool that chose the Python versions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tool {
    /// `uv`.
    pub name: String,
    /// Its exact version.
    pub version: String,
    /// The wheel that brings it, when it was not found on `PATH`.
    pub file: String,
    /// SHA-256 of that wheel.
    pub sha256: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Its source.
    pub source: String,
}

/// The signed index of one suite that versions were chosen from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DebIndex {
    /// The source, `debian`.
    pub source: String,
    /// The suite, `bookworm`.
    pub suite: String,
    /// `Date` of its `InRelease`, RFC 3339, UTC. A later lock refuses an older one.
    pub date: String,
    /// SHA-256 of its `InRelease`.
    pub sha256: Digest,
    /// Fingerprints (upper-case hex) of the keys whose signatures were verified, sorted.
    pub signed_by: Vec<String>,
}

/// One locked Debian package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deb {
    /// Its id in this lock.
    pub id: PackageId,
    /// Package name.
    pub name: String,
    /// Version with epoch.
    pub version: String,
    /// `amd64`, `arm64` or `all`.
    pub architecture: String,
    /// The source.
    pub source: String,
    /// The suite whose index listed it.
    pub suite: String,
    /// The path below the archive's root, `pool/main/…`.
    pub path: String,
    /// Size in bytes.
    pub size: u64,
    /// SHA-256 of the archive.
    pub sha256: Digest,
    /// Essential or Protected: configured first.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub essential: bool,
    /// `Multi-Arch: same`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub multi_arch_same: bool,
    /// Names of the locked packages that satisfy its Depends and Pre-Depends, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends: Vec<String>,
}

/// One locked wheel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wheel {
    /// Its id in this lock.
    pub id: PackageId,
    /// Normalised project name.
    pub name: String,
    /// Version.
    pub version: String,
    /// The source.
    pub source: String,
    /// File name.
    pub file: String,
    /// Size in bytes.
    pub size: u64,
    /// SHA-256 of the file.
    pub sha256: Digest,
    /// `Requires-Dist` of its metadata, as written there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requires: Vec<String>,
    /// Set when no index has the wheel: it is built, and `size` and `sha256` are those of the
    /// result. `source` is where the source distribution comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub built_from: Option<BuiltFrom>,
}

/// A source distribution and the environment in which a wheel is built from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BuiltFrom {
    /// File name of the source distribution.
    pub file: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its SHA-256.
    pub sha256: Digest,
    /// The set of the base on which it is built.
    pub base: String,
    /// Debian packages of the build environment that are not in the base, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub debs: Vec<PackageId>,
    /// The build requirements, all of them wheels, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requirements: Vec<PackageId>,
    /// Environment of the build.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
}

/// What a component asked for when it was locked: to tell a stale lock, and what is stale.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The component.
    pub component: ComponentId,
    /// Its Python requirements as written, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requirements: Vec<String>,
    /// Its OS packages as written, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub os_packages: Vec<String>,
    /// For a base: `python 3.11`, then its archives as `source suite component…`, in order. For an
    /// accelerator: its archives in the same way, with `on base…` where they are for some bases
    /// alone. For a bundle: the bundle it extends, and `independent`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub from: Vec<String>,
    /// The Python indexes that it names, each with the projects that come from it, sorted.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub python_indexes: BTreeMap<String, Vec<String>>,
    /// The projects that it says are built from source.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub from_source: BTreeMap<String, SourceRequest>,
    /// The files that it places: destination → SHA-256.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<String, Digest>,
}

/// How a component wants a project built.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceRequest {
    /// OS packages of the build environment as written, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub os_packages: Vec<String>,
    /// Further build requirements as written, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requirements: Vec<String>,
    /// Environment of the build.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
}

/// What one component adds on top of those below it, for one base and platform. Images share
/// sets: a bundle's set is the same in every image whose components below it are the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Set {
    /// `linux/amd64 debian-12 cuda-13 minimal datascience ^cuda-13 +jupyter`: the platform, then the
    /// components up to this one; `^` stands before a toolkit.
    pub id: String,
    /// The component that brings it.
    pub component: ComponentId,
    /// Debian packages that are not in the sets below, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub debs: Vec<PackageId>,
    /// Wheels that are not in the sets below, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub wheels: Vec<PackageId>,
}

/// One locked image on one platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedImage {
    /// Its full name: `jupyter-datascience-d12-py311_2026b_20261122`.
    pub name: String,
    /// The platform.
    pub platform: Platform,
    /// Name of the base.
    pub base: String,
    /// Name of the accelerator.
    pub accelerator: String,
    /// Name of the bundle.
    pub bundle: String,
    /// Name of the IDE.
    pub ide: String,
    /// Its Python.
    pub python: PythonVersion,
    /// `YYYY-MM-DD`: the day when its closure or its configuration last changed.
    pub date: String,
    /// Digest of its closure and configuration, without the date; it decides whether the date
    /// moves.
    pub fingerprint: Digest,
    /// Its sets, base first, IDE last. An accelerator that requires something of Python has two:
    /// its OS packages below the bundles, and its toolkit above them.
    pub sets: Vec<String>,
}

/// A whole lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    /// [`LOCK_VERSION`].
    pub version: u32,
    /// The family's name.
    pub family: String,
    /// The family's release.
    pub release: String,
    /// Tools that decided.
    #[serde(default, rename = "tool", skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<Tool>,
    /// Indexes that versions were chosen from.
    #[serde(default, rename = "index", skip_serializing_if = "Vec::is_empty")]
    pub indexes: Vec<DebIndex>,
    /// What was asked.
    #[serde(default, rename = "request", skip_serializing_if = "Vec::is_empty")]
    pub requests: Vec<Request>,
    /// Images.
    #[serde(default, rename = "image", skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<LockedImage>,
    /// Sets.
    #[serde(default, rename = "set", skip_serializing_if = "Vec::is_empty")]
    pub sets: Vec<Set>,
    /// Debian packages.
    #[serde(default, rename = "deb", skip_serializing_if = "Vec::is_empty")]
    pub debs: Vec<Deb>,
    /// Wheels.
    #[serde(default, rename = "wheel", skip_serializing_if = "Vec::is_empty")]
    pub wheels: Vec<Wheel>,
}
