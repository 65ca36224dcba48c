//! What is wrong with a locked family, found before anything is built.
//!
//! # Words
//!
//! - A **lint** is a rule with a name, [`Lint`]. What it finds is a [`Finding`]: about a
//!   **subject** (a package, a library, a component), in some images, with the requirement that
//!   brings the subject, the reason, and what to do.
//! - A **waiver** of the family says that a finding is no concern, and why.
//! - The **facts** of an archive are what its programs and libraries say to the dynamic linker
//!   ([`Libraries`]); they are read elsewhere.
//!
//! # Algorithm
//!
//! Each rule looks at one image at a time and knows nothing of other rules. What several images
//! have in common is one finding afterwards. Rules about libraries need the facts of *all*
//! archives of an image; without them they say nothing of it, and the report names what is
//! missing.
//!
//! # Invariants
//!
//! - Pure: the report is a function of the family, the lock and the facts. Findings are sorted:
//!   errors first, then by place.
//! - A finding is about something that is wrong for certain. Where a rule cannot know, it is
//!   silent: what the linker might find in a place that the rule does not see counts as found.

mod cuda;
mod elsewhere;
mod image;
mod libraries;
mod origin;
mod placed;
mod policy;
mod released;
mod report;
mod structure;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use kiln_digest::Digest;
use kiln_lock::{Lock, LockedImage};
use kiln_package::libraries::Libraries;
use kiln_recipe::Family;

pub use origin::Origin;
pub use report::{Finding, Report, Waived};

/// A rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lint {
    /// Packages that are made for CUDA in an image whose accelerator has none.
    CudaInCpuImage,
    /// Packages for different versions of CUDA in one image.
    TwoCudaStacks,
    /// Versions that were never released to go together.
    NeverReleased,
    /// TensorFlow 1 beside TensorFlow 2.
    TensorFlow1And2,
    /// Packages of NVIDIA's driver, which is the host's.
    DriverInImage,
    /// A library that a wheel's file needs and nothing brings.
    MissingLibrary,
    /// A version of a symbol that is newer than the image's library.
    TooNewSymbol,
    /// A component that no image uses.
    UnusedComponent,
    /// A bundle with the same packages as its parent.
    EmptyBundle,
    /// An image that is larger than it may be.
    OverBudget,
    /// A waiver that waives nothing.
    UnusedWaiver,
}

impl Lint {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::CudaInCpuImage,
        Self::TwoCudaStacks,
        Self::NeverReleased,
        Self::TensorFlow1And2,
        Self::DriverInImage,
        Self::MissingLibrary,
        Self::TooNewSymbol,
        Self::UnusedComponent,
        Self::EmptyBundle,
        Self::OverBudget,
        Self::UnusedWaiver,
    ];

    /// Its name in family files.
    pub const fn id(self) -> &'static str {
        match self {
            Self::CudaInCpuImage => "cuda-in-cpu-image",
            Self::TwoCudaStacks => "two-cuda-stacks",
            Self::NeverReleased => "never-released",
            Self::TensorFlow1And2 => "tensorflow-1-and-2",
            Self::DriverInImage => "driver-in-image",
            Self::MissingLibrary => "missing-library",
            Self::TooNewSymbol => "too-new-symbol",
            Self::UnusedComponent => "unused-component",
            Self::EmptyBundle => "empty-bundle",
            Self::OverBudget => "over-budget",
            Self::UnusedWaiver => "unused-waiver",
        }
    }

    /// How bad it is, where nothing softens it.
    pub const fn severity(self) -> Severity {
        match self {
            Self::UnusedComponent | Self::EmptyBundle | Self::UnusedWaiver => Severity::Warning,
            _ => Severity::Error,
        }
    }
}

impl fmt::Display for Lint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The image will not work, or not as its files say.
    Error,
    /// Something is odd.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

/// What is known of archives, by their SHA-256.
pub type Facts = BTreeMap<Digest, Arc<Libraries>>;

/// A library that is looked for among the packages of an image's archives: the base and the
/// accelerator that say which archives, and the library's name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wanted {
    /// The base.
    pub base: String,
    /// The accelerator.
    pub accelerator: String,
    /// The platform.
    pub platform: kiln_recipe::Platform,
    /// `libGL.so.1`
    pub library: String,
}

/// The packages that would bring a library, the likeliest first. What is not a key was not
/// looked for; what no package has, has none.
pub type Owners = BTreeMap<Wanted, Vec<String>>;

/// All that rules look at.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// The family.
    pub family: &'a Family,
    /// Its lock, which fits it.
    pub lock: &'a Lock,
    /// The images to look at, of that lock.
    pub images: &'a [&'a LockedImage],
    /// What is known of archives.
    pub facts: &'a Facts,
    /// Which packages bring libraries.
    pub owners: &'a Owners,
}

/// Looks at images with all rules. Rules about the family itself are asked only when `images` are
/// all images of the lock.
pub fn lint(input: Input<'_>) -> Report {
    let Input {
        family,
        lock,
        images,
        ..
    } = input;
    let graph = origin::Graph::new(lock);
    let mut report = report::Builder::new(policy::waivers(family));
    for locked in images {
        let Some(image) = image::Image::new(family, lock, locked, &graph) else {
            continue;
        };
        let mut findings = Vec::new();
        findings.extend(cuda::find(&image));
        findings.extend(released::find(&image));
        findings.extend(structure::over_budget(&image));
        match libraries::find(&image, input) {
            Ok(found) => {
                findings.extend(found.findings);
                report.want(found.wanted);
            }
            Err(missing) => report.miss(&locked.name, missing),
        }
        for finding in findings {
            report.add(&image, finding);
        }
    }
    let whole: BTreeSet<_> = images
        .iter()
        .map(|image| (&image.name, image.platform))
        .collect();
    if whole.len() == lock.images.len() {
        for finding in structure::find(family, lock) {
            report.add_of_family(finding);
        }
        report.unused_waivers();
    }
    report.finish()
}
