//! The family's own shape: components without use, budgets, waivers.

use crate::world::{World, found, shown};

#[test]
fn components_without_use_are_found() {
    let report = World::new("requirements = [\"a\"]\n")
        .file("bundles/spare/bundle.toml", "requirements = [\"b\"]\n")
        .file(
            "ides/rstudio/ide.toml",
            "command = [\"/usr/bin/rstudio\"]\n",
        )
        .wheel("a", "1", &[])
        .lint();
    insta::assert_snapshot!(shown(&report));
}

#[test]
fn a_bundle_that_others_stand_on_is_used() {
    let images = "[[image]]\nbase = \"base\"\nbundle = \"child\"\n";
    let report = World::with_images("requirements = [\"a\"]\n", images)
        .file(
            "bundles/child/bundle.toml",
            "extends = \"own\"\nrequirements = [\"a\"]\n",
        )
        .wheel("a", "1", &[])
        .lint();
    insta::assert_snapshot!(shown(&report));
}

#[test]
fn a_bundle_that_sets_variables_or_labels_is_not_empty() {
    let child = |more: &str| {
        let images = "[[image]]\nbase = \"base\"\nbundle = \"child\"\n";
        let text = format!("extends = \"own\"\nrequirements = [\"a\"]\n{more}");
        let world = World::with_images("requirements = [\"a\"]\n", images)
            .file("bundles/child/bundle.toml", &text)
            .wheel("a", "1", &[]);
        found(&world.lint())
    };
    assert_eq!(child(""), ["empty-bundle child"]);
    assert_eq!(child("[env]\nOMP_NUM_THREADS = \"4\"\n"), [""; 0]);
    assert_eq!(
        child("[labels]\n\"org.example.team\" = \"vision\"\n"),
        [""; 0]
    );
}

#[test]
fn budgets_of_images_and_of_bundles_are_kept() {
    let world = |bundle: &str, image: &str| {
        let image = format!("[[image]]\nbase = \"base\"\nbundle = \"own\"\n{image}");
        World::with_images(&format!("requirements = [\"a\"]\n{bundle}"), &image)
            .wheel("a", "1", &["b"])
            .wheel("b", "1", &[])
    };
    let report = world("max-size = \"1 MB\"\n", "max-size = \"1500 kB\"\n").lint();
    insta::assert_snapshot!(shown(&report));
    let report = world("max-size = \"2 MB\"\n", "").lint();
    assert_eq!(found(&report), [""; 0]);
}

#[test]
fn findings_of_several_images_are_one() {
    let image =
        |ide: &str| format!("[[image]]\nbase = \"base\"\nbundle = \"own\"\nide = \"{ide}\"\n");
    let images = &(image("runtime") + &image("lab"));
    let report = World::with_images("requirements = [\"nvidia-nccl-cu12\"]\n", images)
        .file("ides/lab/ide.toml", "command = [\"/bin/true\"]\n")
        .wheel("nvidia-nccl-cu12", "2.28.3", &[])
        .lint();
    assert_eq!(report.findings.len(), 1);
    assert_eq!(
        report.findings[0].images,
        ["runtime-own-cpu", "lab-own-cpu"]
    );
}

#[test]
fn an_image_for_two_platforms_is_named_once() {
    let report = World::new("requirements = [\"nvidia-nccl-cu12\"]\n")
        .wheel("nvidia-nccl-cu12", "2.28.3", &[])
        .on_two_platforms()
        .lint();
    assert_eq!(report.findings.len(), 1);
    assert_eq!(report.findings[0].images, ["runtime-own-cpu"]);
}

#[test]
fn a_waiver_of_the_family_that_waives_nothing_is_found() {
    let report = World::new("requirements = [\"a\"]\n")
        .file(
            "kiln.toml",
            "[[waive]]\nlint = \"missing-library\"\nsubject = \"libGL.so.1\"\nreason = \"headless\"\n",
        )
        .wheel("a", "1", &[])
        .lint();
    insta::assert_snapshot!(shown(&report));
}

#[test]
fn every_rule_that_can_be_waived_is_known_to_families() {
    let mut rules: Vec<_> = kiln_lint::Lint::ALL.iter().map(|it| it.id()).collect();
    rules.retain(|rule| *rule != "unused-waiver");
    rules.sort_unstable();
    assert_eq!(rules, kiln_recipe::LINTS);
}
