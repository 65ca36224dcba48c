//! What locking asks of whoever can execute: wheels of projects that have only their source.
//!
//! This crate chooses and runs nothing. A project that is built from source says only then what
//! its wheel is and requires, so a [`Builder`] is handed in.

use std::{error::Error, fmt, path::Path};

use kiln_digest::Digest;
use kiln_lock::{BuiltFrom, Deb, Wheel};
use kiln_recipe::Platform;

/// Builds wheels.
pub trait Builder: Sync {
    /// What the `pyproject.toml` of a source distribution, here the file `archive` with the name
    /// `file`, requires to build it.
    fn requires(&self, archive: &Path, file: &str) -> Result<Vec<String>, BuildFailure>;

    /// What its build back end requires besides.
    fn further_requires(&self, build: &Build<'_>) -> Result<Vec<String>, BuildFailure>;

    /// The wheel.
    fn build(&self, build: &Build<'_>) -> Result<BuiltWheel, BuildFailure>;
}

/// A source distribution, and everything that a wheel is built from it with.
#[derive(Debug, Clone)]
pub struct Build<'a> {
    /// Normalised name of the project.
    pub project: &'a str,
    /// The version.
    pub version: &'a str,
    /// The named source that has the source distribution.
    pub source: &'a str,
    /// File, size, digest, environment.
    pub from: &'a BuiltFrom,
    /// The platform.
    pub platform: Platform,
    /// The name of the base.
    pub base: &'a str,
    /// The Debian packages of the base.
    pub base_debs: &'a [Deb],
    /// Those of the build environment beyond it.
    pub debs: &'a [Deb],
    /// The build requirements.
    pub requirements: &'a [Wheel],
}

/// A wheel that was built, in its canonical form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuiltWheel {
    /// The name of its file.
    pub file: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its SHA-256.
    pub sha256: Digest,
    /// Its `METADATA`.
    pub metadata: String,
}

/// Why nothing was built.
#[derive(Debug)]
pub struct BuildFailure {
    /// The error.
    pub cause: Box<dyn Error + Send + Sync>,
    /// What a person can do.
    pub hint: Option<String>,
}

impl fmt::Display for BuildFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cause.fmt(f)
    }
}

impl Error for BuildFailure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.source()
    }
}
