//! JSON documents: writing them in one canonical way, reading foreign ones with bounds.

use std::collections::BTreeSet;

use kiln_digest::Digest;
use oci_spec::image::{self as oci, MediaType};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::descriptor::digest_of;

/// Larger manifests, configs and indexes are refused: registries hold the same limit for
/// manifests (distribution-spec, "Pushing Manifests", asks for at least 4 MiB).
pub const MAX_DOCUMENT_SIZE: u64 = 4 << 20;

/// Why a document cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// It is larger than [`MAX_DOCUMENT_SIZE`].
    #[error("the document has {size} bytes, more than the {MAX_DOCUMENT_SIZE} allowed")]
    TooLarge {
        /// Its size.
        size: u64,
    },
    /// It is not what it should be.
    #[error("not a valid {what}")]
    Invalid {
        /// What it should be.
        what: &'static str,
        /// The parser's words.
        #[source]
        source: serde_json::Error,
    },
}

/// Compact JSON with the keys of every object sorted.
///
/// `oci-spec` keeps labels, annotations and ports in hash maps, whose order is another one in
/// each process.
pub(crate) fn to_bytes(document: &impl Serialize) -> Vec<u8> {
    #[expect(
        clippy::expect_used,
        reason = "plain data with text keys always serialises"
    )]
    let mut value = serde_json::to_value(document).expect("a document serialises");
    // Objects are sorted anyway, unless some crate of the build turns on the feature of
    // serde_json that keeps insertion order.
    value.sort_all_objects();
    value.to_string().into_bytes()
}

pub(crate) fn parse<T: DeserializeOwned>(
    what: &'static str,
    bytes: &[u8],
) -> Result<T, DocumentError> {
    let size = bytes.len() as u64;
    if size > MAX_DOCUMENT_SIZE {
        return Err(DocumentError::TooLarge { size });
    }
    serde_json::from_slice(bytes).map_err(|source| DocumentError::Invalid { what, source })
}

/// A blob that a manifest or an index refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Child {
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Its media type.
    pub media_type: String,
}

impl Child {
    /// Whether it is a manifest or an index, and so has children itself.
    pub fn is_document(&self) -> bool {
        is_manifest(&self.media_type) || is_index(&self.media_type)
    }
}

/// The blobs that a manifest or an index of this media type (OCI or Docker) refers to; none for
/// other media types. Digests other than SHA-256 are passed over.
pub fn children(media_type: &str, bytes: &[u8]) -> Result<Vec<Child>, DocumentError> {
    let descriptors = if is_manifest(media_type) {
        let manifest: oci::ImageManifest = parse("image manifest", bytes)?;
        let mut descriptors = vec![manifest.config().clone()];
        descriptors.extend_from_slice(manifest.layers());
        descriptors.extend(manifest.subject().clone());
        descriptors
    } else if is_index(media_type) {
        let index: oci::ImageIndex = parse("image index", bytes)?;
        index.manifests().clone()
    } else {
        Vec::new()
    };
    Ok(descriptors
        .iter()
        .filter_map(|descriptor| {
            Some(Child {
                digest: digest_of(descriptor)?,
                size: descriptor.size(),
                media_type: descriptor.media_type().to_string(),
            })
        })
        .collect())
}

fn is_manifest(media_type: &str) -> bool {
    MediaType::from(media_type) == MediaType::ImageManifest
        || media_type == "application/vnd.docker.distribution.manifest.v2+json"
}

pub(crate) fn is_index(media_type: &str) -> bool {
    MediaType::from(media_type) == MediaType::ImageIndex
        || media_type == "application/vnd.docker.distribution.manifest.list.v2+json"
}

/// The places in which two JSON documents differ, as paths of keys (`config.Env[3]`), sorted.
/// Bytes that are no JSON, or that differ in nothing but spaces, differ as a whole: an empty path.
pub fn differences(first: &[u8], second: &[u8]) -> Vec<String> {
    let value = |bytes| serde_json::from_slice(bytes).unwrap_or(Value::Null);
    let mut places = Vec::new();
    differ(&value(first), &value(second), String::new(), &mut places);
    if places.is_empty() && first != second {
        places.push(String::new());
    }
    places.sort();
    places
}

/// The depth is bounded by that of the parser.
fn differ(first: &Value, second: &Value, place: String, places: &mut Vec<String>) {
    match (first, second) {
        (Value::Object(first), Value::Object(second)) => {
            let keys: BTreeSet<_> = first.keys().chain(second.keys()).collect();
            for key in keys {
                let dot = if place.is_empty() { "" } else { "." };
                let place = format!("{place}{dot}{key}");
                match (first.get(key), second.get(key)) {
                    (Some(first), Some(second)) => differ(first, second, place, places),
                    _ => places.push(place),
                }
            }
        }
        (Value::Array(first), Value::Array(second)) => {
            for index in 0..first.len().max(second.len()) {
                let place = format!("{place}[{index}]");
                match (first.get(index), second.get(index)) {
                    (Some(first), Some(second)) => differ(first, second, place, places),
                    _ => places.push(place),
                }
            }
        }
        (first, second) if first == second => {}
        _ => places.push(place),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_named_by_their_place() {
        let first = br#"{"a":{"b":1,"c":[1,2,3]},"d":"x","same":[{}]}"#;
        let second = br#"{"a":{"b":2,"c":[1,9]},"e":"x","same":[{}]}"#;
        assert_eq!(
            differences(first, second),
            ["a.b", "a.c[1]", "a.c[2]", "d", "e"]
        );
        assert!(differences(first, first).is_empty());
    }

    #[test]
    fn other_bytes_of_one_meaning_differ_as_a_whole() {
        assert_eq!(differences(b"{}", b"{ }"), [""]);
        assert_eq!(differences(b"{}", b"no JSON"), [""]);
        assert_eq!(differences(b"no", b"JSON"), [""]);
    }
}
