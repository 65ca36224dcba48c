//! What accelerators require of Python: above bundles, below IDEs, and binding neither.

use kiln_recipe::Family;
use kiln_resolve::python::tool::DEFAULT_VERSION;

use crate::{
    family::{Workshop, family_of, sets},
    index::wheel,
    solve::{IDE, lock, workshop},
};

fn cuda() -> Workshop {
    workshop(&[
        ("cublas", "12.5", &[]),
        ("cublas", "13.1", &[]),
        ("cudart", "12.9", &[]),
        ("cudart", "13.0", &[]),
        ("plain", "1.0", &[]),
        ("framework", "1.0", &["cublas<13", "plain"]),
        ("lab", "1.0", &["plain"]),
    ])
}

const ACCELERATOR: (&str, &str) = (
    "accelerators/gpu.toml",
    "kind = 'rocm'\nrequirements = ['cublas', 'cudart']\n",
);

fn family(images: &[(&str, &str, &str)]) -> Family {
    let files = [
        ACCELERATOR,
        ("bundles/a/bundle.toml", "requirements = ['plain']\n"),
        (
            "bundles/b/bundle.toml",
            "extends = 'a'\nrequirements = ['framework']\n",
        ),
        IDE,
    ];
    family_of(DEFAULT_VERSION, &files, images)
}

#[test]
fn a_toolkit_is_what_the_bundles_have_not_brought_and_binds_none_of_them() {
    let workshop = cuda();
    let images = [
        ("gpu", "a", "runtime"),
        ("gpu", "b", "j"),
        ("gpu", "b", "runtime"),
        ("cpu", "b", "runtime"),
    ];
    let lock = lock(&workshop, &family(&images), None);
    assert_eq!(
        sets(&lock),
        [
            "… a: plain-1.0",
            "… a b: cublas-12.5 framework-1.0",
            "gpu a: plain-1.0",
            "gpu a ^gpu: cublas-13.1 cudart-13.0",
            "gpu a b: cublas-12.5 framework-1.0",
            "gpu a b ^gpu: cudart-13.0",
            "gpu a b ^gpu +j: lab-1.0",
        ]
    );
    let of = |ide: &str| {
        let image = lock
            .images
            .iter()
            .find(|it| it.ide == ide && it.bundle == "b");
        image.unwrap().sets.clone()
    };
    let (workbench, runtime) = (of("j"), of("runtime"));
    assert_eq!(workbench[..5], runtime[..5], "the same but for the IDE");
    assert_eq!(workbench.len(), 6);
}

#[test]
fn versions_of_a_toolkit_are_kept_and_preferred_on_further_bundles() {
    let workshop = cuda();
    let first = lock(&workshop, &family(&[("gpu", "a", "runtime")]), None);
    for (name, version) in [("cublas", "13.9"), ("cudart", "13.9"), ("plain", "2.0")] {
        workshop
            .index
            .add(wheel(name, version, "py3-none-any", &[]));
    }
    let images = [("gpu", "a", "runtime"), ("gpu", "b", "runtime")];
    let second = lock(&workshop, &family(&images), Some(&first));
    assert_eq!(
        sets(&second),
        [
            "gpu a: plain-1.0",
            "gpu a ^gpu: cublas-13.1 cudart-13.0",
            "gpu a b: cublas-12.5 framework-1.0",
            "gpu a b ^gpu: cudart-13.0",
        ]
    );
    let [before] = &first.images[..] else {
        panic!()
    };
    assert!(second.images.contains(before), "the image did not move");
}
