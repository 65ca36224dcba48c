//! Projects that come from one index alone: `corp`, which asks for a login.

use kiln_lock::Lock;
use kiln_resolve::{Options, python::tool::DEFAULT_VERSION};

use crate::{
    family::{Workshop, family_of, render, sets},
    index::wheel,
    solve::{lock, workshop},
};

/// `app` needs `torch`, of which both indexes have builds. `corp` has more than it is asked for.
fn two_indexes() -> Workshop {
    let workshop = workshop(&[
        ("app", "1.0", &["torch>=2"]),
        ("torch", "2.9.0", &["nvidia"]),
        ("torch", "2.10.0", &["nvidia"]),
        ("nvidia", "1.0", &[]),
        ("helper", "1.0", &[]),
        ("other", "1.0", &[]),
    ]);
    for (name, version, requires) in [
        ("torch", "2.8.0+cpu", &["helper"][..]),
        ("torch", "2.9.0+cpu", &["helper"]),
        ("helper", "66.0", &[]),
        ("other", "99.0", &[]),
        ("evil", "1.0", &[]),
    ] {
        let wheel = wheel(name, version, "py3-none-any", requires);
        workshop.corp.add(wheel);
    }
    workshop
}

const CPU: (&str, &str) = (
    "accelerators/cpu.toml",
    "[python-index.corp]\nprojects = ['torch']\n",
);
const GPU: (&str, &str) = ("accelerators/gpu.toml", "kind = 'rocm'\n");

fn family(requirements: &str, more: &[(&str, &str)], accelerators: &[&str]) -> kiln_recipe::Family {
    let bundle = format!("requirements = {requirements}\n");
    let files = [&[("bundles/a/bundle.toml", bundle.as_str())], more].concat();
    let images: Vec<_> = accelerators
        .iter()
        .map(|it| (*it, "a", "runtime"))
        .collect();
    family_of(DEFAULT_VERSION, &files, &images)
}

fn sources(lock: &Lock) -> Vec<&str> {
    lock.wheels.iter().map(|wheel| wheel.id.as_ref()).collect()
}

#[test]
fn a_routed_project_comes_from_its_index_and_everything_else_does_not() {
    let workshop = two_indexes();
    let family = family("['app', 'other']", &[CPU, GPU], &["cpu", "gpu"]);
    let first = lock(&workshop, &family, None);
    assert_eq!(
        sets(&first),
        [
            "… a: torch-2.9.0+cpu app-1.0 helper-1.0 other-1.0",
            "gpu a: app-1.0 nvidia-1.0 other-1.0 torch-2.10.0",
        ]
    );
    assert_eq!(
        sources(&first),
        [
            "corp/torch-2.9.0+cpu-py3-none-any.whl",
            "pypi/app-1.0-py3-none-any.whl",
            "pypi/helper-1.0-py3-none-any.whl",
            "pypi/nvidia-1.0-py3-none-any.whl",
            "pypi/other-1.0-py3-none-any.whl",
            "pypi/torch-2.10.0-py3-none-any.whl",
        ]
    );
    assert_eq!(first.wheels[0].source, "corp");
    assert_eq!(first.wheels[0].version, "2.9.0+cpu");

    // What is downloaded is what was locked, from the same source.
    let wheel = &first.wheels[0];
    let wanted = kiln_fetch::Wanted {
        source: wheel.source.clone(),
        what: kiln_fetch::Artifact::Python {
            project: wheel.name.clone(),
            file: wheel.file.clone(),
        },
        sha256: wheel.sha256,
        size: wheel.size,
    };
    let directory = workshop.directory.path().join("fetched");
    let fetcher = workshop.fetcher();
    let mut files = fetcher.download(vec![wanted], &directory, |_| {});
    assert!(files.next().unwrap().1.is_ok());

    // A newer build there is chosen only when somebody asks.
    let newer = crate::index::wheel("torch", "2.11.0+cpu", "py3-none-any", &[]);
    workshop.corp.add(newer);
    assert_eq!(lock(&workshop, &family, Some(&first)), first);
    let extended = self::family("['app', 'nvidia']", &[CPU, GPU], &["cpu", "gpu"]);
    let second = lock(&workshop, &extended, Some(&first));
    assert_eq!(second.wheels[0], first.wheels[0]);
}

#[test]
fn no_login_is_left_anywhere() {
    let workshop = two_indexes();
    let lock = lock(&workshop, &family("['app']", &[CPU], &["cpu"]), None);
    assert!(!lock.render().contains("pa55-of-corp"));
    let mut open = vec![workshop.directory.path().to_owned()];
    let mut read = 0;
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(path.read_dir().unwrap().map(|it| it.unwrap().path()));
        } else if !path.is_symlink() {
            let bytes = std::fs::read(&path).unwrap();
            let found = bytes.windows(12).any(|it| it == b"pa55-of-corp");
            assert!(!found, "{}", path.display());
            read += 1;
        }
    }
    assert!(read > 3, "uv keeps a cache");
}

#[test]
fn a_project_that_its_index_lacks_is_an_error() {
    let workshop = two_indexes();
    let index = "[python-index.corp]\nprojects = ['torch', 'nvidia']\n";
    let family = family("['app']", &[("accelerators/cpu.toml", index)], &["cpu"]);
    let error = workshop.lock(&family, None, &workshop.options());
    insta::assert_snapshot!(render(&error.unwrap_err()), @r"
    error: the Python packages of `linux/amd64 deb cpu a` cannot be chosen
    cause: accelerators/cpu.toml:4:22: source `corp` has no project `nvidia`, which comes from there alone
    hint: take `nvidia` out of `[python-index.corp]`, or check the address of the source: nothing falls back to another index
    ");
}

#[test]
fn versions_that_only_the_primary_index_has_are_not_there() {
    let workshop = two_indexes();
    let family = family("['app', 'torch>=2.10']", &[CPU], &["cpu"]);
    let error = workshop.lock(&family, None, &workshop.options());
    let text = render(&error.unwrap_err());
    assert!(
        text.contains("no Python package satisfies `torch>=2.10` of bundle/a"),
        "{text}"
    );
    assert!(
        text.contains("`torch` was found on its own index"),
        "{text}"
    );
    assert!(!text.contains("file://"), "{text}");
}

#[test]
fn a_project_that_nobody_routes_there_is_not_taken_from_there() {
    let workshop = two_indexes();
    let family = family("['app', 'evil']", &[CPU], &["cpu"]);
    let error = workshop.lock(&family, None, &workshop.options());
    let text = render(&error.unwrap_err());
    assert!(
        text.contains("no Python package satisfies `evil` of bundle/a"),
        "{text}"
    );
}

#[test]
fn what_is_gone_from_its_index_is_replaced_from_there() {
    let workshop = two_indexes();
    let family = family("['app']", &[CPU], &["cpu"]);
    let first = lock(&workshop, &family, None);
    workshop.corp.remove("torch-2.9.0+cpu-py3-none-any.whl");
    let options = Options {
        relock_gone: true,
        ..workshop.options()
    };
    let second = workshop.lock(&family, Some(&first), &options).unwrap();
    assert_eq!(sets(&second), ["… a: torch-2.8.0+cpu app-1.0 helper-1.0"]);
}

#[test]
fn an_index_that_the_family_has_given_up_is_not_asked_for_what_is_gone() {
    let workshop = two_indexes();
    let first = lock(&workshop, &family("['app']", &[CPU], &["cpu"]), None);
    assert_eq!(sets(&first), ["… a: torch-2.9.0+cpu app-1.0 helper-1.0"]);
    let options = Options {
        relock_gone: true,
        ..workshop.options()
    };
    let fetcher = workshop.fetcher_of(&[("pypi", &workshop.index)]);
    let second = kiln_resolve::resolve(
        &family("['app']", &[], &["cpu"]),
        Some(&first),
        &fetcher,
        &options,
        &workshop,
        &|_| {},
    );
    assert_eq!(
        sets(&second.unwrap()),
        ["… a: app-1.0 nvidia-1.0 torch-2.10.0"]
    );
}

#[test]
fn a_project_that_is_routed_now_moves_to_its_index() {
    let workshop = two_indexes();
    let first = lock(&workshop, &family("['app']", &[], &["cpu"]), None);
    assert_eq!(sets(&first), ["… a: app-1.0 nvidia-1.0 torch-2.10.0"]);
    let second = lock(
        &workshop,
        &family("['app']", &[CPU], &["cpu"]),
        Some(&first),
    );
    assert_eq!(sets(&second), ["… a: torch-2.9.0+cpu app-1.0 helper-1.0"]);
}

#[test]
fn a_bundle_below_that_has_the_project_from_elsewhere_is_an_error() {
    let workshop = two_indexes();
    let child =
        "extends = 'a'\nrequirements = ['other']\n[python-index.corp]\nprojects = ['torch']\n";
    let files = [
        ("bundles/a/bundle.toml", "requirements = ['app']\n"),
        ("bundles/b/bundle.toml", child),
    ];
    let family = family_of(DEFAULT_VERSION, &files, &[("cpu", "b", "runtime")]);
    let error = workshop.lock(&family, None, &workshop.options());
    insta::assert_snapshot!(render(&error.unwrap_err()), @r"
    error: the Python packages of `linux/amd64 deb cpu a b` cannot be chosen
    cause: bundles/b/bundle.toml:6:13: `torch` comes from source `corp` alone, but the bundle below has torch-2.10.0-py3-none-any.whl from `pypi`
    hint: move `[python-index.corp]` to the bundle that brings the project or to the accelerator, or set `independent = true` in the bundle
    ");
}

#[test]
fn newer_files_of_a_routed_project_are_left_out_where_its_index_says_when() {
    let workshop = workshop(&[]);
    for version in ["1.0", "2.0", "3.0"] {
        let wheel = wheel("timed", version, "py3-none-any", &[]);
        workshop.corp.add(wheel);
    }
    let route = "[python-index.corp]\nprojects = ['timed']\n";
    let family = family("['timed']", &[("accelerators/cpu.toml", route)], &["cpu"]);
    for (time, version) in [
        ("2002-06-01", "2.0"),
        ("2002-06-01T00:00:00Z", "1.0"),
        ("2003-05-31", "2.0"),
        ("2099-01-01", "3.0"),
    ] {
        let options = Options {
            exclude_newer: Some(time.to_owned()),
            ..workshop.options()
        };
        let lock = workshop.lock(&family, None, &options).unwrap();
        assert_eq!(sets(&lock), [format!("… a: timed-{version}")], "{time}");
    }
}

#[test]
fn an_index_that_does_not_say_when_cannot_leave_out_what_is_newer() {
    let workshop = two_indexes();
    let options = Options {
        exclude_newer: Some("2026-01-01".to_owned()),
        ..workshop.options()
    };
    let family = family("['torch']", &[CPU], &["cpu"]);
    let error = workshop.lock(&family, None, &options);
    insta::assert_snapshot!(render(&error.unwrap_err()), @r"
    error: the Python packages of `linux/amd64 deb cpu a` cannot be chosen
    cause: source `corp` does not say when the files of `torch` were uploaded
    hint: lock without `--exclude-newer`
    ");
}
