//! From what scripts changed to what enters a layer: nothing that a clock decides.

use bytes::Bytes;
use kiln_layer::{Entry, EntryKind, EntryPath, Payload};
use kiln_plan::UserEntry;

use super::{ConfigureError, accounts, below::Below, keystore, scrub};

/// Where `ca-certificates-java` makes a key store of all certificates.
const KEY_STORE: &[u8] = b"etc/ssl/certs/java/cacerts";

/// `captured` without keys, identities and traces, with all times inside files at `time`, and
/// with the account of `user`.
pub(super) fn normalised(
    captured: Vec<Entry>,
    below: &Below,
    time: i64,
    user: Option<&UserEntry>,
) -> Result<Vec<Entry>, ConfigureError> {
    let mut entries = scrub::scrubbed(captured);
    if let Some(user) = user {
        add_user(&mut entries, user, time);
    }
    for entry in &mut entries {
        let EntryKind::File(Payload::Plain(bytes)) = &entry.kind else {
            continue;
        };
        let bytes = match entry.path.as_bytes() {
            b"etc/shadow" => {
                let text = String::from_utf8_lossy(bytes);
                accounts::with_days(&text, &below.text("etc/shadow"), time).into_bytes()
            }
            KEY_STORE if keystore::is_key_store(bytes) => keystore::with_times(bytes, time)
                .map_err(|source| ConfigureError::KeyStore {
                    path: entry.path.clone(),
                    source,
                })?,
            _ => continue,
        };
        entry.kind = plain(bytes);
    }
    Ok(entries)
}

/// Files that base-passwd did not make here are left alone: there is nothing to add to.
fn add_user(entries: &mut [Entry], user: &UserEntry, time: i64) {
    let account = {
        let text = |path| content(entries, path).unwrap_or_default();
        accounts::account(user, &text("etc/passwd"), &text("etc/group"), time)
    };
    for (path, lines) in [
        ("etc/passwd", account.passwd),
        ("etc/group", account.group),
        ("etc/shadow", account.shadow),
        ("etc/gshadow", account.gshadow),
    ] {
        if let Some(text) = content(entries, path)
            && let Some(entry) = entries.iter_mut().find(|entry| is_at(entry, path))
        {
            entry.kind = plain((text + &lines).into_bytes());
        }
    }
}

/// The text of a file among `entries`.
pub(super) fn content(entries: &[Entry], path: &str) -> Option<String> {
    let entry = entries.iter().find(|entry| is_at(entry, path))?;
    match &entry.kind {
        EntryKind::File(Payload::Plain(bytes)) => Some(String::from_utf8_lossy(bytes).into_owned()),
        _ => None,
    }
}

fn is_at(entry: &Entry, path: &str) -> bool {
    EntryPath::as_bytes(&entry.path) == path.as_bytes()
}

fn plain(bytes: Vec<u8>) -> EntryKind {
    EntryKind::File(Payload::Plain(Bytes::from(bytes)))
}
