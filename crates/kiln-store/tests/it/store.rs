//! What one process sees of a store.

use std::{
    fs,
    io::{Read, Write},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use crate::support::{ignore_wait, image_for, image_of, layer, write_image, write_layer};
use kiln_digest::Digest;
use kiln_oci::image_index;
use kiln_store::{ActionResult, GcOptions, RemovedKind, Store, StoreError, Wrong};

fn new() -> (tempfile::TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path().join("store")).unwrap();
    (directory, store)
}

fn count(directory: &Path) -> usize {
    fs::read_dir(directory).unwrap().count()
}

#[test]
fn a_new_store_is_private_and_opens_again() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("a/b");
    drop(Store::open(&root).unwrap());
    let mode = fs::metadata(&root).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    assert!(Store::open(&root).unwrap().images().unwrap().is_empty());
}

#[test]
fn a_foreign_directory_is_refused_untouched() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("thesis.txt"), "dear").unwrap();
    let error = Store::open(directory.path()).unwrap_err();
    assert!(matches!(error, StoreError::NotAStore(_)), "{error}");
    assert_eq!(count(directory.path()), 1);
}

#[test]
fn what_a_kill_while_making_a_store_left_is_no_foreign_file_and_goes() {
    let directory = tempfile::tempdir().unwrap();
    let left = directory.path().join(".kiln-x7Gz");
    fs::write(&left, "").unwrap();
    fs::create_dir(directory.path().join("lost+found")).unwrap();
    Store::open(directory.path()).unwrap();
    assert!(!left.exists());
}

#[test]
fn a_store_of_a_later_kiln_is_refused() {
    let (directory, store) = new();
    drop(store);
    let root = directory.path().join("store");
    fs::write(root.join("store.json"), r#"{"format":2,"more":true}"#).unwrap();
    let error = Store::open(&root).unwrap_err();
    assert!(
        matches!(error, StoreError::NewerFormat { found: 2, .. }),
        "{error}"
    );
    fs::write(root.join("store.json"), "").unwrap();
    assert!(matches!(
        Store::open(&root),
        Err(StoreError::Damaged { .. })
    ));
}

#[test]
fn a_blob_is_there_after_its_commit_and_not_before() {
    let (_directory, store) = new();
    let digest = Digest::of(b"blob");
    let mut writer = store.blob_writer().unwrap();
    writer.write_all(b"blob").unwrap();
    assert!(!store.has_blob(&digest, 4));
    writer.commit(&digest, 4).unwrap();
    assert!(store.has_blob(&digest, 4));
    assert!(!store.has_blob(&digest, 5));
    let mut content = String::new();
    store
        .open_blob(&digest)
        .unwrap()
        .read_to_string(&mut content)
        .unwrap();
    assert_eq!(content, "blob");
    assert_eq!(count(&store.root().join("tmp")), 0);
}

#[test]
fn a_dropped_or_short_blob_leaves_nothing() {
    let (_directory, store) = new();
    let digest = Digest::of(b"blob");
    let mut writer = store.blob_writer().unwrap();
    writer.write_all(b"blob").unwrap();
    drop(writer);
    let mut writer = store.blob_writer().unwrap();
    writer.write_all(b"blo").unwrap();
    let error = writer.commit(&digest, 4).unwrap_err();
    assert!(
        matches!(
            error,
            StoreError::WrongSize {
                expected: 4,
                written: 3,
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(count(&store.root().join("tmp")), 0);
    assert_eq!(count(&store.root().join("blobs/sha256")), 0);
    assert!(
        matches!(store.open_blob(&digest), Err(StoreError::MissingBlob(missing)) if missing == digest)
    );
}

#[test]
fn a_result_counts_only_while_its_blob_has_the_right_size() {
    let (_directory, store) = new();
    let layers: Vec<_> = (0..3)
        .map(|seed| write_layer(&store, &[seed]).unwrap())
        .collect();
    let keys: Vec<_> = (0..4).map(|seed| Digest::of(&[seed])).collect();
    let found = store.results(&keys).unwrap();
    assert_eq!(found.len(), 3);
    assert_eq!(found[&keys[1]], ActionResult::Layer(layers[1].clone()));
    assert_eq!(store.results(&keys[2..3]).unwrap().len(), 1);

    fs::remove_file(store.blob_path(&layers[0].digest)).unwrap();
    let truncated = fs::File::options()
        .write(true)
        .open(store.blob_path(&layers[1].digest));
    truncated.unwrap().set_len(3).unwrap();
    let found = store.results(&keys).unwrap();
    assert_eq!(found.into_keys().collect::<Vec<_>>(), [keys[2]]);
}

#[test]
fn a_result_without_its_blob_is_not_recorded() {
    let (_directory, store) = new();
    let (descriptor, _) = layer(b"never written");
    let error = store
        .record(&Digest::of(b"key"), &ActionResult::Layer(descriptor))
        .unwrap_err();
    assert!(matches!(error, StoreError::MissingBlob(_)), "{error}");
}

#[test]
fn names_point_to_images_until_they_are_removed() {
    let (_directory, store) = new();
    let one = write_image(&store, "one", b"1").unwrap();
    let two = write_image(&store, "two", b"2").unwrap();
    assert_eq!(store.image("one").unwrap(), Some(one));
    store.put_image("one", &two).unwrap();
    assert_eq!(store.image("one").unwrap().as_ref(), Some(&two));
    let names: Vec<_> = store
        .images()
        .unwrap()
        .into_iter()
        .map(|entry| entry.name)
        .collect();
    assert_eq!(names, ["one", "two"]);
    assert!(store.remove("one").unwrap());
    assert!(!store.remove("one").unwrap());
    assert_eq!(store.image("one").unwrap(), None);
    assert_eq!(store.find("two").unwrap(), Some(two.descriptor()));
}

#[test]
fn a_name_gives_one_image_for_each_platform() {
    let (_directory, store) = new();
    let amd64 = write_image(&store, "one", b"amd64").unwrap();
    assert_eq!(
        store.images_of("one").unwrap(),
        std::slice::from_ref(&amd64)
    );
    let arm64 = image_for("arm64", &[write_layer(&store, b"arm64").unwrap()]);
    let index = image_index(&[&arm64, &amd64]).unwrap();
    assert!(matches!(
        store.put_index("one", &index),
        Err(StoreError::MissingBlob(digest)) if digest == arm64.manifest_digest
    ));
    store.put_documents(&arm64).unwrap();
    store.put_index("one", &index).unwrap();
    assert_eq!(store.images_of("one").unwrap(), [amd64, arm64]);
    assert!(matches!(
        store.image("one"),
        Err(StoreError::SeveralPlatforms(_))
    ));
    assert!(store.images_of("two").unwrap().is_empty());
}

#[test]
fn an_image_without_its_layers_gets_no_name() {
    let (_directory, store) = new();
    let image = image_of(&[layer(b"never written").0]);
    assert!(matches!(
        store.put_image("one", &image),
        Err(StoreError::MissingBlob(_))
    ));
    let index = image_index(&[&image]).unwrap();
    assert!(matches!(
        store.put_index("one", &index),
        Err(StoreError::MissingBlob(_))
    ));
    assert!(matches!(
        store.put_image("../one", &image),
        Err(StoreError::Name(_))
    ));
    assert!(store.images().unwrap().is_empty());
}

#[test]
fn a_damaged_manifest_is_an_error_and_never_an_image() {
    let (_directory, store) = new();
    let image = write_image(&store, "one", b"1").unwrap();
    fs::write(store.blob_path(&image.manifest_digest), "{}").unwrap();
    assert!(matches!(
        store.image("one"),
        Err(StoreError::CorruptBlob(_))
    ));
    // Building it again repairs it.
    store.put_image("one", &image).unwrap();
    assert_eq!(store.image("one").unwrap(), Some(image));
}

#[test]
fn collection_keeps_what_names_keys_and_locks_reach() {
    let (_directory, mut store) = new();
    let named = write_image(&store, "named", b"named").unwrap();
    let indexed = write_image(&store, "indexed", b"indexed").unwrap();
    store
        .put_index("index", &image_index(&[&indexed]).unwrap())
        .unwrap();
    store.remove("indexed").unwrap();
    let forgotten = write_image(&store, "forgotten", b"forgotten").unwrap();
    store.remove("forgotten").unwrap();
    let keyed = write_layer(&store, b"keyed").unwrap();
    for package in ["kept", "old"] {
        let path = store.download_path(&Digest::of(package.as_bytes()));
        fs::write(path, package).unwrap();
    }
    fs::write(store.root().join("tmp/.kiln-stale"), "half").unwrap();

    let options = GcOptions {
        keys: [Digest::of(b"keyed")].into(),
        downloads: [Digest::of(b"kept")].into(),
        dry_run: true,
        ..GcOptions::default()
    };
    let planned = store.gc(&options, &mut ignore_wait).unwrap();
    assert!(store.has_blob(&forgotten.layers[0].digest, forgotten.layers[0].size));
    let done = store
        .gc(
            &GcOptions {
                dry_run: false,
                ..options
            },
            &mut ignore_wait,
        )
        .unwrap();
    assert_eq!(done, planned);

    let mut blobs = [
        forgotten.manifest_digest,
        forgotten.config_digest,
        forgotten.layers[0].digest,
    ]
    .map(|digest| digest.hex());
    blobs.sort();
    let removed: Vec<_> = done
        .removed
        .iter()
        .map(|file| (file.kind, &*file.file))
        .collect();
    let old = Digest::of(b"old").hex();
    let mut expected = vec![(RemovedKind::Download, &*old)];
    expected.extend(blobs.iter().map(|hex| (RemovedKind::Blob, &**hex)));
    assert_eq!(removed, expected);
    assert_eq!(done.freed, forgotten.size() + 3);

    assert_eq!(store.image("named").unwrap(), Some(named));
    assert!(store.has_blob(&indexed.layers[0].digest, indexed.layers[0].size));
    assert!(store.has_download(&Digest::of(b"kept"), 4));
    assert!(!store.has_download(&Digest::of(b"old"), 3));
    let keys = ["keyed", "forgotten", "named"].map(|noise| Digest::of(noise.as_bytes()));
    let results = store.results(&keys).unwrap();
    assert_eq!(results.len(), 2);
    assert_eq!(results[&keys[0]], ActionResult::Layer(keyed));
    assert_eq!(count(&store.root().join("tmp")), 0);
    assert!(
        store
            .verify(&mut |_| (), &mut ignore_wait)
            .unwrap()
            .is_clean()
    );
}

#[test]
fn collection_stops_when_enough_is_free_and_starts_with_packages() {
    let (_directory, mut store) = new();
    write_layer(&store, b"layer").unwrap();
    fs::write(store.download_path(&Digest::of(b"package")), "package").unwrap();
    let options = GcOptions {
        bytes: Some(1),
        ..GcOptions::default()
    };
    let report = store.gc(&options, &mut ignore_wait).unwrap();
    assert_eq!((report.freed, report.removed.len()), (7, 1));
    assert_eq!(report.removed[0].kind, RemovedKind::Download);
    assert_eq!(store.results(&[Digest::of(b"layer")]).unwrap().len(), 1);
}

#[test]
fn verification_removes_what_is_corrupt_and_says_what_that_breaks() {
    let (_directory, mut store) = new();
    write_image(&store, "whole", b"whole").unwrap();
    let image = write_image(&store, "broken", b"broken").unwrap();
    let layer = &image.layers[0];
    let mut bytes = fs::read(store.blob_path(&layer.digest)).unwrap();
    bytes[9] ^= 1;
    fs::write(store.blob_path(&layer.digest), &bytes).unwrap();
    let package = Digest::of(b"package");
    fs::write(store.download_path(&package), "pacKage").unwrap();
    fs::write(store.downloads_dir().join("half.part"), "half").unwrap();
    let stray = store.root().join("blobs/sha256/notes.txt");
    fs::write(&stray, "note").unwrap();

    let mut bytes = 0;
    let report = store
        .verify(&mut |size| bytes += size, &mut ignore_wait)
        .unwrap();
    assert_eq!(
        report.wrong,
        [
            Wrong::Blob(layer.digest),
            Wrong::Stray(stray.clone()),
            Wrong::Download(package)
        ]
    );
    assert_eq!(report.broken_images, ["broken"]);
    assert_eq!((report.checked, report.bytes), (7, bytes));
    assert!(!stray.exists() && !store.download_path(&package).exists());
    assert!(store.results(&[Digest::of(b"broken")]).unwrap().is_empty());

    // The next build makes it whole again.
    assert_eq!(write_image(&store, "broken", b"broken").unwrap(), image);
    assert!(
        store
            .verify(&mut |_| (), &mut ignore_wait)
            .unwrap()
            .is_clean()
    );
}

#[test]
fn verification_makes_a_layout_that_rotted_usable_again() {
    let (_directory, mut store) = new();
    let image = write_image(&store, "named", b"named").unwrap();
    let files = ["oci-layout", "index.json"].map(|name| store.root().join(name));
    for file in &files {
        let mut bytes = fs::read(file).unwrap();
        bytes[1] ^= 1;
        fs::write(file, bytes).unwrap();
    }
    assert!(matches!(store.images(), Err(StoreError::Damaged { .. })));
    // A collection would take every blob for one that nothing needs.
    assert!(store.gc(&GcOptions::default(), &mut ignore_wait).is_err());

    let report = store.verify(&mut |_| (), &mut ignore_wait).unwrap();
    assert_eq!(report.wrong, files.map(Wrong::Layout));
    assert_eq!(store.images().unwrap(), []);
    assert_eq!(write_image(&store, "named", b"named").unwrap(), image);
    let report = store.verify(&mut |_| (), &mut ignore_wait).unwrap();
    assert!(report.is_clean());
}

#[test]
fn errors_say_what_to_do() {
    let io = |number| StoreError::Io {
        action: "write",
        path: "/store/blobs/sha256/ab".into(),
        source: std::io::Error::from_raw_os_error(number),
    };
    let digest = Digest::of(b"");
    let errors = [
        StoreError::NoHome,
        StoreError::NotAStore("/etc".into()),
        StoreError::NewerFormat {
            path: "/store".into(),
            found: 2,
        },
        StoreError::Damaged {
            path: "/store/index.json".into(),
            source: "not JSON".into(),
        },
        StoreError::Damaged {
            path: "/store/store.json".into(),
            source: "not JSON".into(),
        },
        StoreError::MissingBlob(digest),
        StoreError::WrongSize {
            digest,
            expected: 2,
            written: 1,
        },
        StoreError::SeveralPlatforms("a".into()),
        io(28),
        io(30),
        io(13),
        io(27),
    ];
    let mut lines = Vec::new();
    for error in &errors {
        lines.push(format!("error: {error}"));
        lines.extend(std::error::Error::source(error).map(|source| format!("  because: {source}")));
        lines.extend(error.hint().map(|hint| format!("  hint: {hint}")));
    }
    insta::assert_snapshot!(lines.join("\n"));
}
