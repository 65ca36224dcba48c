//! Options of commands that begin a family or describe its files.

use std::path::PathBuf;

use clap::{Args as ClapArgs, ValueEnum};

#[derive(Debug, ClapArgs)]
pub(crate) struct Init {
    /// Where: a directory that is empty or not there yet [default: here]
    #[arg(value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// The name of the family [default: the directory's]
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// The suite of Debian to begin with
    #[arg(long, value_enum, default_value_t = Suite::Trixie)]
    pub(crate) debian: Suite,
}

/// Suites of Debian that `kiln init` knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Suite {
    /// Debian 12 with Python 3.11.
    Bookworm,
    /// Debian 13 with Python 3.13.
    Trixie,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Schema {
    /// What to print the schema of; all kinds are listed without
    #[arg(value_name = "KIND")]
    pub(crate) kind: Option<String>,
    /// Write all schemas into a directory, as `KIND.schema.json`
    #[arg(long, value_name = "DIR", conflicts_with = "kind")]
    pub(crate) all: Option<PathBuf>,
}
