//! Wheel file names: `{name}-{version}[-{build}]-{python}-{abi}-{platform}.whl` (the binary
//! distribution format specification, "File name convention"; tags: PEP 425).

use std::{cmp::Reverse, str::FromStr};

use pep440_rs::Version;
use pep508_rs::PackageName;

use super::target::Tags;

/// The longest file name that is read, in bytes: what file systems take.
const MAX_LENGTH: usize = 255;

/// The parts of a wheel's file name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WheelName {
    /// The project, normalised.
    pub name: PackageName,
    /// The version.
    pub version: Version,
    /// The build number: digits and what follows them. None sorts first.
    pub build: Option<(u64, String)>,
    python: String,
    abi: String,
    platform: String,
}

/// How good a wheel is, the best first: the rank of its tag, then the build number.
pub type Preference = (usize, Reverse<Option<(u64, String)>>);

/// Why a text is no wheel's file name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{file}` is no wheel's file name: {why}")]
pub struct WheelNameError {
    file: String,
    why: &'static str,
}

impl WheelName {
    /// Expanded tags, one for each combination of the compressed sets.
    pub fn tags(&self) -> impl Iterator<Item = String> {
        self.python.split('.').flat_map(move |python| {
            self.abi.split('.').flat_map(move |abi| {
                self.platform
                    .split('.')
                    .map(move |platform| format!("{python}-{abi}-{platform}"))
            })
        })
    }

    /// A key by which the best of several wheels of one version comes first; nothing when the
    /// wheel does not fit. The better tag wins, then the higher build number.
    pub fn preference(&self, tags: &Tags) -> Option<Preference> {
        let rank = self.tags().filter_map(|tag| tags.rank(&tag)).min()?;
        Some((rank, Reverse(self.build.clone())))
    }
}

impl FromStr for WheelName {
    type Err = WheelNameError;

    fn from_str(file: &str) -> Result<Self, Self::Err> {
        let error = |why| WheelNameError {
            file: file.chars().take(MAX_LENGTH).collect(),
            why,
        };
        if file.len() > MAX_LENGTH {
            return Err(error("too long"));
        }
        let stem = file
            .strip_suffix(".whl")
            .ok_or_else(|| error("it does not end in `.whl`"))?;
        let parts: Vec<&str> = stem.split('-').collect();
        let (name, version, build, tags) = match parts.as_slice() {
            [name, version, tags @ ..] if tags.len() == 3 => (name, version, None, tags),
            [name, version, build, tags @ ..] if tags.len() == 3 => {
                (name, version, Some(build), tags)
            }
            _ => return Err(error("it has not five or six parts")),
        };
        let legal = |text: &&str| {
            !text.is_empty()
                && text.split('.').all(|part| {
                    !part.is_empty()
                        && part
                            .bytes()
                            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
                })
        };
        if !tags.iter().all(legal) {
            return Err(error("its tags are malformed"));
        }
        if name.is_empty() {
            return Err(error("its name is malformed"));
        }
        let build = build
            .map(|build| {
                let end = build.bytes().take_while(u8::is_ascii_digit).count();
                let (digits, rest) = build.split_at(end);
                let number = digits
                    .parse()
                    .map_err(|_| error("its build number is malformed"))?;
                Ok((number, rest.to_owned()))
            })
            .transpose()?;
        Ok(Self {
            name: PackageName::from_str(name).map_err(|_| error("its name is malformed"))?,
            version: Version::from_str(&version.replace('_', "-"))
                .map_err(|_| error("its version is malformed"))?,
            build,
            python: tags[0].to_owned(),
            abi: tags[1].to_owned(),
            platform: tags[2].to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use kiln_recipe::{Platform, PythonVersion};
    use proptest::prelude::*;

    use super::{super::target::Target, *};

    fn tags(glibc: u16) -> Tags {
        let python = PythonVersion {
            major: 3,
            minor: 11,
        };
        Target {
            platform: Platform::LinuxAmd64,
            python,
            patch: None,
            glibc,
        }
        .tags()
    }

    /// The files in the order in which they are preferred; those that do not fit are left out.
    fn preferred(files: &[&str], glibc: u16) -> Vec<String> {
        let tags = tags(glibc);
        let mut fitting: Vec<_> = files
            .iter()
            .filter_map(|file| {
                Some((
                    file.parse::<WheelName>().unwrap().preference(&tags)?,
                    (*file).to_owned(),
                ))
            })
            .collect();
        fitting.sort();
        fitting.into_iter().map(|(_, file)| file).collect()
    }

    #[test]
    fn the_most_specific_wheel_wins() {
        let best_first = [
            "a-1-cp311-cp311-manylinux_2_28_x86_64.whl",
            "a-1-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
            "a-1-cp311-cp311-manylinux2010_x86_64.whl",
            "a-1-cp311-cp311-linux_x86_64.whl",
            "a-1-cp311-abi3-manylinux_2_28_x86_64.whl",
            "a-1-cp311-none-manylinux_2_28_x86_64.whl",
            "a-1-cp39-abi3-manylinux_2_34_x86_64.whl",
            "a-1-cp36-abi3-manylinux1_x86_64.whl",
            "a-1-py3-none-manylinux_2_17_x86_64.whl",
            "a-1-cp311-none-any.whl",
            "a-1-py311-none-any.whl",
            "a-1-py2.py3-none-any.whl",
            "a-1-py38-none-any.whl",
        ];
        let mut shuffled = best_first;
        shuffled.reverse();
        assert_eq!(preferred(&shuffled, 36), best_first);
    }

    #[test]
    fn what_does_not_fit_is_never_chosen() {
        let unfit = [
            "a-1-cp311-cp311-manylinux_2_37_x86_64.whl",
            "a-1-cp311-cp311-manylinux_2_17_aarch64.whl",
            "a-1-cp311-cp311-musllinux_1_2_x86_64.whl",
            "a-1-cp311-cp311-macosx_11_0_arm64.whl",
            "a-1-cp311-cp311-win_amd64.whl",
            "a-1-cp312-cp312-manylinux_2_17_x86_64.whl",
            "a-1-cp312-abi3-manylinux_2_17_x86_64.whl",
            "a-1-cp310-cp310-manylinux_2_17_x86_64.whl",
            "a-1-cp311-cp311t-manylinux_2_17_x86_64.whl",
            "a-1-py312-none-any.whl",
            "a-1-py2-none-any.whl",
            "a-1-pp311-pypy311_pp73-manylinux_2_17_x86_64.whl",
        ];
        assert_eq!(preferred(&unfit, 36), Vec::<String>::new());
        assert_eq!(preferred(&unfit, 37), unfit[..1]);
    }

    #[test]
    fn the_higher_build_number_wins_and_counts_as_a_number() {
        let best_first = [
            "a-1-10-py3-none-any.whl",
            "a-1-9b-py3-none-any.whl",
            "a-1-9a-py3-none-any.whl",
            "a-1-py3-none-any.whl",
        ];
        let mut shuffled = best_first;
        shuffled.rotate_left(2);
        assert_eq!(preferred(&shuffled, 36), best_first);
    }

    #[test]
    fn names_and_versions_are_normalised() {
        let name: WheelName = "Zope.Interface-1.0_1-py3-none-any.whl".parse().unwrap();
        assert_eq!(name.name.as_ref(), "zope-interface");
        assert_eq!(name.version, Version::from_str("1.0.post1").unwrap());
    }

    #[test]
    fn malformed_names_are_refused() {
        for file in [
            "",
            "a.whl",
            "a-1-py3-none-any.zip",
            "a-1-py3-none.whl",
            "a-x-py3-none-any.whl",
            "a-1-b1-py3-none-any.whl",
            "a-1-1-2-py3-none-any.whl",
            "a-1--none-any.whl",
            "a-1-py3..py2-none-any.whl",
            "-1-py3-none-any.whl",
            "../a-1-py3-none-any.whl",
        ] {
            assert!(file.parse::<WheelName>().is_err(), "{file}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC*") {
            let _ = text.parse::<WheelName>();
            let _ = format!("{text}-1-py3-none-any.whl").parse::<WheelName>();
        }
    }
}
