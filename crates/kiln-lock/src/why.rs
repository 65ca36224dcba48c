//! Why a package is in an image: the requirements of the family that lead to it.

use std::collections::BTreeMap;

use kiln_recipe::{
    Component, ComponentId, Family, Location,
    pep508_rs::{ExtraName, MarkerEnvironment, PackageName, Requirement},
};

use crate::{
    diff::PackageKind,
    lookup::Closure,
    model::{Deb, Lock, LockedImage, PackageId, Set, Wheel},
    paths::{Found, Graph},
    requires::{self, Node, Requires},
};

/// Why a package is in an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Why {
    /// What it is.
    pub kind: PackageKind,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Size of its archive in bytes.
    pub size: u64,
    /// The component whose set brings it.
    pub component: ComponentId,
    /// The shortest ways from what the family says to the package.
    pub paths: Vec<Path>,
    /// How many more there are.
    pub more: usize,
    /// Whether all were counted; else there are even more.
    pub complete: bool,
    /// Names of wheels of the image that are built with it.
    pub builds: Vec<String>,
}

/// A way from what the family says to a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    /// Where it begins.
    pub root: Root,
    /// The package that the root asks for, and those after it; the last is the one in question.
    pub steps: Vec<Step>,
}

/// Where a path begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Root {
    /// A requirement of a component.
    Requirement {
        /// The component.
        component: ComponentId,
        /// The requirement as written.
        text: String,
        /// Where.
        at: Location,
    },
    /// A base has all packages that its distribution calls essential.
    Essential {
        /// The base.
        base: ComponentId,
    },
}

/// A package on a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Its name; with the extra that matters: `uvicorn[standard]`.
    pub package: String,
    /// Its version.
    pub version: String,
    /// The requirement by which the package before asks for it, as its metadata have it; none for
    /// the first package, and for Debian packages, of whose relations the lock has names alone.
    pub requirement: Option<String>,
}

/// Why the packages of this name are in the image: none when it has none, two when a wheel and a
/// Debian package have the name. Each with at most `limit` paths.
///
/// Python requirements count when their markers hold in the image, and those of extras where the
/// extra is asked for.
pub fn why(
    family: &Family,
    lock: &Lock,
    image: &LockedImage,
    name: &str,
    limit: usize,
) -> Vec<Why> {
    let sets: Vec<&Set> = image.sets.iter().filter_map(|id| lock.set(id)).collect();
    let closure = lock.image_closure(image);
    let components = family.components(&image.combination());
    let brings = |id: &PackageId| {
        let found = sets
            .iter()
            .find(|set| set.debs.binary_search(id).is_ok() || set.wheels.binary_search(id).is_ok());
        found.map(|set| set.component.clone())
    };
    let mut answers = Vec::new();
    if let Some(deb) = closure.debs.iter().find(|deb| deb.name == name)
        && let Some(component) = brings(&deb.id)
    {
        let paths = deb_paths(&closure.debs, &components, name, limit);
        answers.push(Why {
            kind: PackageKind::Deb,
            name: deb.name.clone(),
            version: deb.version.clone(),
            size: deb.size,
            component,
            builds: built_with(&closure, |built| built.debs.contains(&deb.id)),
            paths: paths.0,
            more: paths.1,
            complete: paths.2,
        });
    }
    let normal = normal(name);
    if let Some(wheel) = closure.wheels.iter().find(|wheel| wheel.name == normal)
        && let Some(component) = brings(&wheel.id)
    {
        let patch = requires::python_patch(image.python, closure.debs.iter().copied());
        let markers = requires::markers(image.platform, image.python, patch);
        let paths = markers.map(|it| wheel_paths(&closure.wheels, &components, &it, wheel, limit));
        let paths = paths.unwrap_or((Vec::new(), 0, true));
        answers.push(Why {
            kind: PackageKind::Wheel,
            name: wheel.name.clone(),
            version: wheel.version.clone(),
            size: wheel.size,
            component,
            builds: built_with(&closure, |built| built.requirements.contains(&wheel.id)),
            paths: paths.0,
            more: paths.1,
            complete: paths.2,
        });
    }
    answers
}

/// A project's name as locks have it (packaging.python.org, "Names and normalization").
fn normal(name: &str) -> String {
    let lower = name.to_ascii_lowercase();
    let parts = lower.split(['-', '_', '.']).filter(|it| !it.is_empty());
    parts.collect::<Vec<_>>().join("-")
}

/// The wheels of the image that are built from source with something.
fn built_with(
    closure: &Closure<'_>,
    uses: impl Fn(&crate::model::BuiltFrom) -> bool,
) -> Vec<String> {
    let built = closure
        .wheels
        .iter()
        .filter(|wheel| wheel.built_from.as_ref().is_some_and(&uses));
    built.map(|wheel| wheel.name.clone()).collect()
}

type Ways = (Vec<Path>, usize, bool);

fn root(component: &Component, text: &str, at: &Location) -> Root {
    Root::Requirement {
        component: component.id.clone(),
        text: text.to_owned(),
        at: at.clone(),
    }
}

fn deb_paths(debs: &[&Deb], components: &[&Component], name: &str, limit: usize) -> Ways {
    let index: BTreeMap<&str, usize> = debs
        .iter()
        .enumerate()
        .map(|(index, deb)| (deb.name.as_str(), index))
        .collect();
    let mut graph = Graph {
        into: vec![Vec::new(); debs.len()],
        roots: vec![0; debs.len()],
        whole: (0..debs.len()).collect(),
    };
    for (from, deb) in debs.iter().enumerate() {
        for needed in &deb.depends {
            if let Some(&to) = index.get(needed.as_str()) {
                graph.into[to].push((from, 0));
            }
        }
    }
    let mut roots: Vec<Vec<Root>> = vec![Vec::new(); debs.len()];
    for component in components {
        for package in &component.os_packages {
            if let Some(&to) = index.get(package.name.as_str()) {
                roots[to].push(root(component, &package.text, &package.at));
            }
        }
    }
    let base = components.first().map(|component| &component.id);
    for (index, deb) in debs.iter().enumerate() {
        if let Some(base) = base.filter(|_| deb.essential) {
            roots[index].push(Root::Essential { base: base.clone() });
        }
    }
    graph.roots = roots.iter().map(Vec::len).collect();
    let Some(&target) = index.get(name) else {
        return (Vec::new(), 0, true);
    };
    let paths = graph.paths(target, limit);
    let step = |node: usize| Step {
        package: debs[node].name.clone(),
        version: debs[node].version.clone(),
        requirement: None,
    };
    let path = |found: &Found| Path {
        root: roots[found.first][found.root].clone(),
        steps: std::iter::once(step(found.first))
            .chain(found.steps.iter().map(|&(_, node)| step(node)))
            .collect(),
    };
    let found = paths.found.iter().map(path).collect();
    (found, paths.more, paths.complete)
}

/// The wheels of an image as nodes: each project, and each extra that something asks for.
struct Wheels<'a> {
    by_name: BTreeMap<PackageName, &'a Wheel>,
    requires: Requires,
    markers: &'a MarkerEnvironment,
    nodes: BTreeMap<Node, usize>,
    list: Vec<Node>,
    graph: Graph,
    /// The requirements that edges name by their places.
    said: Vec<String>,
    roots: Vec<Vec<Root>>,
}

impl Wheels<'_> {
    /// The place of a node; new ones are still to be followed.
    fn place(&mut self, node: Node) -> Option<usize> {
        if !self.by_name.contains_key(&node.0) {
            return None;
        }
        if let Some(&place) = self.nodes.get(&node) {
            return Some(place);
        }
        let place = self.list.len();
        let whole = self.list.iter().position(|other| other.0 == node.0);
        self.graph.whole.push(whole.unwrap_or(place));
        self.list.push(node.clone());
        self.nodes.insert(node, place);
        self.graph.into.push(Vec::new());
        self.roots.push(Vec::new());
        Some(place)
    }

    fn follow(&mut self) {
        let mut next = 0;
        while let Some(node) = self.list.get(next).cloned() {
            let plain: Node = (node.0.clone(), None);
            let held: Vec<Requirement> = requires::held(&self.requires, self.markers, &node)
                // What holds without the extra leads on from the plain node.
                .filter(|it| node.1.is_none() || !it.evaluate_markers(self.markers, &[]))
                .cloned()
                .collect();
            debug_assert!(node.1.is_none() || self.nodes.contains_key(&plain));
            for requirement in held {
                self.said.push(requirement.to_string());
                let by = self.said.len() - 1;
                for led in requires::leads_to(&requirement) {
                    if let Some(to) = self.place(led) {
                        self.graph.into[to].push((next, by));
                    }
                }
            }
            next += 1;
        }
    }

    fn step(&self, node: usize, by: Option<usize>) -> Step {
        let (name, extra) = &self.list[node];
        let version = self.by_name.get(name).map(|wheel| wheel.version.clone());
        Step {
            package: shown(name, extra.as_ref()),
            version: version.unwrap_or_default(),
            requirement: by.map(|by| self.said[by].clone()),
        }
    }
}

fn shown(name: &PackageName, extra: Option<&ExtraName>) -> String {
    extra.map_or_else(|| name.to_string(), |extra| format!("{name}[{extra}]"))
}

fn wheel_paths(
    wheels: &[&Wheel],
    components: &[&Component],
    markers: &MarkerEnvironment,
    wanted: &Wheel,
    limit: usize,
) -> Ways {
    let mut by_name = BTreeMap::new();
    let mut requires = Requires::new();
    let mut target = None;
    for wheel in wheels {
        // Locks hold names that projects may have.
        let Some(name) = requires::parse_requirement(&wheel.name).map(|it| it.name) else {
            continue;
        };
        let requirements = wheel.requires.iter();
        let requirements = requirements.filter_map(|text| requires::parse_requirement(text));
        requires.insert(name.clone(), requirements.collect());
        if wheel.id == wanted.id {
            target = Some((name.clone(), None));
        }
        by_name.insert(name, *wheel);
    }
    let mut all = Wheels {
        by_name,
        requires,
        markers,
        nodes: BTreeMap::new(),
        list: Vec::new(),
        graph: Graph::default(),
        said: Vec::new(),
        roots: Vec::new(),
    };
    for component in components {
        for requirement in &component.requirements {
            if !requirement.parsed.evaluate_markers(markers, &[]) {
                continue;
            }
            for node in requires::leads_to(&requirement.parsed) {
                if let Some(place) = all.place(node) {
                    let root = root(component, &requirement.text, &requirement.at);
                    all.roots[place].push(root);
                }
            }
        }
    }
    all.follow();
    all.graph.roots = all.roots.iter().map(Vec::len).collect();
    let Some(&target) = target.and_then(|node| all.nodes.get(&node)) else {
        return (Vec::new(), 0, true);
    };
    let paths = all.graph.paths(target, limit);
    let path = |found: &Found| Path {
        root: all.roots[found.first][found.root].clone(),
        steps: std::iter::once(all.step(found.first, None))
            .chain(
                found
                    .steps
                    .iter()
                    .map(|&(by, node)| all.step(node, Some(by))),
            )
            .collect(),
    };
    let found = paths.found.iter().map(path).collect();
    (found, paths.more, paths.complete)
}
