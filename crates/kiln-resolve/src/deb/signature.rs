//! Who signed an `InRelease`, or a `Release` by a `Release.gpg` (`OpenPGP`, RFC 9580: section 7, the
//! cleartext signature framework; 10.4, detached signatures; 10, keys).
//!
//! A signature counts when a key of the keyring made it, and at that moment the key had a valid
//! self-signature, was meant for signing and had not expired; when neither the key nor its hash
//! is weak; and when nobody has revoked the key, whenever. One such signature is enough: archives
//! sign with the keys of several releases, and a keyring need not hold all of them.
//!
//! What is handed back is the very text that was hashed, with dash escapes undone. Nothing before
//! or behind the signed message is let through, so nothing unsigned is ever read.

use std::{collections::BTreeSet, fmt};

use jiff::Timestamp;
use pgp::{
    armor::DearmorOptions,
    composed::{
        CleartextSignedMessage, Deserializable, DetachedSignature, SignedPublicKey,
        SignedPublicSubKey,
    },
    packet::Signature,
    types::KeyDetails,
};

use super::verdict::check;

/// More than the keyrings of all distributions together hold.
const MAX_KEYS: usize = 10_000;

/// A text that somebody in the keyring signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// The text, with lines that end in CR LF.
    pub text: String,
    /// Fingerprints (upper-case hex) of the primary keys that vouch for it, sorted.
    pub signed_by: Vec<String>,
}

/// Why a text is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// The keyring holds no key that can be read.
    #[error("the keyring holds no usable OpenPGP key{}", because(why))]
    Keyring {
        /// What is wrong with it, if that is known.
        why: String,
    },
    /// It is not one clear-signed message and nothing else.
    #[error("it is not a clear-signed message: {why}")]
    Form {
        /// What is wrong with it.
        why: String,
    },
    /// What stands apart is no signature, or the document no text.
    #[error("it has no detached signature that can be read: {why}")]
    Detached {
        /// What is wrong with it.
        why: String,
    },
    /// It has no signatures, or all are by keys that the keyring does not hold.
    #[error("the keyring holds none of the keys that signed it: {}", keys(signers))]
    UnknownKey {
        /// Fingerprints or key ids of who signed it.
        signers: Vec<String>,
    },
    /// It is signed by keys of the keyring, but no signature counts.
    #[error("none of its signatures counts: {}", refusals(refused))]
    Refused {
        /// Each with the fingerprint of its key.
        refused: Vec<(String, Refusal)>,
    },
}

/// Why the signature of a known key does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// The text was changed, or the signature was.
    Bad,
    /// It is a signature of something else than a document.
    Kind,
    /// It does not say when it was made.
    NoTime,
    /// It says that it was made in the future.
    Future,
    /// It had a term, which has passed.
    SignatureExpired,
    /// Its hash can be forged.
    WeakHash,
    /// Its key can be broken.
    WeakKey,
    /// The key had expired when it was made.
    KeyExpired,
    /// The key was revoked.
    KeyRevoked,
    /// The key is not meant for signing, or not bound to its owner.
    NotForSigning,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bad => "the signature does not match the text",
            Self::Kind => "it is not a signature of a document",
            Self::NoTime => "the signature has no time",
            Self::Future => "the signature is from the future",
            Self::SignatureExpired => "the signature has expired",
            Self::WeakHash => "its hash function is broken",
            Self::WeakKey => "the key is too weak",
            Self::KeyExpired => "the key had expired when it signed",
            Self::KeyRevoked => "the key is revoked",
            Self::NotForSigning => "the key is not a valid signing key",
        })
    }
}

fn because(why: &str) -> String {
    if why.is_empty() {
        String::new()
    } else {
        format!(": {why}")
    }
}

fn keys(signers: &[String]) -> String {
    if signers.is_empty() {
        "nobody did".to_owned()
    } else {
        signers.join(", ")
    }
}

fn refusals(refused: &[(String, Refusal)]) -> String {
    let texts: Vec<_> = refused
        .iter()
        .map(|(key, why)| format!("{key}: {why}"))
        .collect();
    texts.join("; ")
}

impl SignatureError {
    /// What a person can do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::UnknownKey { .. } => Some(
                "if the archive has a new key, get it in a way that you trust and add it to the \
                 keyring"
                    .to_owned(),
            ),
            Self::Keyring { .. } => {
                Some("export the archive's keys with `gpg --export`, armored or not".to_owned())
            }
            Self::Refused { .. } => Some(
                "use another mirror; if all are refused, the keyring may be out of date".to_owned(),
            ),
            Self::Form { .. } | Self::Detached { .. } => Some("use another mirror".to_owned()),
        }
    }
}

/// Verifies a document by a signature of it, or several, that stand apart: binary or armored.
pub fn verify_detached(
    document: &[u8],
    signature: &[u8],
    keyring: &[u8],
    now: Timestamp,
) -> Result<Signed, SignatureError> {
    let form = |why: String| SignatureError::Detached { why };
    let is_binary = signature.first().is_some_and(|first| first & 0x80 != 0);
    let found: pgp::errors::Result<Vec<DetachedSignature>> = if is_binary {
        DetachedSignature::from_bytes_many(signature).and_then(|all| all.take(MAX_KEYS).collect())
    } else {
        DetachedSignature::from_armor_many_buf(signature)
            .and_then(|(all, _)| all.take(MAX_KEYS).collect())
    };
    let found = found.map_err(|error| form(error.to_string()))?;
    let text = std::str::from_utf8(document).map_err(|_| form("it is not UTF-8".to_owned()))?;
    let signatures = found.iter().map(|it| &it.signature);
    let signed_by = vouchers(document, signatures, &certificates(keyring)?, now)?;
    Ok(Signed {
        text: text.to_owned(),
        signed_by,
    })
}

/// Verifies a clear-signed message.
pub fn verify(message: &[u8], keyring: &[u8], now: Timestamp) -> Result<Signed, SignatureError> {
    let certificates = certificates(keyring)?;
    // Blank lines behind the message say nothing; the parser would refuse them.
    let message = message.trim_ascii_end();
    let (message, _) = CleartextSignedMessage::from_armor_buf(message, DearmorOptions::default())
        .map_err(|error| SignatureError::Form {
        why: error.to_string(),
    })?;
    let text = message.signed_text();
    let signed_by = vouchers(
        text.as_bytes(),
        message.signatures().iter(),
        &certificates,
        now,
    )?;
    Ok(Signed { text, signed_by })
}

/// Fingerprints of the primary keys whose signatures of a document count, sorted; at least one.
fn vouchers<'s>(
    document: &[u8],
    signatures: impl Iterator<Item = &'s Signature>,
    certificates: &[SignedPublicKey],
    now: Timestamp,
) -> Result<Vec<String>, SignatureError> {
    let mut signed_by = BTreeSet::new();
    let mut refused = Vec::new();
    let mut unknown = BTreeSet::new();
    for signature in signatures {
        let mut verdicts = signers(certificates, signature).map(|(certificate, signer)| {
            let fingerprint = format!("{:X}", certificate.fingerprint());
            (
                fingerprint,
                check(signature, document, certificate, signer, now),
            )
        });
        let Some(first) = verdicts.next() else {
            unknown.insert(issuer(signature));
            continue;
        };
        // A keyring may hold a key twice, once without its revocation.
        let verdict = verdicts.fold(first, |best, next| match (best.1, next.1) {
            (Err(Refusal::KeyRevoked), _) => best,
            (_, Err(Refusal::KeyRevoked)) | (Err(_), Ok(())) => next,
            _ => best,
        });
        match verdict {
            (fingerprint, Ok(())) => drop(signed_by.insert(fingerprint)),
            (fingerprint, Err(refusal)) => refused.push((fingerprint, refusal)),
        }
    }
    if !signed_by.is_empty() {
        Ok(signed_by.into_iter().collect())
    } else if refused.is_empty() {
        Err(SignatureError::UnknownKey {
            signers: unknown.into_iter().collect(),
        })
    } else {
        Err(SignatureError::Refused { refused })
    }
}

/// The keys of a keyring: binary, or armored, then in one block or several. Keys of kinds that
/// nobody here can verify with are passed over.
fn certificates(keyring: &[u8]) -> Result<Vec<SignedPublicKey>, SignatureError> {
    // Binary packets start with a byte whose highest bit is set (RFC 9580, 4.2).
    let is_binary = keyring.first().is_some_and(|first| first & 0x80 != 0);
    let mut found = Vec::new();
    let mut why = String::new();
    if is_binary {
        collect(
            SignedPublicKey::from_bytes_many(keyring),
            &mut found,
            &mut why,
        );
    } else {
        let text = String::from_utf8_lossy(keyring);
        let starts = text.match_indices("-----BEGIN PGP PUBLIC KEY BLOCK-----");
        for (start, _) in starts.take(MAX_KEYS) {
            let blocks = SignedPublicKey::from_armor_many_buf(&text.as_bytes()[start..]);
            collect(blocks.map(|(keys, _)| keys), &mut found, &mut why);
        }
    }
    if found.is_empty() {
        Err(SignatureError::Keyring { why })
    } else {
        Ok(found)
    }
}

fn collect<I: Iterator<Item = pgp::errors::Result<SignedPublicKey>>>(
    keys: pgp::errors::Result<I>,
    found: &mut Vec<SignedPublicKey>,
    why: &mut String,
) {
    match keys {
        Err(error) => *why = error.to_string(),
        Ok(keys) => {
            for key in keys.take(MAX_KEYS) {
                match key {
                    Ok(key) => found.push(key),
                    Err(error) => *why = error.to_string(),
                }
            }
        }
    }
}

/// Which key of a certificate made a signature.
#[derive(Clone, Copy)]
pub(super) enum Signer<'a> {
    Primary,
    Subkey(&'a SignedPublicSubKey),
}

/// The keys that claim to have made a signature: one, but for keyrings that hold a key twice.
fn signers<'a>(
    certificates: &'a [SignedPublicKey],
    signature: &'a Signature,
) -> impl Iterator<Item = (&'a SignedPublicKey, Signer<'a>)> {
    certificates.iter().filter_map(|certificate| {
        if is_issuer(signature, &certificate.primary_key) {
            return Some((certificate, Signer::Primary));
        }
        let mut subkeys = certificate.public_subkeys.iter();
        let subkey = subkeys.find(|subkey| is_issuer(signature, &subkey.key))?;
        Some((certificate, Signer::Subkey(subkey)))
    })
}

/// Fingerprints decide; key ids, which can be forged, only where there is no fingerprint. That a
/// key is found here says nothing yet about whether it signed.
pub(super) fn is_issuer(signature: &Signature, key: &impl KeyDetails) -> bool {
    let fingerprints = signature.issuer_fingerprint();
    if fingerprints.is_empty() {
        signature.issuer_key_id().contains(&&key.legacy_key_id())
    } else {
        fingerprints.contains(&&key.fingerprint())
    }
}

fn issuer(signature: &Signature) -> String {
    let fingerprint = signature
        .issuer_fingerprint()
        .first()
        .map(|it| format!("{it:X}"));
    let key_id = || {
        signature
            .issuer_key_id()
            .first()
            .map(|it| it.to_string().to_uppercase())
    };
    fingerprint
        .or_else(key_id)
        .unwrap_or_else(|| "an unnamed key".to_owned())
}
