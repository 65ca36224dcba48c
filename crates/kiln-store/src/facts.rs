//! Facts: what somebody has read from a package and would have to read again.
//!
//! Like an outline, a fact can always be had again from its package, so one that is torn or
//! damaged counts as absent: its first 32 bytes are the SHA-256 of the rest. Writing one waits for
//! no disk. Facts outlive the packages that they are about: they are small, and spare a download.

use std::{collections::BTreeSet, io::Write};

use kiln_digest::Digest;

use crate::{Store, StoreError, collect::list, files};

const DIRECTORY: &str = "facts";

impl Store {
    /// What is known of the package with this digest.
    pub fn facts(&self, package: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
        let path = self.path(DIRECTORY).join(package.hex());
        let Some(bytes) = files::read_if_any(&path)? else {
            return Ok(None);
        };
        let whole = bytes
            .split_at_checked(32)
            .filter(|(check, rest)| Digest::of(rest).as_bytes().as_slice() == *check);
        Ok(whole.map(|(_, rest)| rest.to_vec()))
    }

    /// Keeps what was read from a package.
    pub fn put_facts(&self, package: &Digest, facts: &[u8]) -> Result<(), StoreError> {
        let directory = self.path(DIRECTORY);
        std::fs::create_dir_all(&directory).map_err(StoreError::io("create", &directory))?;
        let target = directory.join(package.hex());
        let failed = |error| StoreError::io("write", &target)(error);
        let mut file = files::temporary_in(&self.path("tmp"))?;
        file.write_all(Digest::of(facts).as_bytes())
            .and_then(|()| file.write_all(facts))
            .map_err(failed)?;
        file.persist(&target).map_err(|error| failed(error.error))?;
        Ok(())
    }

    /// Removes the facts about packages that nothing keeps and that are gone.
    pub(crate) fn drop_facts(&self, keep: &BTreeSet<Digest>) -> Result<(), StoreError> {
        let directory = self.path(DIRECTORY);
        if !directory.exists() {
            return Ok(());
        }
        for (path, name, _) in list(&directory)? {
            let package = Digest::from_hex(&name);
            if !package.is_ok_and(|it| keep.contains(&it) || self.download_path(&it).exists()) {
                files::remove(&path)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::GcOptions;

    fn store() -> (tempfile::TempDir, Store) {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(home.path().join("store")).unwrap();
        (home, store)
    }

    #[test]
    fn facts_read_back_and_damaged_ones_are_absent() {
        let (_home, store) = store();
        let package = Digest::of(b"package");
        assert_eq!(store.facts(&package).unwrap(), None);
        store.put_facts(&package, b"facts").unwrap();
        assert_eq!(
            store.facts(&package).unwrap().as_deref(),
            Some(&b"facts"[..])
        );
        let path = store.path(DIRECTORY).join(package.hex());
        let mut bytes = std::fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(store.facts(&package).unwrap(), None);
    }

    #[test]
    fn collection_keeps_the_facts_of_what_locks_name() {
        let (_home, mut store) = store();
        let [named, forgotten] = [Digest::of(b"named"), Digest::of(b"forgotten")];
        for package in [named, forgotten] {
            store.put_facts(&package, b"facts").unwrap();
        }
        let options = GcOptions {
            downloads: [named].into(),
            ..GcOptions::default()
        };
        store.gc(&options, &mut |_| ()).unwrap();
        assert!(store.facts(&named).unwrap().is_some());
        assert_eq!(store.facts(&forgotten).unwrap(), None);
    }
}
