//! The header block of `WHEEL` and `METADATA`: email headers (RFC 822 style), as the Python
//! packaging specification "Core metadata" has them.

/// The value of the first header called `name` (in any case) before the first empty line.
/// Continuation lines are joined to it by a space.
pub(super) fn header(text: &str, name: &str) -> Option<String> {
    all(text, name).next()
}

/// The values of all headers called so.
pub(super) fn headers(text: &str, name: &str) -> Vec<String> {
    all(text, name).collect()
}

fn all<'a>(text: &'a str, name: &'a str) -> impl Iterator<Item = String> + 'a {
    let mut lines = text.lines().take_while(|line| !line.is_empty()).peekable();
    std::iter::from_fn(move || {
        loop {
            let Some((key, value)) = lines.next()?.split_once(':') else {
                continue;
            };
            if !key.eq_ignore_ascii_case(name) {
                continue;
            }
            let mut value = value.trim().to_owned();
            while let Some(more) = lines.next_if(|line| line.starts_with([' ', '\t'])) {
                value.push(' ');
                value.push_str(more.trim());
            }
            return Some(value);
        }
    })
}

#[cfg(test)]
mod tests {
    use super::{header, headers};

    #[test]
    fn headers_are_found_before_the_body_only() {
        let text =
            "Metadata-Version: 2.1\r\nNAME:  x \nSummary: a\n  b\n\tc\nName: y\n\nVersion: 9\n";
        assert_eq!(header(text, "Name").as_deref(), Some("x"));
        assert_eq!(header(text, "metadata-version").as_deref(), Some("2.1"));
        assert_eq!(header(text, "Summary").as_deref(), Some("a b c"));
        assert_eq!(header(text, "Version"), None);
        assert_eq!(headers(text, "name"), ["x", "y"]);
    }
}
