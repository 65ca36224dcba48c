//! Runs the steps of a plan that are not known yet.

use std::{
    collections::{BinaryHeap, HashMap},
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use kiln_digest::Digest;
use kiln_fetch::{Artifact, Fetcher, Wanted};
use kiln_oci::LayerDescriptor;
use kiln_plan::{Input, Origin, Plan, Step};
use kiln_store::{ActionResult, Store};

use crate::{
    assemble,
    error::BuildError,
    event::Event,
    execute::execute,
    inputs::{self, FamilyFiles},
};

/// Bytes that the running steps together may hold in anonymous memory.
const MEMORY_BUDGET: u64 = 256 << 20;

/// What a step may hold: a layer writer's buffers at most, and never more than a few times its
/// input.
fn memory(step: &Step) -> u64 {
    let input: u64 = step.inputs.iter().map(|input| input.size).sum();
    input.saturating_mul(4).clamp(4 << 20, 96 << 20)
}

/// How to build.
#[derive(Debug, Clone)]
pub struct Options {
    /// Steps that run at once.
    pub jobs: usize,
}

/// Where the time went. Downloading and packing overlap.
#[derive(Debug, Clone, Copy, Default)]
pub struct Timings {
    /// Asking the store what is known.
    pub lookup: Duration,
    /// Until the last download was there.
    pub download: Duration,
    /// From the first step's start to the last step's end.
    pub pack: Duration,
    /// Making configurations and manifests.
    pub assemble: Duration,
}

/// What a build made.
#[derive(Debug, Clone)]
pub struct Built {
    /// The images, in the order of the plan.
    pub images: Vec<BuiltImage>,
    /// Where the time went.
    pub timings: Timings,
    /// Steps that were run, as opposed to known.
    pub steps_run: usize,
    /// Files downloaded.
    pub downloads: usize,
    /// Bytes downloaded.
    pub download_bytes: u64,
}

/// One image of a build.
#[derive(Debug, Clone)]
pub struct BuiltImage {
    /// Full name.
    pub name: String,
    /// Digest of the manifest.
    pub manifest: Digest,
    /// Digest of the configuration (Docker's image id).
    pub config: Digest,
    /// Its layers, bottom first.
    pub layers: Vec<BuiltLayer>,
}

/// One layer of a built image.
#[derive(Debug, Clone)]
pub struct BuiltLayer {
    /// The layer.
    pub descriptor: LayerDescriptor,
    /// Whether this build made it.
    pub new: bool,
}

/// Builds the images of `plan` into `store`.
pub fn build(
    plan: &Plan,
    store: &Store,
    fetcher: &Fetcher,
    family: &FamilyFiles,
    options: &Options,
    events: &(dyn Fn(Event) + Send + Sync),
    cancelled: &AtomicBool,
) -> Result<Built, BuildError> {
    let started = Instant::now();
    let keys: Vec<_> = plan.steps.iter().map(|step| step.key).collect();
    let mut known = store.results(&keys)?;
    let layer = |ActionResult::Layer(descriptor)| descriptor;
    let results: Vec<_> = keys.iter().map(|key| known.remove(key).map(layer)).collect();
    let todo: Vec<_> = (0..plan.steps.len())
        .filter(|&step| results[step].is_none())
        .collect();
    let mut timings = Timings {
        lookup: started.elapsed(),
        ..Timings::default()
    };

    let wanted = wanted(plan, &todo, store);
    let download_bytes = wanted.iter().map(|wanted| wanted.size).sum();
    let downloads = wanted.len();
    events(Event::Started {
        steps: plan.steps.len(),
        known: plan.steps.len() - todo.len(),
        downloads,
        download_bytes,
    });

    let new: Vec<_> = results.iter().map(Option::is_none).collect();
    let run = Run {
        plan,
        store,
        fetcher,
        family,
        events,
        cancelled,
    };
    let results = if todo.is_empty() {
        results
    } else {
        run.steps(results, &todo, wanted, options.jobs.max(1), &mut timings)?
    };

    let started = Instant::now();
    let mut images = Vec::with_capacity(plan.images.len());
    for image in &plan.images {
        let descriptors: Vec<_> = image
            .layers
            .iter()
            .filter_map(|layer| results[layer.step].clone())
            .collect();
        let (manifest, config) = assemble::put(store, image, &descriptors)?;
        let layers = image
            .layers
            .iter()
            .zip(descriptors)
            .map(|(layer, descriptor)| BuiltLayer {
                descriptor,
                new: new[layer.step],
            })
            .collect();
        images.push(BuiltImage {
            name: image.name.clone(),
            manifest,
            config,
            layers,
        });
        events(Event::ImageFinished {
            name: image.name.clone(),
        });
    }
    timings.assemble = started.elapsed();
    Ok(Built {
        images,
        timings,
        steps_run: todo.len(),
        downloads,
        download_bytes,
    })
}

/// The packages that the steps `todo` read and that are not in the store, each once.
fn wanted(plan: &Plan, todo: &[usize], store: &Store) -> Vec<Wanted> {
    let mut inputs: HashMap<Digest, &Input> = HashMap::new();
    for &step in todo {
        inputs.extend(
            plan.steps[step]
                .inputs
                .iter()
                .map(|input| (input.sha256, input)),
        );
    }
    let mut wanted: Vec<_> = inputs
        .into_values()
        .filter(|input| !store.has_download(&input.sha256, input.size))
        .filter_map(as_wanted)
        .collect();
    wanted.sort_by(|a, b| b.size.cmp(&a.size).then(a.sha256.cmp(&b.sha256)));
    wanted
}

fn as_wanted(input: &Input) -> Option<Wanted> {
    let (source, what) = match &input.origin {
        Origin::Deb {
            source,
            suite,
            path,
        } => (
            source,
            Artifact::Deb {
                suite: suite.clone(),
                path: path.clone(),
            },
        ),
        Origin::Wheel {
            source,
            project,
            file,
        } => (
            source,
            Artifact::Python {
                project: project.clone(),
                file: file.clone(),
            },
        ),
        Origin::Family(_) => return None,
    };
    Some(Wanted {
        source: source.clone(),
        what,
        sha256: input.sha256,
        size: input.size,
    })
}

/// What does not change while a build runs.
struct Run<'a> {
    plan: &'a Plan,
    store: &'a Store,
    fetcher: &'a Fetcher,
    family: &'a FamilyFiles,
    events: &'a (dyn Fn(Event) + Send + Sync),
    cancelled: &'a AtomicBool,
}

/// What changes while a build runs.
struct State {
    /// Size of inputs and index of the steps that can run; the largest first.
    ready: BinaryHeap<(u64, std::cmp::Reverse<usize>)>,
    /// For each step, how many of its inputs are not there yet.
    missing: Vec<usize>,
    /// Steps that have not ended.
    unfinished: usize,
    /// Bytes that running steps may hold.
    memory: u64,
    results: Vec<Option<LayerDescriptor>>,
    failure: Option<BuildError>,
    packing: Option<(Instant, Instant)>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A worker that panicked has recorded nothing; what others recorded is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fail(&self, error: BuildError) {
        self.lock().failure.get_or_insert(error);
        self.changed.notify_all();
    }
}

impl Run<'_> {
    fn steps(
        &self,
        results: Vec<Option<LayerDescriptor>>,
        todo: &[usize],
        wanted: Vec<Wanted>,
        jobs: usize,
        timings: &mut Timings,
    ) -> Result<Vec<Option<LayerDescriptor>>, BuildError> {
        let started = Instant::now();
        let mut waiting: HashMap<Digest, Vec<usize>> = wanted
            .iter()
            .map(|wanted| (wanted.sha256, Vec::new()))
            .collect();
        let mut missing = vec![0; self.plan.steps.len()];
        for &step in todo {
            let mut digests = self.plan.steps[step].action.inputs();
            digests.sort();
            digests.dedup();
            for digest in digests {
                if let Some(steps) = waiting.get_mut(&digest) {
                    steps.push(step);
                    missing[step] += 1;
                }
            }
        }
        let ready = todo.iter().filter(|&&step| missing[step] == 0);
        let ready = ready.map(|&step| self.priority(step)).collect();
        let shared = Shared {
            state: Mutex::new(State {
                ready,
                missing,
                unfinished: todo.len(),
                memory: 0,
                results,
                failure: None,
                packing: None,
            }),
            changed: Condvar::new(),
        };
        std::thread::scope(|scope| {
            for _ in 0..jobs.min(todo.len()) {
                scope.spawn(|| self.work(&shared));
            }
            self.download(&shared, wanted, &waiting);
            timings.download = if waiting.is_empty() {
                Duration::ZERO
            } else {
                started.elapsed()
            };
        });
        let state = shared
            .state
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        timings.pack = state
            .packing
            .map_or(Duration::ZERO, |(first, last)| last - first);
        match state.failure {
            Some(error) => Err(error),
            None if state.unfinished > 0 => Err(BuildError::Interrupted),
            None => Ok(state.results),
        }
    }

    fn priority(&self, step: usize) -> (u64, std::cmp::Reverse<usize>) {
        let size = self.plan.steps[step]
            .inputs
            .iter()
            .map(|input| input.size)
            .sum();
        (size, std::cmp::Reverse(step))
    }

    /// Downloads and makes steps ready, until all is there or something failed.
    fn download(
        &self,
        shared: &Shared,
        wanted: Vec<Wanted>,
        waiting: &HashMap<Digest, Vec<usize>>,
    ) {
        if wanted.is_empty() {
            return;
        }
        let (sender, events) = std::sync::mpsc::channel();
        let received = self
            .fetcher
            .download(wanted, &self.store.downloads_dir(), move |event| {
                // Nobody listens any more once the build has failed.
                let _ = sender.send(event);
            });
        std::thread::scope(|scope| {
            scope.spawn(move || {
                events
                    .into_iter()
                    .for_each(|event| (self.events)(Event::Fetch(event)))
            });
            let mut left = waiting.len();
            while left > 0 {
                if self.cancelled.load(Ordering::Relaxed) || shared.lock().failure.is_some() {
                    break;
                }
                match received.next_within(Duration::from_millis(200)) {
                    Some((digest, Ok(_))) => {
                        left -= 1;
                        self.arrived(shared, waiting.get(&digest).map_or(&[], Vec::as_slice));
                    }
                    Some((_, Err(error))) => {
                        shared.fail(error.into());
                        break;
                    }
                    None => {}
                }
            }
            // Dropping the receiver ends what is still under way.
            drop(received);
        });
    }

    fn arrived(&self, shared: &Shared, steps: &[usize]) {
        let mut state = shared.lock();
        for &step in steps {
            state.missing[step] -= 1;
            if state.missing[step] == 0 {
                state.ready.push(self.priority(step));
            }
        }
        drop(state);
        shared.changed.notify_all();
    }

    /// A worker: runs ready steps until none is left.
    fn work(&self, shared: &Shared) {
        while let Some(step) = self.next(shared) {
            let started = Instant::now();
            let title = &self.plan.steps[step].title;
            (self.events)(Event::StepStarted {
                step,
                title: title.clone(),
            });
            let result = self.run(&self.plan.steps[step]);
            let mut state = shared.lock();
            state.memory -= memory(&self.plan.steps[step]);
            let first = state
                .packing
                .map_or(started, |(first, _)| first.min(started));
            state.packing = Some((first, Instant::now()));
            match result {
                Ok(descriptor) => {
                    let size = descriptor.size;
                    state.results[step] = Some(descriptor);
                    state.unfinished -= 1;
                    drop(state);
                    let (title, took) = (title.clone(), started.elapsed());
                    (self.events)(Event::StepFinished {
                        step,
                        title,
                        size,
                        took,
                    });
                }
                Err(error) => {
                    state.failure.get_or_insert(error);
                }
            }
            shared.changed.notify_all();
        }
    }

    /// The next step to run; none when all have ended, one failed, or the user interrupts.
    fn next(&self, shared: &Shared) -> Option<usize> {
        let mut state = shared.lock();
        loop {
            let interrupted = self.cancelled.load(Ordering::Relaxed);
            if interrupted || state.failure.is_some() || state.unfinished == 0 {
                return None;
            }
            if let Some(&(_, std::cmp::Reverse(step))) = state.ready.peek() {
                let needed = memory(&self.plan.steps[step]);
                if state.memory == 0 || state.memory + needed <= MEMORY_BUDGET {
                    state.ready.pop();
                    state.memory += needed;
                    return Some(step);
                }
            }
            // Woken by whatever changes; the timeout is for the interrupt, which only sets a flag.
            let waited = shared
                .changed
                .wait_timeout(state, Duration::from_millis(200));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Runs one step; when its inputs have rotted in the store, fetches them again and tries once
    /// more.
    fn run(&self, step: &Step) -> Result<LayerDescriptor, BuildError> {
        match self.attempt(step) {
            Err(BuildError::Step { source, .. })
                if source.blames_input() && self.repair(step)? =>
            {
                self.attempt(step)
            }
            result => result,
        }
    }

    fn attempt(&self, step: &Step) -> Result<LayerDescriptor, BuildError> {
        let family: HashMap<Digest, &str> = step
            .inputs
            .iter()
            .filter_map(|input| match &input.origin {
                Origin::Family(path) => Some((input.sha256, path.as_str())),
                _ => None,
            })
            .collect();
        let open = |digest: &Digest| match family.get(digest) {
            Some(path) => self.family.read(path, digest),
            None => inputs::map_download(self.store, digest),
        };
        let mut writer = self.store.blob_writer()?;
        let summary = execute(&step.action, &open, &self.store.spool_dir(), &mut writer).map_err(
            |source| BuildError::Step {
                title: step.title.clone(),
                source,
            },
        )?;
        let descriptor = assemble::descriptor(&summary, step.action.compression);
        writer.commit(&descriptor.digest, descriptor.size)?;
        self.store.record(&step.key, &ActionResult::Layer(descriptor.clone()))?;
        Ok(descriptor)
    }

    /// Fetches inputs that are no longer what was downloaded. Whether there were any.
    fn repair(&self, step: &Step) -> Result<bool, BuildError> {
        let rotten: Vec<_> = step
            .inputs
            .iter()
            .filter(|input| !inputs::is_intact(self.store, &input.sha256))
            .filter_map(as_wanted)
            .collect();
        for wanted in &rotten {
            let what = wanted.name().to_owned();
            (self.events)(Event::Repaired { what });
            self.store.remove_download(&wanted.sha256)?;
        }
        let repaired = !rotten.is_empty();
        let received = self
            .fetcher
            .download(rotten, &self.store.downloads_dir(), |_| {});
        for (_, result) in received {
            result?;
        }
        Ok(repaired)
    }
}
