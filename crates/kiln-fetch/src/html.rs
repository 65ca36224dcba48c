//! Finds tags and their attributes in HTML: enough for the anchors of a simple index
//! (PEP 503), and forgiving as a browser's tokenizer is (HTML standard, section 13.2.5).
//! Text, nesting and scripts are of no concern.

/// A start tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tag {
    /// In lower case.
    pub(crate) name: String,
    attributes: Vec<(String, String)>,
}

impl Tag {
    /// The value of an attribute, its character references replaced.
    pub(crate) fn attribute(&self, name: &str) -> Option<&str> {
        let mut attributes = self.attributes.iter();
        let (_, value) = attributes.find(|(attribute, _)| attribute == name)?;
        Some(value)
    }
}

/// A text as it stands in HTML, inside quotes or not.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// A tag has at most this many attributes; further ones are dropped.
const MAX_ATTRIBUTES: usize = 64;

/// All start tags of a document, in order.
pub(crate) fn tags(text: &str) -> impl Iterator<Item = Tag> + '_ {
    let mut rest = text;
    std::iter::from_fn(move || {
        loop {
            rest = &rest[rest.find('<')? + 1..];
            if let Some(comment) = rest.strip_prefix("!--") {
                rest = comment.find("-->").map_or("", |end| &comment[end..]);
            } else if rest.starts_with(|c: char| c.is_ascii_alphabetic()) {
                return Some(tag(&mut rest));
            }
        }
    })
}

fn tag(rest: &mut &str) -> Tag {
    let name = take(rest, |c| c.is_whitespace() || c == '>' || c == '/');
    let mut tag = Tag {
        name: name.to_ascii_lowercase(),
        attributes: Vec::new(),
    };
    loop {
        *rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == '/');
        if rest.is_empty() || rest.starts_with('>') {
            return tag;
        }
        // A stray `=` is the first character of a name.
        let first = rest.chars().next().map_or(0, char::len_utf8);
        let length = rest[first..]
            .find(|c: char| c.is_whitespace() || matches!(c, '=' | '>' | '/'))
            .map_or(rest.len(), |end| first + end);
        let (attribute, after) = rest.split_at(length);
        *rest = after.trim_start();
        let value = match rest.strip_prefix('=') {
            Some(value) => {
                *rest = value.trim_start();
                attribute_value(rest)
            }
            None => String::new(),
        };
        if tag.attributes.len() < MAX_ATTRIBUTES {
            tag.attributes.push((attribute.to_ascii_lowercase(), value));
        }
    }
}

fn attribute_value(rest: &mut &str) -> String {
    let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''));
    let raw = match quote {
        Some(quote) => {
            *rest = &rest[1..];
            let raw = take(rest, |c| c == quote);
            *rest = rest.get(1..).unwrap_or_default();
            raw
        }
        None => take(rest, |c| c.is_whitespace() || c == '>'),
    };
    unescape(raw)
}

/// Takes characters up to one that `stops`.
fn take<'a>(rest: &mut &'a str, stops: impl Fn(char) -> bool) -> &'a str {
    let (taken, after) = rest.split_at(rest.find(stops).unwrap_or(rest.len()));
    *rest = after;
    taken
}

/// Replaces the character references that indexes write.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        // No reference is longer; looking further would make long texts slow.
        let reference = rest.bytes().take(11).position(|byte| byte == b';');
        let found = reference.and_then(|end| Some((character(&rest[1..end])?, end)));
        let (character, end) = found.unwrap_or(('&', 0));
        out.push(character);
        rest = &rest[end + 1..];
    }
    out.push_str(rest);
    out
}

fn character(reference: &str) -> Option<char> {
    match reference {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => {
            let number = reference.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16),
                None => number.parse(),
            };
            char::from_u32(code.ok()?)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn character_references_are_replaced_once() {
        assert_eq!(
            unescape("&gt;=3.9,&#33;=4 &amp;lt; &#x3c; &nope; &"),
            ">=3.9,!=4 &lt; < &nope; &"
        );
    }

    #[test]
    fn odd_tags_are_read_as_browsers_read_them() {
        let all: Vec<Tag> =
            tags("a < b <a disabled href = 'x' / =y=z><br/></a><a href=u/v>").collect();
        assert_eq!(all.len(), 3);
        assert_eq!(all[0].attribute("href"), Some("x"));
        assert_eq!(all[0].attribute("disabled"), Some(""));
        assert_eq!(all[0].attribute("=y"), Some("z"));
        assert_eq!(all[2].attribute("href"), Some("u/v"));
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_the_scanner_panic(text in "(?s).{0,300}", html in "(<|a|=|'|\"|>|/| |é|!--|&|;){0,120}") {
            let _ = (tags(&text).count(), tags(&html).count(), unescape(&text), unescape(&html));
        }
    }
}
