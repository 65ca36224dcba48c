//! Executes plans: actions → layers in the store → images.
//!
//! # Words
//!
//! - **known**: a step whose result the store already holds. It is skipped, its inputs are not
//!   even looked at.
//! - **ready**: a step whose inputs are all there.
//! - **goal**: the layers of one image. Steps are shared; a step is *wanted* as long as a goal
//!   that can be reached needs it.
//!
//! # Algorithm
//!
//! One look at the store says which steps are known. The inputs of the others are downloaded,
//! largest first, while a pool of workers takes ready steps, largest first (the largest layer
//! decides when the build ends). A budget bounds what the running steps may hold in memory. Each
//! layer is written under a temporary name, synced and renamed; then its result is recorded. At
//! last each image gets its configuration and manifest.
//!
//! A step or a download that fails takes the goals with it that need it: they are given up, and
//! steps that no other goal needs are dropped. What makes the store or the whole build doubtful
//! (an interrupt, damage in the store, a full disk) ends everything at once.
//!
//! # Invariants
//!
//! - A result is recorded only after its blob is durable: a kill at any instant leaves nothing
//!   that a later build would trust wrongly.
//! - An input is read only after its SHA-256 was verified, by the download that brought it. An
//!   action that fails on its input rehashes it; a file that rotted in the store since is fetched
//!   again, once.
//! - [`execute`] reads the action and its inputs and nothing else.

mod anatomy;
mod assemble;
mod build;
mod bytecode;
mod configure;
mod early;
mod error;
mod event;
mod execute;
#[doc(hidden)]
pub mod fuzzing;
mod goals;
mod inputs;
mod libraries;
mod outline;
mod ready;
mod repeat;
mod run;
mod schedule;
mod shared;
mod step;
mod transfer;
mod verify;
mod wheel;

pub use anatomy::{Anatomy, Bytes, Tree, anatomy};
pub use assemble::result;
pub use build::{Builder, Built, BuiltImage, BuiltLayer, Done, Options, Timings};
pub use bytecode::BytecodeError;
pub use configure::{ConfigureError, KeyStoreError};
pub use error::{BuildError, is_full};
pub use event::Event;
pub use execute::{Context, ExecuteError, Found, OpenInput, Summary, execute};
pub use goals::Setback;
pub use inputs::FamilyFiles;
pub use libraries::{LibraryArchive, LibraryError, Package};
pub use verify::{ImageComparison, LayerComparison, Verdict, compare_image};
pub use wheel::{BuildWheelError, DescribeError, describe, requires};
