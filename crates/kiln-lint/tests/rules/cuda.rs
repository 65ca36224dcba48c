//! CUDA where there is none, twice, or in pairs that never were; drivers; TensorFlow 1 and 2.

use crate::world::{World, found, shown};

#[test]
fn cuda_in_an_image_without_it_is_found_with_what_brings_it() {
    let report = World::new("requirements = [\n    \"xgboost~=3.1\",\n]\n")
        .wheel(
            "xgboost",
            "3.1.1",
            &["numpy", "nvidia-nccl-cu12; platform_system == 'Linux'"],
        )
        .wheel("numpy", "2.4.0", &[])
        .wheel("nvidia-nccl-cu12", "2.28.3", &[])
        .lint();
    insta::assert_snapshot!(shown(&report));
}

#[test]
fn cuda_where_it_belongs_is_no_finding() {
    let report = World::with_cuda("requirements = [\"xgboost\"]\n")
        .wheel("xgboost", "3.1.1", &["nvidia-nccl-cu12"])
        .wheel("nvidia-nccl-cu12", "2.28.3", &[])
        .lint();
    assert_eq!(found(&report), [""; 0]);
    let report = World::new("requirements = [\"torch\"]\n")
        .wheel("torch", "2.6.0+cpu", &[])
        .lint();
    assert_eq!(found(&report), [""; 0]);
}

#[test]
fn waivers_of_components_hold_for_their_images_alone() {
    let waiver = "[[waive]]\nlint = \"cuda-in-cpu-image\"\nsubject = \"nvidia-*\"\n\
                  reason = \"nothing loads it\"\n";
    let bundle = format!("requirements = [\"xgboost\"]\n{waiver}");
    let world = |bundle: &str| {
        World::new(bundle)
            .wheel("xgboost", "3.1.1", &["nvidia-nccl-cu12"])
            .wheel("nvidia-nccl-cu12", "2.28.3", &[])
    };
    let report = world(&bundle).lint();
    insta::assert_snapshot!(shown(&report));
    let other = world("requirements = [\"xgboost\"]\n").file("accelerators/tpu.toml", waiver);
    let report = other.lint();
    assert_eq!(
        found(&report),
        [
            "cuda-in-cpu-image nvidia-nccl-cu12",
            "unused-component tpu",
            "unused-waiver cuda-in-cpu-image",
        ]
    );
}

#[test]
fn two_stacks_of_cuda_are_found() {
    let report = World::with_cuda("requirements = [\"torch\", \"cupy-cuda13x\"]\n")
        .wheel("torch", "2.6.0+cu126", &["nvidia-cublas-cu12"])
        .wheel("nvidia-cublas-cu12", "12.6.4.1", &[])
        .wheel("cupy-cuda13x", "14.0", &["nvidia-cuda-runtime"])
        .wheel("nvidia-cuda-runtime", "13.0.96", &[])
        .lint();
    insta::assert_snapshot!(shown(&report));
}

#[test]
fn builds_for_two_minor_versions_are_found() {
    let world = |vision: &str| {
        World::with_cuda("requirements = [\"torch\", \"torchvision\"]\n")
            .wheel("torch", "2.6.0+cu126", &[])
            .wheel("torchvision", vision, &[])
    };
    assert_eq!(found(&world("0.21.0+cu126").lint()), [""; 0]);
    insta::assert_snapshot!(shown(&world("0.21.0+cu124").lint()));
}

#[test]
fn wheels_of_other_frameworks_may_be_built_for_another_minor_version() {
    let report = World::with_cuda("requirements = [\"torch\", \"xformers\"]\n")
        .wheel("torch", "2.6.0+cu126", &[])
        .wheel("xformers", "0.0.29+cu124", &[])
        .lint();
    assert_eq!(found(&report), [""; 0]);
}

#[test]
fn what_rests_on_tables_that_are_not_sure_is_a_warning() {
    let severity = |name: &str, version: &str| {
        let bundle = format!("requirements = [\"{name}\"]\n");
        let report = World::with_cuda(&bundle).wheel(name, version, &[]).lint();
        let mut findings = report.findings.into_iter();
        let found = findings.find(|it| it.lint == kiln_lint::Lint::NeverReleased);
        found.unwrap().severity
    };
    let (error, warning) = (kiln_lint::Severity::Error, kiln_lint::Severity::Warning);
    assert_eq!(severity("nvidia-cudnn-cu13", "9.10.2.21"), error);
    assert_eq!(severity("nvidia-cudnn-cu11", "9.13.0.50"), warning);
    assert_eq!(severity("torch", "2.6.0+cu128"), error);
    assert_eq!(severity("torch", "1.8.0+cu128"), warning);
}

#[test]
fn pairs_that_never_were_are_found() {
    let report = World::with_cuda("requirements = [\"torch\", \"torchvision\"]\n")
        .wheel("torch", "2.6.0+cu128", &[])
        .wheel("torchvision", "0.22.0+cu128", &[])
        .lint();
    insta::assert_snapshot!(shown(&report));
    // CUDA 12.7 never was; PyTorch 99 is newer than what is known.
    let accelerator = "kind = \"cuda\"\n[cuda]\nversion = \"12.7\"\nflavour = \"base\"\n";
    let report = World::with_cuda("requirements = [\"torch\"]\n")
        .file("accelerators/gpu.toml", accelerator)
        .wheel("torch", "99.0+cu126", &[])
        .lint();
    assert_eq!(found(&report), ["never-released gpu"]);
}

#[test]
fn tensorflow_must_find_its_cuda_and_cudnn() {
    let world = |cudnn: &str| {
        World::with_cuda("requirements = [\"tensorflow[and-cuda]\"]\n")
            .wheel(
                "tensorflow",
                "2.18.1",
                &["nvidia-cudnn-cu12; extra == 'and-cuda'"],
            )
            .wheel("nvidia-cudnn-cu12", cudnn, &[])
    };
    assert_eq!(found(&world("9.3.0.75").lint()), [""; 0]);
    assert_eq!(found(&world("9.5.1.17").lint()), [""; 0]);
    insta::assert_snapshot!(shown(&world("8.9.7.29").lint()));
    let report = World::with_cuda("requirements = [\"tensorflow\"]\n")
        .file(
            "accelerators/gpu.toml",
            "kind = \"cuda\"\n[cuda]\nversion = \"13.0\"\nflavour = \"base\"\n",
        )
        .wheel("tensorflow", "2.20.0", &[])
        .lint();
    insta::assert_snapshot!(shown(&report));
}

#[test]
fn tensorflow_1_beside_2_is_found() {
    let world = |old: &str| {
        World::new("requirements = [\"tensorflow\", \"tensorflow-gpu\"]\n")
            .wheel("tensorflow", "2.18.1", &[])
            .wheel("tensorflow-gpu", old, &[])
    };
    insta::assert_snapshot!(shown(&world("1.15.5").lint()));
    assert_eq!(found(&world("2.12.0").lint()), [""; 0]);
}

#[test]
fn drivers_are_found() {
    let report = World::new("packages = [\n    \"nvidia-utils-550\",\n]\n")
        .deb("nvidia-utils-550", "550.54.15")
        .deb("cuda-compat-12-4", "550.54.15")
        .lint();
    let drivers: Vec<_> = found(&report)
        .into_iter()
        .filter(|it| it.starts_with("driver"))
        .collect();
    assert_eq!(drivers, ["driver-in-image nvidia-utils-550"]);
    insta::assert_snapshot!(shown(&report));
}
