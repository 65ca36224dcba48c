//! Layers and configuration → an image in the store.

use kiln_layer::LayerSummary;
use kiln_oci::{ImageError, ImageSpec, LayerDescriptor, LayerInfo, LayerMediaType, Platform};
use kiln_plan::{Compression, ImagePlan};
use kiln_store::{ActionResult, Store};

use crate::{error::BuildError, execute::Summary};

/// The result of an action, from what writing it told.
pub fn result(summary: &Summary, compression: Compression) -> ActionResult {
    match summary {
        Summary::Layer(layer) => ActionResult::Layer(descriptor(layer, compression)),
        Summary::Blob { digest, size } => ActionResult::Blob {
            digest: *digest,
            size: *size,
        },
    }
}

pub(crate) fn descriptor(summary: &LayerSummary, compression: Compression) -> LayerDescriptor {
    LayerDescriptor {
        digest: summary.digest,
        diff_id: summary.diff_id,
        size: summary.size,
        unpacked_size: summary.unpacked_size,
        toc: summary.toc,
        media_type: match compression {
            Compression::Gzip | Compression::Estargz => LayerMediaType::Gzip,
            Compression::Zstd => LayerMediaType::Zstd,
        },
    }
}

/// Configuration and manifest of `image`.
pub(crate) fn image(
    image: &ImagePlan,
    layers: &[LayerDescriptor],
) -> Result<kiln_oci::Image, ImageError> {
    kiln_oci::image(&spec(image, layers))
}

/// Writes configurations and manifests into the store and gives them the name: to the image
/// itself, or to an index of the images for several platforms.
pub(crate) fn put(store: &Store, name: &str, images: &[kiln_oci::Image]) -> Result<(), BuildError> {
    if let [image] = images {
        store.put_image(name, image)?;
        return Ok(());
    }
    for image in images {
        store.put_documents(image)?;
    }
    let index = kiln_oci::image_index(&images.iter().collect::<Vec<_>>())?;
    store.put_index(name, &index)?;
    Ok(())
}

fn spec(image: &ImagePlan, layers: &[LayerDescriptor]) -> ImageSpec {
    let config = &image.config;
    let layers = image.layers.iter().zip(layers).map(|(layer, descriptor)| {
        let (component, what) = layer
            .history
            .split_once(": ")
            .unwrap_or(("", &layer.history));
        LayerInfo {
            descriptor: descriptor.clone(),
            created_by: format!("kiln {} {component}", layer.verb),
            comment: what.to_owned(),
        }
    });
    let annotations = config
        .labels
        .iter()
        .filter(|(key, _)| key.starts_with("org.opencontainers.image."))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    ImageSpec {
        platform: Platform {
            os: image.platform.os().to_owned(),
            architecture: image.platform.architecture().to_owned(),
        },
        created: config.created.clone(),
        env: config.env.clone(),
        user: config.user.clone(),
        working_dir: config.working_dir.clone(),
        entrypoint: config.entrypoint.clone(),
        cmd: Vec::new(),
        exposed_ports: config.port.into_iter().collect(),
        labels: config.labels.clone(),
        annotations,
        layers: layers.collect(),
    }
}
