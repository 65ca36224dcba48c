//! `flock`s on files.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};

use crate::StoreError;

/// Whether others may hold the lock too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Shared,
    Exclusive,
}

/// A held lock; dropping it releases it.
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
    path: PathBuf,
}

impl Lock {
    /// Takes the lock, calling `wait` first if another process holds it.
    pub(crate) fn take(
        path: PathBuf,
        mode: Mode,
        wait: &mut dyn FnMut(&Path),
    ) -> Result<Self, StoreError> {
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(StoreError::io("open", &path))?;
        let mut lock = Self { file, path };
        lock.change(mode, wait)?;
        Ok(lock)
    }

    /// Changes the mode. Not in one step: between the modes others may get the lock.
    pub(crate) fn change(
        &mut self,
        mode: Mode,
        wait: &mut dyn FnMut(&Path),
    ) -> Result<(), StoreError> {
        if !self.try_change(mode)? {
            wait(&self.path);
            self.flock(match mode {
                Mode::Shared => FlockOperation::LockShared,
                Mode::Exclusive => FlockOperation::LockExclusive,
            })?;
        }
        Ok(())
    }

    /// Changes the mode unless that means waiting. When it does not succeed, the old lock may be
    /// lost.
    pub(crate) fn try_change(&mut self, mode: Mode) -> Result<bool, StoreError> {
        self.flock(match mode {
            Mode::Shared => FlockOperation::NonBlockingLockShared,
            Mode::Exclusive => FlockOperation::NonBlockingLockExclusive,
        })
    }

    fn flock(&self, operation: FlockOperation) -> Result<bool, StoreError> {
        loop {
            match flock(&self.file, operation) {
                Ok(()) => return Ok(true),
                Err(Errno::WOULDBLOCK) => return Ok(false),
                Err(Errno::INTR) => {}
                Err(error) => return Err(StoreError::io("lock", &self.path)(error.into())),
            }
        }
    }
}
