//! What is newer than a lock, and what holds it back.

use kiln_lock::Lock;
use kiln_recipe::Family;
use kiln_resolve::newer::{Holder, Newer, newer};

use crate::{
    family::{Workshop, family},
    index::wheel,
    kept::offer_answer,
};

const FILES: &[(&str, &str)] = &[
    (
        "bundles/b/bundle.toml",
        "requirements = ['alpha<2', 'gamma', 'snake', 'delta', 'epsilon']\n",
    ),
    (
        "ides/lab/ide.toml",
        "requirements = ['zeta']\ncommand = ['/bin/lab']\n",
    ),
];

const LOCKED: &[(&str, &str, &[&str])] = &[
    ("alpha", "1.0", &["beta<2"]),
    ("beta", "1.0", &[]),
    ("delta", "1.9", &[]),
    ("epsilon", "1.0", &[]),
    ("gamma", "3", &[]),
    ("snake", "1.0", &[]),
    ("zeta", "1.0", &["gamma<3.5"]),
];

fn locked(workshop: &Workshop) -> (Family, Lock) {
    offer_answer(workshop, LOCKED);
    let family = family("9.9.9", FILES, &[("b", "runtime"), ("b", "lab")]);
    let lock = workshop.lock(&family, None, &workshop.options()).unwrap();
    (family, lock)
}

fn asked(workshop: &Workshop, family: &Family, lock: &Lock, images: &[usize]) -> Vec<Newer> {
    let images: Vec<_> = images.iter().map(|&it| &lock.images[it]).collect();
    let now = workshop.options().now;
    newer(family, lock, &images, &workshop.fetcher(), true, now).unwrap()
}

/// Name, allowed, newest, and what holds back.
fn shown(found: &[Newer]) -> Vec<String> {
    let holder = |it: &Holder| match it {
        Holder::Family {
            requirement, at, ..
        } => format!("{at} {requirement}"),
        Holder::Wheel {
            name, requirement, ..
        } => format!("{name} {requirement}"),
        Holder::Python { requires } => format!("Python {requires}"),
        Holder::NoWheel { target } => format!("no wheel for {target}"),
    };
    let line = |it: &Newer| {
        let held: Vec<_> = it.held_by.iter().map(holder).collect();
        let held = held.join(", ");
        format!("{} {} {} [{held}]", it.name, it.allowed, it.newest)
    };
    found.iter().map(line).collect()
}

#[test]
fn what_is_the_newest_is_not_told() {
    let workshop = Workshop::new();
    let (family, lock) = locked(&workshop);
    let found = asked(&workshop, &family, &lock, &[0, 1]);
    assert_eq!(shown(&found), ["delta 1.9 1.9 []"], "but it was withdrawn");
    assert_eq!(found[0].yanked.as_deref(), Some("wrong licence"));
}

#[test]
fn the_newest_version_is_held_back_by_family_wheels_pythons_and_platforms() {
    let workshop = Workshop::new();
    let (family, lock) = locked(&workshop);
    for (name, version, tag) in [
        ("alpha", "1.5", "py3-none-any"),
        ("alpha", "2.0", "py3-none-any"),
        ("alpha", "3.9", "py3-none-any"),
        ("alpha", "4.0rc1", "py3-none-any"),
        ("beta", "1.1", "cp311-cp311-manylinux_2_17_x86_64"),
        ("beta", "2.0", "py3-none-any"),
        ("epsilon", "1.1", "cp311-cp311-manylinux_2_40_x86_64"),
        ("gamma", "3.1", "py3-none-any"),
        ("gamma", "4", "py3-none-any"),
        ("snake", "2.0", "py3-none-any"),
    ] {
        workshop.index.add(wheel(name, version, tag, &[]));
    }
    let before = workshop.index.requests();
    let found = asked(&workshop, &family, &lock, &[0, 1]);
    assert_eq!(
        workshop.index.requests() - before,
        7,
        "each project is asked once"
    );
    assert_eq!(
        shown(&found),
        [
            "alpha 1.5 2.0 [bundles/b/bundle.toml:3:17 alpha<2]",
            "beta 1.1 2.0 [alpha beta<2]",
            "delta 1.9 1.9 []",
            "epsilon 1.0 1.1 [no wheel for Python 3.11 on linux/amd64 with glibc 2.36]",
            "gamma 3.1 4 [zeta gamma<3.5]",
            "snake 1.0 2.0 [Python >=3.12]",
        ]
    );
    assert!(found.iter().all(|it| it.images.len() == 2));
    let direct: Vec<_> = found.iter().filter(|it| !it.direct).collect();
    assert_eq!(direct.len(), 1, "{direct:?}");

    // The bundle is solved together with its IDE, so that this holds back the other image as well.
    let runtime = lock.images.iter().position(|it| it.ide == "runtime");
    let alone = asked(&workshop, &family, &lock, &[runtime.unwrap()]);
    assert_eq!(shown(&alone), shown(&found));
    assert!(alone.iter().all(|it| it.images.len() == 1));
}

#[test]
fn what_its_source_lists_no_longer_is_told() {
    let workshop = Workshop::new();
    let (family, lock) = locked(&workshop);
    workshop.index.remove("snake-1.0-py3-none-any.whl");
    workshop.index.remove("alpha-1.0-py3-none-any.whl");
    workshop
        .index
        .add(wheel("alpha", "1.1", "py3-none-any", &[]));
    let found = asked(&workshop, &family, &lock, &[0]);
    let gone: Vec<_> = found.iter().filter(|it| it.gone).collect();
    let names: Vec<_> = gone.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["alpha", "snake"]);
    assert_eq!(gone[0].allowed, "1.1");
}
