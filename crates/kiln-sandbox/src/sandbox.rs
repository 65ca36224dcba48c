//! The caller's side of the sandbox.

use std::{path::Path, sync::atomic::AtomicBool};

use kiln_layer::Entry;

use crate::{Choice, Interactive, Job, SandboxError};

/// Runs jobs. Cheap to keep, and many threads may use it at once.
#[derive(Debug)]
pub struct Sandbox {}

/// What a job changed.
#[derive(Debug)]
pub struct Captured {
    /// What differs from the layers, sorted by path. Payloads are views of a file in the spool
    /// directory that has no name any more.
    pub entries: Vec<Entry>,
}

impl Sandbox {
    /// Finds out what this machine allows. `rootfs` is the store's directory of unpacked layers.
    pub fn open(rootfs: &Path, choice: Choice) -> Result<Self, SandboxError> {
        let _ = (rootfs, choice);
        Err(SandboxError::WorkerDied("not yet".to_owned()))
    }

    /// Runs a job. `output` is given what the commands print, as it comes.
    pub fn run(
        &self,
        job: &Job,
        spool: &Path,
        output: &mut (dyn FnMut(&[u8]) + Send),
        cancelled: &AtomicBool,
    ) -> Result<Captured, SandboxError> {
        let _ = (job, spool, output, cancelled);
        Err(SandboxError::Cancelled)
    }

    /// Runs a program for people, with the input and output of this process, and gives its exit
    /// status: 128 and the number of the signal if one ended it.
    pub fn start(&self, program: &Interactive, cancelled: &AtomicBool) -> Result<u8, SandboxError> {
        let _ = (program, cancelled);
        Err(SandboxError::Cancelled)
    }

    /// Removes the kept state of a failed job.
    pub fn discard(&self, state: &Path) -> Result<(), SandboxError> {
        let _ = state;
        Ok(())
    }
}
