//! An image in memory, made of real layers.

use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
};

use kiln_digest::Digest;
use kiln_oci::{Image, ImageSpec, LayerDescriptor, LayerInfo, LayerMediaType, Platform, image};

pub(crate) type Blobs = BTreeMap<Digest, Vec<u8>>;

/// A tar stream with one file.
pub(crate) fn tar(path: &str, content: &[u8]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_mode(0o644);
    header.set_size(content.len() as u64);
    builder.append_data(&mut header, path, content).unwrap();
    builder.into_inner().unwrap()
}

/// gzip with a new member after every 700 bytes, as kiln's layers have many.
pub(crate) fn gzip_members(bytes: &[u8]) -> Vec<u8> {
    let mut output = Vec::new();
    for piece in bytes.chunks(700) {
        let mut encoder =
            flate2::write::GzEncoder::new(&mut output, flate2::Compression::default());
        encoder.write_all(piece).unwrap();
        encoder.finish().unwrap();
    }
    output
}

pub(crate) fn layer(media_type: LayerMediaType, tar: &[u8]) -> (LayerDescriptor, Vec<u8>) {
    let bytes = match media_type {
        LayerMediaType::Gzip => gzip_members(tar),
        LayerMediaType::Zstd => zstd::encode_all(tar, 3).unwrap(),
    };
    let descriptor = LayerDescriptor {
        digest: Digest::of(&bytes),
        diff_id: Digest::of(tar),
        size: bytes.len() as u64,
        unpacked_size: tar.len() as u64,
        toc: None,
        media_type,
    };
    (descriptor, bytes)
}

pub(crate) fn spec(layers: Vec<LayerInfo>) -> ImageSpec {
    ImageSpec {
        platform: Platform {
            os: "linux".into(),
            architecture: "amd64".into(),
        },
        created: "2026-01-31T00:00:00Z".into(),
        env: vec![
            "PATH=/opt/app-root/bin:/usr/bin".into(),
            "LANG=C.UTF-8".into(),
        ],
        user: "1001:0".into(),
        working_dir: "/opt/app-root/src".into(),
        entrypoint: vec!["/opt/app-root/bin/start".into()],
        cmd: vec!["notebook".into()],
        exposed_ports: vec![8888, 8080],
        labels: [("name", "example"), ("b.key", "two"), ("a.key", "one")]
            .map(|(key, value)| (key.into(), value.into()))
            .into(),
        annotations: [("org.opencontainers.image.version".into(), "2026a".into())].into(),
        layers,
    }
}

/// An image of two layers, the upper one used twice.
pub(crate) fn example(media_type: LayerMediaType) -> (Image, Blobs) {
    let mut blobs = Blobs::new();
    let mut add = |path: &str, content: &[u8]| {
        let (descriptor, bytes) = layer(media_type, &tar(path, content));
        blobs.insert(descriptor.digest, bytes);
        LayerInfo {
            descriptor,
            created_by: format!("kiln pack {path}"),
            comment: "example 1.0".into(),
        }
    };
    let noise: Vec<u8> = (0..50_000_u32)
        .flat_map(|n| Digest::of(&n.to_le_bytes()).as_bytes()[..2].to_vec())
        .collect();
    let lower = add("lower", &noise);
    let upper = add("upper", b"hello\n");
    let image = image(&spec(vec![lower, upper.clone(), upper])).unwrap();
    (image, blobs)
}

pub(crate) fn opener(blobs: &Blobs) -> impl Fn(&Digest) -> io::Result<Box<dyn Read + Send>> + '_ {
    |digest| match blobs.get(digest) {
        Some(bytes) => Ok(Box::new(io::Cursor::new(bytes.clone()))),
        None => Err(io::ErrorKind::NotFound.into()),
    }
}
