//! What can go wrong in and around a sandbox.

use std::{fmt, io, path::PathBuf};

use serde::{Deserialize, Serialize};

use crate::{Cause, TreeError};

/// How a command ended that did not succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExitStatus {
    /// It gave this status.
    Exited(u8),
    /// It was ended by this signal.
    Signalled(i32),
}

impl ExitStatus {
    /// The status as a shell tells it: 128 and the number of the signal.
    pub fn code(self) -> u8 {
        match self {
            Self::Exited(code) => code,
            Self::Signalled(signal) => u8::try_from(128 + signal).unwrap_or(u8::MAX),
        }
    }

    /// From the status that `waitpid` gave.
    pub(crate) fn from_wait(status: i32) -> Self {
        if libc::WIFSIGNALED(status) {
            Self::Signalled(libc::WTERMSIG(status))
        } else {
            Self::Exited(u8::try_from(libc::WEXITSTATUS(status)).unwrap_or(u8::MAX))
        }
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "exited with status {code}"),
            Self::Signalled(signal) => write!(f, "was ended by signal {signal}"),
        }
    }
}

/// What a job used more of than its [`Limits`](crate::Limits) allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Resource {
    /// Seconds on the wall.
    Time,
    /// Bytes of anonymous memory.
    Memory,
    /// Processes and threads.
    Processes,
    /// Bytes written to the tree.
    Disk,
    /// Bytes of output.
    Output,
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Time => "seconds",
            Self::Memory => "bytes of memory",
            Self::Processes => "processes",
            Self::Disk => "bytes of disk",
            Self::Output => "bytes of output",
        })
    }
}

/// Why a sandbox could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The kernel, or whoever set this machine up, forbids user namespaces.
    #[error("this machine does not allow user namespaces: {reason}")]
    NoUserNamespaces {
        /// What forbids them.
        reason: String,
        /// What to do about it.
        hint: String,
    },
    /// The ids that were asked for cannot be had.
    #[error("the ids of the sandbox cannot be mapped: {reason}")]
    Ids {
        /// What is missing.
        reason: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// A command of the job did not succeed.
    #[error("`{}` {status}", shown(argv))]
    CommandFailed {
        /// The command.
        argv: Vec<String>,
        /// How it ended.
        status: ExitStatus,
        /// Why, where that is known: the disk is full.
        #[source]
        cause: Option<Cause>,
        /// The last lines that it printed.
        tail: Vec<String>,
        /// Where the tree is kept as the command left it, for
        /// [`Interactive::state`](crate::Interactive::state).
        state: Option<PathBuf>,
    },
    /// A command of the job could not be started.
    #[error("`{}` could not be started: {reason}", shown(argv))]
    CommandNotStarted {
        /// The command.
        argv: Vec<String>,
        /// Why.
        reason: String,
    },
    /// The job used more than it may; all its processes were killed.
    #[error("the limit of {allowed} {resource} was passed ({found})")]
    Limit {
        /// What there was too much of.
        resource: Resource,
        /// How much there may be.
        allowed: u64,
        /// How much there was when it was noticed.
        found: u64,
    },
    /// Processes still ran when the last step had ended; they were killed.
    #[error("the commands left processes running: {}", names.join(", "))]
    LeftProcesses {
        /// Their names.
        names: Vec<String>,
    },
    /// A step that is not a command failed.
    #[error("could not {step}")]
    Step {
        /// What was to be done.
        step: String,
        /// Why it could not.
        #[source]
        cause: Cause,
    },
    /// A layer could not be unpacked, or what the job changed cannot be captured.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// The caller's flag was set.
    #[error("cancelled")]
    Cancelled,
    /// The sandbox could not be set up.
    #[error("the sandbox cannot be set up: {what}")]
    Setup {
        /// What was being done.
        what: String,
        /// Why it could not.
        #[source]
        cause: Cause,
    },
    /// The worker ended without an answer.
    #[error("the process of the sandbox ended without an answer ({0})")]
    WorkerDied(String),
    /// Something outside the sandbox failed.
    #[error("{what}")]
    Io {
        /// What was being done.
        what: String,
        /// Why it could not.
        #[source]
        source: io::Error,
    },
}

impl SandboxError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoUserNamespaces { hint, .. } => Some(hint.clone()),
            Self::Ids { hint, .. } => hint.clone(),
            Self::Tree(error) => error.hint(),
            Self::LeftProcesses { .. } => {
                Some("a command of an action must not start services".to_owned())
            }
            Self::CommandNotStarted { .. } => Some(
                "the program must be in the image, be executable, and be named by its whole path"
                    .to_owned(),
            ),
            Self::Limit { .. } => Some(
                "a command that needs this much most likely does not end; `kiln build -v` shows \
                 what it prints"
                    .to_owned(),
            ),
            Self::Setup { .. } => Some(
                "`KILN_SANDBOX` chooses other ways, such as `tree=copy` or `ids=single`: see \
                 docs/troubleshooting.md; `--pack-only` needs no sandbox"
                    .to_owned(),
            ),
            Self::WorkerDied(_) => Some(
                "if memory ran out, `dmesg` says so; what is finished is kept, so run it again"
                    .to_owned(),
            ),
            Self::CommandFailed { .. } | Self::Step { .. } | Self::Cancelled | Self::Io { .. } => {
                None
            }
        }
    }

    /// Something outside the sandbox failed while doing `what`.
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}

/// A command for people: not longer than a line.
fn shown(argv: &[String]) -> String {
    let line = argv.join(" ").replace('\n', " ");
    if line.chars().count() <= 120 {
        line
    } else {
        line.chars().take(119).chain(['…']).collect()
    }
}
