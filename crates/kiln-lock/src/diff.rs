//! What changed from one lock to the next, for people.

use std::collections::{BTreeMap, BTreeSet};

use kiln_recipe::Platform;

use crate::model::{Lock, LockedImage};

/// Kind of a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PackageKind {
    /// A Debian package.
    Deb,
    /// A wheel.
    Wheel,
}

/// A package that is in images and was not, or with another version.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PackageChange {
    /// Its kind.
    pub kind: PackageKind,
    /// Its name.
    pub name: String,
    /// The version before; `None` when it is new.
    pub from: Option<String>,
    /// The version now; `None` when it is gone.
    pub to: Option<String>,
    /// Names (as of now) of the images that it concerns, sorted.
    pub images: Vec<String>,
}

/// An image whose date moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageMove {
    /// Its name now.
    pub name: String,
    /// The platform.
    pub platform: Platform,
    /// Its date before, `YYYY-MM-DD`.
    pub from: String,
    /// Its date now.
    pub to: String,
}

/// What changed from one lock to the next.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LockDiff {
    /// Changes of packages in images that both locks have, by kind and name.
    pub packages: Vec<PackageChange>,
    /// Images whose date or name changed.
    pub moved: Vec<ImageMove>,
    /// Names of images that only the new lock has.
    pub added: Vec<String>,
    /// Names of images that only the old lock has.
    pub removed: Vec<String>,
}

impl LockDiff {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

pub(crate) type Key<'a> = (&'a str, &'a str, &'a str, &'a str, Platform);

/// Compares two locks, image by image.
pub fn diff(old: &Lock, new: &Lock) -> LockDiff {
    let mut result = LockDiff::default();
    let mut before: BTreeMap<_, _> = old.images.iter().map(|it| (key(it), it)).collect();
    let mut changes: BTreeMap<_, BTreeSet<String>> = BTreeMap::new();
    for image in &new.images {
        let Some(previous) = before.remove(&key(image)) else {
            result.added.push(image.name.clone());
            continue;
        };
        if previous.name != image.name || previous.date != image.date {
            result.moved.push(ImageMove {
                name: image.name.clone(),
                platform: image.platform,
                from: previous.date.clone(),
                to: image.date.clone(),
            });
        }
        let (from, to) = (versions(old, previous), versions(new, image));
        let packages: BTreeSet<_> = from.keys().chain(to.keys()).copied().collect();
        for package in packages {
            let (from, to) = (from.get(&package).copied(), to.get(&package).copied());
            if from != to {
                changes
                    .entry((package, from, to))
                    .or_default()
                    .insert(image.name.clone());
            }
        }
    }
    result.removed = before
        .into_values()
        .map(|image| image.name.clone())
        .collect();
    result.packages = changes
        .into_iter()
        .map(|(((kind, name), from, to), images)| PackageChange {
            kind,
            name: name.to_owned(),
            from: from.map(str::to_owned),
            to: to.map(str::to_owned),
            images: images.into_iter().collect(),
        })
        .collect();
    result
}

pub(crate) fn key(image: &LockedImage) -> Key<'_> {
    (
        &image.base,
        &image.accelerator,
        &image.bundle,
        &image.ide,
        image.platform,
    )
}

fn versions<'a>(lock: &'a Lock, image: &LockedImage) -> BTreeMap<(PackageKind, &'a str), &'a str> {
    let closure = lock.image_closure(image);
    let debs = closure.debs.into_iter();
    let wheels = closure.wheels.into_iter();
    debs.map(|deb| ((PackageKind::Deb, deb.name.as_str()), deb.version.as_str()))
        .chain(wheels.map(|it| ((PackageKind::Wheel, it.name.as_str()), it.version.as_str())))
        .collect()
}
