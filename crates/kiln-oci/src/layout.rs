//! Image layouts: `oci-layout` and `index.json` (image-spec, image-layout.md).

use std::collections::BTreeMap;

use oci_spec::image::{self as oci, ANNOTATION_REF_NAME};

use crate::{
    descriptor::{ManifestDescriptor, digest_of},
    document::{Child, DocumentError, parse, to_bytes},
};

/// The annotation of a manifest in an index that holds the whole reference of the image: containerd, and
/// with it Docker's newer image store, loads the image under it (containerd, `core/images/annotations.go`).
/// `org.opencontainers.image.ref.name` alone would be taken for one.
const IMAGE_NAME_ANNOTATION: &str = "io.containerd.image.name";

/// The content of the file `oci-layout`.
pub const OCI_LAYOUT_FILE: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;

/// The `index.json` of a layout. What other tools wrote into it stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    index: oci::ImageIndex,
}

/// One name of a layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayoutEntry {
    /// The name.
    pub name: String,
    /// What it names.
    pub manifest: ManifestDescriptor,
}

/// Why a layout cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// The index cannot be read.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// The name is not one that the image specification allows.
    #[error(
        "`{0}` is not a name for an image: use letters, digits, and single `-`, `.`, `_`, `:`, \
         `@`, `+` or `/` between them"
    )]
    Name(String),
}

impl Default for Layout {
    fn default() -> Self {
        Self::new()
    }
}

impl Layout {
    /// A layout without images.
    pub fn new() -> Self {
        let mut index = oci::ImageIndex::default();
        index.set_media_type(Some(oci::MediaType::ImageIndex));
        Self { index }
    }

    /// Reads an `index.json`.
    pub fn parse(bytes: &[u8]) -> Result<Self, LayoutError> {
        Ok(Self {
            index: parse("image index", bytes)?,
        })
    }

    /// The bytes of `index.json`.
    pub fn to_bytes(&self) -> Vec<u8> {
        to_bytes(&self.index)
    }

    /// The named images and indexes, in the order of the file.
    pub fn entries(&self) -> impl Iterator<Item = LayoutEntry> + '_ {
        self.index.manifests().iter().filter_map(|descriptor| {
            Some(LayoutEntry {
                name: ref_name(descriptor)?.to_owned(),
                manifest: ManifestDescriptor::from_oci(descriptor)?,
            })
        })
    }

    /// What this name names.
    pub fn find(&self, name: &str) -> Option<ManifestDescriptor> {
        self.entries()
            .find(|entry| entry.name == name)
            .map(|entry| entry.manifest)
    }

    /// Everything that the index refers to, named or not.
    pub fn children(&self) -> Vec<Child> {
        let child = |descriptor: &oci::Descriptor| {
            Some(Child {
                digest: digest_of(descriptor)?,
                size: descriptor.size(),
                media_type: descriptor.media_type().to_string(),
            })
        };
        self.index.manifests().iter().filter_map(child).collect()
    }

    /// Gives `manifest` this name, taking it from another that has it.
    pub fn set(&mut self, name: &str, manifest: &ManifestDescriptor) -> Result<(), LayoutError> {
        self.put(name, None, manifest)
    }

    /// As [`Self::set`], for an image that leaves the store: engines will know it by this `reference`
    /// (`repository:tag`).
    pub fn set_for_engines(
        &mut self,
        name: &str,
        reference: &str,
        manifest: &ManifestDescriptor,
    ) -> Result<(), LayoutError> {
        self.put(name, Some(whole_reference(reference)), manifest)
    }

    fn put(
        &mut self,
        name: &str,
        reference: Option<String>,
        manifest: &ManifestDescriptor,
    ) -> Result<(), LayoutError> {
        check_name(name)?;
        let mut annotations = BTreeMap::from([(ANNOTATION_REF_NAME.to_owned(), name.to_owned())]);
        annotations.extend(reference.map(|it| (IMAGE_NAME_ANNOTATION.to_owned(), it)));
        let mut descriptor = manifest.to_oci();
        descriptor.set_annotations(Some(annotations.into_iter().collect()));
        let mut manifests = self.index.manifests().clone();
        let position = manifests
            .iter()
            .position(|other| ref_name(other) == Some(name));
        manifests.retain(|other| ref_name(other) != Some(name));
        manifests.insert(position.unwrap_or(manifests.len()), descriptor);
        self.index.set_manifests(manifests);
        Ok(())
    }

    /// Forgets a name. Whether it was there.
    pub fn remove(&mut self, name: &str) -> bool {
        let mut manifests = self.index.manifests().clone();
        let before = manifests.len();
        manifests.retain(|descriptor| ref_name(descriptor) != Some(name));
        let found = manifests.len() < before;
        self.index.set_manifests(manifests);
        found
    }
}

fn ref_name(descriptor: &oci::Descriptor) -> Option<&str> {
    descriptor
        .annotations()
        .as_ref()?
        .get(ANNOTATION_REF_NAME)
        .map(String::as_str)
}

/// The reference with a registry and a path, as Docker's grammar fills them in (distribution/reference,
/// `normalize.go`): `a:1` is `docker.io/library/a:1`. containerd fills in nothing.
fn whole_reference(reference: &str) -> String {
    let is_registry = |first: &str| first == "localhost" || first.contains(['.', ':']);
    match reference.split_once('/') {
        Some((first, _)) if is_registry(first) => reference.to_owned(),
        Some(_) => format!("docker.io/{reference}"),
        None => format!("docker.io/library/{reference}"),
    }
}

/// Whether `name` may stand in `org.opencontainers.image.ref.name` (image-spec, annotations.md):
/// `component ("/" component)*`, where a component is alphanumeric with single separators
/// `-._:@+` or `--` between.
pub fn check_name(name: &str) -> Result<(), LayoutError> {
    let component = |part: &str| {
        part.replace("--", "-")
            .split(['-', '.', '_', ':', '@', '+'])
            .all(|word| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric()))
    };
    if name.len() <= 255 && name.split('/').all(component) {
        Ok(())
    } else {
        Err(LayoutError::Name(name.chars().take(300).collect()))
    }
}

#[cfg(test)]
mod tests {
    use kiln_digest::Digest;

    use super::*;
    use crate::ManifestKind;

    fn manifest(content: &str) -> ManifestDescriptor {
        ManifestDescriptor {
            kind: ManifestKind::Image,
            digest: Digest::of(content.as_bytes()),
            size: content.len() as u64,
            platform: None,
        }
    }

    #[test]
    fn a_name_moves_and_keeps_its_place() {
        let mut layout = Layout::new();
        layout.set("a", &manifest("1")).unwrap();
        layout.set("b", &manifest("2")).unwrap();
        layout.set("a", &manifest("3")).unwrap();
        let layout = Layout::parse(&layout.to_bytes()).unwrap();
        let entries: Vec<_> = layout
            .entries()
            .map(|entry| (entry.name, entry.manifest))
            .collect();
        assert_eq!(
            entries,
            [("a".into(), manifest("3")), ("b".into(), manifest("2"))]
        );
    }

    #[test]
    fn a_removed_name_is_gone_and_others_stay() {
        let mut layout = Layout::new();
        layout.set("a", &manifest("1")).unwrap();
        layout.set("b", &manifest("2")).unwrap();
        assert!(layout.remove("a"));
        assert!(!layout.remove("a"));
        assert_eq!(layout.find("a"), None);
        assert_eq!(layout.find("b"), Some(manifest("2")));
    }

    #[test]
    fn engines_read_the_whole_reference() {
        let mut layout = Layout::new();
        layout
            .set_for_engines("a_1", "example/a:a_1", &manifest("1"))
            .unwrap();
        let text = String::from_utf8(layout.to_bytes()).unwrap();
        assert!(
            text.contains(
                r#""annotations":{"io.containerd.image.name":"docker.io/example/a:a_1","org.opencontainers.image.ref.name":"a_1"}"#
            ),
            "{text}"
        );
        assert_eq!(layout.find("a_1"), Some(manifest("1")));
    }

    #[test]
    fn references_become_whole() {
        for (reference, whole) in [
            ("a:1", "docker.io/library/a:1"),
            ("a/b:1", "docker.io/a/b:1"),
            ("localhost/a:1", "localhost/a:1"),
            ("mirror.example.org/a/b:1", "mirror.example.org/a/b:1"),
            ("mirror:5000/a:1", "mirror:5000/a:1"),
        ] {
            assert_eq!(whole_reference(reference), whole);
        }
    }

    #[test]
    fn what_other_tools_wrote_stays() {
        let digest = "ab".repeat(32);
        let foreign = format!(
            r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"application/vnd.other+json","digest":"sha256:{digest}","size":7,"annotations":{{"x":"y"}}}}],"annotations":{{"k":"v"}}}}"#
        );
        let mut layout = Layout::parse(foreign.as_bytes()).unwrap();
        layout.set("a", &manifest("1")).unwrap();
        let text = String::from_utf8(layout.to_bytes()).unwrap();
        assert!(text.contains(r#""annotations":{"x":"y"}"#), "{text}");
        assert!(text.contains(r#""annotations":{"k":"v"}"#), "{text}");
        assert_eq!(layout.entries().count(), 1);
        assert_eq!(layout.children().len(), 2);
    }

    #[test]
    fn an_empty_layout_is_this_index() {
        assert_eq!(
            String::from_utf8(Layout::new().to_bytes()).unwrap(),
            r#"{"manifests":[],"mediaType":"application/vnd.oci.image.index.v1+json","schemaVersion":2}"#
        );
    }

    #[test]
    fn names_follow_the_specification() {
        for name in [
            "a",
            "cuda-jupyter-pytorch-debian12-3.11_2026a_20260131",
            "a/b:c",
            "a--b",
        ] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        for name in [
            "", "-a", "a-", "a..b", "a/", "/a", "a b", "a---b", "ä", "../a", "a\n",
        ] {
            assert!(
                matches!(check_name(name), Err(LayoutError::Name(_))),
                "{name}"
            );
        }
    }
}
