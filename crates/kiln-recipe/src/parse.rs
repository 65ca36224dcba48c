//! Family files → [`Family`]: which file is which, and what becomes of it.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    accelerator, check,
    component::{Context, Places},
    error::{RecipeError, RecipeErrors},
    family::{self, Names, Settings},
    files::{FamilyFiles, RELEASES},
    matrix::ImagePlace,
    model::{Accelerator, AcceleratorKind, Component, ComponentId, ComponentKind, Family, Ide},
    name::is_name_part,
    parts,
    reader::{Table, document},
    source::{Problems, Source, Spot},
};

/// The file that says what the family is and which images it has.
const KILN_TOML: &str = "kiln.toml";

/// What checking needs to know beside the family itself.
#[derive(Default)]
pub(crate) struct AllPlaces {
    pub(crate) components: BTreeMap<ComponentId, Places>,
    /// Where the bundle of this name says what it extends.
    pub(crate) extends: BTreeMap<String, Spot>,
    /// Where the images stand, in the order of [`Family::images`].
    pub(crate) images: Vec<ImagePlace>,
}

/// Parses a family's files. All that is wrong is reported at once.
pub fn parse(files: &FamilyFiles) -> Result<Family, RecipeErrors> {
    let problems = Problems::default();
    let found = discover(files, &problems);
    let texts = texts(files, &found, &problems);
    let sources: BTreeMap<&str, Source<'_>> = texts
        .iter()
        .map(|(file, text)| {
            let source = Source::new(files.place(file), text, &problems);
            (file.as_str(), source)
        })
        .collect();
    let (family, places) = read(files, &found, &sources, &problems);
    // Rules about several files hold only for files that are right by themselves.
    let errors = problems.into_sorted();
    let errors = if errors.is_empty() {
        check::check(&family, &places)
    } else {
        errors
    };
    if errors.is_empty() {
        let texts = texts.into_iter();
        let texts = texts.map(|(file, text)| (files.place(&file).to_owned(), text));
        Ok(Family {
            texts: texts.collect(),
            ..family
        })
    } else {
        Err(RecipeErrors(errors))
    }
}

/// The components' files: name and path, by kind.
type Found = BTreeMap<ComponentKind, BTreeMap<String, String>>;

/// Directory of a kind of components, and the file of each that has a directory of its own.
const fn layout(kind: ComponentKind) -> (&'static str, Option<&'static str>) {
    match kind {
        ComponentKind::Base => ("bases", None),
        ComponentKind::Accelerator => ("accelerators", None),
        ComponentKind::Bundle => ("bundles", Some("bundle.toml")),
        ComponentKind::Ide => ("ides", Some("ide.toml")),
    }
}

const KINDS: [ComponentKind; 4] = [
    ComponentKind::Base,
    ComponentKind::Accelerator,
    ComponentKind::Bundle,
    ComponentKind::Ide,
];

/// Finds the components, and directories that look like one but have no file.
fn discover(files: &FamilyFiles, problems: &Problems) -> Found {
    let mut found = Found::new();
    let mut directories = BTreeSet::new();
    for path in files.files.keys() {
        for kind in KINDS {
            let (dir, own_file) = layout(kind);
            let Some(rest) = path
                .strip_prefix(dir)
                .and_then(|rest| rest.strip_prefix('/'))
            else {
                continue;
            };
            let name = match (own_file, rest.split_once('/')) {
                (Some(own), Some((name, rest))) => {
                    directories.insert((kind, name));
                    (rest == own).then_some(name)
                }
                (Some(_), None) => None,
                (None, Some((name, _))) => {
                    directories.insert((kind, name));
                    None
                }
                (None, None) => rest.strip_suffix(".toml"),
            };
            if let Some(name) = name {
                check_name(kind, name, files.place(path), problems);
                found
                    .entry(kind)
                    .or_default()
                    .insert(name.to_owned(), path.clone());
            }
        }
    }
    for (kind, name) in directories {
        if !found
            .get(&kind)
            .is_some_and(|names| names.contains_key(name))
        {
            let (dir, _) = layout(kind);
            let id = ComponentId {
                kind,
                name: name.to_owned(),
            };
            let missing = id.file();
            let message = format!("the directory `{dir}/{name}` belongs to no {kind}");
            problems.add(
                Spot::file(&missing),
                message,
                Some(format!("add `{missing}`")),
            );
        }
    }
    found
}

/// Bundles and IDEs stand in image names; bases and accelerators only in files.
fn check_name(kind: ComponentKind, name: &str, path: &str, problems: &Problems) {
    let in_names = matches!(kind, ComponentKind::Bundle | ComponentKind::Ide);
    let joined = name.replace(['-', '_'], ".");
    let (fine, hint) = if in_names {
        (
            is_name_part(name),
            "lowercase letters, digits and dots: it stands in image names",
        )
    } else {
        (
            is_name_part(&joined),
            "lowercase letters, digits, `.`, `_` and `-`",
        )
    };
    if !fine {
        let message = format!("`{name}` cannot be the name of a component");
        problems.add(Spot::file(path), message, Some(hint.to_owned()));
    }
}

/// The texts of all TOML files that are there.
fn texts(files: &FamilyFiles, found: &Found, problems: &Problems) -> BTreeMap<String, String> {
    let paths = found
        .values()
        .flat_map(BTreeMap::values)
        .map(String::as_str);
    let mut texts = BTreeMap::new();
    for path in std::iter::once(KILN_TOML).chain(paths) {
        let Some(bytes) = files.files.get(path) else {
            continue;
        };
        if let Ok(text) = std::str::from_utf8(bytes) {
            texts.insert(path.to_owned(), text.to_owned());
        } else {
            let spot = Spot::file(files.place(path));
            problems.add(spot, "the file is not UTF-8 text", None);
        }
    }
    texts
}

fn read(
    files: &FamilyFiles,
    found: &Found,
    sources: &BTreeMap<&str, Source<'_>>,
    problems: &Problems,
) -> (Family, AllPlaces) {
    let names = names(found);
    let mut settings = if let Some(source) = sources.get(KILN_TOML) {
        document(source)
            .map(|table| family::read(Table::root(source, table.get_ref()), &names))
            .unwrap_or_default()
    } else {
        if !files.files.contains_key(KILN_TOML) {
            problems.add(Spot::file(KILN_TOML), "the family has no `kiln.toml`", None);
        }
        Settings::default()
    };
    if let Some(name) = &files.release {
        release(name, &mut settings, files, problems);
    }
    let context = Context {
        files,
        user: &settings.user,
        names: &names,
    };
    let mut places = AllPlaces::default();
    let mut family = Family {
        name: settings.name,
        release: settings.release,
        description: settings.description,
        vendor: settings.vendor,
        source: settings.source,
        licenses: settings.licenses,
        repository: settings.repository,
        default_base: settings.default_base,
        platforms: settings.platforms,
        pattern: settings.pattern,
        user: settings.user.clone(),
        pack_only: settings.pack_only,
        bytecode: settings.bytecode,
        sources: settings.sources,
        uv: settings.uv,
        bases: BTreeMap::new(),
        accelerators: BTreeMap::new(),
        bundles: BTreeMap::new(),
        ides: BTreeMap::new(),
        images: Vec::new(),
        waivers: settings.waivers,
        texts: BTreeMap::new(),
    };
    for (image, place) in settings.images {
        family.images.push(image);
        places.images.push(place);
    }
    builtin(&mut family);
    for (kind, components) in found {
        for (name, path) in components {
            let Some(source) = sources.get(path.as_str()) else {
                continue;
            };
            let Some(document) = document(source) else {
                continue;
            };
            let table = Table::root(source, document.get_ref());
            let id = ComponentId {
                kind: *kind,
                name: name.clone(),
            };
            component(table, id, &context, &mut family, &mut places);
        }
    }
    (family, places)
}

/// A release is called as its directory; a `kiln.toml` of its own says the same.
fn release(name: &str, settings: &mut Settings, files: &FamilyFiles, problems: &Problems) {
    if !is_name_part(name) {
        problems.add(
            Spot::file(&format!("{RELEASES}/{name}")),
            format!("`{name}` cannot stand in image names"),
            Some("lowercase letters, digits and dots, such as `2026b`".to_owned()),
        );
    } else if files.own.contains_key(KILN_TOML) && settings.release != name {
        problems.add(
            Spot::file(files.place(KILN_TOML)),
            format!(
                "this is the release `{name}` by its directory, and `{}` by its `release`",
                settings.release
            ),
            Some(format!(
                "say `release = \"{name}\"`, or rename the directory"
            )),
        );
    }
    name.clone_into(&mut settings.release);
}

fn component(
    table: Table<'_>,
    id: ComponentId,
    context: &Context<'_>,
    family: &mut Family,
    all: &mut AllPlaces,
) {
    let name = id.name.clone();
    let dir = format!("{}/{name}", layout(id.kind).0);
    let places = match id.kind {
        ComponentKind::Base => {
            let (base, places) = parts::base(table, id.clone(), &dir, context);
            family.bases.insert(name, base);
            places
        }
        ComponentKind::Accelerator => {
            let (accelerator, places) = accelerator::read(table, id.clone(), &dir, context);
            family.accelerators.insert(name, accelerator);
            places
        }
        ComponentKind::Bundle => {
            let (bundle, places, extends) = parts::bundle(table, id.clone(), &dir, context);
            all.extends.extend(extends.map(|spot| (name.clone(), spot)));
            family.bundles.insert(name, bundle);
            places
        }
        ComponentKind::Ide => {
            let (ide, places) = parts::ide(table, id.clone(), &dir, context);
            family.ides.insert(name, ide);
            places
        }
    };
    all.components.insert(id, places);
}

/// The names of all components, those included that exist without a file.
fn names(found: &Found) -> Names<'_> {
    let mut names: Names<'_> = found
        .iter()
        .map(|(kind, components)| (*kind, components.keys().map(String::as_str).collect()))
        .collect();
    names
        .entry(ComponentKind::Accelerator)
        .or_default()
        .insert("cpu");
    names
        .entry(ComponentKind::Ide)
        .or_default()
        .insert("runtime");
    names
}

/// What exists without a file.
fn builtin(family: &mut Family) {
    let id = |kind, name: &str| ComponentId {
        kind,
        name: name.to_owned(),
    };
    let nowhere = Spot::file(KILN_TOML).at;
    let cpu = Component::new(id(ComponentKind::Accelerator, "cpu"), nowhere.clone());
    family.accelerators.insert(
        "cpu".to_owned(),
        Accelerator {
            component: cpu,
            kind: AcceleratorKind::Cpu,
            code: None,
            cuda: None,
            archives: Vec::new(),
        },
    );
    let runtime = Component::new(id(ComponentKind::Ide, "runtime"), nowhere);
    let ide = Ide {
        component: runtime,
        command: Vec::new(),
        port: None,
    };
    family.ides.insert("runtime".to_owned(), ide);
}

/// Sorted errors of a check that has its own list.
pub(crate) fn collect(check: impl FnOnce(&Problems)) -> Vec<RecipeError> {
    let problems = Problems::default();
    check(&problems);
    problems.into_sorted()
}
