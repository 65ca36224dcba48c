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

/// Why a text is no requirement, or none that a family may have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct RequirementError {
    /// What is wrong.
    pub message: String,
    /// The bytes of the text that are meant; all of them without.
    pub bytes: Option<Range<usize>>,
    hint: Option<String>,
}

impl RequirementError {
    fn of_all(message: impl Into<String>, hint: Option<String>) -> Self {
        Self {
            message: message.into(),
            bytes: None,
            hint,
        }
    }

    /// What a newcomer can do about it.
    pub fn hint(&self) -> Option<String> {
        self.hint.clone()
    }

    fn report(self, text: &Text<'_>) {
        match self.bytes {
            Some(bytes) => text.error_within(bytes, self.message, self.hint),
            None => text.error(self.message, self.hint),
        }
    }
}

/// Reads a Python requirement (PEP 508). URLs are refused: what a lock names comes from a source.
pub fn python_requirement(text: &str) -> Result<pep508_rs::Requirement, RequirementError> {
    if let Some(span) = name_with_bad_end(text) {
        let name = &text[span.clone()];
        return Err(RequirementError {
            message: format!("`{name}` does not end with a letter or digit, as names do (PEP 508)"),
            bytes: Some(span),
            hint: None,
        });
    }
    if !is_bounded(text) {
        let message = "the requirement is too long or too deeply nested";
        return Err(RequirementError::of_all(message, None));
    }
    let parsed = pep508_rs::Requirement::from_str(text).map_err(|error| {
        let message = error.message.to_string();
        let message = message.split('\n').next().unwrap_or_default();
        let message = fragment(message);
        RequirementError {
            message: format!("`{text}` is not a requirement (PEP 508): {message}"),
            bytes: Some(error.start..error.start.saturating_add(error.len)),
            hint: text.starts_with('-').then(|| {
                "options of pip have no place here: write each requirement as `name~=1.2`".into()
            }),
        }
    })?;
    if let Some(pep508_rs::VersionOrUrl::Url(_)) = &parsed.version_or_url {
        let name = &parsed.name;
        let hint = format!(
            "name a version, `{name}~=1.2`, and put the wheel on the Python index that is used"
        );
        let message = format!("`{name}` is required by URL");
        return Err(RequirementError::of_all(message, Some(hint)));
    }
    Ok(parsed)
}

/// Reads a Python requirement of a component; an error has been reported for what is none.
pub(crate) fn python(text: &Text<'_>) -> Option<Requirement> {
    let parsed = python_requirement(&text.value)
        .map_err(|error| error.report(text))
        .ok()?;
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

/// A relation and a version: `>=` and `2.3`.
type Constraint = (String, String);

/// Reads an OS package as Debian writes a dependency (Debian Policy 7.1): `libodbc2` or
/// `libodbc2 (>= 2.3)`. Its name, and the constraint if there is one.
pub fn debian_package(text: &str) -> Result<(String, Option<Constraint>), RequirementError> {
    let value = text.trim();
    let (name, rest) = match value.find(|c: char| c == '(' || c.is_whitespace()) {
        Some(end) => value.split_at(end),
        None => (value, ""),
    };
    if !is_package_name(name) {
        let hint = "one package an item, such as `libodbc2` or `libodbc2 (>= 2.3)`";
        let message = format!("`{name}` is not a package name");
        return Err(RequirementError::of_all(message, Some(hint.to_owned())));
    }
    let constraint = constraint(rest.trim()).map_err(|hint| {
        let message = format!("`{}` is not a version constraint", rest.trim());
        RequirementError::of_all(message, Some(hint))
    })?;
    Ok((name.to_owned(), constraint))
}

/// Reads an OS package of a component; an error has been reported for what is none.
pub(crate) fn os_package(text: &Text<'_>) -> Option<OsPackage> {
    let (name, constraint) = debian_package(&text.value)
        .map_err(|error| error.report(text))
        .ok()?;
    Some(OsPackage {
        text: text.value.clone(),
        name,
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
fn constraint(text: &str) -> Result<Option<Constraint>, String> {
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
