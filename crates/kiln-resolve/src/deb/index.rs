//! All packages that a base may choose from: the packages of its archives together.

use std::{collections::HashMap, ops::Range};

use kiln_lock::{Deb, PackageId};

use super::{
    packages::{ArchiveNumber, MultiArch, Package},
    relation::{Relation, parse_relations},
    version::Version,
};

/// The name and suite of an archive that packages come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveName {
    /// The source, `debian`.
    pub source: String,
    /// The suite, `bookworm`.
    pub suite: String,
}

/// The position of a package in an [`Index`].
pub type PackageNumber = u32;

#[derive(Debug, Clone)]
struct Provider {
    package: PackageNumber,
    version: Option<Version>,
}

/// What a base may choose from.
///
/// Invariants: packages are sorted by name, then newest first; no two have the same name,
/// version and architecture (the first archive that has it wins).
#[derive(Debug, Clone)]
pub struct Index {
    architecture: String,
    archives: Vec<ArchiveName>,
    packages: Vec<Package>,
    names: HashMap<Box<str>, Range<PackageNumber>>,
    providers: HashMap<Box<str>, Vec<Provider>>,
}

impl Index {
    /// The index of `packages`, whose [`Package::archive`] counts in `archives`. A `Provides`
    /// that cannot be read provides nothing.
    pub fn new(architecture: &str, archives: Vec<ArchiveName>, mut packages: Vec<Package>) -> Self {
        packages.retain(|it| usize::from(it.archive.0) < archives.len());
        packages.sort_by(|a, b| {
            (&a.name, &b.version, &a.architecture, a.archive).cmp(&(
                &b.name,
                &a.version,
                &b.architecture,
                b.archive,
            ))
        });
        packages.dedup_by(|later, kept| {
            (&later.name, &later.version, &later.architecture)
                == (&kept.name, &kept.version, &kept.architecture)
        });
        let mut names: HashMap<Box<str>, Range<PackageNumber>> = HashMap::new();
        let mut providers: HashMap<Box<str>, Vec<Provider>> = HashMap::new();
        for (number, package) in (0..).zip(&packages) {
            match names.get_mut(&package.name) {
                Some(range) => range.end = number + 1,
                None => drop(names.insert(package.name.clone(), number..number + 1)),
            }
            for relation in parse_relations(&package.provides)
                .unwrap_or_default()
                .into_iter()
                .flatten()
            {
                let version = relation.constraint.map(|(_, version)| version);
                let provider = Provider {
                    package: number,
                    version,
                };
                providers
                    .entry(relation.name.into())
                    .or_default()
                    .push(provider);
            }
        }
        Self {
            architecture: architecture.to_owned(),
            archives,
            packages,
            names,
            providers,
        }
    }

    /// This index and, after its own, further packages, whose [`Package::archive`] counts from
    /// [`Self::archives`] on in `archives`.
    #[must_use]
    pub fn with(&self, archives: Vec<ArchiveName>, packages: Vec<Package>) -> Self {
        let all = self.archives.iter().cloned().chain(archives).collect();
        let packages = self.packages.iter().cloned().chain(packages).collect();
        Self::new(&self.architecture, all, packages)
    }

    /// How many archives it is of.
    pub fn archives(&self) -> u16 {
        u16::try_from(self.archives.len()).unwrap_or(u16::MAX)
    }

    /// The architecture that it is for, as Debian names it.
    pub fn architecture(&self) -> &str {
        &self.architecture
    }

    /// Every package.
    pub fn packages(&self) -> &[Package] {
        &self.packages
    }

    /// The package with this number.
    pub fn get(&self, number: PackageNumber) -> &Package {
        &self.packages[number as usize]
    }

    /// The versions of a real package, newest first.
    pub fn versions(&self, name: &str) -> &[Package] {
        let range = self.numbers(name);
        &self.packages[range.start as usize..range.end as usize]
    }

    /// The numbers of the versions of a real package, newest first.
    pub fn numbers(&self, name: &str) -> Range<PackageNumber> {
        self.names.get(name).cloned().unwrap_or(0..0)
    }

    /// The names of all real packages and, second, of all virtual ones.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names
            .keys()
            .chain(self.providers.keys())
            .map(|name| &**name)
    }

    /// Where a package comes from.
    pub fn archive(&self, number: ArchiveNumber) -> &ArchiveName {
        &self.archives[usize::from(number.0)]
    }

    /// The packages that satisfy `relation`, best first: real before virtual; then Essential,
    /// by priority, by name; newest first.
    pub fn satisfying(&self, relation: &Relation) -> Vec<PackageNumber> {
        let mut found: Vec<PackageNumber> = self
            .numbers(&relation.name)
            .filter(|&number| relation.accepts(&self.get(number).version))
            .filter(|&number| self.qualifies(number, relation))
            .collect();
        let provided = self
            .providers
            .get(relation.name.as_str())
            .into_iter()
            .flatten();
        let mut provided: Vec<PackageNumber> = provided
            .filter(|it| match &it.version {
                Some(version) => relation.accepts(version),
                // Policy 7.5: an unversioned Provides satisfies no versioned relation.
                None => relation.constraint.is_none(),
            })
            .map(|it| it.package)
            .filter(|&number| self.qualifies(number, relation) && !found.contains(&number))
            .collect();
        // Numbers are in the order of names, newest first.
        provided.sort_by_key(|&number| {
            let package = self.get(number);
            (!package.essential, package.priority, number)
        });
        provided.dedup();
        found.append(&mut provided);
        found
    }

    /// Whether a package may satisfy a relation with such a qualifier. Everything here is of one
    /// architecture, so only `:any` asks for more than its presence.
    fn qualifies(&self, number: PackageNumber, relation: &Relation) -> bool {
        match relation.qualifier.as_deref() {
            None => true,
            Some("any") => self.get(number).multi_arch == MultiArch::Allowed,
            Some(architecture) => architecture == self.architecture,
        }
    }

    /// The package as a lock holds it, without `depends`.
    pub fn lock(&self, package: &Package) -> Deb {
        let ArchiveName { source, suite } = self.archive(package.archive);
        let version = package.version.to_string();
        Deb {
            id: package_id(source, &package.name, &version, &package.architecture),
            name: package.name.to_string(),
            version,
            architecture: package.architecture.to_string(),
            source: source.clone(),
            suite: suite.clone(),
            path: package.path.to_string(),
            size: package.size,
            sha256: package.sha256,
            essential: package.essential || package.protected,
            multi_arch_same: package.multi_arch == MultiArch::Same,
            depends: Vec::new(),
        }
    }

    /// What became of a locked package.
    pub fn locate(&self, deb: &Deb) -> Located<'_> {
        let versions = self.versions(&deb.name);
        let same = |it: &&Package| {
            it.sha256 == deb.sha256 && self.archive(it.archive).source == deb.source
        };
        match versions.iter().find(same) {
            Some(package) => Located::Listed(package),
            None => versions.first().map_or(Located::Gone, Located::Replaced),
        }
    }
}

/// What became of a locked package.
#[derive(Debug, Clone, Copy)]
pub enum Located<'a> {
    /// Its source still lists this very file.
    Listed(&'a Package),
    /// It is listed no longer; this is the newest version of the package.
    Replaced(&'a Package),
    /// No version of the package is listed.
    Gone,
}

/// The id of a package: its source and its file's canonical name, where the colon of an epoch is
/// `%3a`, as in apt's cache.
pub fn package_id(source: &str, name: &str, version: &str, architecture: &str) -> PackageId {
    let version = version.replace(':', "%3a");
    PackageId(format!("{source}/{name}_{version}_{architecture}"))
}
