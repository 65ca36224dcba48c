//! With repositories that the git of this machine makes.

use std::{fs, os::unix::fs::PermissionsExt};

use super::*;

fn run(dir: &Path, arguments: &[&str]) {
    let who = ["-c", "user.name=T", "-c", "user.email=t@example.org"];
    let mut git = Command::new("git");
    git.arg("-C").arg(dir).args(who).args(arguments);
    let done = git.output().unwrap();
    assert!(done.status.success(), "{done:?}");
}

/// A family in a directory of a repository; it has hooks and filters that leave a mark.
fn repository() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let family = root.path().join("family");
    for dir in ["bundles/a/files", "releases/old/bundles/a"] {
        fs::create_dir_all(family.join(dir)).unwrap();
    }
    let write = |path: &str, text: &str| fs::write(family.join(path), text).unwrap();
    write("kiln.toml", "family\r\n");
    write("kiln.lock", "lock");
    write("notes.txt", "not ours");
    write("bundles/a/bundle.toml", "now");
    write("bundles/a/files/start.sh", "script");
    write("releases/old/bundles/a/bundle.toml", "then");
    write("releases/old/kiln.lock", "old lock");
    fs::set_permissions(
        family.join("bundles/a/files/start.sh"),
        fs::Permissions::from_mode(0o755),
    )
    .unwrap();
    std::os::unix::fs::symlink("start.sh", family.join("bundles/a/files/link")).unwrap();
    fs::write(root.path().join(".gitattributes"), "* filter=mark text\n").unwrap();
    run(root.path(), &["init"]);
    run(root.path(), &["add", "."]);
    run(root.path(), &["commit", "--message", "first"]);
    let mark = root.path().join("mark");
    let command = format!("touch {}; cat", mark.display());
    run(root.path(), &["config", "filter.mark.smudge", &command]);
    run(root.path(), &["config", "core.autocrlf", "true"]);
    run(root.path(), &["config", "core.fsmonitor", &command]);
    for hook in ["post-index-change", "post-checkout"] {
        let hook = root.path().join(".git/hooks").join(hook);
        fs::write(&hook, format!("#!/bin/sh\n{command}\n")).unwrap();
        fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    }
    root
}

#[test]
fn files_are_those_of_the_objects_and_nothing_of_the_repository_runs() {
    let root = repository();
    let dir = root.path().join("family");
    fs::remove_dir_all(dir.join("bundles")).unwrap();
    let commit = Commit::of(&dir, "HEAD", "kiln.lock", None)
        .unwrap()
        .unwrap();
    assert_eq!(commit.file("kiln.lock", 4).unwrap().unwrap(), b"lock");
    assert!(matches!(
        commit.file("kiln.lock", 3),
        Err(GitError::Unusable(_))
    ));
    let family = commit.family(None).unwrap();
    let files: Vec<_> = family.files.keys().map(String::as_str).collect();
    let script = "bundles/a/files/start.sh";
    let link = "bundles/a/files/link";
    let all = ["bundles/a/bundle.toml", link, script, "kiln.toml"];
    assert_eq!(files, all);
    // As git stores it, whatever would be checked out.
    assert_eq!(family.files["kiln.toml"], b"family\n");
    assert_eq!(family.files[link], b"script");
    assert_eq!(family.links.iter().collect::<Vec<_>>(), [link]);
    let executables: Vec<_> = family.executables.iter().collect();
    assert_eq!(executables, [link, script]);
    let mark = root.path().join("mark");
    assert!(!mark.exists());
    run(root.path(), &["checkout-index", "--all", "--force"]);
    assert!(mark.exists(), "what checks files out runs the filter");
}

#[test]
fn a_release_is_what_is_read_of_a_directory() {
    let root = repository();
    let dir = root.path().join("family");
    fs::write(dir.join("kiln.toml"), "family\n").unwrap();
    let (lock, release) = ("releases/old/kiln.lock", Some("old"));
    let commit = Commit::of(&dir, "HEAD", lock, release).unwrap().unwrap();
    assert_eq!(commit.file(lock, 99).unwrap().unwrap(), b"old lock");
    let found = commit.family(release).unwrap();
    assert_eq!(found, kiln_recipe::read_release(&dir, "old").unwrap());
}

fn of<'a>(dir: &'a Path, revision: &str) -> Result<Option<Commit<'a>>, GitError> {
    Commit::of(dir, revision, "kiln.lock", None)
}

#[test]
fn what_git_does_not_have_is_told_apart_from_what_it_refuses() {
    let root = repository();
    assert!(of(root.path(), "v9").unwrap().is_none());
    let commit = of(root.path(), "HEAD").unwrap().unwrap();
    assert!(commit.file("kiln.lock", 9).unwrap().is_none());
    assert!(matches!(commit.family(None), Err(GitError::Unusable(_))));
    let nowhere = tempfile::tempdir().unwrap();
    assert!(matches!(
        of(nowhere.path(), "HEAD"),
        Err(GitError::Failed(_))
    ));
}

#[test]
fn links_stay_inside() {
    assert_eq!(joined("a/b/c", "../d").as_deref(), Some("a/d"));
    assert_eq!(joined("a/b", "./c").as_deref(), Some("a/c"));
    assert_eq!(joined("a/b", "../../c"), None);
    assert_eq!(joined("a/b", "/c"), None);
}
