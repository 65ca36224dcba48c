//! Options of commands that start a program in an image.

use std::{path::PathBuf, str::FromStr};

use clap::Args as ClapArgs;
use clap_complete::ArgValueCandidates;
use kiln_sandbox::Volume;

use super::PlatformOption;
use crate::completion;

#[derive(Debug, ClapArgs)]
pub(crate) struct Run {
    /// The image: a full name or any unambiguous part of one
    #[arg(value_name = "IMAGE", add = ArgValueCandidates::new(completion::stored_images))]
    pub(crate) image: String,
    #[command(flatten)]
    pub(crate) program: ProgramOptions,
    /// The port of 127.0.0.1 on which the image's server listens [default: the image's own, or the
    /// next one that is free]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..), conflicts_with = "command")]
    pub(crate) port: Option<u16>,
    /// What to run instead of the image's own command
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Shell {
    /// The image: a full name or any unambiguous part of one
    #[arg(value_name = "IMAGE", add = ArgValueCandidates::new(completion::stored_images))]
    pub(crate) image: String,
    #[command(flatten)]
    pub(crate) program: ProgramOptions,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Debug {
    /// The action: the first digits of its key, or a part of its title; all are listed without
    #[arg(value_name = "ACTION")]
    pub(crate) action: Option<String>,
    /// Remove what it has left
    #[arg(long, requires = "action")]
    pub(crate) discard: bool,
}

/// How a program in an image runs.
#[derive(Debug, ClapArgs)]
pub(crate) struct ProgramOptions {
    #[command(flatten)]
    pub(crate) platform: PlatformOption,
    /// The user to run as, by number; the group is 0 unless given [default: the image's]
    #[arg(short, long, value_name = "UID[:GID]")]
    pub(crate) user: Option<UserOption>,
    /// Set a variable, or take it from here; may be given several times
    #[arg(short, long, value_name = "NAME[=VALUE]", value_parser = variable)]
    pub(crate) env: Vec<Variable>,
    /// Show a directory or file of this machine inside; may be given several times
    #[arg(long, value_name = "SOURCE:TARGET[:ro]", value_parser = volume)]
    pub(crate) volume: Vec<Volume>,
    /// The working directory [default: the image's]
    #[arg(short, long, value_name = "DIR", value_parser = directory)]
    pub(crate) workdir: Option<String>,
    /// Let nothing be written but volumes and directories for temporary files
    #[arg(long)]
    pub(crate) read_only: bool,
}

/// A user and a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UserOption {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// An environment variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Variable {
    pub(crate) name: String,
    /// None: what it is in kiln's own environment, if it is there.
    pub(crate) value: Option<String>,
}

impl FromStr for UserOption {
    type Err = String;

    /// `1000` or `1000:1000`. As engines do it, the group is 0 when none is given.
    fn from_str(text: &str) -> Result<Self, String> {
        let (uid, gid) = text.split_once(':').unwrap_or((text, "0"));
        // The largest number means "leave it" to chown(2) and its kin.
        let id = |text: &str| text.parse().ok().filter(|id| *id != u32::MAX);
        match (id(uid), id(gid)) {
            (Some(uid), Some(gid)) => Ok(Self { uid, gid }),
            _ => Err("not a number such as `1000`, or two such as `1000:100`".to_owned()),
        }
    }
}

fn variable(text: &str) -> Result<Variable, String> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (text, None),
    };
    if name.is_empty() {
        return Err("the name of a variable is missing".to_owned());
    }
    let name = name.to_owned();
    Ok(Variable { name, value })
}

fn volume(text: &str) -> Result<Volume, String> {
    let mut parts = text.split(':');
    let (Some(source), Some(target), mode, None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err("not of the form SOURCE:TARGET or SOURCE:TARGET:ro".to_owned());
    };
    let read_only = match mode {
        None | Some("rw") => false,
        Some("ro") => true,
        Some(other) => return Err(format!("`{other}` is neither `ro` nor `rw`")),
    };
    if source.is_empty() {
        return Err("SOURCE is missing".to_owned());
    }
    let target = directory(target)?;
    if target == "/" {
        return Err("a volume cannot take the place of the whole image".to_owned());
    }
    Ok(Volume {
        source: PathBuf::from(source),
        target,
        read_only,
    })
}

/// A path inside: absolute, and without parts that lead elsewhere.
fn directory(text: &str) -> Result<String, String> {
    let trimmed = text.trim_end_matches('/');
    let plain = |part: &str| !matches!(part, "" | "." | "..");
    match trimmed.strip_prefix('/') {
        Some(rest) if rest.split('/').all(plain) => Ok(trimmed.to_owned()),
        None if text.starts_with('/') => Ok("/".to_owned()),
        _ => Err("not an absolute path without `.` and `..`".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_numbers_and_have_group_0_unless_told() {
        let id = |uid, gid| Ok(UserOption { uid, gid });
        assert_eq!("1000".parse(), id(1000, 0));
        assert_eq!("1000:100".parse(), id(1000, 100));
        assert_eq!("1000660000:0".parse(), id(1_000_660_000, 0));
        for bad in ["", ":", "1000:", ":0", "root", "-1", "4294967295", "1:2:3"] {
            assert!(bad.parse::<UserOption>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_variable_has_a_name_and_perhaps_a_value() {
        let of = |text| variable(text).map(|it| (it.name, it.value));
        assert_eq!(of("A=b=c"), Ok(("A".into(), Some("b=c".into()))));
        assert_eq!(of("A="), Ok(("A".into(), Some(String::new()))));
        assert_eq!(of("A"), Ok(("A".into(), None)));
        assert!(of("=b").is_err());
        assert!(of("").is_err());
    }

    #[test]
    fn a_volume_has_two_ends_and_perhaps_a_mode() {
        let of = |text| volume(text).map(|it| (it.source, it.target, it.read_only));
        let expected = |read_only| Ok((PathBuf::from("data"), "/srv/data".to_owned(), read_only));
        assert_eq!(of("data:/srv/data"), expected(false));
        assert_eq!(of("data:/srv/data/"), expected(false));
        assert_eq!(of("data:/srv/data:rw"), expected(false));
        assert_eq!(of("data:/srv/data:ro"), expected(true));
        for bad in [
            "",
            "data",
            ":/srv",
            "data:",
            "data:/",
            "data:srv",
            "data:/a/../b",
            "data:/a//b",
            "data:/a:z",
            "data:/a:ro:x",
        ] {
            assert!(of(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_root_is_a_directory() {
        assert_eq!(directory("/"), Ok("/".to_owned()));
        assert_eq!(directory("/a/"), Ok("/a".to_owned()));
        assert!(directory("").is_err());
    }
}
