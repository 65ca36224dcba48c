//! Who requires whom among wheels: `Requires-Dist` with its markers and extras.
//!
//! A node is a project, or a project with one extra. From a node, every requirement whose marker
//! holds (with that extra, or with none) leads to the nodes of the required project: the plain
//! one and one for each extra that is asked. That is what pip does, and it follows extras that
//! name their own project (`all = ["pkg[a,b]"]`) without special care.

use std::{collections::BTreeMap, str::FromStr as _};

use kiln_recipe::{
    Platform, PythonVersion,
    pep508_rs::{ExtraName, MarkerEnvironment, MarkerEnvironmentBuilder, PackageName, Requirement},
};

use crate::model::Deb;

/// What each project requires.
pub type Requires = BTreeMap<PackageName, Vec<Requirement>>;

/// A project, or a project with one extra.
pub type Node = (PackageName, Option<ExtraName>);

/// The requirements that hold at a node.
pub fn held<'r>(
    requires: &'r Requires,
    markers: &'r MarkerEnvironment,
    (name, extra): &'r Node,
) -> impl Iterator<Item = &'r Requirement> {
    let requirements = requires.get(name).into_iter().flatten();
    requirements.filter(move |it| it.evaluate_markers(markers, extra.as_slice()))
}

/// The nodes that a requirement leads to: its project, and one for each extra.
pub fn leads_to(requirement: &Requirement) -> impl Iterator<Item = Node> {
    let plain = std::iter::once((requirement.name.clone(), None));
    let extras = requirement.extras.iter();
    plain.chain(extras.map(|extra| (requirement.name.clone(), Some(extra.clone()))))
}

/// Values of the environment markers (PEP 508, "Environment Markers") on a platform, for `CPython` of
/// a version and, where it is known, its patch release. Release and version of the kernel are
/// empty: an image does not choose them. `None` for versions that are none.
pub fn markers(
    platform: Platform,
    python: PythonVersion,
    patch: Option<u16>,
) -> Option<MarkerEnvironment> {
    let full = format!("{python}.{}", patch.unwrap_or_default());
    MarkerEnvironment::try_from(MarkerEnvironmentBuilder {
        implementation_name: "cpython",
        implementation_version: &full,
        os_name: "posix",
        platform_machine: machine(platform),
        platform_python_implementation: "CPython",
        platform_release: "",
        platform_system: "Linux",
        platform_version: "",
        python_full_version: &full,
        python_version: &python.to_string(),
        sys_platform: "linux",
    })
    .ok()
}

/// The machine as the kernel and wheel tags name it.
pub const fn machine(platform: Platform) -> &'static str {
    match platform {
        Platform::LinuxAmd64 => "x86_64",
        Platform::LinuxArm64 => "aarch64",
    }
}

/// The patch release of the Python that these packages bring.
pub fn python_patch<'a>(
    python: PythonVersion,
    debs: impl IntoIterator<Item = &'a Deb>,
) -> Option<u16> {
    let name = format!("python{python}");
    let deb = debs.into_iter().find(|deb| deb.name == name)?;
    let rest = deb.upstream().strip_prefix(&format!("{python}."))?;
    rest.split('.').next()?.parse().ok()
}

/// Reads one `Requires-Dist`; `None` for what names no project.
///
/// Old wheels write version specifiers that PEP 440 does not know (`>dev`, `>=2.7.*`). Their
/// versions are chosen already, so that only name, extras and marker matter: what is between
/// them is dropped when it cannot be read.
pub fn parse_requirement(text: &str) -> Option<Requirement> {
    if !kiln_recipe::is_bounded(text) {
        return None;
    }
    let (requirement, marker) = match text.split_once(';') {
        Some((requirement, marker)) => (requirement.trim(), format!(" ; {marker}")),
        None => (text.trim(), String::new()),
    };
    // Names are read here: `pep508_rs` panics on some that end in a separator.
    let of_name = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    let end = requirement
        .find(|letter| !of_name(letter))
        .unwrap_or(requirement.len());
    let (name, rest) = requirement.split_at(end);
    let name = PackageName::from_str(name).ok()?;
    let (extras, specifier) = match rest.trim_start().strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => ("", rest),
    };
    let extras: Vec<String> = extras
        .split(',')
        .map(str::trim)
        .filter(|extra| !extra.is_empty())
        .map(|extra| Some(ExtraName::from_str(extra).ok()?.to_string()))
        .collect::<Option<_>>()?;
    if name.as_ref().is_empty() || specifier.trim_start().starts_with('[') {
        return None;
    }
    let subject = format!("{name}[{}]", extras.join(","));
    Requirement::from_str(&format!("{subject} {specifier}{marker}"))
        .or_else(|_| Requirement::from_str(&format!("{subject}{marker}")))
        .ok()
}
