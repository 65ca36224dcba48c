//! What family files say, as plain data. [`crate::parse`] makes it; nothing changes it after.

mod accelerator;
mod component;
mod family;
mod id;
mod kinds;
mod rules;
mod target;

use std::fmt;

pub use accelerator::{Accelerator, AcceleratorKind, Cuda, CudaDriver, CudaFlavour, CudaVersion};
pub use component::{
    Artifact, ArtifactOrigin, Component, FromSource, OsPackage, PlacedFile, Requirement,
    RunCommand, RunUser,
};
pub use family::{Combination, Family, User};
pub use id::{ComponentId, ComponentKind};
pub use kinds::{Archive, Base, Bundle, Ide};
pub use rules::{Capability, LINTS, PythonIndex, PythonRange, SizeLimit, Waiver};
pub use target::{ParsePlatformError, Platform, PythonVersion};

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
