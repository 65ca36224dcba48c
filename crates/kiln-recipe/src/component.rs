//! What the files of all kinds of components have in common.

use std::collections::{BTreeMap, BTreeSet};

use kiln_digest::Digest;

use crate::{
    error::nearest,
    files::FamilyFiles,
    from_source,
    model::{Component, ComponentId, PlacedFile, User},
    reader::{Table, Text},
    requirement,
    source::Spot,
};

/// What reading a component needs to know besides its own file.
pub(crate) struct Context<'a> {
    pub(crate) files: &'a FamilyFiles,
    pub(crate) user: &'a User,
    /// The names of all bundles.
    pub(crate) bundles: BTreeSet<&'a str>,
}

/// Places in a component's file that its plain data do not hold.
#[derive(Debug, Default)]
pub(crate) struct Places {
    /// Where each variable of `component.env` stands, in the same order.
    pub(crate) env: Vec<Spot>,
    /// Where each destination of `component.files` stands, by destination.
    pub(crate) files: BTreeMap<String, Spot>,
    /// Where each project of `component.from_source` stands, by project.
    pub(crate) from_source: BTreeMap<String, Spot>,
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
    let files = placed_files(table, dir, context, &mut component.files);
    let from_source = from_source::read(table, &mut component.from_source);
    (
        component,
        Places {
            env,
            files,
            from_source,
        },
    )
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

fn placed_files(
    table: &mut Table<'_>,
    dir: &str,
    context: &Context<'_>,
    files: &mut Vec<PlacedFile>,
) -> BTreeMap<String, Spot> {
    let mut spots: BTreeMap<String, Spot> = BTreeMap::new();
    for mut file in table.tables("file") {
        let source = file.required("source");
        let to = file.required("to");
        let mode = file.text("mode").map_or(Some(0o644), |text| mode(&text));
        let owner = file.text("owner").map(|text| owner(&text));
        file.finish();
        let (Some(source), Some(to), Some(mode)) = (source, to, mode) else {
            continue;
        };
        let Some(path) = existing(&source, dir, context.files) else {
            continue;
        };
        if let Err(why) = normal_path(&to.value) {
            to.error(
                format!("`{}` {why}", to.value),
                Some("a destination such as `/opt/app-root/bin/start.sh`".to_owned()),
            );
            continue;
        }
        let spot = to.source.spot(&to.span);
        if let Some(first) = spots.get(&to.value) {
            to.error(
                format!("two files go to `{}`", to.value),
                Some(format!("the other stands in line {}", first.at.line)),
            );
            continue;
        }
        let bytes = &context.files.files[&path];
        files.push(PlacedFile {
            source: path,
            owner: owner
                .flatten()
                .unwrap_or_else(|| default_owner(&to.value, context.user)),
            mode,
            sha256: Digest::of(bytes),
            size: bytes.len() as u64,
            at: spot.at.clone(),
            to: to.value.clone(),
        });
        spots.insert(to.value, spot);
    }
    files.sort_by(|a, b| a.to.cmp(&b.to));
    spots
}

/// The path, below the family's directory, of a file that a component names.
fn existing(source: &Text<'_>, dir: &str, files: &FamilyFiles) -> Option<String> {
    let path = format!("{dir}/{}", source.value);
    if files.files.contains_key(&path) {
        return Some(path);
    }
    let prefix = format!("{dir}/");
    let known: Vec<_> = files
        .files
        .keys()
        .filter_map(|name| name.strip_prefix(&prefix))
        .collect();
    let hint = nearest(&source.value, known).map(|near| format!("did you mean `{near}`?"));
    source.error(format!("no file `{}` in `{dir}`", source.value), hint);
    None
}

/// The family's user owns its Python tree and its home; root owns the rest.
fn default_owner(path: &str, user: &User) -> (u32, u32) {
    let below = |dir: &str| {
        path.strip_prefix(dir)
            .is_some_and(|rest| rest.starts_with('/'))
    };
    if below(&user.prefix) || below(&user.home) {
        (user.uid, user.gid)
    } else {
        (0, 0)
    }
}

fn mode(text: &Text<'_>) -> Option<u32> {
    let digits =
        matches!(text.value.len(), 3 | 4) && text.value.bytes().all(|c| c.is_ascii_digit());
    let mode = u32::from_str_radix(&text.value, 8)
        .ok()
        .filter(|mode| digits && *mode <= 0o777);
    if mode.is_none() {
        text.error(
            format!("`{}` is not a mode", text.value),
            Some("permission bits in octal, such as `0644` or `0755`".to_owned()),
        );
    }
    mode
}

fn owner(text: &Text<'_>) -> Option<(u32, u32)> {
    let owner = text
        .value
        .split_once(':')
        .and_then(|(uid, gid)| Some((uid.parse().ok()?, gid.parse().ok()?)));
    if owner.is_none() {
        text.error(
            format!("`{}` is not an owner", text.value),
            Some("numbers of user and group, such as `1001:0`".to_owned()),
        );
    }
    owner
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
