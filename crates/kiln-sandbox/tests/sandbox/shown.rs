//! Captures as text.

use kiln_layer::{EntryKind, Payload};
use kiln_sandbox::Captured;

/// A capture as lines that can be compared: kind, mode, owner, path, content.
pub(crate) fn shown(captured: &Captured) -> Vec<String> {
    captured
        .entries
        .iter()
        .map(|entry| {
            let kind = match &entry.kind {
                EntryKind::Directory => "directory".to_owned(),
                EntryKind::File(Payload::Plain(data)) => {
                    format!("file {:?}", String::from_utf8_lossy(data))
                }
                EntryKind::File(Payload::Deflated { .. }) => "deflated file".to_owned(),
                EntryKind::Symlink(target) => {
                    format!("symlink to {}", String::from_utf8_lossy(target))
                }
                EntryKind::Hardlink(path) => format!("hard link to {path}"),
                EntryKind::Whiteout => return format!("{} removed", entry.path),
            };
            let capability = match &entry.capability {
                Some(value) => format!(" {value:02x?}"),
                None => String::new(),
            };
            let (mode, uid, gid) = (entry.mode, entry.uid, entry.gid);
            format!("{} {mode:04o} {uid}:{gid} {kind}{capability}", entry.path)
        })
        .collect()
}
