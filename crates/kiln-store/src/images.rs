//! Named images: the `index.json` of the layout that the store is.

use std::{io::Read, path::Path};

use kiln_digest::Digest;
use kiln_oci::{
    Image, ImageIndex, Layout, LayoutEntry, LayoutError, MAX_DOCUMENT_SIZE, ManifestDescriptor,
    ManifestKind, OCI_LAYOUT_FILE, check_name,
};

use crate::{
    Store, StoreError, Wrong, files,
    lock::{Lock, Mode},
};

impl Store {
    /// Gives the image this name, taking it from another that has it. Its layers are in the
    /// store already; manifest and config are written here.
    pub fn put_image(&self, name: &str, image: &Image) -> Result<(), StoreError> {
        check_name(name).map_err(StoreError::Name)?;
        self.put_documents(image)?;
        self.set_name(name, &image.descriptor())
    }

    /// Writes manifest and config of an image that an index will name. Its layers are in the
    /// store already.
    pub fn put_documents(&self, image: &Image) -> Result<(), StoreError> {
        for layer in &image.layers {
            if !self.has_blob(&layer.digest, layer.size) {
                return Err(StoreError::MissingBlob(layer.digest));
            }
        }
        self.put_blob(&image.config_bytes)?;
        self.put_blob(&image.manifest_bytes)?;
        Ok(())
    }

    /// Gives the index this name. Its images are in the store already.
    pub fn put_index(&self, name: &str, index: &ImageIndex) -> Result<(), StoreError> {
        check_name(name).map_err(StoreError::Name)?;
        let descriptor = index.descriptor();
        let path = || self.blob_path(&index.digest);
        let images = kiln_oci::children(descriptor.kind.media_type(), &index.bytes)
            .map_err(|source| StoreError::damaged(path(), source))?;
        if let Some(image) = images
            .iter()
            .find(|image| !self.has_blob(&image.digest, image.size))
        {
            return Err(StoreError::MissingBlob(image.digest));
        }
        self.put_blob(&index.bytes)?;
        self.set_name(name, &descriptor)
    }

    fn set_name(&self, name: &str, manifest: &ManifestDescriptor) -> Result<(), StoreError> {
        let _lock = self.lock_index()?;
        let mut layout = self.layout()?;
        // A build with nothing to do writes nothing.
        if layout.find(name).as_ref() != Some(manifest) {
            layout.set(name, manifest).map_err(StoreError::Name)?;
            self.write_layout(&layout)?;
        }
        Ok(())
    }

    /// All names and what they name.
    pub fn images(&self) -> Result<Vec<LayoutEntry>, StoreError> {
        Ok(self.layout()?.entries().collect())
    }

    /// What this name names.
    pub fn find(&self, name: &str) -> Result<Option<ManifestDescriptor>, StoreError> {
        Ok(self.layout()?.find(name))
    }

    /// Forgets a name; whether it was there. The blobs stay until [`Store::gc`].
    pub fn remove(&self, name: &str) -> Result<bool, StoreError> {
        let _lock = self.lock_index()?;
        let mut layout = self.layout()?;
        let found = layout.remove(name);
        if found {
            self.write_layout(&layout)?;
        }
        Ok(found)
    }

    /// Reads the image with this name, verifying manifest and config. A name of several platforms
    /// is an error: see [`Store::images_of`].
    pub fn image(&self, name: &str) -> Result<Option<Image>, StoreError> {
        match self.find(name)? {
            None => Ok(None),
            Some(manifest) if manifest.kind == ManifestKind::Index => {
                Err(StoreError::SeveralPlatforms(name.to_owned()))
            }
            Some(manifest) => self.read_image(name, &manifest.digest).map(Some),
        }
    }

    /// Reads all images with this name, one for each platform and in the order of platforms,
    /// verifying manifests and configs. None if nothing has the name.
    pub fn images_of(&self, name: &str) -> Result<Vec<Image>, StoreError> {
        let Some(manifest) = self.find(name)? else {
            return Ok(Vec::new());
        };
        if manifest.kind == ManifestKind::Image {
            return Ok(vec![self.read_image(name, &manifest.digest)?]);
        }
        let index = self.read_document(&manifest.digest)?;
        let children = kiln_oci::children(manifest.kind.media_type(), &index)
            .map_err(|source| StoreError::damaged(self.blob_path(&manifest.digest), source))?;
        children
            .iter()
            .map(|child| self.read_image(name, &child.digest))
            .collect()
    }

    fn read_image(&self, name: &str, manifest: &Digest) -> Result<Image, StoreError> {
        let failed = |source| StoreError::Image {
            name: name.to_owned(),
            source,
        };
        let manifest_bytes = self.read_document(manifest)?;
        let (config, _) = Image::config_of(&manifest_bytes).map_err(failed)?;
        let config_bytes = self.read_document(&config)?;
        Image::read(manifest_bytes, config_bytes).map_err(failed)
    }

    /// Reads a small blob and verifies it.
    pub fn read_document(&self, digest: &Digest) -> Result<Vec<u8>, StoreError> {
        let mut bytes = Vec::new();
        self.open_blob(digest)?
            .take(MAX_DOCUMENT_SIZE + 1)
            .read_to_end(&mut bytes)
            .map_err(StoreError::io("read", self.blob_path(digest)))?;
        if Digest::of(&bytes) == *digest {
            Ok(bytes)
        } else {
            Err(StoreError::CorruptBlob(*digest))
        }
    }

    /// Makes an empty layout of a new store.
    pub(crate) fn ensure_layout(&self) -> Result<(), StoreError> {
        let marker = self.path("oci-layout");
        if files::read_if_any(&marker)?.is_none() {
            files::replace(&self.path("tmp"), &marker, OCI_LAYOUT_FILE.as_bytes())?;
        }
        if !self.index_path().exists() {
            let _lock = self.lock_index()?;
            if !self.index_path().exists() {
                self.write_layout(&Layout::new())?;
            }
        }
        Ok(())
    }

    /// Makes `oci-layout` and `index.json` again if they cannot be understood; gives those.
    pub(crate) fn mend_layout(&self) -> Result<Vec<Wrong>, StoreError> {
        let _lock = self.lock_index()?;
        let mut wrong = Vec::new();
        let marker = self.path("oci-layout");
        let read = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes).ok();
        // Other tools may have written it, with other blanks.
        if files::read_if_any(&marker)?.and_then(|found| read(&found))
            != read(OCI_LAYOUT_FILE.as_bytes())
        {
            files::replace(&self.path("tmp"), &marker, OCI_LAYOUT_FILE.as_bytes())?;
            wrong.push(Wrong::Layout(marker));
        }
        match self.layout() {
            Err(StoreError::Damaged { path, .. }) => {
                self.write_layout(&Layout::new())?;
                wrong.push(Wrong::Layout(path));
            }
            layout => drop(layout?),
        }
        Ok(wrong)
    }

    pub(crate) fn layout(&self) -> Result<Layout, StoreError> {
        let path = self.index_path();
        let Some(bytes) = files::read_if_any(&path)? else {
            return Ok(Layout::new());
        };
        Layout::parse(&bytes).map_err(|error| match error {
            LayoutError::Document(source) => StoreError::damaged(path, source),
            error @ LayoutError::Name(_) => StoreError::Name(error),
        })
    }

    fn write_layout(&self, layout: &Layout) -> Result<(), StoreError> {
        files::replace(&self.path("tmp"), &self.index_path(), &layout.to_bytes())
    }

    fn lock_index(&self) -> Result<Lock, StoreError> {
        // Held for milliseconds, so nobody is told that one waits.
        Lock::take(self.path("index.lock"), Mode::Exclusive, &mut |_: &Path| ())
    }

    fn index_path(&self) -> std::path::PathBuf {
        self.path("index.json")
    }
}
