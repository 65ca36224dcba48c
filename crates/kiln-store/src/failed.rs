//! Failed actions: where the state is that an action left, so that a person can look at it.
//!
//! A record is a small file named by the action's key. It is a note for people, so one that is
//! damaged, or whose state is gone, counts as absent.

use std::path::PathBuf;

use kiln_digest::Digest;
use serde::{Deserialize, Serialize};

use crate::{Store, StoreError, collect::list, files};

const DIRECTORY: &str = "actions/failed";

/// An action that failed and left a state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedAction {
    /// What it was to do, for people.
    pub title: String,
    /// The directory that keeps the state, below [`Store::rootfs_dir`].
    pub state: PathBuf,
}

impl Store {
    /// Notes that the action with this key failed and left a state.
    pub fn put_failed(&self, key: &Digest, failed: &FailedAction) -> Result<(), StoreError> {
        let directory = self.path(DIRECTORY);
        std::fs::create_dir_all(&directory).map_err(StoreError::io("create", &directory))?;
        let content = serde_json::to_vec(failed)
            .map_err(|error| StoreError::io("write", &directory)(error.into()))?;
        files::replace(&self.path("tmp"), &directory.join(key.hex()), &content)
    }

    /// The failed actions whose state is still there, by key.
    pub fn failed(&self) -> Result<Vec<(Digest, FailedAction)>, StoreError> {
        let directory = self.path(DIRECTORY);
        if !directory.exists() {
            return Ok(Vec::new());
        }
        let mut found = Vec::new();
        for (path, name, _) in list(&directory)? {
            let Ok(key) = Digest::from_hex(&name) else {
                continue;
            };
            let record = files::read_if_any(&path)?;
            let record = record.and_then(|bytes| serde_json::from_slice(&bytes).ok());
            found.extend(
                record
                    .filter(|failed: &FailedAction| failed.state.is_dir())
                    .map(|failed| (key, failed)),
            );
        }
        Ok(found)
    }

    /// Forgets that an action failed. Its state stays: the sandbox removes it.
    pub fn forget_failed(&self, key: &Digest) -> Result<(), StoreError> {
        files::remove(&self.path(DIRECTORY).join(key.hex()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_action_is_known_until_it_is_forgotten_or_its_state_is_gone() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(home.path().join("store")).unwrap();
        assert_eq!(store.failed().unwrap(), []);
        let record = |name: &str| {
            let state = store.rootfs_dir().join(name);
            std::fs::create_dir_all(&state).unwrap();
            let title = name.to_owned();
            let failed = FailedAction { title, state };
            let key = Digest::of(name.as_bytes());
            store.put_failed(&key, &failed).unwrap();
            (key, failed)
        };
        let (first, second) = (record("first"), record("second"));
        let mut both = vec![first.clone(), second.clone()];
        both.sort_by_key(|(key, _)| key.hex());
        assert_eq!(store.failed().unwrap(), both);
        store.forget_failed(&first.0).unwrap();
        store.forget_failed(&first.0).unwrap();
        assert_eq!(store.failed().unwrap(), std::slice::from_ref(&second));
        std::fs::remove_dir(&second.1.state).unwrap();
        assert_eq!(store.failed().unwrap(), []);
    }

    #[test]
    fn a_damaged_record_is_absent() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(home.path().join("store")).unwrap();
        let directory = store.path(DIRECTORY);
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join(Digest::of(b"key").hex()), b"{\"title\"").unwrap();
        std::fs::write(directory.join("other"), b"{}").unwrap();
        assert_eq!(store.failed().unwrap(), []);
    }
}
