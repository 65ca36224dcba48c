//! The whole way: sets of every tree, then images, then the lock.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError},
};

use kiln_fetch::Fetcher;
use kiln_lock::{
    Closure, Deb, DebIndex, LOCK_VERSION, Lock, LockedImage, PackageId, Request, Set, Tool, Wheel,
};
use kiln_recipe::{Family, ImageName};
use rayon::prelude::*;

use crate::{
    Builder, Event, Events, Mode, Options, ResolveError,
    forest::{Forest, ImagePath, Tree},
    os,
    previous::Previous,
    python::SOURCE,
    solver::Solver,
    source::{Environments, Workshop},
    universe::Universes,
};

/// What the sets of one tree hold, node by node.
struct Solved {
    debs: Vec<Vec<Deb>>,
    wheels: Vec<Vec<Wheel>>,
    environments: Environments,
    indexes: Vec<DebIndex>,
}

/// Locks a family. What the previous lock says is kept wherever nothing that it depends on
/// changed, and preferred elsewhere; see [`Options`] for the exceptions.
///
/// `builder` is asked for what is built from source; it may use rayon's global pool, in which
/// nothing here runs. `events` is called from several threads, and blocks none of them.
pub fn resolve(
    family: &Family,
    previous: Option<&Lock>,
    fetcher: &Fetcher,
    options: &Options,
    builder: &dyn Builder,
    events: &(dyn Fn(Event) + Sync),
) -> Result<Lock, ResolveError> {
    let work = || resolve_here(family, previous, fetcher, options, builder, events);
    match rayon::ThreadPoolBuilder::new().build() {
        Ok(pool) => pool.install(work),
        Err(_) => work(),
    }
}

fn resolve_here(
    family: &Family,
    previous: Option<&Lock>,
    fetcher: &Fetcher,
    options: &Options,
    builder: &dyn Builder,
    events: &(dyn Fn(Event) + Sync),
) -> Result<Lock, ResolveError> {
    let mode = match (options.upgrade, options.relock_gone) {
        (true, _) => Mode::Upgrade,
        (false, true) => Mode::RelockGone,
        (false, false) => Mode::Keep,
    };
    let requests = kiln_lock::requests(family);
    let previous = Previous::new(previous, &requests);
    let forest = Forest::of(family);
    let gone = match mode {
        Mode::RelockGone => gone_wheels(previous.all_wheels(), &requests, fetcher, events)?,
        Mode::Keep | Mode::Upgrade => BTreeSet::new(),
    };
    let solver = Solver::new(fetcher, options, family.uv.as_deref(), previous.tools());
    let results: Vec<Result<Solved, ResolveError>> = forest
        .trees
        .par_iter()
        .map(|tree| {
            let sets = os::resolve(tree, &previous, fetcher, mode, options.now, events)?;
            let base = &tree.base.component.id.name;
            let target = os::target(tree.platform, tree.base, &sets.debs[0])?;
            let old = previous.debs(&tree.nodes[0].id).unwrap_or_default();
            let same_target = previous.python(base) == Some(tree.base.python)
                && os::target(tree.platform, tree.base, &old)? == target;
            let workshop = Workshop {
                builder,
                os: &sets,
                used: Mutex::default(),
            };
            let universes = Universes {
                tree,
                target: &target,
                same_target,
                previous: &previous,
                gone: &gone,
                solver: &solver,
                workshop: &workshop,
                mode,
                events,
            };
            let wheels = universes.resolve()?;
            let used = workshop.used.into_inner();
            let used = used.unwrap_or_else(PoisonError::into_inner);
            let (debs, indexes) = sets.indexes();
            Ok(Solved {
                debs,
                wheels,
                environments: used,
                indexes,
            })
        })
        .collect();
    // The first error in the family's order, whichever thread was first.
    let trees: Result<Vec<Solved>, _> = results.into_iter().collect();
    let trees = trees.map_err(|error| solver.explain(error))?;
    let images = images(family, &forest, &trees, &previous, options);
    let mut lock = assemble(family, &forest, &trees, &previous, solver.tool());
    lock.images = images;
    lock.requests.clone_from(&requests);
    Ok(lock)
}

/// Locked wheels that their sources no longer list as they were. A source that the family has
/// given up is not asked: what came from it is not kept.
fn gone_wheels(
    wheels: &[Wheel],
    requests: &[Request],
    fetcher: &Fetcher,
    events: Events,
) -> Result<BTreeSet<PackageId>, ResolveError> {
    let named = requests.iter().flat_map(|it| it.python_indexes.keys());
    let sources: BTreeSet<&str> = named.map(String::as_str).chain([SOURCE]).collect();
    let wheels = wheels.iter();
    let wheels: Vec<_> = wheels
        .filter(|wheel| sources.contains(wheel.source.as_str()))
        .collect();
    let projects = wheels.iter();
    let projects = projects.map(|wheel| (wheel.source.clone(), wheel.name.clone()));
    let projects = projects.collect();
    let mut gone = BTreeSet::new();
    for (wheel, page) in wheels.into_iter().zip(fetcher.project_pages(projects)) {
        let (file, digest) = match &wheel.built_from {
            Some(built) => (&built.file, built.sha256),
            None => (&wheel.file, wheel.sha256),
        };
        let listed = match page {
            Ok(page) => page
                .file(file)
                .is_some_and(|file| file.sha256.is_none_or(|sha256| sha256 == digest)),
            Err(error) if error.is_gone() => false,
            Err(cause) => {
                let project = wheel.name.clone();
                return Err(ResolveError::Gone {
                    project,
                    cause: Box::new(cause),
                });
            }
        };
        if !listed {
            events(Event::Gone {
                id: wheel.id.clone(),
            });
            gone.insert(wheel.id.clone());
        }
    }
    Ok(gone)
}

/// Every set and package that an image needs, sorted; no images yet.
fn assemble(
    family: &Family,
    forest: &Forest,
    solved: &[Solved],
    previous: &Previous,
    tool: Option<Tool>,
) -> Lock {
    let mut sets = BTreeMap::new();
    let mut debs: BTreeMap<PackageId, Deb> = BTreeMap::new();
    let mut wheels: BTreeMap<PackageId, Wheel> = BTreeMap::new();
    let mut indexes: BTreeMap<(String, String), DebIndex> = BTreeMap::new();
    for (tree, solved) in forest.trees.iter().zip(solved) {
        for (number, node) in tree.nodes.iter().enumerate() {
            let set = Set {
                id: node.id.clone(),
                component: node.component.id.clone(),
                debs: sorted(solved.debs[number].iter().map(|deb| &deb.id)),
                wheels: sorted(solved.wheels[number].iter().map(|wheel| &wheel.id)),
            };
            sets.insert(node.id.clone(), set);
            for deb in &solved.debs[number] {
                add_deb(&mut debs, deb);
            }
            for wheel in &solved.wheels[number] {
                add_environment(
                    &mut debs,
                    &mut wheels,
                    wheel,
                    &solved.environments,
                    previous,
                );
                wheels
                    .entry(wheel.id.clone())
                    .or_insert_with(|| wheel.clone());
            }
        }
        for index in &solved.indexes {
            let key = (index.source.clone(), index.suite.clone());
            let known = indexes.entry(key).or_insert_with(|| index.clone());
            if known.date < index.date {
                known.clone_from(index);
            }
        }
    }
    Lock {
        version: LOCK_VERSION,
        family: family.name.clone(),
        release: family.release.clone(),
        // Nothing was chosen by a tool when there is nothing to choose.
        tools: tool.filter(|_| !wheels.is_empty()).into_iter().collect(),
        indexes: indexes.into_values().collect(),
        requests: Vec::new(),
        images: Vec::new(),
        sets: sets.into_values().collect(),
        debs: debs.into_values().collect(),
        wheels: wheels.into_values().collect(),
    }
}

/// What a wheel is built with: of now, or of the previous lock when it was not built now.
fn add_environment(
    debs: &mut BTreeMap<PackageId, Deb>,
    wheels: &mut BTreeMap<PackageId, Wheel>,
    wheel: &Wheel,
    environments: &Environments,
    previous: &Previous,
) {
    let Some(built) = &wheel.built_from else {
        return;
    };
    let Environments {
        debs: new_debs,
        wheels: new_wheels,
    } = environments;
    for id in &built.debs {
        if let Some(deb) = new_debs.get(id).or_else(|| previous.deb(id)) {
            add_deb(debs, deb);
        }
    }
    for id in &built.requirements {
        if let Some(wheel) = new_wheels.get(id).or_else(|| previous.wheel(id)) {
            wheels.entry(id.clone()).or_insert_with(|| wheel.clone());
        }
    }
}

/// One package may satisfy its relations differently on different bases: the lock names all
/// packages that do.
fn add_deb(debs: &mut BTreeMap<PackageId, Deb>, deb: &Deb) {
    let known = debs.entry(deb.id.clone()).or_insert_with(|| deb.clone());
    let depends: BTreeSet<&String> = known.depends.iter().chain(&deb.depends).collect();
    known.depends = depends.into_iter().cloned().collect();
}

fn sorted<'p>(ids: impl Iterator<Item = &'p PackageId>) -> Vec<PackageId> {
    let ids: BTreeSet<&PackageId> = ids.collect();
    ids.into_iter().cloned().collect()
}

/// The images, with their dates and names. The platforms of one image share its date, because
/// they share its name.
fn images(
    family: &Family,
    forest: &Forest,
    solved: &[Solved],
    previous: &Previous,
    options: &Options,
) -> Vec<LockedImage> {
    let today = options.today.to_string();
    let fingerprints: Vec<_> = forest
        .images
        .iter()
        .map(|image| fingerprint(family, image, &solved[image.tree]))
        .collect();
    let dates: Vec<String> = forest
        .images
        .iter()
        .map(|image| {
            let platforms = forest.images.iter().zip(&fingerprints);
            platforms
                .filter(|(it, _)| it.combination == image.combination)
                .map(|(it, fingerprint)| {
                    let platform = forest.trees[it.tree].platform;
                    previous
                        .image(it.combination, platform)
                        .filter(|old| old.fingerprint == *fingerprint)
                        .map_or_else(|| today.clone(), |old| old.date.clone())
                })
                .max()
                .unwrap_or_else(|| today.clone())
        })
        .collect();
    let mut images: Vec<LockedImage> = forest
        .images
        .iter()
        .zip(fingerprints)
        .zip(dates)
        .map(|((image, fingerprint), date)| {
            let tree = &forest.trees[image.tree];
            LockedImage {
                name: name(family, image, tree, &date),
                platform: tree.platform,
                base: image.combination.base.clone(),
                accelerator: image.combination.accelerator.clone(),
                bundle: image.combination.bundle.clone(),
                ide: image.combination.ide.clone(),
                python: tree.base.python,
                date,
                fingerprint,
                sets: image
                    .nodes
                    .iter()
                    .map(|node| tree.nodes[*node].id.clone())
                    .collect(),
            }
        })
        .collect();
    images.sort_by_key(|image| format!("{} {}", image.name, image.platform));
    images
}

fn fingerprint(family: &Family, image: &ImagePath, solved: &Solved) -> kiln_digest::Digest {
    let sets: Vec<_> = image
        .nodes
        .iter()
        .map(|&node| Closure {
            debs: solved.debs[node].iter().collect(),
            wheels: solved.wheels[node].iter().collect(),
        })
        .collect();
    let config = kiln_lock::fingerprint_config(family, image.combination);
    kiln_lock::fingerprint(config, &sets)
}

fn name(family: &Family, image: &ImagePath, tree: &Tree, date: &str) -> String {
    let accelerator = family.accelerators.get(&image.combination.accelerator);
    let python = tree.base.python;
    family.pattern.render(&ImageName {
        accelerator: accelerator.and_then(|it| it.code.clone()),
        ide: image.combination.ide.clone(),
        bundle: image.combination.bundle.clone(),
        os: tree.base.code.clone(),
        python: format!("py{}{}", python.major, python.minor),
        release: family.release.clone(),
        date: date.replace('-', ""),
    })
}
