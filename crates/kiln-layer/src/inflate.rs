//! Inflating the payloads of archives, and believing nothing that the archive says.
//!
//! A copied payload must be *exactly* one DEFLATE stream of the stated length and CRC-32: bytes
//! after its end would shift everything that follows in the layer.

use flate2::{Decompress, FlushDecompress, Status};
use kiln_digest::{Digest, Hasher};
use memchr::memmem;

use crate::gzip;

/// How a payload differs from what its archive states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CorruptPayload {
    /// The compressed bytes are no DEFLATE stream, or more or fewer bytes come out than stated,
    /// or their CRC-32 is another.
    #[error("the compressed bytes do not give the stated length and CRC-32")]
    Mismatch,
    /// Something follows the end of the DEFLATE stream.
    #[error("bytes follow the end of the compressed bytes")]
    TrailingBytes,
    /// More compressed bytes than any encoder needs for this length.
    #[error("the compressed bytes are far longer than their content can explain")]
    Overlong,
}

/// Whether an encoder could need `compressed` bytes for `size` bytes. Stored blocks cost 5 bytes
/// each; an eighth allows for blocks of 40 bytes, far below what encoders make.
pub(crate) fn check_length(compressed: usize, size: u64) -> Result<(), CorruptPayload> {
    if compressed as u64 > size + size / 8 + 1024 {
        return Err(CorruptPayload::Overlong);
    }
    Ok(())
}

/// Inflates a whole gzip member into `out`, which has exactly its stated length.
///
/// libdeflate (half again as fast as zlib-rs) verifies the trailer that stands where the DEFLATE
/// stream *ends*, but does not tell where that was. If it ended early, the member would hold
/// the eight bytes of the trailer at that place too. So a member in which the trailer occurs
/// once, at its end, ends there; the rare others are measured with zlib-rs.
pub(crate) fn inflate_member(
    decompressor: &mut libdeflater::Decompressor,
    member: &[u8],
    out: &mut [u8],
) -> Result<(), CorruptPayload> {
    match decompressor.gzip_decompress(member, out) {
        Ok(length) if length == out.len() => {}
        _ => return Err(CorruptPayload::Mismatch),
    }
    let body = &member[gzip::HEADER.len()..];
    let Some((stream, trailer)) = body.split_last_chunk::<8>() else {
        return Err(CorruptPayload::Mismatch);
    };
    if memmem::find(&body[..body.len() - 1], trailer).is_some() {
        let [c0, c1, c2, c3, ..] = *trailer;
        let crc32 = u32::from_le_bytes([c0, c1, c2, c3]);
        Inflater::new(stream, crc32, out.len() as u64).fill(out)?;
    }
    Ok(())
}

/// Inflates one payload piece by piece.
pub(crate) struct Inflater<'a> {
    stream: &'a [u8],
    state: Decompress,
    ended: bool,
    crc: crc32fast::Hasher,
    crc32: u32,
    size: u64,
    /// Of all that came out, for who wants to know.
    sha256: Option<Hasher>,
}

impl<'a> Inflater<'a> {
    pub(crate) fn new(stream: &'a [u8], crc32: u32, size: u64) -> Self {
        Self {
            stream,
            state: Decompress::new(false),
            ended: false,
            crc: crc32fast::Hasher::new(),
            crc32,
            size,
            sha256: None,
        }
    }

    /// Has what comes out hashed, too.
    pub(crate) fn hashing(self) -> Self {
        Self {
            sha256: Some(Hasher::new()),
            ..self
        }
    }

    /// The digest of all bytes, once, when all have come out.
    pub(crate) fn digest(&mut self) -> Option<Digest> {
        if self.remaining() > 0 {
            return None;
        }
        self.sha256.take().map(Hasher::finish)
    }

    /// How many bytes are still to come.
    pub(crate) fn remaining(&self) -> u64 {
        self.size - self.state.total_out().min(self.size)
    }

    /// Fills `out`, which must not be longer than what remains, and gives the compressed bytes
    /// that were read for it. With the last byte, everything is verified.
    pub(crate) fn fill(&mut self, out: &mut [u8]) -> Result<&'a [u8], CorruptPayload> {
        let start = self.position();
        let last = out.len() as u64 == self.remaining();
        let mut filled = 0;
        while filled < out.len() {
            filled += self.step(&mut out[filled..])?;
        }
        self.crc.update(out);
        if let Some(sha256) = &mut self.sha256 {
            sha256.update(out);
        }
        if last {
            self.verify()?;
        }
        Ok(&self.stream[start..self.position()])
    }

    fn verify(&mut self) -> Result<(), CorruptPayload> {
        // The mark of the end may still be unread; it must bring no more bytes.
        while !self.ended {
            if self.step(&mut [0])? > 0 {
                return Err(CorruptPayload::Mismatch);
            }
        }
        if self.position() != self.stream.len() {
            return Err(CorruptPayload::TrailingBytes);
        }
        if self.crc.clone().finalize() != self.crc32 {
            return Err(CorruptPayload::Mismatch);
        }
        Ok(())
    }

    fn step(&mut self, out: &mut [u8]) -> Result<usize, CorruptPayload> {
        let before = (self.state.total_in(), self.state.total_out());
        let status = self
            .state
            .decompress(&self.stream[self.position()..], out, FlushDecompress::None)
            .map_err(|_| CorruptPayload::Mismatch)?;
        let after = (self.state.total_in(), self.state.total_out());
        let stuck = self.ended || (before == after && status != Status::StreamEnd);
        self.ended = status == Status::StreamEnd;
        if stuck {
            return Err(CorruptPayload::Mismatch);
        }
        Ok(saturating_usize(after.1 - before.1))
    }

    fn position(&self) -> usize {
        saturating_usize(self.state.total_in())
    }
}

fn saturating_usize(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

/// Verifies a payload of no bytes, which has no member in the layer.
pub(crate) fn check_empty(stream: &[u8], crc32: u32) -> Result<(), CorruptPayload> {
    Inflater::new(stream, crc32, 0).fill(&mut []).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTENT: &[u8] = b"some content, some more content";

    fn stream() -> Vec<u8> {
        let mut out = Vec::new();
        crate::deflate::deflate(CONTENT, &mut out);
        out
    }

    /// Inflates in both ways, which must agree.
    fn inflate(stream: &[u8], crc32: u32, size: usize) -> Result<Vec<u8>, CorruptPayload> {
        let trailer = gzip::trailer(crc32, size as u64);
        let member = [&gzip::HEADER[..], stream, &trailer].concat();
        let mut whole = vec![0; size];
        let at_once = inflate_member(&mut libdeflater::Decompressor::new(), &member, &mut whole)
            .map(|()| whole);
        for chunk in [1, 7, size.max(1)] {
            let mut inflater = Inflater::new(stream, crc32, size as u64);
            let (mut streamed, mut read) = (vec![0; size], Vec::new());
            let in_chunks = streamed.chunks_mut(chunk).try_for_each(|chunk| {
                inflater
                    .fill(chunk)
                    .map(|bytes| read.extend_from_slice(bytes))
            });
            assert_eq!(in_chunks.is_ok(), at_once.is_ok());
            if in_chunks.is_ok() {
                assert_eq!((Ok(&streamed), &read[..]), (at_once.as_ref(), stream));
            }
        }
        at_once
    }

    #[test]
    fn a_true_payload_is_inflated() {
        let crc32 = crc32fast::hash(CONTENT);
        assert_eq!(
            inflate(&stream(), crc32, CONTENT.len()),
            Ok(CONTENT.to_vec())
        );
        assert_eq!(check_empty(&[3, 0], 0), Ok(()));
    }

    #[test]
    fn untrue_lengths_and_checksums_are_found() {
        let (stream, crc32, size) = (stream(), crc32fast::hash(CONTENT), CONTENT.len());
        for (bytes, crc32, size) in [
            (&stream[..], crc32 ^ 1, size),
            (&stream[..], crc32, size - 1),
            (&stream[..], crc32, size + 1),
            (&stream[..stream.len() - 1], crc32, size),
            (&b"\xff"[..], crc32, size),
            (&b""[..], crc32, size),
        ] {
            assert_eq!(inflate(bytes, crc32, size), Err(CorruptPayload::Mismatch));
        }
        assert!(check_empty(&stream, crc32).is_err());
        assert!(check_empty(&[3, 0], 1).is_err());
    }

    /// The payload smuggles in the end of its own member and another one after it.
    #[test]
    fn bytes_after_the_end_are_found_even_if_they_start_with_the_trailer() {
        let (stream, crc32) = (stream(), crc32fast::hash(CONTENT));
        let trailer = gzip::trailer(crc32, CONTENT.len() as u64);
        let smuggling = [&stream[..], &trailer, &gzip::HEADER, &stream].concat();
        let result = inflate(&smuggling, crc32, CONTENT.len());
        assert_eq!(result, Err(CorruptPayload::TrailingBytes));
        let plain = [&stream[..], b"x"].concat();
        assert!(inflate(&plain, crc32, CONTENT.len()).is_err());
        assert!(check_empty(&[3, 0, 0], 0).is_err());
    }

    #[test]
    fn absurdly_long_streams_are_refused() {
        assert_eq!(check_length(2, 0), Ok(()));
        assert_eq!(check_length((1 << 20) + 100, 1 << 20), Ok(()));
        assert_eq!(check_length(5000, 100), Err(CorruptPayload::Overlong));
    }
}
