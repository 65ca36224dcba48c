//! Archives: their content, their determinism, and that damage never goes unnoticed.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read, Write},
};

use crate::support::{Blobs, example, opener};
use kiln_digest::Digest;
use kiln_oci::{
    ArchiveError, Image, LayerMediaType, Layout, write_docker_archive, write_oci_archive,
    write_oci_directory,
};

fn oci_archive(image: &Image, blobs: &Blobs) -> Result<Vec<u8>, ArchiveError> {
    let mut bytes = Vec::new();
    write_oci_archive(
        image,
        "example_1",
        "example/image:example_1",
        &opener(blobs),
        &mut bytes,
    )
    .map(|()| bytes)
}

fn docker_archive(image: &Image, blobs: &Blobs) -> Result<Vec<u8>, ArchiveError> {
    let mut bytes = Vec::new();
    let tags = ["example:1".to_owned()];
    write_docker_archive(image, &tags, &opener(blobs), &mut bytes).map(|()| bytes)
}

/// Files in the order of the archive.
fn files(archive: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut archive = tar::Archive::new(archive);
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let header = entry.header();
        assert_eq!((header.mtime().unwrap(), header.uid().unwrap()), (0, 0));
        assert_eq!(header.gid().unwrap(), 0);
        let path = entry.path().unwrap().to_str().unwrap().to_owned();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        (path, content)
    });
    entries.filter(|(path, _)| !path.ends_with('/')).collect()
}

fn blob(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

#[test]
fn an_oci_archive_is_a_layout_of_the_image() {
    let (image, blobs) = example(LayerMediaType::Gzip);
    let files = files(&oci_archive(&image, &blobs).unwrap());
    let names: Vec<_> = files.iter().map(|(name, _)| name.clone()).collect();
    let expected = vec![
        "oci-layout".to_owned(),
        "index.json".to_owned(),
        blob(&image.manifest_digest),
        blob(&image.config_digest),
        blob(&image.layers[0].digest),
        blob(&image.layers[1].digest),
    ];
    assert_eq!(names, expected);
    for (name, content) in &files[2..] {
        assert_eq!(*name, blob(&Digest::of(content)));
    }
    let layout = Layout::parse(&files[1].1).unwrap();
    assert_eq!(layout.find("example_1"), Some(image.descriptor()));
}

#[test]
fn a_docker_archive_keeps_gzip_layers_as_they_are() {
    let (image, blobs) = example(LayerMediaType::Gzip);
    let files = files(&docker_archive(&image, &blobs).unwrap());
    assert_eq!(files[0].0, "manifest.json");
    let manifest: serde_json::Value = serde_json::from_slice(&files[0].1).unwrap();
    let layers: Vec<_> = image
        .layers
        .iter()
        .map(|layer| blob(&layer.digest))
        .collect();
    assert_eq!(
        manifest,
        serde_json::json!([{
            "Config": blob(&image.config_digest),
            "RepoTags": ["example:1"],
            "Layers": layers,
        }])
    );
    let content: BTreeMap<_, _> = files[1..].iter().cloned().collect();
    assert_eq!(content.len(), files.len() - 1, "no file twice");
    assert_eq!(content[&blob(&image.config_digest)], image.config_bytes);
    assert_eq!(content[&layers[0]], blobs[&image.layers[0].digest]);
}

#[test]
fn a_docker_archive_inflates_zstd_layers() {
    let (image, blobs) = example(LayerMediaType::Zstd);
    let files: BTreeMap<_, _> = files(&docker_archive(&image, &blobs).unwrap())
        .into_iter()
        .collect();
    for layer in &image.layers {
        assert_eq!(Digest::of(&files[&blob(&layer.diff_id)]), layer.diff_id);
        assert!(!files.contains_key(&blob(&layer.digest)));
    }
}

#[test]
fn equal_images_give_equal_archives() {
    for media_type in [LayerMediaType::Gzip, LayerMediaType::Zstd] {
        let (image, blobs) = example(media_type);
        assert_eq!(
            oci_archive(&image, &blobs).unwrap(),
            oci_archive(&image, &blobs).unwrap()
        );
        assert_eq!(
            docker_archive(&image, &blobs).unwrap(),
            docker_archive(&image, &blobs).unwrap()
        );
    }
}

#[test]
fn a_damaged_layer_is_found_in_every_form() {
    for media_type in [LayerMediaType::Gzip, LayerMediaType::Zstd] {
        let (image, blobs) = example(media_type);
        let bytes = &blobs[&image.layers[0].digest];
        let mut flipped = bytes.clone();
        flipped[bytes.len() / 2] ^= 1;
        let mut longer = bytes.clone();
        longer.push(0);
        for damaged in [
            flipped,
            longer,
            bytes[..bytes.len() - 1].to_vec(),
            Vec::new(),
        ] {
            let mut blobs = blobs.clone();
            blobs.insert(image.layers[0].digest, damaged);
            let directory = tempfile::tempdir().unwrap();
            let results = [
                oci_archive(&image, &blobs).map(drop),
                docker_archive(&image, &blobs).map(drop),
                write_oci_directory(
                    &image,
                    "a",
                    "example/image:a",
                    &opener(&blobs),
                    directory.path(),
                ),
            ];
            for result in results {
                assert!(
                    matches!(result, Err(ArchiveError::Write { .. })),
                    "{result:?}"
                );
            }
            assert!(!directory.path().join("index.json").exists());
        }
    }
}

#[test]
fn a_missing_layer_is_named() {
    let (image, mut blobs) = example(LayerMediaType::Gzip);
    blobs.remove(&image.layers[1].digest);
    let error = oci_archive(&image, &blobs).unwrap_err();
    let ArchiveError::OpenLayer { digest, .. } = error else {
        panic!("{error}")
    };
    assert_eq!(digest, image.layers[1].digest);
}

#[test]
fn a_full_disk_is_an_error() {
    /// Takes some bytes, then no more.
    struct Full(usize);
    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = self
                .0
                .checked_sub(bytes.len())
                .ok_or(io::ErrorKind::StorageFull)?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let (image, blobs) = example(LayerMediaType::Gzip);
    let whole = oci_archive(&image, &blobs).unwrap().len();
    for room in [0, 511, 5000, whole / 2, whole - 1] {
        let result = write_oci_archive(&image, "a", "example/image:a", &opener(&blobs), Full(room));
        let Err(ArchiveError::Write { source, .. }) = result else {
            panic!("{room} bytes")
        };
        assert_eq!(source.kind(), io::ErrorKind::StorageFull);
    }
}

#[test]
fn a_directory_takes_several_images_and_nothing_foreign() {
    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().join("new/layout");
    let (gzip, gzip_blobs) = example(LayerMediaType::Gzip);
    let (zstd, zstd_blobs) = example(LayerMediaType::Zstd);
    write_oci_directory(
        &gzip,
        "one",
        "example/image:one",
        &opener(&gzip_blobs),
        &target,
    )
    .unwrap();
    write_oci_directory(
        &zstd,
        "two",
        "example/image:two",
        &opener(&zstd_blobs),
        &target,
    )
    .unwrap();
    let layout = Layout::parse(&fs::read(target.join("index.json")).unwrap()).unwrap();
    assert_eq!(layout.find("one"), Some(gzip.descriptor()));
    assert_eq!(layout.find("two"), Some(zstd.descriptor()));
    for entry in fs::read_dir(target.join("blobs/sha256")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        assert_eq!(Digest::of(&fs::read(&path).unwrap()).hex(), name);
    }

    let foreign = tempfile::tempdir().unwrap();
    fs::write(foreign.path().join("thesis.txt"), "dear").unwrap();
    let result = write_oci_directory(
        &gzip,
        "one",
        "example/image:one",
        &opener(&gzip_blobs),
        foreign.path(),
    );
    assert!(matches!(result, Err(ArchiveError::NotALayout(_))));
    assert_eq!(fs::read_dir(foreign.path()).unwrap().count(), 1);
}
