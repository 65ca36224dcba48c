//! What the files of all kinds of components have in common.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    family::Names,
    files::FamilyFiles,
    from_source,
    model::{Component, ComponentId, User},
    placed,
    reader::{Table, Text},
    requirement,
    rules::{self, RulePlaces},
    run,
    source::Spot,
};

/// What reading a component needs to know besides its own file.
pub(crate) struct Context<'a> {
    pub(crate) files: &'a FamilyFiles,
    pub(crate) user: &'a User,
    /// The names of all components.
    pub(crate) names: &'a Names<'a>,
}

/// Places in a component's file that its plain data do not hold.
#[derive(Debug, Default)]
pub(crate) struct Places {
    /// Where each variable of `component.env` stands, in the same order.
    pub(crate) env: Vec<Spot>,
    /// Where each destination of `component.files` stands, by destination.
    pub(crate) files: BTreeMap<String, Spot>,
    /// Where each variable of each command of `component.runs` stands, in the same order.
    pub(crate) runs: Vec<Vec<Spot>>,
    /// Where each project of `component.from_source` stands, by project.
    pub(crate) from_source: BTreeMap<String, Spot>,
    /// Where the component's rules stand.
    pub(crate) rules: RulePlaces,
}

/// Reads the keys that every component may have. `dir` is the component's own directory.
pub(crate) fn read(
    table: &mut Table<'_>,
    id: ComponentId,
    dir: &str,
    context: &Context<'_>,
) -> (Component, Places) {
    let mut component = Component::new(id, Spot::file(table.source.file).at);
    if let Some(title) = table.string("title") {
        component.title = title;
    }
    component.description = table.string("description").unwrap_or_default();
    component.requirements = requirements(table);
    component.os_packages = os_packages(table);
    let mut env = Vec::new();
    for (name, value) in table.pairs("env") {
        if variable(&name) {
            env.push(value.source.spot(&value.span));
            component.env.push((name.value, value.value));
        }
    }
    for (name, value) in table.pairs("labels") {
        component.labels.insert(name.value, value.value);
    }
    for (path, package) in table.pairs("winners") {
        if let Err(why) = normal_path(&path.value) {
            path.error(format!("`{}` {why}", path.value), None);
        } else {
            component.winners.insert(path.value, package.value);
        }
    }
    let files = placed::read(table, dir, context, &mut component.files);
    let runs = run::read(table, dir, context, &mut component.runs);
    let from_source = from_source::read(table, &mut component.from_source);
    let rules = rules::read(table, &mut component);
    let places = Places {
        env,
        files,
        runs,
        from_source,
        rules,
    };
    (component, places)
}

pub(crate) fn requirements(table: &mut Table<'_>) -> Vec<crate::Requirement> {
    let mut seen = BTreeMap::new();
    let mut list = Vec::new();
    for text in table.texts("requirements").unwrap_or_default() {
        let Some(requirement) = requirement::python(&text) else {
            continue;
        };
        // The same project may stand twice under different markers.
        let key = (
            requirement.parsed.name.to_string(),
            format!("{:?}", requirement.parsed.marker),
        );
        if let Some(first) = seen.insert(key, requirement.at.line) {
            text.error(
                format!("`{}` is required twice", requirement.parsed.name),
                Some(format!("it stands in line {first} too: keep one")),
            );
        }
        list.push(requirement);
    }
    list
}

pub(crate) fn os_packages(table: &mut Table<'_>) -> Vec<crate::OsPackage> {
    let mut seen = BTreeMap::new();
    let mut list = Vec::new();
    for text in table.texts("packages").unwrap_or_default() {
        let Some(package) = requirement::os_package(&text) else {
            continue;
        };
        if let Some(first) = seen.insert(package.name.clone(), package.at.line) {
            text.error(
                format!("`{}` is named twice", package.name),
                Some(format!("it stands in line {first} too: keep one")),
            );
        }
        list.push(package);
    }
    list
}

/// The items of a list of names without those that stand twice, which are reported.
pub(crate) fn names_once<'a>(texts: Vec<Text<'a>>, key: &str) -> Vec<Text<'a>> {
    let (mut seen, mut once) = (BTreeSet::new(), Vec::new());
    for text in texts {
        if seen.insert(text.value.clone()) {
            once.push(text);
        } else {
            text.error(format!("`{}` stands twice in `{key}`", text.value), None);
        }
    }
    once
}

/// Whether it can be the name of an environment variable; an error has been reported when not.
pub(crate) fn variable(name: &Text<'_>) -> bool {
    let value = &name.value;
    let fine = value.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && value.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !fine {
        name.error(
            format!("`{value}` is not a name of an environment variable"),
            Some("letters, digits and `_`, not beginning with a digit".to_owned()),
        );
    }
    fine
}

/// Whether a path is absolute and has one spelling only. The error fits after the path.
pub(crate) fn normal_path(path: &str) -> Result<(), &'static str> {
    let Some(rest) = path.strip_prefix('/') else {
        return Err("is not an absolute path");
    };
    if rest.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err("is not a normal path: it has an empty part, `.` or `..`");
    }
    Ok(())
}
