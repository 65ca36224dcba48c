//! Readers of what the sandbox leaves, for the fuzz targets of the project. Nothing here is an
//! interface.

use bytes::Bytes;
use kiln_layer::{Entry, EntryKind, EntryPath, Payload, REPRODUCIBLE_MTIME};

use crate::{bytecode::records, configure::keystore};

pub use keystore::KeyStoreError;

pub fn key_store(bytes: &[u8], time: i64) -> Result<Vec<u8>, KeyStoreError> {
    keystore::with_times(bytes, time)
}

/// Reads one file of records of four sources.
pub fn compiled_modules(bytes: &[u8]) -> Option<Vec<Bytes>> {
    let entry = Entry {
        path: EntryPath::new("0").ok()?,
        kind: EntryKind::File(Payload::Plain(Bytes::copy_from_slice(bytes))),
        mode: 0o644,
        uid: 0,
        gid: 0,
        mtime: REPRODUCIBLE_MTIME,
        capability: None,
    };
    let compiled = records::read(&[entry], 4).ok()?;
    Some(compiled.into_iter().map(|it| it.module).collect())
}
