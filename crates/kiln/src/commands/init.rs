//! `kiln init`: a small family that locks and builds as it is.

use std::{
    fs::{self, File},
    io::{ErrorKind, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use kiln_recipe::FamilyFiles;
use serde_json::json;

use crate::{
    args::{self, Suite},
    error::Failure,
    exit,
    output::{Output, count},
};

/// What the templates leave open.
struct Debian {
    suite: &'static str,
    number: &'static str,
    python: &'static str,
    /// The suite's keys as the reference family has them.
    carried_keyring: &'static [u8],
}

impl Debian {
    const fn of(suite: Suite) -> Self {
        match suite {
            Suite::Bookworm => Self {
                suite: "bookworm",
                number: "12",
                python: "3.11",
                carried_keyring: include_bytes!("../../../../family/keyrings/debian-bookworm.asc"),
            },
            Suite::Trixie => Self {
                suite: "trixie",
                number: "13",
                python: "3.13",
                carried_keyring: include_bytes!("../../../../family/keyrings/debian-trixie.asc"),
            },
        }
    }

    /// The suite's keys: this machine's, which its package manager keeps up to date, else those
    /// that kiln carries. Gives the file name as well.
    fn keyring(&self, host: &Path) -> (String, Vec<u8>) {
        let parts = ["automatic", "security-automatic", "stable"];
        let read = |part| fs::read(host.join(format!("debian-archive-{}-{part}.gpg", self.suite)));
        // Binary keyrings one after the other are a keyring (RFC 9580, section 3.6).
        match parts.map(read) {
            [Ok(archive), Ok(security), Ok(stable)] => (
                format!("debian-{}.gpg", self.suite),
                [archive, security, stable].concat(),
            ),
            _ => (
                format!("debian-{}.asc", self.suite),
                self.carried_keyring.to_owned(),
            ),
        }
    }
}

/// Where Debian's package `debian-archive-keyring` puts keys.
const HOST_KEYRINGS: &str = "/usr/share/keyrings";

const START_SCRIPT: &str = "ides/jupyter/start-notebook.sh";

pub(crate) fn run(args: &args::Init, output: &Output) -> Result<(), Failure> {
    let dir = match &args.dir {
        Some(dir) => dir.clone(),
        None => PathBuf::from("."),
    };
    let name = match &args.name {
        Some(name) => name.clone(),
        None => directory_name(&dir)?,
    };
    let files = files(&name, args.debian, Path::new(HOST_KEYRINGS));
    if kiln_recipe::parse(&files).is_err() {
        let message = format!("`{name}` cannot be the name of a family");
        return Err(Failure::new(exit::USAGE, message).hint(
            "choose one with `--name`: lowercase letters, digits, `.`, `_` and `-`, such as `workbench`",
        ));
    }
    write(&files, &dir)?;
    let names: Vec<_> = files.files.keys().collect();
    if output.is_json() {
        output.json(&json!({"family": name, "dir": dir, "files": names}));
        return Ok(());
    }
    for file in &names {
        output.line(file);
    }
    let number = count(names.len(), "file");
    output.note(format!("wrote {number} to `{}`", dir.display()));
    let next = match args.dir {
        Some(_) => format!("cd {} && kiln lock", dir.display()),
        None => "kiln lock".to_owned(),
    };
    output.note(format!("next: {next}"));
    output.note("      kiln build jupyter-starter");
    output.note("      kiln run jupyter-starter");
    Ok(())
}

/// The last part of a directory's real path.
fn directory_name(dir: &Path) -> Result<String, Failure> {
    let whole = std::path::absolute(dir)
        .map_err(|error| Failure::io("finding the current directory", &error))?;
    // `.` and `..` at the end have no name of their own.
    let whole = whole.canonicalize().unwrap_or(whole);
    let name = whole.file_name().unwrap_or_default();
    Ok(name.to_string_lossy().into_owned())
}

/// The files of the family.
fn files(name: &str, suite: Suite, host_keyrings: &Path) -> FamilyFiles {
    let debian = Debian::of(suite);
    let (keyring, keys) = debian.keyring(host_keyrings);
    let code = format!("d{}", debian.number);
    let fill = |template: &str| {
        let text = template
            .replace("@NAME@", name)
            .replace("@SUITE@", debian.suite)
            .replace("@NUMBER@", debian.number)
            .replace("@CODE@", &code)
            .replace("@PYTHON@", debian.python)
            .replace("@KEYRING@", &keyring);
        text.into_bytes()
    };
    let base = format!("bases/debian-{}.toml", debian.number);
    let script = include_bytes!("../../../../family/ides/jupyter/files/start-notebook.sh");
    let files = [
        ("README.md", fill(include_str!("../../templates/README.md"))),
        ("kiln.toml", fill(include_str!("../../templates/kiln.toml"))),
        (&base, fill(include_str!("../../templates/base.toml"))),
        (
            "bundles/starter/bundle.toml",
            fill(include_str!("../../templates/bundle.toml")),
        ),
        (
            "ides/jupyter/ide.toml",
            fill(include_str!("../../templates/ide.toml")),
        ),
        (START_SCRIPT, script.to_vec()),
        (&format!("keyrings/{keyring}"), keys),
    ];
    FamilyFiles {
        files: files.map(|(path, bytes)| (path.to_owned(), bytes)).into(),
        executables: [START_SCRIPT.to_owned()].into(),
        ..FamilyFiles::default()
    }
}

/// Writes all files, or none where one is there already.
fn write(files: &FamilyFiles, dir: &Path) -> Result<(), Failure> {
    let there = files.files.keys().map(|path| dir.join(path));
    let there: Vec<_> = there
        .filter(|path| path.symlink_metadata().is_ok())
        .collect();
    if let Some(first) = there.first() {
        return Err(exists(first));
    }
    for (path, bytes) in &files.files {
        let path = dir.join(path);
        let failed = |error: std::io::Error| match error.kind() {
            ErrorKind::AlreadyExists => exists(&path),
            _ => Failure::io(&format!("writing `{}`", path.display()), &error),
        };
        fs::create_dir_all(path.parent().unwrap_or(dir)).map_err(failed)?;
        let mut file = File::create_new(&path).map_err(failed)?;
        file.write_all(bytes).map_err(failed)?;
        if path.ends_with(START_SCRIPT) {
            // What the umask leaves to readers, executable for them.
            let mode = file.metadata().map_err(failed)?.permissions().mode();
            let mode = fs::Permissions::from_mode(mode | (mode & 0o444) >> 2);
            file.set_permissions(mode).map_err(failed)?;
        }
    }
    Ok(())
}

fn exists(path: &Path) -> Failure {
    let message = format!("`{}` is there already", path.display());
    Failure::new(exit::USAGE, message)
        .hint("nothing is overwritten: name a directory without a family, as in `kiln init DIR`")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quiet() -> Output {
        Output::new(&args::Global {
            quiet: true,
            ..args::Global::default()
        })
    }

    #[test]
    fn what_is_written_is_a_family_with_two_images() {
        for (suite, code) in [(Suite::Bookworm, "d12-py311"), (Suite::Trixie, "d13-py313")] {
            for host in [HOST_KEYRINGS, "/nowhere"] {
                let files = files("mine", suite, Path::new(host));
                let family = kiln_recipe::parse(&files).unwrap_or_else(|it| panic!("{it}"));
                let names = kiln_recipe::Candidate::of_family(&family);
                let names: Vec<_> = names.into_iter().map(|it| it.name).collect();
                let expected = ["jupyter", "runtime"].map(|ide| format!("{ide}-starter-{code}_1"));
                assert_eq!(names, expected);
                for (path, text) in &files.files {
                    let is_filled = path.starts_with("keyrings/") || path == START_SCRIPT;
                    assert!(is_filled || !text.contains(&b'@'), "{path} has an open gap");
                }
            }
        }
    }

    #[test]
    fn keys_of_this_machine_come_before_those_that_kiln_carries() {
        let host = tempfile::tempdir().unwrap();
        let debian = Debian::of(Suite::Trixie);
        let (name, keys) = debian.keyring(host.path());
        assert_eq!(
            (name.as_str(), &keys[..]),
            ("debian-trixie.asc", debian.carried_keyring)
        );
        for (part, byte) in [
            ("automatic", "1"),
            ("security-automatic", "2"),
            ("stable", "3"),
        ] {
            let name = format!("debian-archive-trixie-{part}.gpg");
            fs::write(host.path().join(name), byte).unwrap();
        }
        let expected = ("debian-trixie.gpg".to_owned(), b"123".to_vec());
        assert_eq!(debian.keyring(host.path()), expected);
    }

    #[test]
    fn nothing_is_overwritten_and_then_nothing_is_written() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("kiln.toml"), "mine").unwrap();
        let files = files("mine", Suite::Trixie, Path::new("/nowhere"));
        let failure = write(&files, dir.path()).unwrap_err();
        assert_eq!(failure.code, exit::USAGE);
        assert_eq!(fs::read(dir.path().join("kiln.toml")).unwrap(), b"mine");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_directory_whose_name_no_family_can_have_needs_a_name() {
        let dir = tempfile::tempdir().unwrap();
        let mut init = args::Init {
            dir: Some(dir.path().join("My Images")),
            name: None,
            debian: Suite::Trixie,
        };
        assert_eq!(run(&init, &quiet()).unwrap_err().code, exit::USAGE);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        init.name = Some("mine".to_owned());
        run(&init, &quiet()).unwrap();
        let script = dir.path().join("My Images").join(START_SCRIPT);
        assert!(fs::metadata(script).unwrap().permissions().mode() & 0o100 != 0);
    }
}
