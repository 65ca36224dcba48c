//! Releases side by side: what one says itself, and what it takes from the family.

#![expect(
    clippy::unwrap_used,
    reason = "what tests share may panic, as tests do"
)]

use std::{fs, path::Path};

use kiln_recipe::{Family, ReadError, parse, read_family, read_release};

const BASE: &str = "code = \"d12\"\ndistribution = \"debian\"\nsuite = \"bookworm\"\npython = \"3.11\"\n\n\
                    [[archive]]\nsource = \"debian\"\nkeyring = \"key\"\n";

fn kiln(release: &str) -> String {
    format!(
        "[family]\nname = \"test\"\nrelease = \"{release}\"\n\n\
         [[image]]\nbase = \"debian-12\"\nbundle = \"data\"\n"
    )
}

fn write(dir: &Path, path: &str, text: &str) {
    let path = dir.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// A family that is at 2026b, with the bundle of 2026a as it was.
fn family() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let data = |version: &str| {
        format!(
            "requirements = [\"numpy~={version}\"]\n\n[[file]]\nsource = \"motd\"\nto = \"/etc/motd\"\n"
        )
    };
    write(dir.path(), "kiln.toml", &kiln("2026b"));
    write(dir.path(), "bases/debian-12.toml", BASE);
    write(dir.path(), "keyrings/key", "");
    write(dir.path(), "bundles/data/bundle.toml", &data("2.4.0"));
    write(dir.path(), "bundles/data/motd", "shared");
    let own = dir.path().join("releases/2026a");
    write(&own, "bundles/data/bundle.toml", &data("2.3.0"));
    dir
}

fn requirements(family: &Family) -> Vec<String> {
    let requirements = &family.bundles["data"].component.requirements;
    requirements
        .iter()
        .map(|it| format!("{} at {}", it.text, it.at))
        .collect()
}

#[test]
fn a_release_keeps_what_it_says_while_the_family_moves_on() {
    let dir = family();
    let now = parse(&read_family(dir.path()).unwrap()).unwrap();
    let old = parse(&read_release(dir.path(), "2026a").unwrap()).unwrap();
    assert_eq!(
        (now.release.as_str(), old.release.as_str()),
        ("2026b", "2026a")
    );
    assert_eq!(
        requirements(&now),
        ["numpy~=2.4.0 at bundles/data/bundle.toml:1:17"]
    );
    let place = "releases/2026a/bundles/data/bundle.toml";
    assert_eq!(
        requirements(&old),
        [format!("numpy~=2.3.0 at {place}:1:17")]
    );
    assert!(old.texts.contains_key(place), "{:?}", old.texts.keys());
    // What the release has not is the family's, and is read from there.
    let file = |family: &Family| family.bundles["data"].component.files[0].source.clone();
    assert_eq!(file(&old), "bundles/data/motd");
    write(dir.path(), "releases/2026a/bundles/data/motd", "its own");
    let old = parse(&read_release(dir.path(), "2026a").unwrap()).unwrap();
    assert_eq!(file(&old), "releases/2026a/bundles/data/motd");
    assert_eq!(
        file(&parse(&read_family(dir.path()).unwrap()).unwrap()),
        "bundles/data/motd"
    );
    // Nothing of a release concerns the family.
    fs::remove_dir_all(dir.path().join("releases")).unwrap();
    let alone = parse(&read_family(dir.path()).unwrap()).unwrap();
    assert_eq!(format!("{alone:?}"), format!("{now:?}"));
}

#[test]
fn what_is_wrong_in_a_release_is_shown_where_it_is() {
    let dir = family();
    write(dir.path(), "releases/2026a/kiln.toml", &kiln("2026b"));
    write(
        dir.path(),
        "releases/2026a/bundles/data/bundle.toml",
        "requirments = []\n",
    );
    let errors = parse(&read_release(dir.path(), "2026a").unwrap()).unwrap_err();
    insta::assert_snapshot!(errors, @r#"
        releases/2026a/bundles/data/bundle.toml:1:1: unknown key `requirments`
           1 | requirments = []
             | ^^^^^^^^^^^
        hint: did you mean `requirements`?

        releases/2026a/kiln.toml:1:1: this is the release `2026a` by its directory, and `2026b` by its `release`
        hint: say `release = "2026a"`, or rename the directory
    "#);
    write(dir.path(), "releases/2026-a/kiln.toml", &kiln("2026-a"));
    let errors = parse(&read_release(dir.path(), "2026-a").unwrap()).unwrap_err();
    insta::assert_snapshot!(errors, @r#"
        releases/2026-a:1:1: `2026-a` cannot stand in image names
        hint: lowercase letters, digits and dots, such as `2026b`

        releases/2026-a/kiln.toml:3:11: `2026-a` cannot stand in image names
           3 | release = "2026-a"
             |           ^^^^^^^^
        hint: lowercase letters, digits and dots, such as `2026b`
    "#);
    let error = read_release(dir.path(), "2025b").unwrap_err();
    assert!(matches!(error, ReadError::NoRelease { .. }));
    insta::assert_snapshot!(format!("{error}\nhint: {}", error.hint().unwrap()), @r"
        the family has no release `2025b` in `releases`
        hint: known releases are `2026-a`, `2026a`
    ");
}
