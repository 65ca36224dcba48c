//! Where the libraries of an image are, and which of them a file gets for a name.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use kiln_lock::Wheel;
use kiln_package::{
    elf::{Dynamic, Machine},
    libraries::{Libraries, Object},
};

use crate::{image::Image, libraries::Known};

/// How many links are followed from one to the next, as the kernel does.
const MAX_LINKS: usize = 40;

/// Libraries by the places and names by which they are found.
pub(crate) struct Placed<'a> {
    /// Absolute path → library.
    paths: HashMap<String, Provider<'a>>,
    /// File name, name of a link, or soname → libraries.
    pub(crate) names: HashMap<String, Vec<Provider<'a>>>,
    /// Names of files that the family places.
    pub(crate) files: BTreeSet<&'a str>,
    /// Where wheels are installed.
    site: String,
    prefix: &'a str,
}

#[derive(Clone, Copy)]
pub(crate) struct Provider<'a> {
    pub(crate) dynamic: &'a Dynamic,
    pub(crate) package: &'a str,
}

impl<'a> Placed<'a> {
    pub(crate) fn new(image: &Image<'a>, known: &Known<'a>) -> Self {
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
            for object in objects(libraries, machine) {
                let path = merged(&object.path);
                let found = is_library_directory(&path, &added);
                placed.add(path, package, &object.dynamic, found);
            }
        }
        // Links lead into any package, also into one that comes later: all files are there first.
        placed.add_links(known.system.debs.iter().map(|(_, it)| *it), &added);
        for (wheel, libraries) in &known.wheels {
            for object in objects(libraries, machine) {
                let path = placed.path(wheel, &object.path);
                placed.add(path, &wheel.name, &object.dynamic, true);
            }
        }
        placed
    }

    /// The links of all OS packages: what they lead to has their names, too.
    fn add_links(&mut self, packages: impl Iterator<Item = &'a Libraries>, added: &[&str]) {
        let links: BTreeMap<String, String> = packages
            .flat_map(|it| &it.links)
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
    pub(crate) fn path(&self, wheel: &Wheel, path: &str) -> String {
        let site = || format!("{}/{path}", self.site);
        let Some((first, rest)) = path.split_once('/') else {
            return site();
        };
        let stem = wheel.file.split('-').next().unwrap_or_default();
        if first.rsplit_once('.').is_none_or(|(_, end)| end != "data") || !first.starts_with(stem) {
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
    pub(crate) fn find(&self, path: &str, dynamic: &Dynamic, name: &str) -> Vec<Provider<'a>> {
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

/// The files for a machine.
pub(crate) fn objects(libraries: &Libraries, machine: Machine) -> impl Iterator<Item = &Object> {
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
    if target.starts_with('/') {
        return merged(normal(target).trim_start_matches('/'));
    }
    let link = merged(link);
    let directory = link.rsplit_once('/').map_or("", |(directory, _)| directory);
    normal(&format!("{directory}/{target}"))
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
    // NVIDIA's packages have theirs below `/usr/local/cuda-12.4`, and scripts tell the linker.
    const DIRECTORIES: [&str; 3] = ["/usr/lib", "/usr/local", "/usr/lib64"];
    let below = |directory: &str| {
        path.strip_prefix(directory)
            .is_some_and(|rest| rest.starts_with('/'))
    };
    DIRECTORIES.iter().any(|it| below(it)) || added.iter().any(|it| below(it))
}
