//! Layers and DEFLATE streams.

use std::num::NonZero;

use flate2::{Decompress, FlushDecompress, Status};
use kiln_digest::Digest;
use kiln_layer::{
    Compression, CorruptPayload, Entry, EntryKind, EntryPath, LayerError, LayerOptions,
    LayerRecord, Payload, REPRODUCIBLE_MTIME, ReadLimits, RecordKind, read_layer, write_layer,
};

use crate::{shown, tars};

const LIMITS: ReadLimits = ReadLimits {
    unpacked_size: 32 << 20,
    entries: 2000,
};

/// A file of any owner.
pub(crate) fn file(path: &str, payload: Payload) -> Entry {
    Entry {
        path: EntryPath::new(path).unwrap(),
        kind: EntryKind::File(payload),
        mode: 0o644,
        uid: 0,
        gid: 0,
        mtime: 0,
        capability: None,
    }
}

/// Entries that can be written are read back as they were, from both compressed forms.
pub(crate) fn written(entries: &[Entry]) {
    for compression in [Compression::Gzip, Compression::Zstd] {
        let options = LayerOptions::from(compression).threads(NonZero::<usize>::MIN);
        let mut blob = Vec::new();
        let Some(summary) = shown(write_layer(entries, options, &mut blob)) else {
            continue;
        };
        let limits = ReadLimits::default();
        let mut left = entries.iter();
        let read = read_layer(&blob[..], limits, |record, _| {
            let entry = left.next().expect("more entries than were written");
            assert_same(entry, record);
            Ok(())
        });
        assert_eq!(read.expect("a written layer is read"), summary);
        assert!(left.next().is_none(), "fewer entries than were written");
    }
}

fn assert_same(entry: &Entry, record: &LayerRecord) {
    let kind = match &entry.kind {
        EntryKind::Directory => RecordKind::Directory,
        EntryKind::File(_) => RecordKind::File,
        EntryKind::Symlink(target) => RecordKind::Symlink(target.clone()),
        EntryKind::Hardlink(target) => RecordKind::Hardlink(target.clone()),
        EntryKind::Whiteout => RecordKind::Whiteout,
    };
    assert_eq!(entry.path, record.path);
    assert_eq!(kind, record.kind, "{}", entry.path);
    if kind != RecordKind::Whiteout {
        // In all layers directories have one time, and symbolic links one mode.
        let (mode, mtime) = match kind {
            RecordKind::Directory => (entry.mode, REPRODUCIBLE_MTIME),
            RecordKind::Symlink(_) => (0o777, entry.mtime),
            _ => (entry.mode, entry.mtime),
        };
        let written = (mode, entry.uid, entry.gid, mtime);
        let read = (record.mode, record.uid, record.gid, record.mtime);
        assert_eq!(written, read, "{}", entry.path);
        assert_eq!(entry.capability, record.capability, "{}", entry.path);
    }
}

/// A layer; the first byte says whether the bytes are one, or the tar stream of one.
pub fn layer(data: &[u8]) {
    let Some((form, data)) = data.split_first() else {
        return;
    };
    let mut blob = data.to_vec();
    if form % 2 == 1 {
        tars::mend(&mut blob);
    }
    let mut entries = Vec::new();
    let read = read_layer(&blob[..], LIMITS, |record, content| {
        let mut bytes = Vec::new();
        // What is not read must be skipped right.
        if record.path.as_bytes().len() % 4 > 0 {
            content.read_to_end(&mut bytes)?;
            assert_eq!(bytes.len() as u64, record.size, "{}", record.path);
        }
        entries.extend(entry(record, bytes));
        Ok(())
    });
    let Some(summary) = shown(read) else { return };
    assert_eq!(summary.digest, Digest::of(&blob));
    assert_eq!(summary.size, blob.len() as u64);
    assert!(summary.unpacked_size <= LIMITS.unpacked_size);
    if form % 2 == 1 {
        assert_eq!(summary.diff_id, summary.digest);
    }
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    written(&entries);
}

fn entry(record: &LayerRecord, content: Vec<u8>) -> Option<Entry> {
    let kind = match &record.kind {
        RecordKind::Directory => EntryKind::Directory,
        RecordKind::File => EntryKind::File(Payload::Plain(content.into())),
        RecordKind::Symlink(target) => EntryKind::Symlink(target.clone()),
        RecordKind::Hardlink(target) => EntryKind::Hardlink(target.clone()),
        RecordKind::Whiteout => EntryKind::Whiteout,
        RecordKind::OpaqueWhiteout | RecordKind::Other(_) => return None,
    };
    Some(Entry {
        path: record.path.clone(),
        kind,
        mode: record.mode,
        uid: record.uid,
        gid: record.gid,
        mtime: record.mtime,
        capability: record.capability.clone(),
    })
}

/// Streams that are far longer than their content are refused, though they can be inflated.
pub(crate) fn is_overlong<T>(written: &Result<T, LayerError>) -> bool {
    let source = match written {
        Err(LayerError::Corrupt { source, .. }) => Some(source),
        _ => None,
    };
    source == Some(&CorruptPayload::Overlong)
}

/// A raw DEFLATE stream: kiln takes it for the content of a file if flate2 does, and for the same
/// content.
pub fn deflate(data: &[u8]) {
    const MOST: usize = 8 << 20;
    let mut stream = Decompress::new(false);
    let mut inflated = Vec::with_capacity(MOST + 1);
    let status = stream.decompress_vec(data, &mut inflated, FlushDecompress::Finish);
    if inflated.len() > MOST {
        return;
    }
    let is_whole =
        matches!(status, Ok(Status::StreamEnd)) && stream.total_in() == data.len() as u64;
    let payload = Payload::Deflated {
        data: data.to_vec().into(),
        crc32: crc32fast::hash(&inflated),
        size: inflated.len() as u64,
    };
    let entries = [file("file", payload)];
    let options = LayerOptions::from(Compression::Gzip).threads(NonZero::<usize>::MIN);
    let mut blob = Vec::new();
    let written = write_layer(&entries, options, &mut blob);
    if is_overlong(&written) {
        return;
    }
    if shown(written).is_none() {
        assert!(!is_whole, "flate2 inflates what is refused here");
        return;
    }
    assert!(is_whole, "flate2 refuses what is inflated here");
    let read = read_layer(&blob[..], LIMITS, |_, content| {
        let mut bytes = Vec::new();
        content.read_to_end(&mut bytes)?;
        assert!(bytes == inflated, "another content");
        Ok(())
    });
    read.expect("a written layer is read");
    let plain = [file("file", Payload::Plain(inflated.into()))];
    let of_plain = write_layer(&plain, options, std::io::sink()).unwrap();
    let of_deflated = write_layer(&entries, options, std::io::sink()).unwrap();
    assert_eq!(of_plain.diff_id, of_deflated.diff_id);
}
