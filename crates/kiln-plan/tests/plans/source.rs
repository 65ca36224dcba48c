//! What plans promise of wheels that are built from source.

use std::collections::BTreeMap;

use kiln_digest::Digest;
use kiln_lock::{BuiltFrom, Lock};
use kiln_plan::{
    BuildProduct, Compression, Kind, Origin, Plan, PlanOptions, Source, Step, plan, source_plan,
};
use kiln_recipe::{Family, Platform};

use crate::fixture::{deb, family, lock, wheel};

/// A lock of one image whose one wheel is built with `libffi-dev` and `setuptools`.
fn lock_with_source() -> Lock {
    let packages = BTreeMap::from([("data".to_owned(), vec![("spark".to_owned(), 10)])]);
    let mut lock = lock(&[("data", "lab")], &packages);
    lock.debs.push(deb("libffi-dev"));
    lock.wheels.push(wheel("setuptools", 10));
    lock.wheels[0].built_from = Some(BuiltFrom {
        file: "spark-1.0.tar.gz".into(),
        size: 5,
        sha256: Digest::of(b"sdist"),
        base: "base".into(),
        debs: vec![lock.debs[1].id.clone()],
        requirements: vec![lock.wheels[1].id.clone()],
        env: BTreeMap::new(),
    });
    lock
}

/// The step with the wheel that is built.
fn built(plan: &Plan) -> &Step {
    let is_build = |step: &&Step| matches!(step.action.kind, Kind::BuildWheel(_));
    plan.steps.iter().find(is_build).unwrap()
}

#[test]
fn a_wheel_without_an_index_is_built_before_it_is_packed() {
    let (family, lock) = (family(&["data"], &["lab"]), lock_with_source());
    let images: Vec<_> = lock.images.iter().collect();
    let options = PlanOptions {
        bytecode: false,
        ..PlanOptions::default()
    };
    let plan = plan(&family, &lock, &images, options).unwrap();
    let titles = |steps: &[usize]| -> Vec<&str> {
        let steps = steps.iter().map(|step| plan.steps[*step].title.as_str());
        steps.collect()
    };
    let build = built(&plan);
    assert_eq!(
        titles(&build.needs),
        [
            "debian-12: 1 OS package",
            "debian-12: configure 1 OS package",
            "spark: 1 OS package",
            "spark: configure 1 OS package",
        ]
    );
    let files: Vec<_> = build.inputs.iter().map(|input| &input.origin).collect();
    assert!(
        matches!(files[..], [Origin::Wheel { file: one, .. }, Origin::Wheel { file: other, .. }]
            if one == "setuptools-1.0-py3-none-any.whl" && other == "spark-1.0.tar.gz")
    );
    let pack = plan.steps.iter().find(|it| it.title == "data: 1 wheel");
    let pack = pack.unwrap();
    assert_eq!(titles(&pack.needs), ["wheel of spark 1.0"]);
    assert_eq!(pack.inputs[0].sha256, lock.wheels[0].sha256);
    let layers: Vec<usize> = plan.images[0].layers.iter().map(|it| it.step).collect();
    assert_eq!(
        titles(&layers),
        [
            "debian-12: 1 OS package",
            "debian-12: configure 1 OS package",
            "Python 3.11 tree",
            "data: 1 wheel",
        ],
        "nothing of the build environment is in the image"
    );
}

#[test]
fn a_wheel_is_built_by_the_same_step_whoever_asks() {
    let (mut family, lock) = (family(&["data"], &["lab"]), lock_with_source());
    let images: Vec<_> = lock.images.iter().collect();
    let key = |family: &Family, options| built(&plan(family, &lock, &images, options).unwrap()).key;
    let first = key(&family, PlanOptions::default());
    let winners = BTreeMap::from([("/x".to_owned(), "y".to_owned())]);
    family.bundles.get_mut("data").unwrap().component.winners = winners;
    let zstd = PlanOptions {
        compression: Compression::Zstd,
        pack_only: true,
        bytecode: false,
    };
    assert_eq!(key(&family, zstd), first);

    let source = Source {
        project: "spark",
        version: "1.0",
        source: "pypi",
        from: lock.wheels[0].built_from.as_ref().unwrap(),
        base: vec![&lock.debs[0]],
        debs: vec![&lock.debs[1]],
        requirements: vec![&lock.wheels[1]],
    };
    let platform = Platform::LinuxAmd64;
    let of = |product| source_plan(&family, "debian-12", platform, &source, product).unwrap();
    let while_locking = of(BuildProduct::Wheel);
    assert_eq!(while_locking.steps.last().unwrap().key, first);
    let asked = of(BuildProduct::Requirements);
    assert_ne!(asked.steps.last().unwrap().key, first);
    let environment = |plan: &Plan| -> Vec<Digest> {
        let needs = &plan.steps.last().unwrap().needs;
        needs.iter().map(|step| plan.steps[*step].key).collect()
    };
    assert_eq!(environment(&asked), environment(&while_locking));
}
