//! Typed reading of TOML tables with places. A table knows which keys it was asked for: these are
//! the known ones, and the rest is refused.

use std::ops::Range;

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use crate::{error::suggest, source::Source};

/// The largest TOML file, in bytes.
pub(crate) const MAX_TOML: usize = 1 << 20;

/// A string and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Text<'a> {
    pub(crate) source: &'a Source<'a>,
    pub(crate) value: String,
    pub(crate) span: Range<usize>,
}

impl Text<'_> {
    pub(crate) fn error(&self, message: impl Into<String>, hint: Option<String>) {
        self.source.error(&self.span, message, hint);
    }

    /// An error at some bytes of the value. Falls back to the whole where the value is written
    /// with escapes, so that its bytes are not those of the file.
    pub(crate) fn error_within(
        &self,
        bytes: Range<usize>,
        message: impl Into<String>,
        hint: Option<String>,
    ) {
        let raw = self.source.text.get(self.span.clone()).unwrap_or_default();
        let quoted = |quote: &str| {
            raw.strip_prefix(quote)
                .and_then(|rest| rest.strip_suffix(quote))
                == Some(self.value.as_str())
        };
        let span = if quoted("\"") || quoted("'") {
            let start = self.span.start + 1;
            start + bytes.start..start + bytes.end.max(bytes.start + 1)
        } else {
            self.span.clone()
        };
        self.source.error(&span, message, hint);
    }
}

/// A TOML table that is being read.
#[derive(Debug)]
pub(crate) struct Table<'a> {
    pub(crate) source: &'a Source<'a>,
    entries: &'a DeTable<'a>,
    /// Where it stands: its header; `None` for the file itself.
    span: Option<Range<usize>>,
    /// How messages call it: `[family]`.
    name: String,
    asked: Vec<&'static str>,
}

type Item<'a> = &'a Spanned<DeValue<'a>>;

impl<'a> Table<'a> {
    /// The table of a whole file.
    pub(crate) fn root(source: &'a Source<'a>, entries: &'a DeTable<'a>) -> Self {
        Self {
            source,
            entries,
            span: None,
            name: String::new(),
            asked: Vec::new(),
        }
    }

    /// An error about the table as a whole.
    pub(crate) fn error(&self, message: impl Into<String>, hint: Option<String>) {
        match &self.span {
            Some(span) => self.source.error(span, message, hint),
            None => {
                self.source.problems.add(
                    crate::source::Spot::file(self.source.file),
                    message,
                    hint,
                );
            }
        }
    }

    /// Where the table stands.
    pub(crate) fn span(&self) -> Range<usize> {
        self.span.clone().unwrap_or(0..0)
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// Whether it has no key.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether a key is missing, or is a list without items.
    pub(crate) fn lacks(&self, key: &str) -> bool {
        let item = self.entries.get(key);
        item.is_none_or(|item| {
            item.get_ref()
                .as_array()
                .is_some_and(|list| list.is_empty())
        })
    }

    fn take(&mut self, key: &'static str) -> Option<Item<'a>> {
        self.asked.push(key);
        self.entries.get(key)
    }

    /// Where a key's value stands, whatever it is.
    pub(crate) fn take_span(&mut self, key: &'static str) -> Option<Range<usize>> {
        self.take(key).map(Spanned::span)
    }

    fn wrong_type(&self, item: Item<'a>, what: &str, expected: &str) {
        let found = item.get_ref().type_str();
        self.source.error(
            &item.span(),
            format!("{what} is {} {found}, expected {expected}", article(found)),
            None,
        );
    }

    fn text_of(&self, item: Item<'a>, what: &str) -> Option<Text<'a>> {
        let text = self.lines_of(item, what)?;
        if text.value.chars().any(char::is_control) {
            text.error(format!("{what} holds a control character"), None);
            return None;
        }
        Some(text)
    }

    /// A string that may have several lines.
    fn lines_of(&self, item: Item<'a>, what: &str) -> Option<Text<'a>> {
        let Some(value) = item.get_ref().as_str() else {
            self.wrong_type(item, what, "a string");
            return None;
        };
        let text = Text {
            source: self.source,
            value: value.to_owned(),
            span: item.span(),
        };
        let is_control = |c: char| c.is_control() && !['\n', '\t'].contains(&c);
        if value.chars().any(is_control) {
            text.error(format!("{what} holds a control character"), None);
            return None;
        }
        Some(text)
    }

    /// A string.
    pub(crate) fn text(&mut self, key: &'static str) -> Option<Text<'a>> {
        let item = self.take(key)?;
        self.text_of(item, &format!("`{key}`"))
    }

    /// A string, as plain text.
    pub(crate) fn string(&mut self, key: &'static str) -> Option<String> {
        self.text(key).map(|text| text.value)
    }

    /// A string that must be there and not be empty.
    pub(crate) fn required(&mut self, key: &'static str) -> Option<Text<'a>> {
        if !self.has(key) {
            self.asked.push(key);
            self.missing(key);
            return None;
        }
        let text = self.text(key)?;
        if text.value.is_empty() {
            text.error(format!("`{key}` is empty"), None);
            return None;
        }
        Some(text)
    }

    fn missing(&self, key: &str) {
        let place = if self.name.is_empty() {
            String::new()
        } else {
            format!(" in {}", self.name)
        };
        self.error(format!("missing `{key}`{place}"), None);
    }

    /// A word of a list, and what it stands for; an error has been reported for another.
    pub(crate) fn word<T: Copy>(
        &mut self,
        key: &'static str,
        many: &str,
        known: &[(&str, T)],
    ) -> Option<T> {
        let text = self.text(key)?;
        let found = known.iter().find(|(name, _)| *name == text.value);
        if found.is_none() {
            let names = known.iter().map(|(name, _)| *name);
            let hint = suggest(&text.value, many, names);
            text.error(format!("unknown {key} `{}`", text.value), hint);
        }
        found.map(|(_, value)| *value)
    }

    /// Whether a key's value is a Boolean.
    pub(crate) fn is_boolean(&self, key: &str) -> bool {
        let item = self.entries.get(key);
        item.is_some_and(|item| item.get_ref().as_bool().is_some())
    }

    /// A Boolean; `default` when it is not there or is something else.
    pub(crate) fn boolean(&mut self, key: &'static str, default: bool) -> bool {
        let Some(item) = self.take(key) else {
            return default;
        };
        item.get_ref().as_bool().unwrap_or_else(|| {
            self.wrong_type(item, &format!("`{key}`"), "`true` or `false`");
            default
        })
    }

    /// An integer between 0 and `max`.
    pub(crate) fn integer(&mut self, key: &'static str, max: u32) -> Option<(u32, Range<usize>)> {
        let (value, span) = self.natural(key, max.into())?;
        Some((u32::try_from(value).ok()?, span))
    }

    /// A size in bytes that must be there.
    pub(crate) fn size(&mut self, key: &'static str) -> Option<u64> {
        if !self.has(key) {
            self.asked.push(key);
            self.missing(key);
            return None;
        }
        // TOML's integers have a sign.
        Some(self.natural(key, i64::MAX as u64)?.0)
    }

    fn natural(&mut self, key: &'static str, max: u64) -> Option<(u64, Range<usize>)> {
        let item = self.take(key)?;
        let Some(integer) = item.get_ref().as_integer() else {
            self.wrong_type(item, &format!("`{key}`"), "an integer");
            return None;
        };
        let value = u64::from_str_radix(integer.as_str(), integer.radix()).ok();
        let Some(value) = value.filter(|value| *value <= max) else {
            self.source.error(
                &item.span(),
                format!("`{key}` is not between 0 and {max}"),
                None,
            );
            return None;
        };
        Some((value, item.span()))
    }

    /// A list of strings; `None` when it is not there.
    pub(crate) fn texts(&mut self, key: &'static str) -> Option<Vec<Text<'a>>> {
        self.list(key, Self::text_of)
    }

    /// A string, or a list of one or more; `None` when it is not there or wrong.
    pub(crate) fn one_or_more(&mut self, key: &'static str) -> Option<Vec<Text<'a>>> {
        let item = self.take(key)?;
        let Some(items) = item.get_ref().as_array() else {
            if item.get_ref().as_str().is_none() {
                self.wrong_type(item, &format!("`{key}`"), "a string or a list of strings");
                return None;
            }
            return Some(vec![self.text_of(item, &format!("`{key}`"))?]);
        };
        let what = format!("an item of `{key}`");
        let texts: Vec<_> = items.iter().map(|it| self.text_of(it, &what)).collect();
        if texts.is_empty() {
            self.source
                .error(&item.span(), format!("`{key}` is empty"), None);
            return None;
        }
        texts.into_iter().collect()
    }

    /// A list of strings that may have several lines.
    pub(crate) fn scripts(&mut self, key: &'static str) -> Option<Vec<Text<'a>>> {
        self.list(key, Self::lines_of)
    }

    fn list(
        &mut self,
        key: &'static str,
        read: impl Fn(&Self, Item<'a>, &str) -> Option<Text<'a>>,
    ) -> Option<Vec<Text<'a>>> {
        let item = self.take(key)?;
        let Some(array) = item.get_ref().as_array() else {
            self.wrong_type(item, &format!("`{key}`"), "a list of strings");
            return None;
        };
        let what = format!("an item of `{key}`");
        Some(
            array
                .iter()
                .filter_map(|item| read(self, item, &what))
                .collect(),
        )
    }

    /// A table of strings in the order of the file, each with its key.
    pub(crate) fn pairs(&mut self, key: &'static str) -> Vec<(Text<'a>, Text<'a>)> {
        let Some(item) = self.take(key) else {
            return Vec::new();
        };
        let Some(table) = item.get_ref().as_table() else {
            self.wrong_type(item, &format!("`{key}`"), "a table of strings");
            return Vec::new();
        };
        let mut pairs: Vec<_> = table
            .iter()
            .filter_map(|(name, value)| {
                let value = self.text_of(value, &format!("`{}`", name.get_ref()))?;
                let key = name.get_ref().to_string();
                Some((
                    Text {
                        source: self.source,
                        value: key,
                        span: name.span(),
                    },
                    value,
                ))
            })
            .collect();
        pairs.sort_by_key(|(name, _)| name.span.start);
        pairs
    }

    /// The table `[key]`.
    pub(crate) fn table(&mut self, key: &'static str) -> Option<Table<'a>> {
        let item = self.take(key)?;
        let Some(entries) = item.get_ref().as_table() else {
            self.wrong_type(item, &format!("`{key}`"), "a table");
            return None;
        };
        Some(self.child(entries, item.span(), format!("`[{key}]`")))
    }

    /// The tables `[[key]]`.
    pub(crate) fn tables(&mut self, key: &'static str) -> Vec<Table<'a>> {
        let Some(item) = self.take(key) else {
            return Vec::new();
        };
        let header = match self.name.trim_matches(['`', '[', ']']) {
            "" => key.to_owned(),
            outer => format!("{outer}.{key}"),
        };
        let Some(array) = item.get_ref().as_array() else {
            let expected = format!("a list of tables, each headed `[[{header}]]`");
            self.wrong_type(item, &format!("`{key}`"), &expected);
            return Vec::new();
        };
        array
            .iter()
            .filter_map(|item| {
                let Some(entries) = item.get_ref().as_table() else {
                    self.wrong_type(item, &format!("an item of `{key}`"), "a table");
                    return None;
                };
                Some(self.child(entries, item.span(), format!("`[[{header}]]`")))
            })
            .collect()
    }

    /// The tables `[key.NAME]` in the order of the file, each with its name.
    pub(crate) fn named_tables(&mut self, key: &'static str) -> Vec<(Text<'a>, Table<'a>)> {
        let Some(item) = self.take(key) else {
            return Vec::new();
        };
        let Some(entries) = item.get_ref().as_table() else {
            let expected = format!("tables, each headed `[{key}.NAME]`");
            self.wrong_type(item, &format!("`{key}`"), &expected);
            return Vec::new();
        };
        let mut tables: Vec<_> = entries
            .iter()
            .filter_map(|(name, item)| {
                let header = format!("[{key}.{}]", name.get_ref());
                let Some(entries) = item.get_ref().as_table() else {
                    self.wrong_type(item, &format!("`{key}.{}`", name.get_ref()), "a table");
                    return None;
                };
                let text = Text {
                    source: self.source,
                    value: name.get_ref().to_string(),
                    span: name.span(),
                };
                Some((
                    text,
                    self.child(entries, item.span(), format!("`{header}`")),
                ))
            })
            .collect();
        tables.sort_by_key(|(name, _)| name.span.start);
        tables
    }

    fn child(&self, entries: &'a DeTable<'a>, span: Range<usize>, name: String) -> Table<'a> {
        Table {
            source: self.source,
            entries,
            span: Some(span),
            name,
            asked: Vec::new(),
        }
    }

    /// Refuses the keys that nobody asked for.
    pub(crate) fn finish(self) {
        for key in self.entries.keys() {
            let name = key.get_ref().as_ref();
            if !self.asked.contains(&name) {
                let place = if self.name.is_empty() {
                    String::new()
                } else {
                    format!(" in {}", self.name)
                };
                self.source.error(
                    &key.span(),
                    format!("unknown key `{name}`{place}"),
                    suggest(name, "keys", self.asked.iter().copied()),
                );
            }
        }
    }
}

fn article(noun: &str) -> &'static str {
    if noun.starts_with(['a', 'e', 'i', 'o', 'u']) {
        "an"
    } else {
        "a"
    }
}

/// Parses a file's TOML. What is not TOML is reported, each place once, and then nothing is read
/// from the file: an error would draw others after it.
pub(crate) fn document<'a>(source: &Source<'a>) -> Option<Spanned<DeTable<'a>>> {
    if source.text.len() > MAX_TOML {
        let message = format!("the file is larger than {} MiB", MAX_TOML >> 20);
        source
            .problems
            .add(crate::source::Spot::file(source.file), message, None);
        return None;
    }
    let (table, errors) = DeTable::parse_recoverable(source.text);
    for error in &errors {
        source.error(
            &error.span().unwrap_or(0..0),
            format!("not TOML: {}", error.message()),
            None,
        );
    }
    errors.is_empty().then_some(table)
}
