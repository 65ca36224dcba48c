//! Lock → plan: which actions make which layers of which images. Pure: no files, no clock, no
//! threads.
//!
//! # Words
//!
//! - **action**: data that describes one pure function from declared inputs to one layer or blob.
//! - **key**: the SHA-256 of an action's canonical encoding. Same key, same bytes.
//! - **step**: an action in a plan, with what it takes to run it: inputs and where they come from.
//!
//! # Algorithm
//!
//! An image is a list of sets (see `kiln-lock`), base first. Each set becomes layers, bottom first:
//!
//! 1. its Debian packages: one layer for every package whose archive is as large as [`OWN_LAYER`]
//!    says and for every package that dpkg itself must install ([`installed_by_dpkg`]), one for the rest;
//! 2. what their maintainer scripts change, on all layers of the operating system so far;
//! 3. the Python tree, in the base;
//! 4. its wheels: those with a layer of their own first, each below its compiled modules, then the
//!    rest below theirs. Large wheels of binaries, which have hardly a module, share the layer of
//!    compiled modules of the rest. Modules are compiled wheel by wheel, by the interpreter and
//!    what it depends on, so that nothing else of the base compiles them anew;
//! 5. the family's own files;
//! 6. what each command of the family changes, on all layers so far.
//!
//! The environment of images with CUDA is computed from the accelerator and from what is locked
//! (module `cuda`).
//!
//! An image that is packed only has the dpkg database of unpacked packages instead of 2, and
//! neither compiled modules nor 6. Steps with the same key are one step, whoever needs it; steps
//! stand after those whose results they read.
//!
//! # Invariants
//!
//! - An image's steps depend on nothing but its own sets and configuration: adding, changing or
//!   removing another image changes no key of it (a property test).
//! - The key of a package with a layer of its own depends on that package, where it goes, who owns
//!   it, and the formats: nothing else of the image.
//! - No image has more than [`MAX_LAYERS`] layers: the thresholds double until it fits.

mod action;
mod command;
mod compile;
mod config;
mod cuda;
mod draft;
mod error;
mod graph;
mod layers;
mod plan;
mod source;

pub use action::{
    ACTION_FORMAT, Action, Archive, BuildProduct, BuildWheel, Bytecode, Compression, Configure,
    DebDatabase, Files, Kind, MountedArtifact, PackBytecode, PackDebs, PackWheels, PlacedFile,
    Placement, Run, UserEntry, Venv,
};
pub use config::{ImageConfig, LABEL_KEYS};
pub use error::{PlanError, Unplanned};
pub use graph::{dot, mermaid};
pub use layers::{MAX_LAYERS, OWN_LAYER, Thresholds, installed_by_dpkg, usr_merge};
pub use plan::{ImagePlan, Input, LayerUse, Origin, Plan, PlanOptions, Step, plan, plan_possible};
pub use source::{Source, source_plan};
