//! A small but nasty layer.

use std::io::Read as _;

use bytes::Bytes;
use flate2::read::DeflateDecoder;
use kiln_layer::{Entry, EntryKind, EntryPath, Payload, REPRODUCIBLE_MTIME};
use libdeflater::{CompressionLvl, Compressor};

/// `cap_net_raw+ep` as `struct vfs_cap_data` of revision 2.
pub(crate) const CAP_NET_RAW: [u8; 20] = [
    1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
];

pub(crate) fn path(path: &str) -> EntryPath {
    EntryPath::new(path.as_bytes()).unwrap()
}

pub(crate) fn entry(at: &str, kind: EntryKind) -> Entry {
    let mode = if matches!(kind, EntryKind::Directory) {
        0o755
    } else {
        0o644
    };
    Entry {
        path: path(at),
        kind,
        mode,
        uid: 0,
        gid: 0,
        mtime: REPRODUCIBLE_MTIME,
        capability: None,
    }
}

pub(crate) fn plain(content: impl Into<Bytes>) -> EntryKind {
    EntryKind::File(Payload::Plain(content.into()))
}

/// Compressed by a compressor whose version is pinned, because golden digests depend on it.
pub(crate) fn deflated(content: &[u8]) -> EntryKind {
    let mut compressor = Compressor::new(CompressionLvl::default());
    let mut data = vec![0; compressor.deflate_compress_bound(content.len())];
    let length = compressor.deflate_compress(content, &mut data).unwrap();
    data.truncate(length);
    EntryKind::File(Payload::Deflated {
        data: data.into(),
        crc32: crc32fast::hash(content),
        size: content.len() as u64,
    })
}

/// Bytes that look random and compress a little, the same everywhere.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    const PERIOD: usize = 100_003;
    let mut state = 1_u32;
    let period: Vec<u8> = (0..PERIOD)
        .map(|_| {
            // Numerical Recipes' linear congruential generator.
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0] & 0x3f
        })
        .collect();
    let mut noise = period.repeat(length / PERIOD + 1);
    noise.truncate(length);
    noise
}

/// A path of 100 + 1 bytes that a `prefix` can hold, and one that needs a record.
pub(crate) const SPLIT_PATH: &str = "long/0123456789012345678901234567890123456789012345678901234567890123456789/nnnnnnnnnnnnnnnnnnnnnnnn1";

pub(crate) fn long_name() -> String {
    format!("long/{}", "x".repeat(150))
}

pub(crate) fn entries() -> Vec<Entry> {
    let split_parent = &SPLIT_PATH[..SPLIT_PATH.rfind('/').unwrap()];
    let mut entries = vec![
        entry("bin", EntryKind::Directory),
        Entry {
            mode: 0o755,
            capability: Some(CAP_NET_RAW.to_vec()),
            mtime: 1_700_000_000,
            ..entry("bin/ping", plain("ping"))
        },
        Entry {
            mode: 0o755,
            capability: Some(CAP_NET_RAW.to_vec()),
            mtime: 1_700_000_000,
            ..entry("bin/ping4", EntryKind::Hardlink(path("bin/ping")))
        },
        entry("bin/sh", EntryKind::Symlink(b"dash".to_vec())),
        Entry {
            uid: 1001,
            mode: 0o2775,
            ..entry("home", EntryKind::Directory)
        },
        entry("home/.keep", plain("")),
        entry("home/empty.deflated", deflated(b"")),
        entry("home/zwölf.py", deflated("print('zwölf')\n".as_bytes())),
        entry("large", EntryKind::Directory),
        entry("large/deflated", deflated(&noise(5 << 20))),
        entry("large/plain", plain(noise((5 << 20) + 1))),
        entry("large/streamed", deflated(&noise((33 << 20) + 7))),
        entry("long", EntryKind::Directory),
        entry(split_parent, EntryKind::Directory),
        entry(SPLIT_PATH, plain("split")),
        entry(&long_name(), deflated(b"record")),
        entry(
            "long/link",
            EntryKind::Symlink(format!("../{}", "y".repeat(120)).into_bytes()),
        ),
        entry("removed", EntryKind::Directory),
        entry("removed/gone", EntryKind::Whiteout),
        Entry {
            uid: 4_000_000,
            gid: 4_000_000,
            mtime: -1,
            ..entry("zzz", plain("z"))
        },
    ];
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    entries
}

/// The bytes of a file, inflated if need be.
pub(crate) fn content(entry: &Entry) -> Vec<u8> {
    let mut content = Vec::new();
    match &entry.kind {
        EntryKind::File(Payload::Plain(data)) => content.extend_from_slice(data),
        EntryKind::File(Payload::Deflated { data, .. }) => {
            DeflateDecoder::new(&data[..])
                .read_to_end(&mut content)
                .unwrap();
        }
        _ => {}
    }
    content
}
