//! What keeps a locked image from having a plan.

use crate::layers::MAX_LAYERS;

/// Why there is no plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The lock has no such image, or names a part that it lacks.
    #[error("the lock names {0}, which it does not hold")]
    Dangling(String),
    /// The family lacks a component that the lock names.
    #[error("image `{image}` needs {component}, which the family does not have")]
    NoComponent {
        /// The image.
        image: String,
        /// The component.
        component: String,
    },
    /// A value refers to a variable that nothing below sets.
    #[error("{at}: the value of `{variable}` uses `${{{missing}}}`, which nothing below it sets")]
    UndefinedVariable {
        /// Where the component is declared.
        at: String,
        /// The variable with the value.
        variable: String,
        /// The variable that is missing.
        missing: String,
    },
    /// Too many small parts: not even the largest threshold helps.
    #[error("image `{image}` would have {layers} layers; {MAX_LAYERS} are allowed")]
    TooManyLayers {
        /// The image.
        image: String,
        /// How many.
        layers: usize,
    },
}

impl PlanError {
    /// What a newcomer can do about it.
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Dangling(_) | Self::NoComponent { .. } => {
                "the lock is not one of this family as it is now: run `kiln lock`"
            }
            Self::UndefinedVariable { .. } => {
                "set it under `[env]` in a component below, or write out its value"
            }
            Self::TooManyLayers { .. } => {
                "each `[[run]]` and each component with files is a layer: put several commands \
                 into one, or several bundles into one"
            }
        };
        Some(text.to_owned())
    }
}

/// Images that have no plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unplanned {
    /// Their names.
    pub names: Vec<String>,
    /// Why.
    pub error: PlanError,
}
