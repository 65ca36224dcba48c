//! The forms in which an image leaves the store: OCI archive, OCI directory, Docker archive.

use std::{
    collections::BTreeSet,
    fs,
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use kiln_digest::{Digest, Hasher};

use crate::{
    descriptor::{LayerDescriptor, LayerMediaType},
    document::to_bytes,
    image::Image,
    layout::{Layout, LayoutError, OCI_LAYOUT_FILE},
};

/// Opens a blob by its digest. What it reads is verified by those who read it.
pub type OpenBlob<'a> = dyn Fn(&Digest) -> io::Result<Box<dyn Read + Send>> + 'a;

/// Why an image cannot be written out.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// A layer cannot be opened.
    #[error("cannot open layer {digest}")]
    OpenLayer {
        /// The layer.
        digest: Digest,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Copying failed: the output cannot be written, or a layer is corrupt
    /// ([`io::ErrorKind::InvalidData`]).
    #[error("{}", not_written(what, source))]
    Write {
        /// The file in the archive or directory.
        what: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The directory holds something else.
    #[error("`{}` is neither empty nor an image layout", .0.display())]
    NotALayout(PathBuf),
    /// The name or the directory's index is unusable.
    #[error(transparent)]
    Layout(#[from] LayoutError),
}

fn not_written(what: &str, why: &io::Error) -> String {
    match why.kind() {
        io::ErrorKind::InvalidData => format!("`{what}` is damaged"),
        _ => format!("cannot write `{what}`"),
    }
}

impl ArchiveError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Write { source, .. } if source.kind() == io::ErrorKind::InvalidData => {
                Some("a blob in the store is damaged; `kiln store verify` finds and removes such blobs, the next build makes them again".to_owned())
            }
            Self::OpenLayer { .. } => Some(
                "`kiln store verify` says what the store lacks; the next build makes it again"
                    .to_owned(),
            ),
            Self::NotALayout(_) => Some("choose a new directory".to_owned()),
            _ => None,
        }
    }
}

/// Writes a tar archive of an image layout with this one image, as `skopeo copy
/// oci-archive:FILE:NAME` reads it. What loads archives into an engine gives it `reference`.
pub fn write_oci_archive(
    image: &Image,
    name: &str,
    reference: &str,
    open: &OpenBlob<'_>,
    output: impl Write,
) -> Result<(), ArchiveError> {
    let mut layout = Layout::new();
    layout.set_for_engines(name, reference, &image.descriptor())?;
    let mut archive = Archive::new(output);
    archive.bytes("oci-layout", OCI_LAYOUT_FILE.as_bytes())?;
    archive.bytes("index.json", &layout.to_bytes())?;
    archive.directory("blobs/")?;
    archive.directory("blobs/sha256/")?;
    archive.bytes(&blob_path(&image.manifest_digest), &image.manifest_bytes)?;
    archive.bytes(&blob_path(&image.config_digest), &image.config_bytes)?;
    for layer in each_once(image) {
        let blob = Verified::new(open_layer(open, layer)?, layer.digest, layer.size);
        archive.append(&blob_path(&layer.digest), layer.size, blob)?;
    }
    archive.finish()
}

/// Writes a Docker archive, as `docker load` and `podman load` read it, which gives the image
/// these `tags` (`name:tag`).
///
/// The image ID stays the digest of the config. Layers stay as they are when they are gzip.
pub fn write_docker_archive(
    image: &Image,
    tags: &[String],
    open: &OpenBlob<'_>,
    output: impl Write,
) -> Result<(), ArchiveError> {
    /// One image of `manifest.json` (Docker image specification 1.2, "Combined Image JSON").
    #[derive(serde::Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Entry<'a> {
        config: String,
        repo_tags: &'a [String],
        layers: Vec<String>,
    }

    let stored = |layer: &LayerDescriptor| match layer.media_type {
        LayerMediaType::Gzip => (layer.digest, layer.size),
        LayerMediaType::Zstd => (layer.diff_id, layer.unpacked_size),
    };
    let manifest = [Entry {
        config: blob_path(&image.config_digest),
        repo_tags: tags,
        layers: image
            .layers
            .iter()
            .map(|layer| blob_path(&stored(layer).0))
            .collect(),
    }];
    let mut archive = Archive::new(output);
    archive.bytes("manifest.json", &to_bytes(&manifest))?;
    archive.bytes(&blob_path(&image.config_digest), &image.config_bytes)?;
    for layer in each_once(image) {
        let blob = open_layer(open, layer)?;
        let path = blob_path(&stored(layer).0);
        let (digest, size) = stored(layer);
        match layer.media_type {
            LayerMediaType::Gzip => {
                archive.append(&path, size, Verified::new(blob, digest, size))?;
            }
            LayerMediaType::Zstd => {
                let inflated = zstd::Decoder::new(blob).map_err(|source| ArchiveError::Write {
                    what: path.clone(),
                    source,
                })?;
                archive.append(&path, size, Verified::new(inflated, digest, size))?;
            }
        }
    }
    archive.finish()
}

/// Writes the image into a directory as an image layout, or adds it to the one that is there.
/// Nothing is named in its `index.json` before all its blobs are there. `name` and `reference` as for
/// [`write_oci_archive`].
pub fn write_oci_directory(
    image: &Image,
    name: &str,
    reference: &str,
    open: &OpenBlob<'_>,
    directory: &Path,
) -> Result<(), ArchiveError> {
    let failed = |what: &str| {
        let what = directory.join(what).display().to_string();
        move |source| ArchiveError::Write { what, source }
    };
    fs::create_dir_all(directory).map_err(failed(""))?;
    let mut layout = match fs::read(directory.join("index.json")) {
        Ok(bytes) => Layout::parse(&bytes)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if fs::read_dir(directory)
                .map_err(failed(""))?
                .next()
                .is_some()
            {
                return Err(ArchiveError::NotALayout(directory.to_owned()));
            }
            Layout::new()
        }
        Err(error) => return Err(failed("index.json")(error)),
    };
    layout.set_for_engines(name, reference, &image.descriptor())?;
    fs::create_dir_all(directory.join("blobs/sha256")).map_err(failed("blobs/sha256"))?;

    let write = |path: &str, content: &mut dyn Read| -> Result<(), ArchiveError> {
        let mut file = || -> io::Result<()> {
            let target = directory.join(path);
            let parent = target.parent().unwrap_or(directory);
            let mut file = tempfile::Builder::new()
                .prefix(".kiln-")
                .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
                .tempfile_in(parent)?;
            io::copy(content, &mut file)?;
            file.persist(target)?;
            Ok(())
        };
        file().map_err(failed(path))
    };
    for layer in each_once(image) {
        let blob = open_layer(open, layer)?;
        let mut blob = Verified::new(blob, layer.digest, layer.size);
        write(&blob_path(&layer.digest), &mut blob)?;
    }
    write(
        &blob_path(&image.config_digest),
        &mut image.config_bytes.as_slice(),
    )?;
    write(
        &blob_path(&image.manifest_digest),
        &mut image.manifest_bytes.as_slice(),
    )?;
    write("oci-layout", &mut OCI_LAYOUT_FILE.as_bytes())?;
    write("index.json", &mut layout.to_bytes().as_slice())
}

fn blob_path(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// The layers in order, those that occur twice only the first time.
fn each_once(image: &Image) -> impl Iterator<Item = &LayerDescriptor> {
    let mut seen = BTreeSet::new();
    image
        .layers
        .iter()
        .filter(move |layer| seen.insert(layer.digest))
}

fn open_layer(
    open: &OpenBlob<'_>,
    layer: &LayerDescriptor,
) -> Result<Box<dyn Read + Send>, ArchiveError> {
    open(&layer.digest).map_err(|source| ArchiveError::OpenLayer {
        digest: layer.digest,
        source,
    })
}

/// A tar archive whose headers hold nothing but names and sizes.
struct Archive<W: Write>(tar::Builder<W>);

impl<W: Write> Archive<W> {
    fn new(output: W) -> Self {
        Self(tar::Builder::new(output))
    }

    fn directory(&mut self, path: &str) -> Result<(), ArchiveError> {
        self.entry(path, tar::EntryType::Directory, 0, io::empty())
    }

    fn bytes(&mut self, path: &str, content: &[u8]) -> Result<(), ArchiveError> {
        self.append(path, content.len() as u64, content)
    }

    fn append(&mut self, path: &str, size: u64, content: impl Read) -> Result<(), ArchiveError> {
        self.entry(path, tar::EntryType::Regular, size, content)
    }

    fn entry(
        &mut self,
        path: &str,
        kind: tar::EntryType,
        size: u64,
        content: impl Read,
    ) -> Result<(), ArchiveError> {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(if kind.is_dir() { 0o755 } else { 0o644 });
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(size);
        self.0
            .append_data(&mut header, path, content)
            .map_err(|source| ArchiveError::Write {
                what: path.to_owned(),
                source,
            })
    }

    fn finish(self) -> Result<(), ArchiveError> {
        let failed = |source| ArchiveError::Write {
            what: "the archive's end".to_owned(),
            source,
        };
        self.0
            .into_inner()
            .and_then(|mut output| output.flush())
            .map_err(failed)
    }
}

/// Reads exactly `remaining` bytes and fails at their end unless they have the digest.
struct Verified<R> {
    inner: R,
    hasher: Option<Hasher>,
    digest: Digest,
    remaining: u64,
}

impl<R: Read> Verified<R> {
    fn new(inner: R, digest: Digest, size: u64) -> Self {
        Self {
            inner,
            hasher: Some(Hasher::new()),
            digest,
            remaining: size,
        }
    }
}

impl<R: Read> Read for Verified<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(hasher) = &mut self.hasher else {
            return Ok(0);
        };
        if buffer.is_empty() {
            return Ok(0);
        }
        let wrong = |problem: &str| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("{} {problem}", self.digest),
            )
        };
        let count = self.inner.read(buffer)?;
        if count as u64 > self.remaining {
            return Err(wrong("is longer than it should be"));
        }
        hasher.update(&buffer[..count]);
        self.remaining -= count as u64;
        if count == 0 {
            if self.remaining > 0 {
                return Err(wrong("is shorter than it should be"));
            }
            if self.hasher.take().map(Hasher::finish) != Some(self.digest) {
                return Err(wrong("has other content than its name says"));
            }
        }
        Ok(count)
    }
}
