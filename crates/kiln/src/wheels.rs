//! Wheels that are built while a family is locked, by the same steps that build them later.

use std::{
    path::Path,
    sync::{Arc, Mutex, OnceLock, PoisonError, atomic::AtomicBool},
    thread::available_parallelism,
};

use kiln_build::{BuildError, ExecuteError, FamilyFiles, Options};
use kiln_fetch::Fetcher;
use kiln_plan::{BuildProduct, Source, source_plan};
use kiln_resolve::{Build, BuildFailure, Builder, BuiltWheel};
use kiln_store::{ActionResult, Store};

use crate::{
    commands::debug, error::Failure, interrupt, output::Output, progress::Reporter,
    project::Project, sandbox,
};

/// Builds wheels into the store.
pub(crate) struct WheelBuilder<'a> {
    pub(crate) project: &'a Project,
    pub(crate) store: &'a Store,
    pub(crate) fetcher: &'a Fetcher,
    pub(crate) output: &'a Output,
    /// One build at a time: each uses all cores, and they share most of their steps.
    pub(crate) one: Mutex<()>,
    /// Set by an interrupt, which nobody heeds before something is built.
    pub(crate) cancelled: OnceLock<Arc<AtomicBool>>,
}

impl WheelBuilder<'_> {
    /// The blob that a step makes of a source distribution.
    fn make(&self, build: &Build<'_>, product: BuildProduct) -> Result<ActionResult, BuildFailure> {
        let one = self.one.lock();
        let _one = one.unwrap_or_else(PoisonError::into_inner);
        let source = Source {
            project: build.project,
            version: build.version,
            source: build.source,
            from: build.from,
            base: build.base_debs.iter().collect(),
            debs: build.debs.iter().collect(),
            requirements: build.requirements.iter().collect(),
        };
        let family = &self.project.family;
        let plan = source_plan(family, build.base, build.platform, &source, product)
            .map_err(|error| failure(error, None))?;
        let last = plan.steps.len() - 1;
        let reporter = Reporter::new(self.output, &plan);
        let done = kiln_build::Builder {
            store: self.store,
            fetcher: self.fetcher,
            family: &FamilyFiles {
                root: self.project.dir.clone(),
            },
            options: &Options {
                jobs: available_parallelism().map_or(1, std::num::NonZero::get),
                sandbox: sandbox::choice().map_err(as_failure)?,
                twice: false,
            },
            events: &|event| reporter.event(&event),
            cancelled: self.cancelled.get_or_init(interrupt::flag),
        }
        .steps(&plan, &[last]);
        reporter.finish();
        let done = done.map_err(|error| {
            // The error itself matters more than a note that could not be made of it.
            let _ = debug::note(self.store, &error);
            let hint = match &error {
                BuildError::Step { source, .. }
                    if matches!(**source, ExecuteError::ForeignPlatform(_)) =>
                {
                    Some(format!(
                        "the lock names what a build gives: lock on a machine for {}",
                        build.platform
                    ))
                }
                error => error.hint(),
            };
            failure(error, hint)
        })?;
        let result = done.results.into_iter().nth(last).flatten();
        result.ok_or_else(|| failure(std::io::Error::other("the step gave nothing"), None))
    }
}

impl Builder for WheelBuilder<'_> {
    fn requires(&self, archive: &Path, file: &str) -> Result<Vec<String>, BuildFailure> {
        kiln_build::requires(archive, file, &self.store.spool_dir())
            .map_err(|error| failure(error, None))
    }

    fn further_requires(&self, build: &Build<'_>) -> Result<Vec<String>, BuildFailure> {
        let (digest, _) = self.make(build, BuildProduct::Requirements)?.blob();
        let read = std::fs::read(self.store.blob_path(&digest));
        let text = read.map_err(|error| failure(error, None))?;
        serde_json::from_slice(&text).map_err(|error| failure(error, None))
    }

    fn build(&self, build: &Build<'_>) -> Result<BuiltWheel, BuildFailure> {
        let (sha256, size) = self.make(build, BuildProduct::Wheel)?.blob();
        let described = kiln_build::describe(&self.store.blob_path(&sha256))
            .map_err(|error| failure(error, None))?;
        Ok(BuiltWheel {
            file: described.file,
            size,
            sha256,
            metadata: described.metadata,
        })
    }
}

fn failure(
    cause: impl std::error::Error + Send + Sync + 'static,
    hint: Option<String>,
) -> BuildFailure {
    BuildFailure {
        cause: Box::new(cause),
        hint,
    }
}

fn as_failure(failed: Failure) -> BuildFailure {
    failure(std::io::Error::other(failed.message), failed.hint)
}
