//! Options of `kiln lock` and `kiln lint`.

use clap::Args as ClapArgs;
use clap_complete::ArgValueCandidates;

use crate::completion;

#[derive(Debug, ClapArgs)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an option of its own"
)]
pub(crate) struct Lock {
    /// Only say whether the lock fits the family; exit code 1 if it does not
    #[arg(long, conflicts_with_all = ["upgrade", "relock_gone"])]
    pub(crate) check: bool,
    /// Move everything to the newest versions that fit, not only what changed
    #[arg(long)]
    pub(crate) upgrade: bool,
    /// Move packages whose locked file the source no longer has, and only them
    #[arg(long)]
    pub(crate) relock_gone: bool,
    /// Also move images of which no component asks for anything else than before
    #[arg(long, conflicts_with = "check")]
    pub(crate) allow_moves: bool,
    /// Ignore Python files uploaded after this day or instant (RFC 3339)
    #[arg(long, value_name = "WHEN", value_parser = day_or_instant)]
    pub(crate) exclude_newer: Option<String>,
    /// Do not look for what is wrong with the locked images
    #[arg(long)]
    pub(crate) no_lint: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Lint {
    /// Images: full names, any unambiguous part of one, or globs [default: all]
    #[arg(value_name = "IMAGE", add = ArgValueCandidates::new(completion::locked_images))]
    pub(crate) images: Vec<String>,
}

/// Accepts `2026-11-22` and RFC 3339 instants. uv would refuse others too, but only when something
/// must be chosen.
pub(super) fn day_or_instant(text: &str) -> Result<String, String> {
    let day = text.parse::<jiff::civil::Date>();
    let day = day.ok().filter(|_| text.len() == "YYYY-MM-DD".len());
    // A day means its end in UTC: left to uv it would mean another instant on another machine.
    if let Some(next) = day.and_then(|day| day.tomorrow().ok()) {
        return Ok(format!("{next}T00:00:00Z"));
    }
    if text.parse::<jiff::Timestamp>().is_ok() {
        return Ok(text.to_owned());
    }
    Err("not a day such as `2026-11-22` or an instant such as `2026-11-22T08:00:00Z`".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_days_or_instants() {
        let day = day_or_instant("2026-11-30");
        assert_eq!(day.as_deref(), Ok("2026-12-01T00:00:00Z"));
        for good in ["2026-11-22T08:00:00Z", "2026-11-22T08:00:00+01:00"] {
            assert_eq!(day_or_instant(good), Ok(good.to_owned()));
        }
        for bad in [
            "",
            "nonsense",
            "2026-13-01",
            "22.11.2026",
            "2026-11-22T08:00:00",
        ] {
            assert!(day_or_instant(bad).is_err(), "{bad}");
        }
    }
}
