//! One action → one layer. Reads the action and its inputs, nothing else.

use std::{
    collections::BTreeMap,
    io,
    io::Write,
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
};

use bytes::Bytes;
use kiln_digest::Digest;
use kiln_layer::{
    Contribution, DirectoryMetadata, Entry, EntryKind, EntryPath, EntryPathError, LayerError,
    LayerSummary, MergeError, OwnedTree, ParentPolicy, Payload, REPRODUCIBLE_MTIME, merge,
    write_layer,
};
use kiln_package::{
    deb::{self, DebError, UsrMerge},
    wheel::{self, WheelError},
};
use kiln_plan::{ACTION_FORMAT, Action, Archive, Compression, Files, Kind, Placement, Venv};
use kiln_recipe::Platform;
use kiln_sandbox::{Captured, Job, LayerBlob, Sandbox, SandboxError};
use rayon::prelude::*;

use crate::{
    bytecode::{self, BytecodeError},
    configure,
    configure::ConfigureError,
    run,
    wheel::{self as build_wheel, BuildWheelError},
};

/// Opens an input by its digest. What it gives has been verified.
pub type OpenInput<'a> = dyn Fn(&Digest) -> io::Result<Bytes> + Sync + 'a;

/// Why an action gave no layer.
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError {
    /// Made by a kiln with another meaning of actions.
    #[error("the action has format {0}; this kiln knows format {ACTION_FORMAT}")]
    Format(u32),
    /// An input cannot be read.
    #[error("reading {what} ({digest})")]
    Input {
        /// Its file name.
        what: String,
        /// Its digest.
        digest: Digest,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A wheel is not one.
    #[error("unpacking {file}")]
    Wheel {
        /// Its file name.
        file: String,
        /// Why.
        #[source]
        source: WheelError,
    },
    /// A Debian package is not one.
    #[error("unpacking {file}")]
    Deb {
        /// Its file name.
        file: String,
        /// Why.
        #[source]
        source: DebError,
    },
    /// The packages do not fit together.
    #[error(transparent)]
    Merge(#[from] MergeError),
    /// A destination is not a path in an image.
    #[error("a destination of the action is not usable")]
    Path(#[from] EntryPathError),
    /// The layer cannot be written.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// The blob cannot be written.
    #[error("writing the result")]
    Blob(#[source] io::Error),
    /// The result of another action is not at hand.
    #[error("the result of action {0} is not there")]
    NoResult(Digest),
    /// The result of another action is a blob where a layer is needed.
    #[error("action {0} gives no layer")]
    NotALayer(Digest),
    /// Programs of another platform cannot be run here.
    #[error("this machine cannot run programs for {0}")]
    ForeignPlatform(Platform),
    /// The sandbox refused, or what ran in it failed.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// The result of another action is a layer where a blob is needed.
    #[error("action {0} gives no blob")]
    NotABlob(Digest),
    /// Packages cannot be configured.
    #[error(transparent)]
    Configure(#[from] ConfigureError),
    /// Modules cannot be compiled, or their layer not be made.
    #[error(transparent)]
    Bytecode(#[from] BytecodeError),
    /// A wheel cannot be built.
    #[error("building a wheel of {sdist}")]
    BuildWheel {
        /// The source distribution.
        sdist: String,
        /// Why.
        #[source]
        source: BuildWheelError,
    },
}

impl ExecuteError {
    /// What a user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Merge(error) => error.hint(),
            Self::Wheel { source, .. } => source.hint(),
            Self::Deb { source, .. } => source.hint(),
            Self::Layer(error) => error.hint(),
            Self::Format(_) => Some("use the kiln that planned it, or plan again".into()),
            Self::Sandbox(error) => error.hint(),
            Self::Configure(error) => error.hint(),
            Self::Bytecode(error) => error.hint(),
            Self::ForeignPlatform(platform) => Some(format!(
                "build on a machine for {platform}, or `--pack-only`, which runs nothing"
            )),
            Self::Input { .. }
            | Self::Path(_)
            | Self::Blob(_)
            | Self::NoResult(_)
            | Self::BuildWheel { .. }
            | Self::NotALayer(_)
            | Self::NotABlob(_) => None,
        }
    }

    /// Whether the bytes of an input may be the cause, as opposed to what they mean or to the
    /// machine.
    pub(crate) fn blames_input(&self) -> bool {
        matches!(
            self,
            Self::Input { .. } | Self::Wheel { .. } | Self::Deb { .. } | Self::Layer(_)
        )
    }
}

/// What an action may read and use, besides itself.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// Opens an archive by its digest.
    pub open: &'a OpenInput<'a>,
    /// Where the file of an archive is.
    pub path: &'a (dyn Fn(&Digest) -> io::Result<PathBuf> + Sync),
    /// The result of another action, by that action's key.
    pub result: &'a (dyn Fn(&Digest) -> Result<Found, ExecuteError> + Sync),
    /// A directory for unnamed temporary files that hold what is too large for memory.
    pub spool: &'a Path,
    /// The sandbox; asked for by actions that execute, and by no other.
    pub sandbox: &'a (dyn Fn() -> Result<&'a Sandbox, SandboxError> + Sync),
    /// What commands print.
    pub output: &'a (dyn Fn(&[u8]) + Sync),
    /// Set when the user interrupts.
    pub cancelled: &'a AtomicBool,
}

/// The platform whose programs this machine runs.
#[cfg(target_arch = "x86_64")]
const HOST: Platform = Platform::LinuxAmd64;
#[cfg(target_arch = "aarch64")]
const HOST: Platform = Platform::LinuxArm64;

impl<'a> Context<'a> {
    /// A context for actions that only pack: there are no results of others, and no sandbox.
    pub fn packing(open: &'a OpenInput<'a>, spool: &'a Path) -> Self {
        static NEVER: AtomicBool = AtomicBool::new(false);
        Self {
            open,
            path: &|_| Err(io::Error::from(io::ErrorKind::NotFound)),
            result: &|key| Err(ExecuteError::NoResult(*key)),
            spool,
            sandbox: &|| {
                Err(SandboxError::Setup {
                    what: "packing".to_owned(),
                    reason: "only actions that execute have a sandbox".to_owned(),
                })
            },
            output: &|_| {},
            cancelled: &NEVER,
        }
    }

    /// The layers that the actions with these keys made.
    pub(crate) fn layers(&self, keys: &[Digest]) -> Result<Vec<LayerBlob>, ExecuteError> {
        keys.iter()
            .map(|key| match (self.result)(key)? {
                Found::Layer(layer) => Ok(layer),
                Found::Blob(_) => Err(ExecuteError::NotALayer(*key)),
            })
            .collect()
    }

    /// Runs a job in the sandbox, and gives what it changed.
    pub(crate) fn run(&self, job: &Job) -> Result<Vec<Entry>, ExecuteError> {
        Ok(self.capture(job)?.entries)
    }

    /// Runs a job in the sandbox.
    pub(crate) fn capture(&self, job: &Job) -> Result<Captured, ExecuteError> {
        let mut output = |bytes: &[u8]| (self.output)(bytes);
        Ok((self.sandbox)()?.run(job, self.spool, &mut output, self.cancelled)?)
    }
}

/// The result of another action.
#[derive(Debug, Clone)]
pub enum Found {
    /// A layer.
    Layer(LayerBlob),
    /// The file of a blob.
    Blob(PathBuf),
}

/// What an action gave, before it is written.
#[derive(Debug)]
pub(crate) enum Product {
    /// The entries of a layer.
    Entries(Vec<Entry>),
    /// A blob.
    Blob(Bytes),
}

/// What was written.
#[derive(Debug, Clone)]
pub enum Summary {
    /// A layer.
    Layer(LayerSummary),
    /// A blob.
    Blob {
        /// Its digest.
        digest: Digest,
        /// Its size in bytes.
        size: u64,
    },
}

/// Carries out `action` and writes its layer, compressed, or its blob into `out`.
pub fn execute<W: Write + Send>(
    action: &Action,
    context: &Context<'_>,
    out: W,
) -> Result<Summary, ExecuteError> {
    write(action, &product(action, context)?, out)
}

/// Writes what `action` gave, as the action wants it compressed.
pub(crate) fn write<W: Write + Send>(
    action: &Action,
    product: &Product,
    mut out: W,
) -> Result<Summary, ExecuteError> {
    let compression = match action.compression {
        Compression::Gzip => kiln_layer::Compression::Gzip,
        Compression::Zstd => kiln_layer::Compression::Zstd,
    };
    Ok(match product {
        Product::Entries(entries) => Summary::Layer(write_layer(entries, compression, out)?),
        Product::Blob(bytes) => {
            out.write_all(bytes).map_err(ExecuteError::Blob)?;
            Summary::Blob {
                digest: Digest::of(bytes),
                size: bytes.len() as u64,
            }
        }
    })
}

/// Whether this program on this machine can carry out `action`.
fn check(action: &Action) -> Result<(), ExecuteError> {
    if action.format != ACTION_FORMAT {
        return Err(ExecuteError::Format(action.format));
    }
    if action.executes() && action.platform != HOST {
        return Err(ExecuteError::ForeignPlatform(action.platform));
    }
    Ok(())
}

/// What `action` gives.
pub(crate) fn product(action: &Action, context: &Context<'_>) -> Result<Product, ExecuteError> {
    check(action)?;
    let Context { open, spool, .. } = *context;
    Ok(Product::Entries(match &action.kind {
        Kind::PackDebs(pack) => {
            let usr_merge = UsrMerge(pack.usr_merge.clone());
            let packages = each_deb(&pack.debs, open, |bytes, file| {
                deb::read(bytes, file, &usr_merge, spool)
            })?;
            let mut contributions: Vec<_> = packages
                .into_iter()
                .map(|deb| Contribution {
                    package: deb.facts.name,
                    entries: deb.entries,
                })
                .collect();
            if pack.links {
                let entries = deb::usr_merge_links(&usr_merge);
                contributions.push(Contribution {
                    package: "usr-merge".into(),
                    entries,
                });
            }
            merge(
                contributions,
                &winners(&pack.winners)?,
                &ParentPolicy::default(),
            )?
        }
        Kind::DebDatabase(database) => {
            let usr_merge = UsrMerge(database.usr_merge.clone());
            let facts = each_deb(&database.debs, open, |bytes, file| {
                deb::read_facts(bytes, file, &usr_merge, spool)
            })?;
            let entries = deb::unpacked_database(&facts.iter().collect::<Vec<_>>());
            let contribution = Contribution {
                package: "dpkg database".into(),
                entries,
            };
            merge(
                vec![contribution],
                &BTreeMap::new(),
                &ParentPolicy::default(),
            )?
        }
        Kind::Venv(venv) => {
            let parents = parents(&venv.placement)?;
            let contribution = Contribution {
                package: "Python tree".into(),
                entries: venv_entries(venv)?,
            };
            merge(vec![contribution], &BTreeMap::new(), &parents)?
        }
        Kind::PackWheels(pack) => {
            let placement = wheel_placement(&pack.placement)?;
            let contributions = pack
                .wheels
                .par_iter()
                .map(|archive| {
                    let bytes = read(archive, open)?;
                    let file = &archive.file;
                    let entries = wheel::entries(&bytes, file, &placement).map_err(|source| {
                        ExecuteError::Wheel {
                            file: file.clone(),
                            source,
                        }
                    })?;
                    let package = file.split('-').next().unwrap_or(file).to_owned();
                    Ok(Contribution { package, entries })
                })
                .collect::<Result<Vec<_>, ExecuteError>>()?;
            merge(
                contributions,
                &winners(&pack.winners)?,
                &parents(&pack.placement)?,
            )?
        }
        Kind::Files(files) => {
            let contribution = Contribution {
                package: "family files".into(),
                entries: file_entries(files, open)?,
            };
            merge(
                vec![contribution],
                &BTreeMap::new(),
                &parents(&files.placement)?,
            )?
        }
        Kind::Run(run) => run::entries(run, context)?,
        Kind::Configure(configure) => configure::entries(configure, context)?,
        Kind::BuildWheel(build) => return Ok(Product::Blob(build_wheel::build(build, context)?)),
        Kind::Bytecode(bytecode) => {
            let archive = bytecode::compile(&[bytecode], context)?.pop();
            return Ok(Product::Blob(archive.unwrap_or_default()));
        }
        Kind::PackBytecode(pack) => bytecode::pack(pack, context)?,
    }))
}

/// What actions that compile with the same interpreter give: together they cost far less.
pub(crate) fn compile(
    actions: &[&Action],
    context: &Context<'_>,
) -> Result<Vec<Product>, ExecuteError> {
    let mut batch = Vec::with_capacity(actions.len());
    for action in actions {
        check(action)?;
        if let Kind::Bytecode(bytecode) = &action.kind {
            batch.push(bytecode);
        }
    }
    let archives = bytecode::compile(&batch, context)?;
    Ok(archives.into_iter().map(Product::Blob).collect())
}

pub(crate) fn read(archive: &Archive, open: &OpenInput<'_>) -> Result<Bytes, ExecuteError> {
    open(&archive.sha256).map_err(|source| ExecuteError::Input {
        what: archive.file.clone(),
        digest: archive.sha256,
        source,
    })
}

/// Reads Debian packages side by side.
pub(crate) fn each_deb<T: Send>(
    archives: &[Archive],
    open: &OpenInput<'_>,
    read_one: impl Fn(Bytes, &str) -> Result<T, DebError> + Sync,
) -> Result<Vec<T>, ExecuteError> {
    archives
        .par_iter()
        .map(|archive| {
            let file = &archive.file;
            read_one(read(archive, open)?, file).map_err(|source| ExecuteError::Deb {
                file: file.clone(),
                source,
            })
        })
        .collect()
}

fn winners(
    winners: &BTreeMap<String, String>,
) -> Result<BTreeMap<EntryPath, String>, EntryPathError> {
    winners
        .iter()
        .map(|(path, package)| Ok((relative(path)?, package.clone())))
        .collect()
}

/// An absolute path of an image as a path in a layer.
pub(crate) fn relative(path: &str) -> Result<EntryPath, EntryPathError> {
    EntryPath::new(path.strip_prefix('/').unwrap_or(path))
}

/// Who owns directories that no package lists: the family's user in the Python tree, else root.
pub(crate) fn parents(placement: &Placement) -> Result<ParentPolicy, EntryPathError> {
    let Placement { uid, gid, .. } = *placement;
    let directory = DirectoryMetadata {
        mode: DIRECTORY_MODE,
        uid,
        gid,
    };
    let tree = OwnedTree {
        prefix: relative(&placement.prefix)?,
        directory,
    };
    Ok(ParentPolicy {
        trees: vec![tree],
        ..ParentPolicy::default()
    })
}

/// Group-writable, because arbitrary-UID platforms run containers as a random user in group 0.
const DIRECTORY_MODE: u32 = 0o775;
const FILE_MODE: u32 = 0o664;
const EXECUTABLE_MODE: u32 = 0o775;

pub(crate) fn wheel_placement(placement: &Placement) -> Result<wheel::Placement, EntryPathError> {
    Ok(wheel::Placement {
        prefix: relative(&placement.prefix)?,
        python: (placement.python.major, placement.python.minor),
        uid: placement.uid,
        gid: placement.gid,
        directory_mode: DIRECTORY_MODE,
        file_mode: FILE_MODE,
        executable_mode: EXECUTABLE_MODE,
    })
}

fn venv_entries(venv: &Venv) -> Result<Vec<Entry>, ExecuteError> {
    let mut entries =
        wheel::venv(&wheel_placement(&venv.placement)?, &venv.executable).map_err(|source| {
            ExecuteError::Wheel {
                file: "the Python tree".into(),
                source,
            }
        })?;
    let home = relative(&venv.home)?;
    if !entries.iter().any(|entry| entry.path == home) {
        entries.push(Entry {
            path: home,
            kind: EntryKind::Directory,
            mode: DIRECTORY_MODE,
            uid: venv.placement.uid,
            gid: venv.placement.gid,
            mtime: REPRODUCIBLE_MTIME,
            capability: None,
        });
    }
    Ok(entries)
}

fn file_entries(files: &Files, open: &OpenInput<'_>) -> Result<Vec<Entry>, ExecuteError> {
    let entry = |file: &kiln_plan::PlacedFile| {
        let archive = Archive {
            file: file.to.clone(),
            sha256: file.sha256,
        };
        Ok(Entry {
            path: relative(&file.to)?,
            kind: EntryKind::File(Payload::Plain(read(&archive, open)?)),
            mode: file.mode,
            uid: file.uid,
            gid: file.gid,
            mtime: REPRODUCIBLE_MTIME,
            capability: None,
        })
    };
    let whiteout = |path: &String| {
        Ok(Entry {
            path: relative(path)?,
            kind: EntryKind::Whiteout,
            mode: 0,
            uid: 0,
            gid: 0,
            mtime: REPRODUCIBLE_MTIME,
            capability: None,
        })
    };
    let placed = files.files.iter().map(entry);
    placed.chain(files.removed.iter().map(whiteout)).collect()
}
