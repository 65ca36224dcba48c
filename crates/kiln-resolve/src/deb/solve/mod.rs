//! From what is wanted to the packages that are installed.
//!
//! A SAT solver chooses. What it is told: of every name one version at most; Depends and
//! Pre-Depends, with the alternatives in the field's order and, of a virtual package, the
//! providers in the order of [`Index::satisfying`]; Conflicts and Breaks, which a package has
//! never with itself; newest versions first, but versions of the previous lock before them.
//!
//! A solver takes the first alternative before it knows that something else needs the second, so
//! its answer is pruned: hard needs are followed first, and an alternative is taken only when no
//! package that is needed anyway satisfies the relation.

mod explain;
mod provider;
mod prune;

use kiln_lock::Deb;
use kiln_recipe::{Location, OsPackage};

use super::{
    index::{Index, PackageNumber},
    relation::{Operator, Relation, RelationError},
};
use provider::Universe;

/// What is asked of [`solve`].
#[derive(Debug, Clone, Copy, Default)]
pub struct Request<'a> {
    /// The packages that the component names.
    pub wanted: &'a [OsPackage],
    /// Packages that were chosen by the sets below: they stay as they are.
    pub installed: &'a [Deb],
    /// Packages of the previous lock: their versions are taken where they are still listed.
    pub prefer: &'a [Deb],
    /// Whether the Essential packages come too, as they must in a base.
    pub essential: bool,
}

/// Something that the recipe names: its text, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// As written.
    pub text: String,
    /// Where it stands.
    pub at: Location,
}

impl From<&OsPackage> for Wanted {
    fn from(package: &OsPackage) -> Self {
        Self {
            text: package.text.clone(),
            at: package.at.clone(),
        }
    }
}

/// Why there is no solution.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SolveError {
    /// No archive has such a package.
    #[error("{}: no archive has a package `{}`", wanted.at, wanted.text)]
    Unknown {
        /// What was wanted.
        wanted: Wanted,
        /// Names that look like it, best first.
        similar: Vec<String>,
    },
    /// The constraint is not one.
    #[error("{}: `{}` is not a package with a constraint", wanted.at, wanted.text)]
    Constraint {
        /// What was wanted.
        wanted: Wanted,
        /// What is wrong.
        #[source]
        cause: RelationError,
    },
    /// The package exists, but in no version that fits.
    #[error(
        "{}: no version fits `{}`; there is {}",
        wanted.at, wanted.text, available.join(", ")
    )]
    NoVersion {
        /// What was wanted.
        wanted: Wanted,
        /// The versions that exist, newest first, each with its suite.
        available: Vec<String>,
    },
    /// A virtual package that several packages provide.
    #[error("{}: `{}` is a virtual package of which there are several", wanted.at, wanted.text)]
    Virtual {
        /// What was wanted.
        wanted: Wanted,
        /// The packages that provide it.
        providers: Vec<String>,
    },
    /// A package of the sets below is in no archive any more.
    #[error("no archive lists `{id}` any more, which the sets below hold")]
    Unlisted {
        /// The package.
        id: String,
    },
    /// What is wanted cannot be installed together.
    #[error(
        "{} cannot be installed{}:{}",
        named(wanted),
        together(wanted),
        lines(chain)
    )]
    Conflict {
        /// The smallest set of what is wanted that does not fit together; empty when what was
        /// there before does not.
        wanted: Vec<Wanted>,
        /// The reasons, from what is wanted to what is impossible.
        chain: Vec<String>,
    },
}

fn named(wanted: &[Wanted]) -> String {
    if wanted.is_empty() {
        return "the packages of the sets below".to_owned();
    }
    let texts: Vec<_> = wanted
        .iter()
        .map(|it| format!("`{}` ({})", it.text, it.at))
        .collect();
    texts.join(" and ")
}

fn together(wanted: &[Wanted]) -> &'static str {
    if wanted.len() > 1 { " together" } else { "" }
}

fn lines(chain: &[String]) -> String {
    chain
        .iter()
        .fold(String::new(), |text, line| text + "\n  " + line)
}

impl SolveError {
    /// What a person can do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Unknown { similar, .. } if similar.is_empty() => {
                Some("does the base name the archive and component that have it?".to_owned())
            }
            Self::Unknown { similar, .. } => {
                Some(format!("did you mean {}?", quoted(similar, " or ")))
            }
            Self::NoVersion { .. } => {
                Some("widen the constraint, or add an archive that has such a version".to_owned())
            }
            Self::Virtual { providers, .. } => {
                Some(format!("name one of {}", quoted(providers, ", ")))
            }
            Self::Constraint { .. } => Some("write it like `libodbc2 (>= 2.3)`".to_owned()),
            Self::Unlisted { .. } => Some("lock the sets below again first".to_owned()),
            Self::Conflict { .. } => None,
        }
    }
}

fn quoted(names: &[String], separator: &str) -> String {
    names
        .iter()
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(separator)
}

/// The packages that must come to [`Request::installed`], sorted by id.
pub fn solve(index: &Index, request: &Request<'_>) -> Result<Vec<Deb>, SolveError> {
    let universe = Universe::new(index, request.installed, request.prefer)?;
    let wanted: Vec<Goal> = request
        .wanted
        .iter()
        .map(|package| Goal::of(&universe, package))
        .collect::<Result<_, _>>()?;
    let mut base: Vec<Vec<PackageNumber>> = universe
        .installed()
        .iter()
        .map(|&number| vec![number])
        .collect();
    if request.essential {
        base.extend(universe.essential());
    }
    let goals = |wanted: &[&Goal]| -> Vec<Vec<PackageNumber>> {
        base.iter()
            .cloned()
            .chain(wanted.iter().map(|it| it.candidates.clone()))
            .collect()
    };
    let all: Vec<&Goal> = wanted.iter().collect();
    let Some(solution) = provider::solution(&universe, &goals(&all)) else {
        let culprits = smallest(&all, |some| {
            provider::solution(&universe, &goals(some)).is_none()
        });
        return Err(SolveError::Conflict {
            chain: explain::chain(&universe, &base, &culprits),
            wanted: culprits
                .into_iter()
                .map(|goal| goal.wanted.clone())
                .collect(),
        });
    };
    let kept = prune::needed(&universe, &goals(&all), &solution);
    let mut debs: Vec<Deb> = kept
        .iter()
        .filter(|&&number| !universe.installed().contains(&number))
        .map(|&number| universe.lock(number, &kept))
        .collect();
    debs.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(debs)
}

/// One thing that is wanted, and what fulfils it, best first.
struct Goal {
    wanted: Wanted,
    candidates: Vec<PackageNumber>,
}

impl Goal {
    fn of(universe: &Universe<'_>, package: &OsPackage) -> Result<Self, SolveError> {
        let wanted = Wanted::from(package);
        let constraint = match &package.constraint {
            None => None,
            Some((operator, version)) => {
                let error = |cause| SolveError::Constraint {
                    wanted: wanted.clone(),
                    cause,
                };
                let operator = Operator::parse(operator)
                    .ok_or_else(|| error(RelationError::Form(package.text.clone())))?;
                Some((
                    operator,
                    version
                        .parse()
                        .map_err(|it| error(RelationError::from(it)))?,
                ))
            }
        };
        let index = universe.index();
        let relation = Relation {
            name: package.name.clone(),
            qualifier: None,
            constraint,
        };
        let mut candidates = universe.satisfying(&relation);
        let real = universe.versions(&package.name);
        if !real.is_empty() {
            // A real package is meant, not others that claim to stand in for it.
            candidates.retain(|number| real.contains(number));
        }
        if candidates.is_empty() {
            let available: Vec<String> =
                real.iter().map(|&number| universe.place(number)).collect();
            return Err(if available.is_empty() {
                let similar = similar(index, &package.name);
                SolveError::Unknown { wanted, similar }
            } else {
                SolveError::NoVersion { wanted, available }
            });
        }
        if real.is_empty() {
            let mut providers: Vec<String> = candidates
                .iter()
                .map(|&it| universe.get(it).name.to_string())
                .collect();
            providers.sort_unstable();
            providers.dedup();
            let is_there = candidates
                .iter()
                .any(|it| universe.installed().contains(it));
            if providers.len() > 1 && !is_there {
                return Err(SolveError::Virtual { wanted, providers });
            }
        }
        Ok(Self { wanted, candidates })
    }
}

/// A smallest subset that still fails: nothing can be left out of it.
fn smallest<'a>(all: &[&'a Goal], fails: impl Fn(&[&Goal]) -> bool) -> Vec<&'a Goal> {
    let mut kept = all.to_vec();
    let mut position = 0;
    while position < kept.len() {
        let mut fewer = kept.clone();
        fewer.remove(position);
        if fails(&fewer) {
            kept = fewer;
        } else {
            position += 1;
        }
    }
    kept
}

/// The names that look most like `name`.
fn similar(index: &Index, name: &str) -> Vec<String> {
    let mut scored: Vec<(f64, &str)> = index
        .names()
        .map(|other| (strsim::jaro_winkler(name, other), other))
        .filter(|(score, _)| *score >= 0.88)
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    scored.dedup_by_key(|it| it.1);
    scored
        .into_iter()
        .take(3)
        .map(|(_, other)| other.to_owned())
        .collect()
}
