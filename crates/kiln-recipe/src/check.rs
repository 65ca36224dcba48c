//! Rules about several files at once. They are checked only when each file is right by itself.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    error::{RecipeError, nearest, suggest},
    images,
    model::{Component, ComponentId, ComponentKind, Cuda, Family},
    parse::{AllPlaces, collect},
    source::{Problems, Spot},
};

pub(crate) fn check(family: &Family, places: &AllPlaces) -> Vec<RecipeError> {
    // What follows walks the chains of bundles, so they must end.
    let cycles = collect(|problems| extends_cycles(family, places, problems));
    if !cycles.is_empty() {
        return cycles;
    }
    // No image can have what nothing provides; that is said once and not of each image.
    let unknown = collect(|problems| unknown_needs(family, places, problems));
    if !unknown.is_empty() {
        return unknown;
    }
    collect(|problems| {
        images::check(family, places, problems);
        for image in &family.images {
            let components = family.components(image);
            file_collisions(&components, places, problems);
            let accelerator = family.accelerators.get(&image.accelerator);
            let cuda = accelerator.and_then(|it| it.cuda.as_ref());
            variables(&components, cuda, places, problems);
        }
        for components in resolved_together(family) {
            source_collisions(&components, places, problems);
            index_collisions(&components, places, problems);
        }
    })
}

/// Each cycle once, at its first bundle by name.
fn extends_cycles(family: &Family, places: &AllPlaces, problems: &Problems) {
    let mut reported = BTreeSet::new();
    for start in family.bundles.keys() {
        let mut path = vec![start.as_str()];
        while let Some(parent) = path
            .last()
            .and_then(|name| family.bundles.get(*name))
            .and_then(|bundle| bundle.extends.as_deref())
        {
            if parent == start && !reported.contains(parent) {
                reported.extend(path.iter().copied());
                path.push(parent);
                let message = if path.len() == 2 {
                    format!("the bundle `{start}` extends itself")
                } else {
                    format!(
                        "bundles extend each other in a circle: {}",
                        path.join(" → ")
                    )
                };
                if let Some(spot) = places.extends.get(start) {
                    problems.add(spot.clone(), message, None);
                }
                break;
            }
            if path.contains(&parent) {
                break;
            }
            path.push(parent);
        }
    }
}

/// What a component needs and nothing else in the family provides, so that no image can have it.
fn unknown_needs(family: &Family, places: &AllPlaces, problems: &Problems) {
    let components = family.all_components();
    for component in &components {
        let others = components.iter().filter(|it| it.id != component.id);
        let provided: BTreeSet<String> = others.flat_map(|it| family.provides(it)).collect();
        let spots = places.components.get(&component.id);
        for (index, needed) in component.needs.iter().enumerate() {
            if provided.contains(&needed.name) {
                continue;
            }
            let spot = spots.and_then(|it| it.rules.needs.get(index)).cloned();
            problems.add(
                spot.unwrap_or_else(|| Spot::file(&component.at.file)),
                format!("nothing else in the family provides `{}`", needed.name),
                suggest(&needed.name, "names", provided.iter().map(String::as_str)),
            );
        }
    }
}

/// Two components of one image that place a file at one destination, reported at the later one.
fn file_collisions(components: &[&Component], places: &AllPlaces, problems: &Problems) {
    let mut seen: BTreeMap<&str, &ComponentId> = BTreeMap::new();
    for component in components {
        for file in &component.files {
            let Some(first) = seen.insert(&file.to, &component.id) else {
                continue;
            };
            let spot = places
                .components
                .get(&component.id)
                .and_then(|it| it.files.get(&file.to));
            problems.add(
                spot.cloned()
                    .unwrap_or_else(|| Spot::file(&component.at.file)),
                format!("`{first}` already places a file at `{}`", file.to),
                None,
            );
        }
    }
}

/// The components whose Python packages are chosen together: those of all images that differ in
/// the IDE alone.
fn resolved_together(family: &Family) -> Vec<Vec<&Component>> {
    let mut together: BTreeMap<_, Vec<&Component>> = BTreeMap::new();
    for image in &family.images {
        let key = (&image.base, &image.accelerator, &image.bundle);
        let known = together.entry(key).or_default();
        for component in family.components(image) {
            if !known.iter().any(|it| it.id == component.id) {
                known.push(component);
            }
        }
    }
    together.into_values().collect()
}

/// Two components that say how one project is built, reported at the later one.
fn source_collisions(components: &[&Component], places: &AllPlaces, problems: &Problems) {
    let mut seen: BTreeMap<&str, &ComponentId> = BTreeMap::new();
    for component in components {
        for project in component.from_source.keys() {
            let Some(first) = seen.insert(project, &component.id) else {
                continue;
            };
            let spot = places
                .components
                .get(&component.id)
                .and_then(|it| it.from_source.get(project));
            problems.add(
                spot.cloned()
                    .unwrap_or_else(|| Spot::file(&component.at.file)),
                format!("`{first}` already says how `{project}` is built"),
                Some("one says it for all whose packages are chosen together".to_owned()),
            );
        }
    }
}

/// Two components that take one project from different indexes, reported at the later one.
fn index_collisions(components: &[&Component], places: &AllPlaces, problems: &Problems) {
    let mut seen: BTreeMap<&str, (&str, &ComponentId)> = BTreeMap::new();
    for component in components {
        for (source, index) in &component.python_indexes {
            for project in index.projects.keys() {
                let first = *seen.entry(project).or_insert((source, &component.id));
                if first.0 == source {
                    continue;
                }
                let spot = places.components.get(&component.id);
                let spot = spot.and_then(|it| it.rules.indexed.get(project));
                problems.add(
                    spot.cloned()
                        .unwrap_or_else(|| Spot::file(&component.at.file)),
                    format!("`{}` already takes `{project}` from `{}`", first.1, first.0),
                    Some("one project comes from one index".to_owned()),
                );
            }
        }
    }
}

/// `${NAME}` in a value means what `NAME` was before, so it must have been something. What a
/// command sets is for that command alone.
fn variables(
    components: &[&Component],
    cuda: Option<&Cuda>,
    places: &AllPlaces,
    problems: &Problems,
) {
    let mut defined: BTreeSet<&str> = BTreeSet::new();
    for component in components {
        if component.id.kind == ComponentKind::Accelerator {
            for name in cuda.into_iter().flat_map(Cuda::variables) {
                defined.insert(name);
            }
        }
        let places = places.components.get(&component.id);
        let file = &component.at.file;
        let spots = places.map_or(&[][..], |it| &it.env);
        check_values(&component.env, spots, file, &mut defined, problems);
        for (index, run) in component.runs.iter().enumerate() {
            let spots = places.and_then(|it| it.runs.get(index));
            let spots = spots.map_or(&[][..], Vec::as_slice);
            check_values(&run.env, spots, file, &mut defined.clone(), problems);
        }
    }
}

/// Checks the references of each value, and adds its variable to those that are defined.
fn check_values<'a>(
    env: &'a [(String, String)],
    spots: &[Spot],
    file: &str,
    defined: &mut BTreeSet<&'a str>,
    problems: &Problems,
) {
    for (index, (name, value)) in env.iter().enumerate() {
        for used in references(value) {
            if used.is_some_and(|used| defined.contains(used)) {
                continue;
            }
            let spot = spots.get(index).cloned();
            let spot = spot.unwrap_or_else(|| Spot::file(file));
            match used {
                None => problems.add(spot, "`${` without a `}`", None),
                Some(used) => {
                    let hint = nearest(used, defined.iter().copied())
                        .map(|near| format!("did you mean `${{{near}}}`?"));
                    let message = format!(
                        "`${{{used}}}` is not set by a component below, nor before in this file"
                    );
                    problems.add(spot, message, hint);
                }
            }
        }
        defined.insert(name);
    }
}

/// The names in `${…}`; `None` for one that does not end.
fn references(value: &str) -> Vec<Option<&str>> {
    let mut names = Vec::new();
    let mut rest = value;
    while let Some(start) = rest.find("${") {
        rest = &rest[start + 2..];
        if let Some((name, after)) = rest.split_once('}') {
            names.push(Some(name));
            rest = after;
        } else {
            names.push(None);
        }
    }
    names
}
