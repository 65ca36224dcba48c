//! Whether the signature of a key counts: what the key says of itself, and whether either is weak.

use jiff::Timestamp;
use pgp::{
    composed::{SignedKeyDetails, SignedPublicKey, SignedPublicSubKey},
    crypto::{hash::HashAlgorithm, public_key::PublicKeyAlgorithm},
    packet::{PublicKey, Signature, SignatureType},
    ser::Serialize,
    types::{Duration, KeyDetails, PublicParams, Tag, VerifyingKey},
};

use super::signature::{Refusal, Signer, is_issuer};

/// How far ahead of this machine's clock a signature's time may be, in seconds.
const CLOCK_SKEW: i64 = 24 * 60 * 60;

/// Whether a signature of a document counts.
pub(super) fn check(
    signature: &Signature,
    text: &[u8],
    certificate: &SignedPublicKey,
    signer: Signer<'_>,
    now: Timestamp,
) -> Result<(), Refusal> {
    if !matches!(
        signature.typ(),
        Some(SignatureType::Text | SignatureType::Binary)
    ) {
        return Err(Refusal::Kind);
    }
    if !signature.hash_alg().is_some_and(is_strong_hash) {
        return Err(Refusal::WeakHash);
    }
    let verified = match signer {
        Signer::Primary => signature.verify(&certificate.primary_key, text),
        Signer::Subkey(subkey) => signature.verify(&subkey.key, text),
    };
    verified.map_err(|_| Refusal::Bad)?;
    let made = i64::from(signature.created().ok_or(Refusal::NoTime)?.as_secs());
    if made > now.as_second() + CLOCK_SKEW {
        return Err(Refusal::Future);
    }
    let term = signature
        .signature_expiration_time()
        .map_or(0, Duration::as_secs);
    if is_over(made, term, now.as_second()) {
        return Err(Refusal::SignatureExpired);
    }
    check_primary(certificate, made, matches!(signer, Signer::Primary))?;
    match signer {
        Signer::Primary => check_strength(&certificate.primary_key),
        Signer::Subkey(subkey) => {
            check_subkey(&certificate.primary_key, subkey, made)?;
            check_strength(&subkey.key)
        }
    }
}

/// Whether something that began at `start` and had a term of `seconds` (0: for ever) is over.
fn is_over(start: i64, seconds: u32, at: i64) -> bool {
    seconds != 0 && start + i64::from(seconds) <= at
}

fn check_primary(certificate: &SignedPublicKey, made: i64, must_sign: bool) -> Result<(), Refusal> {
    let key = &certificate.primary_key;
    let SignedKeyDetails {
        revocation_signatures,
        ..
    } = &certificate.details;
    if revocation_signatures
        .iter()
        .any(|it| it.verify_key(key).is_ok())
    {
        return Err(Refusal::KeyRevoked);
    }
    let newest = self_signature(certificate).ok_or(Refusal::NotForSigning)?;
    let term = newest.key_expiration_time().map_or(0, Duration::as_secs);
    if is_over(i64::from(key.created_at().as_secs()), term, made) {
        return Err(Refusal::KeyExpired);
    }
    let flags = newest.key_flags();
    // Old keys say nothing about what they are for.
    let says_nothing = !flags.certify() && !flags.sign() && !flags.encrypt_comms();
    if must_sign && !flags.sign() && !says_nothing {
        return Err(Refusal::NotForSigning);
    }
    Ok(())
}

/// The newest valid signature by which a primary key describes itself.
fn self_signature(certificate: &SignedPublicKey) -> Option<&Signature> {
    let key: &PublicKey = &certificate.primary_key;
    let direct = certificate.details.direct_signatures.iter();
    let direct = direct.filter(|it| it.verify_key(key).is_ok());
    let users = certificate.details.users.iter().flat_map(|user| {
        user.signatures.iter().filter(|it| {
            it.is_certification()
                && it.typ() != Some(SignatureType::CertRevocation)
                && is_issuer(it, key)
                && it.verify_certification(key, Tag::UserId, &user.id).is_ok()
        })
    });
    direct
        .chain(users)
        .max_by_key(|it| it.created().map(pgp::types::Timestamp::as_secs))
}

fn check_subkey(
    primary: &PublicKey,
    subkey: &SignedPublicSubKey,
    made: i64,
) -> Result<(), Refusal> {
    let valid = |it: &&Signature| it.verify_subkey_binding(primary, &subkey.key).is_ok();
    let of_kind = |kind| {
        subkey
            .signatures
            .iter()
            .filter(move |it| it.typ() == Some(kind))
    };
    if of_kind(SignatureType::SubkeyRevocation).any(|it| valid(&it)) {
        return Err(Refusal::KeyRevoked);
    }
    let binding = of_kind(SignatureType::SubkeyBinding)
        .filter(valid)
        .max_by_key(|it| it.created().map(pgp::types::Timestamp::as_secs))
        .ok_or(Refusal::NotForSigning)?;
    // The subkey must agree to belong to the primary key, else anybody could claim it.
    let agrees = binding
        .embedded_signature()
        .is_some_and(|it| it.verify_primary_key_binding(&subkey.key, primary).is_ok());
    if !binding.key_flags().sign() || !agrees {
        return Err(Refusal::NotForSigning);
    }
    let term = binding.key_expiration_time().map_or(0, Duration::as_secs);
    if is_over(i64::from(subkey.key.created_at().as_secs()), term, made) {
        return Err(Refusal::KeyExpired);
    }
    Ok(())
}

fn is_strong_hash(hash: HashAlgorithm) -> bool {
    matches!(
        hash,
        HashAlgorithm::Sha256
            | HashAlgorithm::Sha384
            | HashAlgorithm::Sha512
            | HashAlgorithm::Sha3_256
            | HashAlgorithm::Sha3_512
    )
}

fn check_strength(key: &impl VerifyingKey) -> Result<(), Refusal> {
    let weak = match key.public_params() {
        // Two numbers, each behind two bytes of length: a modulus of 2048 bits, and an exponent.
        PublicParams::RSA(parameters) => parameters.write_len() < 2 + 256 + 2 + 1,
        PublicParams::DSA(_) | PublicParams::Elgamal(_) | PublicParams::Unknown { .. } => true,
        _ => key.algorithm() == PublicKeyAlgorithm::DSA,
    };
    if weak { Err(Refusal::WeakKey) } else { Ok(()) }
}
