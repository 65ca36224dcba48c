//! Files that are there completely or not at all.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use tempfile::NamedTempFile;

use crate::StoreError;

/// Temporary files begin with this, wherever they are.
pub(crate) const TEMPORARY_PREFIX: &str = ".kiln-";

pub(crate) fn has_size(path: &Path, size: u64) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.len() == size)
}

pub(crate) fn temporary_in(directory: &Path) -> Result<NamedTempFile, StoreError> {
    tempfile::Builder::new()
        .prefix(TEMPORARY_PREFIX)
        .permissions(fs::Permissions::from_mode(0o644))
        .tempfile_in(directory)
        .map_err(StoreError::io("create a file in", directory))
}

/// Syncs a finished temporary file and gives it its name, so that the name survives a crash of
/// the machine only with the content.
pub(crate) fn publish(file: NamedTempFile, target: &Path) -> Result<(), StoreError> {
    file.as_file()
        .sync_all()
        .map_err(StoreError::io("write", target))?;
    file.persist(target)
        .map_err(|error| StoreError::io("write", target)(error.error))?;
    sync_directory(target)
}

/// Replaces a file in one step.
pub(crate) fn replace(
    temporary_directory: &Path,
    target: &Path,
    content: &[u8],
) -> Result<(), StoreError> {
    let mut file = temporary_in(temporary_directory)?;
    file.write_all(content)
        .map_err(StoreError::io("write", target))?;
    publish(file, target)
}

fn sync_directory(of: &Path) -> Result<(), StoreError> {
    let directory = of.parent().unwrap_or(of);
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(StoreError::io("write", directory))
}

/// Reads a whole file, if it exists.
pub(crate) fn read_if_any(path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StoreError::io("read", path)(error)),
    }
}

/// Removes a file that another process may have removed already.
pub(crate) fn remove(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(StoreError::io("remove", path)(error))
        }
        _ => Ok(()),
    }
}
