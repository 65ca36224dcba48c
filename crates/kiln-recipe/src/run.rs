//! `[[run]]`: commands of the family, and the artifacts that they read.

use kiln_digest::Digest;

use crate::{
    component::{Context, normal_path, variable},
    error::suggest,
    model::{Artifact, ArtifactOrigin, RunCommand, RunUser},
    parts::source_name,
    placed::{Found, find},
    reader::{Table, Text},
    source::Spot,
};

/// Where a sandbox has something of its own.
const TAKEN: [&str; 4] = ["/dev", "/proc", "/run", "/sys"];

/// Reads the tables. Gives where each variable of each command stands.
pub(crate) fn read(
    table: &mut Table<'_>,
    dir: &str,
    context: &Context<'_>,
    runs: &mut Vec<RunCommand>,
) -> Vec<Vec<Spot>> {
    let mut spots = Vec::new();
    for mut table in table.tables("run") {
        let at = table.source.spot(&table.span()).at;
        let command = command(&mut table);
        let user = table
            .text("user")
            .map_or(RunUser::Image, |text| user(&text));
        let mut env = Vec::new();
        let mut places = Vec::new();
        for (name, value) in table.pairs("env") {
            if variable(&name) {
                places.push(value.source.spot(&value.span));
                env.push((name.value, value.value));
            }
        }
        let artifacts = artifacts(&mut table, dir, context);
        table.finish();
        spots.push(places);
        runs.push(RunCommand {
            command,
            user,
            env,
            artifacts,
            at,
        });
    }
    spots
}

fn command(table: &mut Table<'_>) -> Vec<String> {
    const HINT: &str =
        "a list such as `[\"/bin/sh\", \"-ec\", \"…\"]`, the program with its whole path";
    let words = table.scripts("command");
    match words.as_deref().map(<[Text<'_>]>::first) {
        // Of another type, which has been reported.
        None if table.has("command") => {}
        None => table.error("missing `command` in `[[run]]`", Some(HINT.to_owned())),
        Some(None) => table.error("the `command` of `[[run]]` is empty", Some(HINT.to_owned())),
        Some(Some(program)) => {
            if let Err(why) = normal_path(&program.value) {
                program.error(
                    format!("the program `{}` {why}", program.value),
                    Some(HINT.to_owned()),
                );
            }
        }
    }
    words.into_iter().flatten().map(|word| word.value).collect()
}

fn user(text: &Text<'_>) -> RunUser {
    match text.value.as_str() {
        "root" => RunUser::Root,
        "image" => RunUser::Image,
        other => {
            let hint = suggest(other, "users", ["root", "image"]);
            text.error(format!("`{other}` is not who can run a command"), hint);
            RunUser::Image
        }
    }
}

fn artifacts(table: &mut Table<'_>, dir: &str, context: &Context<'_>) -> Vec<Artifact> {
    let mut artifacts: Vec<Artifact> = Vec::new();
    for mut table in table.tables("artifact") {
        let to = table.required("to").and_then(destination);
        let found = if table.has("file") {
            family_file(&mut table, dir, context)
        } else {
            source_file(&mut table)
        };
        table.finish();
        let (Some(to), Some((sha256, size, origin))) = (to, found) else {
            continue;
        };
        let clash = artifacts
            .iter()
            .find(|it| contains(&it.to, &to.value) || contains(&to.value, &it.to));
        if let Some(other) = clash {
            to.error(
                format!(
                    "another artifact of this command is mounted at `{}`",
                    other.to
                ),
                Some("give each a path of its own, none below another".to_owned()),
            );
            continue;
        }
        artifacts.push(Artifact {
            to: to.value,
            sha256,
            size,
            origin,
        });
    }
    artifacts.sort_by(|a, b| a.to.cmp(&b.to));
    artifacts
}

/// Whether `path` is `dir` or below it.
fn contains(dir: &str, path: &str) -> bool {
    path.strip_prefix(dir)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn destination(to: Text<'_>) -> Option<Text<'_>> {
    if let Err(why) = normal_path(&to.value) {
        let hint = "a path such as `/mnt/model.tar.gz`".to_owned();
        to.error(format!("`{}` {why}", to.value), Some(hint));
        return None;
    }
    if let Some(taken) = TAKEN.iter().find(|dir| contains(dir, &to.value)) {
        to.error(
            format!("nothing can be mounted below `{taken}`"),
            Some("a path such as `/mnt/model.tar.gz`".to_owned()),
        );
        return None;
    }
    Some(to)
}

type Content = (Digest, u64, ArtifactOrigin);

fn family_file(table: &mut Table<'_>, dir: &str, context: &Context<'_>) -> Option<Content> {
    let file = table.required("file");
    for key in ["source", "path", "sha256", "size"] {
        if let Some(span) = table.take_span(key) {
            table.source.error(
                &span,
                format!("an artifact that is a `file` of the family has no `{key}`"),
                Some("`file` alone, or `source`, `path`, `sha256` and `size`".to_owned()),
            );
        }
    }
    let file = file?;
    match find(&file, dir, context.files)? {
        Found::File(path) => {
            let bytes = &context.files.files[&path];
            let origin = ArtifactOrigin::Family(context.files.place(&path).to_owned());
            Some((Digest::of(bytes), bytes.len() as u64, origin))
        }
        Found::Directory(_) => {
            file.error(
                format!("`{}` is a directory", file.value),
                Some("an artifact is one file: make an archive of the directory".to_owned()),
            );
            None
        }
    }
}

fn source_file(table: &mut Table<'_>) -> Option<Content> {
    // Asked for, so that it is known as a key.
    table.take_span("file");
    let keys = ["source", "path", "sha256", "size"];
    if !keys.iter().any(|key| table.has(key)) {
        for key in keys {
            table.take_span(key);
        }
        table.error(
            "the artifact says nothing of where it comes from",
            Some(
                "`file` for one of the family, or `source`, `path`, `sha256` and `size`".to_owned(),
            ),
        );
        return None;
    }
    let source = table.required("source").and_then(|text| source_name(&text));
    let path = table.required("path").and_then(|text| {
        let fine = !text.value.contains('\\')
            && text
                .value
                .split('/')
                .all(|part| !matches!(part, "" | "." | ".."));
        if !fine {
            text.error(
                format!("`{}` is not a path below a source's address", text.value),
                Some("relative and in one spelling, such as `models/a.tar.gz`".to_owned()),
            );
        }
        fine.then_some(text.value)
    });
    let sha256 = table.required("sha256").and_then(|text| {
        let digest = Digest::from_hex(&text.value).ok();
        if digest.is_none() {
            text.error(
                format!("`{}` is not a SHA-256", text.value),
                Some("64 hexadecimal digits, as `sha256sum FILE` prints them".to_owned()),
            );
        }
        digest
    });
    let size = table.size("size");
    let (source, path) = (source?, path?);
    Some((sha256?, size?, ArtifactOrigin::Source { source, path }))
}
