//! What components demand of an image, and what is forgiven them.

use std::collections::BTreeMap;

use pep508_rs::pep440_rs::{Version, VersionSpecifiers};

use super::{Location, PythonVersion};

/// The Pythons that a component goes with: `python = ">=3.11,<3.14"`.
#[derive(Debug, Clone)]
pub struct PythonRange {
    /// The text as written.
    pub text: String,
    /// What it means. No version has more than two numbers.
    pub parsed: VersionSpecifiers,
    /// Where.
    pub at: Location,
}

impl PythonRange {
    /// Whether a Python is one of them.
    pub fn contains(&self, python: PythonVersion) -> bool {
        let version = Version::new([u64::from(python.major), u64::from(python.minor)]);
        self.parsed.contains(&version)
    }
}

/// A name that a component needs, provides or conflicts with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capability {
    /// The name: `cuda`.
    pub name: String,
    /// Where.
    pub at: Location,
}

/// A Python index from which some projects come, and from nowhere else: `[python-index.NAME]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PythonIndex {
    /// The projects by normalised name, and where each stands.
    pub projects: BTreeMap<String, Location>,
    /// Where it is declared.
    pub at: Location,
}

/// A finding that is no concern: `[[waive]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiver {
    /// The lint, one of [`LINTS`].
    pub lint: String,
    /// What the finding is about, as a glob; anything without.
    pub subject: Option<String>,
    /// Why it is no concern. Not empty.
    pub reason: String,
    /// Where it is declared.
    pub at: Location,
}

impl Waiver {
    /// Whether it waives a finding of this lint about this subject.
    pub fn waives(&self, lint: &str, subject: &str) -> bool {
        let matches = |glob: &String| {
            globset::Glob::new(glob).is_ok_and(|glob| glob.compile_matcher().is_match(subject))
        };
        self.lint == lint && self.subject.as_ref().is_none_or(matches)
    }
}

/// The lints that a [`Waiver`] may name.
pub const LINTS: [&str; 10] = [
    "cuda-in-cpu-image",
    "driver-in-image",
    "empty-bundle",
    "missing-library",
    "never-released",
    "over-budget",
    "tensorflow-1-and-2",
    "too-new-symbol",
    "two-cuda-stacks",
    "unused-component",
];

/// What an image may weigh at most: `max-size = "2 GB"`, the sum of its archives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SizeLimit {
    /// In bytes.
    pub bytes: u64,
    /// Where.
    pub at: Location,
}
