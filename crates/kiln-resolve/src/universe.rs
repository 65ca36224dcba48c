//! The wheels of the sets of one tree: each bundle with its IDEs is a universe, solved after the
//! one below it.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    str::FromStr,
    sync::Mutex,
};

use kiln_fetch::Fetcher;
use kiln_lock::{PackageId, Tool, Wheel};
use kiln_recipe::Requirement;
use pep440_rs::Version;
use pep508_rs::PackageName;
use rayon::prelude::*;

use crate::{
    Event, Events, Mode, Options, ResolveError,
    forest::{Role, Tree},
    previous::Previous,
    python::{
        self, PythonError, SOURCE,
        compile::{CompileError, Compiler, Group, Question},
        pylock::{Choice, Pin},
        target::Target,
        tool::{self, Uv},
        wheel_name::WheelName,
    },
    source::{Sources, Workshop},
};

/// So many times, the versions that are built from source may turn out not to fit.
const MAX_BUILDS: usize = 12;

/// The resolver of Python packages: found when the first universe needs it.
pub(crate) struct Solver<'a> {
    pub(crate) fetcher: &'a Fetcher,
    pub(crate) options: &'a Options,
    version: &'a str,
    locked: &'a [Tool],
    found: Mutex<Option<(Uv, String)>>,
}

impl<'a> Solver<'a> {
    pub(crate) fn new(
        fetcher: &'a Fetcher,
        options: &'a Options,
        version: Option<&'a str>,
        locked: &'a [Tool],
    ) -> Self {
        let version = version.unwrap_or(tool::DEFAULT_VERSION);
        Self {
            fetcher,
            options,
            version,
            locked,
            found: Mutex::new(None),
        }
    }

    /// Where uv and the index are.
    fn find(&self) -> Result<(PathBuf, String), PythonError> {
        let mut found = self
            .found
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some((uv, index)) = found.as_ref() {
            return Ok((uv.executable.clone(), index.clone()));
        }
        if self.options.offline {
            return Err(PythonError::Offline);
        }
        let index = self.fetcher.sources().url_for_tools(SOURCE)?;
        let Options {
            cache_dir,
            downloads_dir,
            ..
        } = self.options;
        let uv = tool::find(
            self.version,
            self.locked,
            self.fetcher,
            cache_dir,
            downloads_dir,
        )?;
        let executable = uv.executable.clone();
        *found = Some((uv, index.clone()));
        Ok((executable, index))
    }

    /// Runs uv for a target.
    pub(crate) fn with_compiler<T>(
        &self,
        target: &Target,
        run: impl FnOnce(&Compiler) -> Result<T, PythonError>,
    ) -> Result<T, PythonError> {
        let (uv, index_url) = self.find()?;
        run(&Compiler {
            uv: &uv,
            index_url: &index_url,
            cache_dir: &self.options.cache_dir.join("uv"),
            target,
            exclude_newer: self.options.exclude_newer.as_deref(),
        })
    }

    /// Finds out which few requirements contradict each other, where that is the error.
    pub(crate) fn explain(&self, error: ResolveError) -> ResolveError {
        let ResolveError::Python { set, mut cause } = error else {
            return error;
        };
        if let PythonError::Compile(CompileError::NoSolution {
            target,
            culprits,
            sources,
            ..
        }) = cause.as_mut()
        {
            let explained = self.with_compiler(target, |it| Ok(it.explain(culprits, sources)));
            *culprits = explained.unwrap_or_default();
        }
        ResolveError::Python { set, cause }
    }

    /// The tool for the lock: that of the previous one at this version, else what was fetched.
    /// (A host of another architecture fetches another wheel; the lock does not follow it.)
    pub(crate) fn tool(self) -> Option<Tool> {
        let found = self
            .found
            .into_inner()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let kept = self
            .locked
            .iter()
            .find(|it| it.name == "uv" && it.version == self.version);
        kept.cloned().or_else(|| found.and_then(|(uv, _)| uv.tool))
    }
}

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
        let ides = self.tree.ides(top);
        let bound = nodes[top].role == Role::Universe { bound: true };
        let below: &[usize] = if bound { &path[..path.len() - 1] } else { &[] };
        // The nodes that this universe decides about.
        let own: Vec<usize> = path[below.len()..].iter().chain(&ides).copied().collect();
        let id = &nodes[top].id;
        let old: Option<Filled> = own
            .iter()
            .map(|node| Some((*node, self.previous.wheels(&nodes[*node].id)?)))
            .collect();
        let filled = match &old {
            Some(old) if self.unchanged(&path, &ides, below, old, wheels) => old.clone(),
            _ if own
                .iter()
                .all(|node| nodes[*node].component.requirements.is_empty()) =>
            {
                own.iter().map(|node| (*node, Vec::new())).collect()
            }
            _ => self
                .solve(top, below, &path, &ides, wheels)
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
        ides: &[usize],
        below: &[usize],
        old: &Filled,
        wheels: &[Vec<Wheel>],
    ) -> bool {
        let nodes = &self.tree.nodes;
        self.mode != Mode::Upgrade
            && self.same_target
            && path
                .iter()
                .chain(ides)
                .all(|it| self.previous.same_python(nodes[*it].component))
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
        ides: &[usize],
        wheels: &[Vec<Wheel>],
    ) -> Result<Filled, PythonError> {
        let nodes = &self.tree.nodes;
        let groups: Vec<Group> = path
            .iter()
            .chain(ides)
            .map(|node| nodes[*node].component)
            .map(|it| Group {
                component: &it.id,
                requirements: &it.requirements,
            })
            .collect();
        let fixed: Vec<&Wheel> = below.iter().flat_map(|node| &wheels[*node]).collect();
        let kept = self.kept(top, below, ides, wheels);
        let own: Vec<usize> = path.iter().chain(ides).copied().collect();
        let mut sources = Sources::new(self, path[0], &own);
        let reusable: Vec<&Wheel> = kept
            .iter()
            .copied()
            .filter(|wheel| sources.is_reusable(wheel))
            .collect();
        sources.keep(reusable);
        sources.keep(fixed.iter().copied());
        let choices = self.choices(&mut sources, &groups, &fixed, &kept)?;
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
            nodes_of
                .iter()
                .map(|it| nodes[*it].component.requirements.as_slice())
                .collect()
        };
        let divided = python::contributions(
            &chosen,
            self.target,
            &requirements(path),
            &requirements(ides),
        )?;
        let by_id: BTreeMap<&PackageId, &Wheel> = chosen.iter().map(|it| (&it.id, it)).collect();
        let content = |ids: &[PackageId]| -> Vec<Wheel> {
            ids.iter()
                .filter_map(|id| by_id.get(id).map(|wheel| (*wheel).clone()))
                .collect()
        };
        let chain = path.iter().zip(&divided.chain).skip(below.len());
        let leaves = ides.iter().zip(&divided.ides);
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
    ) -> Result<Vec<Choice>, PythonError> {
        let constraints = pins(fixed.iter().copied());
        let preferences = pins(kept.iter().copied());
        for _ in 0..=MAX_BUILDS {
            let choices = self.solver.with_compiler(self.target, |compiler| {
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
    /// IDEs on the bundle below have, so that an IDE is the same on all bundles.
    fn kept<'w>(
        &'w self,
        top: usize,
        below: &[usize],
        ides: &[usize],
        wheels: &'w [Vec<Wheel>],
    ) -> Vec<&'w Wheel> {
        let nodes = &self.tree.nodes;
        let mut kept: BTreeMap<&str, &Wheel> = BTreeMap::new();
        if self.mode != Mode::Upgrade {
            let tags = self.target.tags();
            let usable = |wheel: &&Wheel| {
                !self.gone.contains(&wheel.id)
                    && WheelName::from_str(&wheel.file)
                        .is_ok_and(|name| name.preference(&tags).is_some())
            };
            let own = self.tree.path(top).into_iter().chain(ides.iter().copied());
            let names: Vec<&str> = own.map(|node| nodes[node].id.as_str()).collect();
            let old = names.iter().flat_map(|id| self.previous.set_wheels(id));
            kept.extend(old.filter(usable).map(|wheel| (wheel.name.as_str(), wheel)));
        }
        if let Some(parent) = below.last() {
            for wheel in self
                .tree
                .ides(*parent)
                .into_iter()
                .flat_map(|ide| &wheels[ide])
            {
                kept.entry(&wheel.name).or_insert(wheel);
            }
        }
        kept.into_values().collect()
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
