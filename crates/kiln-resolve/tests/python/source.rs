//! Projects that are built from source, with a script that plays uv and a builder that builds
//! nothing.

use std::{collections::BTreeMap, fmt::Write as _};

use kiln_lock::Lock;
use kiln_recipe::Family;
use kiln_resolve::{Event, Options};

use crate::{
    family::{Bench, Workshop, family, render, sets},
    index::wheel,
    kept::{offer_uv, runs},
};

/// `alpha` is built; `table` is how.
fn family_with(table: &str, requirements: &str) -> Family {
    let bundle = format!("requirements = [{requirements}]\n[from-source.alpha]\n{table}\n");
    let files = [("bundles/b/bundle.toml", bundle.as_str())];
    family("9.9.9", &files, &[("b", "runtime")])
}

/// A uv that takes `alpha` 2.0, then 1.0 when it knows 2.0, and then `beta` as well; and gives
/// build environments what they ask for.
fn workshop() -> Workshop {
    let workshop = Workshop::new();
    let package = |name: &str| {
        let (file, bytes) = wheel(name, "1.0", "py3-none-any", &[]);
        let sha256 = workshop.index.add((file.clone(), bytes));
        format!(
            "[[packages]]\nname = '{name}'\nversion = '1.0'\n\
             wheels = [{{ url = 'x/{file}', hashes = {{ sha256 = '{sha256}' }} }}]\n"
        )
    };
    let source = |version: &str| {
        let file = format!("alpha-{version}.tar.gz");
        let bytes = file.clone().into_bytes();
        let sha256 = workshop.index.add((file.clone(), bytes));
        format!(
            "[[packages]]\nname = 'alpha'\nversion = '{version}'\n\
             sdist = {{ url = 'x/{file}', hashes = {{ sha256 = '{sha256}' }} }}\n"
        )
    };
    let mut script = "put() { printf '%s\\n' \"$1\" >> pylock.kiln.toml; }\n\
        rm -f pylock.kiln.toml\nput \"lock-version = '1.0'\"\n"
        .to_owned();
    let mut when = |test: &str, what: &[&str]| {
        let _ = writeln!(
            script,
            "if {test}; then put \"{}\"; exit; fi",
            what.concat()
        );
    };
    let tools = [package("setuptools"), package("cython")];
    when("grep -q cython *.in", &[&tools[1], &tools[0]]);
    when("grep -q setuptools *.in", &[&tools[0]]);
    let beta = package("beta");
    let known = |version: &str| format!("grep -q 'version = \"{version}\"' uv.toml");
    when(&known("1.0"), &[&source("1.0"), &beta]);
    when(&known("2.0"), &[&source("1.0")]);
    when("true", &[&source("2.0")]);
    offer_uv(&workshop, &script);
    *workshop.bench.lock().unwrap() = Bench {
        requires: vec!["setuptools>=40"],
        further: vec![],
        wheels: BTreeMap::from([
            ("alpha-2.0.tar.gz", vec!["beta<1"]),
            ("alpha-1.0.tar.gz", vec!["beta"]),
        ]),
        built: vec![],
    };
    workshop
}

fn lock(workshop: &Workshop, family: &Family, previous: Option<&Lock>) -> Lock {
    workshop
        .lock(family, previous, &workshop.options())
        .unwrap()
}

/// What was built since the last time.
fn built(workshop: &Workshop) -> Vec<String> {
    std::mem::take(&mut workshop.bench.lock().unwrap().built)
}

const WITH_SETUPTOOLS: &str = "alpha-1.0.tar.gz with setuptools-1.0-py3-none-any.whl";

#[test]
fn versions_are_built_until_one_fits_and_the_lock_pins_its_wheel() {
    let workshop = workshop();
    let lock = lock(
        &workshop,
        &family_with("env = { A = 'b' }", "'alpha'"),
        None,
    );
    assert_eq!(sets(&lock), ["… b: alpha-1.0 beta-1.0"]);
    let environment = "with setuptools-1.0-py3-none-any.whl";
    assert_eq!(
        built(&workshop),
        [
            format!("alpha-2.0.tar.gz {environment}"),
            WITH_SETUPTOOLS.to_owned()
        ]
    );
    let alpha = lock.wheels.iter().find(|it| it.name == "alpha").unwrap();
    let from = alpha.built_from.as_ref().unwrap();
    assert_eq!((from.file.as_str(), from.size), ("alpha-1.0.tar.gz", 16));
    assert_eq!(from.base, "linux/amd64 deb");
    assert_eq!(from.env["A"], "b");
    assert_eq!(
        lock.wheel(&from.requirements[0]).unwrap().name,
        "setuptools"
    );
    assert_eq!(alpha.requires, ["beta"]);
    assert_eq!(alpha.file, "alpha-1.0-py3-none-any.whl");
    let (_, bytes) = wheel("alpha", "1.0", "py3-none-any", &["beta"]);
    assert_eq!(alpha.sha256, kiln_digest::Digest::of(&bytes));
    let expected = Event::Building {
        project: "alpha".to_owned(),
        version: "1.0".to_owned(),
        base: "deb".to_owned(),
    };
    assert!(workshop.events.lock().unwrap().contains(&expected));
}

#[test]
fn what_is_unchanged_is_not_built_again() {
    let workshop = workshop();
    let family = family_with("", "'alpha'");
    let first = lock(&workshop, &family, None);
    built(&workshop);
    let (requests, before) = (workshop.index.requests(), runs(&workshop));
    let offline = Options {
        offline: true,
        ..workshop.options()
    };
    let again = workshop.lock(&family, Some(&first), &offline).unwrap();
    assert_eq!(again, first);
    assert_eq!(
        (workshop.index.requests(), runs(&workshop)),
        (requests, before)
    );

    // Another requirement makes the universe be solved again, and concerns no build.
    let more = lock(&workshop, &family_with("", "'alpha', 'beta'"), Some(&first));
    assert_eq!(more.wheels, first.wheels);
    assert_eq!(built(&workshop), [""; 0]);
}

#[test]
fn a_changed_build_is_built_again_and_moves_no_image_whose_bytes_stay() {
    let workshop = workshop();
    let first = lock(&workshop, &family_with("", "'alpha'"), None);
    built(&workshop);
    workshop.bench.lock().unwrap().further = vec!["cython"];
    let changed = lock(
        &workshop,
        &family_with("env = { A = 'b' }", "'alpha'"),
        Some(&first),
    );
    let last = built(&workshop).pop().unwrap();
    assert_eq!(
        last,
        "alpha-1.0.tar.gz with cython-1.0-py3-none-any.whl setuptools-1.0-py3-none-any.whl"
    );
    let alpha = |lock: &Lock| lock.wheels.iter().find(|it| it.name == "alpha").cloned();
    let ids = |lock: &Lock| alpha(lock).unwrap().id;
    assert_eq!(ids(&changed), ids(&first), "the same bytes");
    assert_eq!(changed.images[0].date, first.images[0].date);
    assert_eq!(changed.images[0].fingerprint, first.images[0].fingerprint);
}

#[test]
fn failures_say_which_project_and_why() {
    let workshop = workshop();
    workshop.bench.lock().unwrap().wheels.clear();
    let family = family_with("", "'alpha'");
    let fail = || {
        workshop
            .lock(&family, None, &workshop.options())
            .unwrap_err()
    };
    insta::assert_snapshot!(render(&fail()), @r"
    error: the Python packages of `linux/amd64 deb cpu b` cannot be chosen
    cause: no wheel can be built of alpha-2.0.tar.gz
    cause: the compiler is missing
    hint: name one
    ");
    for requirement in [
        "-r /etc/passwd",
        "x @ https://host.example/x.whl",
        "--index-url=x",
    ] {
        workshop.bench.lock().unwrap().requires = vec![requirement];
        let error = render(&fail());
        assert!(error.contains(requirement), "{error}");
        assert!(error.contains("no requirement of an index"), "{error}");
    }
}
