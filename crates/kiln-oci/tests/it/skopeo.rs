//! What skopeo and umoci make of our layouts and archives.

use std::{fs::File, path::Path, process::Command};

use crate::support::{example, opener};
use kiln_oci::{LayerMediaType, write_docker_archive, write_oci_archive, write_oci_directory};
use serde_json::Value;

fn run(command: &mut Command) -> Vec<u8> {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
    output.stdout
}

fn skopeo(arguments: &[&str]) -> Value {
    let output = run(Command::new("skopeo").args(arguments));
    serde_json::from_slice(&output).unwrap_or(Value::Null)
}

/// skopeo verifies every digest, and the diff IDs where it inflates.
fn copies_to(source: &str, directory: &Path) {
    let target = format!("dir:{}", directory.join("copy").display());
    run(Command::new("skopeo").args(["copy", "--quiet", source, &target]));
}

#[test]
fn skopeo_reads_an_oci_archive() {
    for media_type in [LayerMediaType::Gzip, LayerMediaType::Zstd] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("image.tar");
        let (image, blobs) = example(media_type);
        let file = File::create(&path).unwrap();
        write_oci_archive(
            &image,
            "example_1",
            "example/image:example_1",
            &opener(&blobs),
            file,
        )
        .unwrap();

        let reference = format!("oci-archive:{}:example_1", path.display());
        let found = skopeo(&["inspect", &reference]);
        assert_eq!(found["Digest"], image.manifest_digest.to_string());
        assert_eq!(found["Labels"]["a.key"], "one");
        assert_eq!(found["Architecture"], "amd64");
        copies_to(&reference, directory.path());
    }
}

#[test]
fn skopeo_and_umoci_agree_on_an_oci_directory() {
    let directory = tempfile::tempdir().unwrap();
    let layout = directory.path().join("layout");
    let (image, blobs) = example(LayerMediaType::Gzip);
    write_oci_directory(
        &image,
        "example_1",
        "example/image:example_1",
        &opener(&blobs),
        &layout,
    )
    .unwrap();

    let reference = format!("oci:{}:example_1", layout.display());
    let config = skopeo(&["inspect", "--config", "--raw", &reference]);
    let written: Value = serde_json::from_slice(&image.config_bytes).unwrap();
    assert_eq!(config, written);
    let manifest = run(Command::new("skopeo").args(["inspect", "--raw", &reference]));
    assert_eq!(manifest, image.manifest_bytes);
    copies_to(&reference, directory.path());

    let stat = run(Command::new("umoci")
        .args(["stat", "--json", "--image"])
        .arg(format!("{}:example_1", layout.display())));
    let stat: Value = serde_json::from_slice(&stat).unwrap();
    let history = stat["history"].as_array().unwrap();
    assert_eq!(history.len(), image.layers.len());
    for (entry, layer) in history.iter().zip(&image.layers) {
        assert_eq!(entry["layer"]["digest"], layer.digest.to_string());
        assert_eq!(entry["diff_id"], layer.diff_id.to_string());
    }
}

#[test]
fn umoci_unpacks_layers_of_many_gzip_members() {
    let directory = tempfile::tempdir().unwrap();
    let layout = directory.path().join("layout");
    let (image, blobs) = example(LayerMediaType::Gzip);
    write_oci_directory(
        &image,
        "example_1",
        "example/image:example_1",
        &opener(&blobs),
        &layout,
    )
    .unwrap();
    run(Command::new("umoci")
        .args(["raw", "unpack", "--rootless", "--image"])
        .arg(format!("{}:example_1", layout.display()))
        .arg(directory.path().join("root")));
    let upper = std::fs::read(directory.path().join("root/upper")).unwrap();
    assert_eq!(upper, b"hello\n");
    let lower = std::fs::read(directory.path().join("root/lower")).unwrap();
    assert_eq!(lower.len(), 100_000);
}

#[test]
fn skopeo_reads_a_docker_archive() {
    for media_type in [LayerMediaType::Gzip, LayerMediaType::Zstd] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("image.tar");
        let (image, blobs) = example(media_type);
        let file = File::create(&path).unwrap();
        let tags = ["example:1".to_owned()];
        write_docker_archive(&image, &tags, &opener(&blobs), file).unwrap();

        let reference = format!("docker-archive:{}:example:1", path.display());
        let config = run(Command::new("skopeo").args(["inspect", "--config", "--raw", &reference]));
        assert_eq!(config, image.config_bytes);
        // A Docker archive holds no compressed digests; its layers are known by their diff IDs.
        let diff_ids: Vec<_> = image
            .layers
            .iter()
            .map(|layer| layer.diff_id.to_string())
            .collect();
        assert_eq!(
            skopeo(&["inspect", &reference])["Layers"],
            serde_json::json!(diff_ids)
        );
        copies_to(&reference, directory.path());
    }
}
