//! `kiln plan`: what a build would do, without doing it.

use std::collections::HashMap;

use kiln_plan::{ImagePlan, Origin, Plan, PlanOptions};
use kiln_store::Store;
use serde_json::json;

use crate::{
    args::{self, Global, Graph},
    error::Failure,
    output::{Output, bytes, count},
    project::{self, Project},
};

pub(crate) fn options(compression: args::Compression) -> PlanOptions {
    let compression = match compression {
        args::Compression::Gzip => kiln_plan::Compression::Gzip,
        args::Compression::Zstd => kiln_plan::Compression::Zstd,
    };
    PlanOptions {
        compression,
        ..PlanOptions::default()
    }
}

pub(crate) fn run(args: &args::Plan, global: &Global, output: &Output) -> Result<(), Failure> {
    let project = Project::open(global)?;
    let lock = project.fitting_lock()?;
    let images = project.select(&lock, &args.selection.images, args.selection.all)?;
    let plan = kiln_plan::plan(
        &project.family,
        &lock,
        &images,
        options(args.layers.compression),
    )?;
    let store = project::store(global)?;
    let state = State::of(&plan, &store)?;
    match args.graph {
        Some(Graph::Dot) => output.line(kiln_plan::dot(&plan, |step| state.known(step)).trim_end()),
        Some(Graph::Mermaid) => {
            output.line(kiln_plan::mermaid(&plan, |step| state.known(step)).trim_end());
        }
        None if output.is_json() => as_json(&plan, &state, output),
        None => as_text(&plan, &state, output),
    }
    Ok(())
}

/// What the store has of a plan.
struct State {
    /// For each step, the compressed size of its layer, when it is known.
    layers: Vec<Option<u64>>,
    /// For each step, the bytes that would be downloaded.
    downloads: Vec<u64>,
    /// Files and bytes that would be downloaded, each once.
    download_files: usize,
    download_bytes: u64,
}

impl State {
    fn of(plan: &Plan, store: &Store) -> Result<Self, Failure> {
        let keys: Vec<_> = plan.steps.iter().map(|step| step.key).collect();
        let results = store.results(&keys)?;
        let layers: Vec<_> = keys
            .iter()
            .map(|key| results.get(key).map(|result| result.blob().1))
            .collect();
        let mut missing = HashMap::new();
        let mut downloads = Vec::with_capacity(plan.steps.len());
        for (step, layer) in plan.steps.iter().zip(&layers) {
            let mut bytes = 0;
            for input in &step.inputs {
                let local = matches!(input.origin, Origin::Family(_))
                    || store.has_download(&input.sha256, input.size);
                if layer.is_none() && !local {
                    bytes += input.size;
                    missing.insert(input.sha256, input.size);
                }
            }
            downloads.push(bytes);
        }
        let download_bytes = missing.values().sum();
        Ok(Self {
            layers,
            downloads,
            download_files: missing.len(),
            download_bytes,
        })
    }

    fn known(&self, step: usize) -> bool {
        self.layers[step].is_some()
    }
}

fn as_text(plan: &Plan, state: &State, output: &Output) {
    // How many of the planned images use a step.
    let mut users = vec![0usize; plan.steps.len()];
    for image in &plan.images {
        for layer in &image.layers {
            users[layer.step] += 1;
        }
    }
    for image in &plan.images {
        output.line(format!("{} ({})", image.name, image.platform));
        for layer in &image.layers {
            let step = &plan.steps[layer.step];
            let inputs: u64 = step.inputs.iter().map(|input| input.size).sum();
            let what = match state.layers[layer.step] {
                Some(size) => format!("reuse  {:>9}", bytes(size)),
                None => format!("pack  ~{:>9}", bytes(inputs)),
            };
            let download = match state.downloads[layer.step] {
                0 => String::new(),
                size => format!(", download {}", bytes(size)),
            };
            let shared = match users[layer.step] {
                1 => String::new(),
                images => format!(", shared by {images} images"),
            };
            output.line(format!("  {what}  {}{download}{shared}", step.title));
        }
        threshold_note(image, output);
    }
    let todo = state.layers.iter().filter(|layer| layer.is_none()).count();
    output.line(format!(
        "{}: {} to reuse, {todo} to pack; {} to download ({})",
        count(plan.steps.len(), "layer"),
        plan.steps.len() - todo,
        count(state.download_files, "file"),
        bytes(state.download_bytes),
    ));
}

fn threshold_note(image: &ImagePlan, output: &Output) {
    if image.threshold > kiln_plan::OWN_LAYER {
        output.line(format!(
            "  note: packages below {} share layers here, so that the image has at most {}",
            bytes(image.threshold),
            kiln_plan::MAX_LAYERS,
        ));
    }
}

fn as_json(plan: &Plan, state: &State, output: &Output) {
    for (index, step) in plan.steps.iter().enumerate() {
        output.json(&json!({
            "step": index, "key": step.key, "title": step.title, "component": step.component,
            "known": state.known(index), "layer_size": state.layers[index],
            "input_size": step.inputs.iter().map(|input| input.size).sum::<u64>(),
            "download_size": state.downloads[index], "action": step.action,
        }));
    }
    for image in &plan.images {
        output.json(&json!({
            "image": image.name, "platform": image.platform, "date": image.date,
            "layers": image.layers.iter().map(|layer| layer.step).collect::<Vec<_>>(),
        }));
    }
    output.json(&json!({
        "download_files": state.download_files, "download_bytes": state.download_bytes,
    }));
}
