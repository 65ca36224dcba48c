//! Fetchers and files for tests.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use kiln_digest::Digest;
use kiln_fetch::{
    Artifact, Event, FetchError, FetchOptions, Fetcher, Host, SourceConfig, Sources, Wanted,
};

/// Bytes without a pattern (xorshift).
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_be_bytes()[3]
    })
    .take(length)
    .collect()
}

/// A fetcher that knows one source, `debian` and `corp` alike, and an empty host.
pub(crate) fn fetcher(address: &str) -> Fetcher {
    Fetcher::new(options(address, BTreeMap::new())).unwrap()
}

/// Its options, for a host with these environment variables.
pub(crate) fn options(address: &str, environment: BTreeMap<String, String>) -> FetchOptions {
    let overrides = ["debian", "corp"].map(|name| (name.to_owned(), address.to_owned()));
    let host = Host::at("/nonexistent", environment);
    let mut options = FetchOptions::new(Sources::on(SourceConfig::new(overrides.into()), host));
    options.patience.pause = Duration::from_millis(1);
    options
}

/// A lock entry for `pool/NAME` with these bytes.
pub(crate) fn deb(name: &str, bytes: &[u8]) -> Wanted {
    Wanted {
        source: "debian".to_owned(),
        what: Artifact::Deb {
            suite: "trixie".to_owned(),
            path: format!("pool/{name}"),
        },
        sha256: Digest::of(bytes),
        size: bytes.len() as u64,
    }
}

/// A lock entry for a file of project `a`.
pub(crate) fn wheel(name: &str, bytes: &[u8]) -> Wanted {
    Wanted {
        source: "corp".to_owned(),
        what: Artifact::Python {
            project: "A".to_owned(),
            file: name.to_owned(),
        },
        sha256: Digest::of(bytes),
        size: bytes.len() as u64,
    }
}

/// A family's artifact: `PATH` below the address of source `debian`.
pub(crate) fn file(path: &str, bytes: &[u8]) -> Wanted {
    Wanted {
        source: "debian".to_owned(),
        what: Artifact::File {
            path: path.to_owned(),
        },
        sha256: Digest::of(bytes),
        size: bytes.len() as u64,
    }
}

/// Events, collected.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<Event>>>);

impl Log {
    pub(crate) fn sink(&self) -> impl Fn(Event) + Send + 'static {
        let log = Arc::clone(&self.0);
        move |event| log.lock().unwrap().push(event)
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        self.0.lock().unwrap().clone()
    }

    /// Why attempts were repeated.
    pub(crate) fn retries(&self) -> Vec<String> {
        let retries = self.events().into_iter().filter_map(|event| match event {
            Event::Retried { why, .. } => Some(why),
            _ => None,
        });
        retries.collect()
    }
}

/// Downloads one file into `directory`.
pub(crate) fn download_into(
    directory: &std::path::Path,
    fetcher: &Fetcher,
    wanted: Wanted,
    log: &Log,
) -> Result<PathBuf, FetchError> {
    let digest = wanted.sha256;
    let mut results = fetcher.download(vec![wanted], directory, log.sink());
    let (of, result) = results.next().unwrap();
    assert_eq!(of, digest);
    assert!(results.next().is_none());
    result
}

/// Names in a directory.
pub(crate) fn names(directory: &std::path::Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// An error as a person sees it, with the port replaced.
pub(crate) fn rendered(error: &FetchError, port: u16) -> String {
    use std::{error::Error, fmt::Write};
    let mut text = format!("error: {error}");
    let mut cause = error.source();
    while let Some(inner) = cause {
        write!(text, "\n  because: {inner}").unwrap();
        cause = inner.source();
    }
    if let Some(hint) = error.hint() {
        write!(text, "\nhint: {hint}").unwrap();
    }
    text.replace(&port.to_string(), "PORT")
}
