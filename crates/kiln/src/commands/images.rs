//! `kiln images`: what the family has, and what the store has of it.

use std::collections::BTreeMap;

use serde_json::json;

use crate::{
    args::Global,
    error::Failure,
    output::{Output, bytes},
    project::{self, Project},
};

pub(crate) fn run(global: &Global, output: &Output) -> Result<(), Failure> {
    let store = project::store(global)?;
    let mut stored = BTreeMap::new();
    for entry in store.images()? {
        if let Some(image) = store.image(&entry.name)? {
            stored.insert(entry.name, image);
        }
    }
    // Outside a family the store's images are all there is to list.
    let locked = match Project::open(global) {
        Ok(project) => project
            .read_lock()?
            .map(|lock| lock.images)
            .unwrap_or_default(),
        Err(_) if global.family.is_none() => Vec::new(),
        Err(failure) => return Err(failure),
    };
    let mut rows = Vec::new();
    for image in locked {
        let built = stored.remove(&image.name);
        rows.push((image.name, Some(image.platform.to_string()), built));
    }
    rows.extend(
        stored
            .into_iter()
            .map(|(name, image)| (name, None, Some(image))),
    );
    let width = rows.iter().map(|(name, ..)| name.len()).max().unwrap_or(0);
    for (name, platform, built) in rows {
        let in_lock = platform.is_some();
        if output.is_json() {
            output.json(&json!({
                "image": name, "platform": platform, "locked": in_lock,
                "manifest": built.as_ref().map(|image| image.manifest_digest),
                "size": built.as_ref().map(kiln_oci::Image::size),
            }));
            continue;
        }
        let state = match &built {
            Some(image) => format!(
                "{}  {:>9}",
                image.manifest_digest.short(),
                bytes(image.size())
            ),
            None => "not built".to_owned(),
        };
        let note = if in_lock {
            ""
        } else {
            "  (not in this family's lock)"
        };
        output.line(format!("{name:width$}  {state}{note}"));
    }
    Ok(())
}
