//! What is said of an edit, and why there is none.

use std::ops::Range;

use kiln_recipe::{
    Component, Location,
    edit::{Change, EditError, Wanted},
};
use serde_json::json;

use super::{Edit, Target};
use crate::{error::Failure, project::Project};

/// Tells what an edit does to one entry.
pub(super) fn change(edit: &Edit<'_>, edited: &Project, change: &Change) {
    let (target, output) = (edit.target, edit.output);
    let family = &edited.family;
    let components = family.all_components();
    let component = components.into_iter().find(|it| it.id == target.id);
    let to = change.to.as_deref();
    let at = component.and_then(|it| entries(it, edit.wanted).find(|(text, ..)| Some(*text) == to));
    let at = at.map(|(_, _, at)| at);
    let written = !edit.options.dry_run && !change.is_none();
    if output.is_json() {
        output.json(&json!({
            "event": "edited", "component": target.id, "file": target.place,
            "line": at.map(|at| at.line), "list": edit.wanted.key(), "package": change.name,
            "from": change.from, "to": change.to, "written": written,
        }));
        return;
    }
    let place = at.map_or(target.place.clone(), ToString::to_string);
    output.line(sentence(
        change,
        &target.id.to_string(),
        &place,
        edit.options.dry_run,
    ));
}

fn sentence(change: &Change, component: &str, place: &str, dry_run: bool) -> String {
    let done = |done: &str| {
        if dry_run {
            format!("would be {done}")
        } else {
            format!("is {done}")
        }
    };
    match (&change.from, &change.to) {
        (Some(from), Some(to)) if from == to => {
            format!("`{to}` is in {component} already ({place})")
        }
        (Some(from), Some(to)) => {
            let done = done("replaced by");
            format!("`{from}` of {component} {done} `{to}` ({place})")
        }
        (None, Some(to)) => format!("`{to}` {} to {component} ({place})", done("added")),
        (Some(from), None) => {
            format!("`{from}` {} from {component} ({place})", done("removed"))
        }
        (None, None) => String::new(),
    }
}

/// What a component asks for: the entry, the name in it, and where it stands.
fn entries<'c>(
    component: &'c Component,
    wanted: Wanted,
) -> Box<dyn Iterator<Item = (&'c str, String, &'c Location)> + 'c> {
    match wanted {
        Wanted::Python => {
            let all = component.requirements.iter();
            Box::new(all.map(|it| (it.text.as_str(), it.parsed.name.to_string(), &it.at)))
        }
        Wanted::Os => {
            let all = component.os_packages.iter();
            Box::new(all.map(|it| (it.text.as_str(), it.name.clone(), &it.at)))
        }
    }
}

/// Why a file is not edited, and what may have been meant.
pub(super) fn failure(target: &Target, wanted: Wanted, error: &EditError) -> Failure {
    let failure = Failure::from(error.clone());
    match error {
        EditError::Requirement { entry, cause } => {
            let excerpt = cause.bytes.as_ref().map(|bytes| excerpt(entry, bytes));
            Failure {
                details: excerpt.into_iter().collect(),
                ..failure
            }
        }
        EditError::Missing { name, .. } => {
            let hint = elsewhere(target, wanted, name).or(failure.hint);
            Failure {
                message: format!("{} of {} ({})", failure.message, target.id, target.place),
                hint: hint.or_else(|| in_lock(target, name)),
                ..failure
            }
        }
        _ => failure,
    }
}

/// What was given, and a mark below what is meant of it.
fn excerpt(entry: &str, bytes: &Range<usize>) -> String {
    let count = |end: usize| {
        let before = entry.char_indices().take_while(|(at, _)| *at < end);
        before.count()
    };
    let (start, end) = (count(bytes.start), count(bytes.end));
    let marks = "^".repeat(end.saturating_sub(start).max(1));
    format!("  {entry}\n  {}{marks}", " ".repeat(start))
}

/// Where else the family names a package.
fn elsewhere(target: &Target, wanted: Wanted, name: &str) -> Option<String> {
    let all = target.project.family.all_components();
    let named = |wanted: Wanted, component: &Component| {
        let mut found = entries(component, wanted).filter(|(_, other, _)| other == name);
        found
            .next()
            .map(|(_, _, at)| format!("{} ({at})", component.id))
    };
    let (other, option) = match wanted {
        Wanted::Python => (Wanted::Os, "it is an OS package: with `--os`"),
        Wanted::Os => (Wanted::Python, "it is a Python project: without `--os`"),
    };
    let own = all.iter().find(|it| it.id == target.id)?;
    if named(other, own).is_some() {
        return Some(option.to_owned());
    }
    let places: Vec<_> = all.iter().filter_map(|it| named(wanted, it)).collect();
    (!places.is_empty()).then(|| format!("it is in {}", places.join(", ")))
}

/// That nothing names a package that is locked all the same.
fn in_lock(target: &Target, name: &str) -> Option<String> {
    let lock = target.project.read_lock().ok()??;
    let mut debs = lock.debs.iter();
    let is_locked = lock.wheels.iter().any(|it| it.name == name) || debs.any(|it| it.name == name);
    is_locked.then(|| format!("something else requires it: `kiln why {name}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_says_what_becomes_of_an_entry_and_where() {
        let said = |from: Option<&str>, to: Option<&str>, dry_run| {
            let change = Change {
                name: "numpy".to_owned(),
                from: from.map(str::to_owned),
                to: to.map(str::to_owned),
            };
            sentence(
                &change,
                "bundle/science",
                "bundles/science/bundle.toml:3:5",
                dry_run,
            )
        };
        let (old, new) = (Some("numpy~=2.3.0"), Some("numpy~=2.4.0"));
        let all = [
            said(None, new, false),
            said(old, new, false),
            said(old, None, false),
            said(old, old, false),
            said(None, new, true),
            said(old, new, true),
        ];
        insta::assert_snapshot!(all.join("\n"), @r"
        `numpy~=2.4.0` is added to bundle/science (bundles/science/bundle.toml:3:5)
        `numpy~=2.3.0` of bundle/science is replaced by `numpy~=2.4.0` (bundles/science/bundle.toml:3:5)
        `numpy~=2.3.0` is removed from bundle/science (bundles/science/bundle.toml:3:5)
        `numpy~=2.3.0` is in bundle/science already (bundles/science/bundle.toml:3:5)
        `numpy~=2.4.0` would be added to bundle/science (bundles/science/bundle.toml:3:5)
        `numpy~=2.3.0` of bundle/science would be replaced by `numpy~=2.4.0` (bundles/science/bundle.toml:3:5)
        ");
    }

    #[test]
    fn what_is_wrong_with_a_requirement_is_marked() {
        insta::assert_snapshot!(excerpt("ä=>2", &(2..4)), @r"
          ä=>2
           ^^
        ");
        assert!(excerpt("numpy", &(9..9)).ends_with('^'));
    }
}
