//! What holds for any family: images share sets, nothing is brought twice, and a change concerns
//! those alone that it must.

use std::collections::BTreeSet;

use kiln_lock::{Lock, LockedImage, Set};
use kiln_recipe::{ComponentKind, Family};
use kiln_resolve::python::tool::DEFAULT_VERSION;
use proptest::prelude::*;

use crate::{
    family::{Workshop, family_of},
    index::wheel,
    solve::workshop,
};

const PROJECTS: usize = 8;

fn name(number: usize) -> String {
    format!("p{number}")
}

/// What a family is made from: projects are numbers.
#[derive(Debug, Clone)]
struct Shape {
    /// What each project requires: later ones.
    requires: Vec<BTreeSet<usize>>,
    /// Of bundles `a`, `b` on `a`, and `c`.
    bundles: [BTreeSet<usize>; 3],
    /// Of the accelerator `gpu` and of the IDE `j`.
    toolkit: BTreeSet<usize>,
    ide: BTreeSet<usize>,
    /// Numbers of combinations; the first are there from the beginning.
    images: Vec<usize>,
}

/// Accelerator, bundle and IDE of all combinations.
fn combination(number: usize) -> (&'static str, &'static str, &'static str) {
    let pick = |of: &[&'static str], number: usize| of[number % of.len()];
    (
        pick(&["cpu", "gpu"], number),
        pick(&["a", "b", "c"], number / 2),
        pick(&["runtime", "j"], number / 6),
    )
}

fn some(least: usize) -> impl Strategy<Value = BTreeSet<usize>> {
    proptest::collection::btree_set(0..PROJECTS, least..3)
}

fn shape() -> impl Strategy<Value = Shape> {
    let requires = proptest::collection::vec(some(0), PROJECTS);
    let images = Just((0..12).collect::<Vec<usize>>()).prop_shuffle();
    let sizes = (4..8_usize, images);
    (
        requires,
        [some(1), some(1), some(1)],
        some(1),
        some(1),
        sizes,
    )
        .prop_map(|(requires, bundles, toolkit, ide, (size, images))| Shape {
            requires: requires
                .into_iter()
                .enumerate()
                .map(|(number, all)| all.into_iter().filter(|it| *it > number).collect())
                .collect(),
            bundles,
            toolkit,
            ide,
            images: images.into_iter().take(size).collect(),
        })
}

impl Shape {
    fn family(&self, images: &[usize]) -> Family {
        let list = |projects: &BTreeSet<usize>| {
            let names: Vec<String> = projects
                .iter()
                .map(|it| format!("'{}'", name(*it)))
                .collect();
            format!("requirements = [{}]\n", names.join(", "))
        };
        let [a, b, c] = self.bundles.each_ref().map(list);
        let b = format!("extends = 'a'\n{b}");
        let ide = format!("command = ['lab']\n{}", list(&self.ide));
        let gpu = format!("kind = 'rocm'\n{}", list(&self.toolkit));
        let files = [
            ("accelerators/gpu.toml", gpu.as_str()),
            ("bundles/a/bundle.toml", &a),
            ("bundles/b/bundle.toml", &b),
            ("bundles/c/bundle.toml", &c),
            ("ides/j/ide.toml", &ide),
        ];
        let images: Vec<_> = images.iter().map(|it| combination(*it)).collect();
        family_of(DEFAULT_VERSION, &files, &images)
    }

    /// The projects of a toolkit with all that these require.
    fn toolkit(&self) -> BTreeSet<String> {
        let mut all = self.toolkit.clone();
        let mut open: Vec<usize> = all.iter().copied().collect();
        while let Some(project) = open.pop() {
            let new = self.requires[project].iter().copied();
            open.extend(new.filter(|it| all.insert(*it)));
        }
        all.into_iter().map(name).collect()
    }

    /// Offers every project at a version.
    fn offer(&self, workshop: &Workshop, version: &str) {
        for (number, requires) in self.requires.iter().enumerate() {
            let requires: Vec<String> = requires.iter().map(|it| name(*it)).collect();
            let requires: Vec<&str> = requires.iter().map(String::as_str).collect();
            workshop
                .index
                .add(wheel(&name(number), version, "py3-none-any", &requires));
        }
    }
}

/// The wheels of an image, by id; a project twice fails.
fn wheels<'a>(lock: &'a Lock, image: &LockedImage) -> BTreeSet<&'a str> {
    let closure = lock.image_closure(image);
    let names: BTreeSet<&str> = closure.wheels.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names.len(), closure.wheels.len(), "{}", image.name);
    closure.wheels.iter().map(|it| it.id.as_ref()).collect()
}

/// A toolkit is what the accelerator requires and the bundles have not brought; nothing else.
fn check_toolkits(shape: &Shape, lock: &Lock) {
    for image in lock.images.iter().filter(|it| it.accelerator == "gpu") {
        let names = |of: &dyn Fn(&Set) -> bool| -> BTreeSet<String> {
            let sets = image.sets.iter().map(|id| lock.set(id).unwrap());
            let wheels = sets.filter(|set| of(set)).flat_map(|set| &set.wheels);
            wheels
                .map(|id| lock.wheel(id).unwrap().name.clone())
                .collect()
        };
        let brought = names(&|set| set.component.kind == ComponentKind::Bundle);
        let toolkit = names(&|set| set.component.kind == ComponentKind::Accelerator);
        let expected: BTreeSet<String> = shape.toolkit().difference(&brought).cloned().collect();
        assert_eq!(toolkit, expected, "{}", image.name);
    }
}

fn check_twins(lock: &Lock) {
    for workbench in lock.images.iter().filter(|it| it.ide == "j") {
        let is_twin = |it: &&LockedImage| {
            it.ide == "runtime"
                && it.bundle == workbench.bundle
                && it.accelerator == workbench.accelerator
        };
        let Some(runtime) = lock.images.iter().find(is_twin) else {
            continue;
        };
        let ide = lock.set(workbench.sets.last().unwrap()).unwrap();
        let ide: BTreeSet<&str> = ide.wheels.iter().map(AsRef::as_ref).collect();
        let all = wheels(lock, workbench);
        let less: BTreeSet<&str> = all.difference(&ide).copied().collect();
        assert_eq!(less, wheels(lock, runtime), "{}", workbench.name);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, max_shrink_iters: 20, ..ProptestConfig::default() })]

    #[test]
    fn images_share_nothing_twice_and_are_left_alone(shape in shape(), more in some(1)) {
        let workshop = workshop(&[]);
        shape.offer(&workshop, "1.0");
        let (new_image, images) = shape.images.split_last().unwrap();
        let lock = |family: &Family, previous: Option<&Lock>| {
            workshop.lock(family, previous, &workshop.options()).unwrap()
        };
        let first = lock(&shape.family(images), None);
        for image in &first.images {
            wheels(&first, image);
        }
        check_twins(&first);
        check_toolkits(&shape, &first);
        prop_assert_eq!(&lock(&shape.family(images), Some(&first)), &first);

        // Everything has a newer version now, and another image is added.
        shape.offer(&workshop, "2.0");
        let second = lock(&shape.family(&shape.images), Some(&first));
        check_twins(&second);
        check_toolkits(&shape, &second);
        for before in &first.images {
            prop_assert!(second.images.contains(before), "{} moved: {:?}", before.name, new_image);
            let packages = |lock: &Lock| -> Vec<_> {
                before.sets.iter().map(|id| lock.set(id).cloned()).collect()
            };
            prop_assert_eq!(packages(&first), packages(&second));
        }
        prop_assert_eq!(kiln_lock::moves(&first, &second), []);

        // One bundle asks for something else.
        let mut changed = shape.clone();
        changed.bundles[2] = more;
        let third = lock(&changed.family(&shape.images), Some(&second));
        check_twins(&third);
        check_toolkits(&changed, &third);
        for before in second.images.iter().filter(|it| it.bundle != "c") {
            prop_assert!(third.images.contains(before), "{} moved", before.name);
        }
        prop_assert_eq!(kiln_lock::moves(&second, &third), []);
    }
}
