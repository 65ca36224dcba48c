//! From a lock to the steps and images of a plan.

use std::collections::{BTreeMap, HashMap};

use kiln_digest::Digest;
use kiln_lock::{BuiltFrom, Closure, Deb, Lock, LockedImage, PackageId, Set, Wheel};
use kiln_recipe::{ComponentId, ComponentKind, Family, Platform};

use crate::{
    action::{Action, BuildProduct, Compression},
    config::{self, ImageConfig},
    draft::{Context, Draft},
    error::{PlanError, Unplanned},
    layers::{MAX_LAYERS, OWN_LAYER, Thresholds},
    source::Source,
};

/// The steps of some images, and how the images are put together from them.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Every distinct action, in the order in which images first need them.
    pub steps: Vec<Step>,
    /// The images, in the order in which they were asked for.
    pub images: Vec<ImagePlan>,
}

/// An action and what it takes to run it.
#[derive(Debug, Clone)]
pub struct Step {
    /// The action's key.
    pub key: Digest,
    /// The action.
    pub action: Action,
    /// The component that first brought it.
    pub component: ComponentId,
    /// For people: `numpy 2.4.6`, or `datascience: 61 wheels`.
    pub title: String,
    /// Its inputs, in the order of the action.
    pub inputs: Vec<Input>,
    /// The steps whose results it reads, by their places in [`Plan::steps`]; all before it.
    pub needs: Vec<usize>,
}

/// What is left to choose once there is a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlanOptions {
    /// How layers are compressed.
    pub compression: Compression,
    /// Run nothing: no maintainer scripts, no compiler, no commands of the family.
    pub pack_only: bool,
    /// Compile Python modules ahead, unless nothing is run.
    pub bytecode: bool,
}

impl Default for PlanOptions {
    /// Whole images in gzip layers.
    fn default() -> Self {
        Self {
            compression: Compression::Gzip,
            pack_only: false,
            bytecode: true,
        }
    }
}

/// A blob that a step reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// Its digest.
    pub sha256: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Where it comes from.
    pub origin: Origin,
}

impl Input {
    /// The key of the action that makes it, if one does.
    pub fn built_by(&self) -> Option<Digest> {
        match self.origin {
            Origin::Built(key) => Some(key),
            _ => None,
        }
    }
}

/// Where an input comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A Debian package of a named source.
    Deb {
        /// The source.
        source: String,
        /// The suite that listed it.
        suite: String,
        /// The path below the archive's root.
        path: String,
    },
    /// A wheel of a named source.
    Wheel {
        /// The source.
        source: String,
        /// The normalised project name.
        project: String,
        /// The file name.
        file: String,
    },
    /// A file of the family, relative to its directory.
    Family(String),
    /// A file of a named source that is nothing but files.
    File {
        /// The source.
        source: String,
        /// The path below the source's address.
        path: String,
    },
    /// The result of the action with this key: a wheel that is built from source.
    Built(Digest),
}

/// An image: its layers and its configuration.
#[derive(Debug, Clone)]
pub struct ImagePlan {
    /// Full name.
    pub name: String,
    /// Platform.
    pub platform: Platform,
    /// `YYYY-MM-DD`.
    pub date: String,
    /// Its layers, bottom first.
    pub layers: Vec<LayerUse>,
    /// Its configuration.
    pub config: ImageConfig,
    /// Paths (absolute) that packages of several layers may ship, and the package that wins.
    pub winners: BTreeMap<String, String>,
    /// The sizes in bytes from which packages have layers of their own; more than [`OWN_LAYER`]
    /// when the image would have had too many layers.
    pub thresholds: Thresholds,
}

/// One layer of an image.
#[derive(Debug, Clone)]
pub struct LayerUse {
    /// Index into [`Plan::steps`].
    pub step: usize,
    /// What was done, for the image's history: `pack`, `configure`, `compile`, `run`.
    pub verb: &'static str,
    /// What the image's history says of it: component and packages.
    pub history: String,
}

/// Plans `images` of a lock. Family and lock must agree (`kiln_lock::check`). What the family
/// switches off stays off whatever `options` say.
pub fn plan(
    family: &Family,
    lock: &Lock,
    images: &[&LockedImage],
    options: PlanOptions,
) -> Result<Plan, PlanError> {
    let (plan, unplanned) = plan_possible(family, lock, images, options);
    match unplanned.into_iter().next() {
        None => Ok(plan),
        Some(first) => Err(first.error),
    }
}

/// The [`plan`] of those of the images that have one, and why the others have none. Images of one
/// name, for several platforms, are of use together: all of them have a plan, or none.
pub fn plan_possible(
    family: &Family,
    lock: &Lock,
    images: &[&LockedImage],
    options: PlanOptions,
) -> (Plan, Vec<Unplanned>) {
    let options = PlanOptions {
        compression: options.compression,
        pack_only: options.pack_only || family.pack_only,
        bytecode: options.bytecode && family.bytecode,
    };
    let index = Index::new(lock);
    let mut drafted: Vec<Drafted> = Vec::new();
    let mut unplanned: Vec<Unplanned> = Vec::new();
    for image in images {
        if unplanned.iter().any(|it| it.names.contains(&image.name)) {
            continue;
        }
        match Drafted::of(family, &index, image, options) {
            Ok(image) => drafted.push(image),
            Err(error) => {
                drafted.retain(|other| other.plan.name != image.name);
                match unplanned.iter_mut().find(|it| it.error == error) {
                    Some(same) => same.names.push(image.name.clone()),
                    None => unplanned.push(Unplanned {
                        names: vec![image.name.clone()],
                        error,
                    }),
                }
            }
        }
    }
    let mut steps = Steps::default();
    let mut images = Vec::with_capacity(drafted.len());
    for Drafted { drafts, mut plan } in drafted {
        let layers = drafts.into_iter().filter_map(|draft| steps.intern(draft));
        plan.layers = layers.collect();
        images.push(plan);
    }
    let plan = Plan {
        steps: steps.list,
        images,
    };
    (plan, unplanned)
}

/// What there is of an image before its steps have places.
struct Drafted {
    drafts: Vec<Draft>,
    /// Without layers.
    plan: ImagePlan,
}

impl Drafted {
    fn of(
        family: &Family,
        index: &Index<'_>,
        image: &LockedImage,
        options: PlanOptions,
    ) -> Result<Self, PlanError> {
        let (drafts, thresholds) = image_drafts(family, index, image, options)?;
        let plan = ImagePlan {
            name: image.name.clone(),
            platform: image.platform,
            date: image.date.clone(),
            layers: Vec::new(),
            config: config::config(family, image, &index.closure(image)?)?,
            winners: winners(family, image),
            thresholds,
        };
        Ok(Self { drafts, plan })
    }
}

/// The lock's parts by id.
struct Index<'a> {
    sets: HashMap<&'a str, &'a Set>,
    debs: HashMap<&'a str, &'a Deb>,
    wheels: HashMap<&'a str, &'a Wheel>,
}

impl<'a> Index<'a> {
    fn new(lock: &'a Lock) -> Self {
        Self {
            sets: lock.sets.iter().map(|set| (set.id.as_str(), set)).collect(),
            debs: lock
                .debs
                .iter()
                .map(|deb| (deb.id.0.as_str(), deb))
                .collect(),
            wheels: lock
                .wheels
                .iter()
                .map(|wheel| (wheel.id.0.as_str(), wheel))
                .collect(),
        }
    }

    fn set(&self, id: &str) -> Result<&'a Set, PlanError> {
        self.sets
            .get(id)
            .copied()
            .ok_or_else(|| PlanError::Dangling(format!("set `{id}`")))
    }

    /// Every package of an image.
    fn closure(&self, image: &LockedImage) -> Result<Closure<'a>, PlanError> {
        let mut closure = Closure::default();
        for id in &image.sets {
            let set = self.set(id)?;
            closure.debs.extend(self.debs(&set.debs)?);
            closure.wheels.extend(self.wheels(&set.wheels)?);
        }
        Ok(closure)
    }

    fn debs(&self, ids: &[PackageId]) -> Result<Vec<&'a Deb>, PlanError> {
        find(&self.debs, ids)
    }

    fn wheels(&self, ids: &[PackageId]) -> Result<Vec<&'a Wheel>, PlanError> {
        find(&self.wheels, ids)
    }

    /// All that a wheel is built from.
    fn source(&self, wheel: &'a Wheel, from: &'a BuiltFrom) -> Result<Source<'a>, PlanError> {
        Ok(Source {
            project: &wheel.name,
            version: &wheel.version,
            source: &wheel.source,
            from,
            base: self.debs(&self.set(&from.base)?.debs)?,
            debs: self.debs(&from.debs)?,
            requirements: self.wheels(&from.requirements)?,
        })
    }
}

fn find<'a, P>(
    packages: &HashMap<&str, &'a P>,
    ids: &[PackageId],
) -> Result<Vec<&'a P>, PlanError> {
    let missing = |id| PlanError::Dangling(format!("package `{id}`"));
    ids.iter()
        .map(|id| {
            packages
                .get(id.0.as_str())
                .copied()
                .ok_or_else(|| missing(id))
        })
        .collect()
}

/// What the components of an image say of paths that several packages ship.
fn winners(family: &Family, image: &LockedImage) -> BTreeMap<String, String> {
    let components = family.components(&image.combination());
    components
        .into_iter()
        .flat_map(|component| component.winners.clone())
        .collect()
}

/// The steps of drafts, each once.
pub(crate) fn in_order(drafts: Vec<Draft>) -> Vec<Step> {
    let mut steps = Steps::default();
    for draft in drafts {
        steps.intern(draft);
    }
    steps.list
}

/// The steps so far; a key stands once.
#[derive(Default)]
struct Steps {
    list: Vec<Step>,
    by_key: HashMap<Digest, usize>,
}

impl Steps {
    /// Adds the draft's step, unless it is there, and gives the layer that the image has of it.
    fn intern(&mut self, draft: Draft) -> Option<LayerUse> {
        let Draft {
            key,
            action,
            component,
            title,
            inputs,
            history,
        } = draft;
        let verb = action.kind.verb();
        let step = self.by_key.get(&key).copied().unwrap_or_else(|| {
            // A draft stands after those that it needs; `drafts_at` sees to it.
            let mut needs = action.needs();
            needs.extend(inputs.iter().filter_map(Input::built_by));
            let needs = needs.iter().filter_map(|key| self.by_key.get(key).copied());
            let needs = needs.collect();
            self.list.push(Step {
                key,
                action,
                component,
                title,
                inputs,
                needs,
            });
            self.by_key.insert(key, self.list.len() - 1);
            self.list.len() - 1
        });
        history.map(|history| LayerUse {
            step,
            verb,
            history,
        })
    }
}

/// The drafts of an image, bottom layer first, and the thresholds that made them few enough.
fn image_drafts(
    family: &Family,
    index: &Index<'_>,
    image: &LockedImage,
    options: PlanOptions,
) -> Result<(Vec<Draft>, Thresholds), PlanError> {
    let mut thresholds = OWN_LAYER;
    loop {
        let drafts = drafts_at(family, index, image, options, thresholds)?;
        let layers = drafts.iter().filter(|draft| draft.is_layer()).count();
        if layers <= MAX_LAYERS {
            return Ok((drafts, thresholds));
        }
        thresholds = thresholds
            .doubled()
            .ok_or_else(|| PlanError::TooManyLayers {
                image: image.name.clone(),
                layers,
            })?;
    }
}

/// A draft stands after all whose results it reads.
fn drafts_at(
    family: &Family,
    index: &Index<'_>,
    image: &LockedImage,
    options: PlanOptions,
    thresholds: Thresholds,
) -> Result<Vec<Draft>, PlanError> {
    let mut context = Context::new(family, image, options)?;
    let base = Context::of_base(family, &image.base, image.platform, PlanOptions::default())?;
    let sets = image
        .sets
        .iter()
        .map(|id| index.set(id))
        .collect::<Result<Vec<_>, _>>()?;
    let last_with_debs = sets.iter().rposition(|set| !set.debs.is_empty());
    let mut drafts = Vec::new();
    let mut installed = Closure::default();
    // Keys of the layers of the operating system so far.
    let mut system = Vec::new();
    // What compiles modules.
    let mut runtime = None;
    for (position, set) in sets.iter().enumerate() {
        let component = context.component(&set.component)?;
        let debs = index.debs(&set.debs)?;
        let mut packed = context.debs(component, &debs, thresholds.deb);
        system.extend(packed.iter().map(|draft| draft.key));
        installed.debs.extend(&debs);
        if options.pack_only {
            if last_with_debs == Some(position) {
                packed.push(context.database(component, &installed.debs));
            }
        } else if !debs.is_empty() {
            let configure = context.configure(component, &debs, &system, &packed);
            system.push(configure.key);
            packed.push(configure);
        }
        drafts.extend(packed);
        if set.component.kind == ComponentKind::Base {
            drafts.push(context.venv(component));
            runtime = context.runtime(component, &debs);
            drafts.extend(runtime.clone());
        }
        let wheels = index.wheels(&set.wheels)?;
        installed.wheels.extend(&wheels);
        for wheel in &wheels {
            if let Some(from) = &wheel.built_from {
                let source = index.source(wheel, from)?;
                let built = base.build_from(&source, BuildProduct::Wheel);
                let key = built.last().map(|draft| draft.key);
                context.built.extend(key.map(|key| (&wheel.id, key)));
                drafts.extend(built);
            }
        }
        drafts.extend(context.wheels(component, &wheels, thresholds.wheel, runtime.as_ref()));
        // An accelerator that requires Python packages has a second set, above the bundles: its
        // files lie over these packages, and its commands find them.
        let is_last = sets[position + 1..]
            .iter()
            .all(|above| above.component != set.component);
        if !is_last {
            continue;
        }
        drafts.extend(context.files(component));
        if !options.pack_only {
            for run in &component.runs {
                let below = drafts.iter().filter(|draft| draft.is_layer());
                let below = below.map(|draft| draft.key).collect();
                drafts.push(context.run(component, run, below, &installed)?);
            }
        }
    }
    Ok(drafts)
}
