//! Why a family could not be locked.

use kiln_fetch::FetchError;
use kiln_recipe::ComponentId;

use crate::{
    deb::{DebError, SolveError},
    python::PythonError,
};

/// Why a family could not be locked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// The archives of a base or an accelerator cannot be used.
    #[error("the archives of {} `{}` cannot be used", component.kind, component.name)]
    Archives {
        /// The base or accelerator.
        component: ComponentId,
        /// Why.
        #[source]
        cause: Box<DebError>,
    },
    /// The OS packages of a set cannot be chosen.
    #[error("the OS packages of `{set}` cannot be chosen")]
    Os {
        /// The set.
        set: String,
        /// Why.
        #[source]
        cause: Box<SolveError>,
    },
    /// The Python packages of a universe cannot be chosen.
    #[error("the Python packages of `{set}` cannot be chosen")]
    Python {
        /// The set of its bundle.
        set: String,
        /// Why.
        #[source]
        cause: Box<PythonError>,
    },
    /// It cannot be told which wheels fit a base.
    #[error("the C library of base `{base}` is not known")]
    NoLibc {
        /// The base.
        base: String,
    },
    /// It cannot be learnt whether a locked file is still there.
    #[error("whether `{project}` is still there cannot be learnt")]
    Gone {
        /// The project.
        project: String,
        /// Why.
        #[source]
        cause: Box<FetchError>,
    },
    /// It cannot be learnt which versions a project has.
    #[error("which versions of `{project}` there are cannot be learnt")]
    Versions {
        /// The project.
        project: String,
        /// Why.
        #[source]
        cause: Box<FetchError>,
    },
}

impl ResolveError {
    /// What a person can do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Archives { cause, .. } => cause.hint(),
            Self::Os { cause, .. } => match **cause {
                SolveError::Unlisted { .. } => Some(
                    "mirrors drop old versions: `kiln lock --relock-gone` moves such packages, \
                     and only them"
                        .to_owned(),
                ),
                _ => cause.hint(),
            },
            Self::Python { cause, .. } => cause.hint(),
            Self::NoLibc { .. } => {
                Some("add `libc6` to the packages of the base, or name a known suite".to_owned())
            }
            Self::Gone { cause, .. } | Self::Versions { cause, .. } => cause.hint(),
        }
    }

    /// Whether the network, or a source, is at fault rather than the family.
    pub fn is_network(&self) -> bool {
        match self {
            Self::Gone { .. } | Self::Versions { .. } => true,
            Self::Python { cause, .. } => cause.is_network(),
            Self::Archives { cause, .. } => matches!(**cause, DebError::Fetch { .. }),
            Self::Os { .. } | Self::NoLibc { .. } => false,
        }
    }
}
