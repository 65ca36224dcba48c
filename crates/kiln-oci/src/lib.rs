//! OCI image configs, manifests, indexes, layouts and archives.
//!
//! This crate turns a list of finished layers and some settings into an image, and images into
//! the forms in which they travel. It moves bytes, but knows no store: blobs come from a function
//! that opens them ([`OpenBlob`]), and go to a [`std::io::Write`] or a directory.
//!
//! # Words
//!
//! - **layer descriptor**: digest and size of a compressed layer with the digest (*diff ID*) and
//!   size of the tar stream in it. It is the result of an action.
//! - **config**: what a container of the image starts with (image-spec, config.md).
//! - **manifest**: one config and its layers, for one platform (manifest.md).
//! - **index**: manifests for several platforms (image-index.md).
//! - **layout**: a directory of blobs with an `index.json` that names images (image-layout.md).
//!
//! # Invariants
//!
//! - One [`ImageSpec`] gives one sequence of bytes: documents are compact JSON with the keys of
//!   every object sorted by code point, in which no map keeps its insertion or hash order.
//! - Archives hold no clock, no owner and no name of the machine: equal images give equal bytes.
//! - Every blob that is written out is hashed on its way; a corrupt one ends the writing with an
//!   error, so an archive is never complete and wrong.
//! - Layers stay compressed in a Docker archive, which Docker 20.10 and Podman accept also for
//!   gzip of many members. Docker learnt zstd only in version 23, so zstd layers are inflated.

mod archive;
mod descriptor;
mod document;
mod image;
mod layout;
mod saved;

pub use archive::{
    ArchiveError, OpenBlob, write_docker_archive, write_oci_archive, write_oci_directory,
};
pub use descriptor::{LayerDescriptor, LayerMediaType, ManifestDescriptor, ManifestKind, Platform};
pub use document::{Child, DocumentError, MAX_DOCUMENT_SIZE, children, differences};
pub use image::{
    ESTARGZ_SIZE_ANNOTATION, Image, ImageError, ImageIndex, ImageSpec, LayerInfo,
    TOC_DIGEST_ANNOTATION, UNPACKED_SIZE_ANNOTATION, image, image_index,
};
pub use layout::{Layout, LayoutEntry, LayoutError, OCI_LAYOUT_FILE, check_name};
pub use saved::{Saved, SavedError, SavedImage, SavedLayer};
