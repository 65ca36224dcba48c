//! What plans promise, on made-up families.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;

use kiln_digest::Digest;
use kiln_lock::{Deb, LOCK_VERSION, Lock, LockedImage, PackageId, Set, Wheel};
use kiln_plan::{Compression, Kind, MAX_LAYERS, OWN_LAYER, Plan, PlanOptions, plan};
use kiln_recipe::{
    Accelerator, Base, Bundle, Component, ComponentId, ComponentKind, Family, Ide, Location,
    NamePattern, Platform, PythonVersion, User,
};
use proptest::prelude::*;

/// Images that only packages are packed into: the plans that are easiest to read.
const PACK_ONLY: PlanOptions = PlanOptions {
    compression: Compression::Gzip,
    pack_only: true,
    bytecode: false,
};

fn at() -> Location {
    Location {
        file: "kiln.toml".into(),
        line: 1,
        column: 1,
    }
}

fn component(kind: ComponentKind, name: &str) -> Component {
    let name = name.into();
    Component::new(ComponentId { kind, name }, at())
}

fn family(bundles: &[&str], ides: &[&str]) -> Family {
    let bundle = |name: &&str| {
        let component = component(ComponentKind::Bundle, name);
        (
            (*name).to_owned(),
            Bundle {
                component,
                extends: None,
                independent: false,
            },
        )
    };
    let ide = |name: &&str| {
        let component = component(ComponentKind::Ide, name);
        (
            (*name).to_owned(),
            Ide {
                component,
                command: vec!["/start".into()],
                port: Some(8888),
            },
        )
    };
    let mut base = component(ComponentKind::Base, "debian-12");
    base.env = vec![("PATH".into(), "/usr/bin".into())];
    Family {
        name: "test".into(),
        release: "2026a".into(),
        description: String::new(),
        vendor: None,
        source: Some("https://example.org/family".into()),
        licenses: None,
        repository: "localhost/test".into(),
        default_base: None,
        platforms: vec![Platform::LinuxAmd64],
        pattern: NamePattern::default(),
        user: User::default(),
        pack_only: false,
        bytecode: true,
        sources: BTreeMap::new(),
        uv: None,
        bases: BTreeMap::from([(
            "debian-12".into(),
            Base {
                component: base,
                code: "d12".into(),
                distribution: "debian".into(),
                suite: "bookworm".into(),
                python: PythonVersion {
                    major: 3,
                    minor: 11,
                },
                archives: vec![],
            },
        )]),
        accelerators: BTreeMap::from([(
            "cpu".into(),
            Accelerator {
                component: component(ComponentKind::Accelerator, "cpu"),
                cuda: false,
            },
        )]),
        bundles: bundles.iter().map(bundle).collect(),
        ides: ides.iter().map(ide).collect(),
        images: vec![],
        texts: BTreeMap::new(),
    }
}

fn wheel(name: &str, size: u64) -> Wheel {
    let file = format!("{name}-1.0-py3-none-any.whl");
    Wheel {
        id: PackageId(format!("pypi/{file}")),
        name: name.into(),
        version: "1.0".into(),
        source: "pypi".into(),
        sha256: Digest::of(file.as_bytes()),
        file,
        size,
        requires: vec![],
        built_from: None,
    }
}

fn deb(name: &str) -> Deb {
    Deb {
        id: PackageId(format!("debian/{name}_1_amd64")),
        name: name.into(),
        version: "1".into(),
        architecture: "amd64".into(),
        source: "debian".into(),
        suite: "bookworm".into(),
        path: format!("pool/main/{name}_1_amd64.deb"),
        size: 1000,
        sha256: Digest::of(name.as_bytes()),
        essential: false,
        multi_arch_same: false,
        depends: vec![],
    }
}

/// A lock in which each image is one bundle and one IDE, each bringing the given wheels.
fn lock(images: &[(&str, &str)], packages: &BTreeMap<String, Vec<(String, u64)>>) -> Lock {
    let mut lock = Lock {
        version: LOCK_VERSION,
        family: "test".into(),
        release: "2026a".into(),
        tools: vec![],
        indexes: vec![],
        requests: vec![],
        images: vec![],
        sets: vec![],
        debs: vec![deb("libc6")],
        wheels: vec![],
    };
    let set = |lock: &mut Lock, id: String, kind, name: &str, debs: Vec<PackageId>| {
        let wheels: Vec<_> = packages
            .get(name)
            .into_iter()
            .flatten()
            .map(|(wheel_name, size)| wheel(wheel_name, *size))
            .collect();
        let ids = wheels.iter().map(|wheel| wheel.id.clone()).collect();
        for wheel in wheels {
            if !lock.wheels.iter().any(|it| it.id == wheel.id) {
                lock.wheels.push(wheel);
            }
        }
        if !lock.sets.iter().any(|it| it.id == id) {
            let component = ComponentId {
                kind,
                name: name.into(),
            };
            lock.sets.push(Set {
                id: id.clone(),
                component,
                debs,
                wheels: ids,
            });
        }
        id
    };
    for &(bundle, ide) in images {
        let libc = vec![PackageId("debian/libc6_1_amd64".into())];
        let sets = vec![
            set(
                &mut lock,
                "base".into(),
                ComponentKind::Base,
                "debian-12",
                libc,
            ),
            set(
                &mut lock,
                format!("base {bundle}"),
                ComponentKind::Bundle,
                bundle,
                vec![],
            ),
            set(
                &mut lock,
                format!("base {bundle} +{ide}"),
                ComponentKind::Ide,
                ide,
                vec![],
            ),
        ];
        lock.images.push(LockedImage {
            name: format!("{ide}-{bundle}-d12-py311_2026a_20260101"),
            platform: Platform::LinuxAmd64,
            base: "debian-12".into(),
            accelerator: "cpu".into(),
            bundle: bundle.into(),
            ide: ide.into(),
            python: PythonVersion {
                major: 3,
                minor: 11,
            },
            date: "2026-01-01".into(),
            fingerprint: Digest::of(b""),
            sets,
        });
    }
    lock
}

fn plan_of(family: &Family, lock: &Lock) -> Plan {
    let images: Vec<_> = lock.images.iter().collect();
    plan(family, lock, &images, PACK_ONLY).unwrap()
}

/// The keys of an image's layers, bottom first.
fn keys(plan: &Plan, image: usize) -> Vec<Digest> {
    plan.images[image]
        .layers
        .iter()
        .map(|layer| plan.steps[layer.step].key)
        .collect()
}

#[test]
fn layers_stand_in_component_order_and_large_packages_alone() {
    let packages = BTreeMap::from([
        (
            "data".to_owned(),
            vec![("small".to_owned(), 10), ("large".to_owned(), OWN_LAYER)],
        ),
        ("lab".to_owned(), vec![("ui".to_owned(), 10)]),
    ]);
    let family = family(&["data"], &["lab"]);
    let plan = plan_of(&family, &lock(&[("data", "lab")], &packages));
    let titles: Vec<_> = plan.steps.iter().map(|step| step.title.as_str()).collect();
    assert_eq!(
        titles,
        [
            "debian-12: 1 OS package",
            "dpkg database: 1 package",
            "Python 3.11 tree",
            "large 1.0",
            "data: 1 wheel",
            "lab: 1 wheel",
        ]
    );
}

#[test]
fn images_share_the_steps_that_they_have_in_common() {
    let packages = BTreeMap::from([("data".to_owned(), vec![("numpy".to_owned(), 10)])]);
    let family = family(&["data"], &["lab", "code"]);
    let plan = plan_of(
        &family,
        &lock(&[("data", "lab"), ("data", "code")], &packages),
    );
    assert_eq!(
        keys(&plan, 0),
        keys(&plan, 1),
        "neither IDE brings a package"
    );
    assert_eq!(plan.steps.len(), 4);
}

#[test]
fn the_threshold_doubles_until_the_layers_fit() {
    let many = (0..MAX_LAYERS as u64 + 20).map(|n| (format!("p{n}"), OWN_LAYER + n * (1 << 20)));
    let packages = BTreeMap::from([("data".to_owned(), many.collect())]);
    let family = family(&["data"], &["lab"]);
    let plan = plan_of(&family, &lock(&[("data", "lab")], &packages));
    assert!(plan.images[0].layers.len() <= MAX_LAYERS);
    assert_eq!(
        plan.images[0].threshold,
        OWN_LAYER * 4,
        "8 and 16 MiB leave more than 100 layers"
    );
}

#[test]
fn the_environment_builds_on_the_components_below() {
    let mut family = family(&["data"], &["lab"]);
    family.bundles.get_mut("data").unwrap().component.env = vec![
        ("PATH".into(), "/opt/bin:${PATH}".into()),
        ("PRICE".into(), "5$".into()),
    ];
    let lock = lock(&[("data", "lab")], &BTreeMap::new());
    let plan = plan_of(&family, &lock);
    assert_eq!(
        plan.images[0].config.env,
        ["PATH=/opt/bin:/usr/bin", "PRICE=5$"]
    );

    family.ides.get_mut("lab").unwrap().component.env = vec![("A".into(), "${NOPE}".into())];
    let error = kiln_plan::plan(
        &family,
        &lock,
        &lock.images.iter().collect::<Vec<_>>(),
        PACK_ONLY,
    )
    .unwrap_err();
    assert_eq!(
        error.to_string(),
        "kiln.toml: the value of `A` uses `${NOPE}`, which nothing below it sets"
    );
}

#[test]
fn every_image_carries_the_label_keys() {
    let family = family(&["data"], &["lab"]);
    let plan = plan_of(&family, &lock(&[("data", "lab")], &BTreeMap::new()));
    for key in kiln_plan::LABEL_KEYS {
        let value = plan.images[0].config.labels.get(key);
        assert!(value.is_some_and(|value| !value.is_empty()), "{key}");
    }
}

#[test]
fn inputs_stand_in_the_order_of_the_action() {
    let packages = BTreeMap::from([(
        "data".to_owned(),
        vec![
            ("zeta".to_owned(), 10),
            ("alpha".to_owned(), 20),
            ("Mid".to_owned(), 30),
        ],
    )]);
    let family = family(&["data"], &["lab"]);
    let plan = plan_of(&family, &lock(&[("data", "lab")], &packages));
    for step in &plan.steps {
        let inputs: Vec<_> = step.inputs.iter().map(|input| input.sha256).collect();
        assert_eq!(inputs, step.action.inputs(), "{}", step.title);
        assert!(matches!(
            step.action.kind,
            Kind::PackDebs(_) | Kind::DebDatabase(_) | Kind::Venv(_) | Kind::PackWheels(_)
        ));
    }
}

/// Packages whose names start with `prefix`, so that no two components bring one name.
fn packages(prefix: &'static str) -> impl Strategy<Value = Vec<(String, u64)>> {
    let sizes = prop::collection::btree_map("[a-d][a-z]{0,3}", 1..OWN_LAYER * 2, 0..8);
    sizes.prop_map(move |sizes| {
        sizes
            .into_iter()
            .map(|(name, size)| (format!("{prefix}{name}"), size))
            .collect()
    })
}

proptest! {
    /// Whatever else the family holds: an image's keys are its own.
    #[test]
    fn another_image_changes_no_key(
        first in packages("f"), second in packages("s"), ide in packages("i"), other in packages("o")
    ) {
        let packages = BTreeMap::from([
            ("one".to_owned(), first),
            ("two".to_owned(), second),
            ("lab".to_owned(), ide),
            ("code".to_owned(), other),
        ]);
        let family = family(&["one", "two"], &["lab", "code"]);
        let alone = plan_of(&family, &lock(&[("one", "lab")], &packages));
        let all = [("two", "code"), ("one", "lab"), ("two", "lab"), ("one", "code")];
        let together = plan_of(&family, &lock(&all, &packages));
        prop_assert_eq!(keys(&alone, 0), keys(&together, 1));
        let mut distinct: Vec<_> = together.steps.iter().map(|step| step.key).collect();
        distinct.sort();
        distinct.dedup();
        prop_assert_eq!(distinct.len(), together.steps.len());
    }
}
