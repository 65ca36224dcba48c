//! What components demand of an image (`python`, `needs`, `provides`, `conflicts`), the indexes of
//! some Python projects, and `[[waive]]`.

use std::{collections::BTreeMap, str::FromStr};

use pep508_rs::{PackageName, pep440_rs::VersionSpecifiers};

use crate::{
    component::names_once,
    error::suggest,
    model::{
        Capability, Component, ComponentKind, LINTS, PythonIndex, PythonRange, PythonVersion,
        Waiver,
    },
    name::is_name_part,
    parts::source_name,
    reader::{Table, Text},
    source::Spot,
};

/// Where things stand that a check of several components may have to show.
#[derive(Debug, Default)]
pub(crate) struct RulePlaces {
    /// The items of `component.needs`, in the same order.
    pub(crate) needs: Vec<Spot>,
    /// Each project of `component.python_indexes`.
    pub(crate) indexed: BTreeMap<String, Spot>,
}

/// Reads the keys into `component`.
pub(crate) fn read(table: &mut Table<'_>, component: &mut Component) -> RulePlaces {
    let mut places = RulePlaces::default();
    // The `python` of a base is the one that it has.
    if component.id.kind != ComponentKind::Base {
        component.python = table.text("python").and_then(|text| python(&text));
    }
    for (list, key) in [
        (&mut component.needs, "needs"),
        (&mut component.provides, "provides"),
        (&mut component.conflicts, "conflicts"),
    ] {
        for text in names_once(table.texts(key).unwrap_or_default(), key) {
            let Some(name) = capability(&text) else {
                continue;
            };
            let spot = text.source.spot(&text.span);
            let at = spot.at.clone();
            list.push(Capability { name, at });
            if key == "needs" {
                places.needs.push(spot);
            }
        }
    }
    if component.id.kind == ComponentKind::Ide {
        no_indexes(table);
    } else {
        indexes(table, &mut component.python_indexes, &mut places.indexed);
    }
    component.waivers = waivers(table);
    places
}

fn python(text: &Text<'_>) -> Option<PythonRange> {
    let parsed = match VersionSpecifiers::from_str(&text.value) {
        Ok(parsed) if !parsed.is_empty() => parsed,
        Ok(_) => {
            text.error("`python` is empty", None);
            return None;
        }
        Err(_) => {
            let hint = match text.value.trim().parse::<PythonVersion>() {
                Ok(python) => {
                    format!("`=={python}` for this one alone, `>={python}` for it and later ones")
                }
                Err(_) => "bounds with commas between them, such as `>=3.11,<3.14`".to_owned(),
            };
            text.error(
                format!("`{}` is no range of versions (PEP 440)", text.value),
                Some(hint),
            );
            return None;
        }
    };
    let is_minor = |version: &pep508_rs::pep440_rs::Version| {
        version.release().len() <= 2 && *version == version.only_release()
    };
    if let Some(exact) = parsed.iter().find(|it| !is_minor(it.version())) {
        text.error(
            format!(
                "`{}` says more than a base does, which knows its Python as `3.11`",
                exact.version()
            ),
            Some("two numbers, such as `>=3.11,<3.14`".to_owned()),
        );
        return None;
    }
    Some(PythonRange {
        text: text.value.clone(),
        parsed,
        at: text.source.spot(&text.span).at,
    })
}

fn capability(text: &Text<'_>) -> Option<String> {
    if !is_name_part(&text.value.replace(['-', '_'], ".")) {
        text.error(
            format!("`{}` cannot be provided by a component", text.value),
            Some("the name of a component, or another of lowercase letters, digits, `.`, `_` and `-`, such as `cuda`".to_owned()),
        );
        return None;
    }
    Some(text.value.clone())
}

/// Refuses `[python-index.NAME]` of an IDE: versions are chosen for a bundle and all its IDEs
/// together, so that it would reach images without this one.
fn no_indexes(table: &mut Table<'_>) {
    if !table.has("python-index") {
        return;
    }
    for (name, _) in table.named_tables("python-index") {
        name.error(
            "an IDE cannot say where Python projects come from, as images without it would have \
             them from there, too",
            Some("put it into the bundle or the accelerator".to_owned()),
        );
    }
}

/// Reads `[python-index.NAME]`.
fn indexes(
    table: &mut Table<'_>,
    indexes: &mut BTreeMap<String, PythonIndex>,
    spots: &mut BTreeMap<String, Spot>,
) {
    for (name, mut table) in table.named_tables("python-index") {
        let at = name.source.spot(&name.span).at;
        let texts = table.texts("projects");
        if table.lacks("projects") {
            table.error(
                format!("missing `projects` in `[python-index.{}]`", name.value),
                Some("the projects that come from this index, such as `[\"torch\"]`".to_owned()),
            );
        }
        table.finish();
        let mut projects = BTreeMap::new();
        for text in texts.unwrap_or_default() {
            let Ok(project) = PackageName::from_str(&text.value) else {
                text.error(
                    format!("`{}` is not the name of a Python project", text.value),
                    Some(
                        "the name alone, such as `torch`: versions stand in `requirements`".into(),
                    ),
                );
                continue;
            };
            let spot = text.source.spot(&text.span);
            let project = project.to_string();
            if let Some(first) = spots.get(&project) {
                text.error(
                    format!("`{project}` has an index already"),
                    Some(format!("it stands in line {} too: keep one", first.at.line)),
                );
                continue;
            }
            projects.insert(project.clone(), spot.at.clone());
            spots.insert(project, spot);
        }
        let Some(source) = source_name(&name) else {
            continue;
        };
        if source == PRIMARY_INDEX {
            name.error(
                format!("`{PRIMARY_INDEX}` is where all projects come from that no table names"),
                Some("give the other index a name of its own, such as `pytorch-cpu`".to_owned()),
            );
            continue;
        }
        indexes.insert(source, PythonIndex { projects, at });
    }
}

/// The source that Python projects come from unless a component says otherwise.
const PRIMARY_INDEX: &str = "pypi";

/// Reads `[[waive]]`.
pub(crate) fn waivers(table: &mut Table<'_>) -> Vec<Waiver> {
    table
        .tables("waive")
        .into_iter()
        .filter_map(waiver)
        .collect()
}

fn waiver(mut table: Table<'_>) -> Option<Waiver> {
    let at = table.source.spot(&table.span()).at;
    let lint = table.required("lint");
    let subject = table.text("subject");
    let reason = table.text("reason");
    let unexplained = reason.as_ref().is_none_or(|it| it.value.trim().is_empty());
    if unexplained {
        let hint = "say why it is no concern, for who reads it next year".to_owned();
        match &reason {
            Some(reason) => reason.error("the `reason` is empty", Some(hint)),
            None if table.has("reason") => {}
            None => table.error("missing `reason` in `[[waive]]`", Some(hint)),
        }
    }
    table.finish();
    let lint = lint?;
    if !LINTS.contains(&lint.value.as_str()) {
        lint.error(
            format!("unknown lint `{}`", lint.value),
            suggest(&lint.value, "lints", LINTS),
        );
        return None;
    }
    if let Some(subject) = &subject
        && let Err(error) = globset::Glob::new(&subject.value)
    {
        subject.error(
            format!("`{}` is not a glob: {}", subject.value, error.kind()),
            Some("`*` means any text, `?` any character, `[ab]` one of some".to_owned()),
        );
        return None;
    }
    Some(Waiver {
        lint: lint.value,
        subject: subject.map(|it| it.value),
        reason: reason.filter(|_| !unexplained)?.value,
        at,
    })
}
