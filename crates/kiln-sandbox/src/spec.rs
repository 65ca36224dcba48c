//! What a sandbox is asked to do, as plain data: it crosses from kiln to the worker as JSON.

use std::{path::PathBuf, time::Duration};

use kiln_digest::Digest;
use serde::{Deserialize, Serialize};

/// A layer of the root file system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerBlob {
    /// The digest of its tar stream; names the unpacked directory and is verified on unpacking.
    pub diff_id: Digest,
    /// The file that holds it, compressed or not.
    pub path: PathBuf,
}

/// How ids inside map to ids outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IdChoice {
    /// As root: every id as it is. Else subordinate ids where `/etc/subuid` and `newuidmap` give
    /// them, else the single id.
    #[default]
    Auto,
    /// Ids 0 to 65535 as they are. Needs root.
    Root,
    /// Id 0 is the caller, the others are the caller's subordinate ids.
    Subordinate,
    /// Id 0 is the caller, and there is no other: calls that change owners and ids are answered
    /// and recorded.
    Single,
}

/// How layer directories become one tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TreeChoice {
    /// Overlay where the kernel lets us, else copies.
    #[default]
    Auto,
    /// overlayfs.
    Overlay,
    /// A copy of all layers.
    Copy,
}

/// How a sandbox works. Nothing of it changes what a job gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Choice {
    /// How ids map.
    pub ids: IdChoice,
    /// How the tree is made.
    pub tree: TreeChoice,
}

/// Commands to run in a tree, and what to tell of it. Runs without network, with a fixed host
/// name, as root of a user namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// The layers, bottom first.
    pub layers: Vec<LayerBlob>,
    /// Layers against which the result is compared instead of `layers`, bottom first; `None` for
    /// `layers` themselves.
    pub compare: Option<Vec<LayerBlob>>,
    /// Files that are mounted read-only.
    pub binds: Vec<Bind>,
    /// What happens, in order; the first failure ends the job.
    pub steps: Vec<Step>,
    /// What the commands together may use.
    pub limits: Limits,
    /// Directories (absolute, in the sandbox) below which changes are captured; empty for all.
    /// `/dev`, `/proc`, `/sys`, `/run` and `/tmp` are never captured.
    pub capture: Vec<String>,
}

impl Job {
    /// The commands that it runs, in order.
    pub(crate) fn commands(&self) -> impl Iterator<Item = &Command> {
        self.steps.iter().filter_map(|step| match step {
            Step::Run(command) => Some(command),
            _ => None,
        })
    }
}

/// A file outside that can be read inside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bind {
    /// The file or directory outside.
    pub source: PathBuf,
    /// Absolute path inside; missing directories and the file to mount on are made, and are not
    /// captured.
    pub target: String,
}

/// One thing that happens in a sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// Writes a file, replacing what is there. Missing parents are made with mode 0755.
    Write {
        /// Absolute path.
        path: String,
        /// Permission bits.
        mode: u32,
        /// Owner.
        uid: u32,
        /// Group.
        gid: u32,
        /// The content.
        content: Vec<u8>,
    },
    /// Copies a file with its metadata, replacing what is there; parents are made as in `Write`.
    Copy {
        /// Absolute path.
        from: String,
        /// Absolute path.
        to: String,
    },
    /// Makes a directory and missing parents; one that is there gets mode and owner.
    Directory {
        /// Absolute path.
        path: String,
        /// Permission bits.
        mode: u32,
        /// Owner.
        uid: u32,
        /// Group.
        gid: u32,
    },
    /// Removes a path and everything below it; nothing happens when it is not there.
    Remove {
        /// Absolute path.
        path: String,
    },
    /// Gives every directory that was changed the modification time that layers give it.
    DirectoryTimes,
    /// Runs a command and waits for its end. A status other than 0 fails the job.
    Run(Command),
}

/// A command. Standard input is empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Command {
    /// The program, an absolute path inside, and its arguments.
    pub argv: Vec<String>,
    /// The whole environment.
    pub env: Vec<(String, String)>,
    /// The working directory.
    pub cwd: String,
    /// User.
    pub uid: u32,
    /// Group; there are no others.
    pub gid: u32,
    /// Mask of new files' permission bits.
    pub umask: u32,
}

/// What the commands of a job together may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Time on the wall.
    pub time: Duration,
    /// Anonymous memory of all processes in bytes.
    pub memory: u64,
    /// Processes and threads.
    pub processes: u64,
    /// Bytes written to the tree.
    pub disk: u64,
    /// Bytes of output.
    pub output: u64,
}

impl Default for Limits {
    /// Far above what the heaviest known package needs: an hour, 8 GiB, 4096 processes, 64 GiB of
    /// disk, 256 MiB of output.
    fn default() -> Self {
        Self {
            time: Duration::from_secs(3600),
            memory: 8 << 30,
            processes: 4096,
            disk: 64 << 30,
            output: 256 << 20,
        }
    }
}

/// A program that people use: it has their terminal, and nothing of it is captured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Interactive {
    /// The layers, bottom first.
    pub layers: Vec<LayerBlob>,
    /// A directory that keeps the state of a failed job, to go on from; `None` for a fresh tree
    /// that is removed at the end.
    pub state: Option<PathBuf>,
    /// The command.
    pub command: Command,
    /// Directories and files of the host.
    pub volumes: Vec<Volume>,
    /// The network.
    pub network: NetworkMode,
    /// The host's name inside.
    pub hostname: String,
    /// Whether nothing of the tree can be written; volumes and temporary directories can.
    pub read_only: bool,
}

/// A directory or file of the host, inside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Volume {
    /// Outside.
    pub source: PathBuf,
    /// Absolute path inside.
    pub target: String,
    /// Whether it cannot be written.
    pub read_only: bool,
}

/// Which network a program has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NetworkMode {
    /// The host's.
    Host,
    /// Only a loopback device of its own.
    None,
}
