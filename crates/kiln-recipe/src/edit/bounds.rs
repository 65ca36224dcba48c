//! What a requirement says of versions when a person said nothing.

use std::fmt::Write as _;

use pep508_rs::pep440_rs::Version;

/// How far versions may move from the one that was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Bounds {
    /// Within `X.Y`: `~=X.Y.0`, the way of families.
    #[default]
    Minor,
    /// Within `X`: `~=X.Y`.
    Major,
    /// Upwards: `>=X.Y.Z`.
    Lower,
    /// Not at all: `==X.Y.Z`.
    Exact,
    /// As they like: nothing is said.
    None,
}

impl Bounds {
    /// What is said of versions where this one is the lowest that was chosen. A pre-release is
    /// named as it is, since nothing less would let it in. Local versions are those of one index,
    /// and not said.
    pub fn of(self, lowest: &Version) -> String {
        let version = lowest.clone().without_local();
        let release = |count: usize| {
            let numbers = version
                .release()
                .iter()
                .copied()
                .chain(std::iter::repeat(0));
            numbers.take(count).collect::<Vec<_>>()
        };
        let length = version.release().len();
        // The version with so many of its numbers, and zeros after those of which it is the series.
        let compatible = |numbers: Vec<u64>| format!("~={}", written(&version, &numbers));
        match self {
            Self::None => String::new(),
            Self::Exact => format!("=={version}"),
            Self::Lower => format!(">={version}"),
            Self::Minor if version.any_prerelease() => {
                let padded = version.clone().with_release(release(length.max(3)));
                format!("~={padded}")
            }
            Self::Major if version.any_prerelease() => {
                let next = version
                    .release()
                    .first()
                    .map_or(1, |it| it.saturating_add(1));
                format!(">={version},<{}", written(&version, &[next]))
            }
            Self::Minor if length > 1 => {
                let mut numbers = release(3);
                numbers[2] = 0;
                compatible(numbers)
            }
            Self::Minor | Self::Major => compatible(release(2)),
        }
    }
}

/// A version of these numbers, in the epoch of another.
fn written(version: &Version, numbers: &[u64]) -> String {
    let mut text = String::new();
    if version.epoch() > 0 {
        // Writing to a text cannot fail.
        let _ = write!(text, "{}!", version.epoch());
    }
    let numbers: Vec<_> = numbers.iter().map(u64::to_string).collect();
    text + &numbers.join(".")
}

#[cfg(test)]
mod tests {
    use std::str::FromStr as _;

    use pep508_rs::pep440_rs::VersionSpecifiers;
    use proptest::prelude::*;

    use super::*;

    fn bound(version: &str, bounds: Bounds) -> String {
        bounds.of(&version.parse().unwrap())
    }

    #[test]
    fn only_the_last_number_moves_unless_more_is_asked() {
        for (version, minor, major, lower) in [
            ("2.4.1", "~=2.4.0", "~=2.4", ">=2.4.1"),
            ("6.1", "~=6.1.0", "~=6.1", ">=6.1"),
            ("5", "~=5.0", "~=5.0", ">=5"),
            ("2026.11.0.3", "~=2026.11.0", "~=2026.11", ">=2026.11.0.3"),
            ("1.2.post3", "~=1.2.0", "~=1.2", ">=1.2.post3"),
            ("2.9.0+cpu", "~=2.9.0", "~=2.9", ">=2.9.0"),
            ("1!2.3.4", "~=1!2.3.0", "~=1!2.3", ">=1!2.3.4"),
            ("1.24.0b0", "~=1.24.0b0", ">=1.24.0b0,<2", ">=1.24.0b0"),
            ("2.0rc1", "~=2.0.0rc1", ">=2.0rc1,<3", ">=2.0rc1"),
        ] {
            assert_eq!(bound(version, Bounds::Minor), minor, "{version}");
            assert_eq!(bound(version, Bounds::Major), major, "{version}");
            assert_eq!(bound(version, Bounds::Lower), lower, "{version}");
        }
        assert_eq!(bound("2.9.0+cpu", Bounds::Exact), "==2.9.0");
        assert_eq!(bound("2.9.0", Bounds::None), "");
    }

    proptest! {
        #[test]
        fn the_version_itself_is_let_in(
            version in "([1-9]!)?[0-9]{1,3}(\\.[0-9]{1,2}){0,4}((a|b|rc)[0-9])?(\\.post[0-9])?(\\.dev[0-9])?(\\+cpu)?",
        ) {
            let version = Version::from_str(&version).unwrap();
            for bounds in [Bounds::Minor, Bounds::Major, Bounds::Lower, Bounds::Exact] {
                let said = bounds.of(&version);
                let specifiers = VersionSpecifiers::from_str(&said).unwrap();
                prop_assert!(specifiers.contains(&version), "{said} {version}");
            }
        }
    }
}
