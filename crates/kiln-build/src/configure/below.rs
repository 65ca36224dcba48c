//! What the layers below say: the dpkg database and the accounts.

use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    io::Read as _,
};

use bytes::Bytes;
use kiln_layer::{EntryPath, LayerRecord, ReadLimits, RecordKind, read_layer};
use kiln_sandbox::LayerBlob;
use rayon::prelude::*;

use super::ConfigureError;

/// Where dpkg's database is.
pub(super) const DATABASE: &str = "var/lib/dpkg/";
/// A status file of ten thousand packages has 20 MB.
const MAX_FILE: u64 = 256 << 20;

/// Files of the layers below, the topmost layer deciding.
#[derive(Debug, Default)]
pub(super) struct Below {
    files: HashMap<EntryPath, Bytes>,
}

impl Below {
    /// Reads the wanted files of `layers`, bottom first.
    pub(super) fn read(
        layers: &[LayerBlob],
        is_wanted: impl Fn(&EntryPath) -> bool + Sync,
    ) -> Result<Self, ConfigureError> {
        let parts = layers
            .par_iter()
            .map(|layer| Self::of_layer(layer, &is_wanted))
            .collect::<Result<Vec<_>, _>>()?;
        let mut below = Self::default();
        for part in parts {
            for removed in &part.removed {
                below.remove(removed);
            }
            below.files.extend(part.files);
        }
        Ok(below)
    }

    fn of_layer(
        layer: &LayerBlob,
        is_wanted: &(impl Fn(&EntryPath) -> bool + Sync),
    ) -> Result<Part, ConfigureError> {
        let mut part = Part::default();
        let unreadable = |source| ConfigureError::Layer {
            diff_id: layer.diff_id,
            source,
        };
        let blob = File::open(&layer.path).map_err(|error| unreadable(error.into()))?;
        let visit = |record: &LayerRecord, content: &mut dyn std::io::Read| {
            match record.kind {
                RecordKind::File if is_wanted(&record.path) => {
                    let mut bytes = Vec::new();
                    content.take(MAX_FILE).read_to_end(&mut bytes)?;
                    part.files.insert(record.path.clone(), bytes.into());
                }
                RecordKind::Whiteout | RecordKind::OpaqueWhiteout => {
                    part.removed.push(record.path.clone());
                }
                _ => {}
            }
            Ok(())
        };
        let summary = read_layer(blob, ReadLimits::default(), visit).map_err(unreadable)?;
        if summary.diff_id != layer.diff_id {
            return Err(ConfigureError::OtherLayer(layer.diff_id));
        }
        Ok(part)
    }

    fn remove(&mut self, path: &EntryPath) {
        let below = |candidate: &EntryPath| {
            let rest = candidate.as_bytes().strip_prefix(path.as_bytes());
            rest.is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
        };
        self.files.retain(|candidate, _| !below(candidate));
    }

    /// The text of a file that was asked for; nothing when there is none.
    pub(super) fn text(&self, path: &str) -> String {
        let bytes = EntryPath::new(path)
            .ok()
            .and_then(|path| self.files.get(&path));
        bytes.map_or_else(String::new, |bytes| {
            String::from_utf8_lossy(bytes).into_owned()
        })
    }

    /// The files of dpkg's database that list packages, by their path in it.
    pub(super) fn database(&self) -> BTreeMap<String, String> {
        let files = self.files.iter().filter_map(|(path, bytes)| {
            let name = std::str::from_utf8(path.as_bytes()).ok()?;
            let name = name.strip_prefix(DATABASE)?;
            let is_list = name == "status" || name.starts_with("triggers/");
            is_list.then(|| (name.to_owned(), String::from_utf8_lossy(bytes).into_owned()))
        });
        files.collect()
    }
}

/// What one layer says.
#[derive(Default)]
struct Part {
    files: HashMap<EntryPath, Bytes>,
    removed: Vec<EntryPath>,
}
