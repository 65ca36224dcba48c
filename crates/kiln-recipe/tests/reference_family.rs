//! The family that this repository carries parses, and says what its README promises.

use std::path::Path;

use kiln_recipe::{Candidate, Family, parse, read_family, select};

fn family() -> Family {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../family");
    let files = read_family(&dir).unwrap_or_else(|error| panic!("{error}"));
    parse(&files).unwrap_or_else(|errors| panic!("{errors}"))
}

#[test]
fn it_parses_and_has_its_bundles_on_two_bases_for_processors_and_gpus() {
    let family = family();
    let names: Vec<_> = Candidate::of_family(&family)
        .into_iter()
        .map(|it| it.name)
        .collect();
    insta::assert_snapshot!(names.join("\n"), @r"
    jupyter-minimal-d12-py311_2026b
    runtime-minimal-d12-py311_2026b
    jupyter-datascience-d12-py311_2026b
    runtime-datascience-d12-py311_2026b
    jupyter-geomatics-d12-py311_2026b
    runtime-geomatics-d12-py311_2026b
    jupyter-langchain-d12-py311_2026b
    runtime-langchain-d12-py311_2026b
    jupyter-langflow-d12-py311_2026b
    runtime-langflow-d12-py311_2026b
    jupyter-machinelearning-d12-py311_2026b
    runtime-machinelearning-d12-py311_2026b
    jupyter-optapy-d12-py311_2026b
    runtime-optapy-d12-py311_2026b
    jupyter-r-d12-py311_2026b
    runtime-r-d12-py311_2026b
    jupyter-spark-d12-py311_2026b
    runtime-spark-d12-py311_2026b
    jupyter-tensorflow-d12-py311_2026b
    runtime-tensorflow-d12-py311_2026b
    jupyter-minimal-d13-py313_2026b
    runtime-minimal-d13-py313_2026b
    jupyter-datascience-d13-py313_2026b
    runtime-datascience-d13-py313_2026b
    jupyter-geomatics-d13-py313_2026b
    runtime-geomatics-d13-py313_2026b
    jupyter-langchain-d13-py313_2026b
    runtime-langchain-d13-py313_2026b
    jupyter-langflow-d13-py313_2026b
    runtime-langflow-d13-py313_2026b
    jupyter-machinelearning-d13-py313_2026b
    runtime-machinelearning-d13-py313_2026b
    jupyter-r-d13-py313_2026b
    runtime-r-d13-py313_2026b
    jupyter-spark-d13-py313_2026b
    runtime-spark-d13-py313_2026b
    jupyter-tensorflow-d13-py313_2026b
    runtime-tensorflow-d13-py313_2026b
    cuda-jupyter-pytorch-d12-py311_2026b
    cuda-runtime-pytorch-d12-py311_2026b
    cuda-jupyter-pytorch-d13-py313_2026b
    cuda-runtime-pytorch-d13-py313_2026b
    cuda12-jupyter-tensorflow.gpu-d12-py311_2026b
    cuda12-runtime-tensorflow.gpu-d12-py311_2026b
    cuda12-jupyter-tensorflow.gpu-d13-py313_2026b
    cuda12-runtime-tensorflow.gpu-d13-py313_2026b
    cuda13.devel-jupyter-minimal-d12-py311_2026b
    cuda13.devel-jupyter-minimal-d13-py313_2026b
    cuda11-runtime-minimal-d12-py311_2026b
    cuda12-runtime-minimal-d12-py311_2026b
    cuda13.base-runtime-minimal-d12-py311_2026b
    ");
}

#[test]
fn short_names_mean_the_default_base() {
    let family = family();
    let images = Candidate::of_family(&family);
    let one = |part| {
        let found = select(&images, part, family.default_base.as_deref()).unwrap();
        found
            .into_iter()
            .map(|index| images[index].name.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        one("jupyter-datascience"),
        ["jupyter-datascience-d12-py311_2026b"]
    );
    assert_eq!(
        one("runtime-minimal-d13"),
        ["runtime-minimal-d13-py313_2026b"]
    );
}

#[test]
fn the_start_script_is_the_only_file_that_can_be_executed() {
    let family = family();
    for image in &family.images {
        for component in family.components(image) {
            for file in &component.files {
                let script = file.to == "/opt/app-root/bin/start-notebook.sh";
                let owner = if file.to.starts_with("/opt/app-root/") {
                    (1001, 0)
                } else {
                    (0, 0)
                };
                assert_eq!(file.mode, if script { 0o755 } else { 0o644 }, "{}", file.to);
                assert_eq!(file.owner, owner, "{}", file.to);
            }
        }
    }
}

#[test]
fn every_requirement_is_pinned_to_major_and_minor() {
    for image in &family().images {
        for component in family().components(image) {
            for requirement in &component.requirements {
                let text = &requirement.text;
                // NVIDIA's toolkit is a project whose last number is that of a build: `==13.2.*`.
                let (_, version) = text
                    .split_once("~=")
                    .or_else(|| text.split_once("=="))
                    .expect(text);
                assert_eq!(version.split('.').count(), 3, "{text}");
            }
        }
    }
}
