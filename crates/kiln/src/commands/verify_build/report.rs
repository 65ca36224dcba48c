//! What is said of images that were compared.

use kiln_build::{ImageComparison, LayerComparison, Verdict};
use kiln_digest::Digest;
use kiln_layer::{Aspect, PathDifference};
use kiln_oci::{Image, Platform, SavedImage};
use kiln_plan::Step;
use serde_json::{Value, json};

use crate::output::{Output, bytes, count};

/// How many paths of a layer are shown, unless the user wants to know more.
const PATHS: usize = 10;

/// An image and what rebuilding it gave.
pub(super) struct Pair<'a> {
    pub(super) name: &'a str,
    pub(super) image: &'a SavedImage,
    pub(super) rebuilt: &'a Image,
}

/// Says whether an image has the digest; gives the same.
pub(super) fn digest(
    name: &str,
    expected: &Digest,
    rebuilt: Option<&Digest>,
    output: &Output,
) -> bool {
    let same = rebuilt == Some(expected);
    if output.is_json() {
        output.json(&json!({
            "event": "compared", "image": name, "same": same,
            "manifest": expected, "rebuilt_manifest": rebuilt,
        }));
    } else if same {
        output.line(format!("{name}\n  same      {expected}"));
    } else {
        let rebuilt = rebuilt.map_or_else(|| "nothing".to_owned(), ToString::to_string);
        output.line(format!(
            "{name}\n  differs   {expected} was given\n            {rebuilt} is rebuilt"
        ));
    }
    same
}

/// Says that there is nothing to compare with.
pub(super) fn missing(name: &str, platform: &Platform, output: &Output) {
    if output.is_json() {
        output.json(&json!({
            "event": "compared", "image": name, "platform": platform.to_string(), "same": false,
            "manifest": null,
        }));
    } else {
        output.line(format!("{name}\n  missing   {platform}"));
    }
}

/// Says how an image and the rebuilt one compare; `steps` made the layers of the latter.
pub(super) fn image(
    pair: &Pair<'_>,
    comparison: &ImageComparison,
    steps: &[&Step],
    output: &Output,
) {
    if output.is_json() {
        output.json(&as_json(pair, comparison, steps));
        return;
    }
    let (image, rebuilt) = (pair.image, pair.rebuilt);
    output.line(pair.name);
    output.line(format!("  platform  {}", rebuilt.platform));
    for (what, found, rebuilt) in [
        ("manifest", image.manifest_digest, rebuilt.manifest_digest),
        ("config", image.config_digest, rebuilt.config_digest),
    ] {
        if found == rebuilt {
            output.line(format!("  {what:<9} same: {found}"));
        } else {
            output.line(format!("  {what:<9} differs: {found}"));
            output.line(format!("            rebuilt: {rebuilt}"));
        }
    }
    for place in &comparison.documents {
        output.line(format!("    {place}"));
    }
    let differing: Vec<_> = comparison
        .layers
        .iter()
        .filter(|layer| !matches!(layer.verdict, Verdict::Same))
        .collect();
    output.line(format!(
        "  layers    {} of {} same",
        comparison.layers.len() - differing.len(),
        comparison.layers.len()
    ));
    if output.verbosity > 0 {
        for layer in &comparison.layers {
            output.line(format!("    {}: {}", place(layer), verdict(layer)));
        }
    }
    for layer in differing {
        differing_layer(layer, steps, output);
    }
}

fn differing_layer(layer: &LayerComparison, steps: &[&Step], output: &Output) {
    output.line(format!("  {} {}", place(layer), verdict(layer)));
    if let Some((_, saved)) = &layer.saved {
        output.line(format!("    here      {}", saved.digest));
    }
    if let Some((position, rebuilt)) = &layer.rebuilt {
        output.line(format!("    rebuilt   {}", rebuilt.digest));
        if let Some(step) = steps.get(*position) {
            let key = step.key.short();
            output.line(format!("    made by   {} (action {key})", step.title));
        }
    }
    if let Verdict::Differs { paths, .. } = &layer.verdict {
        let shown = if output.verbosity > 0 {
            paths.len()
        } else {
            PATHS.min(paths.len())
        };
        for difference in &paths[..shown] {
            let aspects: Vec<_> = difference.aspects.iter().map(aspect).collect();
            output.line(format!("    /{}: {}", difference.path, aspects.join("; ")));
        }
        if shown < paths.len() {
            let more = count(paths.len() - shown, "more path");
            output.line(format!("    … {more}; `-v` shows all"));
        }
    }
}

/// Which layer, counted from 1 as people do.
fn place(layer: &LayerComparison) -> String {
    let number = |position: usize| format!("layer {}", position + 1);
    match (&layer.saved, &layer.rebuilt) {
        (Some((first, _)), Some((second, _))) if first != second => {
            format!("{} (rebuilt {})", number(*first), second + 1)
        }
        (Some((position, _)), _) => number(*position),
        (None, Some((position, _))) => format!("rebuilt {}", number(*position)),
        (None, None) => String::new(),
    }
}

fn verdict(layer: &LayerComparison) -> String {
    match &layer.verdict {
        Verdict::Same => "is the same".to_owned(),
        Verdict::Alone if layer.saved.is_some() => "is not in the rebuilt image".to_owned(),
        Verdict::Alone => "is not in the image".to_owned(),
        Verdict::Unreadable(why) => format!("cannot be read: {why}"),
        Verdict::Differs {
            found,
            same_content,
            paths,
        } => {
            let named = layer.saved.as_ref().map(|(_, saved)| saved.digest);
            let damaged = if named == Some(*found) {
                ""
            } else {
                " (and its content is not what its digest says)"
            };
            let how = match paths.len() {
                _ if *same_content => "is the same tar stream, compressed otherwise".to_owned(),
                0 => "has the same paths, in another order or with other headers".to_owned(),
                paths => format!("differs in {}", count(paths, "path")),
            };
            how + damaged
        }
    }
}

/// In what a path differs: what is here, then what is rebuilt.
fn aspect(aspect: &Aspect) -> String {
    match aspect {
        Aspect::OnlyInFirst => "only here".to_owned(),
        Aspect::OnlyInSecond => "only in the rebuilt layer".to_owned(),
        Aspect::Kind(here, rebuilt) => format!("{here}, rebuilt a {rebuilt}"),
        Aspect::Content { sizes: (a, b) } if a == b => format!("content ({})", bytes(*a)),
        Aspect::Content { sizes: (a, b) } => {
            format!("content ({}, rebuilt {})", bytes(*a), bytes(*b))
        }
        Aspect::Target(here, rebuilt) => format!(
            "target `{}`, rebuilt `{}`",
            String::from_utf8_lossy(here),
            String::from_utf8_lossy(rebuilt)
        ),
        Aspect::Mode(here, rebuilt) => format!("mode {here:04o}, rebuilt {rebuilt:04o}"),
        Aspect::Owner(here, rebuilt) => {
            format!(
                "owner {}:{}, rebuilt {}:{}",
                here.0, here.1, rebuilt.0, rebuilt.1
            )
        }
        Aspect::Time(here, rebuilt) => format!("time {here}, rebuilt {rebuilt}"),
        Aspect::Capability => "capability".to_owned(),
    }
}

fn as_json(pair: &Pair<'_>, comparison: &ImageComparison, steps: &[&Step]) -> Value {
    let layers = comparison.layers.iter().map(|layer| {
        let step = layer
            .rebuilt
            .as_ref()
            .and_then(|(position, _)| steps.get(*position));
        let (found, paths) = match &layer.verdict {
            Verdict::Differs { found, paths, .. } => (Some(found), paths.as_slice()),
            _ => (None, &[][..]),
        };
        json!({
            "same": matches!(layer.verdict, Verdict::Same),
            "verdict": verdict(layer),
            "digest": layer.saved.as_ref().map(|(_, saved)| saved.digest),
            "found": found,
            "rebuilt": layer.rebuilt.as_ref().map(|(_, rebuilt)| rebuilt.digest),
            "action": step.map(|step| step.key),
            "title": step.map(|step| &step.title),
            "paths": paths.iter().map(path_as_json).collect::<Vec<_>>(),
        })
    });
    json!({
        "event": "compared", "image": pair.name, "platform": pair.rebuilt.platform.to_string(),
        "same": comparison.same,
        "manifest": pair.image.manifest_digest,
        "rebuilt_manifest": pair.rebuilt.manifest_digest,
        "config": pair.image.config_digest,
        "rebuilt_config": pair.rebuilt.config_digest,
        "documents": comparison.documents,
        "layers": layers.collect::<Vec<_>>(),
    })
}

fn path_as_json(difference: &PathDifference) -> Value {
    let what: Vec<_> = difference.aspects.iter().map(aspect).collect();
    json!({"path": format!("/{}", difference.path), "what": what})
}
