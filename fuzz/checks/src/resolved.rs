//! What versions are chosen from: indexes of Debian, metadata of Python.

use std::collections::BTreeSet;

use jiff::Timestamp;
use kiln_package::sdist::BuildSystem;
use kiln_recipe::{Platform, PythonVersion};
use kiln_resolve::{
    deb::{
        Release,
        index::{ArchiveName, Index},
        packages::{self as debian_packages, ArchiveNumber},
        release::Expected,
        signature,
    },
    python::{metadata, metadata::Metadata, pylock as pylocks, routes::Routes, target::Target},
};

use crate::{sections, shown};

/// An unpacked `Packages` index.
pub fn packages(data: &[u8]) {
    let Some(packages) = shown(debian_packages::read(data, ArchiveNumber(0), "amd64")) else {
        return;
    };
    for package in &packages {
        let _ = shown(package.dependencies());
        let _ = shown(package.conflicts());
    }
    let archive = ArchiveName {
        source: "debian".to_owned(),
        suite: "bookworm".to_owned(),
    };
    let index = Index::new("amd64", vec![archive], packages);
    for package in index.packages() {
        assert!(!index.versions(&package.name).is_empty());
        for relation in package.dependencies().unwrap_or_default().iter().flatten() {
            for number in index.satisfying(relation) {
                let _ = index.get(number).label();
            }
        }
        let _ = index.lock(package);
    }
}

/// The key of the signed message in the corpus, and what it says.
const KEYRING: &[u8] = include_bytes!("../signed/keyring.asc");
const SIGNED: &str = include_str!("../signed/Release");

/// An `InRelease`: its text as a release, and the message as one that is signed. The sections
/// `message` and `keyring` are a message of any keys.
pub fn release(data: &[u8]) {
    let now = Timestamp::from_second(1_800_000_000).unwrap();
    let text = std::str::from_utf8(data).ok();
    if let Some(release) = text.and_then(|text| shown(Release::parse(text))) {
        for component in &release.components {
            let suite = release.codename.as_str();
            let _ = shown(release.packages(suite, component, "amd64"));
        }
    }
    let expected = Expected {
        suite: "bookworm",
        keyring: KEYRING,
        check_valid_until: true,
        previous: None,
        now,
    };
    let _ = shown(Release::open(data, &expected));
    // Nobody but the key's owner signs, so whatever verifies is the text that was signed.
    if let Some(signed) = shown(signature::verify(data, KEYRING, now)) {
        let text = signed.text.replace("\r\n", "\n");
        assert_eq!(text.trim_end(), SIGNED.trim_end(), "a forged text");
    }
    let sections = sections(data);
    let section = |wanted| {
        let mut found = sections.iter().filter(|(name, _)| *name == wanted);
        found.next().map_or(&b""[..], |(_, content)| content)
    };
    let _ = shown(signature::verify(
        section("message"),
        section("keyring"),
        now,
    ));
}

fn target() -> Target {
    Target {
        platform: Platform::LinuxAmd64,
        python: PythonVersion {
            major: 3,
            minor: 12,
        },
        patch: Some(4),
        glibc: 36,
    }
}

/// What uv writes.
pub fn pylock(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let target = target();
    let markers = target.markers().unwrap();
    let sources = BTreeSet::new();
    let Some(choices) = shown(pylocks::parse(
        text,
        &target.tags(),
        &markers,
        &sources,
        &Routes::default(),
    )) else {
        return;
    };
    for pair in choices.windows(2) {
        assert!(pair[0].name < pair[1].name, "the choices are not sorted");
    }
}

/// `METADATA`, requirements, names of wheels, `pyproject.toml`.
pub fn python_metadata(data: &[u8]) {
    let _ = shown(BuildSystem::parse(data));
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let markers = target().markers().unwrap();
    if let Some(metadata) = shown(Metadata::parse(text)) {
        for requirement in &metadata.requires {
            evaluate(requirement, &markers);
        }
    }
    for line in text.lines().take(20) {
        evaluate(line, &markers);
        let name = line.parse::<kiln_resolve::python::wheel_name::WheelName>();
        if let Some(name) = shown(name) {
            let _ = name.preference(&target().tags());
        }
    }
}

fn evaluate(text: &str, markers: &kiln_recipe::pep508_rs::MarkerEnvironment) {
    if let Some(requirement) = shown(metadata::parse_requirement(text)) {
        let _ = requirement.evaluate_markers(markers, &[]);
        // `pep508_rs` writes values between single quotes, also those that have one.
        if text.contains('\'') && text.contains('"') {
            return;
        }
        let written = requirement.to_string();
        let again = metadata::parse_requirement(&written);
        assert_eq!(again.as_ref().ok(), Some(&requirement), "{written}");
    }
}
