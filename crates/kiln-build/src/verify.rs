//! Whether an image is what rebuilding it gives, and where not.
//!
//! Nothing that the image says of itself is believed: its layers are hashed, and read where they
//! are not those of the rebuilt image.

use std::io::{self, Read};

use kiln_digest::{Digest, Hasher};
use kiln_layer::{PathDifference, ReadLimits, compare_layers};
use kiln_oci::{Image, LayerDescriptor, Saved, SavedImage, SavedLayer, differences};
use kiln_store::Store;
use rayon::prelude::*;

/// An image beside what rebuilding it gave.
#[derive(Debug)]
pub struct ImageComparison {
    /// Places in which the manifests or the configs differ (`config config.Env[3]`), beyond those
    /// that follow from others.
    pub documents: Vec<String>,
    /// The layers of both, lowest first.
    pub layers: Vec<LayerComparison>,
    /// Whether all is the same.
    pub same: bool,
}

/// A layer beside the rebuilt one.
#[derive(Debug)]
pub struct LayerComparison {
    /// The layer of the image, with its position from 0; none where only the rebuilt image has one.
    pub saved: Option<(usize, SavedLayer)>,
    /// The rebuilt layer, with its position; none where only the image has one.
    pub rebuilt: Option<(usize, LayerDescriptor)>,
    /// What was found.
    pub verdict: Verdict,
}

/// What comparing two layers gave.
#[derive(Debug)]
pub enum Verdict {
    /// They are the same bytes.
    Same,
    /// They differ.
    Differs {
        /// The digest of what is in the blob of the image.
        found: Digest,
        /// Whether the tar streams in the blobs are the same.
        same_content: bool,
        /// Paths that are not alike; none when only bytes between entries, or their order, differ.
        paths: Vec<PathDifference>,
    },
    /// The blob of the image cannot be read as a layer.
    Unreadable(String),
    /// There is no other to compare it with.
    Alone,
}

/// Compares an image with what rebuilding it gave; the rebuilt layers are in `store`.
pub fn compare_image(
    saved: &Saved,
    image: &SavedImage,
    rebuilt: &Image,
    store: &Store,
) -> ImageComparison {
    let layers: Vec<_> = pairs(&image.layers, &rebuilt.layers)
        .into_par_iter()
        .map(|(first, second)| {
            let first = first.map(|index| (index, image.layers[index]));
            let second = second.map(|index| (index, rebuilt.layers[index].clone()));
            let verdict = match (&first, &second) {
                (Some((_, first)), Some((_, second))) => compare(saved, first, second, store),
                _ => Verdict::Alone,
            };
            LayerComparison {
                saved: first,
                rebuilt: second,
                verdict,
            }
        })
        .collect();
    let layers_same = layers
        .iter()
        .all(|layer| matches!(layer.verdict, Verdict::Same));
    let documents_same = image.manifest_digest == rebuilt.manifest_digest
        && image.config_digest == rebuilt.config_digest;
    let manifest = differences(&image.manifest_bytes, &rebuilt.manifest_bytes);
    let config = differences(&image.config_bytes, &rebuilt.config_bytes);
    let named = |document: &'static str| {
        move |place: String| format!("{document} {place}").trim_end().to_owned()
    };
    let documents = manifest
        .into_iter()
        .map(named("manifest"))
        .chain(config.into_iter().map(named("config")))
        .filter(|place| layers_same || !FOLLOWS.iter().any(|it| place.starts_with(it)))
        .filter(|place| !place.starts_with(CONFIG_DESCRIPTOR));
    ImageComparison {
        documents: documents.collect(),
        layers,
        same: layers_same && documents_same,
    }
}

/// What differs in documents when layers do.
const FOLLOWS: [&str; 2] = ["manifest layers", "config rootfs.diff_ids"];

/// Differs whenever the config does.
const CONFIG_DESCRIPTOR: &str = "manifest config.";

/// Which layer stands beside which: those of the same digests at both ends, and in the order in
/// which they come what is between.
fn pairs(saved: &[SavedLayer], rebuilt: &[LayerDescriptor]) -> Vec<(Option<usize>, Option<usize>)> {
    let shared = saved.len().min(rebuilt.len());
    let equal = |first: usize, second: usize| saved[first].digest == rebuilt[second].digest;
    let below = (0..shared).take_while(|&index| equal(index, index)).count();
    let above = (1..=shared - below)
        .take_while(|&back| equal(saved.len() - back, rebuilt.len() - back))
        .count();
    let (saved_end, rebuilt_end) = (saved.len() - above, rebuilt.len() - above);
    let mut pairs: Vec<_> = (0..below).map(|index| (Some(index), Some(index))).collect();
    for index in below..saved_end.max(rebuilt_end) {
        let within = |end: usize| (index < end).then_some(index);
        pairs.push((within(saved_end), within(rebuilt_end)));
    }
    pairs.extend((0..above).map(|index| (Some(saved_end + index), Some(rebuilt_end + index))));
    pairs
}

fn compare(saved: &Saved, first: &SavedLayer, second: &LayerDescriptor, store: &Store) -> Verdict {
    if first.digest == second.digest {
        match saved.blob(&first.digest).and_then(digest_of) {
            Ok(found) if found == second.digest => return Verdict::Same,
            Ok(_) => {}
            Err(error) => return Verdict::Unreadable(error.to_string()),
        }
    }
    let compared = || -> Result<_, Box<dyn std::error::Error>> {
        let rebuilt = store.open_blob(&second.digest)?;
        let saved = saved.blob(&first.digest)?;
        Ok(compare_layers(saved, rebuilt, ReadLimits::default())?)
    };
    match compared() {
        Ok(difference) => Verdict::Differs {
            found: difference.first.digest,
            same_content: difference.first.diff_id == second.diff_id,
            paths: difference.paths,
        },
        Err(error) => {
            let causes = std::iter::successors(error.source(), |&cause| cause.source());
            let text = causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"));
            Verdict::Unreadable(text)
        }
    }
}

fn digest_of(mut blob: impl Read) -> io::Result<Digest> {
    let mut hasher = Hasher::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match blob.read(&mut buffer)? {
            0 => return Ok(hasher.finish()),
            count => hasher.update(&buffer[..count]),
        }
    }
}

#[cfg(test)]
mod tests {
    use kiln_oci::LayerMediaType;

    use super::*;

    fn beside(saved: &str, rebuilt: &str) -> String {
        let digest = |letter: char| Digest::of(letter.to_string().as_bytes());
        let first: Vec<_> = saved
            .chars()
            .map(|letter| SavedLayer {
                digest: digest(letter),
                size: 1,
            })
            .collect();
        let second: Vec<_> = rebuilt
            .chars()
            .map(|letter| LayerDescriptor {
                digest: digest(letter),
                diff_id: digest(letter),
                size: 1,
                unpacked_size: 1,
                toc: None,
                media_type: LayerMediaType::Gzip,
            })
            .collect();
        let letter = |text: &str, index: Option<usize>| {
            index.map_or('-', |index| text.chars().nth(index).unwrap())
        };
        let pairs = pairs(&first, &second).into_iter();
        let pairs = pairs.map(|(a, b)| format!("{}{}", letter(saved, a), letter(rebuilt, b)));
        pairs.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn layers_stand_beside_their_like() {
        assert_eq!(beside("abc", "abc"), "aa bb cc");
        assert_eq!(beside("abc", "axc"), "aa bx cc");
        assert_eq!(beside("abxc", "abc"), "aa bb x- cc");
        assert_eq!(beside("ac", "abc"), "aa -b cc");
        assert_eq!(beside("abcd", "axyzd"), "aa bx cy -z dd");
        assert_eq!(beside("", "ab"), "-a -b");
        assert_eq!(beside("aa", "a"), "aa a-");
        assert_eq!(beside("xyz", "abc"), "xa yb zc");
    }
}
