//! Options of `kiln add` and `kiln remove`.

use clap::{Args as ClapArgs, ValueEnum};
use clap_complete::ArgValueCandidates;
use kiln_recipe::edit;

use super::lock::day_or_instant;
use crate::completion;

#[derive(Debug, ClapArgs)]
pub(crate) struct Add {
    /// Python requirements, such as `polars`, `polars~=1.35.0` or `uvicorn[standard]`; with `--os`,
    /// Debian packages
    #[arg(value_name = "PACKAGE", required = true)]
    pub(crate) packages: Vec<String>,
    /// The component that asks for them: a bundle, or `KIND/NAME`
    #[arg(long, value_name = "COMPONENT", add = ArgValueCandidates::new(completion::components))]
    pub(crate) to: String,
    /// What is written for a package without a version, from the one that is chosen
    #[arg(long, value_enum, default_value_t = Bounds::Minor, conflicts_with_all = ["os", "no_lock"])]
    pub(crate) bounds: Bounds,
    #[command(flatten)]
    pub(crate) options: EditOptions,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Remove {
    /// Names of Python projects; with `--os`, of Debian packages
    #[arg(value_name = "PACKAGE", required = true, add = ArgValueCandidates::new(completion::required_packages))]
    pub(crate) packages: Vec<String>,
    /// The component that asks for them: a bundle, or `KIND/NAME`
    #[arg(long, visible_alias = "to", value_name = "COMPONENT", add = ArgValueCandidates::new(completion::components))]
    pub(crate) from: String,
    #[command(flatten)]
    pub(crate) options: EditOptions,
}

/// How a file is edited and the family locked after that.
#[derive(Debug, Clone, ClapArgs)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an option of its own"
)]
pub(crate) struct EditOptions {
    /// OS packages (`packages`) instead of Python requirements
    #[arg(long)]
    pub(crate) os: bool,
    /// Say what would change, and write nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Edit the file alone; the lock does not fit then
    #[arg(long)]
    pub(crate) no_lock: bool,
    /// Also move images of which no component asks for anything else than before
    #[arg(long, conflicts_with = "no_lock")]
    pub(crate) allow_moves: bool,
    /// Ignore Python files uploaded after this day or instant (RFC 3339)
    #[arg(long, value_name = "WHEN", value_parser = day_or_instant, conflicts_with = "no_lock")]
    pub(crate) exclude_newer: Option<String>,
    /// Do not look for what is wrong with the locked images
    #[arg(long)]
    pub(crate) no_lint: bool,
}

/// What is written of versions where nothing was said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Bounds {
    /// `~=X.Y.0`: the last number moves
    Minor,
    /// `~=X.Y`: all but the first number move
    Major,
    /// `>=X.Y.Z`: this one or any later one
    Lower,
    /// `==X.Y.Z`: this one
    Exact,
    /// Nothing
    None,
}

impl From<Bounds> for edit::Bounds {
    fn from(bounds: Bounds) -> Self {
        match bounds {
            Bounds::Minor => Self::Minor,
            Bounds::Major => Self::Major,
            Bounds::Lower => Self::Lower,
            Bounds::Exact => Self::Exact,
            Bounds::None => Self::None,
        }
    }
}
