//! The build of a plan: what is known, what must be fetched and run, and the images at the end.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{OnceLock, atomic::AtomicBool},
    time::{Duration, Instant},
};

use kiln_digest::Digest;
use kiln_fetch::{Artifact, Fetcher, Wanted};
use kiln_oci::LayerDescriptor;
use kiln_plan::{Input, Origin, Plan};
use kiln_recipe::Platform;
use kiln_sandbox::{Choice, Sandbox, has_leftovers};
use kiln_store::{ActionResult, Store};

use crate::{
    assemble,
    error::BuildError,
    event::Event,
    goals::{self, Goal, Setback},
    inputs::FamilyFiles,
    outline,
    schedule::{Outcome, Run},
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
#[derive(Debug)]
pub struct Built {
    /// The images that were built, in the order of the plan.
    pub images: Vec<BuiltImage>,
    /// Why the others were not, in the order in which that was found; their goals are places in
    /// [`Built::names`].
    pub setbacks: Vec<Setback>,
    /// What ended the build before all images were tried.
    pub ended: Option<BuildError>,
    /// The names of all images of the plan, each once.
    pub names: Vec<String>,
    /// Where the time went.
    pub timings: Timings,
    /// Steps that were run, as opposed to known.
    pub steps_run: usize,
    /// Files downloaded.
    pub downloads: usize,
    /// Bytes downloaded.
    pub download_bytes: u64,
}

impl Built {
    /// The build of all images: what ended it, or the first failure, if there was one.
    pub fn whole(mut self) -> Result<Self, BuildError> {
        if let Some(error) = self.ended.take() {
            return Err(error);
        }
        if self.setbacks.is_empty() {
            return Ok(self);
        }
        Err(self.setbacks.swap_remove(0).error)
    }
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

/// How far a build came with its goals.
struct Reached {
    done: Done,
    setbacks: Vec<Setback>,
    /// What ended everything.
    ended: Option<BuildError>,
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
    /// Builds the images of `plan` into the store. An image that cannot be built does not stop
    /// the others ([`Built::setbacks`]), and what ends everything hides no other failure
    /// ([`Built::ended`]); an error comes before any step.
    pub fn build(&self, plan: &Plan) -> Result<Built, BuildError> {
        let mut names = Vec::<String>::new();
        let mut goals = Vec::<Goal>::new();
        let mut goal_of = Vec::with_capacity(plan.images.len());
        for image in &plan.images {
            // Images for several platforms are of use together: one name means all of them.
            let goal = names.iter().position(|name| *name == image.name);
            let goal = goal.unwrap_or_else(|| {
                names.push(image.name.clone());
                goals.push(Goal {
                    name: image.name.clone(),
                    steps: Vec::new(),
                });
                goals.len() - 1
            });
            let layers = image.layers.iter().map(|layer| layer.step);
            goals[goal].steps.extend(layers);
            goal_of.push(goal);
        }
        let Reached {
            mut done,
            mut setbacks,
            mut ended,
        } = self.goals(plan, &goals)?;
        let started = Instant::now();
        let mut images = Vec::with_capacity(plan.images.len());
        for (goal, name) in names.iter().enumerate() {
            if ended.is_some() {
                break;
            }
            if setbacks.iter().any(|it| it.goals.contains(&goal)) {
                continue;
            }
            let places = (0..plan.images.len()).filter(|&place| goal_of[place] == goal);
            match self.assemble(plan, name, places, &done) {
                Ok(built) => images.extend(built),
                Err(error) if error.concerns_all() => ended = Some(error),
                Err(error) => {
                    let why = error.to_string();
                    setbacks.push(Setback {
                        error,
                        goals: vec![goal],
                    });
                    (self.events)(Event::GivenUp {
                        images: vec![name.clone()],
                        why,
                        left: goals::left(names.len(), &setbacks),
                    });
                }
            }
        }
        images.sort_by_key(|(place, _)| *place);
        done.timings.assemble = started.elapsed();
        if ended.is_none() {
            self.sweep();
        }
        Ok(Built {
            images: images.into_iter().map(|(_, image)| image).collect(),
            setbacks,
            ended,
            names,
            timings: done.timings,
            steps_run: done.steps_run,
            downloads: done.downloads,
            download_bytes: done.download_bytes,
        })
    }

    /// Puts the images of one name together, for each platform, and gives them the name.
    fn assemble(
        &self,
        plan: &Plan,
        name: &str,
        places: impl Iterator<Item = usize>,
        done: &Done,
    ) -> Result<Vec<(usize, BuiltImage)>, BuildError> {
        let mut images = Vec::new();
        let mut documents = Vec::new();
        for place in places {
            let image = &plan.images[place];
            let descriptors: Vec<_> = image
                .layers
                .iter()
                .filter_map(|layer| done.results[layer.step].as_ref()?.layer().cloned())
                .collect();
            let made = assemble::image(image, &descriptors)?;
            // A manifest is written only after this check, so one that is there has passed it.
            if !self
                .store
                .has_blob(&made.manifest_digest, made.manifest_bytes.len() as u64)
            {
                outline::check(plan, image, &descriptors, self.store)?;
            }
            let layers = image.layers.iter().zip(descriptors);
            let layers = layers.map(|(layer, descriptor)| BuiltLayer {
                descriptor,
                new: done.new[layer.step],
            });
            let built = BuiltImage {
                name: image.name.clone(),
                platform: image.platform,
                manifest: made.manifest_digest,
                config: made.config_digest,
                layers: layers.collect(),
            };
            images.push((place, built));
            documents.push(made);
        }
        assemble::put(self.store, name, &documents)?;
        (self.events)(Event::ImageFinished {
            name: name.to_owned(),
        });
        Ok(images)
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
        let goal = Goal {
            name: String::new(),
            steps: roots.to_vec(),
        };
        let reached = self.goals(plan, &[goal])?;
        let setback = reached.setbacks.into_iter().next();
        match reached.ended.or(setback.map(|it| it.error)) {
            Some(error) => Err(error),
            None => Ok(reached.done),
        }
    }

    /// Runs what is missing for each goal.
    fn goals(&self, plan: &Plan, goals: &[Goal]) -> Result<Reached, BuildError> {
        let started = Instant::now();
        let keys: Vec<_> = plan.steps.iter().map(|step| step.key).collect();
        let mut known = self.store.results(&keys)?;
        let results: Vec<_> = keys.iter().map(|key| known.remove(key)).collect();
        let todo: Vec<_> = goals
            .iter()
            .map(|goal| demanded(plan, &goal.steps, &results))
            .collect();
        let all: BTreeSet<usize> = todo.iter().flatten().copied().collect();
        let mut timings = Timings {
            lookup: started.elapsed(),
            ..Timings::default()
        };
        let wanted = wanted(plan, &all, self.store);
        let download_bytes = wanted.iter().map(|wanted| wanted.size).sum();
        let downloads = wanted.len();
        (self.events)(Event::Started {
            steps: plan.steps.len(),
            known: plan.steps.len() - all.len(),
            downloads,
            download_bytes,
        });
        let run = Run {
            plan,
            goals,
            with: *self,
            sandbox: OnceLock::new(),
        };
        let Outcome {
            results,
            setbacks,
            ended,
        } = if all.is_empty() {
            Outcome {
                results,
                setbacks: Vec::new(),
                ended: None,
            }
        } else {
            run.steps(results, todo, wanted, &mut timings)
        };
        let mut new = vec![false; plan.steps.len()];
        for &step in all.iter().filter(|&&step| results[step].is_some()) {
            new[step] = true;
        }
        let done = Done {
            steps_run: new.iter().filter(|&&new| new).count(),
            results,
            new,
            timings,
            downloads,
            download_bytes,
        };
        Ok(Reached {
            done,
            setbacks,
            ended,
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
fn wanted(plan: &Plan, todo: &BTreeSet<usize>, store: &Store) -> Vec<Wanted> {
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
