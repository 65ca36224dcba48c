//! `bytecode` and `pack-bytecode`: Python modules, compiled ahead.
//!
//! Without compiled modules every start of Python compiles what it imports, in memory where the
//! tree is read-only or belongs to another user. Wheels hold none, and packing them runs nothing.
//! So their compiled modules are made here, by the Python of the image, and become layers of
//! their own: layers of wheels stay what they are.
//!
//! # Algorithm
//!
//! [`compile`] runs `compile.py` in the sandbox, on the layer of the interpreter alone: nothing of the
//! wheels is imported or run. Sources go there and module files come back through sockets, one for
//! each core, so no file holds them (`batch`, `compiler`). Module files are made canonical
//! ([`kiln_package::bytecode`]), so that neither the batch nor the order of work shows in them,
//! and each wheel's become one archive. [`pack`] makes a layer of such archives.
//!
//! # What is compiled
//!
//! All that pip compiles when it installs a wheel: every file whose name ends in `.py`, wherever
//! it goes. Files that do not compile are left out silently, as pip does: packages ship
//! templates and tests for other Pythons. The source's path in the image stands in tracebacks.
//!
//! Module files say that they are never compared with their source (PEP 552), since layers
//! give every file the same time. Whoever edits a source in an image in place must compile it,
//! or remove the module file beside it; `pip` does both.

mod batch;
pub(crate) mod compiler;

use std::{collections::BTreeMap, io, num::NonZero, os::fd::OwnedFd, thread};

use bytes::Bytes;
use kiln_digest::Digest;
use kiln_layer::{Contribution, Entry, EntryPath, EntryPathError, merge};
use kiln_package::{
    bytecode::{self as modules, ArchiveError, ModuleError},
    zip::{WriteError, ZipError},
};
use kiln_plan::{Bytecode, PackBytecode};
use kiln_sandbox::{Command, Job, Limits, Sandbox, Step};

use crate::{
    execute::{Context, ExecuteError, Found, parents, relative, wheel_placement},
    inputs,
};
use batch::{Batch, LARGE};

/// What the sandbox runs, and where it finds it.
const SCRIPT: &str = include_str!("compile.py");
const SCRIPT_PATH: &str = "/.kiln/compile.py";
/// Where nothing is: what is captured is not looked at.
const OUT_PATH: &str = "/.kiln/out";

/// Python runs isolated, without site-packages, writes no modules of its own, and says nothing of
/// what other people's sources could do better.
const OPTIONS: [&str; 5] = ["-I", "-S", "-B", "-W", "ignore"];

/// Why modules could not be compiled or packed.
#[derive(Debug, thiserror::Error)]
pub enum BytecodeError {
    /// A source in a wheel is damaged.
    #[error("reading the sources of {file}")]
    Source {
        /// The wheel.
        file: String,
        /// Why.
        #[source]
        source: ZipError,
    },
    /// The compiler cannot be reached, or gave a wrong answer.
    #[error("talking to Python's compiler in the sandbox")]
    Channel(#[source] io::Error),
    /// Python wrote a module file that is not one.
    #[error("the compiled form of `{path}` cannot be used")]
    Module {
        /// The source, in the image.
        path: String,
        /// Why.
        #[source]
        source: ModuleError,
    },
    /// The archive cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The result of a [`Bytecode`] action is damaged.
    #[error("reading compiled modules ({digest})")]
    Archive {
        /// The action that made it.
        digest: Digest,
        /// Why.
        #[source]
        source: ArchiveError,
    },
}

impl BytecodeError {
    /// What a user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Module {
                source: ModuleError::UnknownPython(_),
                ..
            } => Some("`bytecode = false` in `[family]` leaves modules uncompiled".into()),
            Self::Archive { .. } => Some(
                "`kiln store verify` drops what is damaged, and the next build makes it again"
                    .into(),
            ),
            _ => None,
        }
    }
}

/// Is given the archive of a wheel's compiled modules, with the wheel's place in the batch, as soon
/// as it is there; says whether to go on.
pub(crate) type Take<'a> = dyn Fn(usize, Bytes) -> bool + Sync + 'a;

/// Compiles the modules of the wheels of a batch: of actions that have interpreter and placement in
/// common. What `take` gets for each is what its action alone would give.
pub(crate) fn compile(
    wheels: &[&Bytecode],
    context: &Context<'_>,
    take: &Take<'_>,
) -> Result<(), ExecuteError> {
    let Some(first) = wheels.first() else {
        return Ok(());
    };
    debug_assert!(
        wheels
            .iter()
            .all(|other| (other.runtime, &other.executable, &other.placement)
                == (first.runtime, &first.executable, &first.placement)),
        "a batch has one interpreter and one placement"
    );
    let batch = Batch::new(wheels, context, take)?;
    batch.finish_empty()?;
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let workers = cores.min(batch.len());
    if workers == 0 {
        return Ok(());
    }
    let (ours, theirs) = batch::channels(workers).map_err(BytecodeError::Channel)?;
    let job = job(first, context, workers)?;
    let theirs = theirs.into_iter().map(OwnedFd::from).collect();
    batch.compile(ours, || context.converse(&job, theirs))
}

/// One worker for each channel.
fn job(action: &Bytecode, context: &Context<'_>, workers: usize) -> Result<Job, ExecuteError> {
    let channels = (Sandbox::CHANNELS..).take(workers);
    let argv = [action.executable.as_str()].into_iter().chain(OPTIONS);
    let argv = argv.chain([SCRIPT_PATH]).map(str::to_owned);
    let command = Command {
        argv: argv.chain(arguments(channels)).collect(),
        env: vec![("LC_ALL".into(), "C.UTF-8".into())],
        cwd: "/".into(),
        uid: 0,
        gid: 0,
        umask: 0o022,
    };
    Ok(Job {
        layers: context.layers(&[action.runtime])?,
        compare: None,
        binds: Vec::new(),
        steps: vec![
            Step::Write {
                path: SCRIPT_PATH.into(),
                mode: 0o644,
                uid: 0,
                gid: 0,
                content: SCRIPT.into(),
            },
            Step::Run(command),
        ],
        limits: Limits::default(),
        capture: vec![OUT_PATH.into()],
    })
}

/// The arguments of `compile.py`.
fn arguments(channels: impl Iterator<Item = i32>) -> impl Iterator<Item = String> {
    std::iter::once(LARGE.to_string()).chain(channels.map(|channel| channel.to_string()))
}

/// The entries of a layer of compiled modules.
pub(crate) fn pack(
    action: &PackBytecode,
    context: &Context<'_>,
) -> Result<Vec<Entry>, ExecuteError> {
    let placement = wheel_placement(&action.placement)?;
    let winners = winners(action, placement.python)?;
    let contribution = |key: &Digest| {
        let Found::Blob(path) = (context.result)(key)? else {
            return Err(ExecuteError::NotABlob(*key));
        };
        let archive = inputs::map(&path).map_err(|source| ExecuteError::Input {
            what: "compiled modules".into(),
            digest: *key,
            source,
        })?;
        let entries =
            modules::entries(&archive, &placement).map_err(|source| BytecodeError::Archive {
                digest: *key,
                source,
            })?;
        // A module of a wheel that loses would be taken for that of the source that wins, even
        // if that one does not compile.
        let wins = |entry: &Entry| winners.get(&entry.path).is_none_or(|winner| winner == key);
        Ok(Contribution {
            package: key.to_string(),
            entries: entries.into_iter().filter(wins).collect(),
        })
    };
    let contributions = action
        .parts
        .iter()
        .map(contribution)
        .collect::<Result<Vec<_>, ExecuteError>>()?;
    let parents = parents(&action.placement)?;
    Ok(merge(contributions, &BTreeMap::new(), &parents)?)
}

/// The module files whose sources several wheels ship, and the part that wins.
fn winners(
    action: &PackBytecode,
    python: (u8, u8),
) -> Result<BTreeMap<EntryPath, Digest>, EntryPathError> {
    let mut winners = BTreeMap::new();
    for (source, &part) in &action.winners {
        if let Some(module) = modules::module_path(source, python) {
            winners.insert(relative(&module)?, part);
        }
    }
    Ok(winners)
}

#[cfg(test)]
mod tests;
