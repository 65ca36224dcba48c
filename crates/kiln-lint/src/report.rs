//! What was found: findings of single images become findings of several, waivers are applied.

use std::collections::{BTreeMap, BTreeSet};

use kiln_lock::PackageId;
use kiln_recipe::Location;

use crate::{Lint, Origin, Severity, Wanted, image::Image, policy::Scoped};

/// What a rule found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The rule.
    pub lint: Lint,
    /// What brings the subject, where a requirement does.
    pub origin: Option<Origin>,
    /// The place in the family's files to look at.
    pub at: Location,
    /// What it is about: a package, a library, a component.
    pub subject: String,
    /// The package that has the subject, where that is another: it can be waived by either.
    pub package: Option<String>,
    /// What is wrong, in a sentence without a full stop.
    pub reason: String,
    /// What to do.
    pub hint: Option<String>,
    /// The images in which it was found, in the order of the lock. Empty for findings about the
    /// family.
    pub images: Vec<String>,
    /// Set when the family waives it.
    pub waived: Option<Waived>,
}

/// Why a finding is no concern.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Waived {
    /// The reason that the family gives.
    pub reason: String,
    /// Where.
    pub at: Location,
}

impl Finding {
    /// A finding of a rule about a package that a requirement brings.
    pub(crate) fn of(lint: Lint, subject: &str, origin: Option<&Origin>, reason: String) -> Self {
        let nowhere = || Location {
            file: "kiln.toml".to_owned(),
            line: 1,
            column: 1,
        };
        Self {
            at: origin.map_or_else(nowhere, |origin| origin.at.clone()),
            origin: origin.cloned(),
            ..Self::at(lint, subject, nowhere(), reason)
        }
    }

    /// A finding about a place.
    pub(crate) fn at(lint: Lint, subject: &str, at: Location, reason: String) -> Self {
        Self {
            severity: lint.severity(),
            lint,
            origin: None,
            at,
            subject: subject.to_owned(),
            package: None,
            reason,
            hint: None,
            images: Vec::new(),
            waived: None,
        }
    }

    /// A warning, where what it rests on is not sure.
    pub(crate) fn sure(self, sure: bool) -> Self {
        Self {
            severity: if sure {
                self.severity
            } else {
                Severity::Warning
            },
            ..self
        }
    }

    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..self
        }
    }
}

/// All that was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// What is wrong: errors first, then by place.
    pub findings: Vec<Finding>,
    /// What would be, without the family's waivers.
    pub waived: Vec<Finding>,
    /// Images of which the rules about libraries say nothing, because the facts of these archives
    /// are missing.
    pub unseen: BTreeMap<String, Vec<PackageId>>,
    /// Missing libraries of which it is not known which packages would bring them.
    pub wanted: BTreeSet<Wanted>,
}

impl Report {
    /// How many findings are this bad.
    pub fn count(&self, severity: Severity) -> usize {
        let findings = self.findings.iter();
        findings.filter(|it| it.severity == severity).count()
    }
}

/// Collects.
pub(crate) struct Builder<'a> {
    waivers: Vec<Scoped<'a>>,
    /// Findings without their images → the images.
    found: BTreeMap<Finding, Vec<String>>,
    used: BTreeSet<usize>,
    report: Report,
}

impl<'a> Builder<'a> {
    pub(crate) fn new(waivers: Vec<Scoped<'a>>) -> Self {
        Self {
            waivers,
            found: BTreeMap::new(),
            used: BTreeSet::new(),
            report: Report::default(),
        }
    }

    pub(crate) fn want(&mut self, wanted: impl IntoIterator<Item = Wanted>) {
        self.report.wanted.extend(wanted);
    }

    pub(crate) fn miss(&mut self, image: &str, archives: Vec<PackageId>) {
        // The same image for another platform has archives of its own.
        let unseen = self.report.unseen.entry(image.to_owned()).or_default();
        unseen.extend(archives);
        unseen.sort();
        unseen.dedup();
    }

    /// A finding of one image.
    pub(crate) fn add(&mut self, image: &Image<'_>, finding: Finding) {
        let waivers = self.waivers.iter().enumerate();
        let matching = waivers.filter(|(_, (_, component))| {
            component.is_none_or(|id| image.components.iter().any(|it| it.id == *id))
        });
        let matching: Vec<_> = matching.map(|(number, _)| number).collect();
        let finding = self.waive(finding, &matching);
        let images = self.found.entry(finding).or_default();
        let name = &image.locked.name;
        // It may be there for another platform already.
        if !images.contains(name) {
            images.push(name.clone());
        }
    }

    /// A finding about the family itself.
    pub(crate) fn add_of_family(&mut self, finding: Finding) {
        let all: Vec<_> = (0..self.waivers.len()).collect();
        let finding = self.waive(finding, &all);
        self.found.entry(finding).or_default();
    }

    /// Applies the first of some waivers that fits; all that fit count as used.
    fn waive(&mut self, mut finding: Finding, waivers: &[usize]) -> Finding {
        let subjects: Vec<_> = std::iter::once(&finding.subject)
            .chain(&finding.package)
            .collect();
        let mut waived = None;
        for number in waivers {
            let (rule, _) = self.waivers[*number];
            let mut names = subjects.iter();
            if names.any(|name| rule.waives(finding.lint.id(), name)) {
                self.used.insert(*number);
                waived.get_or_insert_with(|| Waived {
                    reason: rule.reason.clone(),
                    at: rule.at.clone(),
                });
            }
        }
        finding.waived = waived;
        finding
    }

    /// Finds waivers that waived nothing, unless what they waive could not be seen.
    pub(crate) fn unused_waivers(&mut self) {
        let is_of_libraries = |lint: &str| {
            [Lint::MissingLibrary, Lint::TooNewSymbol]
                .iter()
                .any(|it| it.id() == lint)
        };
        for (number, (waiver, _)) in self.waivers.iter().enumerate() {
            let unseen = is_of_libraries(&waiver.lint) && !self.report.unseen.is_empty();
            if self.used.contains(&number) || unseen {
                continue;
            }
            let subject = match &waiver.subject {
                Some(subject) => format!(" about `{subject}`"),
                None => String::new(),
            };
            let reason = format!(
                "this waives `{}`{subject}, and nothing is found",
                waiver.lint
            );
            let finding = Finding::at(Lint::UnusedWaiver, &waiver.lint, waiver.at.clone(), reason)
                .hint("remove the waiver");
            self.found.entry(finding).or_default();
        }
    }

    pub(crate) fn finish(self) -> Report {
        let Self {
            found, mut report, ..
        } = self;
        for (mut finding, images) in found {
            finding.images = images;
            if finding.waived.is_some() {
                report.waived.push(finding);
            } else {
                report.findings.push(finding);
            }
        }
        let key = |it: &Finding| (it.severity, it.at.clone(), it.lint, it.subject.clone());
        report.findings.sort_by_key(key);
        report.waived.sort_by_key(key);
        report
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_for_two_platforms_has_the_unseen_archives_of_both() {
        let id = |name: &str| PackageId(format!("pypi/{name}"));
        let mut builder = Builder::new(Vec::new());
        builder.miss("lab", vec![id("a-x86_64.whl"), id("c-any.whl")]);
        builder.miss("lab", vec![id("b-aarch64.whl"), id("c-any.whl")]);
        let all = ["a-x86_64.whl", "b-aarch64.whl", "c-any.whl"].map(id);
        let unseen = BTreeMap::from([("lab".to_owned(), Vec::from(all))]);
        assert_eq!(builder.finish().unseen, unseen);
    }
}
