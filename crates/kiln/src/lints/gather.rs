//! Facts about archives: those that are known, those of archives that are here, and those of
//! archives that are downloaded for it.

use std::{
    collections::{BTreeMap, HashMap},
    io::IsTerminal,
    sync::{Arc, Mutex, PoisonError},
};

use indicatif::{ProgressBar, ProgressStyle};
use kiln_build::{LibraryArchive, LibraryError, Package};
use kiln_fetch::{Artifact, Event, Wanted};
use kiln_lint::Facts;
use kiln_lock::{Lock, LockedImage};
use rayon::prelude::*;

use super::{Linter, in_one_line};
use crate::{
    error::Failure,
    output::{Output, bytes, count},
};

/// Which archives may be downloaded to be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Download {
    /// None.
    Nothing,
    /// Missing ones, the smallest first, of so many bytes together at most. One that cannot be had
    /// is not looked at.
    UpTo(u64),
    /// All that are missing. One that cannot be had is an error.
    All,
}

impl Linter<'_> {
    /// What is known of the archives of some images.
    pub(super) fn facts(&self, lock: &Lock, images: &[&LockedImage]) -> Result<Facts, Failure> {
        let mut archives = BTreeMap::new();
        for image in images {
            let closure = lock.image_closure(image);
            let debs = closure.debs.into_iter().map(LibraryArchive::deb);
            let wheels = closure.wheels.into_iter().map(LibraryArchive::wheel);
            archives.extend(debs.chain(wheels).map(|it| (it.sha256, it)));
        }
        let mut facts = Facts::new();
        let mut unknown = Vec::new();
        for archive in archives.into_values() {
            match archive.known(self.store).map_err(Failure::from)? {
                Some(known) => {
                    facts.insert(archive.sha256, Arc::new(known));
                }
                None => unknown.push(archive),
            }
        }
        self.fetch(&unknown)?;
        self.read(unknown, &mut facts)?;
        Ok(facts)
    }

    /// Downloads what is missing and may be downloaded.
    fn fetch(&self, unknown: &[LibraryArchive<'_>]) -> Result<(), Failure> {
        let missing = unknown.iter().filter(|it| it.path(self.store).is_none());
        let mut wanted: Vec<_> = missing.filter_map(wanted).collect();
        let limit = match self.download {
            Download::Nothing => 0,
            Download::UpTo(limit) => limit,
            Download::All => u64::MAX,
        };
        wanted.sort_by_key(|it| it.size);
        let mut total = 0_u64;
        wanted.retain(|it| {
            let more = total.saturating_add(it.size);
            let may = more <= limit;
            total = if may { more } else { total };
            may
        });
        if wanted.is_empty() || self.offline {
            return Ok(());
        }
        self.output.note(format!(
            "downloading {} ({}) to look for the libraries that they need",
            count(wanted.len(), "archive"),
            bytes(total),
        ));
        let progress = Arc::new(Progress::new(total, self.output));
        let told = Arc::clone(&progress);
        let downloads = self
            .fetcher
            .download(wanted, &self.store.downloads_dir(), move |event| {
                told.event(&event);
            });
        let mut failed = None;
        for (_, result) in downloads {
            if let Err(error) = result {
                if self.download == Download::All {
                    progress.finish();
                    return Err(error.into());
                }
                failed.get_or_insert(error);
            }
        }
        progress.finish();
        if let Some(error) = failed {
            let text = in_one_line(&error);
            self.output
                .warning(format!("not everything can be looked at: {text}"));
        }
        Ok(())
    }

    /// Reads archives that are here, the largest first.
    fn read(&self, mut unknown: Vec<LibraryArchive<'_>>, facts: &mut Facts) -> Result<(), Failure> {
        unknown.sort_by_key(|it| std::cmp::Reverse(it.size));
        let read: Vec<_> = unknown
            .par_iter()
            .filter_map(|archive| {
                let path = archive.path(self.store)?;
                Some((archive.sha256, archive.read(self.store, path)))
            })
            .collect();
        for (sha256, result) in read {
            match result {
                Ok(libraries) => {
                    facts.insert(sha256, Arc::new(libraries));
                }
                Err(error) if self.download.can_do_without(&error) => {
                    let text = in_one_line(&error);
                    self.output
                        .warning(format!("an archive cannot be looked at: {text}"));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

impl Download {
    /// Whether an archive that cannot be read is merely not looked at: where nobody asked for all
    /// of them, and the archive is to blame. A build says then what is wrong with it.
    fn can_do_without(self, error: &LibraryError) -> bool {
        self != Self::All && error.is_of_archive()
    }
}

/// Where an archive comes from; nothing for wheels that are built.
fn wanted(archive: &LibraryArchive<'_>) -> Option<Wanted> {
    let (source, what) = match archive.of {
        Package::Deb(deb) => (
            &deb.source,
            Artifact::Deb {
                suite: deb.suite.clone(),
                path: deb.path.clone(),
            },
        ),
        Package::Wheel(wheel) if wheel.built_from.is_some() => return None,
        Package::Wheel(wheel) => (
            &wheel.source,
            Artifact::Python {
                project: wheel.name.clone(),
                file: wheel.file.clone(),
            },
        ),
    };
    Some(Wanted {
        source: source.clone(),
        what,
        sha256: archive.sha256,
        size: archive.size,
    })
}

/// A bar on terminals.
struct Progress {
    bar: ProgressBar,
    /// How much of each file is here.
    here: Mutex<HashMap<kiln_digest::Digest, u64>>,
}

impl Progress {
    fn new(total: u64, output: &Output) -> Self {
        let shown = !output.is_json() && output.verbosity >= 0 && std::io::stderr().is_terminal();
        let bar = if shown {
            ProgressBar::new(total)
        } else {
            ProgressBar::hidden()
        };
        if let Ok(style) = ProgressStyle::with_template("{bytes}/{total_bytes} {bar:30} {eta}") {
            bar.set_style(style);
        }
        Self {
            bar,
            here: Mutex::default(),
        }
    }

    fn event(&self, event: &Event) {
        let (digest, bytes) = match event {
            Event::Progress { digest, bytes } => (digest, bytes),
            Event::Finished { digest, size, .. } | Event::Reused { digest, size, .. } => {
                (digest, size)
            }
            _ => return,
        };
        let mut here = self.here.lock().unwrap_or_else(PoisonError::into_inner);
        here.insert(*digest, *bytes);
        self.bar.set_position(here.values().sum());
    }

    fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use kiln_store::StoreError;

    use super::*;

    #[test]
    fn what_keeps_an_archive_from_being_looked_at_is_an_error_of_kiln_lint() {
        let damaged = LibraryError::Damaged {
            file: "a-1-py3-none-any.whl".to_owned(),
        };
        let some = Download::UpTo(1);
        assert!(some.can_do_without(&damaged) && Download::Nothing.can_do_without(&damaged));
        assert!(!Download::All.can_do_without(&damaged));
        let open = LibraryError::Open {
            path: PathBuf::from("/store"),
            source: std::io::ErrorKind::PermissionDenied.into(),
        };
        for error in [open, LibraryError::Store(StoreError::NoHome)] {
            for download in [some, Download::Nothing, Download::All] {
                assert!(!download.can_do_without(&error), "{error} {download:?}");
            }
        }
    }
}
