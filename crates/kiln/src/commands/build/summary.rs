//! What a build has made: of one image its particulars, of several a table of what they share.

use std::collections::BTreeMap;

use kiln_build::{Built, BuiltImage};
use kiln_digest::Digest;
use serde_json::json;

use crate::{
    output::{Output, bytes, count},
    table::{self, Align},
};

/// How much of an image is in other images of the same build.
struct Share {
    layers: usize,
    size: u64,
    shared: u64,
}

/// What images have together.
struct Totals {
    layers: usize,
    size: u64,
    /// Each layer once.
    distinct_layers: usize,
    distinct_size: u64,
}

/// For each layer, its size and how many images have it.
type Users = BTreeMap<Digest, (u64, usize)>;

fn users(images: &[BuiltImage]) -> Users {
    let mut users = Users::new();
    for image in images {
        let own: BTreeMap<_, _> = image
            .layers
            .iter()
            .map(|layer| (layer.descriptor.digest, layer.descriptor.size))
            .collect();
        for (digest, size) in own {
            users.entry(digest).or_insert((size, 0)).1 += 1;
        }
    }
    users
}

impl Share {
    fn of(image: &BuiltImage, users: &Users) -> Self {
        let layers = || image.layers.iter().map(|layer| &layer.descriptor);
        let shared = layers().filter(|layer| users.get(&layer.digest).is_some_and(|it| it.1 > 1));
        Self {
            layers: image.layers.len(),
            size: layers().map(|layer| layer.size).sum(),
            shared: shared.map(|layer| layer.size).sum(),
        }
    }
}

impl Totals {
    fn of(images: &[BuiltImage], users: &Users) -> Self {
        let layers = || images.iter().flat_map(|image| &image.layers);
        Self {
            layers: layers().count(),
            size: layers().map(|layer| layer.descriptor.size).sum(),
            distinct_layers: users.len(),
            distinct_size: users.values().map(|(size, _)| size).sum(),
        }
    }
}

/// Says what was built; `failed` images were not.
pub(super) fn show(built: &Built, failed: usize, output: &Output) {
    let users = users(&built.images);
    if output.is_json() {
        for image in &built.images {
            output.json(&as_json(image, &Share::of(image, &users)));
        }
        output.json(&total_as_json(
            built,
            failed,
            &Totals::of(&built.images, &users),
        ));
    } else if built.names.len() == 1 {
        for image in &built.images {
            one(image, output);
        }
    } else {
        for line in several(built, &users) {
            output.line(line);
        }
    }
}

fn one(image: &BuiltImage, output: &Output) {
    let compressed = image.layers.iter().map(|layer| layer.descriptor.size).sum();
    let unpacked = image
        .layers
        .iter()
        .map(|layer| layer.descriptor.unpacked_size)
        .sum();
    let new: Vec<_> = image.layers.iter().filter(|layer| layer.new).collect();
    let new_bytes = new.iter().map(|layer| layer.descriptor.size).sum();
    output.line(&image.name);
    output.line(format!("  platform  {}", image.platform));
    output.line(format!("  manifest  {}", image.manifest));
    output.line(format!(
        "  size      {} compressed, {} unpacked",
        bytes(compressed),
        bytes(unpacked)
    ));
    output.line(format!(
        "  layers    {}: {} new ({}), {} reused",
        image.layers.len(),
        new.len(),
        bytes(new_bytes),
        image.layers.len() - new.len(),
    ));
}

/// A line for each image, and what they have together.
fn several(built: &Built, users: &Users) -> Vec<String> {
    let head = [
        "image", "manifest", "layers", "new", "size", "shared", "own",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    let one_platform = |images: &[BuiltImage]| {
        images
            .windows(2)
            .all(|pair| pair[0].platform == pair[1].platform)
    };
    let one_platform = one_platform(&built.images);
    for name in &built.names {
        let images = built.images.iter().filter(|image| image.name == *name);
        let before = rows.len();
        rows.extend(images.map(|image| {
            let share = Share::of(image, users);
            let name = if one_platform {
                name.clone()
            } else {
                format!("{name} ({})", image.platform)
            };
            let new = image.layers.iter().filter(|layer| layer.new).count();
            vec![
                name,
                image.manifest.short(),
                share.layers.to_string(),
                new.to_string(),
                bytes(share.size),
                bytes(share.shared),
                bytes(share.size - share.shared),
            ]
        }));
        if rows.len() == before {
            rows.push(vec![name.clone(), "not built".to_owned()]);
        }
    }
    let [left, right] = [Align::Left, Align::Right];
    let columns = [left, left, right, right, right, right, right];
    let mut lines = table::lines(&columns, &rows);
    let totals = Totals::of(&built.images, users);
    lines.push(format!(
        "{} with {} of {}; each layer once: {} of {}",
        count(built.images.len(), "image"),
        count(totals.layers, "layer"),
        bytes(totals.size),
        count(totals.distinct_layers, "layer"),
        bytes(totals.distinct_size),
    ));
    lines
}

fn as_json(image: &BuiltImage, share: &Share) -> serde_json::Value {
    let layers: Vec<_> = image
        .layers
        .iter()
        .map(|layer| {
            json!({
                "digest": layer.descriptor.digest, "diff_id": layer.descriptor.diff_id,
                "size": layer.descriptor.size, "new": layer.new,
            })
        })
        .collect();
    json!({
        "event": "built", "image": image.name, "platform": image.platform,
        "manifest": image.manifest,
        "config": image.config, "layers": layers,
        "size": share.size, "shared_size": share.shared, "own_size": share.size - share.shared,
    })
}

fn total_as_json(built: &Built, failed: usize, totals: &Totals) -> serde_json::Value {
    json!({
        "event": "built-all", "images": built.images.len(), "failed": failed,
        "layers": totals.layers, "size": totals.size,
        "distinct_layers": totals.distinct_layers, "distinct_size": totals.distinct_size,
    })
}

#[cfg(test)]
mod tests {
    use kiln_build::{BuiltLayer, Timings};
    use kiln_oci::{LayerDescriptor, LayerMediaType};
    use kiln_recipe::Platform;

    use super::*;

    /// An image of layers that are named by a letter, which says how large they are.
    fn image(name: &str, platform: Platform, layers: &str) -> BuiltImage {
        let layers = layers.bytes().map(|letter| BuiltLayer {
            descriptor: LayerDescriptor {
                digest: Digest::of(&[letter]),
                diff_id: Digest::of(&[letter]),
                size: u64::from(letter - b'a' + 1) * 1_000_000,
                unpacked_size: 1,
                toc: None,
                media_type: LayerMediaType::Gzip,
            },
            new: letter == b'c',
        });
        BuiltImage {
            name: name.to_owned(),
            platform,
            manifest: Digest::of(name.as_bytes()),
            config: Digest::of(b"config"),
            layers: layers.collect(),
        }
    }

    fn built(images: Vec<BuiltImage>, failed: &[&str]) -> Built {
        let mut names: Vec<_> = images.iter().map(|image| image.name.clone()).collect();
        names.dedup();
        names.extend(failed.iter().map(|&name| name.to_owned()));
        Built {
            images,
            setbacks: Vec::new(),
            ended: None,
            names,
            timings: Timings::default(),
            steps_run: 1,
            downloads: 0,
            download_bytes: 0,
        }
    }

    fn table(built: &Built) -> String {
        several(built, &users(&built.images)).join("\n")
    }

    #[test]
    fn a_table_says_what_images_share() {
        let amd64 = Platform::LinuxAmd64;
        let images = vec![
            image("jupyter-science", amd64, "abc"),
            image("runtime-science", amd64, "ab"),
            image("runtime-other", amd64, "ad"),
        ];
        insta::assert_snapshot!(table(&built(images, &["runtime-bad"])), @r"
        image            manifest      layers  new    size  shared     own
        jupyter-science  1bfad1700d8a       3    1  6.0 MB  3.0 MB  3.0 MB
        runtime-science  541e1e642770       2    0  3.0 MB  3.0 MB     0 B
        runtime-other    5399064519f3       2    0  5.0 MB  1.0 MB  4.0 MB
        runtime-bad      not built
        3 images with 7 layers of 14.0 MB; each layer once: 4 layers of 10.0 MB
        ");
    }

    #[test]
    fn platforms_are_told_where_there_are_several() {
        let images = vec![
            image("one", Platform::LinuxAmd64, "a"),
            image("one", Platform::LinuxArm64, "b"),
        ];
        let table = table(&built(images, &["two"]));
        assert!(table.contains("\none (linux/amd64)  "), "{table}");
        assert!(table.contains("\none (linux/arm64)  "), "{table}");
    }
}
