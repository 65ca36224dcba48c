//! Notes: small files, each about a digest, that can always be had again from what they are about.
//!
//! So one that is torn or damaged counts as absent: its first 32 bytes are the SHA-256 of the rest.
//! Writing one waits for no disk.

use std::{fs, io::Write as _};

use kiln_digest::Digest;

use crate::{Store, StoreError, collect::list, files};

/// The note about a digest, if there is a whole one.
pub(crate) fn read(
    store: &Store,
    directory: &str,
    about: &Digest,
) -> Result<Option<Vec<u8>>, StoreError> {
    let path = store.path(directory).join(about.hex());
    let Some(bytes) = files::read_if_any(&path)? else {
        return Ok(None);
    };
    let whole = bytes
        .split_at_checked(32)
        .filter(|(check, rest)| Digest::of(rest).as_bytes().as_slice() == *check);
    Ok(whole.map(|(_, rest)| rest.to_vec()))
}

/// Writes the note about a digest.
pub(crate) fn write(
    store: &Store,
    directory: &str,
    about: &Digest,
    content: &[u8],
) -> Result<(), StoreError> {
    let directory = store.path(directory);
    fs::create_dir_all(&directory).map_err(StoreError::io("create", &directory))?;
    let target = directory.join(about.hex());
    let failed = |error| StoreError::io("write", &target)(error);
    let mut file = files::temporary_in(&store.path("tmp"))?;
    file.write_all(Digest::of(content).as_bytes())
        .and_then(|()| file.write_all(content))
        .map_err(failed)?;
    file.persist(&target).map_err(|error| failed(error.error))?;
    Ok(())
}

/// Removes the notes that are about nothing that is to be kept.
pub(crate) fn retain(
    store: &Store,
    directory: &str,
    keep: impl Fn(&Digest) -> bool,
) -> Result<(), StoreError> {
    let directory = store.path(directory);
    if !directory.exists() {
        return Ok(());
    }
    for (path, name, _) in list(&directory)? {
        if !Digest::from_hex(&name).is_ok_and(|about| keep(&about)) {
            files::remove(&path)?;
        }
    }
    Ok(())
}
