//! Readers of what the sandbox leaves, for the fuzz targets of the project. Nothing here is an
//! interface.

use crate::{bytecode::compiler, configure::keystore};

pub use keystore::KeyStoreError;

pub fn key_store(bytes: &[u8], time: i64) -> Result<Vec<u8>, KeyStoreError> {
    keystore::with_times(bytes, time)
}

/// Reads what a worker that compiles modules says, up to what is no answer.
pub fn compiled_modules(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut said = bytes;
    let answers = std::iter::from_fn(|| compiler::answer(&mut said).ok());
    answers.flatten().collect()
}
