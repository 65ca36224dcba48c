//! Finding, making and opening a store.

use std::{
    ffi::OsString,
    fs, io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{
    Store, StoreError, files,
    lock::{Lock, Mode},
};

/// The version of the store's format that this kiln reads and writes.
pub const STORE_FORMAT: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Marker {
    format: u32,
}

/// Where the store is: `$KILN_HOME`, else `$XDG_DATA_HOME/kiln`, else `~/.local/share/kiln`.
/// `variable` reads the environment.
///
/// Empty values count as unset, as does a relative `XDG_DATA_HOME` (XDG Base Directory
/// Specification, "Basics").
pub fn default_root(variable: impl Fn(&str) -> Option<OsString>) -> Result<PathBuf, StoreError> {
    let path = |name| {
        variable(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    path("KILN_HOME")
        .or_else(|| {
            Some(
                path("XDG_DATA_HOME")
                    .filter(|path| path.is_absolute())?
                    .join("kiln"),
            )
        })
        .or_else(|| Some(path("HOME")?.join(".local/share/kiln")))
        .ok_or(StoreError::NoHome)
}

impl Store {
    /// Opens the store in `root`, or makes one if the directory is empty or not there. Waits in
    /// silence while another process collects; see [`Store::open_waiting`].
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, StoreError> {
        Self::open_waiting(root, &mut |_| ())
    }

    /// As [`Store::open`], but calls `wait` with the path of the lock before it waits for
    /// another process that collects.
    pub fn open_waiting(
        root: impl Into<PathBuf>,
        wait: &mut dyn FnMut(&Path),
    ) -> Result<Self, StoreError> {
        let root = root.into();
        make_directory(&root)?;
        // Relative paths would break when the process changes its directory.
        let root = fs::canonicalize(&root).map_err(StoreError::io("open", &root))?;
        check_marker(&root)?;
        for directory in ["blobs/sha256", "downloads/sha256", "actions", "tmp"] {
            make_directory(&root.join(directory))?;
        }
        let mut lock = Lock::take(root.join("lock"), Mode::Shared, wait)?;
        clean_temporary(&root, &mut lock, wait)?;
        let store = Self { root, lock };
        store.ensure_layout()?;
        Ok(store)
    }
}

fn make_directory(path: &Path) -> Result<(), StoreError> {
    if path.is_dir() {
        return Ok(());
    }
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(StoreError::io("create", path))
}

/// Refuses what is not a store; makes an empty directory one.
fn check_marker(root: &Path) -> Result<(), StoreError> {
    let path = root.join("store.json");
    if let Some(bytes) = files::read_if_any(&path)? {
        let marker: Marker =
            serde_json::from_slice(&bytes).map_err(|source| StoreError::Damaged {
                path,
                source: source.into(),
            })?;
        return if marker.format > STORE_FORMAT {
            Err(StoreError::NewerFormat {
                path: root.to_owned(),
                found: marker.format,
            })
        } else {
            Ok(())
        };
    }
    let failed = |error| StoreError::io("read", root)(error);
    for entry in fs::read_dir(root).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        // A file system's own directory, or what a process left that was killed right here or
        // is doing the same right now.
        let ours = name.to_string_lossy().starts_with(files::TEMPORARY_PREFIX);
        if name != "lost+found" && name != "store.json" && !ours {
            // Another process may have made it a store meanwhile.
            if path.exists() {
                return Ok(());
            }
            return Err(StoreError::NotAStore(root.to_owned()));
        }
    }
    let marker = format!("{{\"format\":{STORE_FORMAT}}}\n");
    match files::replace(root, &path, marker.as_bytes()) {
        // Another process was faster, and has removed our file as one that was left behind.
        Err(_) if path.exists() => Ok(()),
        result => result,
    }
}

/// Removes what killed processes left in `tmp/`, and beside `store.json` when they were just
/// making the store, if nobody else uses it. When others do, it waits for a later run.
fn clean_temporary(
    root: &Path,
    lock: &mut Lock,
    wait: &mut dyn FnMut(&Path),
) -> Result<(), StoreError> {
    if temporary_files(root)?.is_empty() {
        return Ok(());
    }
    if lock.try_change(Mode::Exclusive)? {
        remove_temporary(root)?;
    }
    lock.change(Mode::Shared, wait)
}

/// Removes all temporary files. The caller holds the store's lock exclusively.
pub(crate) fn remove_temporary(root: &Path) -> Result<(), StoreError> {
    temporary_files(root)?
        .iter()
        .try_for_each(|path| files::remove(path))
}

fn temporary_files(root: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let paths = |directory: &Path| {
        fs::read_dir(directory)
            .and_then(|entries| {
                entries
                    .map(|entry| Ok(entry?.path()))
                    .collect::<io::Result<Vec<_>>>()
            })
            .map_err(StoreError::io("read", directory))
    };
    let mut files = paths(&root.join("tmp"))?;
    files.extend(paths(root)?.into_iter().filter(|path| {
        let name = path.file_name().unwrap_or_default();
        name.as_encoded_bytes()
            .starts_with(files::TEMPORARY_PREFIX.as_bytes())
    }));
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(variables: &[(&str, &str)]) -> Option<String> {
        let variable = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| OsString::from(value))
        };
        default_root(variable)
            .ok()
            .map(|path| path.to_str().unwrap().to_owned())
    }

    #[test]
    fn the_environment_says_where_the_store_is() {
        let home = ("HOME", "/home/a");
        assert_eq!(root(&[home]).unwrap(), "/home/a/.local/share/kiln");
        assert_eq!(
            root(&[home, ("XDG_DATA_HOME", "/data")]).unwrap(),
            "/data/kiln"
        );
        assert_eq!(
            root(&[home, ("XDG_DATA_HOME", "/data"), ("KILN_HOME", "k")]).unwrap(),
            "k"
        );
        assert_eq!(root(&[]), None);
    }

    #[test]
    fn empty_and_relative_values_count_as_unset() {
        let variables = [
            ("HOME", "/home/a"),
            ("XDG_DATA_HOME", "data"),
            ("KILN_HOME", ""),
        ];
        assert_eq!(root(&variables).unwrap(), "/home/a/.local/share/kiln");
    }
}
