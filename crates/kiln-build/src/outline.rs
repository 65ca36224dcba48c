//! Outlines: which paths a layer has, in brief, so that packages of different layers that ship one
//! path with different content are found without opening layers again.
//!
//! Within a layer `kiln_layer::merge` finds such packages. Between layers the upper one would win
//! in silence, so an image is checked before its manifest is written. An outline is
//! kept in the store beside its layer; one that is not there is made from the layer itself.

use std::collections::{HashMap, HashSet};

use kiln_digest::Digest;
use kiln_layer::{Entry, EntryKind, EntryPath, Payload, ReadLimits, RecordKind, read_layer};
use kiln_oci::LayerDescriptor;
use kiln_plan::{ImagePlan, Kind, Origin, Plan, Step};
use kiln_store::{Store, StoreError};

use crate::error::BuildError;

/// For everything but directories: the first eight bytes of the digests of path and content.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Outline(Vec<(u64, u64)>);

fn brief(bytes: &[u8]) -> u64 {
    let digest = Digest::of(bytes);
    let (first, _) = digest.as_bytes().split_at(8);
    first
        .iter()
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// What tells contents apart: CRC-32 and length, which every archive states or which are cheap.
fn content(crc32: u32, size: u64) -> u64 {
    brief(&[&crc32.to_be_bytes()[..], &size.to_be_bytes()].concat())
}

impl Outline {
    /// The outline of the layer that these entries become.
    pub(crate) fn of(entries: &[Entry]) -> Self {
        let mut files: HashMap<&EntryPath, u64> = HashMap::new();
        let mut outline = Vec::new();
        for entry in entries {
            let content = match &entry.kind {
                EntryKind::Directory => continue,
                EntryKind::File(Payload::Deflated { crc32, size, .. }) => content(*crc32, *size),
                EntryKind::File(Payload::Plain(bytes)) => {
                    content(crc32fast::hash(bytes), bytes.len() as u64)
                }
                EntryKind::Symlink(target) => brief(target),
                EntryKind::Hardlink(target) => files.get(target).copied().unwrap_or_default(),
                EntryKind::Whiteout => 0,
            };
            files.insert(&entry.path, content);
            outline.push((brief(entry.path.as_bytes()), content));
        }
        Self(outline)
    }

    /// The outline of a layer of the store.
    fn read(store: &Store, layer: &LayerDescriptor) -> Result<Self, BuildError> {
        let mut files: HashMap<EntryPath, u64> = HashMap::new();
        let mut outline = Vec::new();
        each_record(store, layer, &mut |path, kind, reader| {
            let content = match kind {
                RecordKind::File => {
                    let mut hasher = crc32fast::Hasher::new();
                    let mut buffer = [0; 8 << 10];
                    let mut size = 0;
                    loop {
                        let count = reader.read(&mut buffer)?;
                        if count == 0 {
                            break content(hasher.finalize(), size);
                        }
                        hasher.update(&buffer[..count]);
                        size += count as u64;
                    }
                }
                RecordKind::Symlink(target) => brief(target),
                RecordKind::Hardlink(target) => files.get(target).copied().unwrap_or_default(),
                RecordKind::Whiteout => 0,
                _ => return Ok(()),
            };
            files.insert(path.clone(), content);
            outline.push((brief(path.as_bytes()), content));
            Ok(())
        })?;
        Ok(Self(outline))
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let pairs = self.0.iter();
        pairs
            .flat_map(|(path, content)| [path.to_be_bytes(), content.to_be_bytes()])
            .flatten()
            .collect()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let number = |bytes: &[u8]| bytes.try_into().ok().map(u64::from_be_bytes);
        let pair = |pair: &[u8]| Some((number(&pair[..8])?, number(&pair[8..])?));
        if !bytes.len().is_multiple_of(16) {
            return None;
        }
        bytes
            .chunks_exact(16)
            .map(pair)
            .collect::<Option<_>>()
            .map(Self)
    }
}

fn each_record(
    store: &Store,
    layer: &LayerDescriptor,
    visit: &mut dyn FnMut(&EntryPath, &RecordKind, &mut dyn std::io::Read) -> std::io::Result<()>,
) -> Result<(), BuildError> {
    let blob = store.open_blob(&layer.digest)?;
    let read = read_layer(blob, ReadLimits::default(), |record, reader| {
        visit(&record.path, &record.kind, reader)
    });
    let found = read.map_err(|source| BuildError::Layer {
        digest: layer.digest,
        source,
    })?;
    if found.diff_id != layer.diff_id {
        return Err(StoreError::CorruptBlob(layer.digest).into());
    }
    Ok(())
}

/// Makes sure that no two packages of different layers of `image` ship one path with different
/// content, unless the recipe says that the package of the upper layer wins.
///
/// Only layers of packages count: files of the family are placed over packages on purpose. What a
/// package ships that dpkg installs is no conflict: dpkg settled it when the set was configured.
pub(crate) fn check(
    plan: &Plan,
    image: &ImagePlan,
    layers: &[LayerDescriptor],
    store: &Store,
) -> Result<(), BuildError> {
    let settled: HashSet<Digest> = image
        .layers
        .iter()
        .filter_map(|used| match &plan.steps[used.step].action.kind {
            Kind::Configure(configure) => Some(configure.installed_by_dpkg.values().copied()),
            _ => None,
        })
        .flatten()
        .collect();
    let mut seen: HashMap<u64, (u64, usize)> = HashMap::new();
    for (index, (used, layer)) in image.layers.iter().zip(layers).enumerate() {
        let upper = &plan.steps[used.step];
        let is_packed = matches!(upper.action.kind, Kind::PackDebs(_) | Kind::PackWheels(_));
        if !is_packed || settled.contains(&upper.key) {
            continue;
        }
        for (path, content) in outline(store, layer)?.0 {
            let Some((other, below)) = seen.insert(path, (content, index)) else {
                continue;
            };
            let lower = &plan.steps[image.layers[below].step];
            if other != content && below != index {
                let path = path_of(store, layer, path)?;
                let winner = image.winners.get(&path);
                if winner.is_none_or(|winner| !packages(upper).contains(&normal(winner))) {
                    return Err(BuildError::Conflict {
                        path,
                        lower: name(lower),
                        upper: name(upper),
                    });
                }
            }
        }
    }
    Ok(())
}

fn outline(store: &Store, layer: &LayerDescriptor) -> Result<Outline, BuildError> {
    let stored = store.outline(&layer.digest)?;
    if let Some(outline) = stored.and_then(|bytes| Outline::from_bytes(&bytes)) {
        return Ok(outline);
    }
    let outline = Outline::read(store, layer)?;
    store.put_outline(&layer.digest, &outline.to_bytes())?;
    Ok(outline)
}

/// The path, absolute, that stands in an outline as `wanted`.
fn path_of(store: &Store, layer: &LayerDescriptor, wanted: u64) -> Result<String, BuildError> {
    let mut found = String::new();
    each_record(store, layer, &mut |path, _, _| {
        if brief(path.as_bytes()) == wanted {
            found = format!("/{path}");
        }
        Ok(())
    })?;
    Ok(found)
}

/// The names of a step's packages.
fn packages(step: &Step) -> Vec<String> {
    let name = |origin: &Origin| match origin {
        Origin::Deb { path, .. } => path.rsplit('/').next()?.split('_').next().map(normal),
        Origin::Wheel { project, .. } => Some(normal(project)),
        Origin::File { .. } | Origin::Family(_) | Origin::Built(_) => None,
    };
    step.inputs
        .iter()
        .filter_map(|input| name(&input.origin))
        .collect()
}

/// Wheels spell a project's name with underscores, people with hyphens.
fn normal(name: &str) -> String {
    name.to_ascii_lowercase().replace(['_', '.'], "-")
}

/// A step in an error: its one package, or the layer that it makes.
fn name(step: &Step) -> String {
    match packages(step).as_slice() {
        [package] => package.clone(),
        _ => step.title.clone(),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use kiln_layer::{Contribution, ParentPolicy, REPRODUCIBLE_MTIME, merge};

    use super::*;

    fn entry(path: &str, kind: EntryKind) -> Entry {
        let path = EntryPath::new(path).unwrap();
        Entry {
            path,
            kind,
            mode: 0o644,
            uid: 0,
            gid: 0,
            mtime: REPRODUCIBLE_MTIME,
            capability: None,
        }
    }

    fn plain(content: &'static str) -> EntryKind {
        EntryKind::File(Payload::Plain(Bytes::from_static(content.as_bytes())))
    }

    fn entries() -> Vec<Entry> {
        let entries = vec![
            entry("a/file", plain("content")),
            entry(
                "a/hard",
                EntryKind::Hardlink(EntryPath::new("a/file").unwrap()),
            ),
            entry("a/link", EntryKind::Symlink(b"file".to_vec())),
            entry("b/empty", plain("")),
        ];
        let contribution = Contribution {
            package: "a".into(),
            entries,
        };
        merge(
            vec![contribution],
            &std::collections::BTreeMap::new(),
            &ParentPolicy::default(),
        )
        .unwrap()
    }

    #[test]
    fn an_outline_read_from_a_layer_is_the_one_of_its_entries() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(home.path().join("store")).unwrap();
        let mut writer = store.blob_writer().unwrap();
        let entries = entries();
        let summary =
            kiln_layer::write_layer(&entries, kiln_layer::Compression::Gzip, &mut writer).unwrap();
        let layer = crate::assemble::descriptor(&summary, kiln_plan::Compression::Gzip);
        writer.commit(&layer.digest, layer.size).unwrap();
        let made = Outline::of(&entries);
        assert_eq!(made.0.len(), 4, "directories do not count");
        assert_eq!(Outline::read(&store, &layer).unwrap(), made);
        assert_eq!(Outline::from_bytes(&made.to_bytes()), Some(made.clone()));
        assert_eq!(
            path_of(&store, &layer, brief(b"a/link")).unwrap(),
            "/a/link"
        );
    }

    #[test]
    fn a_layer_that_is_not_what_it_was_gives_no_outline() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(home.path().join("store")).unwrap();
        let mut writer = store.blob_writer().unwrap();
        let summary =
            kiln_layer::write_layer(&entries(), kiln_layer::Compression::Gzip, &mut writer)
                .unwrap();
        let mut layer = crate::assemble::descriptor(&summary, kiln_plan::Compression::Gzip);
        writer.commit(&layer.digest, layer.size).unwrap();
        layer.diff_id = Digest::of(b"what it was");
        let read = Outline::read(&store, &layer);
        assert!(
            matches!(read, Err(BuildError::Store(StoreError::CorruptBlob(digest))) if digest == layer.digest)
        );
    }

    #[test]
    fn other_content_at_a_path_shows() {
        let one = Outline::of(&[entry("x", plain("one"))]);
        let two = Outline::of(&[entry("x", plain("two"))]);
        assert_eq!(one.0[0].0, two.0[0].0);
        assert_ne!(one.0[0].1, two.0[0].1);
    }

    #[test]
    fn bytes_of_another_length_are_no_outline() {
        assert_eq!(Outline::from_bytes(&[0; 15]), None);
    }
}
