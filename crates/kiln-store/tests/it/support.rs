//! Images for a store.

use std::io::{self, Write};

use kiln_digest::Digest;
use kiln_oci::{Image, ImageSpec, LayerDescriptor, LayerInfo, LayerMediaType, Platform, image};
use kiln_store::{ActionResult, Store, StoreError};

/// A gzip file, as a layer is one. Nothing here looks for a tar stream in it.
pub(crate) fn layer(content: &[u8]) -> (LayerDescriptor, Vec<u8>) {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(content).unwrap();
    let bytes = gzip.finish().unwrap();
    let descriptor = LayerDescriptor {
        digest: Digest::of(&bytes),
        diff_id: Digest::of(content),
        size: bytes.len() as u64,
        unpacked_size: content.len() as u64,
        toc: None,
        media_type: LayerMediaType::Gzip,
    };
    (descriptor, bytes)
}

/// Writes a layer as a build does: blob first, then the result.
pub(crate) fn write_layer(store: &Store, noise: &[u8]) -> Result<LayerDescriptor, StoreError> {
    let (descriptor, bytes) = layer(noise);
    let mut writer = store.blob_writer()?;
    for piece in bytes.chunks(8192) {
        writer
            .write_all(piece)
            .map_err(|error| writer.failed(error))?;
    }
    writer.commit(&descriptor.digest, descriptor.size)?;
    store.record(&Digest::of(noise), &ActionResult::Layer(descriptor.clone()))?;
    Ok(descriptor)
}

pub(crate) fn image_of(layers: &[LayerDescriptor]) -> Image {
    image_for("amd64", layers)
}

pub(crate) fn image_for(architecture: &str, layers: &[LayerDescriptor]) -> Image {
    let info = |descriptor: &LayerDescriptor| LayerInfo {
        descriptor: descriptor.clone(),
        created_by: "kiln pack".into(),
        comment: String::new(),
    };
    image(&ImageSpec {
        platform: Platform {
            os: "linux".into(),
            architecture: architecture.into(),
        },
        created: "2026-01-31T00:00:00Z".into(),
        env: vec!["LANG=C.UTF-8".into()],
        user: "1001:0".into(),
        working_dir: "/".into(),
        entrypoint: Vec::new(),
        cmd: vec!["true".into()],
        exposed_ports: Vec::new(),
        labels: [("key".to_owned(), "value".to_owned())].into(),
        annotations: [].into(),
        layers: layers.iter().map(info).collect(),
    })
    .unwrap()
}

/// Writes an image of one layer and gives it a name.
pub(crate) fn write_image(store: &Store, name: &str, noise: &[u8]) -> Result<Image, StoreError> {
    let image = image_of(&[write_layer(store, noise)?]);
    store.put_image(name, &image)?;
    Ok(image)
}

/// `count` bytes that no compressor shrinks.
pub(crate) fn noise(seed: u32, count: usize) -> Vec<u8> {
    let digest = |block: u32| {
        let mut input = seed.to_le_bytes().to_vec();
        input.extend(block.to_le_bytes());
        *Digest::of(&input).as_bytes()
    };
    (0_u32..).flat_map(digest).take(count).collect()
}

pub(crate) fn ignore_wait(_: &std::path::Path) {}

/// Prints a line that the parent process waits for.
pub(crate) fn say(line: &str) {
    let mut output = io::stdout().lock();
    writeln!(output, "child: {line}").unwrap();
    output.flush().unwrap();
}
