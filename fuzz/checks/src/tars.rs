//! Tar streams around and out of arbitrary bytes.

use std::io::Write;

use flate2::{Compression, write::GzEncoder};

const BLOCK: usize = 512;
/// Where a header has its check sum (POSIX.1-2017, pax, "ustar Interchange Format").
const SUM: std::ops::Range<usize> = 148..156;
const SIZE: std::ops::Range<usize> = 124..136;

/// Makes the check sums of all headers right, and the stream whole blocks with an end mark.
pub(crate) fn mend(stream: &mut Vec<u8>) {
    stream.resize(stream.len().next_multiple_of(BLOCK), 0);
    let mut at = 0;
    while let Some(header) = stream.get_mut(at..at + BLOCK) {
        if header.iter().all(|byte| *byte == 0) {
            break;
        }
        header[SUM].fill(b' ');
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[SUM].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let size = std::str::from_utf8(&header[SIZE]).ok();
        let size = size.map(|text| text.trim_matches([' ', '\0']));
        let size = size.and_then(|text| usize::from_str_radix(text, 8).ok());
        at = size
            .and_then(|size| at.checked_add(BLOCK)?.checked_add(size))
            .and_then(|end| end.checked_next_multiple_of(BLOCK))
            .unwrap_or(usize::MAX - BLOCK);
    }
    stream.extend([0; 2 * BLOCK]);
}

/// One gzip member.
pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A tar archive of plain files, in this order.
pub(crate) fn archive<'a>(files: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_ustar();
        header.set_mode(0o644);
        header.set_mtime(1_700_000_000);
        header.set_size(content.len() as u64);
        // A name that tar cannot hold is one file less.
        let _ = builder.append_data(&mut header, name, content);
    }
    builder.into_inner().unwrap()
}

/// An ar archive (ar(5), as deb(5) has it).
pub(crate) fn ar(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = b"!<arch>\n".to_vec();
    for (name, content) in members {
        let size = content.len();
        bytes.extend(format!("{name:<16}0           0     0     100644  {size:<10}`\n").as_bytes());
        bytes.extend(*content);
        if size % 2 == 1 {
            bytes.push(b'\n');
        }
    }
    bytes
}
