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
    elf::{Dynamic, Machine},
    libraries::{Libraries, Object},
};

use crate::{
    Finding, Input, Lint, Origin, Severity, Wanted,
    elsewhere::{is_of_host, is_of_other_system, is_optional},
    image::Image,
};

/// How many links are followed from one to the next, as the kernel does.
const MAX_LINKS: usize = 40;

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
struct Known<'a> {
    wheels: Vec<(&'a Wheel, &'a Libraries)>,
    system: System<'a>,
}

struct System<'a> {
    debs: Vec<(&'a str, &'a Libraries)>,
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

/// Libraries by the places and names by which they are found.
struct Placed<'a> {
    /// Absolute path → library.
    paths: HashMap<String, Provider<'a>>,
    /// File name, name of a link, or soname → libraries.
    names: HashMap<String, Vec<Provider<'a>>>,
    /// Names of files that the family places.
    files: BTreeSet<&'a str>,
    /// Where wheels are installed.
    site: String,
    prefix: &'a str,
}

#[derive(Clone, Copy)]
struct Provider<'a> {
    dynamic: &'a Dynamic,
    package: &'a str,
}

impl<'a> Placed<'a> {
    fn new(image: &Image<'a>, known: &Known<'a>) -> Self {
        let prefix = image.family.user.prefix.as_str();
        let files = image.components.iter().flat_map(|it| &it.files);
        let mut placed = Self {
            paths: HashMap::new(),
            names: HashMap::new(),
            files: files.filter_map(|it| it.to.rsplit('/').next()).collect(),
            site: format!("{prefix}/lib/python{}/site-packages", image.locked.python),
            prefix,
        };
        let machine = image.machine();
        let added: Vec<&str> = known
            .system
            .debs
            .iter()
            .flat_map(|(_, libraries)| libraries.directories.iter().map(String::as_str))
            .collect();
        for (package, libraries) in &known.system.debs {
            placed.add_deb(package, libraries, machine, &added);
        }
        for (wheel, libraries) in &known.wheels {
            for object in objects(libraries, machine) {
                let path = placed.path(wheel, &object.path);
                placed.add(path, &wheel.name, &object.dynamic, true);
            }
        }
        placed
    }

    fn add_deb(
        &mut self,
        package: &'a str,
        libraries: &'a Libraries,
        machine: Machine,
        added: &[&str],
    ) {
        for object in objects(libraries, machine) {
            let path = merged(&object.path);
            let found = is_library_directory(&path, added);
            self.add(path, package, &object.dynamic, found);
        }
        let links: HashMap<String, String> = libraries
            .links
            .iter()
            .map(|link| (merged(&link.path), target(&link.path, &link.target)))
            .collect();
        for path in links.keys() {
            let mut end = path;
            for _ in 0..MAX_LINKS {
                match links.get(end) {
                    Some(next) => end = next,
                    None => break,
                }
            }
            // A link into another package, or into alternatives: that one has the name, too.
            if let Some(provider) = self.paths.get(end).copied() {
                let found = is_library_directory(path, added);
                self.add(path.clone(), provider.package, provider.dynamic, found);
            }
        }
    }

    fn add(&mut self, path: String, package: &'a str, dynamic: &'a Dynamic, found: bool) {
        let provider = Provider { dynamic, package };
        if found {
            let file = path.rsplit('/').next().unwrap_or_default().to_owned();
            let soname = dynamic.soname.clone().filter(|soname| *soname != file);
            for name in std::iter::once(file).chain(soname) {
                self.names.entry(name).or_default().push(provider);
            }
        }
        self.paths.insert(path, provider);
    }

    /// Where a file of a wheel goes (binary distribution format, "The .data directory").
    fn path(&self, wheel: &Wheel, path: &str) -> String {
        let site = || format!("{}/{path}", self.site);
        let Some((first, rest)) = path.split_once('/') else {
            return site();
        };
        let stem = wheel.file.split('-').next().unwrap_or_default();
        if !first.ends_with(".data") || !first.starts_with(stem) {
            return site();
        }
        match rest.split_once('/') {
            Some(("purelib" | "platlib", rest)) => format!("{}/{rest}", self.site),
            Some(("data", rest)) => format!("{}/{rest}", self.prefix),
            Some(("scripts", rest)) => format!("{}/bin/{rest}", self.prefix),
            _ => site(),
        }
    }

    /// The libraries that a file at `path` may get for a name.
    fn find(&self, path: &str, dynamic: &Dynamic, name: &str) -> Vec<Provider<'a>> {
        let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
        let searched = dynamic.runpath.iter().chain(&dynamic.rpath);
        for search in searched {
            let search = search
                .replace("${ORIGIN}", directory)
                .replace("$ORIGIN", directory);
            let path = normal(&format!("{search}/{name}"));
            if let Some(provider) = self.paths.get(&path) {
                return vec![*provider];
            }
        }
        self.names.get(name).cloned().unwrap_or_default()
    }
}

fn objects(libraries: &Libraries, machine: Machine) -> impl Iterator<Item = &Object> {
    let objects = libraries.objects.iter();
    objects.filter(move |object| object.machine == machine)
}

/// The absolute path of a file of a Debian package, with `/usr` merged.
fn merged(path: &str) -> String {
    let first = path.split('/').next().unwrap_or_default();
    if first.starts_with("lib") || first == "bin" || first == "sbin" {
        format!("/usr/{path}")
    } else {
        format!("/{path}")
    }
}

/// Where a link of a Debian package leads.
fn target(link: &str, target: &str) -> String {
    match target.strip_prefix('/') {
        Some(target) => merged(normal(&format!("/{target}")).trim_start_matches('/')),
        None => {
            let link = merged(link);
            let directory = link.rsplit_once('/').map_or("", |(directory, _)| directory);
            normal(&format!("{directory}/{target}"))
        }
    }
}

/// A path without empty parts, `.` and `..`.
fn normal(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// Whether libraries are found in a directory, or in one of its parents.
fn is_library_directory(path: &str, added: &[&str]) -> bool {
    const DIRECTORIES: [&str; 3] = ["/usr/lib", "/usr/local/lib", "/usr/lib64"];
    let below = |directory: &str| {
        path.strip_prefix(directory)
            .is_some_and(|rest| rest.starts_with('/'))
    };
    DIRECTORIES.iter().any(|it| below(it)) || added.iter().any(|it| below(it))
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
    let tagged = suffix.starts_with("cpython-") && suffix.ends_with(".so");
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
    finding.hint = match input.owners.get(&key) {
        Some(owners) => Some(advice(owners, origin)),
        None => {
            wanted.push(key);
            None
        }
    };
    finding
}

/// What files that may never be loaded need and nothing brings.
fn idle_files(
    image: &Image<'_>,
    wheel: &Wheel,
    problems: &BTreeMap<String, Problem>,
) -> Option<Finding> {
    let mut names = problems.keys().map(|library| format!("`{library}`"));
    let first = names.next()?;
    let named = match names.len() {
        0 => first,
        1 | 2 => names.fold(first, |list, name| format!("{list}, {name}")),
        rest => format!("{first} and {rest} more libraries"),
    };
    let file = problems.values().find_map(|problem| match problem {
        Problem::Missing { file } => Some(file.as_str()),
        Problem::TooNew { .. } => None,
    })?;
    let reason = format!(
        "some files of `{}` {} need {named}, which no package of the image brings ({file} is one); \
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
