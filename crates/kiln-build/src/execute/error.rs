//! Why an action gave nothing.

use std::io;

use kiln_digest::Digest;
use kiln_layer::{EntryPathError, LayerError, MergeError};
use kiln_package::{deb::DebError, wheel::WheelError};
use kiln_plan::ACTION_FORMAT;
use kiln_recipe::Platform;
use kiln_sandbox::SandboxError;

use crate::{bytecode::BytecodeError, configure::ConfigureError, wheel::BuildWheelError};

/// Why an action gave no layer.
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError {
    /// Made by a kiln with another meaning of actions.
    #[error("the action has format {0}; this kiln knows format {ACTION_FORMAT}")]
    Format(u32),
    /// An input cannot be read.
    #[error("cannot read {what} ({digest})")]
    Input {
        /// Its file name.
        what: String,
        /// Its digest.
        digest: Digest,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A wheel is not one.
    #[error("cannot unpack {file}")]
    Wheel {
        /// Its file name.
        file: String,
        /// Why.
        #[source]
        source: WheelError,
    },
    /// A Debian package is not one.
    #[error("cannot unpack {file}")]
    Deb {
        /// Its file name.
        file: String,
        /// Why.
        #[source]
        source: DebError,
    },
    /// The packages do not fit together.
    #[error(transparent)]
    Merge(#[from] MergeError),
    /// A destination is not a path in an image.
    #[error("a destination of the action is not usable")]
    Path(#[from] EntryPathError),
    /// The layer cannot be written.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// The blob cannot be written.
    #[error("the result cannot be written")]
    Blob(#[source] io::Error),
    /// The result of another action is not at hand.
    #[error("the result of action {0} is not there")]
    NoResult(Digest),
    /// The result of another action is a blob where a layer is needed.
    #[error("action {0} gives no layer")]
    NotALayer(Digest),
    /// Programs of another platform cannot be run here.
    #[error("this machine cannot run programs for {0}")]
    ForeignPlatform(Platform),
    /// The sandbox refused, or what ran in it failed.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// The result of another action is a layer where a blob is needed.
    #[error("action {0} gives no blob")]
    NotABlob(Digest),
    /// The result of another action has rotted in the store.
    #[error("blob {0} is damaged")]
    DamagedBlob(Digest),
    /// Packages cannot be configured.
    #[error(transparent)]
    Configure(#[from] ConfigureError),
    /// Modules cannot be compiled, or their layer not be made.
    #[error(transparent)]
    Bytecode(#[from] BytecodeError),
    /// A wheel cannot be built.
    #[error("no wheel can be built of {sdist}")]
    BuildWheel {
        /// The source distribution.
        sdist: String,
        /// Why.
        #[source]
        source: BuildWheelError,
    },
}

impl ExecuteError {
    /// What a user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Merge(error) => error.hint(),
            Self::Wheel { source, .. } => source.hint().or_else(other_version),
            Self::Deb { source, .. } => source.hint().or_else(other_version),
            Self::Layer(error) => error.hint(),
            Self::Format(_) => Some("use the kiln that planned it, or plan again".into()),
            Self::Sandbox(error) => error.hint(),
            Self::Configure(error) => error.hint(),
            Self::Bytecode(error) => error.hint(),
            Self::ForeignPlatform(platform) => Some(format!(
                "build on a machine for {platform}, or `--pack-only`, which runs nothing"
            )),
            Self::DamagedBlob(_) => Some(
                "`kiln store verify` removes what is damaged; the next build makes it again".into(),
            ),
            Self::Input { .. } => Some(
                "`kiln store verify` removes what is damaged; the next build fetches or makes it \
                 again"
                    .into(),
            ),
            Self::NoResult(_) | Self::NotALayer(_) | Self::NotABlob(_) => Some(
                "`--inputs` needs the results of other actions too: docs/commands.md says how"
                    .into(),
            ),
            Self::BuildWheel { .. } => {
                Some("`kiln build -v` shows what its build back end says".into())
            }
            Self::Path(_) | Self::Blob(_) => None,
        }
    }

    /// Whether the bytes of an input may be the cause, as opposed to what they mean or to the
    /// machine.
    pub(crate) fn blames_input(&self) -> bool {
        matches!(
            self,
            Self::Input { .. } | Self::Wheel { .. } | Self::Deb { .. } | Self::Layer(_)
        )
    }
}

/// What to do about a package that its publisher made wrongly.
#[expect(
    clippy::unnecessary_wraps,
    reason = "it stands in for a hint that may be missing"
)]
fn other_version() -> Option<String> {
    Some("require another version of the package, and tell who publishes it".into())
}
