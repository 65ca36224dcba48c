//! Images that are packed only: the plans that are easiest to read.

use std::collections::BTreeMap;

use kiln_lock::Lock;
use kiln_plan::{
    Compression, Kind, MAX_LAYERS, OWN_LAYER, Plan, PlanError, PlanOptions, Unplanned,
};
use kiln_recipe::Family;
use proptest::prelude::*;

use crate::fixture::{family, keys, lock, packages, plan_with};

const PACK_ONLY: PlanOptions = PlanOptions {
    compression: Compression::Gzip,
    pack_only: true,
    bytecode: false,
};

fn plan_of(family: &Family, lock: &Lock) -> Plan {
    plan_with(family, lock, PACK_ONLY)
}

#[test]
fn layers_stand_in_component_order_and_large_packages_alone() {
    let packages = BTreeMap::from([
        (
            "data".to_owned(),
            vec![
                ("small".to_owned(), 10),
                ("large".to_owned(), OWN_LAYER.wheel),
            ],
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
    let size = |n| OWN_LAYER.wheel + n * OWN_LAYER.wheel / 8;
    let many = (0..MAX_LAYERS as u64 + 20).map(|n| (format!("p{n}"), size(n)));
    let packages = BTreeMap::from([("data".to_owned(), many.collect())]);
    let family = family(&["data"], &["lab"]);
    let plan = plan_of(&family, &lock(&[("data", "lab")], &packages));
    assert!(plan.images[0].layers.len() <= MAX_LAYERS);
    assert_eq!(
        plan.images[0].thresholds.wheel,
        OWN_LAYER.wheel * 4,
        "twice the size still leaves more than 100 layers"
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
fn an_image_without_a_plan_is_left_out_and_leaves_the_others_as_they_are() {
    let mut family = family(&["data"], &["lab", "code"]);
    let bad = vec![("A".into(), "${NOPE}".into())];
    family.ides.get_mut("code").unwrap().component.env = bad;
    let mut lock = lock(
        &[("data", "code"), ("data", "lab"), ("data", "code")],
        &BTreeMap::new(),
    );
    lock.images[2].name = "other".into();
    let images: Vec<_> = lock.images.iter().collect();
    let alone = kiln_plan::plan(&family, &lock, &images[1..2], PACK_ONLY).unwrap();
    let (plan, unplanned) = kiln_plan::plan_possible(&family, &lock, &images, PACK_ONLY);
    let [Unplanned { names, error }] = &unplanned[..] else {
        panic!("{unplanned:?}");
    };
    assert_eq!(names, &[lock.images[0].name.clone(), "other".into()]);
    assert!(
        matches!(error, PlanError::UndefinedVariable { .. }),
        "{error}"
    );
    assert_eq!(plan.images.len(), 1);
    assert_eq!(keys(&plan, 0), keys(&alone, 0));
    assert_eq!(plan.steps.len(), alone.steps.len());
}

#[test]
fn images_of_one_name_have_a_plan_together_or_not_at_all() {
    let mut family = family(&["data"], &["lab", "code"]);
    let bad = vec![("A".into(), "${NOPE}".into())];
    family.ides.get_mut("code").unwrap().component.env = bad;
    for images in [["lab", "code"], ["code", "lab"]] {
        let mut lock = lock(&images.map(|ide| ("data", ide)), &BTreeMap::new());
        for image in &mut lock.images {
            image.name = "both".into();
        }
        let images: Vec<_> = lock.images.iter().collect();
        let (plan, unplanned) = kiln_plan::plan_possible(&family, &lock, &images, PACK_ONLY);
        assert_eq!(plan.images.len(), 0);
        assert_eq!(plan.steps.len(), 0);
        assert_eq!(unplanned.len(), 1);
        assert_eq!(unplanned[0].names, ["both"]);
    }
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
