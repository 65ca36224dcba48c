//! Java key stores of type JKS, as far as their timestamps go.
//!
//! `ca-certificates-java` makes one of the certificates of `ca-certificates`, and Java notes for
//! each certificate when it was added. Source of the format: `sun.security.provider.JavaKeyStore`
//! of `OpenJDK` (`engineStore`): big-endian magic, version, number of entries; for each a tag, an
//! alias, milliseconds since the epoch, and a key with its chain or one certificate; at the end a
//! keyed SHA-1 of all.

use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY, SHA1_OUTPUT_LEN};

const MAGIC: [u8; 4] = [0xfe, 0xed, 0xfe, 0xed];
/// What everybody protects the public certificates with.
const PASSWORD: &str = "changeit";
/// Mixed into the digest.
const WHITENER: &[u8] = b"Mighty Aphrodite";
/// Mozilla's list has about 150 entries.
const MAX_ENTRIES: u32 = 100_000;

/// Why a key store cannot be normalised.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyStoreError {
    /// The bytes are not what the format says.
    #[error("it is malformed at byte {0}")]
    Malformed(usize),
    /// Its digest does not belong to its content and the password that everybody knows.
    #[error("its digest is not made with the usual password")]
    Digest,
    /// A key is something that an image must not hold.
    #[error("it holds a private key")]
    PrivateKey,
}

/// Whether `bytes` begin like a key store.
pub(super) fn is_key_store(bytes: &[u8]) -> bool {
    bytes.starts_with(&MAGIC)
}

/// The same key store with all times at `time`, in seconds since the epoch.
pub(crate) fn with_times(bytes: &[u8], time: i64) -> Result<Vec<u8>, KeyStoreError> {
    let content = bytes
        .len()
        .checked_sub(SHA1_OUTPUT_LEN)
        .map(|end| &bytes[..end])
        .ok_or(KeyStoreError::Malformed(bytes.len()))?;
    let places = times(content)?;
    if digest(content) != bytes[content.len()..] {
        return Err(KeyStoreError::Digest);
    }
    let mut store = content.to_vec();
    let milliseconds = time.saturating_mul(1000).to_be_bytes();
    for place in places {
        store[place..place + milliseconds.len()].copy_from_slice(&milliseconds);
    }
    let digest = digest(&store);
    store.extend(digest);
    Ok(store)
}

/// Where the timestamps are.
fn times(content: &[u8]) -> Result<Vec<usize>, KeyStoreError> {
    let mut reader = Reader { content, at: 0 };
    if reader.take(MAGIC.len())? != MAGIC {
        return Err(KeyStoreError::Malformed(0));
    }
    let version = reader.number(4)?;
    let entries = reader.number(4)?;
    if !(1..=2).contains(&version) || entries > MAX_ENTRIES as usize {
        return Err(KeyStoreError::Malformed(reader.at));
    }
    let mut places = Vec::new();
    for _ in 0..entries {
        let tag = reader.number(4)?;
        reader.text()?;
        places.push(reader.at);
        reader.take(8)?;
        match tag {
            1 => return Err(KeyStoreError::PrivateKey),
            2 => {
                if version == 2 {
                    reader.text()?;
                }
                let length = reader.number(4)?;
                reader.take(length)?;
            }
            _ => return Err(KeyStoreError::Malformed(reader.at)),
        }
    }
    if reader.at != content.len() {
        return Err(KeyStoreError::Malformed(reader.at));
    }
    Ok(places)
}

struct Reader<'a> {
    content: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], KeyStoreError> {
        let end = self.at.checked_add(length);
        let taken = end.and_then(|end| self.content.get(self.at..end));
        let taken = taken.ok_or(KeyStoreError::Malformed(self.at))?;
        self.at += length;
        Ok(taken)
    }

    /// A big-endian number of at most four bytes.
    fn number(&mut self, bytes: usize) -> Result<usize, KeyStoreError> {
        let number = self.take(bytes)?;
        Ok(number
            .iter()
            .fold(0, |sum, byte| sum << 8 | usize::from(*byte)))
    }

    /// `DataOutputStream.writeUTF`: a length of two bytes and the text.
    fn text(&mut self) -> Result<(), KeyStoreError> {
        let length = self.number(2)?;
        self.take(length).map(|_| ())
    }
}

fn digest(content: &[u8]) -> Vec<u8> {
    let mut sha1 = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
    for unit in PASSWORD.encode_utf16() {
        sha1.update(&unit.to_be_bytes());
    }
    sha1.update(WHITENER);
    sha1.update(content);
    sha1.finish().as_ref().to_vec()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn store(version: u8, entries: &[(u8, &str, i64, &[u8])]) -> Vec<u8> {
        let mut store = MAGIC.to_vec();
        store.extend([0, 0, 0, version, 0, 0, 0]);
        store.push(u8::try_from(entries.len()).unwrap());
        let text = |text: &str| {
            let mut bytes = u16::try_from(text.len()).unwrap().to_be_bytes().to_vec();
            bytes.extend(text.as_bytes());
            bytes
        };
        for (tag, alias, time, certificate) in entries {
            store.extend([0, 0, 0, *tag]);
            store.extend(text(alias));
            store.extend((time * 1000).to_be_bytes());
            if version == 2 {
                store.extend(text("X.509"));
            }
            store.extend(u32::try_from(certificate.len()).unwrap().to_be_bytes());
            store.extend(*certificate);
        }
        let digest = digest(&store);
        store.extend(digest);
        store
    }

    #[test]
    fn only_times_and_the_digest_change() {
        for version in [1, 2] {
            let made = store(
                version,
                &[(2, "debian:a", 1_700_000_000, b"der"), (2, "b", 5, b"")],
            );
            let wanted = store(version, &[(2, "debian:a", 42, b"der"), (2, "b", 42, b"")]);
            assert_eq!(with_times(&made, 42), Ok(wanted));
        }
    }

    #[test]
    fn private_keys_and_other_passwords_are_refused() {
        let with_key = store(2, &[(1, "key", 0, b"secret")]);
        assert_eq!(with_times(&with_key, 0), Err(KeyStoreError::PrivateKey));
        let mut changed = store(2, &[(2, "a", 0, b"der")]);
        *changed.last_mut().unwrap() ^= 1;
        assert_eq!(with_times(&changed, 0), Err(KeyStoreError::Digest));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(tail in prop::collection::vec(any::<u8>(), 0..200), cut in 0usize..90) {
            let _ = with_times(&[&MAGIC[..], &tail].concat(), 0);
            let whole = store(2, &[(2, "debian:a", 7, b"certificate"), (2, "b", 8, b"x")]);
            let cut = cut.min(whole.len() - 1);
            prop_assert!(with_times(&whole[..cut], 0).is_err());
        }
    }
}
