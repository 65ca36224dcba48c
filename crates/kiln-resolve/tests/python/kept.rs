//! What uv is given, what becomes of its answers, and what needs no uv at all. A script in a
//! wheel of the index plays uv.

use std::fmt::Write as _;

use kiln_fetch::FetchError;
use kiln_resolve::{
    Event, Options, ResolveError,
    python::{PythonError, tool::ToolError},
};

use crate::{
    family::{Workshop, family, read, render, sets},
    index::{wheel, zip},
};

const BUNDLES: &[(&str, &str)] = &[(
    "bundles/b/bundle.toml",
    "requirements = ['alpha<2', 'gamma>=3']\n",
)];

/// Offers a uv 9.9.9 that notes what it is given and then does as told.
pub(crate) fn offer_uv(workshop: &Workshop, script: &str) {
    let notes = "#!/bin/sh\necho run >> \"$UV_CACHE_DIR/runs\"\nenv > \"$UV_CACHE_DIR/env\"\n\
         printf '%s\\n' \"$@\" > \"$UV_CACHE_DIR/arguments\"\nls > \"$UV_CACHE_DIR/files\"\n\
         cp uv.toml \"$UV_CACHE_DIR/configuration\"\n";
    let script = format!("{notes}{script}");
    let archive = zip(&[("uv-9.9.9.data/scripts/uv", script.as_bytes())]);
    workshop
        .index
        .add(("uv-9.9.9-py3-none-any.whl".to_owned(), archive));
}

/// A uv that always answers with these wheels, which the index offers.
pub(crate) fn offer_answer(workshop: &Workshop, wheels: &[(&str, &str, &[&str])]) {
    let mut script = "cat > pylock.kiln.toml <<'END'\nlock-version = '1.0'\n".to_owned();
    for (name, version, requires) in wheels {
        let (file, bytes) = wheel(name, version, "py3-none-any", requires);
        let sha256 = workshop.index.add((file.clone(), bytes));
        let _ = write!(
            script,
            "[[packages]]\nname = '{name}'\nversion = '{version}'\n\
             wheels = [{{ url = 'x/{file}', hashes = {{ sha256 = '{sha256}' }} }}]\n"
        );
    }
    script.push_str("END\n");
    offer_uv(workshop, &script);
}

pub(crate) fn runs(workshop: &Workshop) -> usize {
    read(&workshop.cache().join("uv"), "runs").lines().count()
}

#[test]
fn uv_comes_from_the_source_and_sees_only_what_it_needs() {
    let workshop = Workshop::new();
    offer_answer(
        &workshop,
        &[
            ("alpha", "1.0", &["beta"]),
            ("beta", "1.0", &[]),
            ("gamma", "3", &[]),
        ],
    );
    let family = family("9.9.9", BUNDLES, &[("b", "runtime")]);
    let lock = workshop.lock(&family, None, &workshop.options()).unwrap();

    assert_eq!(sets(&lock), ["… b: alpha-1.0 beta-1.0 gamma-3"]);
    assert_eq!(lock.tools[0].file, "uv-9.9.9-py3-none-any.whl");
    assert_eq!(lock.images[0].name, "runtime-b-d12-py311_1_20261122");

    let cache = workshop.cache().join("uv");
    let environment = read(&cache, "env");
    let names: Vec<&str> = environment
        .lines()
        .filter_map(|it| it.split('=').next())
        .collect();
    assert!(environment.contains(&format!("UV_DEFAULT_INDEX={}", workshop.index.url)));
    assert!(environment.contains("UV_PYTHON_DOWNLOADS=never"));
    assert!(
        !names
            .iter()
            .any(|name| ["HOME", "USER", "PIP_FIND_LINKS"].contains(name))
    );
    let arguments = read(&cache, "arguments");
    assert!(
        !arguments.contains("http"),
        "the address, and its login, are no argument"
    );
    for argument in ["--config-file", "uv.toml", "--python-version=3.11"] {
        assert!(arguments.lines().any(|it| it == argument), "{argument}");
    }
    assert!(arguments.contains("--python-platform=x86_64-manylinux_2_36\n"));
    let files = read(&cache, "files");
    assert_eq!(files, "bundle-b.in\nconstraints.txt\nuv.toml\n");
    assert!(read(&cache, "configuration").starts_with("no-build = true\n"));
}

#[test]
fn an_unchanged_family_is_kept_without_network() {
    let workshop = Workshop::new();
    offer_answer(&workshop, &[("alpha", "1.0", &[]), ("gamma", "3", &[])]);
    let family = family("9.9.9", BUNDLES, &[("b", "runtime")]);
    let lock = workshop.lock(&family, None, &workshop.options()).unwrap();
    let (requests, before) = (workshop.index.requests(), runs(&workshop));

    let later = Options {
        today: "2027-01-01".parse().unwrap(),
        offline: true,
        ..workshop.options()
    };
    assert_eq!(workshop.lock(&family, Some(&lock), &later).unwrap(), lock);
    assert_eq!(
        (workshop.index.requests(), runs(&workshop)),
        (requests, before)
    );
}

#[test]
fn a_changed_configuration_moves_the_date_and_no_version() {
    let workshop = Workshop::new();
    offer_answer(&workshop, &[("alpha", "1.0", &[]), ("gamma", "3", &[])]);
    let plain = family("9.9.9", BUNDLES, &[("b", "runtime")]);
    let lock = workshop.lock(&plain, None, &workshop.options()).unwrap();

    let text = format!("{}[env]\nNEW = '1'\n", BUNDLES[0].1);
    let changed = family("9.9.9", &[(BUNDLES[0].0, &text)], &[("b", "runtime")]);
    let later = Options {
        today: "2027-01-01".parse().unwrap(),
        offline: true,
        ..workshop.options()
    };
    let moved = workshop.lock(&changed, Some(&lock), &later).unwrap();
    assert_eq!(moved.wheels, lock.wheels);
    assert_eq!(moved.images[0].name, "runtime-b-d12-py311_1_20270101");
    assert_eq!(moved.images[0].date, "2027-01-01");
}

#[test]
fn what_must_be_chosen_anew_offline_is_an_error() {
    let workshop = Workshop::new();
    let family = family("9.9.9", BUNDLES, &[("b", "runtime")]);
    let offline = Options {
        offline: true,
        ..workshop.options()
    };
    let error = workshop.lock(&family, None, &offline).unwrap_err();
    assert!(error.is_network());
    insta::assert_snapshot!(render(&error), @r"
    error: the Python packages of `linux/amd64 deb cpu b` cannot be chosen
    cause: Python packages must be chosen anew, and the network is off
    hint: lock once without `--offline`
    ");
}

#[test]
fn a_contradiction_names_the_lines_that_take_part() {
    let workshop = Workshop::new();
    let (file, bytes) = wheel("alpha", "1.0", "py3-none-any", &[]);
    let sha256 = workshop.index.add((file.clone(), bytes));
    offer_uv(
        &workshop,
        &format!(
            "if grep -q 'alpha<2' *.in && grep -q 'gamma>=3' *.in; then\n\
             echo 'because of this and that' >&2; exit 1; fi\n\
             cat > pylock.kiln.toml <<'END'\nlock-version = '1.0'\n[[packages]]\n\
             name = 'alpha'\nwheels = [{{ name = '{file}', hashes.sha256 = '{sha256}' }}]\nEND\n"
        ),
    );
    let bundles = [
        ("bundles/b/bundle.toml", "requirements = ['alpha<2']\n"),
        (
            "bundles/c/bundle.toml",
            "extends = 'b'\nrequirements = [\n'one',\n'two',\n'gamma>=3',\n'three']\n",
        ),
    ];
    let family = family("9.9.9", &bundles, &[("c", "runtime")]);
    let error = workshop
        .lock(&family, None, &workshop.options())
        .unwrap_err();
    assert!(!error.is_network());
    insta::assert_snapshot!(render(&error), @r"
    error: the Python packages of `linux/amd64 deb cpu b c` cannot be chosen
    cause: these cannot be satisfied together for Python 3.11 on linux/amd64 with glibc 2.36:
      - `alpha<2` of bundle/b (bundles/b/bundle.toml:3:17)
      - `gamma>=3` of bundle/c (bundles/c/bundle.toml:7:1)
    uv explains:
      | because of this and that
    hint: loosen or remove one of them
    ");
}

#[test]
fn a_broken_uv_is_quoted() {
    let workshop = Workshop::new();
    offer_uv(
        &workshop,
        "echo 'error: the index is on fire' >&2; exit 2\n",
    );
    let family = family("9.9.9", BUNDLES, &[("b", "runtime")]);
    let error = workshop
        .lock(&family, None, &workshop.options())
        .unwrap_err();
    assert!(error.is_network());
    insta::assert_snapshot!(render(&error), @r"
    error: the Python packages of `linux/amd64 deb cpu b` cannot be chosen
    cause: uv could not choose Python packages (status 2)
      | error: the index is on fire
    hint: uv must reach the index, and needs some Python interpreter (of any version) on PATH
    ");
}

#[test]
fn pins_and_metadata_that_disagree_are_an_error() {
    let workshop = Workshop::new();
    let family = family("9.9.9", BUNDLES, &[("b", "runtime")]);
    offer_answer(
        &workshop,
        &[("alpha", "1.0", &["missing"]), ("gamma", "3", &[])],
    );
    let error = workshop
        .lock(&family, None, &workshop.options())
        .unwrap_err();
    assert!(render(&error).contains("`missing` has no pin, but `alpha` requires it"));

    let workshop = Workshop::new();
    offer_answer(
        &workshop,
        &[
            ("alpha", "1.0", &[]),
            ("gamma", "3", &[]),
            ("stray", "1", &[]),
        ],
    );
    let error = workshop
        .lock(&family, None, &workshop.options())
        .unwrap_err();
    assert!(render(&error).contains("nothing requires `stray`, which uv chose"));
}

#[test]
fn a_file_that_the_index_announces_otherwise_is_refused() {
    let workshop = Workshop::new();
    offer_answer(&workshop, &[("alpha", "1.0", &[]), ("gamma", "3", &[])]);
    let (file, _) = wheel("alpha", "1.0", "py3-none-any", &[]);
    let (_, other) = wheel("alpha", "1.0", "py3-none-any", &["gamma"]);
    workshop.index.add((file, other));
    let family = family("9.9.9", BUNDLES, &[("b", "runtime")]);
    let error = workshop
        .lock(&family, None, &workshop.options())
        .unwrap_err();
    assert!(
        matches!(&error, ResolveError::Python { cause, .. }
        if matches!(**cause, PythonError::TwoDigests { .. })),
        "{error:?}"
    );
}

#[test]
fn what_the_source_dropped_is_found_and_reported() {
    let workshop = Workshop::new();
    offer_answer(&workshop, &[("alpha", "1.0", &[]), ("gamma", "3", &[])]);
    let family = family("9.9.9", BUNDLES, &[("b", "runtime")]);
    let lock = workshop.lock(&family, None, &workshop.options()).unwrap();

    workshop.index.remove("gamma-3-py3-none-any.whl");
    let relock = Options {
        relock_gone: true,
        ..workshop.options()
    };
    // This uv knows no other version, so that locking fails; but it was asked.
    let before = runs(&workshop);
    assert!(workshop.lock(&family, Some(&lock), &relock).is_err());
    assert_eq!(runs(&workshop), before + 1);
    let events = workshop.events.lock().unwrap();
    let gone = |event: &Event| matches!(event, Event::Gone { id } if id.0.contains("/gamma-3-"));
    assert_eq!(events.iter().filter(|event| gone(event)).count(), 1);
    assert!(
        !events
            .iter()
            .any(|it| matches!(it, Event::Gone { id } if id.0.contains("alpha")))
    );
}

#[test]
fn a_uv_other_than_the_locked_one_is_refused() {
    let workshop = Workshop::new();
    offer_answer(&workshop, &[("alpha", "1.0", &[]), ("gamma", "3", &[])]);
    let family = family("9.9.9", BUNDLES, &[("b", "runtime")]);
    let lock = workshop.lock(&family, None, &workshop.options()).unwrap();

    offer_uv(&workshop, "exit 0\n");
    let elsewhere = tempfile::tempdir().unwrap();
    let options = Options {
        upgrade: true,
        cache_dir: elsewhere.path().join("cache"),
        downloads_dir: elsewhere.path().join("downloads"),
        ..workshop.options()
    };
    let error = workshop.lock(&family, Some(&lock), &options).unwrap_err();
    let changed = |cause: &FetchError| cause.is_integrity();
    assert!(
        matches!(&error, ResolveError::Python { cause, .. } if matches!(
            &**cause,
            PythonError::Tool(ToolError::Fetch { cause, .. }) if changed(cause)
        )),
        "{error:?}"
    );
    assert!(
        !elsewhere.path().join("cache").exists(),
        "nothing of it was run"
    );
}
