//! `[[file]]`: files and directories of the family that go into images.

use std::collections::BTreeMap;

use kiln_digest::Digest;

use crate::{
    component::{Context, normal_path},
    error::nearest,
    files::FamilyFiles,
    model::{PlacedFile, User},
    reader::{Table, Text},
    source::Spot,
};

/// What one `[[file]]` says of all files that it places.
struct Rule {
    mode: Option<u32>,
    owner: Option<(u32, u32)>,
    spot: Spot,
}

/// Reads the tables. Gives where each destination stands.
pub(crate) fn read(
    table: &mut Table<'_>,
    dir: &str,
    context: &Context<'_>,
    files: &mut Vec<PlacedFile>,
) -> BTreeMap<String, Spot> {
    let mut spots: BTreeMap<String, Spot> = BTreeMap::new();
    for mut table in table.tables("file") {
        let source = table.required("source");
        let to = table.required("to");
        let (said_mode, said_owner) = (table.text("mode"), table.text("owner"));
        let mode = said_mode.as_ref().and_then(mode);
        let owner = said_owner
            .as_ref()
            .and_then(|text| owner(text, context.user));
        table.finish();
        let (Some(source), Some(to)) = (source, to) else {
            continue;
        };
        let Some(found) = find(&source, dir, context.files) else {
            continue;
        };
        let whole_root = to.value == "/" && matches!(found, Found::Directory(_));
        if let (false, Err(why)) = (whole_root, normal_path(&to.value)) {
            to.error(
                format!("`{}` {why}", to.value),
                Some("a destination such as `/opt/app-root/bin/start.sh`".to_owned()),
            );
            continue;
        }
        let rule = Rule {
            mode,
            owner,
            spot: to.source.spot(&to.span),
        };
        for (path, to_path) in found.destinations(&source, &to.value, context.files) {
            let at = rule.spot.clone();
            if let Some(first) = spots.insert(to_path.clone(), at) {
                to.error(
                    format!("two files go to `{to_path}`"),
                    Some(format!("the other stands in line {}", first.at.line)),
                );
                continue;
            }
            let is_file = matches!(found, Found::File(_));
            files.push(rule.placed(path, to_path, is_file, context));
        }
    }
    files.sort_by(|a, b| a.to.cmp(&b.to));
    spots
}

impl Rule {
    fn placed(&self, path: &str, to: String, alone: bool, context: &Context<'_>) -> PlacedFile {
        let bytes = &context.files.files[path];
        // The mode of a single file is said where it is placed, or it is the usual one; in a
        // directory of many the executable bit tells programs apart, as version control keeps it.
        let executable = !alone && context.files.executables.contains(path);
        let usual = if executable { 0o755 } else { 0o644 };
        PlacedFile {
            source: context.files.place(path).to_owned(),
            mode: self.mode.unwrap_or(usual),
            owner: self
                .owner
                .unwrap_or_else(|| default_owner(&to, context.user)),
            sha256: Digest::of(bytes),
            size: bytes.len() as u64,
            at: self.spot.at.clone(),
            to,
        }
    }
}

/// What stands at a path below the family's directory.
pub(crate) enum Found {
    /// A file: its path.
    File(String),
    /// A directory: its path with `/` at the end.
    Directory(String),
}

impl Found {
    /// The files, each with its destination; an error has been reported for those left out.
    fn destinations<'f>(
        &self,
        source: &Text<'_>,
        to: &str,
        files: &'f FamilyFiles,
    ) -> Vec<(&'f str, String)> {
        let prefix = match self {
            Self::File(path) => {
                let key = files.files.get_key_value(path);
                return key
                    .map(|(path, _)| (path.as_str(), to.to_owned()))
                    .into_iter()
                    .collect();
            }
            Self::Directory(prefix) => prefix,
        };
        let to = to.trim_end_matches('/');
        let mut found = Vec::new();
        for (path, rest) in below(files, prefix) {
            if files.links.contains(path) {
                source.error(
                    format!("`{path}` is a symbolic link, and a directory of links could be meant either way"),
                    Some("put a copy of the file there, or place it by a `[[file]]` of its own".to_owned()),
                );
            } else if rest.chars().any(char::is_control) {
                source.error(
                    format!(
                        "the name of `{}` holds a control character",
                        path.escape_debug()
                    ),
                    None,
                );
            } else {
                found.push((path, format!("{to}/{rest}")));
            }
        }
        found
    }
}

/// The files below a directory, each with what follows the prefix.
fn below<'f>(files: &'f FamilyFiles, prefix: &str) -> impl Iterator<Item = (&'f str, &'f str)> {
    let from = files.files.range(prefix.to_owned()..);
    from.map_while(move |(path, _)| Some((path.as_str(), path.strip_prefix(prefix)?)))
}

/// What a component's `source` names; an error has been reported where there is nothing.
pub(crate) fn find(source: &Text<'_>, dir: &str, files: &FamilyFiles) -> Option<Found> {
    let path = format!("{dir}/{}", source.value);
    if files.files.contains_key(&path) {
        return Some(Found::File(path));
    }
    let directory = format!("{}/", path.trim_end_matches('/'));
    if directory.len() > dir.len() + 1 && below(files, &directory).next().is_some() {
        return Some(Found::Directory(directory));
    }
    let prefix = format!("{dir}/");
    let known: Vec<_> = below(files, &prefix).map(|(_, name)| name).collect();
    let hint = nearest(&source.value, known).map(|near| format!("did you mean `{near}`?"));
    source.error(
        format!("no file or directory `{}` in `{dir}`", source.value),
        hint,
    );
    None
}

/// The family's user owns its Python tree and its home; root owns the rest.
fn default_owner(path: &str, user: &User) -> (u32, u32) {
    let below = |dir: &str| {
        path.strip_prefix(dir)
            .is_some_and(|rest| rest.starts_with('/'))
    };
    if below(&user.prefix) || below(&user.home) {
        (user.uid, user.gid)
    } else {
        (0, 0)
    }
}

fn mode(text: &Text<'_>) -> Option<u32> {
    let digits =
        matches!(text.value.len(), 3 | 4) && text.value.bytes().all(|c| c.is_ascii_digit());
    let mode = u32::from_str_radix(&text.value, 8)
        .ok()
        .filter(|mode| digits && *mode <= 0o777);
    if mode.is_none() {
        text.error(
            format!("`{}` is not a mode", text.value),
            Some("permission bits in octal, such as `0644` or `0755`".to_owned()),
        );
    }
    mode
}

fn owner(text: &Text<'_>, user: &User) -> Option<(u32, u32)> {
    let owner = match text.value.as_str() {
        "root" => Some((0, 0)),
        "user" => Some((user.uid, user.gid)),
        value => value
            .split_once(':')
            .and_then(|(uid, gid)| Some((uid.parse().ok()?, gid.parse().ok()?))),
    };
    if owner.is_none() {
        text.error(
            format!("`{}` is not an owner", text.value),
            Some(
                "`root`, `user` (the family's), or numbers of user and group, such as `1001:0`"
                    .to_owned(),
            ),
        );
    }
    owner
}
