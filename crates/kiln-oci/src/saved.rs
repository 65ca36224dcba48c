//! Images as somebody wrote them: an image layout in a directory or in a tar archive, of any
//! maker.
//!
//! Nothing is believed: documents are verified by their digests, layers are only opened. What an
//! image lacks that kiln's own have (sizes of tar streams) is no error here.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use kiln_digest::Digest;
use oci_spec::image as oci;

use crate::{
    descriptor::{Platform, digest_of},
    document::{Child, DocumentError, MAX_DOCUMENT_SIZE, children, is_index, parse},
    layout::{Layout, LayoutError},
};

/// An image layout that is read.
#[derive(Debug)]
pub struct Saved {
    path: PathBuf,
    layout: Layout,
    /// Where the files of an archive are; none for a directory.
    files: Option<BTreeMap<String, Extent>>,
}

/// Where a file of an archive lies, in bytes.
#[derive(Debug, Clone, Copy)]
struct Extent {
    start: u64,
    length: u64,
}

/// An image of a [`Saved`] layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedImage {
    /// The platform, as the config says.
    pub platform: Platform,
    /// The digest of the manifest.
    pub manifest_digest: Digest,
    /// The manifest.
    pub manifest_bytes: Vec<u8>,
    /// The digest of the config.
    pub config_digest: Digest,
    /// The config.
    pub config_bytes: Vec<u8>,
    /// The layers, lowest first.
    pub layers: Vec<SavedLayer>,
}

/// A layer of a [`SavedImage`], as the manifest names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SavedLayer {
    /// The digest that the blob should have.
    pub digest: Digest,
    /// The size that the blob should have.
    pub size: u64,
}

/// Why a saved image cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SavedError {
    /// It is something else.
    #[error("`{}` is no image layout, in a directory or an archive", .0.display())]
    NotALayout(PathBuf),
    /// A file cannot be read.
    #[error("cannot read `{what}`")]
    Read {
        /// The file.
        what: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The layout has no image of the wanted name, and several others, or none.
    #[error("`{}` has no image with the name `{name}`", path.display())]
    NoImage {
        /// The layout.
        path: PathBuf,
        /// The name.
        name: String,
    },
    /// A document that is named by a digest has another one.
    #[error("document {0} has other content than its name says")]
    Damaged(Digest),
    /// A document cannot be understood.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// The index of the layout cannot be understood.
    #[error(transparent)]
    Layout(#[from] LayoutError),
}

impl SavedError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotALayout(_) => Some(
                "`kiln export`, `skopeo copy … oci:DIR` and `skopeo copy … oci-archive:FILE` \
                 write such"
                    .to_owned(),
            ),
            _ => None,
        }
    }
}

impl Saved {
    /// Opens the layout in a directory or in an archive that is not compressed.
    pub fn open(path: &Path) -> Result<Self, SavedError> {
        let failed = |source| SavedError::Read {
            what: path.display().to_string(),
            source,
        };
        let files = if std::fs::metadata(path).map_err(failed)?.is_dir() {
            None
        } else {
            let file = File::open(path).map_err(failed)?;
            let files = extents(file).map_err(|_| SavedError::NotALayout(path.to_owned()))?;
            Some(files)
        };
        let mut saved = Self {
            path: path.to_owned(),
            layout: Layout::new(),
            files,
        };
        let index = match saved.document("index.json") {
            Err(SavedError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                return Err(SavedError::NotALayout(path.to_owned()));
            }
            read => read?,
        };
        saved.layout = Layout::parse(&index)?;
        Ok(saved)
    }

    /// The images with this name, one for each platform. When the layout holds one thing alone,
    /// its name does not matter.
    pub fn images(&self, name: &str) -> Result<Vec<SavedImage>, SavedError> {
        let all = self.layout.children();
        let named = self.layout.find(name).map(|manifest| Child {
            digest: manifest.digest,
            size: manifest.size,
            media_type: manifest.kind.media_type().to_owned(),
        });
        let child = match (named, all.as_slice()) {
            (Some(named), _) => named,
            (None, [only]) => only.clone(),
            (None, _) => {
                return Err(SavedError::NoImage {
                    path: self.path.clone(),
                    name: name.to_owned(),
                });
            }
        };
        let bytes = self.verified(&child.digest)?;
        if !is_index(&child.media_type) {
            return Ok(vec![self.image(bytes)?]);
        }
        children(&child.media_type, &bytes)?
            .iter()
            .filter(|child| child.is_document() && !is_index(&child.media_type))
            .map(|child| self.image(self.verified(&child.digest)?))
            .collect()
    }

    /// Opens a blob. Its content is not verified here.
    pub fn blob(&self, digest: &Digest) -> io::Result<Box<dyn Read + Send>> {
        self.file(&format!("blobs/sha256/{}", digest.hex()))
    }

    fn image(&self, manifest_bytes: Vec<u8>) -> Result<SavedImage, SavedError> {
        let manifest: oci::ImageManifest = parse("image manifest", &manifest_bytes)?;
        let sha256 = |descriptor: &oci::Descriptor| {
            digest_of(descriptor).ok_or_else(|| DocumentError::Invalid {
                what: "image manifest",
                source: serde::de::Error::custom("a digest is not SHA-256"),
            })
        };
        let config_digest = sha256(manifest.config())?;
        let config_bytes = self.verified(&config_digest)?;
        let config: oci::ImageConfiguration = parse("image config", &config_bytes)?;
        let layers = manifest.layers().iter().map(|layer| {
            Ok(SavedLayer {
                digest: sha256(layer)?,
                size: layer.size(),
            })
        });
        Ok(SavedImage {
            platform: Platform {
                os: config.os().to_string(),
                architecture: config.architecture().to_string(),
            },
            layers: layers.collect::<Result<_, DocumentError>>()?,
            config_digest,
            config_bytes,
            manifest_digest: Digest::of(&manifest_bytes),
            manifest_bytes,
        })
    }

    fn verified(&self, digest: &Digest) -> Result<Vec<u8>, SavedError> {
        let bytes = self.document(&format!("blobs/sha256/{}", digest.hex()))?;
        if Digest::of(&bytes) == *digest {
            Ok(bytes)
        } else {
            Err(SavedError::Damaged(*digest))
        }
    }

    fn document(&self, name: &str) -> Result<Vec<u8>, SavedError> {
        let failed = |source| SavedError::Read {
            what: self.path.join(name).display().to_string(),
            source,
        };
        let mut bytes = Vec::new();
        self.file(name)
            .map_err(failed)?
            .take(MAX_DOCUMENT_SIZE + 1)
            .read_to_end(&mut bytes)
            .map_err(failed)?;
        match bytes.len() as u64 {
            size if size > MAX_DOCUMENT_SIZE => Err(DocumentError::TooLarge { size }.into()),
            _ => Ok(bytes),
        }
    }

    fn file(&self, name: &str) -> io::Result<Box<dyn Read + Send>> {
        let Some(files) = &self.files else {
            return Ok(Box::new(File::open(self.path.join(name))?));
        };
        let extent = files
            .get(name)
            .ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(extent.start))?;
        Ok(Box::new(file.take(extent.length)))
    }
}

/// Where the files of a tar archive are.
fn extents(file: File) -> io::Result<BTreeMap<String, Extent>> {
    let mut archive = tar::Archive::new(file);
    let mut files = BTreeMap::new();
    for entry in archive.entries_with_seek()? {
        let entry = entry?;
        let path = entry.path()?;
        let name = path.strip_prefix(".").unwrap_or(&path);
        if let Some(name) = name.to_str()
            && entry.header().entry_type().is_file()
        {
            let extent = Extent {
                start: entry.raw_file_position(),
                length: entry.size(),
            };
            files.insert(name.to_owned(), extent);
        }
    }
    Ok(files)
}
