//! Bounded decompression into memory or into a mapped, unlinked file.

use std::fs::File;
use std::io::{self, BufRead, Read, Write};
use std::path::Path;

use bytes::Bytes;
use flate2::bufread::MultiGzDecoder;
use liblzma::bufread::XzDecoder;
use liblzma::stream::Stream;
use memmap2::Mmap;
use tempfile::{SpooledData, SpooledTempFile};

use super::container::{Compression, Part};
use super::error::Fault;

/// Archives up to this size stay in memory when unpacked.
const IN_MEMORY: usize = 1 << 20;
/// What an xz decoder may allocate: `xz -9` needs 65 MiB.
const XZ_MEMORY: u64 = 128 << 20;
/// The largest zstd window, as the logarithm to base 2: 128 MiB, the default of `zstd` itself.
const ZSTD_WINDOW_LOG: u32 = 27;

/// The unpacked bytes of a part, at most `limit` of them. An uncompressed part is a view of the
/// archive; else unpacked bytes beyond a small size live in an unlinked file in `spool`.
pub(super) fn unpack(part: &Part, limit: u64, spool: &Path) -> Result<Bytes, Fault> {
    let failed = |source| Fault::Decompress {
        member: part.name.clone(),
        source,
    };
    let mut packed: &[u8] = &part.bytes;
    match part.compression {
        Compression::None if part.bytes.len() as u64 > limit => Err(too_large(part, limit)),
        Compression::None => Ok(part.bytes.clone()),
        Compression::Gzip => store(part, MultiGzDecoder::new(packed), limit, spool),
        Compression::Xz => {
            let stream = Stream::new_stream_decoder(XZ_MEMORY, 0)
                .map_err(|error| failed(io::Error::other(error)))?;
            let decoder = XzDecoder::new_stream(packed.by_ref(), stream);
            let unpacked = store(part, decoder, limit, spool)?;
            // dpkg reads the first stream only, other tools all of them.
            if packed.fill_buf().is_ok_and(|rest| !rest.is_empty()) {
                return Err(failed(io::Error::other("bytes follow the xz stream")));
            }
            Ok(unpacked)
        }
        Compression::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(packed).map_err(failed)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG).map_err(failed)?;
            store(part, decoder, limit, spool)
        }
    }
}

fn store(part: &Part, decoder: impl Read, limit: u64, spool: &Path) -> Result<Bytes, Fault> {
    let mut unpacked = SpooledTempFile::new_in(IN_MEMORY, spool);
    copy(
        part,
        &mut decoder.take(limit.saturating_add(1)),
        limit,
        &mut unpacked,
    )?;
    match unpacked.into_inner() {
        SpooledData::InMemory(cursor) => Ok(cursor.into_inner().into()),
        SpooledData::OnDisk(file) => map(&file).map_err(Fault::Spool),
    }
}

/// `io::copy`, but it tells a bad archive from a full disk.
fn copy(
    part: &Part,
    from: &mut impl Read,
    limit: u64,
    to: &mut SpooledTempFile,
) -> Result<(), Fault> {
    let mut buffer = vec![0; 128 << 10];
    let mut total: u64 = 0;
    loop {
        let length = match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(source) => {
                return Err(Fault::Decompress {
                    member: part.name.clone(),
                    source,
                });
            }
        };
        total += length as u64;
        if total > limit {
            return Err(too_large(part, limit));
        }
        to.write_all(&buffer[..length]).map_err(Fault::Spool)?;
    }
}

fn too_large(part: &Part, limit: u64) -> Fault {
    Fault::TooLarge {
        member: part.name.clone(),
        limit,
    }
}

#[expect(
    unsafe_code,
    reason = "the file was created here, has no name and no other handle: nobody can change it"
)]
fn map(file: &File) -> io::Result<Bytes> {
    // SAFETY: see the reason above; the map outlives the handle, which is closed unchanged.
    let map = unsafe { Mmap::map(file)? };
    Ok(Bytes::from_owner(map))
}
