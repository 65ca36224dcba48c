//! In which order packages are prepared.
//!
//! dpkg runs the `preinst` script of a package when all that the package pre-depends on is
//! configured (Debian Policy 7.2). Here all packages are unpacked at once, so it is this module
//! that keeps that promise.

use std::collections::{BTreeMap, BTreeSet};

use kiln_package::deb::DebFacts;

/// What happens to packages before the rest of them is configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Preparation<'a> {
    /// Its `preinst` script runs.
    Preinst(&'a DebFacts),
    /// It is configured, because another one needs it before that one's `preinst`.
    Configure(&'a DebFacts),
}

/// The essential packages of a set, in the order in which they are configured: base-passwd makes
/// the users and base-files the directories that the others take for granted.
pub(super) fn essential<'a>(packages: &[&'a DebFacts]) -> Vec<&'a DebFacts> {
    let mut essential: Vec<_> = packages
        .iter()
        .copied()
        .filter(|facts| facts.is_essential())
        .collect();
    essential.sort_by_key(|facts| (rank(facts), &facts.name, &facts.architecture));
    essential
}

fn rank(facts: &DebFacts) -> usize {
    let first = ["base-passwd", "base-files"];
    let place = first.iter().position(|name| *name == facts.name);
    place.unwrap_or(first.len())
}

/// The `preinst` scripts of the packages that are not essential, each after what it needs.
/// `configured` is what is configured already.
pub(super) fn preparations<'a>(
    packages: &[&'a DebFacts],
    configured: &BTreeSet<&'a str>,
) -> Vec<Preparation<'a>> {
    let mut sorted = packages.to_vec();
    sorted.sort_by_key(|facts| (&facts.name, &facts.architecture));
    let mut order = Order {
        providers: providers(&sorted),
        done: configured.clone(),
        prepared: BTreeSet::new(),
        steps: Vec::new(),
    };
    for facts in sorted {
        order.prepare(facts);
    }
    order.steps
}

/// Packages by their names and by what they provide.
type Providers<'a> = BTreeMap<&'a str, Vec<&'a DebFacts>>;

fn providers<'a>(packages: &[&'a DebFacts]) -> Providers<'a> {
    let mut providers = Providers::new();
    for facts in packages {
        providers.entry(&facts.name).or_default().push(facts);
    }
    for facts in packages {
        for name in relations(facts, "Provides").flatten() {
            providers.entry(name).or_default().push(facts);
        }
    }
    providers
}

struct Order<'a> {
    providers: Providers<'a>,
    /// Names of configured packages.
    done: BTreeSet<&'a str>,
    /// Those whose `preinst` ran, or that have none, by their names in the database.
    prepared: BTreeSet<String>,
    steps: Vec<Preparation<'a>>,
}

impl<'a> Order<'a> {
    fn prepare(&mut self, facts: &'a DebFacts) {
        if self.done.contains(facts.name.as_str()) || !self.prepared.insert(facts.info_name()) {
            return;
        }
        let has_preinst = facts.control_files.iter().any(|name| name == "preinst");
        if !has_preinst {
            return;
        }
        for needed in self.closure(facts) {
            self.prepare(needed);
            if self.done.insert(&needed.name) {
                self.steps.push(Preparation::Configure(needed));
            }
        }
        self.steps.push(Preparation::Preinst(facts));
    }

    /// What must be configured before `facts` is unpacked, each after what it depends on; in a
    /// circle of dependencies the order is that of the fields.
    fn closure(&self, facts: &'a DebFacts) -> Vec<&'a DebFacts> {
        let mut found = Vec::new();
        let mut seen = BTreeSet::from([facts.name.as_str()]);
        for needed in self.direct(facts, "Pre-Depends") {
            self.visit(needed, &mut seen, &mut found);
        }
        found
    }

    fn visit(
        &self,
        facts: &'a DebFacts,
        seen: &mut BTreeSet<&'a str>,
        found: &mut Vec<&'a DebFacts>,
    ) {
        if self.done.contains(facts.name.as_str()) || !seen.insert(&facts.name) {
            return;
        }
        for field in ["Pre-Depends", "Depends"] {
            for needed in self.direct(facts, field) {
                self.visit(needed, seen, found);
            }
        }
        found.push(facts);
    }

    /// For each dependency in `field` the first package of the set that satisfies it by name.
    fn direct(&self, facts: &'a DebFacts, field: &str) -> Vec<&'a DebFacts> {
        let satisfies = |names: Vec<&str>| {
            names
                .into_iter()
                .find_map(|name| self.providers.get(name)?.first().copied())
        };
        relations(facts, field).filter_map(satisfies).collect()
    }
}

/// The names in a relationship field: alternatives in each, without versions and architectures.
fn relations<'a>(facts: &'a DebFacts, field: &str) -> impl Iterator<Item = Vec<&'a str>> {
    let value = facts.control.get(field).unwrap_or_default();
    value.split(',').map(|relation| {
        let names = relation.split('|').map(|alternative| {
            let end = alternative.trim_ascii_start();
            let length = end.find([' ', '(', '[', ':', '<', '\n']);
            &end[..length.unwrap_or(end.len())]
        });
        names.filter(|name| !name.is_empty()).collect()
    })
}

#[cfg(test)]
mod tests {
    use kiln_package::deb::{MultiArch, Paragraph, Triggers};

    use super::*;

    fn package(name: &str, fields: &str, control_files: &[&str]) -> DebFacts {
        DebFacts {
            name: name.to_owned(),
            version: "1".to_owned(),
            architecture: "amd64".to_owned(),
            multi_arch: MultiArch::No,
            control: Paragraph::parse(&format!("Package: {name}\n{fields}")).unwrap(),
            conffiles: Vec::new(),
            triggers: Triggers::default(),
            control_files: control_files.iter().map(ToString::to_string).collect(),
            built: 0,
        }
    }

    fn spoken(steps: &[Preparation<'_>]) -> Vec<String> {
        steps
            .iter()
            .map(|step| match step {
                Preparation::Preinst(facts) => format!("preinst {}", facts.name),
                Preparation::Configure(facts) => format!("configure {}", facts.name),
            })
            .collect()
    }

    #[test]
    fn pre_dependencies_and_what_they_depend_on_are_configured_first() {
        let all = [
            package(
                "alpha",
                "Pre-Depends: virtual (>= 1) | none, zulu:any\n",
                &["preinst"],
            ),
            package("bravo", "Provides: virtual (= 1)\nDepends: charlie\n", &[]),
            package("charlie", "Depends: bravo, zulu\n", &["preinst"]),
            package("zulu", "", &[]),
        ];
        let steps = preparations(&all.iter().collect::<Vec<_>>(), &BTreeSet::new());
        assert_eq!(
            spoken(&steps),
            [
                "configure zulu",
                "preinst charlie",
                "configure charlie",
                "configure bravo",
                "preinst alpha",
            ]
        );
    }

    #[test]
    fn what_is_configured_is_left_alone() {
        let all = [
            package("alpha", "Pre-Depends: zulu\n", &["preinst"]),
            package("zulu", "", &["preinst"]),
        ];
        let steps = preparations(&all.iter().collect::<Vec<_>>(), &BTreeSet::from(["zulu"]));
        assert_eq!(spoken(&steps), ["preinst alpha"]);
    }

    #[test]
    fn packages_that_pre_depend_on_each_other_are_prepared_once() {
        let all = [
            package("alpha", "Pre-Depends: zulu\n", &["preinst"]),
            package("zulu", "Pre-Depends: alpha\n", &["preinst"]),
        ];
        let steps = preparations(&all.iter().collect::<Vec<_>>(), &BTreeSet::new());
        assert_eq!(
            steps
                .iter()
                .filter(|it| matches!(it, Preparation::Preinst(_)))
                .count(),
            2
        );
    }

    #[test]
    fn base_passwd_comes_before_all() {
        let essential_one = |name| package(name, "Essential: yes\n", &[]);
        let all = [
            essential_one("bash"),
            essential_one("base-files"),
            essential_one("base-passwd"),
            package("git", "", &[]),
        ];
        let names: Vec<_> = essential(&all.iter().collect::<Vec<_>>())
            .into_iter()
            .map(|facts| facts.name.as_str())
            .collect();
        assert_eq!(names, ["base-passwd", "base-files", "bash"]);
    }
}
