//! Outlines: [notes](crate::notes) of what a layer holds in brief, by whoever knows its meaning.

use kiln_digest::Digest;

use crate::{Store, StoreError, notes};

const DIRECTORY: &str = "actions/outlines";

impl Store {
    /// The outline of the layer with this digest, if there is a whole one.
    pub fn outline(&self, layer: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
        notes::read(self, DIRECTORY, layer)
    }

    /// Keeps the outline of a layer.
    pub fn put_outline(&self, layer: &Digest, outline: &[u8]) -> Result<(), StoreError> {
        notes::write(self, DIRECTORY, layer, outline)
    }

    /// Removes the outlines of layers that are gone.
    pub(crate) fn drop_outlines(&self) -> Result<(), StoreError> {
        notes::retain(self, DIRECTORY, |layer| self.blob_path(layer).exists())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outline_reads_back_and_a_damaged_one_is_absent() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(home.path().join("store")).unwrap();
        let layer = Digest::of(b"layer");
        assert_eq!(store.outline(&layer).unwrap(), None);
        store.put_outline(&layer, b"brief").unwrap();
        assert_eq!(
            store.outline(&layer).unwrap().as_deref(),
            Some(&b"brief"[..])
        );
        let path = store.path(DIRECTORY).join(layer.hex());
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.truncate(33);
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(store.outline(&layer).unwrap(), None);
    }

    #[test]
    fn collection_drops_the_outlines_of_layers_that_are_gone() {
        let home = tempfile::tempdir().unwrap();
        let mut store = Store::open(home.path().join("store")).unwrap();
        let layer = store.put_blob(b"layer").unwrap();
        store.put_outline(&layer, b"brief").unwrap();
        store.gc(&crate::GcOptions::default(), &mut |_| ()).unwrap();
        assert_eq!(store.outline(&layer).unwrap(), None);
    }
}
