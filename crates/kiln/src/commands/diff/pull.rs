//! The layers of two sides, and what must be pulled for one by who has the other.

use std::collections::{BTreeMap, BTreeSet};

use kiln_digest::Digest;
use kiln_lock::{Lock, LockedImage};
use kiln_plan::{Plan, PlanOptions};
use kiln_recipe::Family;
use kiln_store::{ActionResult, Store};

use crate::error::Failure;

/// The layers of planned images.
pub(super) struct Layers {
    plan: Plan,
    /// Results that the store knows.
    known: BTreeMap<Digest, ActionResult>,
}

/// What is pulled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Pull {
    /// Layers there are.
    pub(super) layers: usize,
    /// Layers to pull.
    pub(super) pulled: usize,
    /// Their bytes.
    pub(super) size: u64,
    /// Whether some layers are not built yet, so that their packages' sizes count.
    pub(super) estimated: bool,
}

impl Layers {
    /// The layers of these images; why not, where there can be no plan.
    pub(super) fn of(
        family: &Family,
        lock: &Lock,
        images: &[&LockedImage],
        store: Option<&Store>,
    ) -> Result<Result<Self, String>, Failure> {
        let options = PlanOptions {
            pack_only: family.pack_only,
            bytecode: family.bytecode,
            ..PlanOptions::default()
        };
        let plan = match kiln_plan::plan(family, lock, images, options) {
            Ok(plan) => plan,
            Err(error) => return Ok(Err(error.to_string())),
        };
        let keys: Vec<_> = plan.steps.iter().map(|step| step.key).collect();
        let known = match store {
            Some(store) => store.results(&keys)?.into_iter().collect(),
            None => BTreeMap::new(),
        };
        Ok(Ok(Self { plan, known }))
    }

    /// The steps of the layers of an image, or of all, each once.
    fn steps(&self, image: Option<usize>) -> BTreeSet<usize> {
        let images = self.plan.images.iter().enumerate();
        let images = images.filter(|(place, _)| image.is_none_or(|image| image == *place));
        let layers = images.flat_map(|(_, image)| &image.layers);
        layers.map(|layer| layer.step).collect()
    }

    /// What names the layers: their keys, and the digests of those that are known.
    fn names(&self, image: Option<usize>) -> BTreeSet<Digest> {
        let steps = self.steps(image).into_iter();
        let keys = steps.map(|step| self.plan.steps[step].key);
        keys.flat_map(|key| {
            let digest = self.known.get(&key).map(|result| result.blob().0);
            std::iter::once(key).chain(digest)
        })
        .collect()
    }

    /// What is to be pulled for an image of `self` (by its place in the plan; else for all) by who
    /// has an image of `other` (or all).
    pub(super) fn pull(&self, image: Option<usize>, other: &Self, theirs: Option<usize>) -> Pull {
        let have = other.names(theirs);
        let mut pull = Pull::default();
        for step in self.steps(image) {
            let step = &self.plan.steps[step];
            let known = self.known.get(&step.key).map(ActionResult::blob);
            pull.layers += 1;
            if have.contains(&step.key) || known.is_some_and(|(digest, _)| have.contains(&digest)) {
                continue;
            }
            pull.pulled += 1;
            pull.estimated |= known.is_none();
            pull.size += match known {
                Some((_, size)) => size,
                // Nobody knows what programs will change; mostly it is little.
                None if step.action.executes() => 0,
                None => step.inputs.iter().map(|input| input.size).sum(),
            };
        }
        pull
    }
}
