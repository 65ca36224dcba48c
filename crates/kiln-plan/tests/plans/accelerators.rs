//! Images on accelerators: OS packages below the bundles, toolkits above them.

use std::collections::BTreeMap;

use kiln_lock::{Lock, LockedImage, Set};
use kiln_plan::PlanOptions;
use kiln_recipe::{Accelerator, AcceleratorKind, ComponentKind, Family};
use proptest::prelude::*;

use crate::{
    fixture::{component, deb, family, keys, lock, packages, plan_with, wheel},
    whole::{all_keys, run, with_python},
};

/// Accelerator, bundle and IDE.
type Combination = (&'static str, &'static str, &'static str);

const ACCELERATORS: [&str; 3] = ["cpu", "gpu", "tpu"];
const BUNDLES: [&str; 2] = ["one", "two"];
const IDES: [&str; 2] = ["code", "lab"];

/// Wheels by what brings them.
type Packages = BTreeMap<String, Vec<(String, u64)>>;

fn combinations() -> Vec<Combination> {
    let pairs = ACCELERATORS.iter().flat_map(|accelerator| {
        let bundles = BUNDLES.iter();
        bundles.map(move |bundle| (*accelerator, *bundle))
    });
    pairs
        .flat_map(|(accelerator, bundle)| IDES.map(|ide| (accelerator, bundle, ide)))
        .collect()
}

/// What brings an image's wheels; toolkits differ by bundle, as a bundle may have brought some.
fn brings((accelerator, bundle, ide): Combination) -> Vec<String> {
    let toolkit = (accelerator != "cpu").then(|| format!("{accelerator} on {bundle}"));
    let others = [bundle.to_owned(), ide.to_owned()];
    others.into_iter().chain(toolkit).collect()
}

/// A lock of these images: `gpu` and `tpu` have OS packages, toolkits and a command.
fn locked(images: &[Combination], packages: &Packages) -> Lock {
    let mut lock = lock(&[("one", "code")], &BTreeMap::new());
    let sample = lock.images.remove(0);
    lock.sets.retain(|set| set.id == "base");
    for &(accelerator, bundle, ide) in images {
        let os = format!("base {accelerator}");
        let on = format!("{os} {bundle}");
        let mut sets = vec![
            (ComponentKind::Accelerator, accelerator, os, None),
            (
                ComponentKind::Bundle,
                bundle,
                on.clone(),
                packages.get(bundle),
            ),
        ];
        let mut below = on.clone();
        if accelerator != "cpu" {
            below = format!("{on} ^{accelerator}");
            let toolkit = packages.get(&format!("{accelerator} on {bundle}"));
            sets.push((
                ComponentKind::Accelerator,
                accelerator,
                below.clone(),
                toolkit,
            ));
        }
        let id = format!("{below} +{ide}");
        sets.push((ComponentKind::Ide, ide, id, packages.get(ide)));
        let ids = sets.iter().map(|set| set.2.clone());
        lock.images.push(LockedImage {
            name: format!("{accelerator}-{ide}-{bundle}"),
            accelerator: accelerator.into(),
            bundle: bundle.into(),
            ide: ide.into(),
            sets: std::iter::once("base".to_owned()).chain(ids).collect(),
            ..sample.clone()
        });
        for (kind, name, id, wheels) in sets {
            add_set(&mut lock, kind, name, id, wheels.map_or(&[], Vec::as_slice));
        }
    }
    with_python(lock)
}

fn add_set(lock: &mut Lock, kind: ComponentKind, name: &str, id: String, wheels: &[(String, u64)]) {
    if lock.sets.iter().any(|set| set.id == id) {
        return;
    }
    let wheels: Vec<_> = wheels
        .iter()
        .map(|(name, size)| wheel(name, *size))
        .collect();
    let driver =
        (id == format!("base {name}") && name != "cpu").then(|| deb(&format!("lib{name}")));
    lock.sets.push(Set {
        id,
        component: component(kind, name).id,
        debs: driver.iter().map(|deb| deb.id.clone()).collect(),
        wheels: wheels.iter().map(|wheel| wheel.id.clone()).collect(),
    });
    lock.debs.extend(driver);
    for wheel in wheels {
        if lock.wheels.iter().all(|known| known.id != wheel.id) {
            lock.wheels.push(wheel);
        }
    }
}

fn on_accelerators() -> Family {
    let mut family = family(&BUNDLES, &IDES);
    for name in ["gpu", "tpu"] {
        let mut component = component(ComponentKind::Accelerator, name);
        component.runs = vec![run(&[&format!("/bin/{name}")])];
        let accelerator = Accelerator {
            component,
            kind: AcceleratorKind::Rocm,
            code: Some(name.into()),
            cuda: None,
            archives: vec![],
        };
        family.accelerators.insert(name.into(), accelerator);
    }
    family
}

/// Wheels for all parts, no two of which bring the same project.
fn parts() -> impl Strategy<Value = Packages> {
    let pairs = (
        packages("g1"),
        packages("g2"),
        packages("t1"),
        packages("t2"),
    );
    let others = (packages("o"), packages("w"), packages("c"), packages("l"));
    (pairs, others).prop_map(|((g1, g2, t1, t2), (one, two, code, lab))| {
        [
            ("gpu on one", g1),
            ("gpu on two", g2),
            ("tpu on one", t1),
            ("tpu on two", t2),
            ("one", one),
            ("two", two),
            ("code", code),
            ("lab", lab),
        ]
        .map(|(part, wheels)| (part.to_owned(), wheels))
        .into()
    })
}

proptest! {
    /// A further image, and whatever only it is made from, is no concern of the others.
    #[test]
    fn another_image_changes_no_key_on_any_accelerator(
        packages in parts(),
        more in packages("x"),
        images in Just(combinations()).prop_shuffle(),
        count in 2..8_usize,
        place in any::<prop::sample::Index>(),
    ) {
        let family = on_accelerators();
        let plan = |images: &[Combination], packages: &Packages| {
            plan_with(&family, &locked(images, packages), PlanOptions::default())
        };
        let old = &images[1..count];
        let before = plan(old, &packages);
        let used: Vec<_> = old.iter().flat_map(|it| brings(*it)).collect();
        let mut changed = packages.clone();
        for part in brings(images[0]).into_iter().filter(|it| !used.contains(it)) {
            changed.insert(part, more.clone());
        }
        let mut all = old.to_vec();
        all.insert(place.index(count), images[0]);
        let after = plan(&all, &changed);
        for (number, image) in old.iter().enumerate() {
            let now = all.iter().position(|it| it == image).unwrap();
            prop_assert_eq!(keys(&before, number), keys(&after, now), "{:?}", image);
            prop_assert_eq!(all_keys(&before, number), all_keys(&after, now));
            prop_assert_eq!(&before.images[number].config, &after.images[now].config);
        }
        let mut distinct: Vec<_> = after.steps.iter().map(|step| step.key).collect();
        distinct.sort();
        distinct.dedup();
        prop_assert_eq!(distinct.len(), after.steps.len());
    }
}
