//! Downloads: the source's bytes into a verified file.

use std::{
    fs::File,
    io::{ErrorKind, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use kiln_digest::Digest;
use reqwest::{Response, StatusCode, header::CONTENT_RANGE};

use crate::{
    error::{FetchError, Subject, Transport},
    event::Event,
    http::{Backoff, Failure, Http},
    listing::Listings,
    network::Network,
    part::{Opened, Part, Sealed},
    source::SourceKind,
    url::Url,
};

/// So much progress makes earlier failures forgotten.
const GOOD_PROGRESS: u64 = 1 << 20;
/// How often a progress event is sent, in bytes.
const PROGRESS_STEP: u64 = 256 << 10;
/// How often kiln looks whether another process is done with a file.
const WAIT_STEP: Duration = Duration::from_millis(100);

/// How many chunks of an answer wait to be written. A chunk has up to 400 KiB, and a disk that is slower
/// than the network makes all downloads wait.
const WAITING: usize = 2;

/// A file that a lock names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The source that the lock binds it to.
    pub source: String,
    /// Which file of that source.
    pub what: Artifact,
    /// What it must be.
    pub sha256: Digest,
    /// Its size in bytes.
    pub size: u64,
}

/// Which file of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Artifact {
    /// A package of a Debian archive.
    Deb {
        /// The suite that it was locked from.
        suite: String,
        /// Its path below the archive's root: `pool/…`.
        path: String,
    },
    /// A file of a project at a Python index.
    Python {
        /// The project's name, in any spelling.
        project: String,
        /// The file's name.
        file: String,
    },
    /// A file of a source that is nothing but files.
    File {
        /// Its path below the source's address.
        path: String,
    },
}

impl Wanted {
    /// The file's name at the source.
    pub fn name(&self) -> &str {
        match &self.what {
            Artifact::Deb { path, .. } | Artifact::File { path } => {
                path.rsplit('/').next().unwrap_or(path)
            }
            Artifact::Python { file, .. } => file,
        }
    }

    /// The event for a file that is there already.
    pub(crate) fn reused(&self) -> Event {
        Event::Reused {
            digest: self.sha256,
            name: self.name().to_owned(),
            size: self.size,
        }
    }
}

/// Where events go.
pub(crate) type Notify = Arc<dyn Fn(Event) + Send + Sync>;

/// One download.
pub(crate) struct Job {
    pub(crate) network: Arc<Network>,
    pub(crate) listings: Arc<Listings>,
    pub(crate) wanted: Wanted,
    pub(crate) directory: PathBuf,
    pub(crate) notify: Notify,
}

impl Job {
    /// Fetches the file, or finds it there already.
    pub(crate) async fn run(self) -> Result<PathBuf, FetchError> {
        let mut part = match self.open().await? {
            Opened::Part(part) => part,
            Opened::Whole(path) => {
                (self.notify)(self.wanted.reused());
                return Ok(path);
            }
        };
        let digest = self.wanted.sha256;
        (self.notify)(Event::Started {
            digest,
            name: self.wanted.name().to_owned(),
            size: self.wanted.size,
            resumed: part.len(),
        });
        let mut backoff = Backoff::new(&self.network.patience);
        loop {
            let before = part.len();
            if before < self.wanted.size {
                let outcome;
                (part, outcome) = self.attempt(part).await?;
                if let Err(failure) = outcome {
                    if matches!(&failure, Failure::Final(error) if error.is_integrity()) {
                        part.restart()?; // an empty part goes away by itself
                    }
                    if part.len() >= before.saturating_add(GOOD_PROGRESS) {
                        backoff.reset();
                    }
                    let retry = backoff.after(failure)?;
                    self.tell_retry(retry.attempt, retry.why, retry.wait);
                    tokio::time::sleep(retry.wait).await;
                    continue;
                }
            }
            match blocking(move || part.seal(digest)).await? {
                Sealed::Whole(path) => {
                    (self.notify)(Event::Finished {
                        digest,
                        name: self.wanted.name().to_owned(),
                        size: self.wanted.size,
                    });
                    return Ok(path);
                }
                Sealed::Wrong(mut wrong, actual) => {
                    let inherited = wrong.is_inherited();
                    wrong.restart()?;
                    if !inherited {
                        return Err(self.subject().await?.wrong_digest(digest, actual));
                    }
                    // What an earlier process left may be at fault: once more, whole.
                    let why = "what was kept of it is damaged".to_owned();
                    self.tell_retry(1, why, Duration::ZERO);
                    part = wrong;
                }
            }
        }
    }

    fn tell_retry(&self, attempt: u32, why: String, wait: Duration) {
        (self.notify)(Event::Retried {
            digest: self.wanted.sha256,
            name: self.wanted.name().to_owned(),
            attempt,
            why,
            wait,
        });
    }

    /// Opens the part, waiting for other processes that write it.
    async fn open(&self) -> Result<Opened, FetchError> {
        let Wanted { sha256, size, .. } = self.wanted;
        let mut told = false;
        loop {
            let directory = self.directory.clone();
            let opened = blocking(move || Part::open(&directory, sha256, size)).await?;
            if let Some(opened) = opened {
                return Ok(opened);
            }
            if !told {
                told = true;
                (self.notify)(Event::Waiting {
                    digest: sha256,
                    name: self.wanted.name().to_owned(),
                });
            }
            tokio::time::sleep(WAIT_STEP).await;
        }
    }

    /// Where the file is to be had.
    async fn subject(&self) -> Result<Subject, FetchError> {
        let wanted = &self.wanted;
        let subject = match &wanted.what {
            Artifact::Deb { suite, path } => {
                let suite = suite.clone();
                let kind = SourceKind::Deb { suite };
                self.network.subject(&wanted.source, &kind, path).await
            }
            Artifact::Python { project, file } => self.python_subject(project, file).await,
            Artifact::File { path } => {
                let kind = SourceKind::Files;
                self.network.subject(&wanted.source, &kind, path).await
            }
        };
        subject.map_err(|error| match error {
            // Name the file that is missing, not the page that would say where it is.
            // And offline it does not matter that nobody knows where it would be.
            FetchError::Offline { .. } | FetchError::Source(_) if self.network.is_offline() => {
                FetchError::Offline {
                    from: wanted.source.clone(),
                    what: wanted.name().to_owned(),
                }
            }
            other => other,
        })
    }

    async fn python_subject(&self, project: &str, file: &str) -> Result<Subject, FetchError> {
        let from = &self.wanted.source;
        let page = self.listings.page(&self.network, from, project).await?;
        let subject = |url: &Url| Subject {
            from: from.clone(),
            what: file.to_owned(),
            url: url.clone(),
        };
        let Some(entry) = page.page.file(file) else {
            return Err(subject(&page.url).gone());
        };
        match entry.sha256 {
            Some(announced) if announced != self.wanted.sha256 => {
                Err(FetchError::OtherFileAnnounced {
                    from: from.clone(),
                    what: file.to_owned(),
                    expected: self.wanted.sha256,
                    announced,
                })
            }
            _ => Ok(subject(&entry.url)),
        }
    }

    /// Tries once to fetch what is missing. The part comes back in any case but a disk
    /// failure.
    async fn attempt(
        &self,
        part: Box<Part>,
    ) -> Result<(Box<Part>, Result<(), Failure>), FetchError> {
        let subject = match self.subject().await {
            Ok(subject) => subject,
            Err(error) => return Ok((part, Err(error.into()))),
        };
        if let Some(path) = subject.url.local_path() {
            let size = self.wanted.size;
            return blocking(move || Ok(copy_local(part, &path, size, &subject))).await;
        }
        let http = match self.network.http(&subject).await {
            Ok(http) => http,
            Err(error) => return Ok((part, Err(error.into()))),
        };
        let range = (part.len() > 0).then(|| format!("bytes={}-", part.len()));
        let response = match http.open_file(&subject, range.as_deref()).await {
            Ok(response) => response,
            Err(failure) => return Ok((part, Err(failure))),
        };
        let mut part = part;
        match self.judge_range(&response, part.len(), &subject) {
            Start::Here => {}
            Start::Over => part.restart()?,
            Start::Again(failure) => {
                part.restart()?;
                return Ok((part, Err(failure)));
            }
            Start::Never(error) => return Ok((part, Err(error.into()))),
        }
        self.receive(&http, response, part, &subject).await
    }

    /// Which part of the file an answer holds (RFC 9110, section 14.4).
    fn judge_range(&self, response: &Response, have: u64, subject: &Subject) -> Start {
        let size = self.wanted.size;
        let wrong_range = || {
            let error = subject.unreachable(Transport::WrongRange);
            Start::Again(Failure::Passing(error, None))
        };
        match response.status() {
            StatusCode::PARTIAL_CONTENT => {
                let range = response.headers().get(CONTENT_RANGE);
                match range.and_then(|range| content_range(range.to_str().ok()?)) {
                    Some((_, _, Some(total))) if total != size => {
                        Start::Never(subject.wrong_size(size, total.to_string()))
                    }
                    Some((first, _, _)) if first == have && have > 0 => Start::Here,
                    _ => wrong_range(),
                }
            }
            StatusCode::OK => match response.content_length() {
                Some(length) if length != size => {
                    Start::Never(subject.wrong_size(size, length.to_string()))
                }
                _ => Start::Over,
            },
            _ => wrong_range(),
        }
    }

    /// Writes an answer's bytes into the part, on a thread that may block.
    async fn receive(
        &self,
        http: &Http,
        mut response: Response,
        mut part: Box<Part>,
        subject: &Subject,
    ) -> Result<(Box<Part>, Result<(), Failure>), FetchError> {
        let size = self.wanted.size;
        let mut expected = size - part.len();
        let (sender, mut chunks) = tokio::sync::mpsc::channel::<bytes::Bytes>(WAITING);
        let (digest, notify) = (self.wanted.sha256, Arc::clone(&self.notify));
        let writer = tokio::task::spawn_blocking(move || {
            let mut told = part.len();
            while let Some(chunk) = chunks.blocking_recv() {
                part.append(&chunk)?;
                let bytes = part.len();
                if bytes - told >= PROGRESS_STEP || bytes == size {
                    told = bytes;
                    notify(Event::Progress { digest, bytes });
                }
            }
            Ok(part)
        });
        let outcome = loop {
            match http.chunk(&mut response, subject).await {
                Ok(Some(chunk)) => {
                    let Some(left) = expected.checked_sub(chunk.len() as u64) else {
                        break Err(subject.wrong_size(size, "more").into());
                    };
                    expected = left;
                    if sender.send(chunk).await.is_err() {
                        break Ok(()); // the writer failed and says why
                    }
                }
                Ok(None) if expected == 0 => break Ok(()),
                Ok(None) => {
                    let error = subject.unreachable(Transport::Truncated {
                        got: size - expected,
                        expected: size,
                    });
                    break Err(Failure::Passing(error, None));
                }
                Err(failure) => break Err(failure),
            }
        };
        drop(sender);
        let part = joined(writer.await)?;
        Ok((part, outcome))
    }
}

/// Where an answer's bytes go.
enum Start {
    /// After what is here.
    Here,
    /// To the beginning: the server sends the whole file.
    Over,
    /// Nowhere; another attempt begins with nothing.
    Again(Failure),
    /// Nowhere: it is another file.
    Never(FetchError),
}

/// First and last byte and the whole length in `bytes 0-9/10` or `bytes 0-9/*`.
pub(crate) fn content_range(text: &str) -> Option<(u64, u64, Option<u64>)> {
    let (range, total) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let total = match total.trim() {
        "*" => None,
        total => Some(total.parse().ok()?),
    };
    let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    (first <= last).then_some((first, last, total))
}

/// Copies what is missing from a local file.
fn copy_local(
    mut part: Box<Part>,
    path: &Path,
    size: u64,
    subject: &Subject,
) -> (Box<Part>, Result<(), Failure>) {
    let outcome = append_local(&mut part, path, size, subject);
    (part, outcome.map_err(Failure::Final))
}

fn append_local(
    part: &mut Part,
    path: &Path,
    size: u64,
    subject: &Subject,
) -> Result<(), FetchError> {
    let disk = |cause: std::io::Error| match cause.kind() {
        ErrorKind::NotFound => subject.gone(),
        _ => FetchError::Disk {
            action: "read",
            path: path.to_owned(),
            cause,
        },
    };
    let mut file = File::open(path).map_err(disk)?;
    let actual = file.metadata().map_err(disk)?.len();
    if actual != size {
        return Err(subject.wrong_size(size, actual.to_string()));
    }
    file.seek(SeekFrom::Start(part.len())).map_err(disk)?;
    let mut buffer = vec![0; 256 << 10];
    while part.len() < size {
        let room = usize::try_from(size - part.len()).unwrap_or(usize::MAX);
        let room = room.min(buffer.len());
        match file.read(&mut buffer[..room]) {
            Ok(0) => return Err(subject.wrong_size(size, part.len().to_string())),
            Ok(count) => part.append(&buffer[..count])?,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(disk(error)),
        }
    }
    Ok(())
}

/// Runs what may block where it may.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, FetchError> + Send + 'static,
) -> Result<T, FetchError> {
    joined(tokio::task::spawn_blocking(work).await)
}

/// The result of a thread. It is cancelled only while the runtime shuts down.
fn joined<T>(
    result: Result<Result<T, FetchError>, tokio::task::JoinError>,
) -> Result<T, FetchError> {
    match result {
        Ok(result) => result,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(FetchError::Cancelled),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges_are_read_strictly() {
        assert_eq!(content_range("bytes 5-9/10"), Some((5, 9, Some(10))));
        assert_eq!(content_range("bytes 5-9/*"), Some((5, 9, None)));
        for text in [
            "",
            "bytes */10",
            "bytes 9-5/10",
            "bytes=5-9/10",
            "bytes 5-9",
        ] {
            assert_eq!(content_range(text), None, "{text}");
        }
    }
}
