//! Why no wheel could be built.

use kiln_package::{sdist::SdistError, wheel::WheelError};

/// Why a source distribution gave no wheel.
#[derive(Debug, thiserror::Error)]
pub enum BuildWheelError {
    /// The source distribution cannot be read.
    #[error(transparent)]
    Sdist(#[from] SdistError),
    /// The interpreter's name does not say its version.
    #[error("`{0}` does not end in `pythonX.Y`")]
    Interpreter(String),
    /// The build back end succeeded, and left no wheel or several.
    #[error("its build back end left {0} wheels instead of one")]
    Count(usize),
    /// What it requires is no list of texts.
    #[error("its build back end does not tell what it requires")]
    Requirements(#[source] Option<serde_json::Error>),
    /// The wheel that the back end wrote is not one.
    #[error("its build back end wrote a wheel that cannot be used")]
    Wheel(#[from] WheelError),
}
