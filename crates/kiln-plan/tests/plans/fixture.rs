//! Made-up families and locks.

use std::collections::BTreeMap;

use kiln_digest::Digest;
use kiln_lock::{Deb, LOCK_VERSION, Lock, LockedImage, PackageId, Set, Wheel};
use kiln_plan::{OWN_LAYER, Plan, PlanOptions, plan};
use kiln_recipe::{
    Accelerator, AcceleratorKind, Base, Bundle, Component, ComponentId, ComponentKind, Family, Ide,
    Location, NamePattern, Platform, PythonVersion, User,
};
use proptest::prelude::*;

pub(crate) fn at() -> Location {
    Location {
        file: "kiln.toml".into(),
        line: 1,
        column: 1,
    }
}

pub(crate) fn component(kind: ComponentKind, name: &str) -> Component {
    let name = name.into();
    Component::new(ComponentId { kind, name }, at())
}

pub(crate) fn family(bundles: &[&str], ides: &[&str]) -> Family {
    let bundle = |name: &&str| {
        let component = component(ComponentKind::Bundle, name);
        (
            (*name).to_owned(),
            Bundle {
                component,
                extends: None,
                independent: false,
                max_size: None,
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
                kind: AcceleratorKind::Cpu,
                code: None,
                cuda: None,
                archives: vec![],
            },
        )]),
        bundles: bundles.iter().map(bundle).collect(),
        ides: ides.iter().map(ide).collect(),
        images: vec![],
        waivers: vec![],
        texts: BTreeMap::new(),
    }
}

pub(crate) fn wheel(name: &str, size: u64) -> Wheel {
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

pub(crate) fn deb(name: &str) -> Deb {
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
pub(crate) fn lock(
    images: &[(&str, &str)],
    packages: &BTreeMap<String, Vec<(String, u64)>>,
) -> Lock {
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

/// The keys of an image's layers, bottom first.
pub(crate) fn keys(plan: &Plan, image: usize) -> Vec<Digest> {
    plan.images[image]
        .layers
        .iter()
        .map(|layer| plan.steps[layer.step].key)
        .collect()
}

/// Packages whose names start with `prefix`, so that no two components bring one name.
pub(crate) fn packages(prefix: &'static str) -> impl Strategy<Value = Vec<(String, u64)>> {
    let sizes = prop::collection::btree_map("[a-d][a-z]{0,3}", 1..OWN_LAYER.wheel * 2, 0..8);
    sizes.prop_map(move |sizes| {
        sizes
            .into_iter()
            .map(|(name, size)| (format!("{prefix}{name}"), size))
            .collect()
    })
}

/// The plan of all images of a lock.
pub(crate) fn plan_with(family: &Family, lock: &Lock, options: PlanOptions) -> Plan {
    let images: Vec<_> = lock.images.iter().collect();
    plan(family, lock, &images, options).unwrap()
}
