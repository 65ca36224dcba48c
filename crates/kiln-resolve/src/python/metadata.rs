//! The head of a wheel's `METADATA` (core metadata specification): what it is and what it needs.

use std::str::FromStr;

use pep440_rs::{Version, VersionSpecifiers};
use pep508_rs::{ExtraName, PackageName, Requirement};

use super::wheel_name::WheelName;

/// The largest head that is read, in bytes. Real ones are below 64 KiB.
const MAX_HEAD: usize = 4 << 20;
/// The most fields that are read.
const MAX_FIELDS: usize = 20_000;

/// What kiln reads of a `METADATA` file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    /// The project, normalised.
    pub name: PackageName,
    /// The version.
    pub version: Version,
    /// `Requires-Dist`, as written.
    pub requires: Vec<String>,
    /// `Provides-Extra`, those that are well-formed.
    pub extras: Vec<ExtraName>,
    /// `Requires-Python`, where it is there and well-formed.
    pub requires_python: Option<VersionSpecifiers>,
}

/// Why a `METADATA` file cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MetadataError {
    /// Larger than any real one.
    #[error("its METADATA is larger than {MAX_HEAD} bytes or {MAX_FIELDS} fields")]
    TooLarge,
    /// A field that must be there is missing or malformed.
    #[error("its METADATA has no well-formed `{0}`")]
    Field(&'static str),
    /// It is about something else than the file name says.
    #[error("its METADATA is that of {0}")]
    Other(String),
    /// A `Requires-Dist` that names no project.
    #[error("its METADATA requires `{0}`, which is no requirement")]
    Requirement(String),
}

impl Metadata {
    /// Reads the head of `text`, up to the first empty line.
    pub fn parse(text: &str) -> Result<Self, MetadataError> {
        let mut name = None;
        let mut version = None;
        let mut requires = Vec::new();
        let mut extras = Vec::new();
        let mut requires_python = None;
        for (field, value) in fields(text)? {
            if field.eq_ignore_ascii_case("name") {
                name = name.or_else(|| PackageName::from_str(&value).ok());
            } else if field.eq_ignore_ascii_case("version") {
                version = version.or_else(|| Version::from_str(&value).ok());
            } else if field.eq_ignore_ascii_case("requires-dist") {
                requires.push(value);
            } else if field.eq_ignore_ascii_case("provides-extra") {
                extras.extend(ExtraName::from_str(&value));
            } else if field.eq_ignore_ascii_case("requires-python") {
                requires_python = VersionSpecifiers::from_str(&value).ok();
            }
        }
        Ok(Self {
            name: name.ok_or(MetadataError::Field("Name"))?,
            version: version.ok_or(MetadataError::Field("Version"))?,
            requires,
            extras,
            requires_python,
        })
    }

    /// Refuses metadata that are not those of the file.
    pub fn check(&self, file: &WheelName) -> Result<(), MetadataError> {
        if self.name == file.name && self.version == file.version {
            Ok(())
        } else {
            Err(MetadataError::Other(format!(
                "{} {}",
                self.name, self.version
            )))
        }
    }
}

/// The fields of an RFC 822 head, continuation lines joined.
fn fields(text: &str) -> Result<Vec<(&str, String)>, MetadataError> {
    let mut fields: Vec<(&str, String)> = Vec::new();
    let mut read = 0;
    for line in text.lines() {
        // A line of blanks is part of the field above: licence texts have them.
        if line.is_empty() {
            break;
        }
        read += line.len();
        if read > MAX_HEAD || fields.len() >= MAX_FIELDS {
            return Err(MetadataError::TooLarge);
        }
        if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = fields.last_mut() {
                value.push(' ');
                value.push_str(line.trim());
            }
        } else if let Some((field, value)) = line.split_once(':') {
            fields.push((field.trim(), value.trim().to_owned()));
        }
    }
    Ok(fields)
}

/// Reads one `Requires-Dist` ([`kiln_lock::requires::parse_requirement`]).
pub fn parse_requirement(text: &str) -> Result<Requirement, MetadataError> {
    kiln_lock::requires::parse_requirement(text)
        .ok_or_else(|| MetadataError::Requirement(text.chars().take(200).collect()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NUMPY: &str = "Metadata-Version: 2.4\nName: Foo.Bar\nVersion: 1.0\n\
        License: long\n        \n  text\nRequires-Python: >=3.9\n\
        requires-dist: numpy>=1.20; extra ==\n        \"all\"\nRequires-Dist: six\n\
        Provides-Extra: all\n\nName: other\nRequires-Dist: not-this\n";

    #[test]
    fn the_head_is_read_and_the_description_is_not() {
        let metadata = Metadata::parse(NUMPY).unwrap();
        assert_eq!(metadata.name.as_ref(), "foo-bar");
        assert_eq!(metadata.version.to_string(), "1.0");
        assert_eq!(metadata.requires, ["numpy>=1.20; extra == \"all\"", "six"]);
        assert_eq!(metadata.extras, [ExtraName::from_str("all").unwrap()]);
        assert_eq!(metadata.requires_python.unwrap().to_string(), ">=3.9");
    }

    #[test]
    fn requirements_that_cost_too_much_are_refused() {
        let nested = format!("a; {}os_name == 'x'{}", "(".repeat(9000), ")".repeat(9000));
        let pairs: Vec<String> = (0..200)
            .map(|n| format!("extra == 'a{n}' and extra == 'z{n}'"))
            .collect();
        let doubling = format!("a; {}", pairs.join(" or "));
        let long: Vec<String> = (0..9000).map(|n| format!("extra == 'a{n}'")).collect();
        let long = format!("a; {}", long.join(" or "));
        for text in [nested, doubling, long] {
            assert!(parse_requirement(&text).is_err());
        }
        let usual: Vec<String> = (0..100).map(|n| format!("extra == 'a{n}'")).collect();
        assert!(parse_requirement(&format!("a; {}", usual.join(" or "))).is_ok());
        let machines = "os_name == 'x' or (".repeat(20) + "os_name == 'y'" + &")".repeat(20);
        assert!(parse_requirement(&format!("a; {machines}")).is_ok());
    }

    #[test]
    fn carriage_returns_are_no_part_of_values() {
        let metadata = Metadata::parse(&NUMPY.replace('\n', "\r\n")).unwrap();
        assert_eq!(metadata.requires.len(), 2);
        assert_eq!(metadata.requires[1], "six");
    }

    #[test]
    fn metadata_of_another_wheel_are_refused() {
        let metadata = Metadata::parse(NUMPY).unwrap();
        let own: WheelName = "foo_bar-1.0.0-py3-none-any.whl".parse().unwrap();
        assert_eq!(metadata.check(&own), Ok(()));
        let other: WheelName = "foo_bar-1.1-py3-none-any.whl".parse().unwrap();
        assert_eq!(
            metadata.check(&other),
            Err(MetadataError::Other("foo-bar 1.0".to_owned()))
        );
    }

    #[test]
    fn metadata_without_name_or_version_are_refused() {
        assert_eq!(
            Metadata::parse("Version: 1\n"),
            Err(MetadataError::Field("Name"))
        );
        assert_eq!(
            Metadata::parse("Name: a\n"),
            Err(MetadataError::Field("Version"))
        );
    }

    #[test]
    fn specifiers_that_nobody_can_read_do_not_hide_the_requirement() {
        for (text, expected) in [
            ("pytz (>dev)", "pytz"),
            (
                "a[x,y]>=2.*.1; python_version < '3'",
                "a[x,y] ; python_full_version < '3'",
            ),
            ("six>=1", "six>=1"),
        ] {
            let requirement = parse_requirement(text).unwrap();
            let expected = Requirement::<pep508_rs::VerbatimUrl>::from_str(expected).unwrap();
            assert_eq!(requirement.name, expected.name);
            assert_eq!(requirement.extras, expected.extras);
            assert_eq!(requirement.marker.is_true(), expected.marker.is_true());
        }
        for text in ["; nothing", "é", "a- >1", "a[b-]", "a[b.,c]>1"] {
            assert!(parse_requirement(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(?s).*", requirement in "\\PC*") {
            let _ = Metadata::parse(&text);
            let _ = Metadata::parse(&format!("Name: a\nVersion: 1\nRequires-Dist: {text}"));
            let _ = parse_requirement(&requirement);
            let _ = parse_requirement(&format!("a-{requirement}"));
            let _ = parse_requirement(&format!("a[b-{requirement}]"));
        }
    }
}
