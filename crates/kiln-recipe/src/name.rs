//! The grammar of image names: rendering and parsing back.

/// How image names look: `{cuda}-{ide}-{bundle}-{os}-{python}_{release}_{date}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamePattern {
    /// The pattern as written.
    pub text: String,
}

/// The parts of an image name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageName {
    /// Whether the image has CUDA.
    pub cuda: bool,
    /// The IDE, `runtime` for none.
    pub ide: String,
    /// The bundle.
    pub bundle: String,
    /// The base's code.
    pub os: String,
    /// `py311`.
    pub python: String,
    /// The family's release.
    pub release: String,
    /// The image's date, `YYYYMMDD`.
    pub date: String,
}
