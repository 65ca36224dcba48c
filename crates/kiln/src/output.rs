//! What kiln says: results on standard output, all else on standard error.

use std::io::{IsTerminal, Write};

use serde::Serialize;

use crate::{
    args::{Format, Global},
    error::Failure,
};

/// Where and how to write.
pub(crate) struct Output {
    pub(crate) format: Format,
    pub(crate) verbosity: i8,
    color: bool,
}

impl Output {
    pub(crate) fn new(global: &Global) -> Self {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let verbosity = if global.quiet {
            -1
        } else {
            i8::try_from(global.verbose).unwrap_or(i8::MAX)
        };
        Self {
            format: global.output,
            verbosity,
            color: !plain && std::io::stderr().is_terminal(),
        }
    }

    pub(crate) fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// How many characters a line of a result may have: the terminal's, else `COLUMNS`, else 100.
    #[expect(
        clippy::unused_self,
        reason = "all that is written goes through an output"
    )]
    pub(crate) fn width(&self) -> usize {
        let stdout = std::io::stdout();
        let terminal = rustix::termios::tcgetwinsize(&stdout).ok();
        let terminal = terminal.map(|size| usize::from(size.ws_col));
        let said = || std::env::var("COLUMNS").ok()?.parse().ok();
        let width = terminal.filter(|&width| width > 0).or_else(said);
        width.unwrap_or(100)
    }

    /// Writes a line of a result. A reader that has gone away (`kiln … | head`) is no error.
    #[expect(
        clippy::unused_self,
        reason = "all that is written goes through an output"
    )]
    pub(crate) fn line(&self, text: impl AsRef<str>) {
        let mut out = std::io::stdout().lock();
        let _ = writeln!(out, "{}", text.as_ref());
    }

    /// Writes a result or an event as one line of JSON.
    pub(crate) fn json(&self, value: &impl Serialize) {
        if let Ok(text) = serde_json::to_string(value) {
            self.line(text);
        }
    }

    /// Says something about the work on standard error, unless `--quiet`.
    pub(crate) fn note(&self, text: impl AsRef<str>) {
        if self.verbosity >= 0 {
            let mut err = std::io::stderr().lock();
            let _ = writeln!(err, "{}", text.as_ref());
        }
    }

    /// Warns on standard error.
    pub(crate) fn warning(&self, text: impl AsRef<str>) {
        let label = self.paint("33;1", "warning:");
        let mut err = std::io::stderr().lock();
        let _ = writeln!(err, "{label} {}", text.as_ref());
    }

    /// Shows why the command failed.
    pub(crate) fn failure(&self, failure: &Failure) {
        if self.is_json() {
            self.json(&failure.as_json());
            return;
        }
        let mut err = std::io::stderr().lock();
        let _ = err.write_all(self.failure_text(failure).as_bytes());
    }

    pub(crate) fn failure_text(&self, failure: &Failure) -> String {
        let details = failure.details.iter().map(|detail| detail.trim_end());
        let mut lines: Vec<_> = details.map(str::to_owned).collect();
        lines.push(format!(
            "{} {}",
            self.paint("31;1", "error:"),
            failure.message
        ));
        for cause in &failure.causes {
            lines.push(format!("  caused by: {}", cause.replace('\n', "\n    ")));
        }
        if let Some((first, others)) = failure.images.split_first() {
            lines.push(match others {
                [] => format!("  not built: {first}"),
                [second] => format!("  not built: {first}, {second}"),
                others => format!("  not built: {first} and {} others", others.len()),
            });
        }
        if let Some(hint) = &failure.hint {
            lines.push(format!("{} {hint}", self.paint("36;1", "hint:")));
        }
        lines.join("\n") + "\n"
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.color {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

/// Bytes for people, in decimal units as registries count: `312.4 MB`.
#[expect(clippy::cast_precision_loss, reason = "one decimal place is shown")]
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if count < 1000 {
        return format!("{count} B");
    }
    let mut value = count as f64 / 1000.0;
    let mut unit = 0;
    while value >= 999.95 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// `1 layer`, `3 layers`.
pub(crate) fn count(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

/// At most `width` characters of a text.
pub(crate) fn shortened(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let head: String = text.chars().take(width.saturating_sub(1)).collect();
    format!("{head}…")
}

#[cfg(test)]
mod tests {
    use kiln_build::{BuildError, ExecuteError};
    use kiln_digest::Digest;
    use kiln_sandbox::{ExitStatus, SandboxError};

    use super::*;

    fn plain() -> Output {
        Output {
            format: Format::Text,
            verbosity: 0,
            color: false,
        }
    }

    fn step(error: SandboxError) -> Failure {
        Failure::from(BuildError::Step {
            title: "debian-12: configure 122 OS packages".to_owned(),
            key: Digest::of(b"action"),
            source: Box::new(ExecuteError::Sandbox(error)),
        })
    }

    fn command_failed(state: Option<&str>) -> SandboxError {
        SandboxError::CommandFailed {
            argv: ["/usr/bin/dpkg", "--configure", "-a"]
                .map(Into::into)
                .into(),
            status: ExitStatus::Exited(1),
            cause: None,
            tail: ["Setting up wrong (1.0) ...", "wrong: cannot do it"]
                .map(Into::into)
                .into(),
            state: state.map(Into::into),
        }
    }

    #[test]
    fn a_failed_command_shows_what_it_printed_and_how_to_look_at_it() {
        let failure = step(command_failed(Some("/store/rootfs/scratch/state")));
        assert_eq!(failure.code, crate::exit::SANDBOX);
        insta::assert_snapshot!(plain().failure_text(&failure), @r"
        Setting up wrong (1.0) ...
        wrong: cannot do it
        error: building `debian-12: configure 122 OS packages`
          caused by: `/usr/bin/dpkg --configure -a` exited with status 1
        hint: `kiln debug bd938c688f49` opens a shell where it failed
        ");
    }

    #[test]
    fn a_failure_of_some_images_names_them() {
        let failure = |images: &[&str]| {
            let images = images.iter().map(|&name| name.to_owned());
            plain().failure_text(&step(command_failed(None)).of_images(images))
        };
        insta::assert_snapshot!(failure(&["runtime-a"]), @r"
        Setting up wrong (1.0) ...
        wrong: cannot do it
        error: building `debian-12: configure 122 OS packages`
          caused by: `/usr/bin/dpkg --configure -a` exited with status 1
          not built: runtime-a
        ");
        assert!(failure(&["a", "b"]).ends_with("  not built: a, b\n"));
        assert!(failure(&["a", "b", "c"]).ends_with("  not built: a and 2 others\n"));
    }

    #[test]
    fn there_is_no_shell_where_nothing_was_kept() {
        insta::assert_snapshot!(plain().failure_text(&step(command_failed(None))), @r"
        Setting up wrong (1.0) ...
        wrong: cannot do it
        error: building `debian-12: configure 122 OS packages`
          caused by: `/usr/bin/dpkg --configure -a` exited with status 1
        ");
    }

    #[test]
    fn a_machine_without_user_namespaces_is_told_what_to_enable() {
        let failure = step(SandboxError::NoUserNamespaces {
            reason: "user.max_user_namespaces is 0".to_owned(),
            hint: "as root, `sysctl -w user.max_user_namespaces=15000`".to_owned(),
        });
        assert_eq!(failure.code, crate::exit::SANDBOX);
        insta::assert_snapshot!(plain().failure_text(&failure), @r"
        error: building `debian-12: configure 122 OS packages`
          caused by: this machine does not allow user namespaces: user.max_user_namespaces is 0
        hint: as root, `sysctl -w user.max_user_namespaces=15000`
        ");
    }

    #[test]
    fn a_full_disk_is_no_fault_of_the_sandbox() {
        let failure = step(SandboxError::Io {
            what: "writing `layer`".to_owned(),
            source: std::io::ErrorKind::StorageFull.into(),
        });
        assert_eq!(failure.code, crate::exit::STORAGE);
    }

    #[test]
    fn a_text_is_cut_where_it_is_too_long() {
        assert_eq!(shortened("äöü", 3), "äöü");
        assert_eq!(shortened("äöüß", 3), "äö…");
        assert_eq!(shortened("a", 0), "…");
    }

    #[test]
    fn bytes_are_shown_in_decimal_units() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(1000), "1.0 kB");
        assert_eq!(bytes(999_949), "999.9 kB");
        assert_eq!(bytes(999_950), "1.0 MB");
        assert_eq!(bytes(312_400_000), "312.4 MB");
        assert_eq!(bytes(5_700_000_000), "5.7 GB");
        assert_eq!(bytes(u64::MAX), "18446744.1 TB");
    }
}
