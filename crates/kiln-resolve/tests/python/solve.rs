//! What the real uv makes of requirements, constraints and preferences.

use std::{collections::BTreeMap, fs, path::PathBuf, process::Command, sync::OnceLock};

use kiln_fetch::{FetchOptions, Fetcher, SourceConfig, Sources};
use kiln_lock::Lock;
use kiln_recipe::{Family, Platform, PythonVersion};
use kiln_resolve::{
    Options,
    python::{
        target::Target,
        tool::{self, DEFAULT_VERSION},
    },
};

use crate::{
    family::{Bench, Workshop, family, render, sets},
    index::wheel,
};

/// The wheel of uv, from the host's own index; nothing when uv is on `PATH`.
fn uv_wheel() -> Option<&'static (String, PathBuf)> {
    static WHEEL: OnceLock<Option<(String, PathBuf)>> = OnceLock::new();
    WHEEL
        .get_or_init(|| {
            let sources = Sources::new(SourceConfig::default());
            let fetcher = Fetcher::new(FetchOptions::new(sources)).unwrap();
            let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
            let downloads = directory.join("downloads");
            let uv = tool::find(DEFAULT_VERSION, &[], &fetcher, &directory, &downloads).unwrap();
            uv.tool
                .map(|tool| (tool.file, downloads.join(tool.sha256.hex())))
        })
        .as_ref()
}

/// An index with uv and pure wheels `(name, version, requirements)`.
pub(crate) fn workshop(wheels: &[(&str, &str, &[&str])]) -> Workshop {
    let workshop = Workshop::new();
    if let Some((name, path)) = uv_wheel() {
        workshop.index.add((name.clone(), fs::read(path).unwrap()));
    }
    for (name, version, requires) in wheels {
        workshop
            .index
            .add(wheel(name, version, "py3-none-any", requires));
    }
    workshop
}

fn of(files: &[(&str, &str)], images: &[(&str, &str)]) -> Family {
    family(DEFAULT_VERSION, files, images)
}

pub(crate) fn lock(workshop: &Workshop, family: &Family, previous: Option<&Lock>) -> Lock {
    workshop
        .lock(family, previous, &workshop.options())
        .unwrap()
}

pub(crate) const IDE: (&str, &str) = (
    "ides/j/ide.toml",
    "requirements = ['lab']\ncommand = ['lab']\n",
);

#[test]
fn a_bundle_and_its_ides_agree_and_sets_are_shared() {
    let workshop = workshop(&[
        ("lab", "1.0", &["shared>=1", "own"]),
        ("own", "1.0", &[]),
        ("shared", "1.5", &[]),
        ("shared", "2.0", &[]),
        ("top", "1.0", &["shared<2", "deep[x]"]),
        (
            "deep",
            "1.0",
            &["extra; extra == 'x'", "not; python_version < '3'"],
        ),
        ("extra", "1.0", &[]),
    ]);
    let family = of(
        &[
            ("bundles/a/bundle.toml", "requirements = ['top']\n"),
            (
                "bundles/b/bundle.toml",
                "extends = 'a'\nrequirements = ['shared', 'own']\n",
            ),
            IDE,
        ],
        &[("a", "j"), ("a", "runtime"), ("b", "j"), ("b", "runtime")],
    );
    let lock = lock(&workshop, &family, None);
    assert_eq!(
        sets(&lock),
        [
            "… a: deep-1.0 extra-1.0 shared-1.5 top-1.0",
            "… a +j: lab-1.0 own-1.0",
            "… a b: own-1.0",
            "… a b +j: lab-1.0",
        ]
    );
}

#[test]
fn versions_of_a_parent_bind_its_children_unless_they_are_independent() {
    let wheels: &[(&str, &str, &[&str])] =
        &[("p", "1.0", &[]), ("p", "2.0", &[]), ("q", "1.0", &["p<2"])];
    let workshop = workshop(wheels);
    let parent = ("bundles/a/bundle.toml", "requirements = ['p']\n");
    let child = "extends = 'a'\nrequirements = ['q']\n";
    let images = [("a", "runtime"), ("b", "runtime")];
    let bound = of(&[parent, ("bundles/b/bundle.toml", child)], &images);
    let error = workshop
        .lock(&bound, None, &workshop.options())
        .unwrap_err();
    let text = render(&error);
    assert!(
        text.contains("- `q` of bundle/b (bundles/b/bundle.toml:4:17)"),
        "{text}"
    );
    assert!(
        text.contains("- `p==2.0` of the bundle that it extends"),
        "{text}"
    );
    assert!(text.contains("independent = true"), "{text}");

    let child = format!("independent = true\n{child}");
    let independent = of(&[parent, ("bundles/b/bundle.toml", &child)], &images);
    let lock = lock(&workshop, &independent, None);
    assert_eq!(sets(&lock), ["… a: p-2.0", "… a @b: p-1.0", "… a b: q-1.0"]);
}

#[test]
fn only_what_changed_moves() {
    let workshop = workshop(&[
        ("p", "1.0", &["r"]),
        ("q", "1.0", &["r"]),
        ("r", "1.0", &[]),
    ]);
    let with = |requirements: &str| {
        of(
            &[
                ("bundles/a/bundle.toml", "requirements = ['p']\n"),
                (
                    "bundles/b/bundle.toml",
                    &format!("extends = 'a'\nrequirements = {requirements}\n"),
                ),
                ("bundles/c/bundle.toml", "requirements = ['q']\n"),
            ],
            &[("a", "runtime"), ("b", "runtime"), ("c", "runtime")],
        )
    };
    let first = lock(&workshop, &with("['q']"), None);
    for name in ["p", "q", "r", "s"] {
        workshop.index.add(wheel(name, "2.0", "py3-none-any", &[]));
    }
    let second = lock(&workshop, &with("['q', 's']"), Some(&first));
    assert_eq!(
        sets(&second),
        ["… a: p-1.0 r-1.0", "… a b: q-1.0 s-2.0", "… c: q-1.0 r-1.0"]
    );
    let upgrade = Options {
        upgrade: true,
        ..workshop.options()
    };
    let third = workshop
        .lock(&with("['q', 's']"), Some(&second), &upgrade)
        .unwrap();
    assert_eq!(
        sets(&third),
        ["… a: p-2.0", "… a b: q-2.0 s-2.0", "… c: q-2.0"]
    );
}

#[test]
fn a_new_file_of_a_locked_version_moves_nothing() {
    let workshop = workshop(&[("p", "1.0", &[]), ("q", "1.0", &[])]);
    let with = |requirements: &str| {
        let text = format!("requirements = {requirements}\n");
        of(
            &[("bundles/a/bundle.toml", text.as_str())],
            &[("a", "runtime")],
        )
    };
    let first = lock(&workshop, &with("['p']"), None);
    workshop
        .index
        .add(wheel("p", "1.0", "cp311-cp311-manylinux_2_17_x86_64", &[]));
    let second = lock(&workshop, &with("['p', 'q']"), Some(&first));
    assert_eq!(second.wheels[0], first.wheels[0]);
    let upgrade = Options {
        upgrade: true,
        ..workshop.options()
    };
    let third = workshop
        .lock(&with("['p', 'q']"), Some(&second), &upgrade)
        .unwrap();
    assert_eq!(
        third.wheels[0].file,
        "p-1.0-cp311-cp311-manylinux_2_17_x86_64.whl"
    );
}

#[test]
fn relocking_moves_what_is_gone_and_nothing_else() {
    let workshop = workshop(&[("p", "1.0", &[]), ("q", "1.0", &[])]);
    let family = of(
        &[("bundles/a/bundle.toml", "requirements = ['p', 'q']\n")],
        &[("a", "runtime")],
    );
    let first = lock(&workshop, &family, None);
    for name in ["p", "q"] {
        workshop.index.add(wheel(name, "2.0", "py3-none-any", &[]));
    }
    workshop.index.remove("p-1.0-py3-none-any.whl");
    let relock = Options {
        relock_gone: true,
        ..workshop.options()
    };
    let second = workshop.lock(&family, Some(&first), &relock).unwrap();
    assert_eq!(sets(&second), ["… a: p-2.0 q-1.0"]);
}

#[test]
fn wheels_that_do_not_fit_the_target_are_never_chosen() {
    let workshop = workshop(&[]);
    // Bookworm has glibc 2.36 and Python 3.11.
    for (version, tag) in [
        ("1.0", "cp311-cp311-manylinux_2_36_x86_64"),
        ("2.0", "cp311-cp311-manylinux_2_37_x86_64"),
        ("3.0", "cp312-cp312-manylinux_2_17_x86_64"),
        ("4.0", "cp311-cp311-manylinux_2_17_aarch64"),
        ("5.0", "cp311-cp311-musllinux_1_2_x86_64"),
    ] {
        workshop.index.add(wheel("p", version, tag, &[]));
    }
    let family = of(
        &[("bundles/a/bundle.toml", "requirements = ['p']\n")],
        &[("a", "runtime")],
    );
    assert_eq!(sets(&lock(&workshop, &family, None)), ["… a: p-1.0"]);
}

#[test]
fn a_project_without_wheels_is_an_error_that_names_the_requirement() {
    let workshop = workshop(&[("p", "1.0", &[])]);
    workshop
        .index
        .add(("q-1.0.tar.gz".to_owned(), b"no archive".to_vec()));
    let family = of(
        &[("bundles/a/bundle.toml", "requirements = ['p', 'q']\n")],
        &[("a", "runtime")],
    );
    let text = render(
        &workshop
            .lock(&family, None, &workshop.options())
            .unwrap_err(),
    );
    assert!(
        text.contains("`q` of bundle/a (bundles/a/bundle.toml:3:22)"),
        "{text}"
    );
    assert!(text.contains("`[from-source.q]`"), "{text}");
}

/// uv is told what source distributions require; it could not find out of these, which are none.
#[test]
fn a_project_that_is_built_is_chosen_with_what_its_wheel_requires() {
    let workshop = workshop(&[
        ("setuptools", "1.0", &[]),
        ("p", "1.0", &[]),
        ("p", "2.0", &[]),
        ("s", "1.0", &[]),
        // A wheel of the project is no reason not to build it.
        ("q", "1.5", &["nobody"]),
    ]);
    for version in ["1.0", "1.5", "2.0", "3.0"] {
        let file = format!("q-{version}.tar.gz");
        workshop.index.add((file.clone(), file.into_bytes()));
    }
    let wheels = BTreeMap::from([
        ("q-3.0.tar.gz", vec!["p<1"]),
        ("q-2.0.tar.gz", vec!["p<2", "s; extra == 'more'"]),
    ]);
    *workshop.bench.lock().unwrap() = Bench {
        requires: vec!["setuptools>=1"],
        wheels,
        ..Bench::default()
    };
    let bundle = "requirements = ['q[more]', 'p']\n[from-source.q]\n";
    let family = of(&[("bundles/a/bundle.toml", bundle)], &[("a", "runtime")]);
    assert_eq!(
        sets(&lock(&workshop, &family, None)),
        ["… a: q-2.0 p-1.0 s-1.0"]
    );
    let built = workshop.bench.lock().unwrap().built.clone();
    assert_eq!(
        built,
        [
            "q-3.0.tar.gz with setuptools-1.0-py3-none-any.whl",
            "q-2.0.tar.gz with setuptools-1.0-py3-none-any.whl"
        ]
    );
}

/// The tags of a machine, as the `packaging` library that pip brings lists them.
const PACKAGING: &str = r#"
import sys
from pip._vendor.packaging import _manylinux, tags
machine, minor, glibc = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
_manylinux._get_glibc_version = lambda: (2, glibc)
_manylinux._have_compatible_abi = lambda *arguments: True
try:
    platforms = list(_manylinux.platform_tags([machine]))
except (AttributeError, TypeError):
    platforms = list(_manylinux.platform_tags("linux_" + machine, machine))
platforms.append("linux_" + machine)
python = (3, minor)
own = "cp3%d" % minor
for tag in tags.cpython_tags(python, [own], platforms):
    print(tag)
for tag in tags.compatible_tags(python, own, platforms):
    print(tag)
"#;

#[test]
fn tags_are_those_of_pip_in_its_order() {
    for (platform, machine, minor, glibc) in [
        (Platform::LinuxAmd64, "x86_64", 11, 36),
        (Platform::LinuxAmd64, "x86_64", 13, 41),
        (Platform::LinuxArm64, "aarch64", 11, 36),
    ] {
        let arguments = [machine.to_owned(), minor.to_string(), glibc.to_string()];
        let output = Command::new("python3")
            .args(["-c", PACKAGING])
            .args(arguments)
            .output();
        let output = output.unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let expected = String::from_utf8(output.stdout).unwrap();
        let python = PythonVersion { major: 3, minor };
        let tags = Target {
            platform,
            python,
            patch: None,
            glibc,
        }
        .tags();
        let ranks: Vec<Option<usize>> = expected.lines().map(|tag| tags.rank(tag)).collect();
        let all: Vec<Option<usize>> = (0..tags.len()).map(Some).collect();
        assert_eq!(ranks, all, "{machine}");
    }
}
