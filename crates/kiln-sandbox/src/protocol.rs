//! What kiln and the worker say to each other, and where the worker finds its descriptors.
//!
//! A message is its length (four bytes, little-endian) and JSON. The conversation: kiln sends a
//! [`Request`]; the worker enters its user namespace and says [`Reply::Unshared`]; kiln writes the
//! id maps and sends [`Go`]; the worker does the task and tells its end, and for a program of
//! people its start. While a task runs each byte from kiln is the number of a signal for the
//! command.

use std::{
    io::{self, Read, Write},
    path::PathBuf,
};

use kiln_digest::Digest;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    Cause, ExitStatus, Interactive, Job, LayerBlob, Resource, SandboxError, TreeError,
    tree::{Changes, Owners},
};

/// The first argument of a worker.
pub(crate) const WORKER: &str = "sandbox-worker";
/// The worker's end of the conversation.
pub(crate) const CONTROL_FD: i32 = 3;
/// Where commands print to.
pub(crate) const OUTPUT_FD: i32 = 4;
/// Where the content of captured files goes.
pub(crate) const SPOOL_FD: i32 = 5;
/// The first of the channels that the caller gave a job; commands have them under the same numbers.
pub(crate) const CHANNELS_FD: i32 = 6;

/// More than any message needs; a longer one comes from something that is no worker.
const MAX_MESSAGE: u32 = 1 << 30;

/// What a worker is for.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Request {
    /// kiln's process; the worker ends when it is gone.
    pub(crate) parent: u32,
    /// How owners are kept.
    pub(crate) owners: Owners,
    /// The store's directory of unpacked layers.
    pub(crate) rootfs: PathBuf,
    /// Names the mapping of ids.
    pub(crate) label: String,
    /// What to do.
    pub(crate) task: Task,
}

/// What a worker does.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Task {
    /// Finds out in this empty directory whether overlayfs can be mounted.
    Probe(PathBuf),
    /// Runs a job.
    Run {
        /// The job.
        job: Job,
        /// Where its tree is made.
        place: Place,
        /// How many channels there are.
        channels: i32,
    },
    /// Runs a program for people.
    Start {
        /// The program.
        program: Interactive,
        /// Where its tree is made.
        place: Place,
        /// Files to mount read-only.
        binds: Vec<crate::Bind>,
        /// Whether standard input is a terminal that the program should have.
        terminal: bool,
    },
    /// Unpacks what is not unpacked yet.
    Unpack(Vec<LayerBlob>),
    /// Unpacks the layer that comes on the first channel.
    Receive,
    /// Removes these directories.
    Remove(Vec<PathBuf>),
}

/// The writable part of a tree on disk.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Place {
    /// The scratch directory.
    pub(crate) directory: PathBuf,
    /// Whether overlayfs is used; else copies.
    pub(crate) overlay: bool,
    /// Whether there is a tree in it already, of a job that failed.
    pub(crate) resumed: bool,
}

/// Kiln's second message: the ids are mapped.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Go;

/// What a worker says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Reply {
    /// It is in its user namespace and waits for its ids.
    Unshared,
    /// Probed: whether overlayfs can be mounted.
    Overlay(bool),
    /// A job's changes.
    Captured(Changes),
    /// The tree of a `Start` is there: the program is about to start.
    Started,
    /// The program of a `Start` ended.
    Ended(ExitStatus),
    /// This many of the layers that were not unpacked yet are so now.
    Unpacking {
        /// How many.
        done: usize,
        /// Of how many.
        all: usize,
    },
    /// Everything is unpacked.
    Unpacked,
    /// The diff ID of the layer that came, which is unpacked.
    Received(Digest),
    /// Everything was removed.
    Removed,
    /// It did not work.
    Failed(Failure),
}

/// Why a worker could not do its task.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Failure {
    /// No user namespace.
    UserNamespace {
        /// What was refused.
        what: String,
        /// The system's error number.
        os_error: i32,
    },
    /// See [`SandboxError::CommandFailed`].
    Command {
        argv: Vec<String>,
        status: ExitStatus,
        cause: Option<Cause>,
    },
    /// See [`SandboxError::CommandNotStarted`].
    NotStarted { argv: Vec<String>, reason: String },
    /// See [`SandboxError::Limit`].
    Limit {
        resource: Resource,
        allowed: u64,
        found: u64,
    },
    /// See [`SandboxError::LeftProcesses`].
    Left(Vec<String>),
    /// See [`SandboxError::Step`].
    Step { step: String, cause: Cause },
    /// See [`SandboxError::Tree`].
    Tree(TreeError),
    /// See [`SandboxError::Setup`].
    Setup { what: String, cause: Cause },
}

impl Failure {
    /// For `map_err`: `what` could not be done while the sandbox was set up.
    pub(crate) fn setup<E: Into<Cause>>(what: impl Into<String>) -> impl FnOnce(E) -> Self {
        let what = what.into();
        move |error| Self::Setup {
            what,
            cause: error.into(),
        }
    }
}

impl From<TreeError> for Failure {
    fn from(error: TreeError) -> Self {
        Self::Tree(error)
    }
}

impl From<Failure> for SandboxError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::UserNamespace { what, os_error } => crate::refusal::explain(&what, os_error),
            // What was printed and where the tree is kept is known to kiln, not to the worker.
            Failure::Command {
                argv,
                status,
                cause,
            } => Self::CommandFailed {
                argv,
                status,
                cause,
                tail: Vec::new(),
                state: None,
            },
            Failure::NotStarted { argv, reason } => Self::CommandNotStarted { argv, reason },
            Failure::Limit {
                resource,
                allowed,
                found,
            } => Self::Limit {
                resource,
                allowed,
                found,
            },
            Failure::Left(names) => Self::LeftProcesses { names },
            Failure::Step { step, cause } => Self::Step { step, cause },
            Failure::Tree(error) => Self::Tree(error),
            Failure::Setup { what, cause } => Self::Setup { what, cause },
        }
    }
}

/// Sends a message.
pub(crate) fn send(mut to: impl Write, message: &impl Serialize) -> io::Result<()> {
    let json = serde_json::to_vec(message)?;
    let length = u32::try_from(json.len()).map_err(|_| io::ErrorKind::FileTooLarge)?;
    let mut bytes = length.to_le_bytes().to_vec();
    bytes.extend(json);
    to.write_all(&bytes)
}

/// Receives a message; `None` at the end of the conversation.
pub(crate) fn receive<T: DeserializeOwned>(mut from: impl Read) -> io::Result<Option<T>> {
    let mut length = [0; 4];
    match from.read_exact(&mut length) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        result => result?,
    }
    let length = u32::from_le_bytes(length);
    if length > MAX_MESSAGE {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut json = Vec::new();
    from.take(length.into()).read_to_end(&mut json)?;
    Ok(Some(serde_json::from_slice(&json)?))
}
