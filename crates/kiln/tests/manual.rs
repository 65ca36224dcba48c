//! What explains kiln to shells and people, read by the tools that it is for.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    path::{Path, PathBuf},
    process::Command,
};

const KILN: &str = env!("CARGO_BIN_EXE_kiln");

fn family() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../family")
}

/// What bash offers for the last of these words.
fn completed(words: &[&str]) -> Vec<String> {
    let script = r#"
        set -eu
        source <(kiln completions bash)
        complete -p kiln >/dev/null
        COMP_WORDS=("$@")
        COMP_CWORD=$(($# - 1))
        COMP_TYPE=9
        COMP_LINE="$*"
        COMP_POINT=${#COMP_LINE}
        function=$(complete -p kiln | sed -n 's/.* -F \([^ ]*\) .*/\1/p')
        "$function" kiln "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let path = Path::new(KILN).parent().unwrap().display().to_string();
    let home = tempfile::tempdir().unwrap();
    let done = Command::new("bash")
        .args(["--norc", "-c", script, "bash"])
        .args(words)
        .env("PATH", format!("{path}:{}", std::env::var("PATH").unwrap()))
        .env("KILN_HOME", home.path().join("store"))
        .env_remove("KILN_FAMILY")
        .output()
        .unwrap();
    let said = String::from_utf8(done.stderr).unwrap();
    assert!(done.status.success(), "{said}");
    assert!(!home.path().join("store").exists(), "asking makes no store");
    let offered = String::from_utf8(done.stdout).unwrap();
    offered.lines().map(|it| it.trim().to_owned()).collect()
}

#[test]
fn bash_completes_commands_and_options() {
    assert_eq!(completed(&["kiln", "bu"]), ["build"]);
    assert_eq!(completed(&["kiln", "store", "v"]), ["verify"]);
    assert_eq!(completed(&["kiln", "build", "--pack"]), ["--pack-only"]);
    let formats = completed(&["kiln", "export", "--format", "oci"]);
    assert_eq!(formats, ["oci-archive", "oci-dir"]);
}

#[test]
fn bash_completes_names_of_images_of_the_family_that_the_line_names() {
    let family = family().display().to_string();
    let names = completed(&["kiln", "--family", &family, "build", "runtime-data"]);
    assert_eq!(names.len(), 2, "{names:?}");
    for name in names {
        assert!(name.starts_with("runtime-datascience-d1"), "{name}");
    }
    assert_eq!(
        completed(&["kiln", "--family", &family, "run", "runtime-"]),
        [""]
    );
}

#[test]
fn bash_completes_names_of_images_of_all_releases() {
    let directory = tempfile::tempdir().unwrap();
    let copy = directory.path().join("family");
    let copied = Command::new("cp")
        .arg("-r")
        .arg(family())
        .arg(&copy)
        .status();
    assert!(copied.unwrap().success());
    let lock = std::fs::read_to_string(copy.join("kiln.lock")).unwrap();
    let own = copy.join("releases/2026a");
    std::fs::create_dir_all(&own).unwrap();
    std::fs::write(own.join("kiln.lock"), lock.replace("_2026b_", "_2026a_")).unwrap();
    let copy = copy.display().to_string();
    let names = completed(&["kiln", "--family", &copy, "build", "runtime-data"]);
    let of = |release: &str| names.iter().filter(|it| it.contains(release)).count();
    assert_eq!((of("_2026a_"), of("_2026b_")), (2, 2), "{names:?}");
    let old = [
        "kiln",
        "--family",
        &copy,
        "--release",
        "2026a",
        "build",
        "runtime-data",
    ];
    assert_eq!(completed(&old).len(), 2);
}

#[test]
fn bash_completes_components_and_what_they_name() {
    let family = family().display().to_string();
    let words = |more: &[&str]| {
        let line = ["kiln", "--family", &family].into_iter();
        completed(&line.chain(more.iter().copied()).collect::<Vec<_>>())
    };
    assert_eq!(words(&["add", "polars", "--to", "data"]), ["datascience"]);
    assert_eq!(words(&["remove", "--from", "ide/"]), ["ide/jupyter"]);
    assert_eq!(words(&["remove", "libodbci"]), ["libodbcinst2"]);
}

#[test]
fn every_shell_gets_its_code() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let done = Command::new(KILN)
            .args(["completions", shell])
            .output()
            .unwrap();
        assert!(done.status.success(), "{shell}");
        let code = String::from_utf8(done.stdout).unwrap();
        assert!(code.contains("KILN_COMPLETE"), "{shell}: {code}");
    }
}

#[test]
fn manual_pages_are_right_for_mandoc_and_there_is_one_for_each_command() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().display().to_string();
    let done = Command::new(KILN)
        .args(["man", "--out", &out])
        .status()
        .unwrap();
    assert!(done.success());
    let pages: Vec<_> = std::fs::read_dir(&dir)
        .unwrap()
        .map(|it| it.unwrap().path())
        .collect();
    let is_there = |name: &str| pages.iter().any(|path| path.ends_with(name));
    assert!(is_there("kiln.1") && is_there("kiln-build.1") && is_there("kiln-store-gc.1"));
    let lint = Command::new("mandoc")
        .args(["-T", "lint", "-W", "warning"])
        .args(&pages)
        .output()
        .unwrap();
    let complaints = String::from_utf8_lossy(&lint.stdout);
    // They have no date on purpose.
    let complaints = complaints
        .lines()
        .filter(|it| !it.contains("missing date, using"));
    assert_eq!(complaints.collect::<Vec<_>>(), [""; 0]);
    let one = Command::new(KILN).arg("man").output().unwrap();
    let page = std::fs::read(dir.path().join("kiln.1")).unwrap();
    assert_eq!(one.stdout.trim_ascii(), page.trim_ascii());
}
