//! `kiln lint`: what is wrong with a locked family, before anything is built.

use crate::{
    args::{self, Global},
    error::Failure,
    lints::{Download, Linter},
    output::Output,
    project::{self, Project},
};

pub(crate) fn run(args: &args::Lint, global: &Global, output: &Output) -> Result<(), Failure> {
    let global = &project::of_one_release(global, &args.images)?;
    let project = Project::open(global)?;
    let lock = project.fitting_lock()?;
    let images = project.select(&lock, &args.images, args.images.is_empty())?;
    let store = project::store(global)?;
    let fetcher = project.fetcher(global)?;
    let linter = Linter {
        project: &project,
        store: &store,
        fetcher: &fetcher,
        output,
        download: Download::All,
        offline: global.offline,
    };
    linter.run(&lock, &images)
}
