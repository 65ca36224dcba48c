//! Why there is no solution, in words.
//!
//! Once the solver has found that there is none, the packages are taken the way a person would:
//! always the best candidate that nothing chosen so far forbids. Such a walk without a dead end
//! would be a solution, so it meets one; the way to it is the explanation. It explains the
//! preferred choice, which is what people ask about, and does not prove that all others fail too.

use std::collections::{HashMap, VecDeque};

use super::{Goal, provider::Universe};
use crate::deb::index::PackageNumber;

/// Who asked for something.
#[derive(Clone)]
enum Asker {
    /// The recipe, with what it wrote.
    Recipe(String),
    /// The sets below, or the essential set.
    Base,
    /// A package, through a relation.
    Package(PackageNumber, String),
}

struct Walk<'u, 'a> {
    universe: &'u Universe<'a>,
    /// The version chosen of each name, and who asked for it first.
    chosen: HashMap<&'a str, (PackageNumber, Asker)>,
    /// What chosen packages forbid: by whom, and through which relation.
    forbidden: HashMap<PackageNumber, (PackageNumber, String)>,
}

/// The reasons, from what is wanted to what is impossible.
pub(super) fn chain(
    universe: &Universe<'_>,
    base: &[Vec<PackageNumber>],
    culprits: &[&Goal],
) -> Vec<String> {
    let base = base
        .iter()
        .map(|candidates| (candidates.clone(), Asker::Base));
    let wanted = culprits.iter().map(|goal| {
        (
            goal.candidates.clone(),
            Asker::Recipe(goal.wanted.text.clone()),
        )
    });
    let mut walk = Walk {
        universe,
        chosen: HashMap::new(),
        forbidden: HashMap::new(),
    };
    let mut queue: VecDeque<(Vec<PackageNumber>, Asker)> = base.chain(wanted).collect();
    while let Some((candidates, asker)) = queue.pop_front() {
        let next = match walk.choose(&candidates) {
            Choice::Had => continue,
            Choice::Take(next) => next,
            Choice::DeadEnd => return walk.dead_end(&candidates, &asker),
        };
        let package = universe.get(next);
        walk.chosen.insert(&package.name, (next, asker));
        match universe.conflicts(next) {
            Err(error) => return walk.reasons(next, format!("{}: {error}", package.label())),
            Ok(conflicts) => {
                for (relation, others) in conflicts {
                    let present = |it: &&PackageNumber| walk.is_chosen(**it);
                    if let Some(&other) = others.iter().find(present) {
                        return walk.clash(next, other, &relation);
                    }
                    for other in others {
                        walk.forbidden.insert(other, (next, relation.clone()));
                    }
                }
            }
        }
        match universe.needs(next) {
            Err(error) => return walk.reasons(next, format!("{}: {error}", package.label())),
            Ok(needs) => queue.extend(
                needs
                    .into_iter()
                    .map(|(text, found)| (found, Asker::Package(next, text))),
            ),
        }
    }
    Vec::new()
}

enum Choice {
    /// One of them is chosen already.
    Had,
    Take(PackageNumber),
    DeadEnd,
}

impl Walk<'_, '_> {
    fn is_chosen(&self, number: PackageNumber) -> bool {
        let name = &*self.universe.get(number).name;
        self.chosen
            .get(name)
            .is_some_and(|(chosen, _)| *chosen == number)
    }

    fn choose(&self, candidates: &[PackageNumber]) -> Choice {
        if candidates.iter().any(|&it| self.is_chosen(it)) {
            return Choice::Had;
        }
        // A candidate whose own needs nothing can satisfy is passed over while there are others.
        let free = || candidates.iter().copied().filter(|&it| self.is_free(it));
        free()
            .find(|&it| {
                let needs = self.universe.needs(it).unwrap_or_default();
                needs
                    .iter()
                    .all(|(_, found)| !matches!(self.glance(found), Choice::DeadEnd))
            })
            .or_else(|| free().next())
            .map_or(Choice::DeadEnd, Choice::Take)
    }

    /// As `choose`, without looking at the needs of candidates.
    fn glance(&self, candidates: &[PackageNumber]) -> Choice {
        match candidates
            .iter()
            .find(|&&it| self.is_chosen(it) || self.is_free(it))
        {
            Some(_) => Choice::Had,
            None => Choice::DeadEnd,
        }
    }

    /// Whether nothing that is chosen forbids it.
    fn is_free(&self, number: PackageNumber) -> bool {
        !self.universe.is_barred(number)
            && !self.forbidden.contains_key(&number)
            && !self.chosen.contains_key(&*self.universe.get(number).name)
    }

    /// How a package came to be needed, then `last`.
    fn reasons(&self, number: PackageNumber, last: String) -> Vec<String> {
        let mut lines = vec![last];
        let mut number = number;
        while let Some((_, asker)) = self.chosen.get(&*self.universe.get(number).name) {
            let Asker::Package(parent, relation) = asker else {
                break;
            };
            lines.push(format!(
                "{} depends on {relation}",
                self.universe.get(*parent).label()
            ));
            number = *parent;
        }
        lines.reverse();
        lines
    }

    /// Nothing that satisfies a need can be chosen.
    fn dead_end(&self, candidates: &[PackageNumber], asker: &Asker) -> Vec<String> {
        let universe = self.universe;
        let mut lines = match asker {
            Asker::Recipe(text) => vec![format!("{text} is wanted")],
            Asker::Base => Vec::new(),
            Asker::Package(parent, relation) => {
                let last = format!("{} depends on {relation}", universe.get(*parent).label());
                self.reasons(*parent, last)
            }
        };
        if candidates.is_empty() {
            lines.push(self.nothing(asker));
        }
        for &candidate in candidates.iter().take(4) {
            let package = universe.get(candidate);
            if let Some((other, asker)) = self.chosen.get(&*package.name) {
                let why = match asker {
                    Asker::Recipe(text) => format!("{text} is wanted"),
                    Asker::Base => "it is there already".to_owned(),
                    Asker::Package(parent, relation) => {
                        format!("{} depends on {relation}", universe.get(*parent).label())
                    }
                };
                let other = &universe.get(*other).version;
                lines.push(format!(
                    "{} will not do: {why}, so it is {other}",
                    package.label()
                ));
            } else if let Some((other, relation)) = self.forbidden.get(&candidate) {
                let other = universe.get(*other).label();
                lines.push(format!(
                    "{} will not do: {other} conflicts with {relation}",
                    package.label()
                ));
            } else {
                let label = package.label();
                lines.push(format!(
                    "{label} will not do: another version is there already"
                ));
            }
        }
        lines
    }

    /// Says that no archive satisfies a relation, and which versions there are instead.
    fn nothing(&self, asker: &Asker) -> String {
        let relation = match asker {
            Asker::Package(_, relation) | Asker::Recipe(relation) => relation.as_str(),
            Asker::Base => "",
        };
        let versions: Vec<String> = relation
            .split(" | ")
            .filter_map(|it| it.split([' ', ':']).next())
            .flat_map(|name| {
                let versions = self.universe.versions(name);
                versions
                    .into_iter()
                    .map(move |it| format!("{name} {}", self.universe.place(it)))
            })
            .take(6)
            .collect();
        if versions.is_empty() {
            "no archive has such a package".to_owned()
        } else {
            format!(
                "no archive has such a version; there is {}",
                versions.join(", ")
            )
        }
    }

    fn clash(&self, one: PackageNumber, other: PackageNumber, relation: &str) -> Vec<String> {
        let label = self.universe.get(other).label();
        let mut lines = self.reasons(other, format!("so {label} is needed"));
        let last = format!(
            "{} conflicts with {relation}, which {label} is",
            self.universe.get(one).label()
        );
        lines.extend(self.reasons(one, last));
        lines
    }
}
