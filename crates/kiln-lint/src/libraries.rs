//! Rules about libraries: what the files of wheels need, looked for as `ld.so` would.
//!
//! For a name in `DT_NEEDED`, in this order:
//!
//! 1. the directories of `DT_RUNPATH` or `DT_RPATH`, with `$ORIGIN`: for bundled libraries
//!    (`NAME.libs/`) and for those of other wheels at a known place (`../../nvidia/cublas/lib`);
//! 2. the OS packages: every library below `/usr/lib` and the like, by file name, link or soname.
//!    Subdirectories count, since alternatives (`libblas.so.3`) are links that scripts make;
//! 3. any wheel of the image, by file name or soname: `ld.so` takes what is loaded already, and
//!    packages load the libraries of others before their own (torch those of NVIDIA's wheels);
//! 4. files that the family itself places.
//!
//! A name that none of these has is missing. Versions of symbols are compared with those of the
//! libraries found: one of them must define each. Files for other systems, for other processors,
//! and those that are loaded only where they can be, do not count; nor does NVIDIA's driver.
//!
//! What the Python modules of a wheel need, directly or through its own libraries, is needed as
//! soon as the wheel is imported: an error. A wheel without modules is its libraries, which
//! Python loads itself: all of them count. Other files, plugins of Qt for example, may never be
//! loaded, so what they need is one warning for the wheel.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use kiln_lock::{PackageId, Wheel};
use kiln_package::{
    elf::Dynamic,
    libraries::{Libraries, Object},
};

use crate::{
    Finding, Input, Lint, Origin, Severity, Wanted,
    elsewhere::{is_of_host, is_of_other_system, is_optional},
    image::Image,
    placed::{Placed, Provider, objects},
};

pub(crate) struct Found {
    pub(crate) findings: Vec<Finding>,
    /// Missing libraries of which nobody has said yet who brings them.
    pub(crate) wanted: Vec<Wanted>,
}

/// Findings of an image; or the archives whose facts are missing.
pub(crate) fn find(image: &Image<'_>, input: Input<'_>) -> Result<Found, Vec<PackageId>> {
    let known = Known::of(image, input)?;
    let mut found = Found {
        findings: Vec::new(),
        wanted: Vec::new(),
    };
    // A base without OS packages has its libraries from somewhere else.
    if known.system.debs.is_empty() {
        return Ok(found);
    }
    let placed = Placed::new(image, &known);
    for (wheel, libraries) in &known.wheels {
        let (core, others) = parts(image, &placed, wheel, libraries);
        let core = problems(&placed, wheel, &core);
        let mut idle = problems(&placed, wheel, &others);
        idle.retain(|library, problem| {
            matches!(problem, Problem::Missing { .. }) && !core.contains_key(library)
        });
        for (library, problem) in core {
            let finding = match problem {
                Problem::Missing { file } => {
                    missing(image, input, wheel, &library, &file, &mut found.wanted)
                }
                Problem::TooNew { file, versions } => {
                    too_new(image, &placed, wheel, &library, &file, &versions)
                }
            };
            found.findings.push(finding);
        }
        found.findings.extend(idle_files(image, wheel, &idle));
    }
    Ok(found)
}

/// The facts of all archives of an image.
pub(crate) struct Known<'a> {
    pub(crate) wheels: Vec<(&'a Wheel, &'a Libraries)>,
    pub(crate) system: System<'a>,
}

pub(crate) struct System<'a> {
    pub(crate) debs: Vec<(&'a str, &'a Libraries)>,
}

impl<'a> Known<'a> {
    fn of(image: &Image<'a>, input: Input<'a>) -> Result<Self, Vec<PackageId>> {
        let mut missing = Vec::new();
        let mut wheels = Vec::new();
        for wheel in &image.closure.wheels {
            match input.facts.get(&wheel.sha256) {
                Some(facts) => wheels.push((*wheel, facts.as_ref())),
                None => missing.push(wheel.id.clone()),
            }
        }
        let mut debs = Vec::new();
        for deb in &image.closure.debs {
            match input.facts.get(&deb.sha256) {
                Some(facts) => debs.push((deb.name.as_str(), facts.as_ref())),
                None => missing.push(deb.id.clone()),
            }
        }
        if missing.is_empty() {
            let system = System { debs };
            Ok(Self { wheels, system })
        } else {
            Err(missing)
        }
    }
}

/// What is wrong with what a wheel needs.
enum Problem {
    /// Nothing has a library. `file` is the first that needs it.
    Missing { file: String },
    /// What has it does not define these versions.
    TooNew {
        file: String,
        versions: BTreeSet<String>,
    },
}

/// The files of a wheel that are loaded when it is imported, and the others.
fn parts<'l>(
    image: &Image<'_>,
    placed: &Placed<'_>,
    wheel: &Wheel,
    libraries: &'l Libraries,
) -> (Vec<&'l Object>, Vec<&'l Object>) {
    let all: Vec<&Object> = objects(libraries, image.machine())
        .filter(|it| !is_of_other_system(&it.dynamic) && !is_optional(&wheel.name, &it.path))
        .collect();
    let mut open: Vec<&Object> = all
        .iter()
        .copied()
        .filter(|it| is_module(&it.path))
        .collect();
    if open.is_empty() {
        return (all, Vec::new());
    }
    let own: HashMap<*const Dynamic, &Object> = all
        .iter()
        .map(|object| (std::ptr::from_ref(&object.dynamic), *object))
        .collect();
    let mut core: BTreeSet<&str> = open.iter().map(|object| object.path.as_str()).collect();
    while let Some(object) = open.pop() {
        let path = placed.path(wheel, &object.path);
        for library in &object.dynamic.needed {
            for provider in placed.find(&path, &object.dynamic, library) {
                if let Some(next) = own.get(&std::ptr::from_ref(provider.dynamic))
                    && core.insert(&next.path)
                {
                    open.push(next);
                }
            }
        }
    }
    all.into_iter()
        .partition(|object| core.contains(object.path.as_str()))
}

/// Whether a file is a module that Python imports: `NAME.so`, `NAME.abi3.so`, or
/// `NAME.cpython-311-x86_64-linux-gnu.so`.
fn is_module(path: &str) -> bool {
    let file = path.rsplit('/').next().unwrap_or(path);
    let Some((name, suffix)) = file.split_once('.') else {
        return false;
    };
    let is_name = name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let is_library = name.starts_with("lib") && name != "lib";
    let tagged = suffix
        .strip_prefix("cpython-")
        .is_some_and(|it| it.split('.').next_back() == Some("so"));
    is_name && (tagged || (!is_library && (suffix == "so" || suffix == "abi3.so")))
}

/// The problems of some files of a wheel by library.
fn problems(placed: &Placed<'_>, wheel: &Wheel, objects: &[&Object]) -> BTreeMap<String, Problem> {
    let mut problems: BTreeMap<String, Problem> = BTreeMap::new();
    for object in objects {
        let dynamic = &object.dynamic;
        let path = placed.path(wheel, &object.path);
        for library in &dynamic.needed {
            if is_of_host(library) || placed.files.contains(library.as_str()) {
                continue;
            }
            let providers = placed.find(&path, dynamic, library);
            if providers.is_empty() {
                let file = object.path.clone();
                let missing = Problem::Missing { file };
                problems.entry(library.clone()).or_insert(missing);
                continue;
            }
            let required = dynamic.requires.iter().filter(|it| it.library == *library);
            for version in required.flat_map(|it| &it.versions) {
                let defines = |provider: &Provider<'_>| {
                    // A library without versions satisfies all, with a warning of the linker.
                    let defined = &provider.dynamic.defines;
                    defined.is_empty() || defined.contains(version)
                };
                if providers.iter().any(defines) {
                    continue;
                }
                let entry = problems.entry(library.clone());
                let problem = entry.or_insert_with(|| Problem::TooNew {
                    file: object.path.clone(),
                    versions: BTreeSet::new(),
                });
                if let Problem::TooNew { versions, .. } = problem {
                    versions.insert(version.clone());
                }
            }
        }
    }
    problems
}

fn missing(
    image: &Image<'_>,
    input: Input<'_>,
    wheel: &Wheel,
    library: &str,
    file: &str,
    wanted: &mut Vec<Wanted>,
) -> Finding {
    let key = Wanted {
        base: image.locked.base.clone(),
        accelerator: image.locked.accelerator.clone(),
        platform: image.locked.platform,
        library: library.to_owned(),
    };
    let origin = image.origins.wheel(&wheel.name);
    let reason = format!(
        "`{}` {} needs `{library}`, and no package of the image brings it ({file} is linked to it)",
        wheel.name, wheel.version,
    );
    let mut finding = Finding::of(Lint::MissingLibrary, library, origin, reason);
    finding.package = Some(wheel.name.clone());
    if image
        .components
        .iter()
        .any(|component| !component.runs.is_empty())
    {
        // A command may bring what no package does.
        finding.severity = Severity::Warning;
    }
    finding.hint = input.owners.get(&key).map(|owners| advice(owners, origin));
    if finding.hint.is_none() {
        wanted.push(key);
    }
    finding
}

/// What files that may never be loaded need and nothing brings.
fn idle_files(
    image: &Image<'_>,
    wheel: &Wheel,
    problems: &BTreeMap<String, Problem>,
) -> Option<Finding> {
    let mut libraries = problems.keys().map(|library| format!("`{library}`"));
    let first = libraries.next()?;
    let listed = match libraries.len() {
        0 => first,
        1 | 2 => libraries.fold(first, |list, name| format!("{list}, {name}")),
        rest => format!("{first} and {rest} more libraries"),
    };
    let file = problems.values().find_map(|problem| match problem {
        Problem::Missing { file } => Some(file.as_str()),
        Problem::TooNew { .. } => None,
    })?;
    let reason = format!(
        "some files of `{}` {} need {listed}, which no package of the image brings ({file} is one); \
         importing it loads none of them",
        wheel.name, wheel.version,
    );
    let origin = image.origins.wheel(&wheel.name);
    let mut finding = Finding::of(Lint::MissingLibrary, &wheel.name, origin, reason)
        .hint("if you use what loads them, add what brings the libraries; else waive it");
    finding.severity = Severity::Warning;
    Some(finding)
}

fn advice(owners: &[String], origin: Option<&Origin>) -> String {
    let into = origin.map_or_else(String::new, |origin| format!(" in {}", origin.at.file));
    match owners {
        [] => "no package of the base's archives has it: look for another build of the wheel, or \
               place the library yourself with `[[file]]`"
            .to_owned(),
        [owner] => format!("add `{owner}` to `packages`{into}"),
        [owner, other, ..] => format!("add `{owner}` (or `{other}`) to `packages`{into}"),
    }
}

fn too_new(
    image: &Image<'_>,
    placed: &Placed<'_>,
    wheel: &Wheel,
    library: &str,
    file: &str,
    versions: &BTreeSet<String>,
) -> Finding {
    let providers = placed
        .names
        .get(library)
        .map(Vec::as_slice)
        .unwrap_or_default();
    let package = providers.first().map(|provider| provider.package);
    let deb = image
        .closure
        .debs
        .iter()
        .find(|deb| Some(deb.name.as_str()) == package);
    let there = match (deb, package) {
        (Some(deb), _) => format!("`{}` {}", deb.name, deb.version),
        (None, Some(package)) => format!("`{package}`"),
        (None, None) => "the image's".to_owned(),
    };
    let versions: Vec<_> = versions.iter().map(String::as_str).collect();
    let reason = format!(
        "`{}` {} needs {} of `{library}`, which {there} does not have ({file} is linked to it)",
        wheel.name,
        wheel.version,
        versions.join(", "),
    );
    let origin = image.origins.wheel(&wheel.name);
    let mut finding = Finding::of(Lint::TooNewSymbol, library, origin, reason)
        .hint("choose a version of the wheel that is built for an older system, or a newer base");
    finding.package = Some(wheel.name.clone());
    finding
}
