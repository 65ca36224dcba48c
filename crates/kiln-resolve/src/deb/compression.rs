//! Unpacking of indexes, as a stream.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;
use liblzma::bufread::XzDecoder;

/// How an index is packed, by the end of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// `.xz`
    Xz,
    /// `.gz`
    Gzip,
    /// Not at all.
    Plain,
}

impl Compression {
    /// All of them, best first.
    pub const ALL: [Self; 3] = [Self::Xz, Self::Gzip, Self::Plain];

    /// The end of the name of a file that is packed like this.
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::Xz => ".xz",
            Self::Gzip => ".gz",
            Self::Plain => "",
        }
    }

    /// The unpacked bytes. After `limit` of them reading fails.
    pub fn unpack<'a>(self, bytes: &'a [u8], limit: u64) -> io::Result<Box<dyn BufRead + 'a>> {
        Ok(match self {
            Self::Xz => {
                // Memory for the dictionary: `xz -9` asks for 65 MiB.
                let stream = liblzma::stream::Stream::new_auto_decoder(
                    256 << 20,
                    liblzma::stream::CONCATENATED,
                )?;
                bounded(XzDecoder::new_stream(bytes, stream), limit)
            }
            Self::Gzip => bounded(MultiGzDecoder::new(bytes), limit),
            Self::Plain => bounded(bytes, limit),
        })
    }
}

fn bounded<'a>(reader: impl Read + 'a, limit: u64) -> Box<dyn BufRead + 'a> {
    Box::new(BufReader::with_capacity(
        1 << 16,
        Bounded {
            reader,
            left: limit,
            limit,
        },
    ))
}

/// A reader that fails, where `Read::take` would feign the end.
struct Bounded<R> {
    reader: R,
    left: u64,
    limit: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        self.left = self.left.checked_sub(read as u64).ok_or_else(|| {
            let message = format!("it has more than {} bytes unpacked", self.limit);
            io::Error::new(io::ErrorKind::InvalidData, message)
        })?;
        Ok(read)
    }
}
