//! What every lock that was read has been checked for.

use std::{collections::BTreeSet, fmt::Display};

use kiln_recipe::ComponentKind;

use crate::model::{BuiltFrom, Lock, LockedImage, PackageId, Set};

/// Checks the invariants that the model promises. The error is a sentence's end.
pub(crate) fn invariants(lock: &Lock) -> Result<(), String> {
    sorted("tools", lock.tools.iter().map(|it| &it.name))?;
    sorted(
        "indexes",
        lock.indexes
            .iter()
            .map(|it| format!("{} {}", it.source, it.suite)),
    )?;
    sorted("requests", lock.requests.iter().map(|it| &it.component))?;
    sorted(
        "images",
        lock.images
            .iter()
            .map(|it| format!("{} {}", it.name, it.platform)),
    )?;
    sorted("sets", lock.sets.iter().map(|it| &it.id))?;
    sorted("debs", lock.debs.iter().map(|it| &it.id))?;
    sorted("wheels", lock.wheels.iter().map(|it| &it.id))?;
    for set in &lock.sets {
        sorted(&format!("debs of set `{}`", set.id), &set.debs)?;
        sorted(&format!("wheels of set `{}`", set.id), &set.wheels)?;
        let unknown_deb = set.debs.iter().find(|id| lock.deb(id).is_none());
        let unknown_wheel = set.wheels.iter().find(|id| lock.wheel(id).is_none());
        if let Some(id) = unknown_deb.or(unknown_wheel) {
            return Err(format!("set `{}` names `{id}`, which is not there", set.id));
        }
    }
    for wheel in &lock.wheels {
        if let Some(built) = &wheel.built_from {
            build_environment(lock, &wheel.id, built)?;
        }
    }
    lock.images
        .iter()
        .try_for_each(|image| image_sets(lock, image))
}

/// Everything that a wheel is built from exists, and no build requirement must be built itself.
fn build_environment(lock: &Lock, id: &PackageId, built: &BuiltFrom) -> Result<(), String> {
    sorted(&format!("debs of the build of `{id}`"), &built.debs)?;
    sorted(
        &format!("requirements of the build of `{id}`"),
        &built.requirements,
    )?;
    let is_missing = |requirement: &&PackageId| {
        lock.wheel(requirement)
            .is_none_or(|it| it.built_from.is_some())
    };
    let missing = built.debs.iter().find(|id| lock.deb(id).is_none());
    let missing = missing.or_else(|| built.requirements.iter().find(is_missing));
    let missing = match missing {
        None if lock.set(&built.base).is_none() => Some(&built.base),
        missing => missing.map(|id| &id.0),
    };
    missing.map_or(Ok(()), |name| {
        Err(format!(
            "wheel `{id}` is built with `{name}`, which is not there"
        ))
    })
}

/// Where a set stands in an image, bottom first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Base,
    Accelerator,
    Bundle,
    /// What an accelerator requires and the bundles have not brought.
    Toolkit,
    Ide,
}

impl Place {
    fn of(set: &Set, below: Option<Self>) -> Self {
        match set.component.kind {
            ComponentKind::Base => Self::Base,
            ComponentKind::Accelerator if below >= Some(Self::Bundle) => Self::Toolkit,
            ComponentKind::Accelerator => Self::Accelerator,
            ComponentKind::Bundle => Self::Bundle,
            ComponentKind::Ide => Self::Ide,
        }
    }
}

/// An image's sets exist, stand in layer order, and bring no package twice, nor two versions of a
/// Python project.
fn image_sets(lock: &Lock, image: &LockedImage) -> Result<(), String> {
    let mut places = Vec::new();
    let mut packages = BTreeSet::new();
    let mut names = BTreeSet::new();
    for id in &image.sets {
        let name = &image.name;
        let set = lock
            .set(id)
            .ok_or_else(|| format!("image `{name}` names set `{id}`, which is not there"))?;
        places.push(Place::of(set, places.last().copied()));
        for package in set.debs.iter().chain(&set.wheels) {
            if !packages.insert(package) {
                return Err(format!("two sets of image `{name}` bring `{package}`"));
            }
        }
        for wheel in set.wheels.iter().filter_map(|id| lock.wheel(id)) {
            if !names.insert(&wheel.name) {
                let project = &wheel.name;
                return Err(format!(
                    "two sets of image `{name}` bring versions of `{project}`"
                ));
            }
        }
    }
    let is_above = |pair: &[Place]| match (pair[0], pair[1]) {
        (Place::Bundle, Place::Bundle) => true,
        (below, above) => below < above,
    };
    if !places.windows(2).all(is_above) {
        return Err(format!(
            "the sets of image `{}` do not stand in layer order",
            image.name
        ));
    }
    let date = image.date.as_str();
    if !jiff::civil::Date::strptime("%Y-%m-%d", date).is_ok_and(|it| it.to_string() == date) {
        return Err(format!(
            "`{date}`, the date of image `{}`, is no date",
            image.name
        ));
    }
    Ok(())
}

fn sorted<T: Ord + Display>(what: &str, items: impl IntoIterator<Item = T>) -> Result<(), String> {
    let mut previous: Option<T> = None;
    for item in items {
        if let Some(previous) = previous.filter(|previous| *previous >= item) {
            return Err(if previous == item {
                format!("`{item}` stands twice in the {what}")
            } else {
                format!("the {what} are not sorted: `{item}` comes after `{previous}`")
            });
        }
        previous = Some(item);
    }
    Ok(())
}
