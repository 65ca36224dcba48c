//! Gzip members (RFC 1952). Many members in a row are one gzip file.

use crate::deflate::deflate;

/// The header of every member: DEFLATE, no flags, no time, no hint at the level, and 255 for
/// "unknown operating system".
pub(crate) const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

/// The trailer: CRC-32 of the uncompressed bytes, and their length modulo 2³².
pub(crate) fn trailer(crc32: u32, size: u64) -> [u8; 8] {
    let mut trailer = [0; 8];
    trailer[..4].copy_from_slice(&crc32.to_le_bytes());
    trailer[4..].copy_from_slice(&size.to_le_bytes()[..4]);
    trailer
}

/// Appends a member that holds `headers`: tar headers and padding.
pub(crate) fn write_headers(headers: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&HEADER);
    deflate(headers, out);
    out.extend_from_slice(&trailer(crc32fast::hash(headers), headers.len() as u64));
}
