//! Layers and configuration → an image in the store.

use kiln_digest::Digest;
use kiln_layer::LayerSummary;
use kiln_oci::{ImageSpec, LayerDescriptor, LayerInfo, LayerMediaType, Platform};
use kiln_plan::{Compression, ImagePlan};
use kiln_store::Store;

use crate::error::BuildError;

/// The result of an action, from what writing its layer told.
pub(crate) fn descriptor(summary: &LayerSummary, compression: Compression) -> LayerDescriptor {
    LayerDescriptor {
        digest: summary.digest,
        diff_id: summary.diff_id,
        size: summary.size,
        unpacked_size: summary.unpacked_size,
        media_type: match compression {
            Compression::Gzip => LayerMediaType::Gzip,
            Compression::Zstd => LayerMediaType::Zstd,
        },
    }
}

/// Writes configuration and manifest of `image` into the store and names it there. Gives the
/// digests of the manifest and of the configuration.
pub(crate) fn put(
    store: &Store,
    image: &ImagePlan,
    layers: &[LayerDescriptor],
) -> Result<(Digest, Digest), BuildError> {
    let made = kiln_oci::image(&spec(image, layers))?;
    store.put_image(&image.name, &made)?;
    Ok((made.manifest_digest, made.config_digest))
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
            created_by: format!("kiln pack {component}"),
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
