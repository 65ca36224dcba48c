//! Requirements of components: Python's (PEP 508) and Debian's.

use std::{ops::Range, str::FromStr};

use crate::{
    model::{OsPackage, Requirement},
    reader::Text,
};

/// The longest requirement or marker; real ones have some hundred bytes.
const MAX_LENGTH: usize = 16 << 10;
/// The most parentheses in parentheses. Real markers have twelve.
const MAX_DEPTH: usize = 50;
/// The most extras that a marker with `and` and `or` names.
const MAX_EXTRAS: usize = 20;

/// Whether a requirement or marker (PEP 508) can be read within bounds. `pep508_rs` recurses at
/// each parenthesis, and makes a decision diagram, which may double with every two extras.
pub fn is_bounded(text: &str) -> bool {
    let mut depth: usize = 0;
    for byte in text.bytes() {
        match byte {
            b'(' => depth += 1,
            b')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return false;
        }
    }
    let words = || text.split(|letter: char| !letter.is_ascii_alphanumeric());
    let count = |wanted| words().filter(|word| *word == wanted).count();
    let can_double = count("and") > 0 && count("or") > 0;
    text.len() <= MAX_LENGTH && !(can_double && count("extra") > MAX_EXTRAS)
}

/// Reads a Python requirement (PEP 508). URLs are refused: what a lock names comes from a source.
pub(crate) fn python(text: &Text<'_>) -> Option<Requirement> {
    if let Some(span) = name_with_bad_end(&text.value) {
        let name = &text.value[span.clone()];
        let message =
            format!("`{name}` does not end with a letter or digit, as names do (PEP 508)");
        text.error_within(span, message, None);
        return None;
    }
    if !is_bounded(&text.value) {
        text.error("the requirement is too long or too deeply nested", None);
        return None;
    }
    let parsed = match pep508_rs::Requirement::from_str(&text.value) {
        Ok(parsed) => parsed,
        Err(error) => {
            let span = error.start..error.start.saturating_add(error.len);
            let message = error.message.to_string();
            let message = message.split('\n').next().unwrap_or_default();
            let hint = text.value.starts_with('-').then(|| {
                "options of pip have no place here: write each requirement as `name~=1.2`".into()
            });
            text.error_within(
                span,
                format!(
                    "`{}` is not a requirement (PEP 508): {}",
                    text.value,
                    fragment(message)
                ),
                hint,
            );
            return None;
        }
    };
    if let Some(pep508_rs::VersionOrUrl::Url(_)) = &parsed.version_or_url {
        text.error(
            format!("`{}` is required by URL", parsed.name),
            Some(format!(
                "name a version, `{0}~=1.2`, and put the wheel on the Python index that is used",
                parsed.name
            )),
        );
        return None;
    }
    Some(Requirement {
        text: text.value.clone(),
        parsed,
        at: text.source.spot(&text.span).at,
    })
}

/// The first name of a requirement's project or extras that ends with a separator. The parser
/// (`pep508_rs` 0.9) panics on those that are followed by anything.
fn name_with_bad_end(requirement: &str) -> Option<Range<usize>> {
    let of_name = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let end = requirement
        .find(|c: char| !of_name(c) && !"[],".contains(c) && !c.is_whitespace())
        .unwrap_or(requirement.len());
    let mut start = 0;
    for word in requirement[..end].split_inclusive(|c| !of_name(c)) {
        let name = word.trim_end_matches(|c| !of_name(c));
        let of_project = name.starts_with(|c: char| c.is_ascii_alphanumeric());
        if of_project && name.ends_with(['-', '_', '.']) {
            return Some(start..start + name.len());
        }
        start += word.len();
    }
    None
}

/// The first sentence of another library's message, as a fragment that fits after a colon.
fn fragment(message: &str) -> String {
    let sentence = message
        .trim()
        .split(". ")
        .next()
        .unwrap_or_default()
        .trim_end_matches('.');
    let mut chars = sentence.chars();
    match (chars.next(), chars.clone().next()) {
        (Some(first), Some(second)) if second.is_lowercase() => {
            first.to_lowercase().chain(chars).collect()
        }
        _ => sentence.to_owned(),
    }
}

/// Reads an OS package as Debian writes a dependency (Debian Policy 7.1): `libodbc2` or
/// `libodbc2 (>= 2.3)`.
pub(crate) fn os_package(text: &Text<'_>) -> Option<OsPackage> {
    let value = text.value.trim();
    let (name, rest) = match value.find(|c: char| c == '(' || c.is_whitespace()) {
        Some(end) => value.split_at(end),
        None => (value, ""),
    };
    if !is_package_name(name) {
        text.error(
            format!("`{name}` is not a package name"),
            Some("one package an item, such as `libodbc2` or `libodbc2 (>= 2.3)`".to_owned()),
        );
        return None;
    }
    let constraint = match constraint(rest.trim()) {
        Ok(constraint) => constraint,
        Err(hint) => {
            text.error(
                format!("`{}` is not a version constraint", rest.trim()),
                Some(hint),
            );
            return None;
        }
    };
    Some(OsPackage {
        text: text.value.clone(),
        name: name.to_owned(),
        constraint,
        at: text.source.spot(&text.span).at,
    })
}

/// Debian Policy 5.6.1.
pub(crate) fn is_package_name(name: &str) -> bool {
    let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "+-.".contains(c);
    name.len() >= 2
        && name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        && name.chars().all(legal)
}

/// `(>= 2.3)` → `>=` and `2.3`. The error is a hint.
fn constraint(text: &str) -> Result<Option<(String, String)>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let inner = text
        .strip_prefix('(')
        .and_then(|text| text.strip_suffix(')'))
        .ok_or("write it in parentheses, such as `(>= 2.3)`")?
        .trim();
    let end = inner.find(|c| !"<=>".contains(c)).unwrap_or(inner.len());
    let (relation, version) = inner.split_at(end);
    let version = version.trim();
    match relation {
        "<<" | "<=" | "=" | ">=" | ">>" => {}
        "<" | ">" => {
            return Err(format!(
                "Debian writes strictly `{relation}{relation}` (or `{relation}=`)"
            ));
        }
        _ => return Err("the relation is one of `<<`, `<=`, `=`, `>=` and `>>`".to_owned()),
    }
    // Debian Policy 5.6.12.
    let legal = |c: char| c.is_ascii_alphanumeric() || ".+-:~".contains(c);
    if !version.starts_with(|c: char| c.is_ascii_digit()) || !version.chars().all(legal) {
        return Err("a version begins with a digit and holds letters, digits and `.+-:~`".into());
    }
    Ok(Some((relation.to_owned(), version.to_owned())))
}
