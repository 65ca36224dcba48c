//! Whether a lock still fits its family, and what does not.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use kiln_recipe::{Combination, Component, ComponentId, Family, Location};

use crate::{
    fingerprint::{fingerprint, fingerprint_config},
    model::{Lock, LockedImage, Request},
    request::requests,
};

/// One thing that the family says and the lock does not, or the other way round.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// What differs: a component, an image, or the family.
    pub subject: String,
    /// How: a fragment such as ``requirement added `scipy~=1.18.0` ``.
    pub what: String,
    /// Where the family says it.
    pub at: Option<Location>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.subject, self.what)?;
        match &self.at {
            Some(at) => write!(f, " ({at})"),
            None => Ok(()),
        }
    }
}

/// A lock that does not fit its family. The differences are never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stale {
    /// What differs: the family first, then components, then images.
    pub differences: Vec<Difference>,
}

impl fmt::Display for Stale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, difference) in self.differences.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            difference.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Stale {}

impl Stale {
    /// What a newcomer can do about it.
    pub fn hint(&self) -> Option<String> {
        Some("run `kiln lock`, which moves what these changes concern and nothing else".to_owned())
    }
}

/// Makes sure that a lock is one of this family as it is now.
pub fn check(family: &Family, lock: &Lock) -> Result<(), Stale> {
    let mut differences = Vec::new();
    for (what, old, new) in [
        ("name", &lock.family, &family.name),
        ("release", &lock.release, &family.release),
    ] {
        if old != new {
            let what = format!("{what} changed from `{old}` to `{new}`");
            differences.push(Difference {
                subject: "family".to_owned(),
                what,
                at: None,
            });
        }
    }
    let whole_family = !differences.is_empty();
    let changed_files = compare_requests(family, lock, &mut differences);
    compare_images(family, lock, &mut differences, |image| {
        // These say already why the configuration differs.
        whole_family
            || family
                .components(image)
                .iter()
                .any(|it| changed_files.contains(&it.id))
    });
    if differences.is_empty() {
        Ok(())
    } else {
        Err(Stale { differences })
    }
}

/// The components whose placed files differ.
fn compare_requests(
    family: &Family,
    lock: &Lock,
    differences: &mut Vec<Difference>,
) -> BTreeSet<ComponentId> {
    let mut changed_files = BTreeSet::new();
    let old: BTreeMap<_, _> = lock.requests.iter().map(|it| (&it.component, it)).collect();
    let now = requests(family);
    let mut components: BTreeMap<&ComponentId, &Component> = BTreeMap::new();
    for image in &family.images {
        components.extend(family.components(image).into_iter().map(|it| (&it.id, it)));
    }
    for new in &now {
        let subject = new.component.to_string();
        let mut push = |what, at| {
            differences.push(Difference {
                subject: subject.clone(),
                what,
                at,
            });
        };
        let component = components.get(&new.component);
        let Some(old) = old.get(&new.component) else {
            push(
                "component added".to_owned(),
                component.map(|it| it.at.clone()),
            );
            continue;
        };
        let Some(component) = component else { continue };
        compare_texts(
            "requirement",
            &old.requirements,
            &new.requirements,
            &mut |what, text| {
                let now = component
                    .requirements
                    .iter()
                    .find(|it| Some(it.text.as_str()) == text);
                push(what, now.map(|it| it.at.clone()));
            },
        );
        compare_texts(
            "OS package",
            &old.os_packages,
            &new.os_packages,
            &mut |what, text| {
                let now = component
                    .os_packages
                    .iter()
                    .find(|it| Some(it.text.as_str()) == text);
                push(what, now.map(|it| it.at.clone()));
            },
        );
        if old.from != new.from {
            let what = format!(
                "it stood on {}, now on {}",
                listed(&old.from),
                listed(&new.from)
            );
            push(what, Some(component.at.clone()));
        }
        compare_indexes(component, old, new, &mut push);
        compare_sources(component, old, new, &mut push);
        if compare_files(component, old, new, &mut push) {
            changed_files.insert(new.component.clone());
        }
    }
    let now: BTreeSet<_> = now.iter().map(|it| &it.component).collect();
    for old in lock
        .requests
        .iter()
        .filter(|it| !now.contains(&it.component))
    {
        let (subject, what) = (old.component.to_string(), "component removed".to_owned());
        differences.push(Difference {
            subject,
            what,
            at: None,
        });
    }
    changed_files
}

/// The items of a list for a sentence.
fn listed(items: &[String]) -> String {
    if items.is_empty() {
        return "nothing of its own".to_owned();
    }
    format!("`{}`", items.join(", "))
}

/// Says which projects come from another index than they did.
fn compare_indexes(
    component: &Component,
    old: &Request,
    new: &Request,
    push: &mut impl FnMut(String, Option<Location>),
) {
    let sources = |request: &Request| -> BTreeMap<String, String> {
        let indexes = request.python_indexes.iter();
        let projects = indexes
            .flat_map(|(source, projects)| projects.iter().map(|it| (it.clone(), source.clone())));
        projects.collect()
    };
    let (old, new) = (sources(old), sources(new));
    let projects: BTreeSet<_> = old.keys().chain(new.keys()).collect();
    for project in projects {
        let what = match (old.get(project), new.get(project)) {
            (None, Some(now)) => format!("`{project}` now comes from `{now}`"),
            (Some(before), None) => format!("`{project}` no longer comes from `{before}`"),
            (Some(before), Some(now)) if before != now => {
                format!("`{project}` came from `{before}`, now from `{now}`")
            }
            _ => continue,
        };
        let indexes = component.python_indexes.values();
        let mut places = indexes.filter_map(|it| it.projects.get(project));
        push(what, places.next().cloned());
    }
}

/// Says which projects are built from source that were not, or otherwise.
fn compare_sources(
    component: &Component,
    old: &Request,
    new: &Request,
    push: &mut impl FnMut(String, Option<Location>),
) {
    let projects: BTreeSet<_> = old
        .from_source
        .keys()
        .chain(new.from_source.keys())
        .collect();
    for project in projects {
        let (before, now) = (old.from_source.get(project), new.from_source.get(project));
        let what = match (before, now) {
            (None, Some(_)) => format!("`{project}` is now built from source"),
            (Some(_), None) => format!("`{project}` is no longer built from source"),
            (before, now) if before != now => format!("how `{project}` is built changed"),
            _ => continue,
        };
        let source = component.from_source.get(project);
        push(what, source.map(|source| source.at.clone()));
    }
}

/// Whether the placed files differ.
fn compare_files(
    component: &Component,
    old: &Request,
    new: &Request,
    push: &mut impl FnMut(String, Option<Location>),
) -> bool {
    for (path, digest) in &new.files {
        let what = match old.files.get(path) {
            None => "added",
            Some(old) if old != digest => "changed",
            Some(_) => continue,
        };
        let file = component.files.iter().find(|file| file.to == *path);
        push(
            format!("file {what} `{path}`"),
            file.map(|file| file.at.clone()),
        );
    }
    for path in old
        .files
        .keys()
        .filter(|path| !new.files.contains_key(*path))
    {
        push(format!("file removed `{path}`"), None);
    }
    old.files != new.files
}

/// Says what was added, removed or, where the name is the same, changed. The second argument of
/// `push` is the text as it stands now.
fn compare_texts(
    noun: &str,
    old: &[String],
    new: &[String],
    push: &mut impl FnMut(String, Option<&str>),
) {
    let mut removed: Vec<_> = old.iter().filter(|text| !new.contains(text)).collect();
    for text in new.iter().filter(|text| !old.contains(text)) {
        let before = removed.iter().position(|old| name(old) == name(text));
        match before.map(|index| removed.remove(index)) {
            Some(before) => push(
                format!("{noun} changed from `{before}` to `{text}`"),
                Some(text),
            ),
            None => push(format!("{noun} added `{text}`"), Some(text)),
        }
    }
    for text in removed {
        push(format!("{noun} removed `{text}`"), None);
    }
}

/// The name that a requirement of either kind begins with, normalised as Python's are
/// (Python packaging, "Names and normalization").
fn name(requirement: &str) -> String {
    let legal = |c: char| c.is_ascii_alphanumeric() || "+-._".contains(c);
    let end = requirement.find(|c| !legal(c)).unwrap_or(requirement.len());
    requirement[..end]
        .to_ascii_lowercase()
        .replace(['_', '.'], "-")
}

fn compare_images(
    family: &Family,
    lock: &Lock,
    differences: &mut Vec<Difference>,
    explained: impl Fn(&Combination) -> bool,
) {
    let mut locked: BTreeMap<_, &LockedImage> = lock
        .images
        .iter()
        .map(|it| {
            (
                (&it.base, &it.accelerator, &it.bundle, &it.ide, it.platform),
                it,
            )
        })
        .collect();
    for image in &family.images {
        for platform in &family.platforms {
            let Combination {
                base,
                accelerator,
                bundle,
                ide,
                at,
                ..
            } = image;
            let key = (base, accelerator, bundle, ide, *platform);
            let Some(old) = locked.remove(&key) else {
                let subject = format!("image {ide}-{bundle} on {base}, {accelerator}, {platform}");
                let what = "image added".to_owned();
                differences.push(Difference {
                    subject,
                    what,
                    at: Some(at.clone()),
                });
                continue;
            };
            let config = fingerprint_config(family, image);
            let now = fingerprint(config, &lock.set_closures(old));
            if now != old.fingerprint && !explained(image) {
                let what =
                    "its configuration changed: environment, files, commands, port, labels, \
                            user, or what the family says about itself; or the lock was edited"
                        .to_owned();
                let (subject, at) = (format!("image {}", old.name), Some(at.clone()));
                differences.push(Difference { subject, what, at });
            }
        }
    }
    for old in locked.into_values() {
        let subject = format!("image {}", old.name);
        let what = format!("image removed ({})", old.platform);
        differences.push(Difference {
            subject,
            what,
            at: None,
        });
    }
}
