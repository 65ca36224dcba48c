//! Rules about several files at once. They are checked only when each file is right by itself.

use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};

use crate::{
    error::{RecipeError, nearest},
    model::{Combination, Component, ComponentId, Family},
    name::{ImageName, MAX_NAME},
    parse::{AllPlaces, collect},
    source::{Problems, Spot},
};

pub(crate) fn check(family: &Family, places: &AllPlaces) -> Vec<RecipeError> {
    // What follows walks the chains of bundles, so they must end.
    let cycles = collect(|problems| extends_cycles(family, places, problems));
    if !cycles.is_empty() {
        return cycles;
    }
    collect(|problems| {
        images(family, places, problems);
        for image in &family.images {
            let components = family.components(image);
            file_collisions(&components, places, problems);
            variables(&components, places, problems);
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

fn images(family: &Family, places: &AllPlaces, problems: &Problems) {
    let mut combinations = BTreeMap::new();
    let mut names = BTreeMap::new();
    for (image, spot) in family.images.iter().zip(&places.images) {
        let Combination {
            base,
            accelerator,
            bundle,
            ide,
            at,
            ..
        } = image;
        if let Some(first) = combinations.insert((base, accelerator, bundle, ide), at.line) {
            let message = "this image stands twice".to_owned();
            problems.add(
                spot.clone(),
                message,
                Some(format!("the other stands in line {first}")),
            );
            continue;
        }
        let Some(parts) = family.image_name(image, "00000000") else {
            continue;
        };
        if let (Some(code), false) = (&parts.accelerator, family.pattern.has_accelerator()) {
            problems.add(
                spot.clone(),
                format!(
                    "the family's `name-pattern` has no place for `{code}`, which tells images with `{accelerator}` from others"
                ),
                Some("put `{cuda}-` into the pattern".to_owned()),
            );
            continue;
        }
        let name = family.pattern.render(&parts);
        if name.len() > MAX_NAME {
            let message = format!("the name of this image is longer than {MAX_NAME} characters");
            problems.add(spot.clone(), message, None);
        }
        match names.entry(name) {
            Entry::Vacant(entry) => {
                entry.insert(at.line);
            }
            Entry::Occupied(entry) => problems.add(
                spot.clone(),
                format!(
                    "this image would have the same name as the one in line {}",
                    entry.get()
                ),
                Some(clash_hint(&parts)),
            ),
        }
    }
}

fn clash_hint(parts: &ImageName) -> String {
    format!(
        "names tell images apart by IDE, bundle, Python, the base's `code` (`{}`) and the \
         accelerator's ({})",
        parts.os,
        parts
            .accelerator
            .as_ref()
            .map_or_else(|| "none".to_owned(), |code| format!("`{code}`"))
    )
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
fn variables(components: &[&Component], places: &AllPlaces, problems: &Problems) {
    let mut defined = BTreeSet::new();
    for component in components {
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
