//! `kiln store`: looking after the store.

use kiln_store::{GcOptions, Wrong};
use serde_json::json;

use crate::{
    args::{Global, Store},
    error::Failure,
    exit,
    output::{Output, bytes, count},
    project::{self, Project},
};

pub(crate) fn run(args: &Store, global: &Global, output: &Output) -> Result<(), Failure> {
    let mut store = project::store(global)?;
    match args {
        Store::Path => output.line(store.root().display().to_string()),
        Store::Verify => verify(&mut store, output)?,
        Store::Gc { dry_run } => gc(&mut store, global, *dry_run, output)?,
    }
    Ok(())
}

fn verify(store: &mut kiln_store::Store, output: &Output) -> Result<(), Failure> {
    let report = store.verify(&mut |_| {}, &mut |_| output.note(WAITING))?;
    let wrong: Vec<_> = report
        .wrong
        .iter()
        .map(|wrong| match wrong {
            Wrong::Blob(digest) => format!("blob {digest}"),
            Wrong::Download(digest) => format!("download {digest}"),
            Wrong::Stray(path) => format!("stray file {}", path.display()),
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
    if let Some(lock) = Project::open(global)
        .ok()
        .map(|it| it.read_lock())
        .transpose()?
        .flatten()
    {
        options
            .downloads
            .extend(lock.debs.iter().map(|deb| deb.sha256));
        options
            .downloads
            .extend(lock.wheels.iter().map(|wheel| wheel.sha256));
    }
    let report = store.gc(&options, &mut |_| output.note(WAITING))?;
    let size = report.removed.iter().map(|removed| removed.size).sum();
    if output.is_json() {
        let files: Vec<_> = report.removed.iter().map(|removed| &removed.file).collect();
        output.json(&json!({"removed": files, "bytes": size, "dry_run": dry_run}));
    } else {
        let verb = if dry_run { "would remove" } else { "removed" };
        output.line(format!(
            "{verb} {} ({})",
            count(report.removed.len(), "file"),
            bytes(size)
        ));
    }
    Ok(())
}

const WAITING: &str = "waiting for other processes that use the store";
