//! Images that a new lock moves although nothing that they ask for changed.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use kiln_digest::Digest;
use kiln_recipe::{ComponentId, ComponentKind};

use crate::{
    diff::{PackageKind, key},
    model::{Lock, LockedImage, Request},
};

/// An image with other packages than before, of which no component asks for anything else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// The image's name in the old lock.
    pub image: String,
    /// Its packages that are others, by kind and name.
    pub packages: Vec<PackageMove>,
    /// The components that it shares a choice of versions with and that ask for something else
    /// than before, or are new there; sorted. Empty where the sources alone are the reason.
    pub because: Vec<ComponentId>,
}

/// A package that an image has in another version, or file, than before.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PackageMove {
    /// Its kind.
    pub kind: PackageKind,
    /// Its name.
    pub name: String,
    /// The version before; `None` when it is new.
    pub from: Option<String>,
    /// The version now; `None` when it is gone.
    pub to: Option<String>,
}

impl fmt::Display for PackageMove {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.name;
        match (&self.from, &self.to) {
            (Some(from), Some(to)) if from == to => write!(f, "{name} {from} → another file"),
            (Some(from), Some(to)) => write!(f, "{name} {from} → {to}"),
            (Some(from), None) => write!(f, "{name} {from} → nothing"),
            (None, to) => write!(f, "{name}: new, {}", to.as_deref().unwrap_or_default()),
        }
    }
}

/// The images of both locks that got other packages and did not ask for it, in the order of the
/// new lock. An image asks for what its components ask for; where one of them asks for something
/// else than before, the image is concerned, and is not here.
pub fn moves(old: &Lock, new: &Lock) -> Vec<Move> {
    let (asked, asks) = (by_component(&old.requests), by_component(&new.requests));
    let changed = |component: &ComponentId| {
        let packages = |request: &Request| Request {
            files: BTreeMap::new(),
            ..request.clone()
        };
        asked.get(component).copied().map(packages) != asks.get(component).copied().map(packages)
    };
    let before: BTreeMap<_, _> = old.images.iter().map(|it| (key(it), it)).collect();
    let mut moves = Vec::new();
    for image in &new.images {
        let Some(previous) = before.get(&key(image)) else {
            continue;
        };
        let packages = package_moves(old, previous, new, image);
        let is_concerned = components(new, image).any(changed) || previous.python != image.python;
        if packages.is_empty() || is_concerned {
            continue;
        }
        moves.push(Move {
            image: previous.name.clone(),
            packages,
            because: reasons(old, new, image, &changed),
        });
    }
    moves
}

fn by_component(requests: &[Request]) -> BTreeMap<&ComponentId, &Request> {
    requests.iter().map(|it| (&it.component, it)).collect()
}

fn components<'a>(lock: &'a Lock, image: &'a LockedImage) -> impl Iterator<Item = &'a ComponentId> {
    let sets = image.sets.iter().filter_map(|id| lock.set(id));
    sets.map(|set| &set.component)
}

type Packages<'a> = BTreeMap<(PackageKind, &'a str), (&'a str, Digest)>;

fn packages<'a>(lock: &'a Lock, image: &LockedImage) -> Packages<'a> {
    let closure = lock.image_closure(image);
    let debs = closure.debs.into_iter();
    let debs = debs.map(|it| ((PackageKind::Deb, &*it.name), (&*it.version, it.sha256)));
    let wheels = closure.wheels.into_iter();
    let wheels = wheels.map(|it| ((PackageKind::Wheel, &*it.name), (&*it.version, it.sha256)));
    debs.chain(wheels).collect()
}

fn package_moves(
    old: &Lock,
    previous: &LockedImage,
    new: &Lock,
    image: &LockedImage,
) -> Vec<PackageMove> {
    let (before, now) = (packages(old, previous), packages(new, image));
    let names: BTreeSet<_> = before.keys().chain(now.keys()).copied().collect();
    let moved = names.into_iter().filter_map(|package| {
        let (from, to) = (before.get(&package), now.get(&package));
        let version = |it: Option<&(&str, Digest)>| it.map(|(version, _)| (*version).to_owned());
        (from != to).then(|| PackageMove {
            kind: package.0,
            name: package.1.to_owned(),
            from: version(from),
            to: version(to),
        })
    });
    moved.collect()
}

/// What is chosen together with the lowest bundle of an image whose set moved: toolkits and IDEs
/// of the images with that bundle on the same components. What is below an independent bundle is
/// chosen with that bundle.
fn reasons(
    old: &Lock,
    new: &Lock,
    image: &LockedImage,
    changed: &impl Fn(&ComponentId) -> bool,
) -> Vec<ComponentId> {
    let moved = image.sets.iter().find(|id| old.set(id) != new.set(id));
    // An IDE or a toolkit that moved is chosen with the bundle below it.
    let bundles = image.sets.iter().take_while(|id| is_below_toolkit(new, id));
    let bundle = match moved.filter(|id| is_below_toolkit(new, id)) {
        Some(id) if id.contains(" @") => image.sets.iter().find(|id| !id.contains(" @")),
        Some(id) => Some(id),
        None => bundles.last(),
    };
    let Some(bundle) = bundle else {
        return Vec::new();
    };
    let above = |lock: &Lock| -> BTreeSet<ComponentId> {
        let on_it = |image: &&LockedImage| {
            let last = image.sets.iter().rfind(|id| is_below_toolkit(lock, id));
            last == Some(bundle)
        };
        let images = lock.images.iter().filter(on_it);
        images
            .flat_map(|image| components(lock, image))
            .cloned()
            .collect()
    };
    let before = above(old);
    let now = above(new).into_iter();
    now.filter(|it| changed(it) || !before.contains(it))
        .collect()
}

/// Whether a set is that of a base, an accelerator below bundles, or a bundle.
fn is_below_toolkit(lock: &Lock, id: &str) -> bool {
    lock.set(id).is_some_and(|set| match set.component.kind {
        ComponentKind::Ide => false,
        ComponentKind::Accelerator => !id.contains(" ^"),
        ComponentKind::Base | ComponentKind::Bundle => true,
    })
}
