//! A plan as a graph, in the languages of Graphviz and Mermaid.

use std::{collections::HashSet, fmt::Write as _};

use crate::plan::Plan;

/// The plan in DOT (Graphviz): steps as boxes, images as ellipses, an edge from each layer to
/// its image. `known` says whether a step's result is there already.
pub fn dot(plan: &Plan, known: impl Fn(usize) -> bool) -> String {
    let mut text = String::from("digraph plan {\n  rankdir=LR;\n  node [shape=box];\n");
    for (index, step) in plan.steps.iter().enumerate() {
        let style = if known(index) { ", style=filled" } else { "" };
        let _ = writeln!(text, "  s{index} [label={:?}{style}];", step.title);
    }
    for (index, image) in plan.images.iter().enumerate() {
        let _ = writeln!(text, "  i{index} [label={:?}, shape=ellipse];", image.name);
        for step in distinct(image) {
            let _ = writeln!(text, "  s{step} -> i{index};");
        }
    }
    text.push_str("}\n");
    text
}

/// The plan as a Mermaid flow chart.
pub fn mermaid(plan: &Plan, known: impl Fn(usize) -> bool) -> String {
    let mut text = String::from("graph LR\n");
    let quoted = |label: &str| label.replace('"', "#quot;");
    for (index, step) in plan.steps.iter().enumerate() {
        let class = if known(index) { ":::known" } else { "" };
        let _ = writeln!(text, "  s{index}[\"{}\"]{class}", quoted(&step.title));
    }
    for (index, image) in plan.images.iter().enumerate() {
        let _ = writeln!(text, "  i{index}([\"{}\"])", quoted(&image.name));
        for step in distinct(image) {
            let _ = writeln!(text, "  s{step} --> i{index}");
        }
    }
    text.push_str("  classDef known fill:#ddd\n");
    text
}

fn distinct(image: &crate::plan::ImagePlan) -> Vec<usize> {
    let mut seen = HashSet::new();
    image
        .layers
        .iter()
        .map(|layer| layer.step)
        .filter(|&step| seen.insert(step))
        .collect()
}
