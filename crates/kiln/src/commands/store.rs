//! `kiln store`: looking after the store.

use std::{collections::BTreeSet, path::Path};

use kiln_lock::Lock;
use kiln_plan::{Compression, PlanOptions};
use kiln_store::{GcOptions, Wrong};
use serde_json::json;

use crate::{
    args::{Global, Store},
    error::Failure,
    exit,
    output::{Output, bytes, count},
    project::{self, Project},
    sandbox, stored,
};

pub(crate) fn run(args: &Store, global: &Global, output: &Output) -> Result<(), Failure> {
    let mut store = project::store(global)?;
    match args {
        Store::Path if output.is_json() => output.json(&json!({"store": store.root()})),
        Store::Path => output.line(store.root().display().to_string()),
        Store::Rm { images } => remove(&store, global, images, output)?,
        Store::Verify => verify(&mut store, output)?,
        Store::Gc { dry_run } => gc(&mut store, global, *dry_run, output)?,
    }
    Ok(())
}

/// Takes names away. What they named stays until it is collected.
fn remove(
    store: &kiln_store::Store,
    global: &Global,
    selectors: &[String],
    output: &Output,
) -> Result<(), Failure> {
    let names = stored::names(store, global, selectors)?;
    for name in &names {
        store.remove(name)?;
        if !output.is_json() {
            output.line(name);
        }
    }
    if output.is_json() {
        output.json(&json!({"removed_images": names}));
    } else {
        output.note("`kiln store gc` frees what only they needed");
    }
    Ok(())
}

fn verify(store: &mut kiln_store::Store, output: &Output) -> Result<(), Failure> {
    let report = store.verify(&mut |_| {}, &mut |_| output.note(WAITING))?;
    drop_unpacked(store, output)?;
    let wrong: Vec<_> = report
        .wrong
        .iter()
        .map(|wrong| match wrong {
            Wrong::Blob(digest) => format!("blob {digest}"),
            Wrong::Download(digest) => format!("download {digest}"),
            Wrong::Stray(path) => format!("stray file {}", path.display()),
            Wrong::Layout(path) => format!("content of {}", path.display()),
        })
        .collect();
    if output.is_json() {
        output.json(&json!({
            "checked": report.checked, "bytes": report.bytes, "removed": wrong,
            "broken_images": report.broken_images,
        }));
    } else {
        let checked = usize::try_from(report.checked).unwrap_or(usize::MAX);
        output.line(format!(
            "{} checked ({})",
            count(checked, "file"),
            bytes(report.bytes)
        ));
        for name in &wrong {
            output.line(format!("corrupt, removed: {name}"));
        }
        for name in &report.broken_images {
            output.line(format!("lacks blobs: {name}"));
        }
    }
    if report.is_clean() {
        return Ok(());
    }
    Err(Failure::new(exit::INTEGRITY, "the store was damaged")
        .hint("what was corrupt is removed; `kiln build` makes or fetches it again"))
}

/// Removes unpacked layers, which cannot be compared with anything as cheaply as they are unpacked
/// again. Nobody waits for that.
fn drop_unpacked(store: &mut kiln_store::Store, output: &Output) -> Result<(), Failure> {
    if is_filled(&store.rootfs_dir()) {
        match store.alone_now(|store| {
            Ok::<_, Failure>(sandbox::open(&store.rootfs_dir())?.clear_layers()?)
        })? {
            Some(cleared) => cleared?,
            None => output.note("unpacked layers are in use, and were not looked at"),
        }
    }
    Ok(())
}

fn gc(
    store: &mut kiln_store::Store,
    global: &Global,
    dry_run: bool,
    output: &Output,
) -> Result<(), Failure> {
    let mut options = GcOptions {
        dry_run,
        ..GcOptions::default()
    };
    // Outside a family no lock keeps anything.
    if let Ok(project) = Project::open(global)
        && let Some(lock) = project.read_lock()?
    {
        keep(&project, &lock, &mut options);
    }
    let report = store.gc(&options, &mut |_| output.note(WAITING))?;
    let unpacked = is_filled(&store.rootfs_dir());
    if unpacked && !dry_run {
        store.alone(&mut |_| output.note(WAITING), |store| {
            sandbox::open(&store.rootfs_dir())?.clear()?;
            for (key, _) in store.failed()? {
                store.forget_failed(&key)?;
            }
            Ok::<_, Failure>(())
        })??;
    }
    let size = report.removed.iter().map(|removed| removed.size).sum();
    if output.is_json() {
        let files: Vec<_> = report.removed.iter().map(|removed| &removed.file).collect();
        output.json(&json!({
            "removed": files, "bytes": size, "unpacked": unpacked, "dry_run": dry_run,
        }));
    } else {
        let verb = if dry_run { "would remove" } else { "removed" };
        let unpacked = if unpacked {
            ", and the sandbox's unpacked layers"
        } else {
            ""
        };
        output.line(format!(
            "{verb} {} ({}){unpacked}",
            count(report.removed.len(), "file"),
            bytes(size)
        ));
    }
    Ok(())
}

/// Keeps what the images of a lock are made from, and results that are no layers: few bytes that
/// took long.
fn keep(project: &Project, lock: &Lock, options: &mut GcOptions) {
    let debs = lock.debs.iter().map(|deb| deb.sha256);
    let wheels = lock.wheels.iter().map(|wheel| wheel.sha256);
    options.downloads.extend(debs.chain(wheels));
    let images: Vec<_> = lock.images.iter().collect();
    for compression in [Compression::Gzip, Compression::Zstd, Compression::Estargz] {
        let plan_options = PlanOptions {
            compression,
            ..PlanOptions::default()
        };
        // A lock that does not fit the family has no plan.
        let Ok(plan) = kiln_plan::plan(&project.family, lock, &images, plan_options) else {
            return;
        };
        let layers = plan.images.iter().flat_map(|image| &image.layers);
        let layers: BTreeSet<_> = layers.map(|layer| layer.step).collect();
        for (index, step) in plan.steps.iter().enumerate() {
            let inputs = step.inputs.iter().map(|input| input.sha256);
            options.downloads.extend(inputs);
            if !layers.contains(&index) {
                options.keys.insert(step.key);
            }
        }
    }
}

/// Whether a directory is there and holds anything.
pub(crate) fn is_filled(directory: &Path) -> bool {
    std::fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_some())
}

const WAITING: &str = "waiting for other processes that use the store";
