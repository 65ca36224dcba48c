//! What stays between jobs: layer directories, and the states of jobs that failed.

use std::{
    fs, io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use kiln_digest::Digest;

use crate::{
    Command, Sandbox, SandboxError,
    process::{Given, Worker},
    protocol::{Reply, Task},
    scratch,
};

impl Sandbox {
    /// The command whose failure left this state.
    pub fn failed_command(&self, state: &Path) -> Result<Command, SandboxError> {
        Ok(scratch::description(state)?.command)
    }

    /// Unpacks a layer that comes as a stream, of which there need be no blob yet: jobs on it find it there.
    /// Gives the diff ID of what came.
    pub fn receive(&self, layer: OwnedFd) -> Result<Digest, SandboxError> {
        let request = self.request(&self.ids, Task::Receive);
        let given = Given {
            channels: vec![layer],
            ..Given::default()
        };
        match Worker::start(&self.program, &self.ids, &request, given)?.finish()? {
            Reply::Received(diff_id) => Ok(diff_id),
            _ => Err(SandboxError::WorkerDied("a wrong answer".to_owned())),
        }
    }

    /// Removes everything below the directory that [`Sandbox::open`] was given. Nobody else may
    /// use it meanwhile.
    pub fn clear(&self) -> Result<(), SandboxError> {
        for path in self.kept()? {
            self.discard(&path)?;
        }
        Ok(())
    }

    /// Removes the unpacked layers alone: they are unpacked again when they are needed. Nobody
    /// else may use them meanwhile.
    pub fn clear_layers(&self) -> Result<(), SandboxError> {
        for path in self.kept()? {
            if path != scratch::directory(self.rootfs()) {
                self.discard(&path)?;
            }
        }
        Ok(())
    }

    fn kept(&self) -> Result<Vec<PathBuf>, SandboxError> {
        let paths = match fs::read_dir(self.rootfs()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.and_then(|it| it.map(|entry| Ok(entry?.path())).collect()),
        };
        paths.map_err(SandboxError::io("unpacked layers could not be listed"))
    }
}
