//! Which images a new lock moves that did not ask for it, and why.

#![expect(
    clippy::unwrap_used,
    reason = "what tests share may panic, as tests do"
)]

use std::collections::BTreeMap;

use kiln_digest::Digest;
use kiln_lock::{LOCK_VERSION, Lock, LockedImage, PackageId, Request, Set, Wheel, moves};
use kiln_recipe::{ComponentId, ComponentKind, Platform, PythonVersion};

fn id(kind: ComponentKind, name: &str) -> ComponentId {
    let name = name.to_owned();
    ComponentId { kind, name }
}

fn request(component: ComponentId, requirements: &[&str]) -> Request {
    Request {
        component,
        requirements: requirements.iter().map(|&it| it.to_owned()).collect(),
        os_packages: Vec::new(),
        from: Vec::new(),
        python_indexes: BTreeMap::new(),
        from_source: BTreeMap::new(),
        files: BTreeMap::new(),
    }
}

/// A family of the bundles `a` and, on it, `b`; and what their images have.
struct Family {
    /// Bundle and IDE.
    images: Vec<(&'static str, &'static str)>,
    /// What components require.
    requests: Vec<(ComponentKind, &'static str, &'static str)>,
    /// Set and wheels, as `project version`.
    wheels: Vec<(&'static str, &'static [&'static str])>,
}

impl Family {
    fn lock(&self) -> Lock {
        let mut sets: BTreeMap<String, Set> = BTreeMap::new();
        let mut wheels = BTreeMap::new();
        let mut images = Vec::new();
        for (bundle, ide) in &self.images {
            let mut components = vec![id(ComponentKind::Base, "deb")];
            components.push(id(ComponentKind::Bundle, "a"));
            if *bundle == "b" {
                components.push(id(ComponentKind::Bundle, "b"));
            }
            components.push(id(ComponentKind::Ide, ide));
            let mut name = String::new();
            let mut own = Vec::new();
            for component in components {
                name.push_str(if component.kind == ComponentKind::Ide {
                    " +"
                } else {
                    " "
                });
                name.push_str(&component.name);
                let set = name.trim_start().to_owned();
                let brings = self.wheels.iter().find(|(id, _)| *id == set);
                let ids = brings.map_or(&[][..], |it| it.1).iter().map(|text| {
                    let (project, version) = text.split_once(' ').unwrap();
                    let wheel = wheel(project, version);
                    let id = wheel.id.clone();
                    wheels.insert(id.clone(), wheel);
                    id
                });
                let wheels = ids.collect();
                own.push(set.clone());
                sets.entry(set.clone()).or_insert(Set {
                    id: set,
                    component,
                    debs: Vec::new(),
                    wheels,
                });
            }
            images.push(LockedImage {
                name: format!("{ide}-{bundle}"),
                platform: Platform::LinuxAmd64,
                base: "deb".to_owned(),
                accelerator: "cpu".to_owned(),
                bundle: (*bundle).to_owned(),
                ide: (*ide).to_owned(),
                python: PythonVersion {
                    major: 3,
                    minor: 11,
                },
                date: "2026-11-22".to_owned(),
                fingerprint: Digest::of(b""),
                sets: own,
            });
        }
        let requests = self.requests.iter();
        Lock {
            version: LOCK_VERSION,
            family: "f".to_owned(),
            release: "1".to_owned(),
            tools: Vec::new(),
            indexes: Vec::new(),
            requests: requests
                .map(|(kind, name, text)| request(id(*kind, name), &[text]))
                .collect(),
            images,
            sets: sets.into_values().collect(),
            debs: Vec::new(),
            wheels: wheels.into_values().collect(),
        }
    }
}

fn wheel(project: &str, version: &str) -> Wheel {
    let file = format!("{project}-{version}-py3-none-any.whl");
    Wheel {
        id: PackageId(format!("pypi/{file}")),
        name: project.to_owned(),
        version: version.to_owned(),
        source: "pypi".to_owned(),
        size: 1,
        sha256: Digest::of(file.as_bytes()),
        file,
        requires: Vec::new(),
        built_from: None,
    }
}

fn before() -> Family {
    Family {
        images: vec![("a", "lab"), ("a", "runtime"), ("b", "runtime")],
        requests: vec![
            (ComponentKind::Bundle, "a", "numpy"),
            (ComponentKind::Bundle, "b", "scipy"),
            (ComponentKind::Ide, "lab", "lab"),
        ],
        wheels: vec![
            ("deb a", &["numpy 2.1"]),
            ("deb a b", &["scipy 1.0"]),
            ("deb a +lab", &["lab 1.0"]),
        ],
    }
}

/// The moves as people may read them.
fn text(old: &Family, new: &Family) -> Vec<String> {
    let moves = moves(&old.lock(), &new.lock());
    let text = moves.into_iter().map(|it| {
        let packages: Vec<String> = it.packages.iter().map(ToString::to_string).collect();
        let because: Vec<String> = it.because.iter().map(ToString::to_string).collect();
        let because = because.join(" ");
        format!("{}: {} because {because}", it.image, packages.join(", "))
    });
    text.collect()
}

#[test]
fn an_ide_that_asks_for_something_else_moves_others_only_when_it_is_allowed() {
    let mut after = before();
    after.requests[2].2 = "lab>=2";
    after.wheels = vec![
        ("deb a", &["numpy 2.0", "shared 1.0"]),
        ("deb a b", &["scipy 1.0"]),
        ("deb a +lab", &["lab 2.0"]),
    ];
    assert_eq!(
        text(&before(), &after),
        [
            "runtime-a: numpy 2.1 → 2.0, shared: new, 1.0 because ide/lab",
            "runtime-b: numpy 2.1 → 2.0, shared: new, 1.0 because ide/lab",
        ],
        "not the image with the IDE"
    );
    after.wheels = vec![
        ("deb a", &["numpy 2.1"]),
        ("deb a b", &["scipy 1.0"]),
        ("deb a +lab", &["lab 2.0"]),
    ];
    assert!(text(&before(), &after).is_empty(), "nothing else moved");
}

#[test]
fn an_image_on_a_bundle_that_asks_for_something_else_may_move() {
    let mut after = before();
    after.requests[0].2 = "numpy<2.1";
    after.wheels[0] = ("deb a", &["numpy 2.0"]);
    assert!(text(&before(), &after).is_empty(), "all stand on it");
    let mut after = before();
    after.requests[1].2 = "scipy>=1.1";
    after.wheels[0] = ("deb a", &["numpy 2.0"]);
    after.wheels[1] = ("deb a b", &["scipy 1.1"]);
    let lines = text(&before(), &after);
    assert_eq!(
        lines,
        [
            "lab-a: numpy 2.1 → 2.0 because ",
            "runtime-a: numpy 2.1 → 2.0 because "
        ],
        "a bundle does not bind the one below, so that this has another reason"
    );
}

#[test]
fn a_new_image_is_a_reason() {
    let mut after = before();
    after.images.push(("a", "code"));
    after.requests.push((ComponentKind::Ide, "code", "code"));
    after.wheels[0] = ("deb a", &["numpy 2.0"]);
    assert_eq!(
        text(&before(), &after),
        [
            "lab-a: numpy 2.1 → 2.0 because ide/code",
            "runtime-a: numpy 2.1 → 2.0 because ide/code",
            "runtime-b: numpy 2.1 → 2.0 because ide/code",
        ]
    );
}

#[test]
fn what_is_below_an_independent_bundle_moves_because_of_what_is_above_it() {
    // As a lock names the sets below an independent `b`.
    let independent = |family: &Family| {
        let mut lock = family.lock();
        let rename = |id: &mut String| {
            if matches!(id.as_str(), "deb" | "deb a") {
                id.push_str(" @b");
            }
        };
        lock.sets.iter_mut().for_each(|set| rename(&mut set.id));
        let images = lock.images.iter_mut();
        images.for_each(|image| image.sets.iter_mut().for_each(rename));
        lock
    };
    let family = |lab, numpy| Family {
        images: vec![("b", "lab"), ("b", "runtime")],
        requests: vec![
            (ComponentKind::Bundle, "b", "scipy"),
            (ComponentKind::Ide, "lab", lab),
        ],
        wheels: vec![("deb a", numpy), ("deb a b", &["scipy 1.0"])],
    };
    let old = independent(&family("lab", &["numpy 2.1"]));
    let new = independent(&family("lab>=2", &["numpy 2.0"]));
    let moves = moves(&old, &new);
    assert_eq!(moves.len(), 1);
    assert_eq!(moves[0].image, "runtime-b");
    assert_eq!(moves[0].because, [id(ComponentKind::Ide, "lab")]);
}

#[test]
fn a_package_that_left_and_a_rebuilt_file_are_moves() {
    let mut after = before();
    after.wheels.remove(1);
    let old = before().lock();
    let mut new = after.lock();
    new.wheels
        .iter_mut()
        .for_each(|it| it.sha256 = Digest::of(b"rebuilt"));
    let all: Vec<String> = moves(&old, &new)
        .iter()
        .flat_map(|it| &it.packages)
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        all,
        [
            "lab 1.0 → another file",
            "numpy 2.1 → another file",
            "numpy 2.1 → another file",
            "numpy 2.1 → another file",
            "scipy 1.0 → nothing",
        ]
    );
}
