//! The wheels of the sets of one tree: each bundle with its toolkit and its IDEs is a universe,
//! solved after the one below it.

use std::{
    collections::{BTreeMap, BTreeSet},
    str::FromStr,
};

use kiln_lock::{PackageId, Wheel};
use kiln_recipe::Requirement;
use pep440_rs::Version;
use pep508_rs::PackageName;
use rayon::prelude::*;

use crate::{
    Event, Events, Mode, ResolveError,
    forest::{Role, Tree},
    previous::Previous,
    python::{
        self, PythonError,
        compile::{Group, Question},
        pylock::{Choice, Pin},
        routes::Routes,
        target::Target,
        wheel_name::WheelName,
    },
    solver::Solver,
    source::{Sources, Workshop},
};

/// So many times, the versions that are built from source may turn out not to fit.
const MAX_BUILDS: usize = 12;

/// One tree and everything that its universes are solved from.
pub(crate) struct Universes<'a> {
    pub(crate) tree: &'a Tree<'a>,
    pub(crate) target: &'a Target,
    /// Whether the target is what it was.
    pub(crate) same_target: bool,
    pub(crate) previous: &'a Previous<'a>,
    /// Locked wheels that the source no longer has.
    pub(crate) gone: &'a BTreeSet<PackageId>,
    pub(crate) solver: &'a Solver<'a>,
    pub(crate) workshop: &'a Workshop<'a>,
    pub(crate) mode: Mode,
    pub(crate) events: Events<'a>,
}

/// What is solved together with a bundle and stands on it.
struct Above {
    toolkit: Option<usize>,
    ides: Vec<usize>,
}

impl Above {
    fn nodes(&self) -> impl Iterator<Item = usize> {
        self.toolkit.into_iter().chain(self.ides.iter().copied())
    }
}

/// What one universe adds to the nodes of the tree.
type Filled = Vec<(usize, Vec<Wheel>)>;

impl Universes<'_> {
    /// The wheels of every node.
    pub(crate) fn resolve(&self) -> Result<Vec<Vec<Wheel>>, ResolveError> {
        let mut wheels: Vec<Vec<Wheel>> = vec![Vec::new(); self.tree.nodes.len()];
        for level in self.tree.universes() {
            let solved: Vec<_> = level
                .par_iter()
                .map(|node| self.universe(*node, &wheels))
                .collect();
            for filled in solved {
                for (node, content) in filled? {
                    wheels[node] = content;
                }
            }
        }
        Ok(wheels)
    }

    fn universe(&self, top: usize, wheels: &[Vec<Wheel>]) -> Result<Filled, ResolveError> {
        let nodes = &self.tree.nodes;
        let path = self.tree.path(top);
        let above = Above {
            toolkit: self.tree.toolkit(top),
            ides: self.tree.ides(top),
        };
        let bound = nodes[top].role == Role::Universe { bound: true };
        let below: &[usize] = if bound { &path[..path.len() - 1] } else { &[] };
        // The nodes that this universe decides about.
        let own: Vec<usize> = path[below.len()..]
            .iter()
            .copied()
            .chain(above.nodes())
            .collect();
        let id = &nodes[top].id;
        let old: Option<Filled> = own
            .iter()
            .map(|node| Some((*node, self.previous.wheels(&nodes[*node].id)?)))
            .collect();
        let filled = match &old {
            _ if own.iter().all(|node| nodes[*node].requirements.is_empty()) => {
                own.iter().map(|node| (*node, Vec::new())).collect()
            }
            Some(old) if self.unchanged(&path, &above, below, old, wheels) => old.clone(),
            _ => self
                .solve(top, below, &path, &above, wheels)
                .map_err(|cause| ResolveError::Python {
                    set: id.clone(),
                    cause: Box::new(cause),
                })?,
        };
        let packages: BTreeSet<&PackageId> = filled
            .iter()
            .flat_map(|(_, wheels)| wheels)
            .map(|wheel| &wheel.id)
            .collect();
        (self.events)(Event::Universe {
            set: id.clone(),
            packages: packages.len(),
            moved: old.is_none_or(|old| old != filled),
        });
        Ok(filled)
    }

    /// Whether all that a universe depends on is what it was when it was locked.
    fn unchanged(
        &self,
        path: &[usize],
        above: &Above,
        below: &[usize],
        old: &Filled,
        wheels: &[Vec<Wheel>],
    ) -> bool {
        let nodes = &self.tree.nodes;
        self.mode != Mode::Upgrade
            && self.same_target
            && path
                .iter()
                .copied()
                .chain(above.nodes())
                .all(|it| self.previous.same_python(nodes[it].component))
            && below.iter().all(|it| {
                self.previous
                    .wheels(&nodes[*it].id)
                    .is_some_and(|old| old == wheels[*it])
            })
            && old
                .iter()
                .flat_map(|(_, wheels)| wheels)
                .all(|it| !self.gone.contains(&it.id) && self.same_environment(path[0], it))
    }

    /// Whether a wheel of the previous lock needs not be built again: on the base at `root`,
    /// everything that it was built with is still the same and there.
    pub(crate) fn same_environment(&self, root: usize, wheel: &Wheel) -> bool {
        let Some(built) = &wheel.built_from else {
            return true;
        };
        let os = self.workshop.os;
        let root_id = &self.tree.nodes[root].id;
        let debs: Option<Vec<_>> = built.debs.iter().map(|id| self.previous.deb(id)).collect();
        let is_there =
            |id: &PackageId| !self.gone.contains(id) && self.previous.wheel(id).is_some();
        built.base == *root_id
            && self.previous.debs(root_id).as_ref() == Some(&os.debs[root])
            && built.requirements.iter().all(is_there)
            && debs.is_some_and(|debs| {
                self.mode != Mode::RelockGone || os.have(debs.into_iter()).unwrap_or(false)
            })
    }

    fn solve(
        &self,
        top: usize,
        below: &[usize],
        path: &[usize],
        above: &Above,
        wheels: &[Vec<Wheel>],
    ) -> Result<Filled, PythonError> {
        let nodes = &self.tree.nodes;
        let all: Vec<usize> = path.iter().copied().chain(above.nodes()).collect();
        let groups: Vec<Group> = all
            .iter()
            .map(|node| &nodes[*node])
            .map(|it| Group {
                component: &it.component.id,
                requirements: it.requirements,
            })
            .collect();
        let routes = Routes::of(all.iter().map(|node| nodes[*node].component));
        let fixed: Vec<&Wheel> = below.iter().flat_map(|node| &wheels[*node]).collect();
        routes.check_below(&fixed)?;
        let mut kept = self.kept(top, below, above, wheels);
        kept.retain(|wheel| routes.fits(wheel));
        let mut sources = Sources::new(self, &all, &routes);
        let reusable: Vec<&Wheel> = kept
            .iter()
            .copied()
            .filter(|wheel| sources.is_reusable(wheel))
            .collect();
        sources.keep(reusable);
        sources.keep(fixed.iter().copied());
        let choices = self.choices(&mut sources, &groups, &fixed, &kept, &routes)?;
        let (built, choices): (Vec<_>, Vec<_>) =
            choices.into_iter().partition(|choice| choice.is_source);
        let from_index = |wheel: &&Wheel| wheel.built_from.is_none();
        let keep: Vec<&Wheel> = fixed.into_iter().chain(kept).filter(from_index).collect();
        let known: Vec<&Wheel> = self
            .previous
            .all_wheels()
            .iter()
            .filter(|it| !self.gone.contains(&it.id) && from_index(it))
            .collect();
        let mut chosen = python::lock_wheels(self.solver.fetcher, &choices, &keep, &known)?;
        chosen.extend(built.iter().filter_map(|it| sources.wheel(it).cloned()));
        let requirements = |nodes_of: &[usize]| -> Vec<&[Requirement]> {
            nodes_of.iter().map(|it| nodes[*it].requirements).collect()
        };
        let chain: Vec<usize> = path.iter().copied().chain(above.toolkit).collect();
        let divided = python::contributions(
            &chosen,
            self.target,
            &requirements(&chain),
            &requirements(&above.ides),
        )?;
        let by_id: BTreeMap<&PackageId, &Wheel> = chosen.iter().map(|it| (&it.id, it)).collect();
        let content = |ids: &[PackageId]| -> Vec<Wheel> {
            ids.iter()
                .filter_map(|id| by_id.get(id).map(|wheel| (*wheel).clone()))
                .collect()
        };
        let chain = chain.iter().zip(&divided.chain).skip(below.len());
        let leaves = above.ides.iter().zip(&divided.ides);
        Ok(chain
            .chain(leaves)
            .map(|(node, ids)| (*node, content(ids)))
            .collect())
    }

    /// What uv chooses once it knows what every project that it chose from source requires.
    fn choices(
        &self,
        sources: &mut Sources<'_>,
        groups: &[Group<'_>],
        fixed: &[&Wheel],
        kept: &[&Wheel],
        routes: &Routes,
    ) -> Result<Vec<Choice>, PythonError> {
        let constraints = pins(fixed.iter().copied());
        let preferences = pins(kept.iter().copied());
        for _ in 0..=MAX_BUILDS {
            let choices = self.solver.with_compiler(self.target, routes, |compiler| {
                Ok(compiler.compile(&Question {
                    groups,
                    constraints: &constraints,
                    preferences: &preferences,
                    sources: &sources.known(),
                })?)
            })?;
            let new = choices
                .iter()
                .filter(|it| it.is_source && sources.wheel(it).is_none());
            let new: Vec<&Choice> = new.collect();
            if new.is_empty() {
                return Ok(choices);
            }
            for choice in new {
                sources.build(choice)?;
            }
        }
        Err(PythonError::Restless { tries: MAX_BUILDS })
    }

    /// Wheels to keep where that is possible: those of the previous lock, and those that the
    /// toolkit and the IDEs on the bundle below have, so that these are the same on all bundles.
    fn kept<'w>(
        &'w self,
        top: usize,
        below: &[usize],
        above: &Above,
        wheels: &'w [Vec<Wheel>],
    ) -> Vec<&'w Wheel> {
        let nodes = &self.tree.nodes;
        let mut kept: BTreeMap<&str, &Wheel> = BTreeMap::new();
        let tags = self.target.tags();
        let usable = |wheel: &&Wheel| {
            !self.gone.contains(&wheel.id)
                && WheelName::from_str(&wheel.file)
                    .is_ok_and(|name| name.preference(&tags).is_some())
        };
        if self.mode != Mode::Upgrade {
            let own = self.tree.path(top).into_iter().chain(above.nodes());
            let names: Vec<&str> = own.map(|node| nodes[node].id.as_str()).collect();
            let old = names.iter().flat_map(|id| self.previous.set_wheels(id));
            kept.extend(
                old.filter(&usable)
                    .map(|wheel| (wheel.name.as_str(), wheel)),
            );
        }
        if let Some(parent) = below.last() {
            let toolkit = self.tree.toolkit(*parent).into_iter();
            let nodes = toolkit.chain(self.tree.ides(*parent));
            for wheel in nodes.flat_map(|node| &wheels[node]) {
                kept.entry(&wheel.name).or_insert(wheel);
            }
        }
        if self.mode != Mode::Upgrade {
            for wheel in self.elsewhere(top, above).filter(usable) {
                kept.entry(&wheel.name).or_insert(wheel);
            }
        }
        kept.into_values().collect()
    }

    /// What the previous lock has for the same components beside other accelerators on this base:
    /// what is new here shares layers with them.
    fn elsewhere(&self, top: usize, above: &Above) -> impl Iterator<Item = &Wheel> {
        let nodes = &self.tree.nodes;
        let root = self.tree.path(top)[0];
        let own = std::iter::once(top).chain(above.nodes());
        let components: BTreeSet<_> = own.map(|node| &nodes[node].component.id).collect();
        self.previous.wheels_of(&nodes[root].id, components)
    }
}

pub(crate) fn pins<'w>(wheels: impl Iterator<Item = &'w Wheel>) -> Vec<Pin> {
    wheels
        .filter_map(|wheel| {
            Some(Pin {
                name: PackageName::from_str(&wheel.name).ok()?,
                version: Version::from_str(&wheel.version).ok()?,
            })
        })
        .collect()
}
