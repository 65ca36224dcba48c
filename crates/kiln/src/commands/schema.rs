//! `kiln schema`: JSON Schemas of what kiln reads and writes.

use std::{io::Write as _, path::Path};

use kiln_recipe::Schema;
use serde_json::json;

use crate::{
    args,
    error::Failure,
    exit,
    output::{Output, count},
    whole_file,
};

/// The schemas of all kinds: the family's files, the lock, and the lines of `--output json`.
fn schemas() -> Vec<Schema> {
    let output = Schema {
        kind: "output",
        files: "a line of --output json",
        text: include_str!("../../schemas/output.schema.json"),
    };
    let mut schemas = Vec::from(kiln_recipe::schemas());
    schemas.extend([kiln_lock::schema(), output]);
    schemas
}

pub(crate) fn run(args: &args::Schema, output: &Output) -> Result<(), Failure> {
    if let Some(dir) = &args.all {
        return write_all(dir, output);
    }
    let Some(kind) = &args.kind else {
        list(output);
        return Ok(());
    };
    let schemas = schemas();
    let Some(schema) = schemas.iter().find(|schema| schema.kind == kind) else {
        let kinds: Vec<_> = schemas.iter().map(|schema| schema.kind).collect();
        let message = format!("there is no schema of `{kind}`");
        return Err(
            Failure::new(exit::USAGE, message).hint(format!("the kinds are {}", kinds.join(", ")))
        );
    };
    output.line(schema.text.trim_end());
    Ok(())
}

fn list(output: &Output) {
    for Schema { kind, files, .. } in schemas() {
        if output.is_json() {
            output.json(&json!({"schema": kind, "files": files}));
        } else {
            output.line(format!("{kind:11}  {files}"));
        }
    }
}

fn write_all(dir: &Path, output: &Output) -> Result<(), Failure> {
    std::fs::create_dir_all(dir)
        .map_err(|error| Failure::io(&format!("making `{}`", dir.display()), &error))?;
    let schemas = schemas();
    for schema in &schemas {
        let path = dir.join(format!("{}.schema.json", schema.kind));
        whole_file::write(&path, |file, _| {
            file.write_all(schema.text.as_bytes())
                .map_err(|error| Failure::io(&format!("writing `{}`", path.display()), &error))
        })?;
    }
    let schemas = count(schemas.len(), "schema");
    output.note(format!("wrote {schemas} to `{}`", dir.display()));
    Ok(())
}
