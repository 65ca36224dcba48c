//! The tar stream of a layer alone, for who needs its tree before its blob is there.

use std::io::Write;

use crate::{
    Entry, EntryKind, LayerError, Payload,
    batch::CHUNK,
    inflate::Inflater,
    tar::{self, BLOCK, padding, write_header},
    validate::validate,
};

/// Writes `entries` as the tar stream that [`write_layer`](crate::write_layer()) compresses in the forms
/// [`Gzip`](crate::Compression::Gzip) and [`Zstd`](crate::Compression::Zstd): its digest is their diff ID.
/// On this thread, and in small writes: `out` should be buffered.
pub fn write_tar(entries: &[Entry], mut out: impl Write) -> Result<(), LayerError> {
    validate(entries)?;
    let (mut header, mut buffer) = (Vec::new(), Vec::new());
    for entry in entries {
        header.clear();
        write_header(entry, tar::target(entry, entries), &mut header);
        out.write_all(&header)?;
        let EntryKind::File(payload) = &entry.kind else {
            continue;
        };
        match payload {
            Payload::Plain(data) => out.write_all(data)?,
            Payload::Deflated { data, crc32, size } => {
                let mut inflater = Inflater::new(data, *crc32, *size);
                loop {
                    let count = usize::try_from(inflater.remaining()).unwrap_or(CHUNK);
                    buffer.resize(count.min(CHUNK), 0);
                    inflater
                        .fill(&mut buffer)
                        .map_err(|source| LayerError::Corrupt {
                            path: entry.path.clone(),
                            source,
                        })?;
                    out.write_all(&buffer)?;
                    if inflater.remaining() == 0 {
                        break;
                    }
                }
            }
        }
        out.write_all(&[0; BLOCK][..padding(payload.size())])?;
    }
    out.write_all(&tar::END)?;
    Ok(out.flush()?)
}
