//! One action → one layer or blob. Reads the action and its inputs, nothing else.

mod context;
mod error;
mod pack;

use std::{io::Write, num::NonZero, sync::OnceLock};

use bytes::Bytes;
use kiln_digest::Digest;
use kiln_layer::{Entry, LayerOptions, LayerSummary, write_layer};
use kiln_plan::{ACTION_FORMAT, Action, Compression, Kind};
use kiln_recipe::Platform;

use crate::{bytecode, configure, run, wheel as build_wheel};

pub(crate) use context::read;
pub use context::{Context, Found, OpenInput};
pub use error::ExecuteError;
pub(crate) use pack::{each_deb, parents, relative, wheel_placement};

/// The platform whose programs this machine runs.
#[cfg(target_arch = "x86_64")]
const HOST: Platform = Platform::LinuxAmd64;
#[cfg(target_arch = "aarch64")]
const HOST: Platform = Platform::LinuxArm64;
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
    write(action, &product(action, context)?, None, out)
}

/// Writes what `action` gave, as the action wants it compressed, with as many threads or, if nobody says
/// how many, with all.
pub(crate) fn write<W: Write + Send>(
    action: &Action,
    product: &Product,
    threads: Option<NonZero<usize>>,
    mut out: W,
) -> Result<Summary, ExecuteError> {
    let compression = match action.compression {
        Compression::Gzip => kiln_layer::Compression::Gzip,
        Compression::Zstd => kiln_layer::Compression::Zstd,
        Compression::Estargz => kiln_layer::Compression::Estargz,
    };
    Ok(match product {
        Product::Entries(entries) => {
            let options = LayerOptions::from(compression);
            let options = threads.map_or(options, |threads| options.threads(threads));
            Summary::Layer(write_layer(entries, options, out)?)
        }
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
    Ok(Product::Entries(match &action.kind {
        Kind::PackDebs(debs) => pack::debs(debs, context)?,
        Kind::DebDatabase(database) => pack::deb_database(database, context)?,
        Kind::Venv(venv) => pack::venv(venv)?,
        Kind::PackWheels(wheels) => pack::wheels(wheels, context)?,
        Kind::Files(files) => pack::files(files, context)?,
        Kind::Run(run) => run::entries(run, context)?,
        Kind::Configure(configure) => configure::entries(configure, context)?,
        Kind::BuildWheel(build) => return Ok(Product::Blob(build_wheel::build(build, context)?)),
        Kind::Bytecode(bytecode) => {
            let made = OnceLock::new();
            bytecode::compile(&[bytecode], context, &|_, archive| {
                made.set(archive).is_ok()
            })?;
            return Ok(Product::Blob(made.into_inner().unwrap_or_default()));
        }
        Kind::PackBytecode(pack) => bytecode::pack(pack, context)?,
    }))
}

/// Carries out actions that compile with the same interpreter: together they cost far less. `take`
/// is given what each gives, by its place, and says whether to go on.
pub(crate) fn compile(
    actions: &[&Action],
    context: &Context<'_>,
    take: &(dyn Fn(usize, Product) -> bool + Sync),
) -> Result<(), ExecuteError> {
    let mut batch = Vec::with_capacity(actions.len());
    for action in actions {
        check(action)?;
        if let Kind::Bytecode(bytecode) = &action.kind {
            batch.push(bytecode);
        }
    }
    bytecode::compile(&batch, context, &|place, archive| {
        take(place, Product::Blob(archive))
    })
}
