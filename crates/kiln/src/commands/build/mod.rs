//! `kiln build`: images into the store.

mod summary;

use std::{
    cell::OnceCell,
    collections::BTreeSet,
    sync::{Arc, atomic::AtomicBool},
    thread::available_parallelism,
    time::Instant,
};

use kiln_build::{Builder, Built, BuiltImage, Event, FamilyFiles, Options, Setback};
use kiln_plan::{Plan, Unplanned};
use kiln_store::Store;

use crate::{
    args::{Build, Global},
    commands::{debug, lock, plan},
    error::Failure,
    exit, interrupt,
    output::{Output, bytes, count},
    progress::Reporter,
    project::{self, Project},
    sandbox,
};

/// Threads that unpack archives side by side. More would hold more memory than a build may: the
/// dictionary of an xz decoder takes up to 64 MiB.
const UNPACKERS: usize = 4;

pub(crate) fn run(args: &Build, global: &Global, output: &Output) -> Result<(), Failure> {
    let cancelled = OnceCell::new();
    let mut first = None;
    for (global, selectors) in project::by_release(global, &args.selection.images)? {
        match of_release(args, &selectors, &global, output, &cancelled) {
            Ok(()) => {}
            Err(failure) if ends_all(&failure) => {
                if let Some((first, selectors)) = first {
                    output.failure(&Failure::of_images(first, selectors));
                }
                return Err(failure);
            }
            Err(failure) if first.is_none() => first = Some((failure, selectors)),
            Err(failure) => output.failure(&failure.of_images(selectors)),
        }
    }
    first.map_or(Ok(()), |(failure, _)| Err(failure))
}

/// Whether other releases would fail in the same way, or the user wants none.
fn ends_all(failure: &Failure) -> bool {
    let codes = [exit::INTERRUPTED, exit::STORAGE, exit::INTERNAL];
    codes.contains(&failure.code)
}

/// Builds images of one release. All releases have one flag for interrupts, which is made once
/// something can be interrupted.
fn of_release(
    args: &Build,
    selectors: &[String],
    global: &Global,
    output: &Output,
    cancelled: &OnceCell<Arc<AtomicBool>>,
) -> Result<(), Failure> {
    let started = Instant::now();
    let jobs = jobs(args.jobs);
    let project = Project::open(global)?;
    let store = project::store(global)?;
    let fetcher = project.fetcher(global)?;
    if args.relock_gone {
        lock::relock_gone(&project, &store, &fetcher, global, output)?;
    }
    let lock = project.fitting_lock()?;
    let images = project.select(&lock, selectors, args.selection.all)?;
    let (plan, unplanned) = kiln_plan::plan_possible(
        &project.family,
        &lock,
        &images,
        plan::options(&args.layers, &project.family)?,
    );
    let reporter = Reporter::new(output, &plan);
    for it in &unplanned {
        reporter.event(&Event::GivenUp {
            images: it.names.clone(),
            why: it.error.to_string(),
            left: images_of(&plan),
        });
    }
    let built = Builder {
        store: &store,
        fetcher: &fetcher,
        family: &FamilyFiles {
            root: project.dir.clone(),
        },
        options: &Options {
            jobs,
            sandbox: sandbox::choice()?,
            twice: args.twice,
        },
        events: &|event| reporter.event(&event),
        cancelled: cancelled.get_or_init(interrupt::flag),
    }
    .build(&plan);
    reporter.finish();
    let mut built = built?;
    leave_out(&mut built, unplanned);
    let noted = note(&store, &plan, &built);
    let told = report(&project, built, started, output);
    if let (Err(failure), Err(_)) = (&noted, &told) {
        output.warning(&failure.message);
    }
    told.and(noted)
}

/// How many images there are, for one platform or several.
fn images_of(plan: &Plan) -> usize {
    let names: BTreeSet<_> = plan.images.iter().map(|image| &image.name).collect();
    names.len()
}

/// Counts images without a plan among those that were to be built.
fn leave_out(built: &mut Built, unplanned: Vec<Unplanned>) {
    for Unplanned { names, error } in unplanned {
        let goals = built.names.len()..built.names.len() + names.len();
        built.names.extend(names);
        built.setbacks.push(Setback {
            error: error.into(),
            goals: goals.collect(),
        });
    }
}

/// Notes what failed steps have left, and removes what earlier ones did that succeed now.
fn note(store: &Store, plan: &Plan, built: &Built) -> Result<(), Failure> {
    let setbacks = built.setbacks.iter().map(|it| &it.error);
    for error in setbacks.chain(&built.ended) {
        debug::note(store, error)?;
    }
    if built.ended.is_none() {
        debug::forget(store, plan)?;
    }
    Ok(())
}

/// Says what was built and what was not.
fn report(
    project: &Project,
    mut built: Built,
    started: Instant,
    output: &Output,
) -> Result<(), Failure> {
    if let Some(error) = built.ended.take() {
        failures(&mut built, output);
        return Err(error.into());
    }
    if built.names.len() == 1 {
        let built = built.whole()?;
        summary::show(&built, 0, output);
        if !output.is_json() {
            output.note(times(&built, started.elapsed().as_secs_f64()));
            next(project, &built.images[0], output);
        }
        return Ok(());
    }
    let (missing, code) = failures(&mut built, output);
    summary::show(&built, missing, output);
    if !output.is_json() {
        output.note(times(&built, started.elapsed().as_secs_f64()));
    }
    match code {
        None => Ok(()),
        Some(code) => Err(Failure::new(
            code,
            format!(
                "{missing} of {} were not built",
                count(built.names.len(), "image")
            ),
        )),
    }
}

/// Shows why images were not built: how many, and the first exit code.
fn failures(built: &mut Built, output: &Output) -> (usize, Option<u8>) {
    let mut code = None;
    let mut missing = 0;
    for setback in std::mem::take(&mut built.setbacks) {
        let names = setback.goals.iter().map(|&goal| built.names[goal].clone());
        let failure = Failure::from(setback.error).of_images(names);
        missing += failure.images.len();
        code.get_or_insert(failure.code);
        output.failure(&failure);
    }
    (missing, code)
}

/// How many steps run at once; also bounds the threads that unpack archives.
pub(crate) fn jobs(asked: Option<u16>) -> usize {
    let cores = || available_parallelism().map_or(1, std::num::NonZero::get);
    let jobs = asked.map_or_else(cores, usize::from);
    // Fails only when there is a pool already, and nothing has made one yet.
    let _ = rayon::ThreadPoolBuilder::new()
        .num_threads(jobs.min(UNPACKERS))
        .build_global();
    jobs
}

fn times(built: &Built, total: f64) -> String {
    let times = &built.timings;
    let downloads = if built.downloads == 0 {
        String::new()
    } else {
        format!(
            ", {:.1} s until {} ({}) had arrived",
            times.download.as_secs_f64(),
            count(built.downloads, "download"),
            bytes(built.download_bytes),
        )
    };
    let building = if built.steps_run == 0 {
        String::new()
    } else {
        format!(", {:.1} s building", times.pack.as_secs_f64())
    };
    format!(
        "built {} in {total:.2} s: {:.3} s looking up {}{downloads}{building}, {:.3} s assembling",
        count(built.images.len(), "image"),
        times.lookup.as_secs_f64(),
        "what is known",
        times.assemble.as_secs_f64(),
    )
}

/// What to type next.
fn next(project: &Project, image: &BuiltImage, output: &Output) {
    let short = image.name.split('_').next().unwrap_or(&image.name);
    let port = project
        .family
        .images
        .iter()
        .filter(|combination| short.contains(&combination.ide))
        .find_map(|combination| project.family.ides.get(&combination.ide)?.port);
    let reference = format!("{}:{}", project.family.repository, image.name);
    let (run, docker) = match port {
        Some(port) => (short.to_owned(), format!("-p {port}:{port} {reference}")),
        None => (
            format!("{short} -- python"),
            format!("-it {reference} python"),
        ),
    };
    output.note(format!("next: kiln run {run}"));
    output.note(format!("  or: kiln load docker {short}"));
    output.note(format!("      docker run {docker}"));
}
