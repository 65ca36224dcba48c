//! The build of a plan: what is known, what must be fetched and run, and the images at the end.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{OnceLock, atomic::AtomicBool},
    time::{Duration, Instant},
};

use kiln_digest::Digest;
use kiln_fetch::{Artifact, Fetcher, Wanted};
use kiln_oci::{Image, LayerDescriptor};
use kiln_plan::{Input, Origin, Plan};
use kiln_recipe::Platform;
use kiln_sandbox::{Choice, Sandbox, has_leftovers};
use kiln_store::{ActionResult, Store};

use crate::{
    assemble, error::BuildError, event::Event, inputs::FamilyFiles, outline, schedule::Run,
};

/// How to build.
#[derive(Debug, Clone)]
pub struct Options {
    /// Steps that run at once.
    pub jobs: usize,
    /// How the sandbox works.
    pub sandbox: Choice,
    /// Run every action that executes a second time, and fail if it gives something else.
    pub twice: bool,
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
    /// Full name; images that differ in their platform alone share it.
    pub name: String,
    /// Platform.
    pub platform: Platform,
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

/// What running some steps of a plan gave.
#[derive(Debug)]
pub struct Done {
    /// The result of each step of the plan; those that nothing asked for may have none.
    pub results: Vec<Option<ActionResult>>,
    /// Which steps were run, as opposed to known.
    pub new: Vec<bool>,
    /// Where the time went.
    pub timings: Timings,
    /// How many steps were run.
    pub steps_run: usize,
    /// Files downloaded.
    pub downloads: usize,
    /// Bytes downloaded.
    pub download_bytes: u64,
}

/// What a build works with, besides the plan.
#[derive(Clone, Copy)]
pub struct Builder<'a> {
    /// Where results are looked for and written.
    pub store: &'a Store,
    /// Brings packages.
    pub fetcher: &'a Fetcher,
    /// The files of the family.
    pub family: &'a FamilyFiles,
    /// How to build.
    pub options: &'a Options,
    /// Is told what happens.
    pub events: &'a (dyn Fn(Event) + Send + Sync),
    /// Set when the user interrupts.
    pub cancelled: &'a AtomicBool,
}

impl Builder<'_> {
    /// Builds the images of `plan` into the store.
    pub fn build(&self, plan: &Plan) -> Result<Built, BuildError> {
        let roots: Vec<_> = plan
            .images
            .iter()
            .flat_map(|image| image.layers.iter().map(|layer| layer.step))
            .collect();
        let mut done = self.steps(plan, &roots)?;
        let started = Instant::now();
        let (results, new) = (&done.results, &done.new);
        let mut images = Vec::with_capacity(plan.images.len());
        let mut named = BTreeMap::<&str, Vec<Image>>::new();
        for image in &plan.images {
            let descriptors: Vec<_> = image
                .layers
                .iter()
                .filter_map(|layer| results[layer.step].as_ref()?.layer().cloned())
                .collect();
            let made = assemble::image(image, &descriptors)?;
            // A manifest is written only after this check, so one that is there has passed it.
            if !self
                .store
                .has_blob(&made.manifest_digest, made.manifest_bytes.len() as u64)
            {
                outline::check(plan, image, &descriptors, self.store)?;
            }
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
                platform: image.platform,
                manifest: made.manifest_digest,
                config: made.config_digest,
                layers,
            });
            named.entry(&image.name).or_default().push(made);
        }
        for (name, images) in named {
            assemble::put(self.store, name, &images)?;
            (self.events)(Event::ImageFinished {
                name: name.to_owned(),
            });
        }
        done.timings.assemble = started.elapsed();
        self.sweep();
        Ok(Built {
            images,
            timings: done.timings,
            steps_run: done.steps_run,
            downloads: done.downloads,
            download_bytes: done.download_bytes,
        })
    }

    /// Removes what builds have left that were killed in the sandbox. If that does not work this
    /// build is none the worse, and a later one tries again.
    fn sweep(&self) {
        let rootfs = self.store.rootfs_dir();
        if has_leftovers(&rootfs)
            && let Ok(sandbox) = Sandbox::open(&rootfs, self.options.sandbox)
        {
            let _ = sandbox.sweep();
        }
    }

    /// Runs the steps `roots` of `plan`, and what they need, as far as their results are not known.
    pub fn steps(&self, plan: &Plan, roots: &[usize]) -> Result<Done, BuildError> {
        let started = Instant::now();
        let keys: Vec<_> = plan.steps.iter().map(|step| step.key).collect();
        let mut known = self.store.results(&keys)?;
        let results: Vec<_> = keys.iter().map(|key| known.remove(key)).collect();
        let todo = demanded(plan, roots, &results);
        let mut timings = Timings {
            lookup: started.elapsed(),
            ..Timings::default()
        };
        let wanted = wanted(plan, &todo, self.store);
        let download_bytes = wanted.iter().map(|wanted| wanted.size).sum();
        let downloads = wanted.len();
        (self.events)(Event::Started {
            steps: plan.steps.len(),
            known: plan.steps.len() - todo.len(),
            downloads,
            download_bytes,
        });
        let mut new = vec![false; plan.steps.len()];
        for &step in &todo {
            new[step] = true;
        }
        let run = Run {
            plan,
            with: *self,
            sandbox: OnceLock::new(),
        };
        let results = if todo.is_empty() {
            results
        } else {
            run.steps(
                results,
                &todo,
                wanted,
                self.options.jobs.max(1),
                &mut timings,
            )?
        };
        Ok(Done {
            results,
            new,
            timings,
            steps_run: todo.len(),
            downloads,
            download_bytes,
        })
    }
}

/// The steps that must run to have the results of `roots`, in the order of the plan: what only a
/// known step would have needed is not looked at.
fn demanded(plan: &Plan, roots: &[usize], results: &[Option<ActionResult>]) -> Vec<usize> {
    let mut todo = BTreeSet::new();
    let mut open = roots.to_vec();
    while let Some(step) = open.pop() {
        if results[step].is_none() && todo.insert(step) {
            open.extend(&plan.steps[step].needs);
        }
    }
    todo.into_iter().collect()
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

/// How to fetch an input; none for files of the family.
pub(crate) fn as_wanted(input: &Input) -> Option<Wanted> {
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
        Origin::File { source, path } => (source, Artifact::File { path: path.clone() }),
        Origin::Family(_) | Origin::Built(_) => return None,
    };
    Some(Wanted {
        source: source.clone(),
        what,
        sha256: input.sha256,
        size: input.size,
    })
}
