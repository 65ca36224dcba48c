//! Results of actions: an append-only log.
//!
//! One record is one line: 16 hex digits of the SHA-256 of what follows the space after them, the
//! key as 64 hex digits, a space, and the result as JSON. A line that is torn, damaged or of an
//! unknown kind counts as absent; of several records with one key the last counts.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{Read, Seek, SeekFrom, Write},
};

use kiln_digest::Digest;
use kiln_oci::LayerDescriptor;
use serde::{Deserialize, Serialize};

use crate::{
    Store, StoreError, files,
    lock::{Lock, Mode},
};

const LOG: &str = "actions/results";
const CHECK_DIGITS: usize = 16;
const KEY_DIGITS: usize = 64;

/// What an action gave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ActionResult {
    /// A layer.
    Layer(LayerDescriptor),
}

impl ActionResult {
    /// The digest and size of the blob that must be there for the result to count.
    pub fn blob(&self) -> (Digest, u64) {
        match self {
            Self::Layer(layer) => (layer.digest, layer.size),
        }
    }
}

impl Store {
    /// The known results among these keys. A result whose blob is not there, or has another size,
    /// is not returned. Reads the log once.
    pub fn results(&self, keys: &[Digest]) -> Result<BTreeMap<Digest, ActionResult>, StoreError> {
        let log = files::read_if_any(&self.path(LOG))?.unwrap_or_default();
        let mut found = read(&log, Some(&keys.iter().copied().collect()));
        found.retain(|_, result| {
            let (digest, size) = result.blob();
            self.has_blob(&digest, size)
        });
        Ok(found)
    }

    /// Records what the action with this key gave. Its blob is in the store already.
    pub fn record(&self, key: &Digest, result: &ActionResult) -> Result<(), StoreError> {
        let (digest, size) = result.blob();
        if !self.has_blob(&digest, size) {
            return Err(StoreError::MissingBlob(digest));
        }
        let path = self.path(LOG);
        let _lock = Lock::take(self.path("actions/lock"), Mode::Exclusive, &mut |_| ())?;
        let mut file = File::options()
            .read(true)
            .append(true)
            .create(true)
            .open(&path)
            .map_err(StoreError::io("open", &path))?;
        append(&mut file, &encode(key, result)).map_err(StoreError::io("write", &path))
    }

    /// All results, whether their blobs are there or not.
    pub(crate) fn all_results(&self) -> Result<BTreeMap<Digest, ActionResult>, StoreError> {
        Ok(read(
            &files::read_if_any(&self.path(LOG))?.unwrap_or_default(),
            None,
        ))
    }

    /// Replaces the log. The caller holds the store's lock exclusively.
    pub(crate) fn rewrite_results(
        &self,
        results: &BTreeMap<Digest, ActionResult>,
    ) -> Result<(), StoreError> {
        let log: Vec<u8> = results
            .iter()
            .flat_map(|(key, result)| encode(key, result))
            .collect();
        files::replace(&self.path("tmp"), &self.path(LOG), &log)
    }
}

/// Appends a whole line, also after one that a killed process left torn.
fn append(file: &mut File, line: &[u8]) -> std::io::Result<()> {
    let end = file.seek(SeekFrom::End(0))?;
    let mut text = Vec::with_capacity(line.len() + 1);
    if end > 0 {
        let mut last = [0];
        file.seek(SeekFrom::Start(end - 1))?;
        file.read_exact(&mut last)?;
        if last != *b"\n" {
            text.push(b'\n');
        }
    }
    text.extend_from_slice(line);
    let written = file.write_all(&text).and_then(|()| file.sync_data());
    if written.is_err() {
        // The disk is full: take back the part that fitted. A torn line would do no harm.
        let _ = file.set_len(end);
    }
    written
}

fn encode(key: &Digest, result: &ActionResult) -> Vec<u8> {
    #[expect(
        clippy::expect_used,
        reason = "plain data with text keys always serialises"
    )]
    let json = serde_json::to_string(result).expect("a result serialises");
    let record = format!("{} {json}", key.hex());
    format!("{} {record}\n", check(record.as_bytes())).into_bytes()
}

fn check(record: &[u8]) -> String {
    let mut hex = Digest::of(record).hex();
    hex.truncate(CHECK_DIGITS);
    hex
}

/// The last intact record of each key, of all keys or of those in `wanted`.
fn read(log: &[u8], wanted: Option<&BTreeSet<Digest>>) -> BTreeMap<Digest, ActionResult> {
    let mut found = BTreeMap::new();
    for line in log.split(|byte| *byte == b'\n') {
        // The key first: parsing and hashing every line of a large log would take long.
        let Some(key) = key_of(line) else { continue };
        if wanted.is_none_or(|wanted| wanted.contains(&key))
            && let Some(result) = result_of(line)
        {
            found.insert(key, result);
        }
    }
    found
}

fn key_of(line: &[u8]) -> Option<Digest> {
    let key = line.get(CHECK_DIGITS + 1..=CHECK_DIGITS + KEY_DIGITS)?;
    Digest::from_hex(std::str::from_utf8(key).ok()?).ok()
}

fn result_of(line: &[u8]) -> Option<ActionResult> {
    let (digits, record) = line.split_at_checked(CHECK_DIGITS)?;
    let record = record.strip_prefix(b" ")?;
    if check(record).as_bytes() != digits {
        return None;
    }
    serde_json::from_slice(record.get(KEY_DIGITS..)?.strip_prefix(b" ")?).ok()
}
