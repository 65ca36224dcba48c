//! What a build tells whoever watches it.

use std::time::Duration;

/// Something that happened. Steps are named by their index in the plan; steps that run together
/// by that of the first.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// The work is known.
    Started {
        /// Steps in the plan.
        steps: usize,
        /// Steps whose result is known already.
        known: usize,
        /// Files to download.
        downloads: usize,
        /// Bytes to download.
        download_bytes: u64,
    },
    /// A download did something.
    Fetch(kiln_fetch::Event),
    /// A step began.
    StepStarted {
        /// Index of the step.
        step: usize,
        /// For people.
        title: String,
    },
    /// A command of a step printed something.
    StepOutput {
        /// Index of the step.
        step: usize,
        /// What it printed, as it came: perhaps part of a line, perhaps not text.
        bytes: Vec<u8>,
    },
    /// A step's result is in the store.
    StepFinished {
        /// Index of the step.
        step: usize,
        /// How many steps ended with it.
        steps: usize,
        /// For people.
        title: String,
        /// Compressed size in bytes.
        size: u64,
        /// How long it took.
        took: Duration,
    },
    /// A step failed. When steps ran together, each is tried by itself next.
    StepFailed {
        /// Index of the step.
        step: usize,
    },
    /// Images cannot be built; the others go on.
    GivenUp {
        /// Their names.
        images: Vec<String>,
        /// What failed, in a few words. The whole error is in what the build gives at its end.
        why: String,
        /// How many images go on.
        left: usize,
    },
    /// An input had rotted in the store and is fetched again.
    Repaired {
        /// Its file name.
        what: String,
    },
    /// An image is in the store.
    ImageFinished {
        /// Its name.
        name: String,
    },
}
