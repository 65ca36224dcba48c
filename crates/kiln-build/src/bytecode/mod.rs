//! `bytecode` and `pack-bytecode`: Python modules, compiled ahead.
//!
//! Without compiled modules every start of Python compiles what it imports, in memory where the
//! tree is read-only or belongs to another user. Wheels hold none, and packing them runs nothing.
//! So their compiled modules are made here, by the Python of the image, and become layers of
//! their own: layers of wheels stay what they are.
//!
//! # Algorithm
//!
//! [`compile`] writes the modules of all wheels of a batch into one file that the sandbox can
//! read, and runs `compile.py` there on the layer of the interpreter alone: nothing of the wheels
//! is imported or run. The module files that come back are made canonical
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

pub(crate) mod records;

use std::{
    collections::BTreeMap,
    io::{self, BufWriter, Write},
    num::NonZero,
    path::Path,
    thread,
};

use bytes::Bytes;
use kiln_digest::Digest;
use kiln_layer::{Contribution, Entry, EntryKind, EntryPath, EntryPathError, Payload, merge};
use kiln_package::{
    bytecode::{self as modules, ArchiveError, ModuleError, ModuleFile},
    wheel,
    zip::{Member, WriteError, ZipError},
};
use kiln_plan::{Bytecode, PackBytecode, Placement};
use kiln_sandbox::{Bind, Command, Job, Limits, Step};
use rayon::prelude::*;
use tempfile::NamedTempFile;

use crate::{
    execute::{Context, ExecuteError, Found, parents, read, relative, wheel_placement},
    inputs,
};
use records::{Compiled, RecordsError};

/// The most bytes of a source; longer ones, of which none are known, are not compiled.
const MAX_SOURCE: u64 = 64 << 20;

/// What the sandbox runs, and where it finds and leaves what it needs.
const SCRIPT: &str = include_str!("compile.py");
const SCRIPT_PATH: &str = "/.kiln/compile.py";
const SOURCES_PATH: &str = "/.kiln/sources";
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
    /// The sources or results cannot be written.
    #[error("writing temporary files")]
    Spool(#[source] io::Error),
    /// The script wrote something else.
    #[error("the compiler's output is damaged")]
    Records(#[from] RecordsError),
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

/// A source to compile.
struct Source {
    /// Its wheel's place in the batch.
    wheel: usize,
    /// Where its module file goes below the environment's directory.
    module: String,
    /// Where it is in the image.
    path: String,
}

/// The archives of compiled modules of the wheels of a batch: of actions that have interpreter
/// and placement in common. Each is what its action alone would give.
pub(crate) fn compile(
    batch: &[&Bytecode],
    context: &Context<'_>,
) -> Result<Vec<Bytes>, ExecuteError> {
    let Some(first) = batch.first() else {
        return Ok(Vec::new());
    };
    debug_assert!(
        batch
            .iter()
            .all(|other| (other.runtime, &other.executable, &other.placement)
                == (first.runtime, &first.executable, &first.placement)),
        "a batch has one interpreter and one placement"
    );
    let mut file = NamedTempFile::new_in(context.spool).map_err(BytecodeError::Spool)?;
    let sources = write_sources(batch, context, file.as_file_mut())?;
    let output = if sources.is_empty() {
        Vec::new()
    } else {
        context.run(&job(first, file.path(), context, sources.len())?)?
    };
    archives(batch, &sources, &output, context.spool)
}

/// The archive of each wheel, of what the compiler wrote.
fn archives(
    batch: &[&Bytecode],
    sources: &[Source],
    output: &[Entry],
    spool: &Path,
) -> Result<Vec<Bytes>, ExecuteError> {
    let mut by_wheel: Vec<Vec<Compiled>> = vec![Vec::new(); batch.len()];
    for compiled in records::read(output, sources.len()).map_err(BytecodeError::from)? {
        by_wheel[sources[compiled.source].wheel].push(compiled);
    }
    let module = |compiled: &Compiled| {
        let source = &sources[compiled.source];
        let python = version(&batch[source.wheel].placement);
        let content = modules::canonical(&compiled.module, python);
        let content = content.map_err(|error| BytecodeError::Module {
            path: source.path.clone(),
            source: error,
        })?;
        let path = source.module.clone();
        Ok(ModuleFile { path, content })
    };
    let archive = |compiled: Vec<Compiled>| {
        let modules: Result<Vec<_>, BytecodeError> = compiled.par_iter().map(module).collect();
        Ok(modules::archive(modules?, spool)?)
    };
    let archives: Result<Vec<_>, BytecodeError> = by_wheel.into_par_iter().map(archive).collect();
    Ok(archives?)
}

fn version(placement: &Placement) -> (u8, u8) {
    (placement.python.major, placement.python.minor)
}

/// Writes the sources of all wheels into `file`, in the form that `compile.py` reads.
fn write_sources(
    batch: &[&Bytecode],
    context: &Context<'_>,
    file: impl Write,
) -> Result<Vec<Source>, ExecuteError> {
    let mut out = BufWriter::new(file);
    let mut sources = Vec::new();
    for (index, action) in batch.iter().enumerate() {
        let placement = wheel_placement(&action.placement)?;
        let archive = read(&action.wheel, context.open)?;
        let file = &action.wheel.file;
        let entries =
            wheel::entries(&archive, file, &placement).map_err(|source| ExecuteError::Wheel {
                file: file.clone(),
                source,
            })?;
        for entry in entries {
            let EntryKind::File(payload) = entry.kind else {
                continue;
            };
            let path = format!("/{}", entry.path);
            let below = path.strip_prefix(&format!("{}/", action.placement.prefix));
            let module = below.and_then(|below| modules::module_path(below, placement.python));
            let Some(module) = module.filter(|_| payload.size() <= MAX_SOURCE) else {
                continue;
            };
            let source = content(&path, payload).map_err(|source| BytecodeError::Source {
                file: file.clone(),
                source,
            })?;
            records::write(&mut out, &path, &source).map_err(BytecodeError::Spool)?;
            sources.push(Source {
                wheel: index,
                module,
                path,
            });
        }
    }
    out.flush().map_err(BytecodeError::Spool)?;
    Ok(sources)
}

fn content(path: &str, payload: Payload) -> Result<Bytes, ZipError> {
    let member = Member {
        name: path.to_owned(),
        unix_mode: 0,
        payload,
    };
    member.read(MAX_SOURCE)
}

fn job(
    action: &Bytecode,
    sources: &Path,
    context: &Context<'_>,
    count: usize,
) -> Result<Job, ExecuteError> {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let workers = cores.min(count).to_string();
    let mut argv = vec![action.executable.as_str()];
    argv.extend(OPTIONS);
    argv.extend([SCRIPT_PATH, SOURCES_PATH, OUT_PATH, workers.as_str()]);
    let command = Command {
        argv: argv.into_iter().map(str::to_owned).collect(),
        env: vec![("LC_ALL".into(), "C.UTF-8".into())],
        cwd: "/".into(),
        uid: 0,
        gid: 0,
        umask: 0o022,
    };
    Ok(Job {
        layers: context.layers(&[action.runtime])?,
        compare: None,
        binds: vec![Bind {
            source: sources.to_owned(),
            target: SOURCES_PATH.into(),
        }],
        steps: vec![
            Step::Write {
                path: SCRIPT_PATH.into(),
                mode: 0o644,
                uid: 0,
                gid: 0,
                content: SCRIPT.into(),
            },
            Step::Directory {
                path: OUT_PATH.into(),
                mode: 0o755,
                uid: 0,
                gid: 0,
            },
            Step::Run(command),
        ],
        limits: Limits::default(),
        capture: vec![OUT_PATH.into()],
    })
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
