//! Versions of Debian packages and their order (deb-version(7), Policy 5.6.12).
//!
//! The crates of the field take a missing number for less than `0`; dpkg, which is the law here,
//! takes them for equal (`1.` and `1.0`).

use std::{cmp::Ordering, fmt, str::FromStr};

/// Longer than any real version.
const MAX_LENGTH: usize = 256;

/// `[epoch:]upstream[-revision]`, as written. Versions may be equal that are written differently:
/// `1.0`, `0:1.0-0` and `1.00`.
#[derive(Debug, Clone)]
pub struct Version(Box<str>);

/// Why a text is not a [`Version`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a Debian version")]
pub struct ParseVersionError(String);

impl Version {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Epoch, upstream version and revision; empty when absent.
    fn parts(&self) -> (&str, &str, &str) {
        let (epoch, rest) = self.0.split_once(':').unwrap_or(("", &self.0));
        let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, ""));
        (epoch, upstream, revision)
    }
}

impl FromStr for Version {
    type Err = ParseVersionError;

    /// As dpkg reads them, but that a letter may come first and underscores are let through: some
    /// foreign archives have such, and the order is defined for them.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let version = Self(text.into());
        let (epoch, upstream, revision) = version.parts();
        let letters = |part: &str, others: &[u8]| {
            part.bytes()
                .all(|it| it.is_ascii_alphanumeric() || others.contains(&it))
        };
        let number = epoch.bytes().all(|it| it.is_ascii_digit()) && epoch.parse::<i32>().is_ok();
        let good = text.len() <= MAX_LENGTH
            && (number || !text.contains(':'))
            && !upstream.is_empty()
            && !text.ends_with('-')
            && letters(upstream, b".+~-:_")
            && letters(revision, b".+~_");
        if good {
            Ok(version)
        } else {
            Err(ParseVersionError(text.chars().take(80).collect()))
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        let (epoch, upstream, revision) = self.parts();
        let (other_epoch, other_upstream, other_revision) = other.parts();
        compare(epoch, other_epoch)
            .then_with(|| compare(upstream, other_upstream))
            .then_with(|| compare(revision, other_revision))
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Version {}

/// Compares parts: by turns what is no number, byte by byte, and numbers.
fn compare(left: &str, right: &str) -> Ordering {
    let (mut left, mut right) = (left.as_bytes(), right.as_bytes());
    while !left.is_empty() || !right.is_empty() {
        loop {
            let (a, b) = (rank(left), rank(right));
            if a != b {
                return a.cmp(&b);
            }
            if a == 0 {
                break;
            }
            (left, right) = (&left[1..], &right[1..]);
        }
        let (a, b) = (number(&mut left), number(&mut right));
        let order = a.len().cmp(&b.len()).then_with(|| a.cmp(b));
        if order != Ordering::Equal {
            return order;
        }
    }
    Ordering::Equal
}

/// Where the first byte sorts: `~` before the end, letters before all others. A digit ends what
/// is no number, as the end does.
fn rank(text: &[u8]) -> i32 {
    match text.first() {
        None | Some(b'0'..=b'9') => 0,
        Some(b'~') => -1,
        Some(&letter) if letter.is_ascii_alphabetic() => i32::from(letter),
        Some(&other) => i32::from(other) + 256,
    }
}

/// Takes the number off the front of `text`, without leading zeros; empty is 0.
fn number<'a>(text: &mut &'a [u8]) -> &'a [u8] {
    let end = text
        .iter()
        .position(|it| !it.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    *text = rest;
    let zeros = digits.iter().take_while(|&&it| it == b'0').count();
    &digits[zeros..]
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use proptest::prelude::*;

    use super::*;

    fn dpkg(arguments: &[&str]) -> bool {
        let mut dpkg = Command::new("dpkg");
        dpkg.args(arguments)
            .stderr(Stdio::null())
            .status()
            .unwrap()
            .success()
    }

    fn agrees_with_dpkg(left: &str, right: &str) {
        let (a, b): (Version, Version) = (left.parse().unwrap(), right.parse().unwrap());
        let operator = match a.cmp(&b) {
            Ordering::Less => "lt",
            Ordering::Equal => "eq",
            Ordering::Greater => "gt",
        };
        assert!(
            dpkg(&["--compare-versions", left, operator, right]),
            "{left} {operator} {right}"
        );
    }

    #[test]
    fn versions_are_ordered_as_dpkg_orders_them() {
        let versions = [
            "0",
            "0-0",
            "0:0",
            "1",
            "1.0",
            "1.0-0",
            "1.0-1",
            "1.0~rc1",
            "1.0~rc1~",
            "1.0~~",
            "1.0~",
            "1.0+b1",
            "1.0a",
            "1.0-1+b1",
            "1.0-1~bpo12+1",
            "1.0-1deb12u1",
            "1:0.1",
            "2:0~",
            "1.00",
            "1.01",
            "1.1",
            "1.10",
            "1.9",
            "1.0-1.1",
            "1.0.-1",
            "1.0-1-1",
            "9999999999999999999999",
            "10000000000000000000000",
            "2.36-9+deb12u14",
            "1z",
            "1+",
            "2.36-9+deb12u9",
            "1.2.3-~1",
            "1.",
            "1..2",
            "0~",
            "007",
            "7",
            "1:1.0:1-1",
            "01:1",
        ];
        for left in versions {
            for right in versions {
                agrees_with_dpkg(left, right);
            }
        }
    }

    #[test]
    fn versions_are_valid_as_dpkg_finds_them() {
        for text in [
            "",
            "1",
            "1-",
            "1-1",
            "1.0:1-1",
            "1:1.0:1-1",
            "a:1",
            ":1",
            "1:",
            "1 2",
            "1-1-1",
            "1~",
            "1/2",
            "1:2-3:4",
            "99999999999999:1",
            "1+x~y",
            "1é",
            "-1",
            "1:-1",
        ] {
            assert_eq!(
                text.parse::<Version>().is_ok(),
                dpkg(&["--validate-version", text]),
                "{text:?}"
            );
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn random_versions_are_ordered_as_dpkg_orders_them(
            left in "([0-2]:)?[0-2][01a.+~-]{0,5}[0a]", right in "([0-2]:)?[0-2][01a.+~-]{0,5}[0a]",
        ) {
            agrees_with_dpkg(&left, &right);
        }
    }

    proptest! {
        #[test]
        fn parsing_never_panics(text in "\\PC{0,20}|[0-9a:.+~_-]{0,300}") {
            if let Ok(version) = text.parse::<Version>() {
                prop_assert_eq!(version.to_string(), text);
                prop_assert_eq!(version.cmp(&version.clone()), Ordering::Equal);
            }
        }

        #[test]
        fn order_is_total(texts in proptest::collection::vec("[0-2][0a.+~-]{0,6}0", 3)) {
            let versions: Vec<Version> = texts.iter().map(|it| it.parse().unwrap()).collect();
            let [a, b, c] = versions.as_slice() else { unreachable!() };
            prop_assert_eq!(a.cmp(b), b.cmp(a).reverse());
            prop_assert!(!(a <= b && b <= c) || a <= c);
        }
    }
}
