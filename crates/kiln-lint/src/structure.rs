//! Rules about the family's own shape: components without use, images that are too large.

use std::collections::BTreeSet;

use kiln_lock::Lock;
use kiln_recipe::{Component, ComponentId, Family};

use crate::{
    Finding, Lint,
    image::{Image, bytes},
};

/// Components that no image uses, and bundles that add nothing.
pub(crate) fn find(family: &Family, lock: &Lock) -> Vec<Finding> {
    let mut found = unused(family);
    found.extend(empty(family, lock));
    found
}

fn unused(family: &Family) -> Vec<Finding> {
    let images = family.images.iter();
    let used: BTreeSet<&ComponentId> = images
        .flat_map(|image| family.components(image))
        .map(|component| &component.id)
        .collect();
    let all = family.bases.values().map(|it| &it.component);
    let all = all.chain(family.accelerators.values().map(|it| &it.component));
    let all = all.chain(family.bundles.values().map(|it| &it.component));
    let all = all.chain(family.ides.values().map(|it| &it.component));
    // `cpu` and `runtime` exist without files.
    all.filter(|it| family.texts.contains_key(&it.at.file) && it.at.file != "kiln.toml")
        .filter(|it| !used.contains(&it.id))
        .map(|component| {
            let kind = component.id.kind.to_string();
            let reason = format!("no image uses the {kind} `{}`", component.id.name);
            let at = component.at.clone();
            Finding::at(Lint::UnusedComponent, &component.id.name, at, reason).hint(format!(
                "name it in an `[[image]]`, or remove `{}`",
                component.at.file
            ))
        })
        .collect()
}

/// Whether a component changes an image by something else than packages.
fn changes_images(component: &Component) -> bool {
    !component.files.is_empty()
        || !component.runs.is_empty()
        || !component.env.is_empty()
        || !component.labels.is_empty()
}

fn empty(family: &Family, lock: &Lock) -> Vec<Finding> {
    let mut found = Vec::new();
    for (name, bundle) in &family.bundles {
        let Some(parent) = &bundle.extends else {
            continue;
        };
        let id = &bundle.component.id;
        let mut sets = lock
            .sets
            .iter()
            .filter(|set| set.component == *id)
            .peekable();
        let adds_nothing = sets.peek().is_some()
            && sets.all(|set| set.debs.is_empty() && set.wheels.is_empty())
            && !changes_images(&bundle.component);
        if adds_nothing {
            let at = bundle.component.at.clone();
            let reason =
                format!("the bundle `{name}` has the same packages as its parent `{parent}`");
            found.push(
                Finding::at(Lint::EmptyBundle, name, at, reason).hint(format!(
                    "use `{parent}` in its place, or say what `{name}` adds"
                )),
            );
        }
    }
    found
}

/// An image that is larger than it may be.
pub(crate) fn over_budget(image: &Image<'_>) -> Vec<Finding> {
    let size = image.size();
    let name = &image.locked.name;
    let exceeded = image.budgets().into_iter().filter(|it| size > it.bytes);
    exceeded
        .map(|budget| {
            let reason = format!(
                "the archives of `{name}` have {}, {} more than the {} that it may have",
                bytes(size),
                bytes(size - budget.bytes),
                bytes(budget.bytes),
            );
            let at = budget.at.clone();
            Finding::at(Lint::OverBudget, name, at, reason)
                .hint(format!("the largest are {}", largest(image)))
        })
        .collect()
}

fn largest(image: &Image<'_>) -> String {
    let debs = image.closure.debs.iter().map(|it| (it.size, &it.name));
    let wheels = image.closure.wheels.iter().map(|it| (it.size, &it.name));
    let mut all: Vec<_> = debs.chain(wheels).collect();
    all.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(b.1)));
    let shown = all.iter().take(3);
    let shown: Vec<_> = shown
        .map(|(size, name)| format!("`{name}` ({})", bytes(*size)))
        .collect();
    shown.join(", ")
}
