//! Fetches what [`super::solve()`] chooses from: the one place of this module that reads the net.

use std::{panic, thread};

use jiff::Timestamp;
use kiln_digest::Digest;
use kiln_fetch::{FetchError, Fetcher, SourceKind};
use kiln_lock::DebIndex;
use kiln_recipe::{Archive, Location, Platform};

use super::{
    index::{ArchiveName, Index},
    packages::{self, ArchiveNumber, Package, PackagesError},
    release::{Expected, PackagesFile, Release, ReleaseError, SuiteDirectory},
    signature::SignatureError,
};

/// The largest `InRelease` that is read (Debian's have some 150 KiB).
const MAX_IN_RELEASE: u64 = 16 << 20;
/// The largest packed `Packages` that is read (Debian's have some 10 MiB).
const MAX_PACKAGES: u64 = 512 << 20;

/// Why the packages of a base cannot be known.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DebError {
    /// Something could not be fetched.
    #[error("{at}: cannot read the index of `{suite}` from source `{from}`")]
    Fetch {
        /// Where the archive is declared.
        at: Location,
        /// Its source.
        from: String,
        /// Its suite.
        suite: String,
        /// What went wrong.
        #[source]
        cause: Box<FetchError>,
    },
    /// The `InRelease` cannot be used.
    #[error("{at}: cannot use the release `{suite}` of source `{from}`")]
    Release {
        /// Where the archive is declared.
        at: Location,
        /// Its source.
        from: String,
        /// Its suite.
        suite: String,
        /// The keyring that must have signed it.
        keyring: String,
        /// What is wrong.
        #[source]
        cause: Box<ReleaseError>,
    },
    /// A `Packages` index cannot be used.
    #[error("{at}: cannot use `{path}` of source `{from}`")]
    Packages {
        /// Where the archive is declared.
        at: Location,
        /// Its source.
        from: String,
        /// The index, below the archive's root.
        path: String,
        /// What is wrong.
        #[source]
        cause: Box<PackagesError>,
    },
    /// A `Contents` index cannot be used.
    #[error("{at}: cannot use `{path}` of source `{from}`")]
    Contents {
        /// Where the archive is declared.
        at: Location,
        /// Its source.
        from: String,
        /// The index, below the archive's root.
        path: String,
        /// What is wrong.
        #[source]
        cause: std::io::Error,
    },
    /// The lock holds a date that is none.
    #[error("the lock's index of `{suite}` from source `{from}` has no date, but `{date}`")]
    LockedDate {
        /// The source.
        from: String,
        /// The suite.
        suite: String,
        /// What stands there.
        date: String,
    },
}

impl DebError {
    /// What a person can do.
    pub fn hint(&self) -> Option<String> {
        match self {
            // An index that is gone is not a locked package that is gone.
            Self::Fetch { cause, .. } if cause.is_gone() => Some(
                "does the source have this suite? If its mirror is being updated, try again later"
                    .to_owned(),
            ),
            Self::Fetch { cause, .. } => cause.hint(),
            Self::Release { cause, keyring, .. } => {
                let hint = cause.hint()?;
                Some(match **cause {
                    ReleaseError::Signature(
                        SignatureError::Form { .. } | SignatureError::Detached { .. },
                    ) => hint,
                    ReleaseError::Signature(_) => format!("{hint} (`{keyring}`)"),
                    _ => hint,
                })
            }
            Self::Packages { .. } | Self::Contents { .. } | Self::LockedDate { .. } => None,
        }
    }

    fn is_gone(&self) -> bool {
        matches!(self, Self::Fetch { cause, .. } if cause.is_gone())
    }

    /// Whether the bytes that came are others than those that were promised.
    pub fn is_integrity(&self) -> bool {
        match self {
            Self::Fetch { cause, .. } => cause.is_integrity(),
            Self::Release { cause, .. } => {
                matches!(
                    **cause,
                    ReleaseError::Signature(_) | ReleaseError::Rollback { .. }
                )
            }
            Self::Packages { .. } | Self::Contents { .. } => true,
            Self::LockedDate { .. } => false,
        }
    }
}

/// The packages of archives for `platform`, and what they were read from, sorted by source and
/// suite. `previous` are the indexes of the lock before: older ones are refused. The packages come
/// after those of an index `below`, which counts first.
pub fn load(
    fetcher: &Fetcher,
    archives: &[&Archive],
    platform: Platform,
    previous: &[DebIndex],
    now: Timestamp,
    below: Option<&Index>,
) -> Result<(Index, Vec<DebIndex>), DebError> {
    let architecture = platform.architecture();
    let first = below.map_or(0, Index::archives);
    let loaded: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (first..)
            .zip(archives)
            .map(|(number, archive)| {
                let source = ArchiveSource {
                    fetcher,
                    archive,
                    architecture,
                    previous,
                    now,
                };
                scope.spawn(move || source.load(ArchiveNumber(number)))
            })
            .collect();
        threads.into_iter().map(join).collect::<Result<_, _>>()
    })?;
    let names = archives.iter().map(|it| ArchiveName {
        source: it.source.clone(),
        suite: it.suite.clone(),
    });
    let names = names.collect();
    let (mut indexes, packages): (Vec<DebIndex>, Vec<Vec<Package>>) = loaded.into_iter().unzip();
    indexes.sort_by(|a, b| (&a.source, &a.suite).cmp(&(&b.source, &b.suite)));
    indexes.dedup();
    let packages = packages.into_iter().flatten().collect();
    let index = match below {
        Some(below) => below.with(names, packages),
        None => Index::new(architecture, names, packages),
    };
    Ok((index, indexes))
}

fn join<T>(thread: thread::ScopedJoinHandle<'_, T>) -> T {
    thread
        .join()
        .unwrap_or_else(|payload| panic::resume_unwind(payload))
}

/// One archive, and what is expected of it.
#[derive(Clone, Copy)]
pub(super) struct ArchiveSource<'a> {
    pub(super) fetcher: &'a Fetcher,
    pub(super) archive: &'a Archive,
    pub(super) architecture: &'a str,
    pub(super) previous: &'a [DebIndex],
    pub(super) now: Timestamp,
}

impl ArchiveSource<'_> {
    fn load(self, number: ArchiveNumber) -> Result<(DebIndex, Vec<Package>), DebError> {
        match self.attempt(number) {
            // A mirror that is updated between the two files has the second one no longer.
            Err(DebError::Fetch { cause, .. }) if cause.is_gone() || cause.is_integrity() => {
                self.attempt(number)
            }
            result => result,
        }
    }

    fn attempt(self, number: ArchiveNumber) -> Result<(DebIndex, Vec<Package>), DebError> {
        let Archive {
            source,
            suite,
            components,
            ..
        } = self.archive;
        let directory = SuiteDirectory::of(suite);
        let (text, release) = self.release()?;
        let mut files: Vec<PackagesFile> = Vec::new();
        if directory.is_flat() {
            files.push(
                release
                    .flat_packages(&directory)
                    .map_err(|it| self.refused(it))?,
            );
        } else {
            for component in components {
                let found = release.packages(suite, component, self.architecture);
                files.extend(found.map_err(|it| self.refused(it))?);
            }
        }
        let read: Vec<Vec<Package>> = thread::scope(|scope| {
            let threads: Vec<_> = files
                .iter()
                .map(|file| scope.spawn(|| self.read(file, number)))
                .collect();
            threads.into_iter().map(join).collect::<Result<_, _>>()
        })?;
        let index = DebIndex {
            source: source.clone(),
            suite: suite.clone(),
            date: release.date.to_string(),
            sha256: Digest::of(&text),
            signed_by: release.signed_by,
        };
        Ok((index, read.into_iter().flatten().collect()))
    }

    /// The signed release: its bytes, and what they say.
    pub(super) fn release(self) -> Result<(Vec<u8>, Release), DebError> {
        let suite = &self.archive.suite;
        let (text, signature) = self.release_text(&SuiteDirectory::of(suite))?;
        let expected = Expected {
            suite,
            keyring: &self.archive.keyring_bytes,
            check_valid_until: self.archive.check_valid_until,
            previous: self.previous_date()?,
            now: self.now,
        };
        let release = match &signature {
            None => Release::open(&text, &expected),
            Some(signature) => Release::open_detached(&text, signature, &expected),
        };
        let release = release.map_err(|it| self.refused(it))?;
        Ok((text, release))
    }

    /// The `InRelease` of a suite; where there is none, its `Release` and the signature apart.
    fn release_text(
        self,
        directory: &SuiteDirectory,
    ) -> Result<(Vec<u8>, Option<Vec<u8>>), DebError> {
        let get = |name| self.get(&directory.path(name), MAX_IN_RELEASE, None);
        match get("InRelease") {
            Err(error @ DebError::Fetch { .. }) if error.is_gone() => match get("Release") {
                Err(it) if it.is_gone() => Err(error),
                text => Ok((text?, Some(get("Release.gpg")?))),
            },
            result => result.map(|text| (text, None)),
        }
    }

    /// The bytes of an index that the release names.
    pub(super) fn index(self, file: &PackagesFile) -> Result<Vec<u8>, DebError> {
        // One byte more, so that a file that is too long is found by its digest.
        let limit = file.file.size.saturating_add(1).min(MAX_PACKAGES);
        let get = |path: &str| self.get(path, limit, Some(file.file.sha256));
        match file.by_hash.as_deref().map(get) {
            None => get(&file.path),
            Some(Err(DebError::Fetch { cause, .. })) if cause.is_gone() => get(&file.path),
            Some(result) => result,
        }
    }

    fn read(self, file: &PackagesFile, number: ArchiveNumber) -> Result<Vec<Package>, DebError> {
        let bytes = self.index(file)?;
        let unpacked = file.compression.unpack(&bytes, file.unpacked_limit);
        unpacked
            .map_err(PackagesError::Read)
            .and_then(|reader| packages::read(reader, number, self.architecture))
            .map_err(|cause| DebError::Packages {
                at: self.archive.at.clone(),
                from: self.archive.source.clone(),
                path: file.path.clone(),
                cause: Box::new(cause),
            })
    }

    fn get(self, path: &str, limit: u64, digest: Option<Digest>) -> Result<Vec<u8>, DebError> {
        let kind = SourceKind::Deb {
            suite: self.archive.suite.clone(),
        };
        self.fetcher
            .get(&self.archive.source, &kind, path, limit, digest)
            .map_err(|cause| DebError::Fetch {
                at: self.archive.at.clone(),
                from: self.archive.source.clone(),
                suite: self.archive.suite.clone(),
                cause: Box::new(cause),
            })
    }

    fn previous_date(self) -> Result<Option<Timestamp>, DebError> {
        let Archive { source, suite, .. } = self.archive;
        let locked = self
            .previous
            .iter()
            .find(|it| it.source == *source && it.suite == *suite);
        let Some(DebIndex { date, .. }) = locked else {
            return Ok(None);
        };
        date.parse().map(Some).map_err(|_| DebError::LockedDate {
            from: source.clone(),
            suite: suite.clone(),
            date: date.clone(),
        })
    }

    fn refused(self, cause: ReleaseError) -> DebError {
        DebError::Release {
            at: self.archive.at.clone(),
            from: self.archive.source.clone(),
            suite: self.archive.suite.clone(),
            keyring: self.archive.keyring.clone(),
            cause: Box::new(cause),
        }
    }
}
