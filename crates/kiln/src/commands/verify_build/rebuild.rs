//! Building into a store that is thrown away.

use std::{fs, path::Path};

use kiln_build::{BuildError, Builder, Built, Event, ExecuteError, FamilyFiles, Options};
use kiln_digest::{Digest, Hasher};
use kiln_plan::{Origin, Plan};
use kiln_sandbox::SandboxError;
use kiln_store::Store;
use rayon::prelude::*;
use tempfile::TempDir;

use crate::{
    args::Global, commands::store::is_filled, error::Failure, interrupt, output::Output,
    progress::Reporter, project::Project, sandbox,
};

/// Images that were just built, in a store of their own.
pub(super) struct Rebuilt {
    store: Store,
    directory: TempDir,
}

impl Rebuilt {
    /// Builds all of `plan` from its inputs. Of the user's `store` only packages are used, and
    /// only those whose content is what the lock says.
    pub(super) fn of(
        plan: &Plan,
        project: &Project,
        store: &Store,
        jobs: usize,
        global: &Global,
        output: &Output,
    ) -> Result<Self, Failure> {
        let choice = sandbox::choice()?;
        let directory = directory(store.root())?;
        let rebuilt = Self {
            store: Store::open(directory.path().join("store"))?,
            directory,
        };
        lend(plan, store, &rebuilt.store)?;
        let reporter = Reporter::new(output, plan);
        let built = Builder {
            store: &rebuilt.store,
            fetcher: &project.fetcher(global)?,
            family: &FamilyFiles {
                root: project.dir.clone(),
            },
            options: &Options {
                jobs,
                sandbox: choice,
                twice: false,
            },
            // Images of a store that is thrown away are nobody's.
            events: &|event| match event {
                Event::ImageFinished { .. } | Event::GivenUp { .. } => {}
                event => reporter.event(&event),
            },
            cancelled: &interrupt::flag(),
        }
        .build(plan)
        .and_then(Built::whole);
        reporter.finish();
        match built {
            Ok(_) => Ok(rebuilt),
            Err(error) => {
                let failure = failed(error);
                rebuilt.remove()?;
                Err(failure)
            }
        }
    }

    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    /// Removes the store. Unpacked layers may belong to other users, so that only the sandbox can
    /// remove them.
    pub(super) fn remove(self) -> Result<(), Failure> {
        let rootfs = self.store.rootfs_dir();
        if is_filled(&rootfs) {
            sandbox::open(&rootfs)?.clear()?;
        }
        drop(self.store);
        let path = self.directory.path().to_owned();
        self.directory
            .close()
            .map_err(|error| Failure::io(&format!("removing `{}`", path.display()), &error))
    }
}

/// A new directory beside the store, where packages can be hard links; elsewhere if that cannot be
/// written.
fn directory(store: &Path) -> Result<TempDir, Failure> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".kiln-verify-");
    let beside = store.parent().unwrap_or(store);
    builder
        .tempdir_in(beside)
        .or_else(|_| builder.tempdir())
        .map_err(|error| Failure::io("making a directory for a temporary store", &error))
}

/// Gives the other store the packages of `plan` that this one has and that are intact.
fn lend(plan: &Plan, from: &Store, to: &Store) -> Result<(), Failure> {
    let mut inputs: Vec<_> = plan
        .steps
        .iter()
        .flat_map(|step| &step.inputs)
        .filter(|input| !matches!(input.origin, Origin::Family(_) | Origin::Built(_)))
        .filter(|input| from.has_download(&input.sha256, input.size))
        .map(|input| input.sha256)
        .collect();
    inputs.sort_unstable();
    inputs.dedup();
    inputs.par_iter().try_for_each(|digest| {
        let (source, target) = (from.download_path(digest), to.download_path(digest));
        let failed = |error| Failure::io(&format!("reading `{}`", source.display()), &error);
        // What is damaged is fetched again.
        if sha256(&source).map_err(failed)? == *digest && fs::hard_link(&source, &target).is_err() {
            fs::copy(&source, &target).map_err(failed)?;
        }
        Ok(())
    })
}

fn sha256(path: &Path) -> std::io::Result<Digest> {
    let mut hasher = Hasher::new();
    std::io::copy(&mut fs::File::open(path)?, &mut hasher)?;
    Ok(hasher.finish())
}

/// What the build left goes with the temporary store, so `kiln debug` would not find it.
fn failed(error: BuildError) -> Failure {
    let kept = matches!(&error, BuildError::Step { source, .. } if matches!(
        source.as_ref(),
        ExecuteError::Sandbox(SandboxError::CommandFailed { state: Some(_), .. })
    ));
    let failure = Failure::from(error);
    if kept {
        failure.hint("`kiln build` fails in the same way, and keeps what `kiln debug` looks at")
    } else {
        failure
    }
}
