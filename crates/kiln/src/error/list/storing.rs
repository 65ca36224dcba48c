//! The store, images and archives of images.

use std::{io::ErrorKind, path::PathBuf};

use kiln_oci::{ArchiveError, DocumentError, ImageError, LayoutError, SavedError};
use kiln_store::StoreError;

use super::{Failures, denied, digest, no_json, text};

pub(super) fn of_stores(all: &mut Failures) {
    let document = || DocumentError::Invalid {
        what: "image index",
        source: no_json(),
    };
    for error in [
        StoreError::NoHome,
        StoreError::NotAStore("/srv".into()),
        StoreError::NewerFormat {
            path: "/store".into(),
            found: 2,
        },
        StoreError::Damaged {
            path: "/store/index.json".into(),
            source: Box::new(document()),
        },
        StoreError::Io {
            action: "write",
            path: "/store/tmp/x".into(),
            source: denied(),
        },
        StoreError::WrongSize {
            digest: digest(),
            expected: 10,
            written: 9,
        },
        StoreError::MissingBlob(digest()),
        StoreError::CorruptBlob(digest()),
        StoreError::Image {
            name: text("foreign"),
            source: ImageError::LayerCount {
                layers: 2,
                diff_ids: 1,
            },
        },
        StoreError::SeveralPlatforms(text("two")),
        StoreError::Name(LayoutError::Name(text("a b"))),
    ] {
        all.add("kiln-store StoreError", error);
    }
    for error in [
        ImageError::Env(text("PATH")),
        ImageError::DuplicatePlatform(kiln_oci::Platform {
            os: text("linux"),
            architecture: text("amd64"),
        }),
        ImageError::Document(document()),
        ImageError::OtherConfig {
            expected: text("sha256:0"),
            found: digest(),
        },
        ImageError::LayerCount {
            layers: 2,
            diff_ids: 1,
        },
        ImageError::Layer {
            index: 0,
            problem: "has no size",
        },
    ] {
        all.add("kiln-oci ImageError", error);
    }
    for error in [
        ArchiveError::OpenLayer {
            digest: digest(),
            source: ErrorKind::NotFound.into(),
        },
        ArchiveError::Write {
            what: text("index.json"),
            source: denied(),
        },
        ArchiveError::Write {
            what: text("blob"),
            source: ErrorKind::InvalidData.into(),
        },
        ArchiveError::NotALayout("/srv".into()),
        ArchiveError::Layout(LayoutError::Name(text("a b"))),
    ] {
        all.add("kiln-oci ArchiveError", error);
    }
}

pub(super) fn of_saved(all: &mut Failures) {
    let path = || PathBuf::from("/srv/image.tar");
    for error in [
        SavedError::NotALayout(path()),
        SavedError::Read {
            what: text("index.json"),
            source: denied(),
        },
        SavedError::NoImage {
            path: path(),
            name: text("jupyter"),
        },
        SavedError::Damaged(digest()),
        SavedError::Document(DocumentError::TooLarge { size: 5 << 20 }),
        SavedError::Layout(LayoutError::Name(text("a b"))),
    ] {
        all.add("kiln-oci SavedError", error);
    }
}
