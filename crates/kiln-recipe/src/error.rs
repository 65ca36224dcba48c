//! What is wrong in family files, and how it is shown.

use std::fmt;

use crate::model::Location;

/// How many characters of a line are shown around the place of an error.
const SHOWN: usize = 100;

/// One thing that is wrong in a family file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecipeError {
    /// Where.
    pub at: Location,
    /// The line that stands there, without its end; empty when there is none to show.
    pub line_text: String,
    /// How many characters from `at` on are meant; at least 1.
    pub width: u32,
    /// What is wrong.
    pub message: String,
    /// What a newcomer can do about it.
    pub hint: Option<String>,
}

impl RecipeError {
    /// What a newcomer can do about it.
    pub fn hint(&self) -> Option<String> {
        self.hint.clone()
    }

    /// The line and the carets under what is meant, without the message:
    ///
    /// ```text
    ///   12 | requirments = ["numpy"]
    ///      | ^^^^^^^^^^^
    /// ```
    ///
    /// Empty when there is no line to show. Control characters are shown as `·`, and of long lines
    /// the part around the place.
    pub fn excerpt(&self) -> String {
        if self.line_text.is_empty() {
            return String::new();
        }
        let column = self.at.column.saturating_sub(1) as usize;
        let start = if column < SHOWN {
            0
        } else {
            column - SHOWN / 2
        };
        let all = self.line_text.chars().count();
        let shown: String = self
            .line_text
            .chars()
            .skip(start)
            .take(SHOWN)
            .map(|c| match c {
                '\t' => ' ',
                c if c.is_control() => '·',
                c => c,
            })
            .collect();
        let shown = shown.trim_end();
        let before = if start > 0 { "…" } else { "" };
        let after = if start + SHOWN < all { "…" } else { "" };
        let indent = column - start + before.chars().count();
        let width = (self.width as usize).clamp(1, SHOWN - (column - start).min(SHOWN - 1));
        let line = self.at.line;
        let gutter = line.to_string().len().max(4);
        format!(
            "{line:>gutter$} | {before}{shown}{after}\n{:gutter$} | {}{}\n",
            "",
            " ".repeat(indent),
            "^".repeat(width)
        )
    }
}

impl fmt::Display for RecipeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at, self.message)?;
        let excerpt = self.excerpt();
        if !excerpt.is_empty() {
            write!(f, "\n{}", excerpt.trim_end())?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\nhint: {hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for RecipeError {}

/// Everything that is wrong in a family, in order of place. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecipeErrors(pub Vec<RecipeError>);

impl fmt::Display for RecipeErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n\n")?;
            }
            fmt::Display::fmt(error, f)?;
        }
        Ok(())
    }
}

impl std::error::Error for RecipeErrors {}

/// Of `known`, the name that was probably meant by `name`.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (name.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .filter(|(distance, candidate)| {
            *distance <= limit || candidate.starts_with(name) || name.starts_with(candidate)
        })
        .min()
        .map(|(_, candidate)| candidate)
}

/// Of `known`, the names that may have been meant by `name`: those that differ by few letters, then
/// those that hold it; at most `most`.
pub fn near_names<'a>(
    name: &str,
    known: impl IntoIterator<Item = &'a str>,
    most: usize,
) -> Vec<&'a str> {
    let limit = (name.chars().count() / 3).max(1);
    let rank = |candidate: &str| match strsim::damerau_levenshtein(name, candidate) {
        distance if distance <= limit => Some(distance),
        _ if !name.is_empty() && candidate.contains(name) => Some(limit + 1),
        _ => None,
    };
    let ranked = known.into_iter().filter_map(|it| Some((rank(it)?, it)));
    let mut ranked: Vec<_> = ranked.collect();
    ranked.sort_unstable();
    ranked.dedup();
    ranked.into_iter().take(most).map(|(_, it)| it).collect()
}

/// `did you mean …?` where something near is known, else the list of what is known.
pub(crate) fn suggest<'a>(
    name: &str,
    what: &str,
    known: impl IntoIterator<Item = &'a str> + Clone,
) -> Option<String> {
    if let Some(near) = nearest(name, known.clone()) {
        return Some(format!("did you mean `{near}`?"));
    }
    let known: Vec<_> = known.into_iter().map(|name| format!("`{name}`")).collect();
    (!known.is_empty()).then(|| format!("known {what} are {}", known.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_differ_by_few_letters_or_hold_what_was_said() {
        let known = ["numpy", "numexpr", "nump", "types-numpy", "pandas"];
        assert_eq!(near_names("numpi", known, 9), ["nump", "numpy"]);
        assert_eq!(
            near_names("numpy", known, 9),
            ["numpy", "nump", "types-numpy"]
        );
        assert_eq!(near_names("numpy", known, 1), ["numpy"]);
        assert!(near_names("", ["longer"], 9).is_empty());
        assert!(near_names("scipy", ["numpy-stubs"], 9).is_empty());
    }
}
