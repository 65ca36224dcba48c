//! What stays between jobs: layer directories, and the states of jobs that failed.

use std::{fs, io, path::Path};

use crate::{Command, Sandbox, SandboxError, scratch};

impl Sandbox {
    /// The command whose failure left this state.
    pub fn failed_command(&self, state: &Path) -> Result<Command, SandboxError> {
        Ok(scratch::description(state)?.command)
    }

    /// Removes everything below the directory that [`Sandbox::open`] was given. Nobody else may
    /// use it meanwhile.
    pub fn clear(&self) -> Result<(), SandboxError> {
        let entries = match fs::read_dir(self.rootfs()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries.and_then(Iterator::collect::<io::Result<Vec<_>>>),
        };
        let entries = entries.map_err(SandboxError::io("unpacked layers could not be listed"))?;
        for entry in entries {
            self.discard(&entry.path())?;
        }
        Ok(())
    }
}
