//! What differs between two images, or between all images of two locks: packages with versions
//! and sizes.

use std::collections::BTreeMap;

use kiln_digest::Digest;
use kiln_recipe::ComponentId;

use crate::{
    diff::PackageKind,
    model::{Lock, LockedImage, PackageId},
};

/// A package as one side has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Its version.
    pub version: String,
    /// Size of its archive in bytes.
    pub size: u64,
    /// SHA-256 of its archive.
    pub sha256: Digest,
    /// The component whose set brings it.
    pub component: ComponentId,
}

/// A package that two sides have differently.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageDifference {
    /// Its kind.
    pub kind: PackageKind,
    /// Its name.
    pub name: String,
    /// As it was; `None` when it is new.
    pub from: Option<Held>,
    /// As it is; `None` when it is gone.
    pub to: Option<Held>,
}

/// Two images, and how their packages differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageDifference<'a> {
    /// The image that was.
    pub from: &'a LockedImage,
    /// The image that is.
    pub to: &'a LockedImage,
    /// Packages that differ: first those of the operating system, by name.
    pub packages: Vec<PackageDifference>,
}

/// Two locks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LockDifference<'a> {
    /// Images that both have (the same base, accelerator, bundle, IDE and platform), in the order
    /// of the second lock; those that do not differ, too.
    pub images: Vec<ImageDifference<'a>>,
    /// Images that the second lock alone has.
    pub added: Vec<&'a LockedImage>,
    /// Images that the first lock alone has.
    pub removed: Vec<&'a LockedImage>,
}

impl ImageDifference<'_> {
    /// Whether the two are the same image: packages, configuration and date.
    pub fn is_same(&self) -> bool {
        self.from.fingerprint == self.to.fingerprint && self.from.name == self.to.name
    }
}

type Packages<'a> = BTreeMap<(PackageKind, &'a str), Held>;

/// The packages of an image.
fn packages<'a>(lock: &'a Lock, image: &LockedImage) -> Packages<'a> {
    let mut packages = Packages::new();
    for set in image.sets.iter().filter_map(|id| lock.set(id)) {
        let component = &set.component;
        let debs = set.debs.iter().filter_map(|id: &PackageId| lock.deb(id));
        packages.extend(debs.map(|deb| {
            let held = Held {
                version: deb.version.clone(),
                size: deb.size,
                sha256: deb.sha256,
                component: component.clone(),
            };
            ((PackageKind::Deb, deb.name.as_str()), held)
        }));
        let wheels = set.wheels.iter().filter_map(|id| lock.wheel(id));
        packages.extend(wheels.map(|wheel| {
            let held = Held {
                version: wheel.version.clone(),
                size: wheel.size,
                sha256: wheel.sha256,
                component: component.clone(),
            };
            ((PackageKind::Wheel, wheel.name.as_str()), held)
        }));
    }
    packages
}

/// Compares an image of one lock with an image of another, or of the same.
pub fn compare_images<'a>(
    (old, from): (&Lock, &'a LockedImage),
    (new, to): (&Lock, &'a LockedImage),
) -> ImageDifference<'a> {
    let mut before = packages(old, from);
    let mut differences = Vec::new();
    for ((kind, name), to) in packages(new, to) {
        let from = before.remove(&(kind, name));
        let is_same = |from: &Held| from.version == to.version && from.sha256 == to.sha256;
        if !from.as_ref().is_some_and(is_same) {
            differences.push(PackageDifference {
                kind,
                name: name.to_owned(),
                from,
                to: Some(to),
            });
        }
    }
    differences.extend(before.into_iter().map(|((kind, name), from)| {
        let name = name.to_owned();
        PackageDifference {
            kind,
            name,
            from: Some(from),
            to: None,
        }
    }));
    differences.sort_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
    ImageDifference {
        from,
        to,
        packages: differences,
    }
}

/// Compares all images of two locks.
pub fn compare_locks<'a>(old: &'a Lock, new: &'a Lock) -> LockDifference<'a> {
    let mut result = LockDifference::default();
    let mut removed: Vec<_> = old.images.iter().collect();
    for to in &new.images {
        match removed.iter().position(|from| from.is_like(to)) {
            Some(place) => {
                let from = removed.remove(place);
                result.images.push(compare_images((old, from), (new, to)));
            }
            None => result.added.push(to),
        }
    }
    result.removed = removed;
    result
}

impl LockedImage {
    /// Whether it is the same combination of components for the same platform.
    pub fn is_like(&self, other: &Self) -> bool {
        let key = |it: &Self| {
            (
                it.base.clone(),
                it.accelerator.clone(),
                it.bundle.clone(),
                it.ide.clone(),
                it.platform,
            )
        };
        key(self) == key(other)
    }
}
