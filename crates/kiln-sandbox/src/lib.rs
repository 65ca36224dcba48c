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
//!
//! # The way of a job
//!
//! [`Sandbox::run`] starts a worker (`process`) and writes its id maps (`ids`). The worker enters
//! the other namespaces, unpacks what is missing, mounts the tree (`tree`, `mounts`) and forks
//! init (`init`), which makes the tree its root and does the steps. A command has Docker's default
//! capabilities in the user namespace, a seccomp filter (`seccomp`), no descriptor but its output,
//! and a fixed layout of memory (`command`). When init and all that ran below it have ended, the
//! worker reads what they wrote and tells kiln.
//!
//! # Invariants
//!
//! - What a job gives depends on the job alone: not on the kind of ids, nor on how the tree is
//!   made. Where a single id is mapped, owners are recorded (`tree`), and calls that change or tell
//!   owners are answered by init (`owner_calls`).
//! - Nothing that a job started outlives [`Sandbox::run`], however that ends; if kiln itself is
//!   killed, the kernel kills the worker, and with it init and everything below.
//! - Commands have no way to the host: no network, no file, no environment, no descriptor but their output
//!   and the channels that the caller gives a job.
//! - Linux 5.12 is enough; the kernel's newer calls do not exist for commands.

mod call_target;
mod command;
mod crowd;
mod error;
mod ids;
mod init;
mod kept;
mod leftovers;
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
mod space;
mod spec;
mod start;
mod steps;
mod sys;
mod tail;
mod tree;
mod worker;

pub use error::{ExitStatus, Resource, SandboxError};
pub use leftovers::has_leftovers;
pub use sandbox::{Captured, Sandbox};
pub use spec::{
    Bind, Choice, Command, IdChoice, Interactive, Job, LayerBlob, Limits, NetworkMode, Step,
    TreeChoice, Volume,
};
pub use tree::{Cause, TreeError};
pub use worker::worker_main;
