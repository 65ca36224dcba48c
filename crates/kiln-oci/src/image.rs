//! Images: from settings and layers to config and manifest, and back.

use std::collections::{BTreeMap, HashMap};

use kiln_digest::Digest;
use oci_spec::image::{self as oci, Arch, MediaType, Os, SCHEMA_VERSION};

use crate::{
    descriptor::{
        LayerDescriptor, LayerMediaType, ManifestDescriptor, ManifestKind, Platform, digest_of,
        oci_descriptor,
    },
    document::{DocumentError, parse, to_bytes},
};

/// The annotation of a layer in a manifest that holds the size of its tar stream in bytes, which
/// the image specification has no field for.
pub const UNPACKED_SIZE_ANNOTATION: &str = "dev.kiln.layer.unpacked-size";

/// The annotation of a layer in a manifest that holds the digest of its eStargz table of contents
/// (stargz-snapshotter, docs/estargz.md, "Content Verification").
pub const TOC_DIGEST_ANNOTATION: &str = "containerd.io/snapshot/stargz/toc.digest";

/// Beside [`TOC_DIGEST_ANNOTATION`], what Podman and CRI-O want to know: the size of the tar stream
/// (stargz-snapshotter, `StoreUncompressedSizeAnnotation`).
pub const ESTARGZ_SIZE_ANNOTATION: &str = "io.containers.estargz.uncompressed-size";

/// What an image is made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageSpec {
    /// The platform.
    pub platform: Platform,
    /// RFC 3339, such as `2026-01-31T00:00:00Z`. It comes from the lock, never from a clock.
    pub created: String,
    /// `NAME=value`, in the order in which containers get them.
    pub env: Vec<String>,
    /// `uid:gid`, such as `1001:0`.
    pub user: String,
    /// The working directory, absolute.
    pub working_dir: String,
    /// What starts; empty for none.
    pub entrypoint: Vec<String>,
    /// Its arguments unless the user gives others; empty for none.
    pub cmd: Vec<String>,
    /// TCP ports on which something listens.
    pub exposed_ports: Vec<u16>,
    /// Labels of the config.
    pub labels: BTreeMap<String, String>,
    /// Annotations of the manifest (`org.opencontainers.image.…`).
    pub annotations: BTreeMap<String, String>,
    /// The layers, lowest first.
    pub layers: Vec<LayerInfo>,
}

/// A layer and what the history of the image says about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerInfo {
    /// The layer.
    pub descriptor: LayerDescriptor,
    /// What made it: `kiln pack bundle/datascience`.
    pub created_by: String,
    /// What is in it: names of packages.
    pub comment: String,
}

/// A config and a manifest, with what was in them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The platform.
    pub platform: Platform,
    /// The config's bytes.
    pub config_bytes: Vec<u8>,
    /// Their digest, which engines call the image ID.
    pub config_digest: Digest,
    /// The manifest's bytes.
    pub manifest_bytes: Vec<u8>,
    /// Their digest, by which registries know the image.
    pub manifest_digest: Digest,
    /// The layers, lowest first.
    pub layers: Vec<LayerDescriptor>,
}

/// The bytes of an index of several platforms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageIndex {
    /// The document.
    pub bytes: Vec<u8>,
    /// Its digest.
    pub digest: Digest,
}

/// Why an image cannot be made or read.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// An environment variable is not `NAME=value`.
    #[error("`{0}` is not an environment variable of the form NAME=value")]
    Env(String),
    /// Two images of an index have the same platform.
    #[error("two images for {0} in one index")]
    DuplicatePlatform(Platform),
    /// The manifest or the config cannot be read.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// The config is not the one that the manifest names.
    #[error("the manifest names config {expected}, not {found}")]
    OtherConfig {
        /// What the manifest names.
        expected: String,
        /// What was given.
        found: Digest,
    },
    /// The config has another number of layers than the manifest.
    #[error("the manifest has {layers} layers, the config {diff_ids}")]
    LayerCount {
        /// Layers of the manifest.
        layers: usize,
        /// Layers of the config.
        diff_ids: usize,
    },
    /// A layer lacks something that kiln's own images have.
    #[error("layer {index} {problem}")]
    Layer {
        /// Its position, from 0.
        index: usize,
        /// What is wrong.
        problem: &'static str,
    },
}

impl ImageError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Env(_) => "name it `NAME=value`, under `[env]` in the family",
            Self::DuplicatePlatform(_) => "name each platform once",
            Self::Document(_)
            | Self::OtherConfig { .. }
            | Self::LayerCount { .. }
            | Self::Layer { .. } => {
                "the image is damaged, or not one that kiln made: `kiln store verify` finds what \
                 is damaged, and the next build makes it again"
            }
        };
        Some(text.to_owned())
    }
}

/// Makes the config and the manifest of an image. Equal specs give equal bytes.
pub fn image(spec: &ImageSpec) -> Result<Image, ImageError> {
    let config_bytes = to_bytes(&config(spec)?);
    let config_digest = Digest::of(&config_bytes);
    let mut manifest = oci::ImageManifestBuilder::default()
        .schema_version(SCHEMA_VERSION)
        .media_type(MediaType::ImageManifest)
        .config(oci_descriptor(
            MediaType::ImageConfig,
            &config_digest,
            config_bytes.len() as u64,
        ))
        .layers(
            spec.layers
                .iter()
                .map(|layer| layer_entry(&layer.descriptor))
                .collect::<Vec<_>>(),
        )
        .build()
        .map_err(|error| {
            // Impossible while every required field is set above.
            let source = <serde_json::Error as serde::ser::Error>::custom(error);
            DocumentError::Invalid {
                what: "image manifest",
                source,
            }
        })?;
    if !spec.annotations.is_empty() {
        manifest.set_annotations(Some(spec.annotations.clone().into_iter().collect()));
    }
    let manifest_bytes = to_bytes(&manifest);
    Ok(Image {
        platform: spec.platform.clone(),
        config_digest,
        config_bytes,
        manifest_digest: Digest::of(&manifest_bytes),
        manifest_bytes,
        layers: spec
            .layers
            .iter()
            .map(|layer| layer.descriptor.clone())
            .collect(),
    })
}

fn config(spec: &ImageSpec) -> Result<oci::ImageConfiguration, ImageError> {
    if let Some(wrong) = spec.env.iter().find(|entry| !is_variable(entry)) {
        return Err(ImageError::Env(wrong.clone()));
    }
    let some = |list: &[String]| (!list.is_empty()).then(|| list.to_vec());
    let mut execution = oci::Config::default();
    execution
        .set_user((!spec.user.is_empty()).then(|| spec.user.clone()))
        .set_working_dir((!spec.working_dir.is_empty()).then(|| spec.working_dir.clone()))
        .set_env(some(&spec.env))
        .set_entrypoint(some(&spec.entrypoint))
        .set_cmd(some(&spec.cmd))
        .set_exposed_ports((!spec.exposed_ports.is_empty()).then(|| {
            spec.exposed_ports
                .iter()
                .map(|port| format!("{port}/tcp"))
                .collect()
        }))
        .set_labels((!spec.labels.is_empty()).then(|| spec.labels.clone().into_iter().collect()));
    let mut root = oci::RootFs::default();
    root.set_diff_ids(
        spec.layers
            .iter()
            .map(|layer| layer.descriptor.diff_id.to_string())
            .collect(),
    );
    let history = spec.layers.iter().map(|layer| {
        let mut entry = oci::History::default();
        entry
            .set_created(Some(spec.created.clone()))
            .set_created_by(Some(layer.created_by.clone()))
            .set_comment((!layer.comment.is_empty()).then(|| layer.comment.clone()));
        entry
    });
    let mut config = oci::ImageConfiguration::default();
    config
        .set_created(Some(spec.created.clone()))
        .set_os(Os::from(spec.platform.os.as_str()))
        .set_architecture(Arch::from(spec.platform.architecture.as_str()))
        .set_config(Some(execution))
        .set_rootfs(root)
        .set_history(Some(history.collect()));
    Ok(config)
}

fn is_variable(entry: &str) -> bool {
    entry
        .split_once('=')
        .is_some_and(|(name, _)| !name.is_empty())
        && !entry.contains('\0')
}

fn layer_entry(layer: &LayerDescriptor) -> oci::Descriptor {
    let media_type = MediaType::from(layer.media_type.as_str());
    let mut descriptor = oci_descriptor(media_type, &layer.digest, layer.size);
    let mut annotations: HashMap<_, _> = [(
        UNPACKED_SIZE_ANNOTATION.to_owned(),
        layer.unpacked_size.to_string(),
    )]
    .into();
    if let Some(toc) = layer.toc {
        annotations.insert(TOC_DIGEST_ANNOTATION.to_owned(), toc.to_string());
        let size = layer.unpacked_size.to_string();
        annotations.insert(ESTARGZ_SIZE_ANNOTATION.to_owned(), size);
    }
    descriptor.set_annotations(Some(annotations));
    descriptor
}

/// Joins images for different platforms under one name, in the order of their platforms.
pub fn image_index(images: &[&Image]) -> Result<ImageIndex, ImageError> {
    let mut images = images.to_vec();
    images.sort_by(|a, b| a.platform.cmp(&b.platform));
    if let Some(pair) = images
        .windows(2)
        .find(|pair| pair[0].platform == pair[1].platform)
    {
        return Err(ImageError::DuplicatePlatform(pair[0].platform.clone()));
    }
    let mut index = oci::ImageIndex::default();
    index
        .set_media_type(Some(MediaType::ImageIndex))
        .set_manifests(
            images
                .iter()
                .map(|image| image.descriptor().to_oci())
                .collect(),
        );
    let bytes = to_bytes(&index);
    Ok(ImageIndex {
        digest: Digest::of(&bytes),
        bytes,
    })
}

impl ImageIndex {
    /// How a layout points to it.
    pub fn descriptor(&self) -> ManifestDescriptor {
        ManifestDescriptor {
            kind: ManifestKind::Index,
            digest: self.digest,
            size: self.bytes.len() as u64,
            platform: None,
        }
    }
}

impl Image {
    /// Reads an image that [`image`] made. Foreign images are refused when their layers are not
    /// compressed or have no [`UNPACKED_SIZE_ANNOTATION`].
    pub fn read(manifest_bytes: Vec<u8>, config_bytes: Vec<u8>) -> Result<Self, ImageError> {
        let manifest: oci::ImageManifest = parse("image manifest", &manifest_bytes)?;
        let config: oci::ImageConfiguration = parse("image config", &config_bytes)?;
        let config_digest = Digest::of(&config_bytes);
        if digest_of(manifest.config()) != Some(config_digest) {
            return Err(ImageError::OtherConfig {
                expected: manifest.config().digest().to_string(),
                found: config_digest,
            });
        }
        let (layers, diff_ids) = (manifest.layers(), config.rootfs().diff_ids());
        if layers.len() != diff_ids.len() {
            return Err(ImageError::LayerCount {
                layers: layers.len(),
                diff_ids: diff_ids.len(),
            });
        }
        let layers = layers
            .iter()
            .zip(diff_ids)
            .enumerate()
            .map(|(index, (layer, diff_id))| {
                read_layer(layer, diff_id).map_err(|problem| ImageError::Layer { index, problem })
            });
        Ok(Self {
            platform: Platform {
                os: config.os().to_string(),
                architecture: config.architecture().to_string(),
            },
            layers: layers.collect::<Result<_, _>>()?,
            config_digest,
            config_bytes,
            manifest_digest: Digest::of(&manifest_bytes),
            manifest_bytes,
        })
    }

    /// The digest and size of the config that a manifest names.
    pub fn config_of(manifest_bytes: &[u8]) -> Result<(Digest, u64), ImageError> {
        let manifest: oci::ImageManifest = parse("image manifest", manifest_bytes)?;
        let config = manifest.config();
        digest_of(config)
            .map(|digest| (digest, config.size()))
            .ok_or_else(|| {
                let source = serde::de::Error::custom("the config's digest is not SHA-256");
                DocumentError::Invalid {
                    what: "image manifest",
                    source,
                }
                .into()
            })
    }

    /// How a layout or an index points to it.
    pub fn descriptor(&self) -> ManifestDescriptor {
        ManifestDescriptor {
            kind: ManifestKind::Image,
            digest: self.manifest_digest,
            size: self.manifest_bytes.len() as u64,
            platform: Some(self.platform.clone()),
        }
    }

    /// The bytes that a registry holds for it: manifest, config and compressed layers, each
    /// layer once.
    pub fn size(&self) -> u64 {
        let layers: BTreeMap<_, _> = self
            .layers
            .iter()
            .map(|layer| (layer.digest, layer.size))
            .collect();
        layers.values().sum::<u64>()
            + self.manifest_bytes.len() as u64
            + self.config_bytes.len() as u64
    }

    /// The bytes of its tar streams.
    pub fn unpacked_size(&self) -> u64 {
        self.layers.iter().map(|layer| layer.unpacked_size).sum()
    }
}

fn read_layer(layer: &oci::Descriptor, diff_id: &str) -> Result<LayerDescriptor, &'static str> {
    let annotation = |key: &str| layer.annotations().as_ref()?.get(key);
    let unpacked_size = annotation(UNPACKED_SIZE_ANNOTATION).and_then(|size| size.parse().ok());
    let toc = annotation(TOC_DIGEST_ANNOTATION).map(|digest| digest.parse());
    Ok(LayerDescriptor {
        digest: digest_of(layer).ok_or("has a digest that is not SHA-256")?,
        diff_id: diff_id
            .parse()
            .map_err(|_| "has a diff ID that is not SHA-256")?,
        size: layer.size(),
        unpacked_size: unpacked_size.ok_or("does not say how large it is unpacked")?,
        media_type: LayerMediaType::from_oci(layer.media_type())
            .ok_or("is neither gzip nor zstd")?,
        toc: toc
            .transpose()
            .map_err(|_| "has a table of contents with a digest that is not SHA-256")?,
    })
}
