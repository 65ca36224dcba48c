//! Whether an action gives the same twice.
//!
//! Digests already differ when it does not; this names the file.

use kiln_layer::{Entry, EntryKind, Payload};

use crate::execute::Product;

/// The first difference between two results of one action, for people.
pub(crate) fn difference(first: &Product, second: &Product) -> Option<String> {
    match (first, second) {
        (Product::Entries(first), Product::Entries(second)) => entries(first, second),
        (Product::Blob(first), Product::Blob(second)) => {
            let at = first.iter().zip(second).position(|(a, b)| a != b);
            let at = at.or_else(|| (first.len() != second.len()).then_some(first.len()));
            at.map(|byte| format!("its result, from byte {byte} on"))
        }
        _ => Some("what it gives".to_owned()),
    }
}

fn entries(first: &[Entry], second: &[Entry]) -> Option<String> {
    // Both are sorted by path.
    let mut pairs = first.iter().zip(second);
    if let Some((a, b)) = pairs.find(|(a, b)| a.path != b.path) {
        let path = a.path.as_bytes().min(b.path.as_bytes());
        let path = String::from_utf8_lossy(path);
        return Some(format!("`/{path}`, which is there only once"));
    }
    if let Some(more) = first.get(second.len()).or_else(|| second.get(first.len())) {
        return Some(format!("`/{}`, which is there only once", more.path));
    }
    let mut pairs = first.iter().zip(second);
    let (a, b) = pairs.find(|(a, b)| !alike(a, b))?;
    let what = if content(a) == content(b) {
        "owner, mode or time"
    } else {
        "content"
    };
    Some(format!("`/{}`, by its {what}", a.path))
}

fn alike(a: &Entry, b: &Entry) -> bool {
    let metadata = |entry: &Entry| (entry.mode, entry.uid, entry.gid, entry.mtime);
    metadata(a) == metadata(b) && a.capability == b.capability && content(a) == content(b)
}

/// What stands at the path, comparable.
fn content(entry: &Entry) -> (u8, &[u8]) {
    match &entry.kind {
        EntryKind::Directory => (0, &[]),
        EntryKind::File(Payload::Plain(bytes)) => (1, bytes),
        EntryKind::File(Payload::Deflated { data, .. }) => (2, data),
        EntryKind::Symlink(target) => (3, target),
        EntryKind::Hardlink(target) => (4, target.as_bytes()),
        EntryKind::Whiteout => (5, &[]),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use kiln_layer::{EntryPath, REPRODUCIBLE_MTIME};

    use super::*;

    fn file(path: &str, content: &'static str, mode: u32) -> Entry {
        Entry {
            path: EntryPath::new(path).unwrap(),
            kind: EntryKind::File(Payload::Plain(Bytes::from_static(content.as_bytes()))),
            mode,
            uid: 0,
            gid: 0,
            mtime: REPRODUCIBLE_MTIME,
            capability: None,
        }
    }

    fn between(first: Vec<Entry>, second: Vec<Entry>) -> Option<String> {
        difference(&Product::Entries(first), &Product::Entries(second))
    }

    #[test]
    fn the_file_that_differs_is_named() {
        let a = || file("a", "1", 0o644);
        assert_eq!(between(vec![a()], vec![a()]), None);
        let changed = vec![a(), file("b", "2", 0o644)];
        let found = between(vec![a(), file("b", "3", 0o644)], changed).unwrap();
        assert_eq!(found, "`/b`, by its content");
        let found = between(vec![a()], vec![file("a", "1", 0o600)]).unwrap();
        assert_eq!(found, "`/a`, by its owner, mode or time");
    }

    #[test]
    fn a_file_that_is_there_once_is_named() {
        let found = between(
            vec![file("a", "", 0), file("c", "", 0)],
            vec![file("a", "", 0), file("b", "", 0), file("c", "", 0)],
        );
        assert_eq!(found.unwrap(), "`/b`, which is there only once");
        let found = between(
            vec![file("a", "", 0)],
            vec![file("a", "", 0), file("b", "", 0)],
        );
        assert_eq!(found.unwrap(), "`/b`, which is there only once");
    }

    #[test]
    fn the_first_byte_of_a_blob_that_differs_is_named() {
        let blob = |bytes: &'static [u8]| Product::Blob(Bytes::from_static(bytes));
        assert_eq!(difference(&blob(b"abc"), &blob(b"abc")), None);
        let found = difference(&blob(b"abc"), &blob(b"abd")).unwrap();
        assert_eq!(found, "its result, from byte 2 on");
        let found = difference(&blob(b"abc"), &blob(b"abcd")).unwrap();
        assert_eq!(found, "its result, from byte 3 on");
    }
}
