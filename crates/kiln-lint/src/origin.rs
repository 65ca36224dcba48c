//! Which requirement brings a package: the shortest path from the family's files.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use kiln_lock::{
    Closure, Lock, LockedImage, PackageId,
    requires::{self, Node},
};
use kiln_recipe::{Component, ComponentId, Location};
use pep508_rs::{MarkerEnvironment, Requirement};

/// What brings a package into an image.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin {
    /// The component that asks.
    pub component: ComponentId,
    /// Where it asks.
    pub at: Location,
    /// What it asks for, as written. Empty for what every base has.
    pub request: String,
    /// From the package that is asked for to the one that is brought.
    pub path: Vec<String>,
}

/// What every wheel of a lock requires.
pub(crate) struct Graph<'a>(HashMap<&'a PackageId, Vec<Requirement>>);

impl<'a> Graph<'a> {
    pub(crate) fn new(lock: &'a Lock) -> Self {
        let parse = |text: &String| requires::parse_requirement(text);
        let wheels = lock.wheels.iter();
        Self(
            wheels
                .map(|wheel| (&wheel.id, wheel.requires.iter().filter_map(parse).collect()))
                .collect(),
        )
    }
}

/// The origins of all packages of an image.
#[derive(Debug, Default)]
pub(crate) struct Origins {
    wheels: BTreeMap<String, Origin>,
    debs: BTreeMap<String, Origin>,
    /// For what nothing asks: the essential packages of the base.
    fallback: Option<Origin>,
}

impl Origins {
    pub(crate) fn new(
        image: &LockedImage,
        components: &[&Component],
        closure: &Closure<'_>,
        graph: &Graph<'_>,
    ) -> Self {
        let patch = requires::python_patch(image.python, closure.debs.iter().copied());
        let markers = requires::markers(image.platform, image.python, patch);
        let wheels = markers.map(|markers| wheels(components, closure, graph, &markers));
        let fallback = components.first().map(|base| Origin {
            component: base.id.clone(),
            at: base.at.clone(),
            request: String::new(),
            path: Vec::new(),
        });
        Self {
            wheels: wheels.unwrap_or_default(),
            debs: debs(components, closure),
            fallback,
        }
    }

    /// Of a wheel.
    pub(crate) fn wheel(&self, name: &str) -> Option<&Origin> {
        self.wheels.get(name).or(self.fallback.as_ref())
    }

    /// Of a Debian package.
    pub(crate) fn deb(&self, name: &str) -> Option<&Origin> {
        self.debs.get(name).or(self.fallback.as_ref())
    }
}

fn wheels(
    components: &[&Component],
    closure: &Closure<'_>,
    graph: &Graph<'_>,
    markers: &MarkerEnvironment,
) -> BTreeMap<String, Origin> {
    let ids: HashMap<&str, &PackageId> = closure
        .wheels
        .iter()
        .map(|wheel| (wheel.name.as_str(), &wheel.id))
        .collect();
    let mut found: BTreeMap<String, Origin> = BTreeMap::new();
    let mut seen: BTreeSet<Node> = BTreeSet::new();
    let mut open: VecDeque<Node> = VecDeque::new();
    let mut reach = |requirement: &Requirement,
                     found: &mut BTreeMap<String, Origin>,
                     open: &mut VecDeque<Node>,
                     origin: &dyn Fn() -> Option<Origin>| {
        let name = requirement.name.to_string();
        if !ids.contains_key(name.as_str()) {
            return;
        }
        if !found.contains_key(&name)
            && let Some(mut origin) = origin()
        {
            origin.path.push(name.clone());
            found.insert(name.clone(), origin);
        }
        for node in requires::leads_to(requirement) {
            if seen.insert(node.clone()) {
                open.push_back(node);
            }
        }
    };
    for component in components {
        let requirements = component.requirements.iter();
        let held = requirements.filter(|it| it.parsed.evaluate_markers(markers, &[]));
        for requirement in held {
            reach(&requirement.parsed, &mut found, &mut open, &|| {
                Some(Origin {
                    component: component.id.clone(),
                    at: requirement.at.clone(),
                    request: requirement.text.clone(),
                    path: Vec::new(),
                })
            });
        }
    }
    while let Some((name, extra)) = open.pop_front() {
        let name = name.to_string();
        let requires = ids.get(name.as_str()).and_then(|id| graph.0.get(id));
        for requirement in requires.into_iter().flatten() {
            if requirement.evaluate_markers(markers, extra.as_slice()) {
                let parent = found.get(&name).cloned();
                reach(requirement, &mut found, &mut open, &|| parent.clone());
            }
        }
    }
    found
}

fn debs(components: &[&Component], closure: &Closure<'_>) -> BTreeMap<String, Origin> {
    let depends: HashMap<&str, &[String]> = closure
        .debs
        .iter()
        .map(|deb| (deb.name.as_str(), deb.depends.as_slice()))
        .collect();
    let mut found: BTreeMap<String, Origin> = BTreeMap::new();
    let mut open = VecDeque::new();
    for component in components {
        for package in &component.os_packages {
            if depends.contains_key(package.name.as_str()) && !found.contains_key(&package.name) {
                let origin = Origin {
                    component: component.id.clone(),
                    at: package.at.clone(),
                    request: package.text.clone(),
                    path: vec![package.name.clone()],
                };
                found.insert(package.name.clone(), origin);
                open.push_back(package.name.clone());
            }
        }
    }
    while let Some(name) = open.pop_front() {
        let Some(origin) = found.get(&name).cloned() else {
            continue;
        };
        for next in depends.get(name.as_str()).copied().unwrap_or_default() {
            if depends.contains_key(next.as_str()) && !found.contains_key(next) {
                let mut origin = origin.clone();
                origin.path.push(next.clone());
                found.insert(next.clone(), origin);
                open.push_back(next.clone());
            }
        }
    }
    found
}
