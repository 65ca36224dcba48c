//! Configs, manifests and indexes: their exact bytes, and reading them back.

use kiln_digest::Digest;
use kiln_oci::{
    DocumentError, Image, ImageError, LayerDescriptor, LayerInfo, LayerMediaType, image,
    image_index,
};
use proptest::prelude::*;

fn one_layer() -> Vec<LayerInfo> {
    vec![LayerInfo {
        descriptor: LayerDescriptor {
            digest: Digest::from_bytes([0x11; 32]),
            diff_id: Digest::from_bytes([0x22; 32]),
            size: 1234,
            unpacked_size: 56789,
            toc: None,
            media_type: LayerMediaType::Gzip,
        },
        created_by: "kiln pack bundle/minimal".into(),
        comment: "pip 26.0".into(),
    }]
}

/// Keys in the order of their code points and no white space; names of fields and their values
/// as image-spec's config.md and manifest.md have them. A change here changes the digest of every
/// image that was ever built.
#[test]
fn config_and_manifest_are_these_bytes() {
    let image = image(&crate::support::spec(one_layer())).unwrap();
    let config = concat!(
        r#"{"architecture":"amd64","config":{"Cmd":["notebook"],"#,
        r#""Entrypoint":["/opt/app-root/bin/start"],"#,
        r#""Env":["PATH=/opt/app-root/bin:/usr/bin","LANG=C.UTF-8"],"#,
        r#""ExposedPorts":{"8080/tcp":{},"8888/tcp":{}},"#,
        r#""Labels":{"a.key":"one","b.key":"two","name":"example"},"#,
        r#""User":"1001:0","WorkingDir":"/opt/app-root/src"},"#,
        r#""created":"2026-01-31T00:00:00Z","#,
        r#""history":[{"comment":"pip 26.0","created":"2026-01-31T00:00:00Z","#,
        r#""created_by":"kiln pack bundle/minimal"}],"os":"linux","#,
        r#""rootfs":{"diff_ids":["sha256:"#,
        "2222222222222222222222222222222222222222222222222222222222222222",
        r#""],"type":"layers"}}"#,
    );
    assert_eq!(String::from_utf8(image.config_bytes).unwrap(), config);
    let manifest = format!(
        concat!(
            r#"{{"annotations":{{"org.opencontainers.image.version":"2026a"}},"#,
            r#""config":{{"digest":"{}","#,
            r#""mediaType":"application/vnd.oci.image.config.v1+json","size":{}}},"#,
            r#""layers":[{{"annotations":{{"dev.kiln.layer.unpacked-size":"56789"}},"#,
            r#""digest":"sha256:{}","#,
            r#""mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","size":1234}}],"#,
            r#""mediaType":"application/vnd.oci.image.manifest.v1+json","schemaVersion":2}}"#,
        ),
        Digest::of(config.as_bytes()),
        config.len(),
        "11".repeat(32),
    );
    assert_eq!(String::from_utf8(image.manifest_bytes).unwrap(), manifest);
    assert_eq!(image.manifest_digest, Digest::of(manifest.as_bytes()));
    assert_eq!(image.config_digest, Digest::of(config.as_bytes()));
}

#[test]
fn a_layer_descriptor_is_this_line() {
    let descriptor = one_layer().remove(0).descriptor;
    let json = serde_json::to_string(&descriptor).unwrap();
    assert_eq!(
        json,
        format!(
            r#"{{"digest":"sha256:{}","diff_id":"sha256:{}","size":1234,"unpacked_size":56789,"media_type":"gzip"}}"#,
            "11".repeat(32),
            "22".repeat(32),
        )
    );
    assert_eq!(
        serde_json::from_str::<LayerDescriptor>(&json).unwrap(),
        descriptor
    );
}

#[test]
fn empty_settings_are_left_out() {
    let mut spec = crate::support::spec(Vec::new());
    (spec.env, spec.cmd, spec.entrypoint) = (Vec::new(), Vec::new(), Vec::new());
    (spec.exposed_ports, spec.user, spec.working_dir) = (Vec::new(), String::new(), String::new());
    (spec.labels, spec.annotations) = Default::default();
    let image = image(&spec).unwrap();
    assert_eq!(
        String::from_utf8(image.config_bytes).unwrap(),
        concat!(
            r#"{"architecture":"amd64","config":{},"created":"2026-01-31T00:00:00Z","history":[],"#,
            r#""os":"linux","rootfs":{"diff_ids":[],"type":"layers"}}"#
        )
    );
}

#[test]
fn an_image_is_read_back_as_it_was_made() {
    let (image, _) = crate::support::example(LayerMediaType::Zstd);
    let read = Image::read(image.manifest_bytes.clone(), image.config_bytes.clone()).unwrap();
    assert_eq!(read, image);
    let (config, size) = Image::config_of(&image.manifest_bytes).unwrap();
    assert_eq!(
        (config, size),
        (image.config_digest, image.config_bytes.len() as u64)
    );
}

#[test]
fn sizes_count_a_repeated_layer_once_compressed_and_twice_unpacked() {
    let (image, blobs) = crate::support::example(LayerMediaType::Gzip);
    let layers: usize = blobs.values().map(Vec::len).sum();
    let documents = image.config_bytes.len() + image.manifest_bytes.len();
    assert_eq!(image.size(), (layers + documents) as u64);
    let unpacked: u64 = image.layers.iter().map(|layer| layer.unpacked_size).sum();
    assert_eq!(image.unpacked_size(), unpacked);
    assert_eq!(image.layers.len(), 3);
}

#[test]
fn a_config_of_another_image_is_refused() {
    let (image, _) = crate::support::example(LayerMediaType::Gzip);
    let other = kiln_oci::image(&crate::support::spec(one_layer())).unwrap();
    let error = Image::read(image.manifest_bytes, other.config_bytes).unwrap_err();
    assert!(matches!(error, ImageError::OtherConfig { .. }), "{error}");
}

#[test]
fn a_document_beyond_the_limit_is_refused_unparsed() {
    let error = Image::read(vec![b' '; 4 * 1024 * 1024 + 1], Vec::new()).unwrap_err();
    assert!(
        matches!(error, ImageError::Document(DocumentError::TooLarge { .. })),
        "{error}"
    );
}

#[test]
fn what_is_no_environment_variable_is_refused() {
    for entry in ["PATH", "=value", "", "A=\0"] {
        let mut spec = crate::support::spec(Vec::new());
        spec.env.push(entry.into());
        assert!(matches!(image(&spec), Err(ImageError::Env(wrong)) if wrong == entry));
    }
}

#[test]
fn an_index_holds_its_images_in_one_order_and_each_platform_once() {
    let amd64 = image(&crate::support::spec(one_layer())).unwrap();
    let mut spec = crate::support::spec(one_layer());
    spec.platform.architecture = "arm64".into();
    let arm64 = image(&spec).unwrap();

    let index = image_index(&[&arm64, &amd64]).unwrap();
    assert_eq!(index, image_index(&[&amd64, &arm64]).unwrap());
    let json: serde_json::Value = serde_json::from_slice(&index.bytes).unwrap();
    assert_eq!(json["mediaType"], "application/vnd.oci.image.index.v1+json");
    assert_eq!(json["schemaVersion"], 2);
    assert_eq!(
        json["manifests"][0]["digest"],
        amd64.manifest_digest.to_string()
    );
    assert_eq!(
        json["manifests"][1]["digest"],
        arm64.manifest_digest.to_string()
    );
    assert_eq!(json["manifests"][1]["platform"]["os"], "linux");
    assert_eq!(json["manifests"][1]["platform"]["architecture"], "arm64");

    let children = kiln_oci::children("application/vnd.oci.image.index.v1+json", &index.bytes);
    let digests: Vec<_> = children.unwrap().iter().map(|child| child.digest).collect();
    assert_eq!(digests, [amd64.manifest_digest, arm64.manifest_digest]);
    assert!(matches!(
        image_index(&[&amd64, &amd64]),
        Err(ImageError::DuplicatePlatform(_))
    ));
}

#[test]
fn the_children_of_a_manifest_are_its_config_and_layers() {
    let (image, _) = crate::support::example(LayerMediaType::Gzip);
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let children = kiln_oci::children(media_type, &image.manifest_bytes).unwrap();
    let mut expected = vec![image.config_digest];
    expected.extend(image.layers.iter().map(|layer| layer.digest));
    assert_eq!(
        children
            .iter()
            .map(|child| child.digest)
            .collect::<Vec<_>>(),
        expected
    );
    let layer = "application/vnd.oci.image.layer.v1.tar";
    assert!(
        kiln_oci::children(layer, b"not even JSON")
            .unwrap()
            .is_empty()
    );
}

proptest! {
    #[test]
    fn readers_never_panic(arbitrary: Vec<u8>, at: prop::sample::Index, byte: u8) {
        let image = image(&crate::support::spec(one_layer())).unwrap();
        let _ = kiln_oci::Layout::parse(&arbitrary);
        let _ = Image::read(arbitrary, image.config_bytes.clone());
        let mut bytes = image.manifest_bytes;
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _ = kiln_oci::children("application/vnd.oci.image.manifest.v1+json", &bytes);
        if let Ok(read) = Image::read(bytes.clone(), image.config_bytes) {
            prop_assert_eq!(read.config_digest, image.config_digest);
            prop_assert_eq!(read.manifest_digest, Digest::of(&bytes));
        }
    }
}
