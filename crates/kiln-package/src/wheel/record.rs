//! RECORD: the list of a wheel's files, and of an installed project's files.
//!
//! Sources: the Python packaging specifications "Binary distribution format" and "Recording installed
//! projects". The file is CSV as Python's `csv` module reads and writes it: fields are quoted
//! with `"` where needed, and rows that are written end with CRLF.

use std::collections::BTreeMap;

use kiln_digest::Digest;

use super::WheelError;
use crate::zip::MAX_MEMBERS;

/// One row: a file. Rows sort as pip sorts them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Row {
    /// Path, relative to the directory that holds the `.dist-info` directory.
    pub(super) path: String,
    /// `ALGORITHM=VALUE`, or empty.
    pub(super) hash: String,
    /// Bytes in decimal digits, or empty.
    pub(super) size: String,
}

impl Row {
    /// The row of a file with this content.
    pub(super) fn of(path: String, content: &[u8]) -> Self {
        Self {
            path,
            hash: format!("sha256={}", base64url(Digest::of(content).as_bytes())),
            size: content.len().to_string(),
        }
    }

    /// This row for the same content at another path.
    pub(super) fn at(self, path: String) -> Self {
        Self { path, ..self }
    }

    /// The row of a file that is listed without hash: RECORD itself and its signatures.
    pub(super) fn bare(path: String) -> Self {
        Self {
            path,
            hash: String::new(),
            size: String::new(),
        }
    }
}

/// Parses the RECORD of a wheel: rows by path. Rows of directories say nothing and are dropped.
pub(super) fn parse(file: &str, text: &str) -> Result<BTreeMap<String, Row>, WheelError> {
    let malformed = |line: usize, reason: &str| WheelError::Malformed {
        path: file.to_owned(),
        reason: format!("line {}: {reason}", line + 1),
    };
    let mut rows = BTreeMap::new();
    for (number, line) in text.lines().enumerate() {
        if line.is_empty() {
            continue;
        }
        let mut fields = fields(line)
            .ok_or_else(|| malformed(number, "a quoted field does not end"))?
            .into_iter();
        let row = Row {
            path: fields.next().unwrap_or_default(),
            hash: fields.next().unwrap_or_default(),
            size: fields.next().unwrap_or_default(),
        };
        if fields.next().is_some() {
            return Err(malformed(number, "more than three fields"));
        }
        if row.path.ends_with('/') {
            continue;
        }
        if let Some(other) = rows.insert(row.path.clone(), row.clone())
            && other != row
        {
            return Err(malformed(number, "the file is listed twice, differently"));
        }
        if rows.len() > MAX_MEMBERS {
            return Err(malformed(number, "more rows than a wheel can have files"));
        }
    }
    Ok(rows)
}

/// The path that a row of a `RECORD` is about, relative to the directory of packages. Where names
/// have commas or quotes, CSV puts quotes around them.
pub fn record_path(row: &str) -> Option<String> {
    fields(row)?.into_iter().next()
}

/// The fields of one CSV line; `None` when a quoted field does not end on it.
fn fields(line: &str) -> Option<Vec<String>> {
    let mut fields = Vec::new();
    let mut field = String::new();
    let mut characters = line.chars().peekable();
    let mut quoted = false;
    while let Some(character) = characters.next() {
        match character {
            '"' if quoted && characters.next_if_eq(&'"').is_some() => field.push('"'),
            '"' if quoted => quoted = false,
            '"' if field.is_empty() => quoted = true,
            ',' if !quoted => fields.push(std::mem::take(&mut field)),
            other => field.push(other),
        }
    }
    fields.push(field);
    (!quoted).then_some(fields)
}

/// Writes rows, sorted, as `csv.writer` does.
pub(super) fn render(mut rows: Vec<Row>) -> String {
    rows.sort_unstable();
    rows.dedup();
    let mut text = String::new();
    for row in rows {
        for (field, end) in [(row.path, ","), (row.hash, ","), (row.size, "\r\n")] {
            if field.contains([',', '"', '\r', '\n']) {
                text.push('"');
                text.push_str(&field.replace('"', "\"\""));
                text.push('"');
            } else {
                text.push_str(&field);
            }
            text.push_str(end);
        }
    }
    text
}

/// Base 64 with the alphabet of RFC 4648 §5 and without padding.
fn base64url(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let mut group = [0; 4];
        group[1..=chunk.len()].copy_from_slice(chunk);
        let group = u32::from_be_bytes(group);
        for position in 0..=chunk.len() {
            let six_bits = group >> (18 - 6 * position) & 63;
            text.push(char::from(ALPHABET[six_bits as usize]));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use std::fmt::Write as _;

    use super::*;

    #[test]
    fn base64_follows_the_rfc_test_vectors() {
        // RFC 4648 §10, padding removed.
        for (plain, encoded) in [
            ("", ""),
            ("f", "Zg"),
            ("fo", "Zm8"),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg"),
            ("fooba", "Zm9vYmE"),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64url(plain.as_bytes()), encoded);
        }
        assert_eq!(base64url(&[0xfb, 0xff]), "-_8");
    }

    #[test]
    fn the_hash_of_a_row_is_what_the_wheel_specification_shows() {
        // SHA-256 of nothing.
        assert_eq!(
            Row::of("a".into(), b"").hash,
            "sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"
        );
    }

    #[test]
    fn quoted_fields_short_rows_and_directories_are_read() {
        let rows = parse("RECORD", "\"a,\"\"b\",sha256=x,3\r\nc\n\nd/,,\ne,,\n").unwrap();
        let paths: Vec<&str> = rows.keys().map(String::as_str).collect();
        assert_eq!(paths, ["a,\"b", "c", "e"]);
        assert_eq!(rows["a,\"b"].size, "3");
    }

    #[test]
    fn contradictions_are_refused() {
        assert!(parse("RECORD", "a,x,1\na,x,1\n").is_ok());
        assert!(parse("RECORD", "a,x,1\na,x,2\n").is_err());
        assert!(parse("RECORD", "a,x,1,2\n").is_err());
        assert!(parse("RECORD", "\"a,x,1\n").is_err());
    }

    #[test]
    fn a_record_longer_than_any_archive_is_refused() {
        let text = (0..=MAX_MEMBERS).fold(String::new(), |mut text, number| {
            let _ = writeln!(text, "{number}");
            text
        });
        assert!(parse("RECORD", &text).is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in "\\PC{0,200}") {
            let _ = parse("RECORD", &text);
        }

        #[test]
        fn what_is_written_reads_back(
            paths in prop::collection::btree_set("[a-z\", é./]{0,12}[a-z\", é]", 0..9)
        ) {
            let rows: Vec<Row> = paths.iter().map(|path| Row::of(path.clone(), b"x")).collect();
            let read = parse("RECORD", &render(rows.clone())).unwrap();
            prop_assert_eq!(read.into_values().collect::<Vec<_>>(), rows);
        }
    }
}
