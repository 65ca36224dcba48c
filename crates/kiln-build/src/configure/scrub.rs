//! What scripts leave that must not enter a layer: keys and identities that every machine must
//! make for itself, and traces of when and how often dpkg ran.

use std::collections::BTreeSet;

use kiln_layer::{Entry, EntryKind, EntryPath, Payload};

/// What happens to a file that scripts made or changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Kept,
    Dropped,
    /// It is there, and empty, so that a machine can fill it.
    Emptied,
}

/// Private keys, by where packages make them. Any other file that begins like a private key is
/// dropped as well.
const KEYS: [&str; 5] = [
    "etc/ssh/ssh_host_*",
    "etc/ssl/private/*",
    "etc/ssl/certs/ssl-cert-snakeoil.pem",
    "etc/postfix/*.pem",
    "etc/dovecot/private/*",
];

/// Identities and seeds of one machine.
const IDENTITIES: [&str; 4] = [
    "var/lib/dbus/machine-id",
    "var/lib/systemd/random-seed",
    "var/lib/systemd/credential.secret",
    "var/lib/urandom/random-seed",
];

/// Locks, backups and caches of dpkg, apt, debconf, ldconfig and the tools that change accounts.
/// All of them are made again when they are missed.
const TRACES: [&str; 21] = [
    "etc/.pwd.lock",
    "etc/group-",
    "etc/gshadow-",
    "etc/passwd-",
    "etc/shadow-",
    "etc/subgid-",
    "etc/subuid-",
    "var/cache/apt/*.bin",
    "var/cache/apt/archives/*.deb",
    "var/cache/apt/archives/lock",
    "var/cache/debconf/*-old",
    "var/cache/ldconfig/aux-cache",
    "var/lib/apt/lists/*",
    "var/lib/dpkg/*-old",
    "var/lib/dpkg/available",
    "var/lib/dpkg/lock",
    "var/lib/dpkg/lock-frontend",
    "var/lib/dpkg/tmp.ci/*",
    "var/lib/dpkg/triggers/Lock",
    "var/lib/dpkg/updates/*",
    "var/lib/ucf/*.lock",
];

/// machine-id(5): an empty file is one that the first start of a machine fills.
const MACHINE_ID: &str = "etc/machine-id";
/// Empty files that are made here, with an owner, are where programs expect to write (btmp, wtmp).
const LOGS: &[u8] = b"var/log/";
const PRIVATE_KEY: &[u8] = b"PRIVATE KEY-----";
/// How far into a file its first line is looked for.
const FIRST_LINE: usize = 200;

/// `entries` without what must not enter a layer.
pub(super) fn scrubbed(entries: Vec<Entry>) -> Vec<Entry> {
    let dropped: BTreeSet<EntryPath> = entries
        .iter()
        .filter(|entry| fate(entry) == Fate::Dropped)
        .map(|entry| entry.path.clone())
        .collect();
    entries
        .into_iter()
        .filter(|entry| !dropped.contains(&entry.path) && !leads_to(entry, &dropped))
        .map(|entry| match fate(&entry) {
            Fate::Emptied => Entry {
                kind: EntryKind::File(Payload::Plain(Vec::new().into())),
                mode: 0o644,
                ..entry
            },
            _ => entry,
        })
        .collect()
}

/// Links go with what they lead to, such as those by hash to a certificate that is dropped.
fn leads_to(entry: &Entry, dropped: &BTreeSet<EntryPath>) -> bool {
    match &entry.kind {
        EntryKind::Symlink(target) => {
            let beside = entry.path.parent().map(|parent| parent.join(target));
            beside.is_some_and(|path| path.is_ok_and(|path| dropped.contains(&path)))
        }
        EntryKind::Hardlink(target) => dropped.contains(target),
        _ => false,
    }
}

fn fate(entry: &Entry) -> Fate {
    let EntryKind::File(payload) = &entry.kind else {
        return Fate::Kept;
    };
    let path = entry.path.as_bytes();
    if path == MACHINE_ID.as_bytes() {
        return Fate::Emptied;
    }
    let is_log = path.starts_with(LOGS) && payload.size() > 0;
    let mut patterns = KEYS.iter().chain(&IDENTITIES).chain(&TRACES);
    if is_log || is_private_key(payload) || patterns.any(|pattern| matches(pattern, path)) {
        return Fate::Dropped;
    }
    Fate::Kept
}

fn is_private_key(payload: &Payload) -> bool {
    let Payload::Plain(bytes) = payload else {
        return false;
    };
    let start = &bytes[..bytes.len().min(FIRST_LINE)];
    let line = start.split(|byte| *byte == b'\n').next().unwrap_or(start);
    line.starts_with(b"-----BEGIN ") && line.trim_ascii_end().ends_with(PRIVATE_KEY)
}

/// A pattern has one `*` at most, which stands for any bytes.
fn matches(pattern: &str, path: &[u8]) -> bool {
    match pattern.split_once('*') {
        None => path == pattern.as_bytes(),
        Some((start, end)) => {
            path.len() >= start.len() + end.len()
                && path.starts_with(start.as_bytes())
                && path.ends_with(end.as_bytes())
        }
    }
}

#[cfg(test)]
mod tests {
    use kiln_layer::REPRODUCIBLE_MTIME;

    use super::*;

    fn entry(path: &str, kind: EntryKind) -> Entry {
        Entry {
            path: EntryPath::new(path).unwrap(),
            kind,
            mode: 0o644,
            uid: 0,
            gid: 0,
            mtime: REPRODUCIBLE_MTIME,
            capability: None,
        }
    }

    fn file(path: &str, content: &str) -> Entry {
        let bytes = content.as_bytes().to_vec();
        entry(path, EntryKind::File(Payload::Plain(bytes.into())))
    }

    fn link(path: &str, target: &str) -> Entry {
        entry(path, EntryKind::Symlink(target.as_bytes().to_vec()))
    }

    fn paths(entries: &[Entry]) -> Vec<String> {
        entries.iter().map(|it| it.path.to_string()).collect()
    }

    #[test]
    fn keys_identities_and_traces_go_and_the_rest_stays() {
        let all = vec![
            file("etc/machine-id", "0123456789abcdef\n"),
            file("etc/passwd", "root"),
            file("etc/passwd-", "root"),
            file("etc/ssh/ssh_host_rsa_key", "secret"),
            file("etc/ssh/ssh_host_rsa_key.pub", "public"),
            file("etc/ssh/sshd_config", "Port 22"),
            link("etc/ssl/certs/7d2a1c0e.0", "ssl-cert-snakeoil.pem"),
            link("etc/ssl/certs/ca.pem", "/usr/share/ca.pem"),
            file("etc/ssl/certs/ssl-cert-snakeoil.pem", "certificate"),
            file("srv/own.key", "-----BEGIN EC PRIVATE KEY-----\nsecret"),
            file("srv/own.txt", "no\n-----BEGIN EC PRIVATE KEY-----\n"),
            file("var/lib/dpkg/status", "Package: x"),
            file("var/lib/dpkg/status-old", "Package: x"),
            file("var/log/btmp", ""),
            file("var/log/dpkg.log", "2024 install"),
        ];
        let kept = scrubbed(all);
        assert_eq!(
            paths(&kept),
            [
                "etc/machine-id",
                "etc/passwd",
                "etc/ssh/sshd_config",
                "etc/ssl/certs/ca.pem",
                "srv/own.txt",
                "var/lib/dpkg/status",
                "var/log/btmp",
            ]
        );
        assert!(matches!(&kept[0].kind, EntryKind::File(payload) if payload.size() == 0));
    }

    #[test]
    fn removals_of_what_layers_below_hold_stay() {
        let removed = entry("etc/ssh/ssh_host_rsa_key", EntryKind::Whiteout);
        assert_eq!(scrubbed(vec![removed]).len(), 1);
    }
}
