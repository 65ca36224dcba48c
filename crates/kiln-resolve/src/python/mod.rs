//! Python: from the requirements of components to wheels, and which component brings which.
//!
//! # Words
//!
//! - A **universe** is everything that is solved together: base, accelerator, a bundle's chain,
//!   and every IDE that stands on that bundle; for one [`Target`].
//! - A **pin** is a project at one version; a universe has one for each project.
//! - A **contribution** is what one component adds to the wheels of those below it.
//!
//! # Algorithm
//!
//! uv chooses the pins ([`compile`]); its output names one wheel for each ([`pylock`],
//! [`wheel_name`]). Each wheel's `METADATA` says what it requires ([`lock_wheels`],
//! [`metadata`]); from that the contributions follow ([`contributions`], [`closure`]).
//!
//! # Invariants
//!
//! - No code of any package runs. Nothing is asked but the host's primary index and the sources
//!   that components name, each for its own projects alone ([`routes`]).
//! - Every pin is in exactly one contribution of the chain, or in those of one or more IDEs.

pub mod closure;
pub mod compile;
pub mod configuration;
mod conflict;
pub mod metadata;
pub mod pylock;
pub mod routes;
pub mod target;
pub mod tool;
pub mod wheel_name;

use std::{
    collections::{BTreeMap, BTreeSet},
    str::FromStr,
};

use kiln_digest::Digest;
use kiln_fetch::{FetchError, Fetcher, SourceError};
use kiln_lock::{PackageId, Wheel};
use kiln_recipe::Requirement;
use pep508_rs::PackageName;

use crate::{ResolveError, build::BuildFailure};

use self::{
    closure::{Closure, MissingPin, Requires},
    compile::CompileError,
    metadata::{Metadata, MetadataError},
    pylock::Choice,
    routes::RouteError,
    target::{Target, TargetError},
    tool::ToolError,
    wheel_name::{WheelName, WheelNameError},
};

/// The name of the source that wheels come from that have no index of their own.
pub const SOURCE: &str = kiln_fetch::PRIMARY_PYTHON_INDEX;

/// Why a universe could not be locked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PythonError {
    /// There is no uv.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// uv chose nothing.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// A project does not come from where it must.
    #[error(transparent)]
    Route(#[from] RouteError),
    /// It is not known where the index lives.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A page or metadata cannot be fetched.
    #[error("what {what} requires cannot be learnt")]
    Fetch {
        /// The project or file.
        what: String,
        /// Why.
        #[source]
        cause: Box<FetchError>,
    },
    /// A file that is no wheel.
    #[error(transparent)]
    WheelName(#[from] WheelNameError),
    /// A wheel's metadata cannot be used.
    #[error("{file} cannot be used")]
    Metadata {
        /// The wheel.
        file: String,
        /// Why.
        #[source]
        cause: MetadataError,
    },
    /// The index names a file's digest in two ways.
    #[error("source `{from}` announces two files as {file}: {chosen} and {announced}")]
    TwoDigests {
        /// The source.
        from: String,
        /// The wheel.
        file: String,
        /// What uv was told.
        chosen: Digest,
        /// What the project's page says now.
        announced: Digest,
    },
    /// The project's page has no such file (any more).
    #[error("source `{from}` does not list {file}")]
    NotListed {
        /// The source.
        from: String,
        /// The wheel.
        file: String,
    },
    /// The index does not say how large a file is.
    #[error("source `{from}` does not say how large {file} is")]
    NoSize {
        /// The source.
        from: String,
        /// The wheel.
        file: String,
    },
    /// Requirements lead to a project without a pin.
    #[error(transparent)]
    MissingPin(#[from] MissingPin),
    /// The network is needed and switched off.
    #[error("Python packages must be chosen anew, and the network is off")]
    Offline,
    /// Pins that nothing requires.
    #[error("nothing requires {}, which uv chose", names.join(", "))]
    Unreached {
        /// The projects.
        names: Vec<String>,
    },
    /// The target makes no sense.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// A project is to be built from source, and its wheel cannot be.
    #[error("no wheel can be built of {file}")]
    Build {
        /// The project, normalised.
        project: String,
        /// The source distribution.
        file: String,
        /// Why.
        #[source]
        cause: BuildFailure,
    },
    /// A build requirement that is none, or comes by URL.
    #[error("{file} requires `{requirement}` to be built, which is no requirement of an index")]
    BuildRequirement {
        /// The source distribution.
        file: String,
        /// The requirement.
        requirement: String,
    },
    /// The OS packages of a build environment cannot be chosen.
    #[error("the OS packages to build `{project}` with cannot be chosen")]
    BuildPackages {
        /// The project.
        project: String,
        /// Why.
        #[source]
        cause: Box<ResolveError>,
    },
    /// Every version that was built ruled itself out.
    #[error("{tries} versions were built from source, and none of them fits the others")]
    Restless {
        /// How many.
        tries: usize,
    },
}

impl PythonError {
    /// What a person can do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Tool(error) => error.hint(),
            Self::Compile(error) => error.hint(),
            Self::Route(error) => error.hint(),
            Self::Source(error) => error.hint(),
            Self::Fetch { cause, .. } => cause.hint(),
            Self::TwoDigests { .. } | Self::NotListed { .. } => {
                Some("the index changed just now; try again".to_owned())
            }
            Self::NoSize { .. } => {
                Some("use an index with the JSON form of project pages (PEP 691, 700)".to_owned())
            }
            Self::MissingPin(_) | Self::Unreached { .. } => Some(
                "this is an error of kiln: uv's choice and the wheels' metadata disagree"
                    .to_owned(),
            ),
            Self::Offline => Some("lock once without `--offline`".to_owned()),
            Self::Build { cause, .. } => cause.hint.clone(),
            Self::BuildPackages { cause, .. } => cause.hint(),
            Self::Restless { .. } => {
                Some("name the version of the project that is built from source".to_owned())
            }
            Self::WheelName(_)
            | Self::Metadata { .. }
            | Self::BuildRequirement { .. }
            | Self::Target(_) => None,
        }
    }

    /// Whether the network, or a source, is at fault rather than the family.
    pub fn is_network(&self) -> bool {
        match self {
            Self::Route(error) => error.is_network(),
            Self::Source(_)
            | Self::Fetch { .. }
            | Self::Offline
            | Self::Tool(ToolError::Fetch { .. })
            | Self::Compile(CompileError::Broken { .. }) => true,
            _ => false,
        }
    }
}

/// Completes what uv chose to what the lock says, in the order of `choices`: source, size and
/// requirements of each wheel.
///
/// Where `keep` has the project at the chosen version from the same source, that very wheel is
/// taken, whatever files the index has gained since. Wheels in `known` need no network when uv chose the same file.
pub fn lock_wheels(
    fetcher: &Fetcher,
    choices: &[Choice],
    keep: &[&Wheel],
    known: &[&Wheel],
) -> Result<Vec<Wheel>, PythonError> {
    let keep: BTreeMap<[&str; 3], &Wheel> = keep
        .iter()
        .map(|it| ([&*it.source, &*it.name, &*it.version], *it))
        .collect();
    let known: BTreeMap<([&str; 2], Digest), &Wheel> = known
        .iter()
        .map(|it| (([&*it.source, &*it.file], it.sha256), *it))
        .collect();
    let locked = |choice: &Choice| {
        let (source, version) = (choice.source.as_str(), choice.version.to_string());
        let kept = keep.get(&[source, choice.name.as_ref(), &version]);
        kept.or_else(|| known.get(&([source, &choice.file], choice.sha256)))
            .map(|it| (*it).clone())
    };
    let mut wheels: Vec<Option<Wheel>> = choices.iter().map(locked).collect();
    let new: Vec<&Choice> = choices
        .iter()
        .zip(&wheels)
        .filter(|(_, it)| it.is_none())
        .map(|(it, _)| it)
        .collect();
    let mut learnt = fetch_wheels(fetcher, &new)?.into_iter();
    for wheel in &mut wheels {
        *wheel = wheel.take().or_else(|| learnt.next());
    }
    Ok(wheels.into_iter().flatten().collect())
}

fn fetch_wheels(fetcher: &Fetcher, choices: &[&Choice]) -> Result<Vec<Wheel>, PythonError> {
    let projects = choices
        .iter()
        .map(|choice| (choice.source.clone(), choice.name.to_string()))
        .collect();
    let mut files = Vec::with_capacity(choices.len());
    for (choice, page) in choices.iter().zip(fetcher.project_pages(projects)) {
        let page = page.map_err(|cause| PythonError::Fetch {
            what: choice.name.to_string(),
            cause: Box::new(cause),
        })?;
        let file = page
            .file(&choice.file)
            .ok_or_else(|| PythonError::NotListed {
                from: choice.source.clone(),
                file: choice.file.clone(),
            })?;
        if let Some(announced) = file.sha256.filter(|announced| *announced != choice.sha256) {
            let chosen = choice.sha256;
            return Err(PythonError::TwoDigests {
                from: choice.source.clone(),
                file: choice.file.clone(),
                chosen,
                announced,
            });
        }
        files.push(file.clone());
    }
    let sizes: Vec<Option<u64>> = files.iter().map(|file| file.size).collect();
    let texts = fetcher.metadata_all(files);
    let mut wheels = Vec::with_capacity(choices.len());
    for ((choice, size), text) in choices.iter().zip(sizes).zip(texts) {
        let text = text.map_err(|cause| PythonError::Fetch {
            what: choice.file.clone(),
            cause: Box::new(cause),
        })?;
        wheels.push(lock_wheel(choice, size, &text)?);
    }
    Ok(wheels)
}

fn lock_wheel(choice: &Choice, size: Option<u64>, text: &str) -> Result<Wheel, PythonError> {
    let file = &choice.file;
    let unusable = |cause| PythonError::Metadata {
        file: file.clone(),
        cause,
    };
    let metadata = Metadata::parse(text).map_err(unusable)?;
    metadata
        .check(&WheelName::from_str(file)?)
        .map_err(unusable)?;
    for requirement in &metadata.requires {
        metadata::parse_requirement(requirement).map_err(unusable)?;
    }
    let size = size.or(choice.size);
    Ok(Wheel {
        id: PackageId(format!("{}/{file}", choice.source)),
        name: choice.name.to_string(),
        version: choice.version.to_string(),
        source: choice.source.clone(),
        file: file.clone(),
        size: size.ok_or_else(|| PythonError::NoSize {
            from: choice.source.clone(),
            file: file.clone(),
        })?,
        sha256: choice.sha256,
        requires: metadata.requires,
        built_from: None,
    })
}

/// Which wheels each component adds. Ids are sorted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contributions {
    /// For each component of the chain (base, accelerator, bundles), what is not below it.
    pub chain: Vec<Vec<PackageId>>,
    /// For each IDE, what the whole chain does not have.
    pub ides: Vec<Vec<PackageId>>,
}

/// Divides the wheels of a universe among its components: `chain` from the bottom to the leaf
/// bundle, then each of `ides` on top of that, beside each other.
pub fn contributions(
    wheels: &[Wheel],
    target: &Target,
    chain: &[&[Requirement]],
    ides: &[&[Requirement]],
) -> Result<Contributions, PythonError> {
    let mut requires = Requires::new();
    let mut by_name = BTreeMap::new();
    for wheel in wheels {
        let unusable = |cause| PythonError::Metadata {
            file: wheel.file.clone(),
            cause,
        };
        let name = WheelName::from_str(&wheel.file)?.name;
        let parsed: Result<_, _> = wheel
            .requires
            .iter()
            .map(|text| metadata::parse_requirement(text))
            .collect();
        requires.insert(name.clone(), parsed.map_err(unusable)?);
        by_name.insert(name, wheel.id.clone());
    }
    let sorted = |names: BTreeSet<PackageName>| {
        let mut sorted: Vec<PackageId> = names
            .iter()
            .filter_map(|name| by_name.get(name).cloned())
            .collect();
        sorted.sort();
        sorted
    };
    let markers = target.markers()?;
    let mut below = Closure::new(&requires, &markers);
    let mut found = Contributions {
        chain: Vec::new(),
        ides: Vec::new(),
    };
    for roots in chain {
        found
            .chain
            .push(sorted(below.add(roots.iter().map(|it| &it.parsed))?));
    }
    for roots in ides {
        found.ides.push(sorted(
            below.clone().add(roots.iter().map(|it| &it.parsed))?,
        ));
    }
    let reached: BTreeSet<&PackageId> = found.chain.iter().chain(&found.ides).flatten().collect();
    let unreached: Vec<String> = by_name
        .iter()
        .filter(|(_, id)| !reached.contains(id))
        .map(|(name, _)| format!("`{name}`"))
        .collect();
    if unreached.is_empty() {
        Ok(found)
    } else {
        Err(PythonError::Unreached { names: unreached })
    }
}
