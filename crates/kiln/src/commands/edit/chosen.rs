//! What a lock has for a requirement of one component.

use std::collections::BTreeSet;

use kiln_lock::{Lock, LockedImage, requires};
use kiln_recipe::{
    ComponentId, Family,
    edit::Change,
    pep508_rs::{VersionOrUrl, pep440_rs::Version},
    python_requirement,
};

/// The versions of a requirement's project in the images that have a component and in which the
/// requirement's marker holds.
pub(super) fn versions(
    lock: &Lock,
    family: &Family,
    id: &ComponentId,
    requirement: &str,
) -> BTreeSet<Version> {
    let Ok(requirement) = python_requirement(requirement) else {
        return BTreeSet::new();
    };
    let images = lock.images.iter().filter(|image| has(family, image, id));
    let images = images.filter(|image| {
        let closure = lock.image_closure(image);
        let patch = requires::python_patch(image.python, closure.debs);
        let markers = requires::markers(image.platform, image.python, patch);
        markers.is_some_and(|it| requirement.evaluate_markers(&it, &[]))
    });
    let wheels = images.flat_map(|image| lock.image_closure(image).wheels);
    let wheels = wheels.filter(|wheel| wheel.name == requirement.name.as_ref());
    wheels
        .filter_map(|wheel| wheel.version.parse().ok())
        .collect()
}

/// Whether a requirement lets in all these versions.
pub(super) fn lets_in(requirement: &str, versions: &BTreeSet<Version>) -> bool {
    python_requirement(requirement).is_ok_and(|it| match it.version_or_url {
        Some(VersionOrUrl::VersionSpecifier(said)) => versions.iter().all(|it| said.contains(it)),
        _ => true,
    })
}

/// Whether images with a component still have what was removed from its file.
pub(super) fn is_left(lock: &Lock, family: &Family, id: &ComponentId, change: &Change) -> bool {
    let mut images = lock.images.iter().filter(|image| has(family, image, id));
    images.any(|image| {
        let closure = lock.image_closure(image);
        closure.wheels.iter().any(|it| it.name == change.name)
            || closure.debs.iter().any(|it| it.name == change.name)
    })
}

fn has(family: &Family, image: &LockedImage, id: &ComponentId) -> bool {
    let components = family.components(&image.combination());
    components.iter().any(|component| component.id == *id)
}
