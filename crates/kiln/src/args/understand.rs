//! Options of commands that explain what is in images.

use std::path::PathBuf;

use clap::{Args as ClapArgs, ValueEnum};
use clap_complete::ArgValueCandidates;

use super::PlatformOption;
use crate::completion;

#[derive(Debug, ClapArgs)]
pub(crate) struct Why {
    /// The package: a Python project or an OS package
    #[arg(value_name = "PACKAGE", add = ArgValueCandidates::new(completion::locked_packages))]
    pub(crate) package: String,
    /// Images: a full name, any unambiguous part of one, or a glob [default: all of the family]
    #[arg(value_name = "IMAGE", add = ArgValueCandidates::new(completion::locked_images))]
    pub(crate) images: Vec<String>,
    /// How many paths are shown, the shortest first
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) paths: u16,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Diff {
    /// What was: an image, a lock file, a git revision (`HEAD~3`), or an image of one (`v1:NAME`)
    #[arg(value_name = "A", add = ArgValueCandidates::new(completion::locked_images))]
    pub(crate) before: String,
    /// What is, in the same words [default: the family's lock as it is now]
    #[arg(value_name = "B", add = ArgValueCandidates::new(completion::locked_images))]
    pub(crate) after: Option<String>,
    #[command(flatten)]
    pub(crate) platform: PlatformOption,
    /// How the comparison is written
    #[arg(long, value_enum, default_value_t = DiffFormat::Text)]
    pub(crate) format: DiffFormat,
}

/// How a comparison or a table is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DiffFormat {
    /// For terminals.
    Text,
    /// For release notes and merge requests.
    Markdown,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Outdated {
    /// Images: full names, any unambiguous part of one, or globs [default: all]
    #[arg(value_name = "IMAGE", add = ArgValueCandidates::new(completion::locked_images))]
    pub(crate) images: Vec<String>,
    /// Only packages that the family names itself
    #[arg(long)]
    pub(crate) direct: bool,
    /// Leave out OS packages, whose archives are read anew
    #[arg(long)]
    pub(crate) no_os: bool,
    /// Exit code 1 when a version is newer than the locked one, or the locked one is yanked
    #[arg(long)]
    pub(crate) exit_code: bool,
    /// How the table is written
    #[arg(long, value_enum, default_value_t = DiffFormat::Text)]
    pub(crate) format: DiffFormat,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Size {
    /// The image: a full name or any unambiguous part of one
    #[arg(value_name = "IMAGE", add = ArgValueCandidates::new(completion::locked_images))]
    pub(crate) image: String,
    #[command(flatten)]
    pub(crate) platform: PlatformOption,
    /// How many packages are shown, the largest first
    #[arg(long, value_name = "N", default_value_t = 15)]
    pub(crate) packages: u16,
    /// Write a page with a map of all directories, which needs nothing but a browser
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
}
