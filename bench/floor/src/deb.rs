//! The least work that a Debian package can be: its data archive decompressed once, and SHA-256 over
//! what comes out. The compressed bytes need no hash: they are not what a layer holds.

use std::io::{self, Read};

use flate2::bufread::MultiGzDecoder;
use kiln_digest::Hasher;
use liblzma::bufread::XzDecoder;

use super::Seen;

/// Decompresses and hashes one package.
pub(crate) fn deb(archive: &[u8]) -> io::Result<Seen> {
    let (name, packed) = data(archive)?;
    let mut content: Box<dyn Read> = match name.rsplit('.').next() {
        Some("xz") => Box::new(XzDecoder::new(packed)),
        Some("zst") => Box::new(zstd::stream::read::Decoder::with_buffer(packed)?),
        Some("gz") => Box::new(MultiGzDecoder::new(packed)),
        _ => Box::new(packed),
    };
    let mut tar = Hasher::new();
    let mut buffer = vec![0; 128 << 10];
    let mut unpacked = 0;
    loop {
        let length = content.read(&mut buffer)?;
        if length == 0 {
            break;
        }
        tar.update(&buffer[..length]);
        unpacked += length as u64;
    }
    std::hint::black_box(tar.finish());
    Ok(Seen {
        packed: packed.len() as u64,
        unpacked,
    })
}

/// The name and the bytes of the member `data.tar…`: see ar(5).
fn data(archive: &[u8]) -> io::Result<(&str, &[u8])> {
    let bad = || io::Error::new(io::ErrorKind::InvalidData, "not a Debian package");
    let mut rest = archive.strip_prefix(b"!<arch>\n").ok_or_else(bad)?;
    while let Some((header, after)) = rest.split_at_checked(60) {
        let header = str::from_utf8(header).map_err(|_| bad())?;
        let size: usize = header[48..58].trim_end().parse().map_err(|_| bad())?;
        let name = header[..16].trim_end();
        let content = after.get(..size).ok_or_else(bad)?;
        if name.starts_with("data.tar") {
            return Ok((name.trim_end_matches('/'), content));
        }
        rest = after.get(size + size % 2..).ok_or_else(bad)?;
    }
    Err(bad())
}
