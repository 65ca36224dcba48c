//! Texts with places in them, and the list of what was found wrong.

use std::{cell::RefCell, ops::Range};

use crate::{error::RecipeError, model::Location};

/// A stretch of one line of a family file: enough to show an error there.
#[derive(Debug, Clone)]
pub(crate) struct Spot {
    pub(crate) at: Location,
    pub(crate) width: u32,
    line_text: String,
}

impl Spot {
    /// The start of a file whose text is not at hand, or is not what the error is about.
    pub(crate) fn file(file: &str) -> Self {
        let at = Location {
            file: file.to_owned(),
            line: 1,
            column: 1,
        };
        Self {
            at,
            width: 1,
            line_text: String::new(),
        }
    }
}

/// What was found wrong so far. Everything is reported, so reading goes on after an error with
/// whatever stands in for the bad value.
#[derive(Debug, Default)]
pub(crate) struct Problems(RefCell<Vec<RecipeError>>);

impl Problems {
    pub(crate) fn add(&self, spot: Spot, message: impl Into<String>, hint: Option<String>) {
        let Spot {
            at,
            width,
            line_text,
        } = spot;
        let error = RecipeError {
            at,
            line_text,
            width,
            message: message.into(),
            hint,
        };
        self.0.borrow_mut().push(error);
    }

    /// All of them, in order of place.
    pub(crate) fn into_sorted(self) -> Vec<RecipeError> {
        let mut errors = self.0.into_inner();
        errors.sort_by(|a, b| (&a.at, &a.message).cmp(&(&b.at, &b.message)));
        errors.dedup();
        errors
    }
}

/// The text of one family file.
#[derive(Debug)]
pub(crate) struct Source<'a> {
    pub(crate) file: &'a str,
    pub(crate) text: &'a str,
    pub(crate) problems: &'a Problems,
    /// Byte offset of the start of each line.
    lines: Vec<usize>,
}

impl<'a> Source<'a> {
    pub(crate) fn new(file: &'a str, text: &'a str, problems: &'a Problems) -> Self {
        let after_newline = text.match_indices('\n').map(|(offset, _)| offset + 1);
        Self {
            file,
            text,
            problems,
            lines: std::iter::once(0).chain(after_newline).collect(),
        }
    }

    /// The place of a byte range; of one that spans lines, the part on its first line.
    pub(crate) fn spot(&self, span: &Range<usize>) -> Spot {
        let start = floor_char(self.text, span.start);
        let index = self.lines.partition_point(|line| *line <= start) - 1;
        let line_start = self.lines[index];
        let line = self.text[line_start..].lines().next().unwrap_or_default();
        let line_end = line_start + line.len();
        let end = floor_char(self.text, span.end).clamp(start, line_end.max(start));
        let count = |range: Range<usize>| {
            u32::try_from(self.text[range].chars().count()).unwrap_or(u32::MAX)
        };
        let at = Location {
            file: self.file.to_owned(),
            line: u32::try_from(index + 1).unwrap_or(u32::MAX),
            column: count(line_start..start).saturating_add(1),
        };
        Spot {
            at,
            width: count(start..end).max(1),
            line_text: line.to_owned(),
        }
    }

    pub(crate) fn error(
        &self,
        span: &Range<usize>,
        message: impl Into<String>,
        hint: Option<String>,
    ) {
        self.problems.add(self.spot(span), message, hint);
    }
}

/// The nearest character boundary at or before `offset`.
fn floor_char(text: &str, offset: usize) -> usize {
    let mut offset = offset.min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    offset
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_and_columns_count_from_one_and_columns_in_characters() {
        let problems = Problems::default();
        let source = Source::new("f", "ä = 1\r\nlöng = 2\n", &problems);
        let spot = source.spot(&(8..13));
        assert_eq!(spot.at.to_string(), "f:2:1");
        assert_eq!(spot.width, 4);
        assert_eq!(spot.line_text, "löng = 2");
        assert_eq!(source.spot(&(0..12)).width, 5, "no further than the line");
    }

    proptest! {
        #[test]
        fn any_span_of_any_text_has_a_spot(text in "(\\PC|\n|\r|\t){0,40}", a: u8, b: u8) {
            let problems = Problems::default();
            let source = Source::new("f", &text, &problems);
            let spot = source.spot(&(a.into()..b.into()));
            prop_assert!(spot.at.line >= 1 && spot.at.column >= 1 && spot.width >= 1);
        }
    }
}
