//! What an action may read and use, besides itself.

use std::{
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
};

use bytes::Bytes;
use kiln_digest::Digest;
use kiln_layer::Entry;
use kiln_plan::Archive;
use kiln_sandbox::{Captured, Job, LayerBlob, Sandbox, SandboxError};

use crate::execute::ExecuteError;

/// Opens an input by its digest. What it gives has been verified.
pub type OpenInput<'a> = dyn Fn(&Digest) -> io::Result<Bytes> + Sync + 'a;
/// What an action may read and use, besides itself.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// Opens an archive by its digest.
    pub open: &'a OpenInput<'a>,
    /// Where the file of an archive is.
    pub path: &'a (dyn Fn(&Digest) -> io::Result<PathBuf> + Sync),
    /// The result of another action, by that action's key. Waits for what is still being packed.
    pub result: &'a (dyn Fn(&Digest) -> Result<Found, ExecuteError> + Sync),
    /// The diff ID of a layer that another action makes and that is unpacked already, while it is still
    /// being packed.
    pub unpacked: &'a (dyn Fn(&Digest) -> Option<Digest> + Sync),
    /// A directory for unnamed temporary files that hold what is too large for memory.
    pub spool: &'a Path,
    /// The sandbox; asked for by actions that execute, and by no other.
    pub sandbox: &'a (dyn Fn() -> Result<&'a Sandbox, SandboxError> + Sync),
    /// What commands print.
    pub output: &'a (dyn Fn(&[u8]) + Sync),
    /// Set when the user interrupts.
    pub cancelled: &'a AtomicBool,
}

impl<'a> Context<'a> {
    /// A context for actions that only pack: there are no results of others, and no sandbox.
    pub fn packing(open: &'a OpenInput<'a>, spool: &'a Path) -> Self {
        static NEVER: AtomicBool = AtomicBool::new(false);
        Self {
            open,
            path: &|_| Err(io::Error::from(io::ErrorKind::NotFound)),
            result: &|key| Err(ExecuteError::NoResult(*key)),
            unpacked: &|_| None,
            spool,
            sandbox: &|| {
                Err(SandboxError::Setup {
                    what: "packing".to_owned(),
                    cause: "only actions that execute have a sandbox".into(),
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

    /// The same layers to run something on, of which there may be no blobs yet. What was run counts only
    /// if [`Context::layers`] are the same afterwards. Those without a blob have no path: they are unpacked.
    pub(crate) fn trees(&self, keys: &[Digest]) -> Result<Vec<LayerBlob>, ExecuteError> {
        keys.iter()
            .map(|key| match (self.unpacked)(key) {
                Some(diff_id) => Ok(vec![LayerBlob {
                    diff_id,
                    path: PathBuf::new(),
                }]),
                None => self.layers(&[*key]),
            })
            .collect::<Result<Vec<_>, _>>()
            .map(|layers| layers.concat())
    }

    /// Runs a job in the sandbox, and gives what it changed.
    pub(crate) fn run(&self, job: &Job) -> Result<Vec<Entry>, ExecuteError> {
        Ok(self.capture(job)?.entries)
    }

    /// Runs a job in the sandbox whose commands have these descriptors; what it changes is of no
    /// interest.
    pub(crate) fn converse(&self, job: &Job, channels: Vec<OwnedFd>) -> Result<(), ExecuteError> {
        let mut output = |bytes: &[u8]| (self.output)(bytes);
        (self.sandbox)()?.run_with_channels(
            job,
            channels,
            self.spool,
            &mut output,
            self.cancelled,
        )?;
        Ok(())
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

/// Opens an archive.
pub(crate) fn read(archive: &Archive, open: &OpenInput<'_>) -> Result<Bytes, ExecuteError> {
    open(&archive.sha256).map_err(|source| ExecuteError::Input {
        what: archive.file.clone(),
        digest: archive.sha256,
        source,
    })
}
