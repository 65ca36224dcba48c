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
    /// A blob that other actions read: a built wheel, the compiled modules of a wheel.
    Blob {
        /// Its digest.
        digest: Digest,
        /// Its size in bytes.
        size: u64,
    },
}

impl ActionResult {
    /// The layer, if it is one.
    pub fn layer(&self) -> Option<&LayerDescriptor> {
        match self {
            Self::Layer(layer) => Some(layer),
            Self::Blob { .. } => None,
        }
    }

    /// The digest and size of the blob that must be there for the result to count.
    pub fn blob(&self) -> (Digest, u64) {
        match self {
            Self::Layer(layer) => (layer.digest, layer.size),
            Self::Blob { digest, size } => (*digest, *size),
        }
    }
}

impl ActionResult {
    /// The line of the log that says that the action with this key gave this.
    pub fn record(&self, key: &Digest) -> String {
        encode(key, self)
    }

    /// The results in a log.
    pub fn parse_log(log: &[u8]) -> BTreeMap<Digest, Self> {
        read(log, None)
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
        append(&mut file, encode(key, result).as_bytes()).map_err(StoreError::io("write", &path))
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
        let log: String = results
            .iter()
            .map(|(key, result)| encode(key, result))
            .collect();
        files::replace(&self.path("tmp"), &self.path(LOG), log.as_bytes())
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

fn encode(key: &Digest, result: &ActionResult) -> String {
    #[expect(
        clippy::expect_used,
        reason = "plain data with text keys always serialises"
    )]
    let json = serde_json::to_string(result).expect("a result serialises");
    let record = format!("{} {json}", key.hex());
    format!("{} {record}\n", check(record.as_bytes()))
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

#[cfg(test)]
mod tests {
    use kiln_oci::LayerMediaType;
    use proptest::prelude::*;

    use super::*;

    fn result(text: &str) -> ActionResult {
        ActionResult::Layer(LayerDescriptor {
            digest: Digest::of(text.as_bytes()),
            diff_id: Digest::of(b"tar"),
            size: text.len() as u64,
            unpacked_size: 1 << 40,
            media_type: LayerMediaType::Gzip,
            toc: None,
        })
    }

    fn key(number: u8) -> Digest {
        Digest::of(&[number])
    }

    fn log(numbers: &[u8]) -> Vec<u8> {
        numbers
            .iter()
            .map(|number| encode(&key(*number), &result(&number.to_string())))
            .collect::<String>()
            .into_bytes()
    }

    /// Stores that exist hold such lines: a change must still read them.
    #[test]
    fn a_record_is_this_line() {
        let line = encode(&key(1), &result("x"));
        let record = format!(
            r#"{} {{"layer":{{"digest":"{}","diff_id":"{}","size":1,"unpacked_size":1099511627776,"media_type":"gzip"}}}}"#,
            Digest::of(&[1]).hex(),
            Digest::of(b"x"),
            Digest::of(b"tar"),
        );
        assert_eq!(
            line,
            format!("{} {record}\n", &Digest::of(record.as_bytes()).hex()[..16])
        );
    }

    #[test]
    fn the_last_record_of_a_key_counts() {
        let mut log = log(&[1, 2]);
        log.extend(encode(&key(1), &result("newer")).into_bytes());
        let found = read(&log, None);
        assert_eq!(found[&key(1)], result("newer"));
        assert_eq!(found[&key(2)], result("2"));
    }

    #[test]
    fn a_result_of_an_unknown_kind_is_absent() {
        let record = format!("{} {{\"hologram\":{{}}}}", key(1).hex());
        let line = format!("{} {record}\n", check(record.as_bytes()));
        let mut log = line.into_bytes();
        log.extend(super::tests::log(&[2]));
        assert_eq!(read(&log, None).into_keys().collect::<Vec<_>>(), [key(2)]);
    }

    #[test]
    fn a_record_after_a_torn_one_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("results");
        let whole = log(&[1, 2]);
        let torn = &whole[..whole.len() - 10];
        std::fs::write(&path, torn).unwrap();
        let mut file = File::options().read(true).append(true).open(&path).unwrap();
        append(&mut file, &log(&[3])).unwrap();
        append(&mut file, &log(&[4])).unwrap();
        let found = read(&std::fs::read(&path).unwrap(), None);
        assert_eq!(found, read(&log(&[1, 3, 4]), None));
        assert_eq!(found.len(), 3);
    }

    proptest! {
        #[test]
        fn a_truncated_log_gives_its_whole_records(length in 0..2000_usize) {
            let whole = log(&[1, 2, 3, 4]);
            let length = length.min(whole.len());
            // A record is whole with its last brace; the line feed says nothing more.
            let records = whole.split_inclusive(|byte| *byte == b'\n');
            let mut end = 0;
            let complete = records.filter(|record| {
                end += record.len();
                end - 1 <= length
            });
            let expected: Vec<u8> = complete.flatten().copied().collect();
            prop_assert_eq!(read(&whole[..length], None), read(&expected, None));
        }

        #[test]
        fn a_damaged_byte_never_gives_another_result(at: prop::sample::Index, byte: u8) {
            let intact = log(&[1, 2, 3]);
            let original = read(&intact, None);
            let mut damaged = intact;
            let at = at.index(damaged.len());
            damaged[at] = byte;
            for (key, result) in read(&damaged, None) {
                prop_assert_eq!(original.get(&key), Some(&result));
            }
        }

        #[test]
        fn arbitrary_bytes_give_nothing(bytes: Vec<u8>) {
            prop_assert!(read(&bytes, None).is_empty());
        }

        #[test]
        fn arbitrary_lines_of_the_right_shape_give_nothing(
            digits in "[0-9a-f]{16}", rest in "[0-9a-f]{64} \\{.{0,80}",
        ) {
            let log = format!("{digits} {rest}\n");
            prop_assert!(read(log.as_bytes(), None).is_empty());
        }
    }
}
