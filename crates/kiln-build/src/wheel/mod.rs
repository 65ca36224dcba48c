//! `build-wheel`: a source distribution → a wheel, in its canonical form.
//!
//! The sandbox gets the layers of the operating system and on top of them one layer that is made
//! here ([`environment`]):
//!
//! - `/build/env`, a virtual environment with the build requirements, installed as they are in
//!   images;
//! - `/build/source`, the source distribution;
//! - `/build/driver.py`, which calls one hook of the build back end (PEP 517);
//! - `/build/dist`, which alone is captured.
//!
//! Paths are the same in every build, since compilers write them into what they make. The
//! environment of the process is cleared and set as [`variables`] says. What the back end wrote
//! is then rewritten in canonical form ([`kiln_package::wheel::canonical()`]), so that archives
//! differ only where the content of files does.

mod describe;
mod error;

use std::{collections::BTreeMap, io::Write};

use bytes::Bytes;
use kiln_layer::{
    Compression, Contribution, Entry, EntryKind, EntryPath, ParentPolicy, Payload,
    REPRODUCIBLE_MTIME, merge, write_layer,
};
use kiln_package::{
    sdist::{self, BuildSystem, Sdist},
    wheel::{self, Placement},
};
use kiln_plan::{BuildProduct, BuildWheel};
use kiln_sandbox::{Command, Job, LayerBlob, Limits, Step};
use rayon::prelude::*;

pub use describe::{DescribeError, describe, requires};
pub use error::BuildWheelError;

use crate::execute::{Context, ExecuteError, OpenInput, read};

const DRIVER: &str = include_str!("driver.py");

const DIRECTORY: &str = "build";
const ENVIRONMENT: &str = "build/env";
const SOURCE: &str = "build/source";
const DIST: &str = "build/dist";

/// What the driver leaves when it is asked for requirements.
const REQUIREMENTS: &str = "build/dist/requirements.json";

/// The wheel, or the list of its further build requirements.
pub(crate) fn build(action: &BuildWheel, context: &Context<'_>) -> Result<Bytes, ExecuteError> {
    let failed = |source| ExecuteError::BuildWheel {
        sdist: action.sdist.file.clone(),
        source,
    };
    let archive = read(&action.sdist, context.open)?;
    let sdist = sdist::read(&archive, &action.sdist.file, context.spool)
        .map_err(|error| failed(error.into()))?;
    let build_system = sdist.build_system.clone();

    let spool = |source| ExecuteError::Blob(source);
    let mut file = tempfile::NamedTempFile::new_in(context.spool).map_err(spool)?;
    let entries = environment(action, sdist, context.open)?;
    let layer = write_layer(&entries, Compression::Zstd, &mut file)?;
    file.flush().map_err(spool)?;
    let mut layers = context.layers(&action.layers)?;
    layers.push(LayerBlob {
        diff_id: layer.diff_id,
        path: file.path().to_owned(),
    });
    let job = Job {
        layers,
        compare: None,
        binds: Vec::new(),
        steps: vec![Step::Run(command(action, &build_system))],
        limits: Limits::default(),
        capture: vec![format!("/{DIST}")],
    };
    let made = context.run(&job)?;
    match action.product {
        BuildProduct::Wheel => built_wheel(&made, context),
        BuildProduct::Requirements => further_requirements(&made),
    }
    .map_err(failed)
}

/// The entries of the layer in which the build happens.
fn environment(
    action: &BuildWheel,
    sdist: Sdist,
    open: &OpenInput<'_>,
) -> Result<Vec<Entry>, ExecuteError> {
    let failed = |source| ExecuteError::BuildWheel {
        sdist: action.sdist.file.clone(),
        source,
    };
    let placement = Placement {
        prefix: EntryPath::new(ENVIRONMENT)?,
        python: python(&action.executable).map_err(failed)?,
        uid: 0,
        gid: 0,
        directory_mode: 0o755,
        file_mode: 0o644,
        executable_mode: 0o755,
    };
    let unusable = |file: &str| {
        let file = file.to_owned();
        |source| ExecuteError::Wheel { file, source }
    };
    let mut contributions = action
        .requirements
        .par_iter()
        .map(|archive| {
            let bytes = read(archive, open)?;
            let file = &archive.file;
            Ok(Contribution {
                package: file.clone(),
                entries: wheel::entries(&bytes, file, &placement).map_err(unusable(file))?,
            })
        })
        .collect::<Result<Vec<_>, ExecuteError>>()?;
    let mut add = |package: &str, entries| {
        let package = package.to_owned();
        contributions.push(Contribution { package, entries });
    };
    let venv = wheel::venv(&placement, &action.executable);
    add(
        "virtual environment",
        venv.map_err(unusable(&action.executable))?,
    );
    let below = EntryPath::new(SOURCE)?;
    let source = sdist.entries.into_iter().map(|entry| {
        let path = below.join(entry.path.as_bytes())?;
        Ok(Entry { path, ..entry })
    });
    add(
        &action.sdist.file,
        source.collect::<Result<_, ExecuteError>>()?,
    );
    let driver = EntryKind::File(Payload::Plain(Bytes::from_static(DRIVER.as_bytes())));
    add(
        "driver",
        vec![
            entry(EntryPath::new(DIRECTORY)?.join(b"driver.py")?, driver),
            entry(EntryPath::new(DIST)?, EntryKind::Directory),
        ],
    );
    Ok(merge(
        contributions,
        &BTreeMap::new(),
        &ParentPolicy::default(),
    )?)
}

fn entry(path: EntryPath, kind: EntryKind) -> Entry {
    let mode = match kind {
        EntryKind::Directory => 0o755,
        _ => 0o644,
    };
    Entry {
        path,
        kind,
        mode,
        uid: 0,
        gid: 0,
        mtime: REPRODUCIBLE_MTIME,
        capability: None,
    }
}

/// The version of the interpreter `/usr/bin/pythonX.Y`.
fn python(executable: &str) -> Result<(u8, u8), BuildWheelError> {
    let parse = || {
        let (_, version) = executable.rsplit_once("/python")?;
        let (major, minor) = version.split_once('.')?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    };
    parse().ok_or_else(|| BuildWheelError::Interpreter(executable.to_owned()))
}

fn command(action: &BuildWheel, system: &BuildSystem) -> Command {
    let mut argv = vec![
        format!("/{ENVIRONMENT}/bin/python"),
        format!("/{DIRECTORY}/driver.py"),
        system.backend.clone(),
        serde_json::Value::from(system.backend_path.clone()).to_string(),
        format!("/{DIST}"),
    ];
    if action.product == BuildProduct::Requirements {
        argv.push("requirements".to_owned());
    }
    Command {
        argv,
        env: variables(&action.env),
        cwd: format!("/{SOURCE}"),
        uid: 0,
        gid: 0,
        umask: 0o022,
    }
}

/// The environment of a build. What the family says holds.
fn variables(own: &BTreeMap<String, String>) -> Vec<(String, String)> {
    let path = format!("/{ENVIRONMENT}/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin");
    let mut all: BTreeMap<String, String> = [
        ("HOME", "/tmp"),
        ("LC_ALL", "C.UTF-8"),
        ("PATH", &path),
        // Compiled modules would become part of some wheels.
        ("PYTHONDONTWRITEBYTECODE", "1"),
        // Some back ends write sets in the order of their hashes.
        ("PYTHONHASHSEED", "0"),
        ("PYTHONNOUSERSITE", "1"),
        // 1980-01-01, where zip archives begin (reproducible-builds.org, "SOURCE_DATE_EPOCH").
        ("SOURCE_DATE_EPOCH", "315532800"),
        ("TZ", "UTC"),
        ("VIRTUAL_ENV", "/build/env"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    all.extend(
        own.iter()
            .map(|(name, value)| (name.clone(), value.clone())),
    );
    all.into_iter().collect()
}

/// The one wheel among what was captured, in canonical form.
fn built_wheel(made: &[Entry], context: &Context<'_>) -> Result<Bytes, BuildWheelError> {
    let wheels: Vec<&Bytes> = made
        .iter()
        .filter(|entry| entry.path.as_bytes().ends_with(b".whl"))
        .filter_map(content)
        .collect();
    let [wheel] = wheels[..] else {
        return Err(BuildWheelError::Count(wheels.len()));
    };
    Ok(wheel::canonical(wheel, context.spool)?)
}

fn further_requirements(made: &[Entry]) -> Result<Bytes, BuildWheelError> {
    let answer = made
        .iter()
        .find(|entry| entry.path.as_bytes() == REQUIREMENTS.as_bytes())
        .and_then(content)
        .ok_or(BuildWheelError::Requirements(None))?;
    let unusable = |error| BuildWheelError::Requirements(Some(error));
    let list: Vec<String> = serde_json::from_slice(answer).map_err(unusable)?;
    Ok(serde_json::to_vec(&list).map_err(unusable)?.into())
}

fn content(entry: &Entry) -> Option<&Bytes> {
    match &entry.kind {
        EntryKind::File(Payload::Plain(content)) => Some(content),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use kiln_digest::Digest;
    use kiln_package::zip;
    use kiln_plan::Archive;

    use super::*;

    #[test]
    fn the_version_of_python_is_in_the_name_of_the_interpreter() {
        assert_eq!(python("/usr/bin/python3.13").ok(), Some((3, 13)));
        for name in ["python3.13", "/usr/bin/python3", "/usr/bin/pypy3.10", ""] {
            assert!(python(name).is_err(), "{name}");
        }
    }

    #[test]
    fn the_family_has_the_last_word_on_variables() {
        let own = BTreeMap::from([
            ("CFLAGS".to_owned(), "-O1".to_owned()),
            ("SOURCE_DATE_EPOCH".to_owned(), "1".to_owned()),
        ]);
        let all: BTreeMap<_, _> = variables(&own).into_iter().collect();
        assert_eq!(all["CFLAGS"], "-O1");
        assert_eq!(all["SOURCE_DATE_EPOCH"], "1");
        assert_eq!(all["PYTHONHASHSEED"], "0");
    }

    /// A tiny wheel of the project, and its file name.
    fn requirement(name: &str) -> (String, Bytes) {
        let info = format!("{name}-1.dist-info");
        let members = [
            (format!("{name}.py"), String::new()),
            (
                format!("{info}/METADATA"),
                format!("Name: {name}\nVersion: 1\n"),
            ),
            (
                format!("{info}/WHEEL"),
                "Wheel-Version: 1.0\nTag: py3-none-any\n".to_owned(),
            ),
            (
                format!("{info}/RECORD"),
                format!("{name}.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n"),
            ),
        ];
        let members = members.iter().map(|(name, text)| zip::NewMember {
            name,
            mode: 0o644,
            content: text.as_bytes(),
        });
        let mut archive = Vec::new();
        zip::write(members, &mut archive).unwrap();
        (format!("{name}-1-py3-none-any.whl"), archive.into())
    }

    #[test]
    fn a_build_environment_is_one_layer_that_root_owns() {
        let files: BTreeMap<Digest, Bytes> = ["a", "b"]
            .map(requirement)
            .map(|(_, bytes)| (Digest::of(&bytes), bytes))
            .into();
        let archive = |name: &str| {
            let (file, bytes) = requirement(name);
            let sha256 = Digest::of(&bytes);
            Archive { file, sha256 }
        };
        let mut sdist = Vec::new();
        let member = zip::NewMember {
            name: "x-1/setup.py",
            mode: 0o644,
            content: b"",
        };
        zip::write([member], &mut sdist).unwrap();
        let spool = std::env::temp_dir();
        let sdist = sdist::read(&sdist.into(), "x-1.zip", &spool).unwrap();
        let action = BuildWheel {
            product: BuildProduct::Wheel,
            layers: Vec::new(),
            executable: "/usr/bin/python3.11".to_owned(),
            sdist: archive("a"),
            requirements: vec![archive("a"), archive("b")],
            env: BTreeMap::new(),
        };
        let entries = environment(&action, sdist, &|digest| Ok(files[digest].clone())).unwrap();
        let paths: Vec<String> = entries.iter().map(|it| it.path.to_string()).collect();
        for path in [
            "build/dist",
            "build/driver.py",
            "build/env/bin/python",
            "build/env/lib/python3.11/site-packages/a.py",
            "build/env/lib/python3.11/site-packages/b.py",
            "build/source/setup.py",
        ] {
            assert!(paths.iter().any(|it| it == path), "{path}");
        }
        assert!(paths.is_sorted());
        assert!(entries.iter().all(|it| (it.uid, it.gid) == (0, 0)));
    }

    #[test]
    fn one_wheel_is_expected_and_not_two() {
        let file = |name: &str| {
            let payload = Payload::Plain(Bytes::from_static(b"[\"wheel\"]"));
            entry(
                EntryPath::new(format!("build/dist/{name}")).unwrap(),
                EntryKind::File(payload),
            )
        };
        let answer = further_requirements(&[file("requirements.json")]).unwrap();
        assert_eq!(&answer[..], b"[\"wheel\"]");
        assert!(further_requirements(&[file("x.whl")]).is_err());
    }
}
