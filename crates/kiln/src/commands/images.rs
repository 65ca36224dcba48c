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
        for image in store.images_of(&entry.name)? {
            stored.insert((entry.name.clone(), image.platform.to_string()), image);
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
        let key = (image.name, image.platform.to_string());
        let built = stored.remove(&key);
        rows.push((key.0, key.1, true, built));
    }
    rows.extend(
        stored
            .into_iter()
            .map(|((name, platform), image)| (name, platform, false, Some(image))),
    );
    let one_platform = rows.windows(2).all(|pair| pair[0].1 == pair[1].1);
    let width = rows.iter().map(|(name, ..)| name.len()).max().unwrap_or(0);
    for (name, platform, in_lock, built) in rows {
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
        let platform = if one_platform {
            String::new()
        } else {
            format!("  {platform}")
        };
        output.line(format!("{name:width$}{platform}  {state}{note}"));
    }
    Ok(())
}
