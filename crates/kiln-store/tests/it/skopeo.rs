//! The store is an image layout that other tools read.

use std::process::Command;

use crate::support::write_image;
use kiln_oci::image_index;
use kiln_store::Store;
use serde_json::Value;

fn run(command: &mut Command) -> Vec<u8> {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
    output.stdout
}

#[test]
fn skopeo_and_umoci_read_images_from_the_store() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path().join("store")).unwrap();
    let name = "jupyter-minimal-debian12-3.11_2026a_20260131";
    write_image(&store, "other", b"2").unwrap();
    let image = write_image(&store, name, b"1").unwrap();
    let root = store.root().display();

    let reference = format!("oci:{root}:{name}");
    let found = run(Command::new("skopeo").args(["inspect", &reference]));
    let found: Value = serde_json::from_slice(&found).unwrap();
    assert_eq!(found["Digest"], image.manifest_digest.to_string());
    let config = run(Command::new("skopeo").args(["inspect", "--config", "--raw", &reference]));
    assert_eq!(config, image.config_bytes);

    let copy = format!("oci-archive:{}/copy.tar:copy", directory.path().display());
    run(Command::new("skopeo").args(["copy", "--quiet", &reference, &copy]));
    let found = run(Command::new("skopeo").args(["inspect", "--raw", &copy]));
    assert_eq!(found, image.manifest_bytes);

    let list = run(Command::new("umoci")
        .args(["ls", "--layout"])
        .arg(store.root()));
    let list = String::from_utf8(list).unwrap();
    let mut names: Vec<_> = list.lines().collect();
    names.sort_unstable();
    assert_eq!(names, [name, "other"]);
}

#[test]
fn skopeo_chooses_a_platform_of_an_index() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path().join("store")).unwrap();
    let image = write_image(&store, "single", b"1").unwrap();
    store
        .put_index("multi", &image_index(&[&image]).unwrap())
        .unwrap();
    let reference = format!("oci:{}:multi", store.root().display());
    let arguments = ["--override-arch", "amd64", "--override-os", "linux"];
    let config = run(Command::new("skopeo")
        .args(arguments)
        .args(["inspect", "--config", "--raw", &reference]));
    assert_eq!(config, image.config_bytes);
}

#[test]
fn an_image_that_skopeo_copied_into_the_store_is_listed_and_kept() {
    let directory = tempfile::tempdir().unwrap();
    let source = Store::open(directory.path().join("source")).unwrap();
    let image = write_image(&source, "one", b"1").unwrap();
    let mut store = Store::open(directory.path().join("store")).unwrap();
    write_image(&store, "ours", b"2").unwrap();
    run(Command::new("skopeo").args([
        "copy",
        "--quiet",
        &format!("oci:{}:one", source.root().display()),
        &format!("oci:{}:theirs", store.root().display()),
    ]));
    store
        .gc(
            &kiln_store::GcOptions::default(),
            &mut crate::support::ignore_wait,
        )
        .unwrap();
    assert_eq!(store.image("theirs").unwrap(), Some(image));
    assert!(store.image("ours").unwrap().is_some());
    assert!(
        store
            .verify(&mut |_| (), &mut crate::support::ignore_wait)
            .unwrap()
            .is_clean()
    );
}
