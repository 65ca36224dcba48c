//! `kiln plan`: what a build would do, without doing it.

use std::collections::HashMap;

use kiln_plan::{ImagePlan, Origin, Plan, PlanOptions};
use kiln_recipe::Family;
use kiln_store::Store;
use serde_json::json;

use crate::{
    args::{self, Global, Graph},
    error::Failure,
    exit,
    output::{Output, bytes, count},
    project::{self, Project},
};

/// What is to be planned: what is asked for here, and what the family says.
pub(crate) fn options(args: &args::LayerOptions, family: &Family) -> Result<PlanOptions, Failure> {
    let compression = match (args.compression, args.lazy) {
        (args::Compression::Gzip, None) => kiln_plan::Compression::Gzip,
        (args::Compression::Gzip, Some(args::Lazy::Estargz)) => kiln_plan::Compression::Estargz,
        (args::Compression::Zstd, None) => kiln_plan::Compression::Zstd,
        (args::Compression::Zstd, Some(args::Lazy::Estargz)) => {
            return Err(
                Failure::new(exit::USAGE, "eStargz layers are gzip, not zstd")
                    .hint("leave out `--compression zstd` or `--lazy estargz`"),
            );
        }
    };
    Ok(PlanOptions {
        compression,
        pack_only: args.pack_only || family.pack_only,
        bytecode: family.bytecode && !args.no_bytecode,
    })
}

pub(crate) fn run(args: &args::Plan, global: &Global, output: &Output) -> Result<(), Failure> {
    for (global, selectors) in project::by_release(global, &args.selection.images)? {
        of_release(args, &selectors, &global, output)?;
    }
    Ok(())
}

/// Plans images of one release.
fn of_release(
    args: &args::Plan,
    selectors: &[String],
    global: &Global,
    output: &Output,
) -> Result<(), Failure> {
    let project = Project::open(global)?;
    let lock = project.fitting_lock()?;
    let images = project.select(&lock, selectors, args.selection.all)?;
    let plan = kiln_plan::plan(
        &project.family,
        &lock,
        &images,
        options(&args.layers, &project.family)?,
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
    /// For each step, the size of its result, when it is known.
    results: Vec<Option<u64>>,
    /// For each step, whether a build would carry it out: layers that are not known, and what
    /// they need.
    todo: Vec<bool>,
    /// For each step, the bytes that would be downloaded, but for those of the steps before.
    downloads: Vec<u64>,
    /// Files and bytes that would be downloaded, each once.
    download_files: usize,
    download_bytes: u64,
}

impl State {
    fn of(plan: &Plan, store: &Store) -> Result<Self, Failure> {
        let keys: Vec<_> = plan.steps.iter().map(|step| step.key).collect();
        let known = store.results(&keys)?;
        let results: Vec<_> = keys
            .iter()
            .map(|key| known.get(key).map(|result| result.blob().1))
            .collect();
        let todo = todo(plan, &results);
        let mut missing = HashMap::new();
        let mut downloads = Vec::with_capacity(plan.steps.len());
        for (step, todo) in plan.steps.iter().zip(&todo) {
            let mut bytes = 0;
            for input in step.inputs.iter().filter(|_| *todo) {
                let local = matches!(input.origin, Origin::Family(_) | Origin::Built(_))
                    || store.has_download(&input.sha256, input.size);
                // What several steps read is fetched once, for the first of them.
                if !local && missing.insert(input.sha256, input.size).is_none() {
                    bytes += input.size;
                }
            }
            downloads.push(bytes);
        }
        let download_bytes = missing.values().sum();
        Ok(Self {
            results,
            todo,
            downloads,
            download_files: missing.len(),
            download_bytes,
        })
    }

    fn known(&self, step: usize) -> bool {
        self.results[step].is_some()
    }
}

/// For each step, whether a build would carry it out.
fn todo(plan: &Plan, results: &[Option<u64>]) -> Vec<bool> {
    let mut todo = vec![false; plan.steps.len()];
    let layers = plan.images.iter().flat_map(|image| &image.layers);
    let mut open: Vec<_> = layers.map(|layer| layer.step).collect();
    while let Some(step) = open.pop() {
        if results[step].is_none() && !todo[step] {
            todo[step] = true;
            open.extend(&plan.steps[step].needs);
        }
    }
    todo
}

fn as_text(plan: &Plan, state: &State, output: &Output) {
    // How many of the planned images have a layer of a step.
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
            let what = match state.results[layer.step] {
                Some(size) => format!("reuse  {:>9}", bytes(size)),
                None if step.action.executes() => format!("run    {:>9}", ""),
                // Made from what other steps give.
                None if inputs == 0 => format!("pack   {:>9}", ""),
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
    totals(plan, &users, state, output);
}

fn totals(plan: &Plan, users: &[usize], state: &State, output: &Output) {
    let (layers, others): (Vec<_>, Vec<_>) =
        (0..plan.steps.len()).partition(|&step| users[step] > 0);
    let to_do = |steps: &[usize], executes| {
        let steps = steps.iter().filter(|&&step| state.todo[step]);
        steps
            .filter(|&&step| plan.steps[step].action.executes() == executes)
            .count()
    };
    let (pack, run) = (to_do(&layers, false), to_do(&layers, true));
    let reused = layers.len() - pack - run;
    let run = match run {
        0 => String::new(),
        run => format!(", {run} to run"),
    };
    let before = match to_do(&others, true) + to_do(&others, false) {
        0 => String::new(),
        steps => format!("; {} before them", count(steps, "step")),
    };
    output.line(format!(
        "{}: {reused} to reuse, {pack} to pack{run}{before}; {} to download ({})",
        count(layers.len(), "layer"),
        count(state.download_files, "file"),
        bytes(state.download_bytes),
    ));
}

fn threshold_note(image: &ImagePlan, output: &Output) {
    if image.thresholds != kiln_plan::OWN_LAYER {
        output.line(format!(
            "  note: wheels below {} and Debian packages below {} share layers here, so that the \
             image has at most {}",
            bytes(image.thresholds.wheel),
            bytes(image.thresholds.deb),
            kiln_plan::MAX_LAYERS,
        ));
    }
}

fn as_json(plan: &Plan, state: &State, output: &Output) {
    for (index, step) in plan.steps.iter().enumerate() {
        output.json(&json!({
            "step": index, "key": step.key, "title": step.title, "component": step.component,
            "known": state.known(index), "todo": state.todo[index],
            "layer_size": state.results[index],
            "input_size": step.inputs.iter().map(|input| input.size).sum::<u64>(),
            "download_size": state.downloads[index], "needs": step.needs, "action": step.action,
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
