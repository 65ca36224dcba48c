//! Python projects: what their pages list, and which requirements let it in.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    str::FromStr as _,
};

use kiln_fetch::{Fetcher, ProjectFile, ProjectPage};
use kiln_lock::{
    Lock, LockedImage, Wheel,
    diff::PackageKind,
    limits::{Limit, Limiter, Limits},
};
use kiln_recipe::{Family, Platform};
use pep440_rs::{Version, VersionSpecifiers};
use pep508_rs::{PackageName, VersionOrUrl};

use super::{Holder, Newer, Shared, packages};
use crate::{
    ResolveError, os,
    python::{
        target::{Tags, Target},
        wheel_name::WheelName,
    },
};

/// What files must fit.
struct Fit {
    target: Target,
    tags: Tags,
    python: Version,
}

pub(super) fn newer(
    family: &Family,
    lock: &Lock,
    shared: &Shared<'_>,
    fetcher: &Fetcher,
) -> Result<Vec<Newer>, ResolveError> {
    let wheels = packages(lock, shared, |set| &set.wheels);
    let wheels: Vec<_> = wheels
        .into_iter()
        .filter_map(|(id, set)| Some((lock.wheel(id)?, set)))
        .collect();
    let asked: BTreeSet<(&str, &str)> = wheels
        .iter()
        .map(|(wheel, _)| (wheel.source.as_str(), wheel.name.as_str()))
        .collect();
    let wanted = asked.iter();
    let wanted = wanted.map(|(source, name)| ((*source).to_owned(), (*name).to_owned()));
    let mut pages = BTreeMap::new();
    for (project, page) in asked.iter().zip(fetcher.project_pages(wanted.collect())) {
        match page {
            Ok(page) => drop(pages.insert(*project, Offer::of(&page))),
            Err(error) if error.is_gone() => {}
            Err(cause) => {
                let project = project.1.to_owned();
                let cause = Box::new(cause);
                return Err(ResolveError::Versions { project, cause });
            }
        }
    }
    let limits = Limits::new(family, lock);
    let mut of_images = BTreeMap::new();
    let mut fits: BTreeMap<(Platform, &str), Fit> = BTreeMap::new();
    for image in shared.sets.values().flat_map(|set| &set.all) {
        of_images
            .entry((&image.name, image.platform))
            .or_insert_with(|| limits.of(image));
        if let Entry::Vacant(place) = fits.entry((image.platform, image.base.as_str()))
            && let Some(fit) = fit(family, lock, image)?
        {
            place.insert(fit);
        }
    }
    let empty = Offer::default();
    let mut found = Vec::new();
    for (wheel, set) in wheels {
        let Some(image) = set.all.first() else {
            continue;
        };
        let Some(fit) = fits.get(&(image.platform, image.base.as_str())) else {
            continue;
        };
        let Ok(name) = PackageName::from_str(&wheel.name) else {
            continue;
        };
        let of_set = set.all.iter();
        let of_set = of_set.filter_map(|it| of_images.get(&(&it.name, it.platform))?.get(&name));
        let limits: Vec<&Limit<'_>> = of_set.flatten().collect();
        let offer = pages.get(&(wheel.source.as_str(), wheel.name.as_str()));
        let answer = compare(wheel, offer.unwrap_or(&empty), &limits, fit);
        let images = set.asked.iter().map(|&name| name.to_owned());
        found.extend(answer.map(|answer| Newer {
            images: images.collect(),
            ..answer
        }));
    }
    Ok(found)
}

fn fit(family: &Family, lock: &Lock, image: &LockedImage) -> Result<Option<Fit>, ResolveError> {
    let Some(base) = family.bases.get(&image.base) else {
        return Ok(None);
    };
    let debs = lock.image_closure(image).debs;
    let debs: Vec<_> = debs.into_iter().cloned().collect();
    let target = os::target(image.platform, base, &debs)?;
    let python = target.python_full_version();
    Ok(Version::from_str(&python).ok().map(|python| Fit {
        tags: target.tags(),
        target,
        python,
    }))
}

/// The files of a project by version.
#[derive(Default)]
struct Offer {
    versions: BTreeMap<Version, Vec<ProjectFile>>,
}

impl Offer {
    fn of(page: &ProjectPage) -> Self {
        let mut versions: BTreeMap<Version, Vec<ProjectFile>> = BTreeMap::new();
        for file in &page.files {
            if let Some(version) = version(&file.name) {
                versions.entry(version).or_default().push(file.clone());
            }
        }
        Self { versions }
    }

    /// The versions that are not withdrawn, the newest first; pre-releases only where they are
    /// asked for.
    fn newest_first(&self, pre_releases: bool) -> impl Iterator<Item = (&Version, &[ProjectFile])> {
        let versions = self.versions.iter().rev();
        let versions = versions.map(|(version, files)| (version, files.as_slice()));
        versions.filter(move |(version, files)| {
            (pre_releases || !version.any_prerelease())
                && files.iter().any(|file| file.yanked.is_none())
        })
    }
}

/// The version in the name of a wheel or a source distribution (of PEP 625, and its predecessors).
fn version(file: &str) -> Option<Version> {
    if let Ok(name) = file.parse::<WheelName>() {
        return Some(name.version);
    }
    let stem = file.strip_suffix(".tar.gz").or(file.strip_suffix(".zip"))?;
    stem.rsplit_once('-')?.1.parse().ok()
}

/// A wheel that is not the newest of its project, or withdrawn.
fn compare(wheel: &Wheel, offer: &Offer, limits: &[&Limit<'_>], fit: &Fit) -> Option<Newer> {
    let locked = Version::from_str(&wheel.version).ok()?;
    let file = match &wheel.built_from {
        Some(built) => (&built.file, built.sha256),
        None => (&wheel.file, wheel.sha256),
    };
    let mut files = offer.versions.values().flatten();
    let listed =
        files.find(|it| it.name == *file.0 && it.sha256.is_none_or(|sha256| sha256 == file.1));
    let yanked = listed.and_then(|it| it.yanked.clone());
    let is_allowed = |version: &Version| limits.iter().all(|limit| lets_in(limit, version));
    let from_source = wheel.built_from.is_some();
    let newer = || {
        let newest_first = offer.newest_first(locked.any_prerelease());
        newest_first.take_while(|(version, _)| **version > locked)
    };
    let allowed = newer()
        .find(|(version, files)| is_allowed(version) && fits(files, fit, from_source))
        .map(|(version, _)| version);
    let newest = newer().next();
    if newest.is_none() && yanked.is_none() && listed.is_some() {
        return None;
    }
    let held_by = match newest {
        Some((version, files)) if Some(version) != allowed => {
            holders(version, files, limits, fit, from_source)
        }
        _ => Vec::new(),
    };
    let shown = |version: Option<&Version>| {
        version.map_or_else(|| wheel.version.clone(), ToString::to_string)
    };
    Some(Newer {
        kind: PackageKind::Wheel,
        name: wheel.name.clone(),
        source: wheel.source.clone(),
        locked: wheel.version.clone(),
        allowed: shown(allowed),
        newest: shown(newest.map(|(version, _)| version)),
        held_by,
        yanked,
        gone: listed.is_none(),
        direct: limits
            .iter()
            .any(|it| matches!(it.by, Limiter::Family { .. })),
        images: Vec::new(),
    })
}

fn lets_in(limit: &Limit<'_>, version: &Version) -> bool {
    match &limit.requirement.version_or_url {
        Some(VersionOrUrl::VersionSpecifier(said)) => said.contains(version),
        _ => true,
    }
}

/// Whether one of these files can be had: a wheel that fits, or a source distribution where the
/// project is built from that.
fn fits(files: &[ProjectFile], fit: &Fit, from_source: bool) -> bool {
    let mut files = files.iter().filter(|file| file.yanked.is_none());
    files.any(|file| is_for_python(file, fit) && is_usable(file, fit, from_source))
}

fn is_for_python(file: &ProjectFile, fit: &Fit) -> bool {
    let said = file.requires_python.as_deref();
    // What cannot be read forbids nothing.
    let said = said.and_then(|it| VersionSpecifiers::from_str(it).ok());
    said.is_none_or(|said| said.contains(&fit.python))
}

fn is_usable(file: &ProjectFile, fit: &Fit, from_source: bool) -> bool {
    match file.name.parse::<WheelName>() {
        Ok(name) => !from_source && name.preference(&fit.tags).is_some(),
        Err(_) => from_source,
    }
}

/// What keeps a version out.
fn holders(
    version: &Version,
    files: &[ProjectFile],
    limits: &[&Limit<'_>],
    fit: &Fit,
    from_source: bool,
) -> Vec<Holder> {
    let limits = limits.iter().filter(|limit| !lets_in(limit, version));
    let mut holders: BTreeSet<Holder> = limits.map(|limit| holder(limit)).collect();
    if !fits(files, fit, from_source) {
        let said = files.iter().filter(|file| !is_for_python(file, fit));
        let mut said = said.filter_map(|file| file.requires_python.clone());
        let all = files.iter().any(|file| is_for_python(file, fit));
        holders.insert(match said.next().filter(|_| !all) {
            Some(requires) => Holder::Python { requires },
            None => Holder::NoWheel {
                target: fit.target.to_string(),
            },
        });
    }
    holders.into_iter().collect()
}

fn holder(limit: &Limit<'_>) -> Holder {
    match limit.by {
        Limiter::Family {
            component,
            requirement,
        } => Holder::Family {
            component: component.clone(),
            requirement: requirement.text.clone(),
            at: requirement.at.clone(),
        },
        Limiter::Wheel(wheel) => Holder::Wheel {
            name: wheel.name.clone(),
            version: wheel.version.clone(),
            requirement: limit.requirement.to_string(),
        },
    }
}
