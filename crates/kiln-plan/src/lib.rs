//! Lock → plan: which actions make which layers of which images. Pure: no files, no clock, no
//! threads.
//!
//! # Words
//!
//! - **action**: data that describes one pure function from declared inputs to one layer.
//! - **key**: the SHA-256 of an action's canonical encoding. Same key, same bytes.
//! - **step**: an action in a plan, with what it takes to run it: inputs and where they come from.
//!
//! # Algorithm
//!
//! An image is a list of sets (see `kiln-lock`), base first. Each set becomes layers: one for
//! every package whose archive is [`OWN_LAYER`] or larger, one for the rest of its Debian
//! packages, one for the rest of its wheels, one for the family's own files. Steps with the same
//! key are one step, whoever needs it.
//!
//! # Invariants
//!
//! - An image's steps depend on nothing but its own sets and configuration: adding, changing or
//!   removing another image changes no key of it (a property test).
//! - The key of a package with a layer of its own depends on that package, where it goes, who owns
//!   it, and the formats: nothing else of the image.
//! - No image has more than [`MAX_LAYERS`] layers: the threshold doubles until it fits.

mod action;
mod command;
mod compile;
mod config;
mod draft;
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
pub use graph::{dot, mermaid};
pub use layers::{MAX_LAYERS, OWN_LAYER, installed_by_dpkg, usr_merge};
pub use plan::{ImagePlan, Input, LayerUse, Origin, Plan, PlanError, PlanOptions, Step, plan};
pub use source::{Source, source_plan};
