//! What passes between this program and `compile.py`, whose head documents it.

use std::io::{self, Write};

use bytes::Bytes;
use kiln_layer::{Entry, EntryKind, Payload};

/// Why records are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordsError {
    /// They end in a record.
    #[error("a record is cut off")]
    Truncated,
    /// A record of a source that was not given, or a second one.
    #[error("a record belongs to no source")]
    NoSource,
    /// Something else was written.
    #[error("`{0}` holds no records")]
    NotRecords(String),
}

/// The compiled form of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Compiled {
    /// The number of the source's record.
    pub(crate) source: usize,
    /// The module file as Python wrote it.
    pub(crate) module: Bytes,
}

/// Writes the record of a source.
pub(super) fn write(mut out: impl Write, path: &str, source: &[u8]) -> io::Result<()> {
    for text in [path.as_bytes(), source] {
        let length = u32::try_from(text.len()).map_err(io::Error::other)?;
        out.write_all(&length.to_le_bytes())?;
    }
    out.write_all(path.as_bytes())?;
    out.write_all(source)
}

/// What the workers wrote into their files, in the order of the sources, of which there are
/// `count`.
pub(crate) fn read(written: &[Entry], count: usize) -> Result<Vec<Compiled>, RecordsError> {
    let mut modules: Vec<Option<Bytes>> = vec![None; count];
    for entry in written {
        let mut rest = match &entry.kind {
            EntryKind::Directory => continue,
            EntryKind::File(Payload::Plain(bytes)) => bytes.clone(),
            _ => return Err(RecordsError::NotRecords(entry.path.to_string())),
        };
        while !rest.is_empty() {
            let source = number(&mut rest)?;
            let length = number(&mut rest)?;
            if length > rest.len() {
                return Err(RecordsError::Truncated);
            }
            let module = rest.split_to(length);
            let place = modules.get_mut(source).filter(|place| place.is_none());
            *place.ok_or(RecordsError::NoSource)? = Some(module);
        }
    }
    let compiled = modules
        .into_iter()
        .enumerate()
        .filter_map(|(source, module)| {
            let module = module?;
            Some(Compiled { source, module })
        });
    Ok(compiled.collect())
}

fn number(bytes: &mut Bytes) -> Result<usize, RecordsError> {
    let (number, _) = bytes.split_first_chunk().ok_or(RecordsError::Truncated)?;
    let number = u32::from_le_bytes(*number);
    let _ = bytes.split_to(size_of::<u32>());
    usize::try_from(number).map_err(|_| RecordsError::NoSource)
}

#[cfg(test)]
mod tests {
    use kiln_layer::{EntryPath, REPRODUCIBLE_MTIME};
    use proptest::prelude::*;

    use super::*;

    fn file(path: &str, content: Vec<u8>) -> Entry {
        Entry {
            path: EntryPath::new(path).unwrap(),
            kind: EntryKind::File(Payload::Plain(content.into())),
            mode: 0o644,
            uid: 0,
            gid: 0,
            mtime: REPRODUCIBLE_MTIME,
            capability: None,
        }
    }

    fn record(source: u32, module: &[u8]) -> Vec<u8> {
        let length = u32::try_from(module.len()).unwrap();
        [&source.to_le_bytes()[..], &length.to_le_bytes(), module].concat()
    }

    #[test]
    fn modules_come_in_the_order_of_sources_whoever_compiled_them() {
        let first = [record(3, b"three"), record(0, b"zero")].concat();
        let written = [file("out/0", first), file("out/1", record(2, b""))];
        let compiled = read(&written, 4).unwrap();
        let found: Vec<_> = compiled
            .iter()
            .map(|compiled| (compiled.source, &compiled.module[..]))
            .collect();
        assert_eq!(found, [(0, &b"zero"[..]), (2, b""), (3, b"three")]);
    }

    #[test]
    fn what_is_no_record_of_a_source_is_refused() {
        let refused = |content| read(&[file("out/0", content)], 1).unwrap_err();
        assert_eq!(refused(record(1, b"")), RecordsError::NoSource);
        assert_eq!(refused(record(0, b"a").repeat(2)), RecordsError::NoSource);
        assert_eq!(
            refused(record(0, b"abc")[..10].to_vec()),
            RecordsError::Truncated
        );
        assert_eq!(refused(vec![0; 7]), RecordsError::Truncated);
        let mut link = file("out/0", Vec::new());
        link.kind = EntryKind::Symlink(b"/etc/shadow".to_vec());
        assert_eq!(
            read(&[link], 1),
            Err(RecordsError::NotRecords("out/0".into()))
        );
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(content: Vec<u8>, count in 0_usize..4) {
            let _ = read(&[file("out/0", content)], count);
        }
    }
}
