//! The tables of `data/cuda.toml` and what can be asked of them.

use std::{collections::BTreeMap, sync::LazyLock};

use serde::Deserialize;

use crate::{Known, Version};

/// All tables.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Facts {
    /// Table → the document and section that it was read from.
    pub sources: BTreeMap<String, String>,
    /// Minor version compatibility.
    #[serde(rename = "floor")]
    pub floors: Vec<Floor>,
    /// Releases of CUDA, the newest first.
    #[serde(rename = "toolkit")]
    pub toolkits: Vec<Toolkit>,
    #[serde(rename = "cudnn")]
    cudnns: Vec<Cudnn>,
    /// Release lines of `PyTorch`, each with each CUDA that it was built for.
    pub torch: Vec<Torch>,
    /// Release lines of TensorFlow.
    pub tensorflow: Vec<TensorFlow>,
}

/// The oldest driver for all programs of one major version of CUDA.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Floor {
    /// The major version.
    pub cuda: u32,
    /// The driver.
    pub driver: Version,
}

/// A release of CUDA.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Toolkit {
    /// Major and minor version.
    pub version: Version,
    /// The update, 0 for the first release.
    #[serde(default)]
    pub update: u8,
    /// The strict driver.
    pub driver: Version,
    /// Whether it stands in the vendor's own table.
    #[serde(default = "sure")]
    pub sure: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cudnn {
    from: Version,
    cuda: Vec<String>,
    #[serde(default = "sure")]
    sure: bool,
}

/// A release line of `PyTorch`, built for one CUDA.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Torch {
    /// The line.
    pub version: Version,
    /// The CUDA.
    pub cuda: Version,
    /// The cuDNN that its wheels require.
    pub cudnn: Option<Version>,
    /// The first and the last Python, experimental ones included.
    pub python: [Version; 2],
    /// The line of torchvision that goes with it.
    pub torchvision: Option<Version>,
    /// The line of torchaudio that goes with it.
    pub torchaudio: Option<Version>,
    /// Compute capabilities that the binaries hold code for, with `+PTX` where they hold
    /// intermediate code as well.
    pub processors: Vec<String>,
    /// Whether it stands in the project's own tables or scripts.
    #[serde(default = "sure")]
    pub sure: bool,
}

/// A release line of TensorFlow.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TensorFlow {
    /// The line.
    pub version: Version,
    /// The CUDA that it was built and tested with.
    pub cuda: Version,
    /// The same of cuDNN.
    pub cudnn: Version,
    /// The first and the last Python.
    pub python: [Version; 2],
    /// Whether it stands in the project's own table.
    #[serde(default = "sure")]
    pub sure: bool,
}

const fn sure() -> bool {
    true
}

/// The facts.
pub fn facts() -> &'static Facts {
    #[expect(
        clippy::expect_used,
        reason = "the text is part of the program, and a test reads it"
    )]
    static FACTS: LazyLock<Facts> =
        LazyLock::new(|| toml::from_str(include_str!("../data/cuda.toml")).expect("cuda.toml"));
    &FACTS
}

impl Facts {
    /// The driver that the first release of a toolkit needs without minor version compatibility.
    pub fn strict_driver(&self, cuda: &Version) -> Option<&Version> {
        let mut releases = self.toolkits.iter();
        let first = releases.rfind(|it| it.version.line() == cuda.line());
        first.map(|it| &it.driver)
    }

    /// The oldest driver for programs of a major version. CUDA 10 and older have none.
    pub fn floor(&self, major: u32) -> Option<&Version> {
        let floor = self.floors.iter().find(|it| it.cuda == major)?;
        Some(&floor.driver)
    }

    /// Whether there was such a toolkit.
    pub fn toolkit(&self, cuda: &Version) -> Known<&Toolkit> {
        let line = cuda.line();
        let lines = || self.toolkits.iter().map(|it| it.version.line());
        match self
            .toolkits
            .iter()
            .rev()
            .find(|it| it.version.line() == line)
        {
            Some(toolkit) => Known::Released(toolkit),
            None if lines().min() < Some(line) && Some(line) < lines().max() => Known::Never,
            None => Known::Unknown,
        }
    }

    /// The builds of `PyTorch` of the line of this version. Empty when the line is unknown.
    pub fn torch_builds(&self, version: &Version) -> Vec<&Torch> {
        let line = version.line();
        let builds = self.torch.iter();
        builds.filter(|it| it.version.line() == line).collect()
    }

    /// The build of `PyTorch` for a CUDA.
    pub fn torch(&self, version: &Version, cuda: &Version) -> Known<&Torch> {
        let builds = self.torch_builds(version);
        match builds.iter().find(|it| it.cuda == *cuda) {
            Some(build) => Known::Released(build),
            None if builds.is_empty() => Known::Unknown,
            None => Known::Never,
        }
    }

    /// One build of `PyTorch` for what all builds of a line have in common: one that is sure, if
    /// there is any.
    pub fn torch_line(&self, version: &Version) -> Option<&Torch> {
        let builds = self.torch_builds(version);
        let sure = builds.iter().find(|it| it.sure);
        sure.or(builds.first()).copied()
    }

    /// Whether all builds of the line of this version are sure, and so which there never were.
    pub fn is_sure_of_torch(&self, version: &Version) -> bool {
        self.torch_builds(version).iter().all(|it| it.sure)
    }

    /// The row of a version of TensorFlow.
    pub fn tensorflow(&self, version: &Version) -> Option<&TensorFlow> {
        let mut rows = self.tensorflow.iter();
        rows.find(|it| it.version.line() == version.line())
    }

    /// The major versions of CUDA that a release of cuDNN was made for. Those newer than all
    /// that the last row names may have come since.
    pub fn cudnn(&self, cudnn: &Version, cuda_major: u32) -> Known<()> {
        let Some(row) = self.cudnn_row(cudnn) else {
            return Known::Unknown;
        };
        let majors = |row: &Cudnn| -> Vec<u32> {
            let versions = row.cuda.iter().filter_map(|it| Version::prefix(it));
            versions.map(|it| it.major()).collect()
        };
        let is_last = self.cudnns.last().is_some_and(|last| last.from == row.from);
        let newest = majors(row).into_iter().max();
        if majors(row).contains(&cuda_major) {
            Known::Released(())
        } else if is_last && newest < Some(cuda_major) {
            Known::Unknown
        } else {
            Known::Never
        }
    }

    /// Whether what [`Facts::cudnn`] says of a release is sure.
    pub fn is_sure_of_cudnn(&self, cudnn: &Version) -> bool {
        self.cudnn_row(cudnn).is_some_and(|row| row.sure)
    }

    fn cudnn_row(&self, cudnn: &Version) -> Option<&Cudnn> {
        self.cudnns.iter().rev().find(|it| it.from <= *cudnn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    #[test]
    fn the_tables_are_read_and_name_their_sources() {
        let facts = facts();
        for table in ["toolkit", "floor", "cudnn", "torch", "tensorflow"] {
            assert!(facts.sources.contains_key(table), "{table}");
        }
        assert!(facts.torch.iter().all(|it| it.python[0] <= it.python[1]));
        let rows = facts.tensorflow.iter();
        assert!(rows.clone().all(|it| it.python[0] <= it.python[1]));
        assert!(
            rows.clone()
                .all(|it| matches!(facts.toolkit(&it.cuda), Known::Released(_)))
        );
    }

    #[test]
    fn rows_stand_in_order() {
        let facts = facts();
        assert!(facts.toolkits.is_sorted_by(|a, b| {
            (&a.version, a.update) > (&b.version, b.update) && a.driver >= b.driver
        }));
        assert!(facts.cudnns.is_sorted_by(|a, b| a.from < b.from));
        let key = |it: &Torch| (it.version.clone(), it.cuda.clone());
        assert!(facts.torch.is_sorted_by(|a, b| key(a) < key(b)));
    }

    /// The vendor's tables, read by eye.
    #[test]
    fn drivers_are_those_of_the_tables() {
        let strict = |cuda: &str| {
            facts()
                .strict_driver(&version(cuda))
                .map(ToString::to_string)
        };
        assert_eq!(strict("12.4").as_deref(), Some("550.54.14"));
        assert_eq!(strict("11.8").as_deref(), Some("520.61.05"));
        assert_eq!(strict("10.1").as_deref(), Some("418.39"));
        assert_eq!(strict("12.7"), None);
        assert_eq!(facts().floor(13), Some(&version("580")));
        assert_eq!(facts().floor(11), Some(&version("450.80.02")));
        assert_eq!(facts().floor(10), None);
    }

    #[test]
    fn a_gap_was_never_released_and_what_is_newer_is_unknown() {
        assert!(matches!(facts().toolkit(&version("12.7")), Known::Never));
        assert!(matches!(
            facts().toolkit(&version("12.9")),
            Known::Released(_)
        ));
        assert!(matches!(facts().toolkit(&version("14.0")), Known::Unknown));
        assert!(matches!(facts().toolkit(&version("5.5")), Known::Unknown));
    }

    #[test]
    fn every_line_of_torch_has_its_own_builds() {
        let torch = |torch: &str, cuda: &str| facts().torch(&version(torch), &version(cuda));
        assert!(matches!(torch("2.6.0", "12.6"), Known::Released(_)));
        assert!(matches!(torch("2.6.0", "12.8"), Known::Never));
        assert!(matches!(torch("2.7.0", "12.8"), Known::Released(_)));
        assert!(matches!(torch("2.5.1", "12.1"), Known::Released(_)));
        assert!(matches!(torch("2.6.0", "12.1"), Known::Never));
        assert!(matches!(torch("3.0.0", "13.4"), Known::Unknown));
    }

    #[test]
    fn cudnn_knows_its_cuda() {
        let cudnn = |cudnn: &str, cuda| facts().cudnn(&version(cudnn), cuda);
        assert_eq!(cudnn("9.10.2.21", 12), Known::Released(()));
        assert_eq!(cudnn("9.10.2.21", 13), Known::Never);
        assert_eq!(cudnn("9.17.1.4", 11), Known::Never);
        assert_eq!(cudnn("8.9.7", 13), Known::Never);
        assert_eq!(cudnn("9.30", 14), Known::Unknown);
        assert_eq!(cudnn("6.0", 8), Known::Unknown);
    }

    /// Rows with and without `sure = false`, read by eye.
    #[test]
    fn what_is_not_sure_says_so() {
        assert!(facts().is_sure_of_cudnn(&version("9.10.2.21")));
        assert!(!facts().is_sure_of_cudnn(&version("9.13.0.50")));
        assert!(!facts().is_sure_of_cudnn(&version("6.0")));
        assert!(facts().is_sure_of_torch(&version("2.6.0")));
        assert!(!facts().is_sure_of_torch(&version("1.8.0")));
        // Its first row is not sure, others are.
        assert!(!facts().is_sure_of_torch(&version("2.7.0")));
        assert!(!facts().torch_builds(&version("2.7.0"))[0].sure);
        assert!(facts().torch_line(&version("2.7.0")).unwrap().sure);
        assert!(!facts().torch_line(&version("1.8.0")).unwrap().sure);
        assert!(facts().torch_line(&version("99.0")).is_none());
    }

    #[test]
    fn tensorflow_has_one_cuda() {
        let row = facts().tensorflow(&version("2.18.1")).unwrap();
        assert_eq!((row.cuda.line(), row.cudnn.line()), ((12, 5), (9, 3)));
        let row = facts().tensorflow(&version("1.15.5")).unwrap();
        assert_eq!((row.cuda.line(), row.cudnn.line()), ((10, 0), (7, 4)));
        assert!(facts().tensorflow(&version("2.99")).is_none());
    }
}
