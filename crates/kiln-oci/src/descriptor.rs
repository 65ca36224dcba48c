//! What points to blobs: layers, manifests, and the platforms that they are for.

use std::fmt;

use kiln_digest::Digest;
use oci_spec::image::{self as oci, Arch, MediaType, Os};
use serde::{Deserialize, Serialize};

/// One layer: the result of an action.
///
/// Serialised in results of the store and in companions, so its fields are a file format.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerDescriptor {
    /// The digest of the compressed blob.
    pub digest: Digest,
    /// The digest of the tar stream in it.
    pub diff_id: Digest,
    /// The size of the compressed blob in bytes.
    pub size: u64,
    /// The size of the tar stream in bytes.
    pub unpacked_size: u64,
    /// How it is compressed.
    pub media_type: LayerMediaType,
    /// The digest of the table of contents, of a layer that can be read lazily (eStargz).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub toc: Option<Digest>,
}

/// The compressed form of a layer (image-spec, layer.md).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LayerMediaType {
    /// `application/vnd.oci.image.layer.v1.tar+gzip`
    Gzip,
    /// `application/vnd.oci.image.layer.v1.tar+zstd`
    Zstd,
}

impl LayerMediaType {
    /// The media type as it stands in manifests.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gzip => "application/vnd.oci.image.layer.v1.tar+gzip",
            Self::Zstd => "application/vnd.oci.image.layer.v1.tar+zstd",
        }
    }

    pub(crate) fn from_oci(media_type: &MediaType) -> Option<Self> {
        match media_type {
            MediaType::ImageLayerGzip => Some(Self::Gzip),
            MediaType::ImageLayerZstd => Some(Self::Zstd),
            _ => None,
        }
    }
}

impl fmt::Display for LayerMediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The operating system and processor architecture of an image, by their Go names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Platform {
    /// `linux`.
    pub os: String,
    /// `amd64`, `arm64`, …
    pub architecture: String,
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)
    }
}

impl Platform {
    pub(crate) fn to_oci(&self) -> oci::Platform {
        let mut platform = oci::Platform::default();
        platform.set_os(Os::from(self.os.as_str()));
        platform.set_architecture(Arch::from(self.architecture.as_str()));
        platform
    }

    pub(crate) fn from_oci(platform: &oci::Platform) -> Self {
        Self {
            os: platform.os().to_string(),
            architecture: platform.architecture().to_string(),
        }
    }
}

/// What a name in a layout may point to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ManifestKind {
    /// A manifest: an image for one platform.
    Image,
    /// An index: one image for each of several platforms.
    Index,
}

impl ManifestKind {
    /// The media type of such documents.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Image => "application/vnd.oci.image.manifest.v1+json",
            Self::Index => "application/vnd.oci.image.index.v1+json",
        }
    }
}

/// A manifest or an index, as a layout or an index points to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestDescriptor {
    /// What it is.
    pub kind: ManifestKind,
    /// The digest of the document.
    pub digest: Digest,
    /// The size of the document in bytes.
    pub size: u64,
    /// The platform, of an image.
    pub platform: Option<Platform>,
}

impl ManifestDescriptor {
    pub(crate) fn to_oci(&self) -> oci::Descriptor {
        let media_type = MediaType::from(self.kind.media_type());
        let mut descriptor = oci_descriptor(media_type, &self.digest, self.size);
        descriptor.set_platform(self.platform.as_ref().map(Platform::to_oci));
        descriptor
    }

    pub(crate) fn from_oci(descriptor: &oci::Descriptor) -> Option<Self> {
        let kind = match descriptor.media_type() {
            MediaType::ImageManifest => ManifestKind::Image,
            MediaType::ImageIndex => ManifestKind::Index,
            _ => return None,
        };
        Some(Self {
            kind,
            digest: digest_of(descriptor)?,
            size: descriptor.size(),
            platform: descriptor.platform().as_ref().map(Platform::from_oci),
        })
    }
}

pub(crate) fn oci_descriptor(media_type: MediaType, digest: &Digest, size: u64) -> oci::Descriptor {
    #[expect(clippy::expect_used, reason = "every digest displays as a valid one")]
    let digest: oci::Digest = digest.to_string().parse().expect("a valid digest");
    oci::Descriptor::new(media_type, size, digest)
}

/// The digest in a descriptor, unless it is of another algorithm.
pub(crate) fn digest_of(descriptor: &oci::Descriptor) -> Option<Digest> {
    descriptor
        .as_digest_sha256()
        .and_then(|hex| Digest::from_hex(hex).ok())
}
