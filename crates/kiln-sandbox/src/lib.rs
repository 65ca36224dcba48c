//! Runs commands in root file systems made of layers, rootless, and says what they changed.
//!
//! # Words
//!
//! - *layer directory*: one layer, unpacked below the store's `rootfs/`;
//! - *tree*: layer directories on top of each other, and a writable directory on top of them;
//! - *worker*: this program, started again in a user namespace of its own; whatever touches a
//!   layer directory does so in a worker, because only there the owners of its files are mapped;
//! - *init*: the worker's child, process 1 of the sandbox: it runs the commands of a [`Job`] one
//!   after another, reaps orphans, watches limits;
//! - *capture*: what differs between the layers and the tree after the job.

mod call_target;
mod command;
mod error;
mod ids;
mod init;
mod kept;
mod limits;
mod mounts;
mod namespaces;
mod owner_calls;
mod process;
mod protocol;
mod refusal;
mod sandbox;
mod scratch;
mod seccomp;
mod spec;
mod start;
mod steps;
mod sys;
mod tail;
mod tree;
mod worker;

pub use error::{ExitStatus, Resource, SandboxError};
pub use sandbox::{Captured, Sandbox};
pub use spec::{
    Bind, Choice, Command, IdChoice, Interactive, Job, LayerBlob, Limits, NetworkMode, Step,
    TreeChoice, Volume,
};
pub use tree::{Cause, TreeError};
pub use worker::worker_main;
