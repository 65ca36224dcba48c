//! The packages as the SAT solver sees them.
//!
//! A solvable is a package's number. A version set is a name and the solvables of that name that
//! are allowed, listed: whatever decides that (versions, Provides, Multi-Arch) is decided here,
//! and the solver knows nothing of it.

use std::{collections::HashMap, fmt::Display, ops::Range};

use kiln_lock::Deb;
use resolvo::{
    Candidates, Condition, ConditionId, DenseIndex, Dependencies, DependencyProvider, Interner,
    KnownDependencies, NameId, Problem, Requirement, SolvableId, Solver, SolverCache, StringId,
    UnsolvableOrCancelled, VersionSetId, VersionSetUnionId,
    utils::{Pool, VersionSet},
};

use super::SolveError;
use crate::deb::{
    index::{Index, PackageNumber},
    packages::Package,
    relation::{Relation, RelationError},
};

/// All packages, with what the request says about some of them.
pub(super) struct Universe<'a> {
    index: &'a Index,
    /// Numbers of what is installed.
    installed: Vec<PackageNumber>,
    /// For each installed name the one version that may be chosen.
    fixed: HashMap<&'a str, PackageNumber>,
    /// For some names the version that is tried first.
    preferred: HashMap<&'a str, PackageNumber>,
}

impl<'a> Universe<'a> {
    /// Every installed package must be listed, else what it needs and forbids is not known.
    /// Preferred ones need not.
    pub(super) fn new(
        index: &'a Index,
        installed: &[Deb],
        prefer: &[Deb],
    ) -> Result<Self, SolveError> {
        let listed = |deb: &Deb| {
            index
                .numbers(&deb.name)
                .find(|&number| index.get(number).sha256 == deb.sha256)
        };
        if let Some(gone) = installed.iter().find(|deb| listed(deb).is_none()) {
            return Err(SolveError::Unlisted {
                id: gone.id.to_string(),
            });
        }
        let by_name = |debs: &[Deb]| -> HashMap<&'a str, PackageNumber> {
            debs.iter()
                .filter_map(listed)
                .map(|number| (&*index.get(number).name, number))
                .collect()
        };
        let fixed = by_name(installed);
        let mut installed: Vec<PackageNumber> = fixed.values().copied().collect();
        installed.sort_unstable();
        Ok(Self {
            index,
            installed,
            fixed,
            preferred: by_name(prefer),
        })
    }

    pub(super) fn index(&self) -> &'a Index {
        self.index
    }

    pub(super) fn get(&self, number: PackageNumber) -> &'a Package {
        self.index.get(number)
    }

    pub(super) fn installed(&self) -> &[PackageNumber] {
        &self.installed
    }

    /// The versions of a name, newest first.
    pub(super) fn versions(&self, name: &str) -> Vec<PackageNumber> {
        self.index.numbers(name).collect()
    }

    /// For every name whose newest version is Essential, its Essential versions.
    pub(super) fn essential(&self) -> Vec<Vec<PackageNumber>> {
        let mut goals: Vec<Vec<PackageNumber>> = Vec::new();
        for (number, package) in (0..).zip(self.index.packages()) {
            let Range { start, .. } = self.index.numbers(&package.name);
            if !package.essential || !self.get(start).essential {
                continue;
            }
            match goals.last_mut() {
                Some(goal) if goal.first() == Some(&start) => goal.push(number),
                _ => goals.push(vec![number]),
            }
        }
        for goal in &mut goals {
            self.rank_versions(goal);
        }
        goals
    }

    /// What satisfies a relation, best first, with regard to what is preferred.
    pub(super) fn satisfying(&self, relation: &Relation) -> Vec<PackageNumber> {
        let mut found = self.index.satisfying(relation);
        for versions in found.chunk_by_mut(|&a, &b| self.get(a).name == self.get(b).name) {
            self.rank_versions(versions);
        }
        found
    }

    /// What satisfies each group of relations that a package depends on.
    pub(super) fn needs(
        &self,
        number: PackageNumber,
    ) -> Result<Vec<(String, Vec<PackageNumber>)>, RelationError> {
        let groups = self.get(number).dependencies()?;
        Ok(groups
            .iter()
            .map(|group| {
                let mut found: Vec<PackageNumber> = Vec::new();
                for candidate in group.iter().flat_map(|relation| self.satisfying(relation)) {
                    if !found.contains(&candidate) {
                        found.push(candidate);
                    }
                }
                let texts: Vec<_> = group.iter().map(ToString::to_string).collect();
                (texts.join(" | "), found)
            })
            .collect())
    }

    /// What may not be installed beside a package, and the relation that says so. Never a version
    /// of the same name: of a name there is only one.
    pub(super) fn conflicts(
        &self,
        number: PackageNumber,
    ) -> Result<Vec<(String, Vec<PackageNumber>)>, RelationError> {
        let package = self.get(number);
        let relations = package.conflicts()?;
        Ok(relations
            .iter()
            .flatten()
            .map(|relation| {
                let mut found = self.index.satisfying(relation);
                found.retain(|&other| self.get(other).name != package.name);
                (relation.to_string(), found)
            })
            .collect())
    }

    /// `1.2 (bookworm)`.
    pub(super) fn place(&self, number: PackageNumber) -> String {
        let package = self.get(number);
        format!(
            "{} ({})",
            package.version,
            self.index.archive(package.archive).suite
        )
    }

    /// The package as the lock holds it; its `depends` name packages of `chosen`.
    pub(super) fn lock(&self, number: PackageNumber, chosen: &[PackageNumber]) -> Deb {
        let mut deb = self.index.lock(self.get(number));
        let needs = self.needs(number).unwrap_or_default();
        deb.depends = needs
            .iter()
            .filter_map(|(_, found)| found.iter().find(|it| chosen.contains(it)))
            .map(|&it| self.get(it).name.to_string())
            .filter(|name| *name != deb.name)
            .collect();
        deb.depends.sort();
        deb.depends.dedup();
        deb
    }

    /// Whether a package is of a name that is installed in another version.
    pub(super) fn is_barred(&self, number: PackageNumber) -> bool {
        self.fixed
            .get(&*self.get(number).name)
            .is_some_and(|&fixed| fixed != number)
    }

    /// Sorts versions of one name: the preferred one, then newest first (as numbers are).
    fn rank_versions(&self, versions: &mut [PackageNumber]) {
        versions.sort_by_key(|&number| {
            (
                self.preferred.get(&*self.get(number).name) != Some(&number),
                number,
            )
        });
    }
}

/// Packages so that of each goal one is among them and all their needs are; nothing when there is
/// no such choice.
pub(super) fn solution(
    universe: &Universe<'_>,
    goals: &[Vec<PackageNumber>],
) -> Option<Vec<PackageNumber>> {
    let provider = Provider {
        universe,
        pool: Pool::new(),
    };
    let requirements = goals
        .iter()
        .map(|candidates| provider.requirement(candidates).into())
        .collect();
    let mut solver = Solver::new(provider);
    match solver.solve(Problem::new().requirements(requirements)) {
        Ok(chosen) => {
            let mut numbers: Vec<PackageNumber> = chosen.into_iter().map(number).collect();
            numbers.sort_unstable();
            Some(numbers)
        }
        // The provider never cancels.
        Err(UnsolvableOrCancelled::Unsolvable(_) | UnsolvableOrCancelled::Cancelled(_)) => None,
    }
}

struct Provider<'a> {
    universe: &'a Universe<'a>,
    pool: Pool<Allowed, &'a str>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Allowed(Box<[PackageNumber]>);

impl VersionSet for Allowed {
    type V = PackageNumber;
}

fn solvable(number: PackageNumber) -> SolvableId {
    SolvableId::from_index(number as usize)
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "it was made from a number by `solvable`"
)]
fn number(solvable: SolvableId) -> PackageNumber {
    solvable.to_index() as PackageNumber
}

impl<'a> Provider<'a> {
    fn name(&self, number: PackageNumber) -> NameId {
        self.pool
            .intern_package_name(&*self.universe.get(number).name)
    }

    /// One version set for each name, in the order in which names first appear.
    fn requirement(&self, candidates: &[PackageNumber]) -> Requirement {
        let mut sets: Vec<(NameId, Vec<PackageNumber>)> = Vec::new();
        for &candidate in candidates {
            let name = self.name(candidate);
            match sets.iter_mut().find(|set| set.0 == name) {
                Some(set) => set.1.push(candidate),
                None => sets.push((name, vec![candidate])),
            }
        }
        let mut ids = sets
            .into_iter()
            .map(|(name, allowed)| self.pool.intern_version_set(name, Allowed(allowed.into())));
        let Some(first) = ids.next() else {
            let nothing = self.pool.intern_package_name("");
            return self
                .pool
                .intern_version_set(nothing, Allowed(Box::default()))
                .into();
        };
        let others: Vec<VersionSetId> = ids.collect();
        if others.is_empty() {
            first.into()
        } else {
            self.pool
                .intern_version_set_union(first, others.into_iter())
                .into()
        }
    }

    /// For each name among `forbidden` the set of its other versions.
    fn exclusions(&self, forbidden: &[PackageNumber]) -> Vec<VersionSetId> {
        let mut names: Vec<&'a str> = forbidden
            .iter()
            .map(|&it| &*self.universe.get(it).name)
            .collect();
        names.sort_unstable();
        names.dedup();
        let others = |name: &'a str| {
            let mut versions = self.universe.versions(name);
            versions.retain(|it| !forbidden.contains(it));
            self.pool.intern_version_set(
                self.pool.intern_package_name(name),
                Allowed(versions.into()),
            )
        };
        names.into_iter().map(others).collect()
    }

    fn known(&self, number: PackageNumber) -> Result<KnownDependencies, RelationError> {
        let needs = self.universe.needs(number)?;
        let conflicts = self.universe.conflicts(number)?;
        Ok(KnownDependencies {
            requirements: needs
                .iter()
                .map(|(_, found)| self.requirement(found).into())
                .collect(),
            constrains: conflicts
                .iter()
                .flat_map(|(_, found)| self.exclusions(found))
                .collect(),
        })
    }
}

impl Interner for Provider<'_> {
    type NameId = NameId;
    type SolvableId = SolvableId;

    fn display_solvable(&self, solvable: SolvableId) -> impl Display + '_ {
        self.universe.get(number(solvable)).label()
    }

    fn display_name(&self, name: NameId) -> impl Display + '_ {
        *self.pool.resolve_package_name(name)
    }

    fn display_version_set(&self, version_set: VersionSetId) -> impl Display + '_ {
        let allowed = &self.pool.resolve_version_set(version_set).0;
        let versions: Vec<_> = allowed
            .iter()
            .map(|&it| self.universe.get(it).version.to_string())
            .collect();
        versions.join(", ")
    }

    fn display_string(&self, string: StringId) -> impl Display + '_ {
        self.pool.resolve_string(string)
    }

    fn version_set_name(&self, version_set: VersionSetId) -> NameId {
        self.pool.resolve_version_set_package_name(version_set)
    }

    fn solvable_name(&self, solvable: SolvableId) -> NameId {
        self.name(number(solvable))
    }

    fn version_sets_in_union(
        &self,
        union: VersionSetUnionId,
    ) -> impl Iterator<Item = VersionSetId> {
        self.pool.resolve_version_set_union(union)
    }

    fn resolve_condition(&self, condition: ConditionId) -> Condition {
        self.pool.resolve_condition(condition).clone()
    }
}

impl DependencyProvider for Provider<'_> {
    async fn filter_candidates(
        &self,
        candidates: &[SolvableId],
        version_set: VersionSetId,
        inverse: bool,
    ) -> Vec<SolvableId> {
        let allowed = &self.pool.resolve_version_set(version_set).0;
        let keeps = |it: &&SolvableId| allowed.contains(&number(**it)) != inverse;
        candidates.iter().filter(keeps).copied().collect()
    }

    async fn get_candidates(&self, name: NameId) -> Option<Candidates> {
        let mut versions = self.universe.versions(self.pool.resolve_package_name(name));
        versions.retain(|&it| !self.universe.is_barred(it));
        Some(Candidates {
            candidates: versions.into_iter().map(solvable).collect(),
            ..Candidates::default()
        })
    }

    async fn sort_candidates(&self, _: &SolverCache<Self>, solvables: &mut [SolvableId]) {
        let mut numbers: Vec<PackageNumber> = solvables.iter().map(|&it| number(it)).collect();
        self.universe.rank_versions(&mut numbers);
        for (place, number) in solvables.iter_mut().zip(numbers) {
            *place = solvable(number);
        }
    }

    async fn get_dependencies(&self, solvable: SolvableId) -> Dependencies {
        match self.known(number(solvable)) {
            Ok(known) => Dependencies::Known(known),
            Err(error) => Dependencies::Unknown(self.pool.intern_string(error.to_string())),
        }
    }
}
