//! `METADATA` of wheels, without fetching whole wheels where that can be avoided.
//!
//! Three ways, in this order: the `.metadata` file beside the wheel (PEP 658), which many
//! indexes have without announcing it; range requests for the wheel's directory and that one
//! member; the whole wheel. Only the first, where announced with a digest, and the last are
//! verified; what the lock binds in the end is the wheel's own sha256.

pub(crate) mod wheel;

use std::{io::Write, path::Path, sync::Arc};

use kiln_digest::{Digest, Hasher};
use reqwest::{Response, StatusCode, header::CONTENT_RANGE};

use self::wheel::{MAX_METADATA_BYTES, Pieces};
use crate::{
    download::{blocking, content_range},
    error::{FetchError, Subject, Transport},
    http::{Backoff, Failure, Http},
    network::Network,
    page::{CoreMetadata, ProjectFile},
};

/// The first piece: enough for the directory and the metadata of most wheels.
const FIRST_PIECE: u64 = 128 << 10;
/// The largest piece that is asked for.
const LARGEST_PIECE: u64 = 8 << 20;
/// How many pieces are asked for before kiln gives up on a wheel.
const MAX_PIECES: u32 = 16;
/// A larger wheel is not fetched whole just for its metadata.
const MAX_WHEEL_BYTES: u64 = 8 << 30;

/// The text of a wheel's `METADATA`.
pub(crate) async fn read(network: &Network, file: &ProjectFile) -> Result<String, FetchError> {
    let wheel = Subject {
        from: file.source.clone(),
        what: file.name.clone(),
        url: file.url.clone(),
    };
    match beside(network, &wheel, file.core_metadata).await {
        Ok(text) => return Ok(text),
        // It is not there, or not for us: the wheel itself may be.
        Err(FetchError::Gone { .. } | FetchError::Denied { .. } | FetchError::Status { .. }) => {}
        Err(error) => return Err(error),
    }
    if let Some(path) = wheel.url.local_path() {
        return blocking(move || from_file(&path, &wheel)).await;
    }
    let http = network.http(&wheel).await?;
    let mut backoff = Backoff::new(&network.patience);
    loop {
        let failure = match in_pieces(&http, &wheel, file).await {
            Ok(text) => return Ok(text),
            Err(failure) => failure,
        };
        let retry = backoff.after(failure)?;
        tracing::info!(what = wheel.what, why = retry.why, "trying again");
        tokio::time::sleep(retry.wait).await;
    }
}

/// The `.metadata` file beside the wheel.
async fn beside(
    network: &Network,
    wheel: &Subject,
    announced: CoreMetadata,
) -> Result<String, FetchError> {
    let subject = Subject {
        from: wheel.from.clone(),
        what: format!("{}.metadata", wheel.what),
        url: wheel.url.with_suffix(".metadata"),
    };
    let document = network
        .read(&subject, None, true, MAX_METADATA_BYTES)
        .await?;
    if let CoreMetadata::Hashed(expected) = announced {
        let actual = Digest::of(&document.bytes);
        if actual != expected {
            return Err(subject.wrong_digest(expected, actual));
        }
    }
    // Some servers answer every path with a page of theirs.
    if !document.bytes.starts_with(b"Metadata-Version:") && announced == CoreMetadata::Unannounced {
        return Err(subject.gone());
    }
    Ok(String::from_utf8_lossy(&document.bytes).into_owned())
}

/// Asks for pieces of the wheel until its metadata can be read.
async fn in_pieces(http: &Http, wheel: &Subject, file: &ProjectFile) -> Result<String, Failure> {
    let last = format!("bytes=-{FIRST_PIECE}");
    let (offset, bytes, total) = match piece(http, wheel, &last, FIRST_PIECE).await? {
        Piece::Range(offset, bytes, total) => (offset, bytes, total),
        Piece::Whole(response) => return whole(http, wheel, file, response).await,
    };
    let mut pieces = Pieces::new(total);
    pieces.add(offset, bytes);
    let mut size = FIRST_PIECE;
    for _ in 0..MAX_PIECES {
        let outcome = wheel::metadata(&pieces, total);
        let Some(missing) = pieces.take_missing() else {
            return outcome.map_err(|why| wheel.malformed(why).into());
        };
        let end = missing.saturating_add(size).min(pieces.total());
        let range = format!("bytes={missing}-{}", end - 1);
        match piece(http, wheel, &range, size).await? {
            Piece::Range(offset, bytes, same) if offset == missing && same == total => {
                pieces.add(offset, bytes);
            }
            Piece::Range(..) | Piece::Whole(_) => {
                let error = wheel.unreachable(Transport::WrongRange);
                return Err(Failure::Passing(error, None));
            }
        }
        size = (size * 2).min(LARGEST_PIECE);
    }
    Err(wheel.malformed("its directory is too long").into())
}

/// An answer to a range request.
enum Piece {
    /// Offset, bytes, and the length of the whole.
    Range(u64, Vec<u8>, u64),
    /// The server does not know ranges and sends everything.
    Whole(Response),
}

async fn piece(http: &Http, wheel: &Subject, range: &str, size: u64) -> Result<Piece, Failure> {
    let mut response = http.open_file(wheel, Some(range)).await?;
    let wrong = || Failure::Passing(wheel.unreachable(Transport::WrongRange), None);
    match response.status() {
        StatusCode::OK => return Ok(Piece::Whole(response)),
        StatusCode::PARTIAL_CONTENT => {}
        // It has the file, but not in pieces.
        _ => return Ok(Piece::Whole(http.open_file(wheel, None).await?)),
    }
    let header = response.headers().get(CONTENT_RANGE);
    let answered = header.and_then(|range| content_range(range.to_str().ok()?));
    let Some((first, last, Some(total))) = answered else {
        return Err(wrong());
    };
    if last >= total || last - first >= size {
        return Err(wrong());
    }
    let expected = last - first + 1;
    let mut bytes = Vec::new();
    while let Some(chunk) = http.chunk(&mut response, wheel).await? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() as u64 > expected {
            return Err(wrong());
        }
    }
    let got = bytes.len() as u64;
    if got < expected {
        let error = wheel.unreachable(Transport::Truncated { got, expected });
        return Err(Failure::Passing(error, None));
    }
    Ok(Piece::Range(first, bytes, total))
}

/// Takes the whole wheel into a nameless file.
async fn whole(
    http: &Http,
    wheel: &Subject,
    file: &ProjectFile,
    mut response: Response,
) -> Result<String, Failure> {
    let disk = |cause| FetchError::Disk {
        action: "write",
        path: std::env::temp_dir(),
        cause,
    };
    let copy = Arc::new(tempfile::tempfile().map_err(disk)?);
    let limit = file.size.unwrap_or(MAX_WHEEL_BYTES).min(MAX_WHEEL_BYTES);
    let (mut total, mut hasher) = (0, Hasher::new());
    while let Some(chunk) = http.chunk(&mut response, wheel).await? {
        total += chunk.len() as u64;
        if total > limit {
            return Err(wheel.too_large(limit).into());
        }
        hasher.update(&chunk);
        let copy = Arc::clone(&copy);
        blocking(move || (&*copy).write_all(&chunk).map_err(disk)).await?;
    }
    let actual = hasher.finish();
    if let Some(expected) = file.sha256.filter(|expected| *expected != actual) {
        return Err(wheel.wrong_digest(expected, actual).into());
    }
    let subject = wheel.clone();
    let read = blocking(move || read_copy(&copy, total, &subject));
    Ok(read.await?)
}

fn from_file(path: &Path, wheel: &Subject) -> Result<String, FetchError> {
    let disk = |cause: std::io::Error| match cause.kind() {
        std::io::ErrorKind::NotFound => wheel.gone(),
        _ => FetchError::Disk {
            action: "read",
            path: path.to_owned(),
            cause,
        },
    };
    let file = std::fs::File::open(path).map_err(disk)?;
    let total = file.metadata().map_err(disk)?.len();
    read_copy(&file, total, wheel)
}

fn read_copy(file: &std::fs::File, total: u64, wheel: &Subject) -> Result<String, FetchError> {
    let reader = rawzip::FileReader::from(file.try_clone().map_err(|cause| FetchError::Disk {
        action: "read",
        path: wheel.what.clone().into(),
        cause,
    })?);
    wheel::metadata(reader, total).map_err(|why| wheel.malformed(why))
}
