//! The projects of a universe that are built from source, and the environments they are built in.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    str::FromStr,
    sync::{Mutex, PoisonError},
};

use kiln_fetch::{Artifact, FetchError, Wanted};
use kiln_lock::{BuiltFrom, Deb, PackageId, Wheel};
use kiln_recipe::{Component, FromSource, Requirement};
use pep440_rs::Version;
use pep508_rs::PackageName;

use crate::{
    Build, BuiltWheel, Event, Mode,
    build::{BuildFailure, Builder},
    os::OsSets,
    python::{
        self, PythonError,
        compile::{Group, Question},
        configuration::{Known, Source},
        metadata::{self, Metadata, MetadataError},
        pylock::Choice,
        routes::Routes,
        wheel_name::WheelName,
    },
    universe::{Universes, pins},
};

/// What build environments hold and no set does.
#[derive(Debug, Default)]
pub(crate) struct Environments {
    pub(crate) debs: BTreeMap<PackageId, Deb>,
    pub(crate) wheels: BTreeMap<PackageId, Wheel>,
}

/// Who builds, and with what.
pub(crate) struct Workshop<'a> {
    pub(crate) builder: &'a dyn Builder,
    pub(crate) os: &'a OsSets<'a>,
    /// What was used.
    pub(crate) used: Mutex<Environments>,
}

/// How one project is built, and where that is said.
#[derive(Clone, Copy)]
pub(crate) struct Table<'a> {
    component: &'a Component,
    how: &'a FromSource,
}

/// The projects of a universe that are built from source.
pub(crate) struct Sources<'a> {
    universes: &'a Universes<'a>,
    /// The node of the base.
    root: usize,
    /// The accelerator whose archives count.
    archives_of: Option<&'a str>,
    tables: BTreeMap<PackageName, Table<'a>>,
    built: BTreeMap<(PackageName, Version), Wheel>,
    /// Where projects come from, those of build environments as well.
    routes: &'a Routes,
}

impl<'a> Sources<'a> {
    /// What the components at `nodes` say, base first.
    pub(crate) fn new(universes: &'a Universes<'a>, nodes: &[usize], routes: &'a Routes) -> Self {
        let components = nodes.iter().map(|it| universes.tree.nodes[*it].component);
        let tables = components.flat_map(|component| {
            let own = component.from_source.iter();
            own.filter_map(move |(project, how)| {
                let name = PackageName::from_str(project).ok()?;
                Some((name, Table { component, how }))
            })
        });
        Self {
            universes,
            root: nodes.first().copied().unwrap_or_default(),
            archives_of: nodes
                .last()
                .and_then(|node| universes.tree.nodes[*node].archives_of),
            tables: tables.collect(),
            built: BTreeMap::new(),
            routes,
        }
    }

    /// Takes wheels that are there already.
    pub(crate) fn keep<'w>(&mut self, wheels: impl IntoIterator<Item = &'w Wheel>) {
        for wheel in wheels {
            let name = PackageName::from_str(&wheel.name);
            let version = Version::from_str(&wheel.version);
            if let (Some(_), Ok(name), Ok(version)) = (&wheel.built_from, name, version) {
                self.built.insert((name, version), wheel.clone());
            }
        }
    }

    /// Whether a wheel of the previous lock would be built alike again.
    pub(crate) fn is_reusable(&self, wheel: &Wheel) -> bool {
        let table = PackageName::from_str(&wheel.name);
        let table = table.ok().and_then(|name| self.tables.get(&name));
        table.is_some_and(|table| {
            let previous = self.universes.previous;
            let built_with = wheel.built_from.iter().flat_map(|it| &it.requirements);
            self.routes.fits(wheel)
                && built_with
                    .filter_map(|id| previous.wheel(id))
                    .all(|it| self.routes.fits(it))
                && previous.same_source(table.component, &wheel.name)
                && self.universes.same_environment(self.root, wheel)
        })
    }

    /// For the resolver.
    pub(crate) fn known(&self) -> Vec<Source> {
        let mut sources: BTreeMap<&PackageName, Vec<Known>> =
            self.tables.keys().map(|name| (name, Vec::new())).collect();
        for ((name, version), wheel) in &self.built {
            if let Some(known) = sources.get_mut(name) {
                known.push(Known {
                    version: version.clone(),
                    requires: wheel.requires.clone(),
                });
            }
        }
        let source = |(name, known): (&PackageName, _)| Source {
            name: name.clone(),
            known,
        };
        sources.into_iter().map(source).collect()
    }

    /// The wheel of a choice that was built.
    pub(crate) fn wheel(&self, choice: &Choice) -> Option<&Wheel> {
        self.built
            .get(&(choice.name.clone(), choice.version.clone()))
    }

    /// Builds the wheel of a choice.
    pub(crate) fn build(&mut self, choice: &Choice) -> Result<(), PythonError> {
        let Some(table) = self.tables.get(&choice.name).copied() else {
            return Ok(());
        };
        let wheel = self.locked_build(choice, table)?;
        let key = (choice.name.clone(), choice.version.clone());
        self.built.insert(key, wheel);
        Ok(())
    }

    fn locked_build(&self, choice: &Choice, table: Table<'_>) -> Result<Wheel, PythonError> {
        let Universes {
            tree,
            workshop,
            events,
            ..
        } = self.universes;
        let base = &tree.base.component.id.name;
        events(Event::Building {
            project: choice.name.to_string(),
            version: choice.version.to_string(),
            base: base.clone(),
        });
        let failed = |cause: BuildFailure| PythonError::Build {
            project: choice.name.to_string(),
            file: choice.file.clone(),
            cause,
        };
        let (archive, size) = self.download(choice)?;
        let asked = workshop
            .builder
            .requires(&archive, &choice.file)
            .map_err(failed)?;

        let base_debs = &workshop.os.debs[self.root];
        let old = self.old_environment(&choice.name);
        let beyond = workshop.os.beyond(
            self.archives_of,
            base_debs,
            &table.how.os_packages,
            &old.debs,
        );
        let debs = beyond.map_err(|cause| PythonError::BuildPackages {
            project: choice.name.to_string(),
            cause: Box::new(cause),
        })?;
        let mut wanted = as_requirements(choice, table, &asked)?;
        wanted.extend(table.how.requirements.iter().cloned());
        let mut requirements = self.solve(table, &wanted, &old.wheels)?;

        let from = |requirements: &[Wheel]| BuiltFrom {
            file: choice.file.clone(),
            size,
            sha256: choice.sha256,
            base: tree.nodes[self.root].id.clone(),
            debs: sorted(debs.iter().map(|deb| &deb.id)),
            requirements: sorted(requirements.iter().map(|wheel| &wheel.id)),
            env: table.how.env.clone(),
        };
        let version = choice.version.to_string();
        let first = from(&requirements);
        let further = workshop
            .builder
            .further_requires(&self.as_build(&version, &first, choice, &debs, &requirements))
            .map_err(failed)?;
        if !further.is_empty() {
            wanted.extend(as_requirements(choice, table, &further)?);
            requirements = self.solve(table, &wanted, &requirements)?;
        }
        let from = from(&requirements);
        let built = workshop
            .builder
            .build(&self.as_build(&version, &from, choice, &debs, &requirements))
            .map_err(failed)?;
        let wheel = self.lock(choice, built, from)?;
        let mut used = workshop.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.debs
            .extend(debs.into_iter().map(|deb| (deb.id.clone(), deb)));
        let requirements = requirements.into_iter();
        used.wheels
            .extend(requirements.map(|wheel| (wheel.id.clone(), wheel)));
        Ok(wheel)
    }

    /// What a builder is told.
    fn as_build<'b>(
        &'b self,
        version: &'b str,
        from: &'b BuiltFrom,
        choice: &'b Choice,
        debs: &'b [Deb],
        requirements: &'b [Wheel],
    ) -> Build<'b> {
        let tree = self.universes.tree;
        Build {
            project: choice.name.as_ref(),
            version,
            source: &choice.source,
            from,
            platform: tree.platform,
            base: &tree.base.component.id.name,
            base_debs: &self.universes.workshop.os.debs[self.root],
            debs,
            requirements,
        }
    }

    /// The file of a source distribution, and its size.
    fn download(&self, choice: &Choice) -> Result<(PathBuf, u64), PythonError> {
        let solver = self.universes.solver;
        let failed = |cause| PythonError::Fetch {
            what: choice.file.clone(),
            cause: Box::new(cause),
        };
        let size = if let Some(size) = choice.size {
            size
        } else {
            let project = choice.name.as_ref();
            let page = solver.fetcher.project_page(&choice.source, project);
            let page = page.map_err(failed)?;
            let size = page.file(&choice.file).and_then(|file| file.size);
            size.ok_or_else(|| PythonError::NoSize {
                from: choice.source.clone(),
                file: choice.file.clone(),
            })?
        };
        let wanted = Wanted {
            source: choice.source.clone(),
            what: Artifact::Python {
                project: choice.name.to_string(),
                file: choice.file.clone(),
            },
            sha256: choice.sha256,
            size,
        };
        let directory = &solver.options.downloads_dir;
        let mut results = solver.fetcher.download(vec![wanted], directory, |_| {});
        let result = results
            .next()
            .map_or(Err(FetchError::Cancelled), |(_, result)| result);
        Ok((result.map_err(failed)?, size))
    }

    /// What the project was built with when it was locked last, to be preferred.
    fn old_environment(&self, name: &PackageName) -> OldEnvironment {
        let Universes {
            previous,
            tree,
            mode,
            gone,
            ..
        } = self.universes;
        let base = &tree.nodes[self.root].id;
        let built = previous.all_wheels().iter().find_map(|wheel| {
            let built = wheel.built_from.as_ref()?;
            (wheel.name == name.as_ref() && built.base == *base).then_some(built)
        });
        match built {
            Some(built) if *mode != Mode::Upgrade => OldEnvironment {
                debs: built
                    .debs
                    .iter()
                    .filter_map(|id| previous.deb(id).cloned())
                    .collect(),
                wheels: built
                    .requirements
                    .iter()
                    .filter(|id| !gone.contains(id))
                    .filter_map(|id| previous.wheel(id).cloned())
                    .collect(),
            },
            _ => OldEnvironment::default(),
        }
    }

    /// The wheels of a build environment.
    fn solve(
        &self,
        table: Table<'_>,
        wanted: &[Requirement],
        prefer: &[Wheel],
    ) -> Result<Vec<Wheel>, PythonError> {
        let Universes {
            solver,
            previous,
            target,
            gone,
            ..
        } = self.universes;
        let group = Group {
            component: &table.component.id,
            requirements: wanted,
        };
        let choices = solver.with_compiler(target, self.routes, |compiler| {
            Ok(compiler.compile(&Question {
                groups: &[group],
                constraints: &[],
                preferences: &pins(prefer.iter()),
                sources: &[],
            })?)
        })?;
        let keep: Vec<&Wheel> = prefer.iter().collect();
        let known: Vec<&Wheel> = previous
            .all_wheels()
            .iter()
            .filter(|it| !gone.contains(&it.id) && it.built_from.is_none())
            .collect();
        python::lock_wheels(solver.fetcher, &choices, &keep, &known)
    }

    /// The lock's part of a wheel that was built.
    fn lock(
        &self,
        choice: &Choice,
        built: BuiltWheel,
        from: BuiltFrom,
    ) -> Result<Wheel, PythonError> {
        let BuiltWheel {
            file,
            size,
            sha256,
            metadata,
        } = built;
        let unusable = |cause| PythonError::Metadata {
            file: file.clone(),
            cause,
        };
        let metadata = Metadata::parse(&metadata).map_err(unusable)?;
        metadata
            .check(&WheelName::from_str(&file)?)
            .map_err(unusable)?;
        if (&metadata.name, &metadata.version) != (&choice.name, &choice.version) {
            let other = format!("{} {}", metadata.name, metadata.version);
            return Err(unusable(MetadataError::Other(other)));
        }
        for requirement in &metadata.requires {
            metadata::parse_requirement(requirement).map_err(unusable)?;
        }
        let tree = self.universes.tree;
        let id = format!(
            "built/{}/{}/{}/{file}",
            tree.base.component.id.name,
            tree.platform.architecture(),
            sha256.short(),
        );
        Ok(Wheel {
            id: PackageId(id),
            name: choice.name.to_string(),
            version: choice.version.to_string(),
            source: choice.source.clone(),
            size,
            sha256,
            requires: metadata.requires,
            built_from: Some(from),
            file,
        })
    }
}

/// Build requirements as requirements that the family might have written.
fn as_requirements(
    choice: &Choice,
    table: Table<'_>,
    texts: &[String],
) -> Result<Vec<Requirement>, PythonError> {
    let requirement = |text: &String| {
        let parsed = metadata::parse_requirement(text).ok()?;
        let by_url = matches!(
            &parsed.version_or_url,
            Some(pep508_rs::VersionOrUrl::Url(_))
        );
        (!by_url).then(|| Requirement {
            text: text.clone(),
            parsed,
            at: table.how.at.clone(),
        })
    };
    texts
        .iter()
        .map(|text| {
            requirement(text).ok_or_else(|| PythonError::BuildRequirement {
                file: choice.file.clone(),
                requirement: text.chars().take(200).collect(),
            })
        })
        .collect()
}

#[derive(Default)]
struct OldEnvironment {
    debs: Vec<Deb>,
    wheels: Vec<Wheel>,
}

fn sorted<'p>(ids: impl Iterator<Item = &'p PackageId>) -> Vec<PackageId> {
    let ids: BTreeSet<&PackageId> = ids.collect();
    ids.into_iter().cloned().collect()
}
