//! What a universe is solved for: platform, Python and C library, and what follows from them:
//! the tags of the wheels that fit, and the values of environment markers.

use std::{collections::HashMap, fmt};

use kiln_lock::requires;
use kiln_recipe::{Platform, PythonVersion};
use pep508_rs::MarkerEnvironment;

/// A `CPython` on a glibc Linux.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Target {
    /// The platform.
    pub platform: Platform,
    /// The feature version.
    pub python: PythonVersion,
    /// The patch release, where it is known.
    pub patch: Option<u16>,
    /// The minor version of glibc 2: 36 for 2.36.
    pub glibc: u16,
}

/// The `manylinux_2_*` spellings that `uv pip compile --python-platform` knows.
const UV_GLIBC: [u16; 12] = [17, 28, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40];

impl Target {
    /// The version for `--python-version` and the `python_full_version` marker: `3.11.2`, or
    /// `3.11` where the patch release is not known.
    pub fn python_full_version(&self) -> String {
        match self.patch {
            Some(patch) => format!("{}.{patch}", self.python),
            None => format!("{}", self.python),
        }
    }

    /// The machine as the kernel and wheel tags name it.
    pub const fn machine(&self) -> &'static str {
        requires::machine(self.platform)
    }

    /// The value for `--python-platform`: the newest spelling that uv knows and that is not newer
    /// than the C library. Wheels for a newer glibc are then never chosen.
    pub fn uv_platform(&self) -> String {
        let known = UV_GLIBC
            .iter()
            .filter(|known| **known <= self.glibc)
            .max()
            .unwrap_or(&17);
        format!("{}-manylinux_2_{known}", self.machine())
    }

    /// Values of the environment markers ([`requires::markers`]).
    pub fn markers(&self) -> Result<MarkerEnvironment, TargetError> {
        requires::markers(self.platform, self.python, self.patch).ok_or_else(|| TargetError {
            version: self.python_full_version(),
        })
    }

    /// The tags of the wheels that fit.
    pub fn tags(&self) -> Tags {
        let mut ranks = HashMap::new();
        let mut add = |tag: (String, &str, &str)| {
            let rank = ranks.len();
            ranks
                .entry(format!("{}-{}-{}", tag.0, tag.1, tag.2))
                .or_insert(rank);
        };
        let platforms = self.platform_tags();
        let PythonVersion { major, minor } = self.python;
        let own = format!("cp{major}{minor}");
        for abi in [own.as_str(), "abi3", "none"] {
            for platform in &platforms {
                add((own.clone(), abi, platform));
            }
        }
        for older in (2..minor).rev() {
            for platform in &platforms {
                add((format!("cp{major}{older}"), "abi3", platform));
            }
        }
        let interpreters: Vec<String> = [format!("py{major}{minor}"), format!("py{major}")]
            .into_iter()
            .chain((0..minor).rev().map(|older| format!("py{major}{older}")))
            .collect();
        for interpreter in &interpreters {
            for platform in &platforms {
                add((interpreter.clone(), "none", platform));
            }
        }
        add((own, "none", "any"));
        for interpreter in interpreters {
            add((interpreter, "none", "any"));
        }
        Tags { ranks }
    }

    /// Platform tags, best first (PEP 600; the older names of PEP 513, 571 and 599 after theirs).
    fn platform_tags(&self) -> Vec<String> {
        let machine = self.machine();
        let (oldest, aliases): (u16, &[(u16, &str)]) = match self.platform {
            Platform::LinuxAmd64 => (
                5,
                &[
                    (17, "manylinux2014"),
                    (12, "manylinux2010"),
                    (5, "manylinux1"),
                ],
            ),
            Platform::LinuxArm64 => (17, &[(17, "manylinux2014")]),
        };
        let mut tags = Vec::new();
        for minor in (oldest..=self.glibc).rev() {
            tags.push(format!("manylinux_2_{minor}_{machine}"));
            if let Some((_, alias)) = aliases.iter().find(|(alias, _)| *alias == minor) {
                tags.push(format!("{alias}_{machine}"));
            }
        }
        tags.push(format!("linux_{machine}"));
        tags
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Python {} on {} with glibc 2.{}",
            self.python, self.platform, self.glibc
        )
    }
}

/// A Python version that markers cannot be evaluated for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{version}` is no version of Python")]
pub struct TargetError {
    version: String,
}

/// The compatibility tags of a target, in order of preference (PEP 425; the order is that of
/// the `packaging` library, which pip uses).
#[derive(Debug, Clone)]
pub struct Tags {
    ranks: HashMap<String, usize>,
}

impl Tags {
    /// How good a wheel with this expanded tag is: 0 is best; nothing when it does not fit.
    pub fn rank(&self, tag: &str) -> Option<usize> {
        self.ranks.get(tag).copied()
    }

    /// How many tags fit.
    pub fn len(&self) -> usize {
        self.ranks.len()
    }

    /// Whether no tag fits. Never.
    pub fn is_empty(&self) -> bool {
        self.ranks.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(platform: Platform, glibc: u16) -> Target {
        let python = PythonVersion {
            major: 3,
            minor: 11,
        };
        Target {
            platform,
            python,
            patch: Some(2),
            glibc,
        }
    }

    #[test]
    fn uv_is_never_told_a_newer_library_than_there_is() {
        for (glibc, platform) in [
            (17, "x86_64-manylinux_2_17"),
            (27, "x86_64-manylinux_2_17"),
            (31, "x86_64-manylinux_2_31"),
            (36, "x86_64-manylinux_2_36"),
            (41, "x86_64-manylinux_2_40"),
        ] {
            assert_eq!(target(Platform::LinuxAmd64, glibc).uv_platform(), platform);
        }
        let arm = target(Platform::LinuxArm64, 36);
        assert_eq!(arm.uv_platform(), "aarch64-manylinux_2_36");
    }

    #[test]
    fn old_names_stand_for_their_libraries() {
        let tags = target(Platform::LinuxAmd64, 36).tags();
        let rank = |platform: &str| tags.rank(&format!("cp311-cp311-{platform}")).unwrap();
        assert!(rank("manylinux_2_18_x86_64") < rank("manylinux_2_17_x86_64"));
        assert_eq!(
            rank("manylinux_2_17_x86_64") + 1,
            rank("manylinux2014_x86_64")
        );
        assert!(rank("manylinux2014_x86_64") < rank("manylinux2010_x86_64"));
        assert!(rank("manylinux1_x86_64") < rank("linux_x86_64"));
        let arm = target(Platform::LinuxArm64, 36).tags();
        assert!(arm.rank("cp311-cp311-manylinux2014_aarch64").is_some());
        assert!(arm.rank("cp311-cp311-manylinux2010_aarch64").is_none());
    }

    #[test]
    fn markers_know_the_patch_release() {
        let markers = target(Platform::LinuxArm64, 36).markers().unwrap();
        assert_eq!(markers.python_full_version().to_string(), "3.11.2");
        assert_eq!(markers.python_version().to_string(), "3.11");
        assert_eq!(markers.platform_machine(), "aarch64");
    }
}
