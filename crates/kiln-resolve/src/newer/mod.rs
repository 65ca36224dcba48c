//! What is newer than what is locked.
//!
//! The sources are asked once for each project and archive; nothing is solved. For a Python project,
//! the newest version that is *allowed* is the newest one whose files fit the image and that every
//! requirement allows which the family and the locked wheels have for the project, in all images
//! that share the set. What a newer version would require itself is not asked: `kiln lock
//! --upgrade` decides about that, and may go further where those that hold a project back move, too.
//! For an OS package it is the newest one in the archives that the family's own constraints allow.

mod os;
mod python;

use std::collections::BTreeMap;

use jiff::Timestamp;
use kiln_fetch::Fetcher;
use kiln_lock::{Lock, LockedImage, PackageId, diff::PackageKind};
use kiln_recipe::{ComponentId, Family, Location};

use crate::ResolveError;

/// A package that is not the newest, or that its source has withdrawn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Newer {
    /// What it is.
    pub kind: PackageKind,
    /// Its name.
    pub name: String,
    /// Where it comes from.
    pub source: String,
    /// The version that is locked.
    pub locked: String,
    /// The newest version that is allowed; the locked one where none is newer.
    pub allowed: String,
    /// The newest version of all; the locked one where none is newer.
    pub newest: String,
    /// Who holds the newest one back; nobody where it is allowed.
    pub held_by: Vec<Holder>,
    /// Why the locked file was yanked (perhaps empty), if it was.
    pub yanked: Option<String>,
    /// Whether the source no longer lists the locked file.
    pub gone: bool,
    /// Whether the family names it itself.
    pub direct: bool,
    /// Names of the images that have it.
    pub images: Vec<String>,
}

/// What holds a version back.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Holder {
    /// A requirement of the family.
    Family {
        /// The component.
        component: ComponentId,
        /// The requirement as written.
        requirement: String,
        /// Where it stands.
        at: Location,
    },
    /// A requirement of a locked wheel.
    Wheel {
        /// The project.
        name: String,
        /// Its version.
        version: String,
        /// The requirement.
        requirement: String,
    },
    /// It is for other Pythons.
    Python {
        /// Which ones (PEP 440).
        requires: String,
    },
    /// It has no wheel that fits.
    NoWheel {
        /// For what.
        target: String,
    },
}

/// What is newer than the packages of some images of a lock, sorted by kind and name. OS packages
/// are left out unless `os` is said. What is alike in several images is one.
pub fn newer(
    family: &Family,
    lock: &Lock,
    images: &[&LockedImage],
    fetcher: &Fetcher,
    os: bool,
    now: Timestamp,
) -> Result<Vec<Newer>, ResolveError> {
    let shared = Shared::of(lock, images);
    let (wheels, debs) = rayon::join(
        || python::newer(family, lock, &shared, fetcher),
        || {
            if os {
                os::newer(family, lock, &shared, fetcher, now)
            } else {
                Ok(Vec::new())
            }
        },
    );
    Ok(merged(wheels?.into_iter().chain(debs?)))
}

/// The sets of the images that are asked about, each with all images that have it: what these
/// require is chosen together.
struct Shared<'l> {
    sets: BTreeMap<&'l str, SharedSet<'l>>,
}

struct SharedSet<'l> {
    /// All images of the lock that have it.
    all: Vec<&'l LockedImage>,
    /// Names of those that are asked about.
    asked: Vec<&'l str>,
}

impl<'l> Shared<'l> {
    fn of(lock: &'l Lock, asked: &[&'l LockedImage]) -> Self {
        let mut sets: BTreeMap<&str, SharedSet<'_>> = BTreeMap::new();
        for image in asked {
            for id in &image.sets {
                let set = sets.entry(id.as_str()).or_insert_with(|| {
                    let having = lock.images.iter().filter(|it| it.sets.contains(id));
                    SharedSet {
                        all: having.collect(),
                        asked: Vec::new(),
                    }
                });
                set.asked.push(image.name.as_str());
            }
        }
        Self { sets }
    }
}

/// One answer for all images in which it is the same.
fn merged(found: impl IntoIterator<Item = Newer>) -> Vec<Newer> {
    let mut answers: Vec<Newer> = Vec::new();
    let mut places: BTreeMap<(PackageKind, String, String), Vec<usize>> = BTreeMap::new();
    for mut answer in found {
        let images = std::mem::take(&mut answer.images);
        let key = (answer.kind, answer.name.clone(), answer.locked.clone());
        let known = places.entry(key).or_default();
        let same = known.iter().copied().find(|&place| {
            let images = std::mem::take(&mut answers[place].images);
            let same = answers[place] == answer;
            answers[place].images = images;
            same
        });
        let place = same.unwrap_or_else(|| {
            known.push(answers.len());
            answers.push(answer);
            answers.len() - 1
        });
        answers[place].images.extend(images);
    }
    for answer in &mut answers {
        answer.images.sort();
        answer.images.dedup();
    }
    let key = |it: &Newer| {
        (
            it.kind != PackageKind::Wheel,
            it.name.clone(),
            it.locked.clone(),
        )
    };
    answers.sort_by_key(key);
    answers
}

/// Which packages of the sets there are, each with its set.
fn packages<'s, 'l>(
    lock: &'l Lock,
    shared: &'s Shared<'l>,
    of: impl Fn(&'l kiln_lock::Set) -> &'l [PackageId],
) -> Vec<(&'l PackageId, &'s SharedSet<'l>)> {
    let mut packages = Vec::new();
    for (id, set) in &shared.sets {
        let ids = lock.set(id).map(&of).unwrap_or_default();
        packages.extend(ids.iter().map(|id| (id, set)));
    }
    packages
}
