//! Facts: [notes](crate::notes) of what somebody has read from a package and would have to read again.
//!
//! They outlive the packages that they are about: they are small, and spare a download.

use std::collections::BTreeSet;

use kiln_digest::Digest;

use crate::{Store, StoreError, notes};

const DIRECTORY: &str = "facts";

impl Store {
    /// What is known of the package with this digest.
    pub fn facts(&self, package: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
        notes::read(self, DIRECTORY, package)
    }

    /// Keeps what was read from a package.
    pub fn put_facts(&self, package: &Digest, facts: &[u8]) -> Result<(), StoreError> {
        notes::write(self, DIRECTORY, package, facts)
    }

    /// Removes the facts about packages that nothing keeps and that are gone.
    pub(crate) fn drop_facts(&self, keep: &BTreeSet<Digest>) -> Result<(), StoreError> {
        notes::retain(self, DIRECTORY, |package| {
            keep.contains(package) || self.download_path(package).exists()
        })
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
