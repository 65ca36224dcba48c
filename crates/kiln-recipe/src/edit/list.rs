//! A list of strings in a TOML file, edited in place: items come and go, and every other byte
//! stays.
//!
//! What is cut and put in follows from places that the TOML parser gives; between items there is
//! nothing but blanks, line breaks, commas and comments. An item that has a line to itself comes and
//! goes with that line and the comment at its end. Comments on lines of their own stay.

use std::{fmt::Write as _, ops::Range};

use toml::de::{DeTable, DeValue};

/// How far an item stands to the right of its list's key, where no other shows it.
const INDENT: &str = "    ";

/// An item of a list.
#[derive(Debug, Clone)]
struct Item {
    value: String,
    span: Range<usize>,
    /// Where the comma after it is.
    comma: Option<usize>,
}

impl Item {
    /// Where it ends, its comma included.
    fn end(&self) -> usize {
        self.comma.map_or(self.span.end, |comma| comma + 1)
    }
}

/// A list in a text.
#[derive(Debug)]
pub(super) struct List<'a> {
    text: &'a str,
    key: &'static str,
    /// Where its key begins and its end bracket ends; nothing where the file has no such key.
    place: Option<(usize, Range<usize>)>,
    items: Vec<Item>,
    /// Where the last value of the file's own keys ends, and where its first table begins.
    last_value: Option<usize>,
    first_table: Option<usize>,
}

/// Bytes to cut, and what comes instead.
type Cut = (Range<usize>, String);

impl<'a> List<'a> {
    /// Finds a list among the keys that stand above all tables. `None` for what is not TOML, or a
    /// key that is no list of strings.
    pub(super) fn find(text: &'a str, key: &'static str) -> Option<Self> {
        let document = DeTable::parse(text).ok()?;
        let mut list = Self {
            text,
            key,
            place: None,
            items: Vec::new(),
            last_value: None,
            first_table: None,
        };
        for (name, value) in document.get_ref() {
            let name_start = name.span().start;
            let line = list.line_start(name_start);
            if is_blank(&text[line..name_start]) {
                let end = list.last_end(value.get_ref(), value.span());
                list.last_value = list.last_value.max(Some(end));
            } else {
                list.first_table = Some(list.first_table.map_or(line, |it| it.min(line)));
            }
            if name.get_ref() == key {
                list.place = Some((name_start, value.span()));
                list.items = items(text, value.get_ref(), value.span().end)?;
            }
        }
        Some(list)
    }

    /// The items, in the order of the file.
    pub(super) fn values(&self) -> impl Iterator<Item = &str> {
        self.items.iter().map(|item| item.value.as_str())
    }

    /// The text with an item put in before that of a place, or after the last.
    pub(super) fn insert(&self, place: usize, value: &str) -> String {
        let Some((key, array)) = self.place.clone() else {
            return self.with_key(value);
        };
        let quoted = quote(value, self.quote());
        let line = |indent: &str, comma: &str| format!("{}{indent}{quoted}{comma}", self.newline());
        let own_line = |after: usize| self.line_end(after);
        let cuts: Vec<Cut> = match (place.checked_sub(1), self.items.first()) {
            (None, None) => match self.text[array.clone()].rfind('\n') {
                // After the comments that it has.
                Some(_) => {
                    let end = self.break_before(self.line_start(array.end));
                    let last = self.line_start(end);
                    let indent = if last > array.start {
                        self.indent(last).to_owned()
                    } else {
                        format!("{}{INDENT}", self.indent(self.line_start(key)))
                    };
                    vec![(end..end, line(&indent, ","))]
                }
                None => vec![(array.start + 1..array.end - 1, quoted)],
            },
            (None, Some(first)) => match own_line(array.start + 1) {
                Some(end) => vec![(end..end, line(&self.item_indent(0, key), ","))],
                None => vec![(first.span.start..first.span.start, format!("{quoted}, "))],
            },
            (Some(before), _) => {
                let item = &self.items[before.min(self.items.len() - 1)];
                let end = item.span.end;
                match (own_line(item.end()), item.comma) {
                    (Some(at), Some(_)) => {
                        vec![(at..at, line(&self.item_indent(before, key), ","))]
                    }
                    (Some(at), None) => vec![
                        (end..end, ",".to_owned()),
                        (at..at, line(&self.item_indent(before, key), "")),
                    ],
                    (None, Some(comma)) => vec![(comma + 1..comma + 1, format!(" {quoted},"))],
                    (None, None) => vec![(end..end, format!(", {quoted}"))],
                }
            }
        };
        self.apply(cuts)
    }

    /// The text with another value for an item.
    pub(super) fn replace(&self, place: usize, value: &str) -> String {
        let span = self.items[place].span.clone();
        let like = self.text[span.clone()].chars().next().unwrap_or('"');
        self.apply(vec![(span, quote(value, like))])
    }

    /// The text without an item. The key goes with the last one, unless a comment belongs to it.
    pub(super) fn remove(&self, place: usize) -> String {
        if let Some(whole) = self.whole_key() {
            return self.apply(vec![(whole, String::new())]);
        }
        let item = &self.items[place];
        let (start, end) = (item.span.start, item.end());
        let line = self.line_start(start);
        let before = place.checked_sub(1).map(|it| &self.items[it]);
        let between = |range: Range<usize>| &self.text[range];
        // The comma may be lines below, with comments before it.
        let is_whole = !between(item.span.end..end).contains('\n');
        let has_line = is_whole && is_blank(between(line..start));
        let mut cuts: Vec<Range<usize>> = Vec::new();
        if let Some(line_end) = self.line_end(end).filter(|_| has_line) {
            cuts.push(self.break_before(line)..line_end);
            // The last item has no comma: nor has the one that is last now.
            let comma = before.and_then(|it| it.comma);
            cuts.extend(comma.filter(|_| item.comma.is_none()).map(|it| it..it + 1));
        } else if let Some(before) =
            before.filter(|it| is_whole && is_blank(between(it.end()..start)))
        {
            let alone = item.comma.is_none() && is_comma(between(before.span.end..start));
            let from = if alone { before.span.end } else { before.end() };
            cuts.push(from..end);
        } else {
            let next = self.items.get(place + 1).map(|next| next.span.start);
            let next = next.filter(|&next| is_whole && is_blank(between(end..next)));
            match (next, item.comma) {
                (Some(next), _) => cuts.push(start..next),
                (None, Some(comma)) => cuts.extend([item.span.clone(), comma..comma + 1]),
                (None, None) => cuts.push(item.span.clone()),
            }
        }
        let cuts = cuts.into_iter().map(|range| (range, String::new()));
        self.apply(cuts.collect())
    }

    /// The text with a list of one item, below the keys that it has.
    fn with_key(&self, value: &str) -> String {
        let (key, newline) = (self.key, self.newline());
        let line = format!("{key} = [{}]", quote(value, '"'));
        let end = self.text.len();
        let cut = match (self.last_value, self.first_table) {
            (Some(value), _) => {
                let end = self.line_end(value).unwrap_or(end);
                (end..end, format!("{newline}{line}"))
            }
            (None, Some(table)) => {
                let at = self.above(table);
                (at..at, format!("{line}{newline}{newline}"))
            }
            (None, None) if self.text.is_empty() || self.text.ends_with('\n') => {
                (end..end, format!("{line}{newline}"))
            }
            (None, None) => (end..end, format!("{newline}{line}{newline}")),
        };
        self.apply(vec![cut])
    }

    /// Where the comments begin that stand directly above a line; not that which names a schema.
    fn above(&self, mut line: usize) -> usize {
        while line > self.start() {
            let before = self.line_start(line - 1);
            let text = self.text[before..line].trim_start();
            if !text.starts_with('#') || text.starts_with("#:schema") {
                break;
            }
            line = before;
        }
        line
    }

    /// The lines of the key, if its one item is all that it has and no comment belongs to it.
    fn whole_key(&self) -> Option<Range<usize>> {
        let (key, array) = self.place.clone()?;
        let [item] = self.items.as_slice() else {
            return None;
        };
        let around = [array.start..item.span.start, item.span.end..array.end];
        let line = self.line_start(key);
        let end = self.line_end(array.end);
        let end = end.unwrap_or(self.text.len());
        let is_first = line == self.start();
        let above = self.line_start(if is_first { line } else { line - 1 });
        let has_comment = around.into_iter().any(|it| self.text[it].contains('#'))
            || self.text[array.end..end].contains('#')
            || (above < line && self.text[above..line].trim_start().starts_with('#'));
        if has_comment {
            return None;
        }
        if !is_first {
            return Some(self.break_before(line)..end);
        }
        let next = self.text[end..].find('\n').map_or(end, |it| end + it + 1);
        Some(line..next)
    }

    /// The indentation of lines of the list: that of an item's own line, or of another's.
    fn item_indent(&self, near: usize, key: usize) -> String {
        let rest = self.items.iter();
        let mut candidates = self.items.get(near).into_iter().chain(rest);
        let own = candidates.find_map(|item| {
            let line = self.line_start(item.span.start);
            is_blank(&self.text[line..item.span.start]).then(|| self.indent(line).to_owned())
        });
        own.unwrap_or_else(|| format!("{}{INDENT}", self.indent(self.line_start(key))))
    }

    fn indent(&self, line: usize) -> &str {
        let rest = &self.text[line..];
        &rest[..rest.len() - rest.trim_start_matches([' ', '\t']).len()]
    }

    /// The quote that its items have.
    fn quote(&self) -> char {
        let first = self.items.first();
        let quote = first.and_then(|item| self.text[item.span.clone()].chars().next());
        quote.unwrap_or('"')
    }

    /// How lines end here.
    fn newline(&self) -> &'static str {
        let first = self.text.find('\n').unwrap_or_default();
        if self.text[..first].ends_with('\r') {
            "\r\n"
        } else {
            "\n"
        }
    }

    /// Where the first line begins: behind the mark that some editors put before a text.
    fn start(&self) -> usize {
        const MARK: char = '\u{feff}';
        if self.text.starts_with(MARK) {
            MARK.len_utf8()
        } else {
            0
        }
    }

    fn line_start(&self, at: usize) -> usize {
        let before = self.text[..at].rfind('\n');
        before.map_or(self.start(), |it| it + 1)
    }

    /// Where a line ends, before its break, if from `at` on it has nothing but a comment.
    fn line_end(&self, at: usize) -> Option<usize> {
        let rest = &self.text[at..];
        let line = &rest[..rest.find('\n')?];
        let line = line.strip_suffix('\r').unwrap_or(line);
        let code = line.trim_start_matches([' ', '\t']);
        (code.is_empty() || code.starts_with('#')).then_some(at + line.len())
    }

    /// Where a value ends: of a table that dotted keys make, where the last of its values does.
    /// Tables with a header of their own are none of its lines.
    fn last_end(&self, value: &DeValue<'_>, span: Range<usize>) -> usize {
        let inner = value.as_table().into_iter().flat_map(|table| table.iter());
        let inner = inner.filter(|(name, _)| {
            let line = self.line_start(name.span().start);
            !self.text[line..].trim_start().starts_with('[')
        });
        let inner = inner.map(|(_, value)| self.last_end(value.get_ref(), value.span()));
        inner.max().unwrap_or(span.end).max(span.end)
    }

    /// Where the break before a line begins.
    fn break_before(&self, line: usize) -> usize {
        let before = &self.text[..line];
        let before = before.strip_suffix('\n').unwrap_or(before);
        before.strip_suffix('\r').unwrap_or(before).len()
    }

    /// The text with these cuts, which do not overlap.
    fn apply(&self, mut cuts: Vec<Cut>) -> String {
        cuts.sort_by_key(|(range, _)| range.start);
        let (mut text, mut from) = (String::with_capacity(self.text.len()), 0);
        for (range, instead) in cuts {
            text.push_str(&self.text[from..range.start]);
            text.push_str(&instead);
            from = range.end;
        }
        text.push_str(&self.text[from..]);
        text
    }
}

fn is_blank(text: &str) -> bool {
    text.chars().all(|it| it == ' ' || it == '\t')
}

/// Whether it is one comma, perhaps with blanks.
fn is_comma(text: &str) -> bool {
    text.trim_matches([' ', '\t']) == ","
}

/// The items of an array that ends at `end`; nothing where one is no string.
fn items(text: &str, value: &DeValue<'_>, end: usize) -> Option<Vec<Item>> {
    let array = value.as_array()?;
    let starts = array.iter().skip(1).map(|item| item.span().start);
    let ends = starts.chain([end - 1]);
    array
        .iter()
        .zip(ends)
        .map(|(item, next)| {
            Some(Item {
                value: item.get_ref().as_str()?.to_owned(),
                span: item.span(),
                comma: comma(text, item.span().end..next),
            })
        })
        .collect()
}

/// Where the comma is among blanks, line breaks and comments.
fn comma(text: &str, range: Range<usize>) -> Option<usize> {
    let mut in_comment = false;
    let found = text[range.clone()].bytes().position(|byte| {
        in_comment = (in_comment || byte == b'#') && byte != b'\n';
        byte == b',' && !in_comment
    });
    found.map(|at| range.start + at)
}

/// A TOML string, between quotes like these where that is possible.
fn quote(value: &str, like: char) -> String {
    let literal = !value.contains('\'') && !value.contains(char::is_control);
    let basic = !value.contains(['"', '\\']) && !value.contains(char::is_control);
    if literal && (like == '\'' || !basic) {
        return format!("'{value}'");
    }
    if basic {
        return format!("\"{value}\"");
    }
    let mut quoted = String::from('"');
    for letter in value.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            letter if letter.is_control() => {
                // Writing to a text cannot fail.
                let _ = write!(quoted, "\\u{:04X}", u32::from(letter));
            }
            letter => quoted.push(letter),
        }
    }
    quoted.push('"');
    quoted
}
