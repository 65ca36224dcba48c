//! Why a build failed.

use std::{
    error::Error,
    io::{self, ErrorKind},
};

use kiln_digest::Digest;
use kiln_fetch::FetchError;
use kiln_oci::ImageError;
use kiln_plan::PlanError;
use kiln_sandbox::{Cause, SandboxError, TreeError};
use kiln_store::StoreError;

use crate::execute::ExecuteError;

/// Whether a full disk is at the bottom of an error.
pub fn is_full(error: &(dyn Error + 'static)) -> bool {
    let kind = |error: &(dyn Error + 'static)| {
        let here = error.downcast_ref::<io::Error>().map(io::Error::kind);
        // Errors of a sandbox come from another process.
        here.or_else(|| error.downcast_ref::<Cause>()?.kind())
    };
    std::iter::successors(Some(error), |&error| error.source())
        .filter_map(kind)
        .any(|kind| matches!(kind, ErrorKind::StorageFull | ErrorKind::QuotaExceeded))
}

/// Why a build failed. The store is intact; what was finished is kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// An input could not be had.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// A step failed.
    #[error("building `{title}`")]
    Step {
        /// The step, for people.
        title: String,
        /// The key of its action.
        key: Digest,
        /// Why.
        #[source]
        source: Box<ExecuteError>,
    },
    /// An action that was run twice gave two results.
    #[error("`{title}` gives something else each time: {difference}")]
    NotRepeatable {
        /// The step, for people.
        title: String,
        /// What differs.
        difference: String,
    },
    /// A wheel that is built from source came out other than when it was locked.
    #[error("the {title} was built anew, and is {found}; the lock says {expected}")]
    Unreproducible {
        /// The step that builds it.
        title: String,
        /// What the lock says.
        expected: Digest,
        /// What was built.
        found: Digest,
    },
    /// A file of the family is not the locked one.
    #[error("`{path}` is not the file that was locked ({expected})")]
    FamilyFile {
        /// Relative to the family's directory.
        path: String,
        /// What the lock says.
        expected: Digest,
    },
    /// An image has no plan.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Packages of different layers ship one path with different content.
    #[error("`{lower}` and `{upper}` both ship `{path}`, with different content")]
    Conflict {
        /// The path, absolute.
        path: String,
        /// The package below, or its layer.
        lower: String,
        /// The package above, or its layer.
        upper: String,
    },
    /// A layer of the store cannot be read.
    #[error("reading layer {digest}")]
    Layer {
        /// The layer.
        digest: Digest,
        /// Why.
        #[source]
        source: kiln_layer::ReadError,
    },
    /// The image cannot be described.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The user interrupted it.
    #[error("interrupted")]
    Interrupted,
}

impl BuildError {
    /// Whether it ends the build of all images, and not only of those that need what failed: an
    /// interrupt, a store or a disk that cannot be relied on.
    pub fn concerns_all(&self) -> bool {
        match self {
            Self::Interrupted | Self::Store(_) | Self::Layer { .. } => true,
            Self::Fetch(error) => matches!(
                error,
                FetchError::Disk { .. } | FetchError::Setup(_) | FetchError::Cancelled
            ),
            Self::Step { source, .. } => match source.as_ref() {
                ExecuteError::DamagedBlob(_)
                | ExecuteError::Blob(_)
                | ExecuteError::Sandbox(SandboxError::Tree(
                    TreeError::Damaged { .. } | TreeError::Layer { .. },
                )) => true,
                error => is_full(error),
            },
            Self::NotRepeatable { .. }
            | Self::Unreproducible { .. }
            | Self::FamilyFile { .. }
            | Self::Plan(_)
            | Self::Conflict { .. }
            | Self::Image(_) => false,
        }
    }

    /// What a user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Fetch(error) => error.hint(),
            Self::Step { source, .. } => source.hint(),
            Self::NotRepeatable { .. } => Some(
                "a clock, chance or an order that is not fixed decides what is in that file: \
                 make what writes it repeatable, or remove the file in the same step"
                    .into(),
            ),
            Self::Unreproducible { .. } => Some(
                "its build depends on something that is not in the lock, such as a clock or \
                 chance; build it elsewhere and depend on the wheel"
                    .into(),
            ),
            Self::FamilyFile { .. } => {
                Some("the file was changed since: `kiln lock` takes it as it is now".into())
            }
            Self::Plan(error) => error.hint(),
            Self::Store(error) => error.hint(),
            Self::Conflict { path, upper, .. } => Some(format!(
                "drop one of the two; or, if the upper one is to win, say so in `[winners]` with \
                 `\"{path}\" = \"{upper}\"`"
            )),
            Self::Layer { .. } => Some(
                "`kiln store verify` drops what is damaged, and the next build makes it again"
                    .into(),
            ),
            Self::Image(error) => error.hint(),
            Self::Interrupted => {
                Some("run it again: finished layers and downloads are kept".into())
            }
        }
    }
}
