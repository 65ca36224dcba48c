//! The words of every error of every crate, read from the sources, so that none is missing.

use std::{collections::BTreeMap, fmt::Write as _, fs, path::Path};

/// The words of the errors of all crates, as their sources have them: by enum and
/// variant, and by file.
pub(super) fn words() -> BTreeMap<(String, String), String> {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut words = BTreeMap::new();
    for krate in fs::read_dir(crates).unwrap() {
        let krate = krate.unwrap();
        let name = krate.file_name().into_string().unwrap();
        let root = krate.path().join("src");
        sources(&root, &mut |path, text| {
            let file = path.strip_prefix(&root).unwrap().display().to_string();
            words_of(&name, &file, text, &mut words);
        });
    }
    words
}

fn sources(directory: &Path, visit: &mut impl FnMut(&Path, &str)) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, visit);
        } else if path.extension().is_some_and(|it| it == "rs") {
            visit(&path, &fs::read_to_string(&path).unwrap());
        }
    }
}

/// Reads what rustfmt has laid out: attributes above items, variants indented by four.
fn words_of(krate: &str, file: &str, text: &str, words: &mut BTreeMap<(String, String), String>) {
    let derived = text.split("\n#[derive(").skip(1);
    for item in derived.filter(|item| item.lines().next().unwrap().contains("thiserror::Error")) {
        let (head, body) = item.split_once("{\n").unwrap_or((item, ""));
        let body = body.split("\n}").next().unwrap();
        let declared = |word: &str| {
            let (_, name) = head.split_once(word)?;
            name.split(|c: char| !c.is_alphanumeric()).next()
        };
        if let Some(name) = declared("enum ") {
            for part in body.split("#[error(").skip(1) {
                let (said, rest) = part.split_once(")]\n").unwrap();
                let mut lines = rest
                    .lines()
                    .map(|line| line.strip_prefix("    ").unwrap_or(line));
                let variant = lines
                    .find(|line| line.starts_with(char::is_uppercase))
                    .unwrap();
                let variant = variant
                    .split(|c: char| !c.is_alphanumeric())
                    .next()
                    .unwrap();
                let name = format!("{krate} {name} {variant}");
                words.insert((name, file.to_owned()), squeezed(said));
            }
        } else {
            let name = declared("struct ").unwrap();
            let (_, part) = head.split_once("#[error(").unwrap();
            let (said, _) = part.split_once(")]\n").unwrap();
            let name = format!("{krate} {name}");
            words.insert((name, file.to_owned()), squeezed(said));
        }
    }
}

/// A text on one line, as the compiler reads a string that goes on in the next.
fn squeezed(text: &str) -> String {
    let lines = text.lines().map(str::trim).collect::<Vec<_>>().join(" ");
    lines.replace("\\ ", "").trim_matches([' ', ',']).to_owned()
}

#[test]
fn the_words_of_all_errors() {
    let mut list = String::new();
    for ((name, file), words) in words() {
        writeln!(list, "{name} ({file}): {words}").unwrap();
    }
    insta::assert_snapshot!(list);
}
