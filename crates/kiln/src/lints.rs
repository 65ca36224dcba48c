//! Linting: what rules look at is brought together here, and what they find is shown.

mod gather;
mod show;

use std::collections::{BTreeMap, BTreeSet};

use kiln_fetch::Fetcher;
use kiln_lint::{Facts, Input, Owners, Report, Severity, Wanted};
use kiln_lock::{Lock, LockedImage};
use kiln_store::Store;

pub(crate) use gather::Download;

use crate::{
    error::Failure,
    output::{Output, count},
    project::Project,
};

/// Where to look, and with what.
pub(crate) struct Linter<'a> {
    pub(crate) project: &'a Project,
    pub(crate) store: &'a Store,
    pub(crate) fetcher: &'a Fetcher,
    pub(crate) output: &'a Output,
    /// Which archives may be downloaded to be looked at.
    pub(crate) download: Download,
    /// Whether no connection may be opened.
    pub(crate) offline: bool,
}

impl Linter<'_> {
    /// Looks at images, shows what was found, and fails when there is an error.
    pub(crate) fn run(&self, lock: &Lock, images: &[&LockedImage]) -> Result<(), Failure> {
        let facts = self.facts(lock, images)?;
        let mut report = self.report(lock, images, &facts, &Owners::new());
        if !report.wanted.is_empty() && !self.offline {
            let owners = self.owners(lock, &report.wanted);
            report = self.report(lock, images, &facts, &owners);
        }
        // An image for several platforms is one.
        let names: BTreeSet<_> = images.iter().map(|image| &image.name).collect();
        show::report(&report, lock, names.len(), self.offline, self.output);
        match report.count(Severity::Error) {
            0 => Ok(()),
            errors => Err(Failure::lints(errors)),
        }
    }

    fn report(
        &self,
        lock: &Lock,
        images: &[&LockedImage],
        facts: &Facts,
        owners: &Owners,
    ) -> Report {
        kiln_lint::lint(Input {
            family: &self.project.family,
            lock,
            images,
            facts,
            owners,
        })
    }

    /// Which packages would bring libraries. What cannot be asked stays unknown.
    fn owners(&self, lock: &Lock, wanted: &BTreeSet<Wanted>) -> Owners {
        let mut owners = Owners::new();
        let mut groups: BTreeMap<_, BTreeSet<String>> = BTreeMap::new();
        for it in wanted {
            let key = (&it.base, &it.accelerator, it.platform);
            groups.entry(key).or_default().insert(it.library.clone());
        }
        for ((base, accelerator, platform), libraries) in groups {
            let archives = self.project.family.archives(base, accelerator);
            let found = kiln_resolve::deb::contents::owners(
                self.fetcher,
                &archives,
                platform,
                &lock.indexes,
                jiff::Timestamp::now(),
                &self.store.root().join("resolve/contents"),
                &libraries,
            );
            let found = match found {
                Ok(found) => found,
                Err(error) => {
                    let libraries = count(libraries.len(), "missing library");
                    self.output.warning(format!(
                        "cannot say which packages of {base} bring {libraries}: {}",
                        in_one_line(&error)
                    ));
                    continue;
                }
            };
            owners.extend(found.into_iter().map(|(library, packages)| {
                let wanted = Wanted {
                    base: base.clone(),
                    accelerator: accelerator.clone(),
                    platform,
                    library,
                };
                (wanted, packages)
            }));
        }
        owners
    }
}

/// An error and its causes in one line.
fn in_one_line(error: &dyn std::error::Error) -> String {
    let errors = std::iter::successors(Some(error), |error| error.source());
    let texts: Vec<_> = errors.map(ToString::to_string).collect();
    texts.join(": ")
}
