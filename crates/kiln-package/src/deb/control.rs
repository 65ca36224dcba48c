//! Control paragraphs: deb822(5), deb-control(5).
//!
//! A reader of its own because dpkg's database repeats field values byte for byte, continuation
//! lines with their indentation included, which the readers made for indices drop.

use super::MultiArch;

/// Packages have about twenty.
const MAX_FIELDS: usize = 500;

/// Why a paragraph cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// No `control` member.
    #[error("the control archive has no `control` file")]
    Missing,
    /// Not UTF-8, which Debian Policy 5.1 asks for.
    #[error("it is not UTF-8 text")]
    Encoding,
    /// A line that is neither a field nor the continuation of one.
    #[error("line {0} is neither a field nor its continuation")]
    Line(usize),
    /// More fields than any package has.
    #[error("it has more than {MAX_FIELDS} fields")]
    TooMany,
    /// A field that occurs twice.
    #[error("the field `{0}` occurs twice")]
    Repeated(String),
    /// Text after a blank line.
    #[error("it has more than one paragraph")]
    Paragraphs,
    /// A field without which there is no package.
    #[error("it has no field `{0}`")]
    Field(&'static str),
    /// A field that must be a name, a version or one of some words.
    #[error("its field `{field}` is `{value}`, which is not allowed")]
    Value {
        /// Which field.
        field: &'static str,
        /// Its value, shortened.
        value: String,
    },
}

/// Fields in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Paragraph {
    fields: Vec<(String, String)>,
}

impl Paragraph {
    /// Reads one paragraph; blank lines around it are ignored.
    pub fn parse(text: &str) -> Result<Self, ControlError> {
        let mut fields: Vec<(String, String)> = Vec::new();
        let mut is_over = false;
        for (index, line) in text.lines().enumerate() {
            if line.trim_ascii().is_empty() {
                is_over = !fields.is_empty();
                continue;
            }
            if is_over {
                return Err(ControlError::Paragraphs);
            }
            if line.starts_with([' ', '\t']) {
                let (_, value) = fields.last_mut().ok_or(ControlError::Line(index + 1))?;
                value.push('\n');
                value.push_str(line);
                continue;
            }
            let (name, value) = line
                .split_once(':')
                .map(|(name, value)| (name.trim_ascii_end(), value.trim_ascii_start()))
                .filter(|(name, _)| is_field_name(name))
                .ok_or(ControlError::Line(index + 1))?;
            if fields
                .iter()
                .any(|(known, _)| known.eq_ignore_ascii_case(name))
            {
                return Err(ControlError::Repeated(name.to_owned()));
            }
            if fields.len() == MAX_FIELDS {
                return Err(ControlError::TooMany);
            }
            fields.push((name.to_owned(), value.to_owned()));
        }
        for (_, value) in &mut fields {
            value.truncate(value.trim_ascii_end().len());
        }
        Ok(Self { fields })
    }

    /// The value of a field, whatever the case of its name: the first line without blanks around
    /// it, the others as they are, without blanks at the end of the last one.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    /// All fields in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.fields
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

fn is_field_name(name: &str) -> bool {
    !name.starts_with(['#', '-'])
        && !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The fields that name a package.
pub(super) struct Identity {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) architecture: String,
    pub(super) multi_arch: MultiArch,
}

impl Identity {
    /// Names become file names, so they are checked as Debian Policy 5.6 words them.
    pub(super) fn of(paragraph: &Paragraph) -> Result<Self, ControlError> {
        let word = |field: &'static str, is_legal: fn(&str) -> bool| {
            let value = paragraph.get(field).ok_or(ControlError::Field(field))?;
            if is_legal(value) {
                Ok(value.to_owned())
            } else {
                Err(illegal(field, value))
            }
        };
        let multi_arch = match paragraph.get("Multi-Arch") {
            None | Some("no" | "") => MultiArch::No,
            Some("same") => MultiArch::Same,
            Some("foreign") => MultiArch::Foreign,
            Some("allowed") => MultiArch::Allowed,
            Some(other) => return Err(illegal("Multi-Arch", other)),
        };
        let identity = Self {
            name: word("Package", is_package_name)?,
            version: word("Version", is_version)?,
            architecture: word("Architecture", is_architecture)?,
            multi_arch,
        };
        if identity.architecture == "all" && multi_arch == MultiArch::Same {
            return Err(illegal("Multi-Arch", "same"));
        }
        Ok(identity)
    }
}

fn illegal(field: &'static str, value: &str) -> ControlError {
    ControlError::Value {
        field,
        value: value.chars().take(100).collect(),
    }
}

fn is_package_name(name: &str) -> bool {
    (2..=200).contains(&name.len())
        && name.starts_with(|first: char| first.is_ascii_lowercase() || first.is_ascii_digit())
        && name.bytes().all(|byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.".contains(&byte)
        })
}

fn is_version(version: &str) -> bool {
    !version.is_empty()
        && version
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-.:~".contains(&byte))
}

fn is_architecture(architecture: &str) -> bool {
    (1..=60).contains(&architecture.len())
        && architecture.starts_with(|first: char| first.is_ascii_alphanumeric())
        && architecture
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}
