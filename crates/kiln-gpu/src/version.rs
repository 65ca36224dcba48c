//! Versions that consist of numbers: of toolkits, drivers and release lines.

use std::{cmp::Ordering, fmt, str::FromStr};

use serde::Deserialize;

/// The most numbers that a version may have.
const MAX_PARTS: usize = 8;

/// Numbers with dots between them, `575.51.03`. They are compared number by number, and missing
/// ones count as 0. The text is kept as written.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
pub struct Version {
    text: String,
    numbers: Vec<u32>,
}

impl Version {
    /// The first number.
    pub fn major(&self) -> u32 {
        self.numbers[0]
    }

    /// The second number; 0 when there is none.
    pub fn minor(&self) -> u32 {
        self.numbers.get(1).copied().unwrap_or(0)
    }

    /// The first two numbers: the release line.
    pub fn line(&self) -> (u32, u32) {
        (self.major(), self.minor())
    }

    /// The numbers that a longer text begins with: `8.9.7` of `8.9.7.29-1+cuda12.2`.
    pub fn prefix(text: &str) -> Option<Self> {
        let end = text
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(text.len());
        text[..end].trim_end_matches('.').parse().ok()
    }
}

impl FromStr for Version {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let numbers: Option<Vec<u32>> = text
            .split('.')
            .take(MAX_PARTS + 1)
            .map(|part| {
                part.bytes()
                    .all(|byte| byte.is_ascii_digit())
                    .then(|| part.parse().ok())
                    .flatten()
            })
            .collect();
        match numbers {
            Some(numbers) if numbers.len() <= MAX_PARTS => Ok(Self {
                text: text.to_owned(),
                numbers,
            }),
            _ => Err(format!("`{text:.40}` is no version")),
        }
    }
}

impl TryFrom<String> for Version {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        let length = self.numbers.len().max(other.numbers.len());
        let number = |version: &Self, at| version.numbers.get(at).copied().unwrap_or(0);
        (0..length)
            .map(|at| number(self, at).cmp(&number(other, at)))
            .find(|it| it.is_ne())
            .unwrap_or(Ordering::Equal)
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Version {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    #[test]
    fn numbers_are_compared_and_not_texts() {
        assert!(version("418.88") >= version("418.39"));
        assert!(version("450.51.06") < version("450.80.02"));
        assert!(version("12.10") > version("12.9"));
        assert_eq!(version("12"), version("12.0"));
    }

    #[test]
    fn what_follows_the_numbers_is_left_out() {
        let found = Version::prefix("8.9.7.29-1+cuda12.2").unwrap();
        assert_eq!(found.to_string(), "8.9.7.29");
        assert_eq!(found.line(), (8, 9));
        assert_eq!(Version::prefix("2.6.0+cu126"), Some(version("2.6.0")));
        assert_eq!(Version::prefix("x1"), None);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC*") {
            let _ = text.parse::<Version>();
            let _ = Version::prefix(&text);
        }
    }
}
