//! Reading layouts and archives back, ours and others'.

use std::{fs, io::Read as _, path::Path, process::Command};

use kiln_digest::Digest;
use kiln_oci::{
    Image, LayerMediaType, Saved, SavedError, SavedImage, write_docker_archive, write_oci_archive,
    write_oci_directory,
};
use proptest::prelude::*;

use crate::support::{Blobs, example, opener};

fn same(saved: &Saved, found: &[SavedImage], image: &Image, blobs: &Blobs) {
    let [found] = found else {
        panic!("one image, not {}", found.len());
    };
    assert_eq!(found.manifest_bytes, image.manifest_bytes);
    assert_eq!(found.config_bytes, image.config_bytes);
    assert_eq!(found.manifest_digest, image.manifest_digest);
    assert_eq!(found.platform, image.platform);
    assert_eq!(found.layers.len(), image.layers.len());
    for layer in &found.layers {
        let mut bytes = Vec::new();
        let mut blob = saved.blob(&layer.digest).unwrap();
        blob.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, blobs[&layer.digest]);
    }
}

fn directory_of(image: &Image, blobs: &Blobs, place: &Path) {
    write_oci_directory(
        image,
        "example_1",
        "example/image:example_1",
        &opener(blobs),
        place,
    )
    .unwrap();
}

#[test]
fn an_archive_and_a_directory_give_the_image_back() {
    let place = tempfile::tempdir().unwrap();
    let (image, blobs) = example(LayerMediaType::Gzip);
    let archive = place.path().join("image.tar");
    let file = fs::File::create(&archive).unwrap();
    write_oci_archive(
        &image,
        "example_1",
        "example/image:example_1",
        &opener(&blobs),
        file,
    )
    .unwrap();
    let directory = place.path().join("layout");
    directory_of(&image, &blobs, &directory);
    for path in [archive, directory] {
        let saved = Saved::open(&path).unwrap();
        same(&saved, &saved.images("example_1").unwrap(), &image, &blobs);
        // It is the only one, so its name does not matter.
        same(&saved, &saved.images("other").unwrap(), &image, &blobs);
    }
}

#[test]
fn an_archive_that_gnu_tar_made_is_read() {
    let place = tempfile::tempdir().unwrap();
    let (image, blobs) = example(LayerMediaType::Gzip);
    let directory = place.path().join("layout");
    directory_of(&image, &blobs, &directory);
    let archive = place.path().join("image.tar");
    let status = Command::new("tar")
        .args(["-cf".as_ref(), archive.as_os_str(), "-C".as_ref()])
        .args([directory.as_os_str(), ".".as_ref()])
        .status()
        .unwrap();
    assert!(status.success());
    let saved = Saved::open(&archive).unwrap();
    same(&saved, &saved.images("example_1").unwrap(), &image, &blobs);
}

#[test]
fn among_several_images_the_name_decides() {
    let place = tempfile::tempdir().unwrap();
    let (gzip, blobs) = example(LayerMediaType::Gzip);
    let (zstd, others) = example(LayerMediaType::Zstd);
    write_oci_directory(
        &gzip,
        "gzip",
        "example/image:gzip",
        &opener(&blobs),
        place.path(),
    )
    .unwrap();
    write_oci_directory(
        &zstd,
        "zstd",
        "example/image:zstd",
        &opener(&others),
        place.path(),
    )
    .unwrap();
    let saved = Saved::open(place.path()).unwrap();
    same(&saved, &saved.images("gzip").unwrap(), &gzip, &blobs);
    same(&saved, &saved.images("zstd").unwrap(), &zstd, &others);
    let missing = saved.images("other");
    assert!(matches!(missing, Err(SavedError::NoImage { name, .. }) if name == "other"));
}

#[test]
fn a_document_that_was_changed_is_found() {
    let (image, blobs) = example(LayerMediaType::Gzip);
    for digest in [image.manifest_digest, image.config_digest] {
        let place = tempfile::tempdir().unwrap();
        directory_of(&image, &blobs, place.path());
        let path = place.path().join("blobs/sha256").join(digest.hex());
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replacen("2026", "2027", 1)).unwrap();
        let read = Saved::open(place.path()).unwrap().images("example_1");
        assert!(matches!(read, Err(SavedError::Damaged(found)) if found == digest));
    }
}

#[test]
fn what_is_no_layout_is_refused_as_such() {
    let place = tempfile::tempdir().unwrap();
    let (image, blobs) = example(LayerMediaType::Gzip);
    let docker = place.path().join("docker.tar");
    let file = fs::File::create(&docker).unwrap();
    write_docker_archive(&image, &["a:b".into()], &opener(&blobs), file).unwrap();
    let text = place.path().join("text");
    fs::write(&text, "text").unwrap();
    for path in [place.path(), &docker, &text] {
        let opened = Saved::open(path);
        assert!(
            matches!(opened, Err(SavedError::NotALayout(_))),
            "{opened:?}"
        );
    }
}

proptest! {
    #[test]
    fn no_archive_makes_the_reader_panic(at: prop::sample::Index, byte: u8, cut: prop::sample::Index) {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("image.tar");
        let (image, blobs) = example(LayerMediaType::Zstd);
        let mut archive = Vec::new();
        write_oci_archive(&image, "example_1", "example/image:example_1", &opener(&blobs), &mut archive).unwrap();
        let at = at.index(archive.len());
        archive[at] = byte;
        archive.truncate(cut.index(2 * archive.len()));
        fs::write(&path, archive).unwrap();
        if let Ok(saved) = Saved::open(&path) {
            // What is read has the digest that it is named by.
            if let Ok(images) = saved.images("example_1") {
                for image in images {
                    prop_assert_eq!(Digest::of(&image.manifest_bytes), image.manifest_digest);
                }
            }
        }
    }
}
