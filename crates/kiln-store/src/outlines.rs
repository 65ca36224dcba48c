//! Outlines: what a layer holds in brief, kept beside it by whoever knows its meaning.
//!
//! An outline can always be made again from its layer, so one that is torn or damaged counts as
//! absent: its first 32 bytes are the SHA-256 of the rest.

use kiln_digest::Digest;

use crate::{Store, StoreError, collect::list, files};

const DIRECTORY: &str = "actions/outlines";

impl Store {
    /// The outline of the layer with this digest, if there is a whole one.
    pub fn outline(&self, layer: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
        let path = self.path(DIRECTORY).join(layer.hex());
        let Some(bytes) = files::read_if_any(&path)? else {
            return Ok(None);
        };
        let whole = bytes
            .split_at_checked(32)
            .filter(|(check, rest)| Digest::of(rest).as_bytes().as_slice() == *check);
        Ok(whole.map(|(_, rest)| rest.to_vec()))
    }

    /// Keeps the outline of a layer.
    pub fn put_outline(&self, layer: &Digest, outline: &[u8]) -> Result<(), StoreError> {
        let directory = self.path(DIRECTORY);
        std::fs::create_dir_all(&directory).map_err(StoreError::io("create", &directory))?;
        let content = [Digest::of(outline).as_bytes().as_slice(), outline].concat();
        files::replace(&self.path("tmp"), &directory.join(layer.hex()), &content)
    }

    /// Removes the outlines of layers that are gone.
    pub(crate) fn drop_outlines(&self) -> Result<(), StoreError> {
        let directory = self.path(DIRECTORY);
        if !directory.exists() {
            return Ok(());
        }
        for (path, name, _) in list(&directory)? {
            let layer = Digest::from_hex(&name);
            if layer.is_ok_and(|layer| self.blob_path(&layer).exists()) {
                continue;
            }
            files::remove(&path)?;
        }
        Ok(())
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
