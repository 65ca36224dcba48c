//! What engines make of our Docker archives. Needs a running Docker daemon, podman, and the
//! rights to use them: `cargo test -p kiln-oci --features engine`.

use std::{fs::File, path::Path, process::Command};

use crate::support::{example, opener};
use kiln_oci::{Image, LayerMediaType, write_docker_archive};
use serde_json::{Value, json};

fn engine(name: &str, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new(name).args(arguments).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name} {arguments:?}: {errors}");
    output.stdout
}

fn archive(directory: &Path, media_type: LayerMediaType, tag: &str) -> (Image, String) {
    let path = directory.join("image.tar");
    let (image, blobs) = example(media_type);
    let file = File::create(&path).unwrap();
    write_docker_archive(&image, &[tag.to_owned()], &opener(&blobs), file).unwrap();
    (image, path.to_str().unwrap().to_owned())
}

fn loads(name: &str, tag: &str) {
    for media_type in [LayerMediaType::Gzip, LayerMediaType::Zstd] {
        let directory = tempfile::tempdir().unwrap();
        let (image, path) = archive(directory.path(), media_type, tag);
        engine(name, &["load", "--input", &path]);
        let found = engine(name, &["image", "inspect", tag]);
        let found: Value = serde_json::from_slice::<Value>(&found).unwrap()[0].take();

        // Docker writes the digest with its algorithm, podman without.
        let id = found["Id"].as_str().unwrap().trim_start_matches("sha256:");
        assert_eq!(id, image.config_digest.hex());
        let config = &found["Config"];
        assert_eq!(config["User"], "1001:0");
        assert_eq!(config["WorkingDir"], "/opt/app-root/src");
        assert_eq!(config["Entrypoint"], json!(["/opt/app-root/bin/start"]));
        assert_eq!(config["Cmd"], json!(["notebook"]));
        assert_eq!(
            config["ExposedPorts"],
            json!({"8080/tcp": {}, "8888/tcp": {}})
        );
        assert_eq!(config["Labels"]["a.key"], "one");
        assert_eq!(config["Env"][1], "LANG=C.UTF-8");
        assert!(
            found["Created"]
                .as_str()
                .unwrap()
                .starts_with("2026-01-31T00:00:00")
        );
        let diff_ids: Vec<_> = image
            .layers
            .iter()
            .map(|layer| layer.diff_id.to_string())
            .collect();
        assert_eq!(found["RootFS"]["Layers"], json!(diff_ids));

        let container = engine(name, &["create", tag]);
        let container = String::from_utf8(container).unwrap();
        let copied = directory.path().join("upper");
        let source = format!("{}:/upper", container.trim());
        engine(name, &["cp", &source, copied.to_str().unwrap()]);
        assert_eq!(std::fs::read(copied).unwrap(), b"hello\n");
        engine(name, &["rm", container.trim()]);
        engine(name, &["image", "rm", tag]);
    }
}

#[test]
fn docker_loads_the_image() {
    loads("docker", "kiln-test-archive:1");
}

#[test]
fn podman_loads_the_image() {
    loads("podman", "localhost/kiln-test-archive:1");
}
