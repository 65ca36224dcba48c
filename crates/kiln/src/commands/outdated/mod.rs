//! `kiln outdated`: which locked packages have newer versions, and what holds them back.

mod text;

use std::collections::BTreeSet;

use kiln_lock::diff::PackageKind;
use kiln_resolve::newer::{Holder, Newer, newer};
use serde_json::{Value, json};

use crate::{
    args::{self, DiffFormat, Global},
    error::Failure,
    exit,
    output::{Output, count},
    project::Project,
};

pub(crate) fn run(args: &args::Outdated, global: &Global, output: &Output) -> Result<(), Failure> {
    let project = Project::open(global)?;
    let lock = project.fitting_lock()?;
    let images = project.select(&lock, &args.images, args.images.is_empty())?;
    let fetcher = project.fetcher(global)?;
    // An image for several platforms is one.
    let names: BTreeSet<_> = images.iter().map(|image| &image.name).collect();
    let now = jiff::Timestamp::now();
    output.note("asking the sources what is newer");
    let mut found = newer(&project.family, &lock, &images, &fetcher, !args.no_os, now)?;
    found.retain(|it| it.direct || !args.direct);
    let summary = Summary::of(&found);
    if output.is_json() {
        for it in &found {
            output.json(&as_json(it));
        }
        output.json(&json!({
            "event": "outdated", "images": names.len(), "allowed": summary.allowed,
            "held": summary.held, "yanked": summary.yanked, "gone": summary.gone,
        }));
    } else {
        let lines = match args.format {
            DiffFormat::Text => text::table(&found, names.len()),
            DiffFormat::Markdown => text::markdown(&found, names.len()),
        };
        for line in lines {
            output.line(line);
        }
        output.note(summary.sentence());
    }
    if args.exit_code && !found.is_empty() {
        let message = format!("{} not the newest", are(found.len()));
        return Err(Failure::new(exit::NEGATIVE, message).hint(
            "`kiln lock --upgrade` moves what is allowed; what is held back needs another requirement",
        ));
    }
    Ok(())
}

fn are(packages: usize) -> String {
    let verb = if packages == 1 { "is" } else { "are" };
    format!("{} {verb}", count(packages, "package"))
}

/// How many packages there are of each kind.
#[derive(Debug, Default, PartialEq, Eq)]
struct Summary {
    /// A newer version is allowed.
    allowed: usize,
    /// The newest version is held back.
    held: usize,
    yanked: usize,
    gone: usize,
}

impl Summary {
    fn of(found: &[Newer]) -> Self {
        let count = |is: fn(&Newer) -> bool| found.iter().filter(|it| is(it)).count();
        Self {
            allowed: count(|it| it.allowed != it.locked),
            held: count(|it| it.newest != it.allowed),
            yanked: count(|it| it.yanked.is_some()),
            gone: count(|it| it.gone),
        }
    }

    fn sentence(&self) -> String {
        if *self == Self::default() {
            return "everything is the newest".to_owned();
        }
        let mut parts = vec![
            format!("{} newer as the family allows", are(self.allowed)),
            format!("{} held back", self.held),
        ];
        if self.yanked > 0 {
            parts.push(format!("{} yanked", self.yanked));
        }
        if self.gone > 0 {
            parts.push(format!("{} gone: `kiln lock --relock-gone`", self.gone));
        }
        parts.join(", ")
    }
}

fn as_json(it: &Newer) -> Value {
    let held_by: Vec<_> = it.held_by.iter().map(holder_as_json).collect();
    json!({
        "package": it.name,
        "kind": match it.kind { PackageKind::Deb => "deb", PackageKind::Wheel => "wheel" },
        "source": it.source, "version": it.locked, "allowed": it.allowed, "newest": it.newest,
        "held_by": held_by, "yanked": it.yanked, "gone": it.gone, "direct": it.direct,
        "images": it.images,
    })
}

fn holder_as_json(holder: &Holder) -> Value {
    match holder {
        Holder::Family {
            component,
            requirement,
            at,
        } => json!({
            "component": component, "requirement": requirement, "file": at.file, "line": at.line,
            "column": at.column,
        }),
        Holder::Wheel {
            name,
            version,
            requirement,
        } => json!({"package": name, "version": version, "requirement": requirement}),
        Holder::Python { requires } => json!({"requires_python": requires}),
        Holder::NoWheel { target } => json!({"no_wheel_for": target}),
    }
}
