//! What a stale lock says, when an image's fingerprint moves, and what a diff tells.

#![expect(
    clippy::unwrap_used,
    reason = "what tests share may panic, as tests do"
)]

use std::fmt::Write as _;

use std::collections::BTreeMap;

use kiln_digest::Digest;
use kiln_lock::{
    Closure, Deb, LOCK_VERSION, Lock, LockedImage, PackageId, Set, Wheel, check, diff,
    diff::PackageKind, fingerprint, fingerprint_config, requests,
};
use kiln_recipe::{ComponentId, ComponentKind, Family, FamilyFiles, Platform};

const KILN: &str = r#"
[family]
name = "test"
release = "2026b"

[[image]]
base = "debian-12"
bundle = "science"
"#;

const BASE: &str = r#"
code = "d12"
distribution = "debian"
suite = "bookworm"
python = "3.11"
packages = ["bash", "libc6 (>= 2.36)"]

[[archive]]
source = "debian"
keyring = "k.asc"

[env]
PATH = "/bin"

[[file]]
source = "passwd"
to = "/etc/passwd"
"#;

const SCIENCE: &str = r#"
extends = "minimal"
requirements = ["numpy~=2.4.0", "scipy~=1.17.0"]
"#;

fn files() -> BTreeMap<&'static str, String> {
    BTreeMap::from([
        ("kiln.toml", KILN.to_owned()),
        ("bases/debian-12.toml", BASE.to_owned()),
        (
            "bases/debian-12/passwd",
            "root:x:0:0::/root:/bin/sh\n".to_owned(),
        ),
        (
            "bundles/minimal/bundle.toml",
            r#"requirements = ["pip~=26.3.0"]"#.to_owned(),
        ),
        ("bundles/science/bundle.toml", SCIENCE.to_owned()),
        ("keyrings/k.asc", String::new()),
    ])
}

fn family_of(files: &BTreeMap<&'static str, String>) -> Family {
    let files = files
        .iter()
        .map(|(path, text)| ((*path).to_owned(), text.clone().into_bytes()));
    kiln_recipe::parse(&FamilyFiles {
        files: files.collect(),
        ..FamilyFiles::default()
    })
    .unwrap_or_else(|it| panic!("{it}"))
}

/// The family after one edit.
fn edited(path: &'static str, from: &str, to: &str) -> Family {
    let mut files = files();
    let text = files.get_mut(path).unwrap();
    assert!(text.contains(from), "nothing to edit");
    *text = text.replace(from, to);
    family_of(&files)
}

fn deb(version: &str) -> Deb {
    Deb {
        id: PackageId(format!("debian/bash_{version}_amd64")),
        name: "bash".to_owned(),
        version: version.to_owned(),
        architecture: "amd64".to_owned(),
        source: "debian".to_owned(),
        suite: "bookworm".to_owned(),
        path: "pool/bash.deb".to_owned(),
        size: 1,
        sha256: Digest::of(version.as_bytes()),
        essential: true,
        multi_arch_same: false,
        depends: Vec::new(),
    }
}

fn wheel(name: &str) -> Wheel {
    Wheel {
        id: PackageId(format!("pypi/{name}-1-py3-none-any.whl")),
        name: name.to_owned(),
        version: "1".to_owned(),
        source: "pypi".to_owned(),
        file: format!("{name}-1-py3-none-any.whl"),
        size: 1,
        sha256: Digest::of(name.as_bytes()),
        requires: Vec::new(),
        built_from: None,
    }
}

/// A lock of the family's images, each of one Debian package and some wheels.
fn lock_of(family: &Family, deb: Deb, wheels: Vec<Wheel>, date: &str) -> Lock {
    let set = Set {
        id: "linux/amd64 debian-12".to_owned(),
        component: ComponentId {
            kind: ComponentKind::Base,
            name: "debian-12".to_owned(),
        },
        debs: vec![deb.id.clone()],
        wheels: wheels.iter().map(|wheel| wheel.id.clone()).collect(),
    };
    let images = family.images.iter().map(|image| LockedImage {
        name: family
            .pattern
            .render(&family.image_name(image, &date.replace('-', "")).unwrap()),
        platform: Platform::LinuxAmd64,
        base: image.base.clone(),
        accelerator: image.accelerator.clone(),
        bundle: image.bundle.clone(),
        ide: image.ide.clone(),
        python: family.bases[&image.base].python,
        date: date.to_owned(),
        fingerprint: fingerprint(
            fingerprint_config(family, image),
            &[Closure {
                debs: vec![&deb],
                wheels: wheels.iter().collect(),
            }],
        ),
        sets: vec![set.id.clone()],
    });
    Lock {
        version: LOCK_VERSION,
        family: family.name.clone(),
        release: family.release.clone(),
        tools: Vec::new(),
        indexes: Vec::new(),
        requests: requests(family),
        images: images.collect(),
        sets: vec![set],
        debs: vec![deb],
        wheels,
    }
}

fn lock(family: &Family) -> Lock {
    lock_of(family, deb("5.2"), vec![wheel("numpy")], "2026-11-22")
}

#[test]
fn a_lock_fits_the_family_that_it_was_made_for() {
    let family = family_of(&files());
    let lock = lock(&family);
    assert_eq!(check(&family, &lock), Ok(()));
    let reread = Lock::parse(&lock.render()).unwrap();
    assert_eq!(check(&family, &reread), Ok(()));
}

#[test]
fn a_stale_lock_says_what_changed_and_where() {
    const KILN: &str = "kiln.toml";
    const BASE: &str = "bases/debian-12.toml";
    const SCIENCE: &str = "bundles/science/bundle.toml";
    let lock = lock(&family_of(&files()));
    let edits = [
        (KILN, "2026b", "2027a"),
        (
            KILN,
            "\n[[image]]\nbase = \"debian-12\"\nbundle = \"science\"",
            "\n[[image]]\nbase = \"debian-12\"\nbundle = \"minimal\"",
        ),
        (KILN, "\n[[image]]", "\n[user]\nuid = 1000\n\n[[image]]"),
        (SCIENCE, "\"scipy~=1.17.0\"", "\"scipy~=1.18.0\""),
        (
            SCIENCE,
            "\"scipy~=1.17.0\"",
            "\"scipy~=1.17.0\", \"pandas~=3.1.0\"",
        ),
        (SCIENCE, ", \"scipy~=1.17.0\"", ""),
        (SCIENCE, "extends", "independent = true\nextends"),
        (BASE, "libc6 (>= 2.36)", "libc6"),
        (BASE, "\"bash\", ", ""),
        (
            BASE,
            "source = \"debian\"",
            "source = \"debian\"\nsuite = \"bookworm-updates\"",
        ),
        (BASE, "PATH = \"/bin\"", "PATH = \"/bin:/sbin\""),
        (BASE, "to = \"/etc/passwd\"", "to = \"/etc/passwd2\""),
        ("bases/debian-12/passwd", "root", "toor"),
    ];
    let mut report = String::new();
    for (path, from, to) in edits {
        let stale = check(&edited(path, from, to), &lock).expect_err(to);
        let _ = write!(report, "## {path}: {from:?} → {to:?}\n{stale}\n\n");
    }
    insta::assert_snapshot!(report);
}

#[test]
fn a_project_that_is_built_otherwise_makes_the_lock_stale() {
    const SCIENCE: &str = "bundles/science/bundle.toml";
    let plain = family_of(&files());
    let built = |how: &str| edited(SCIENCE, "extends", &format!("{how}\nextends"));
    let table = "from-source.scipy = { packages = [\"gcc\"], env = { CC = \"gcc\" } }";
    let family = built(table);
    let now = check(&family, &lock(&plain)).unwrap_err().to_string();
    assert!(
        now.contains("bundle/science: `scipy` is now built from source (bundles/"),
        "{now}"
    );
    let lock = lock(&family);
    let reread = Lock::parse(&lock.render()).unwrap();
    assert_eq!(check(&family, &reread), Ok(()));
    let gone = check(&plain, &lock).unwrap_err().to_string();
    assert!(
        gone.contains("`scipy` is no longer built from source"),
        "{gone}"
    );
    for other in [
        table.replace("\"gcc\"]", "\"g++\"]"),
        table.replace("= \"gcc\"", "= \"clang\""),
        table.replace("{ packages", "{ requirements = [\"cython\"], packages"),
    ] {
        let changed = check(&built(&other), &lock).unwrap_err().to_string();
        assert!(
            changed.contains("how `scipy` is built changed"),
            "{changed}"
        );
    }
}

#[test]
fn a_change_that_changes_no_image_leaves_the_lock_fitting() {
    let lock = lock(&family_of(&files()));
    for (path, from, to) in [
        (
            "kiln.toml",
            "[family]",
            "# a comment\n[family]\ndefault-base = \"debian-12\"",
        ),
        (
            "bundles/science/bundle.toml",
            "\"numpy~=2.4.0\", \"scipy~=1.17.0\"",
            "\"scipy~=1.17.0\", \"numpy~=2.4.0\"",
        ),
        (
            "kiln.toml",
            "[[image]]",
            "[sources]\ndebian = \"https://mirror.example.org\"\n[[image]]",
        ),
    ] {
        assert_eq!(check(&edited(path, from, to), &lock), Ok(()), "{to}");
    }
}

#[test]
fn the_fingerprint_depends_on_every_package_and_its_set_and_not_on_their_order() {
    let (a, b) = (wheel("a"), wheel("b"));
    let config = Digest::of(b"config");
    let other = Wheel {
        sha256: Digest::of(b"other"),
        ..a.clone()
    };
    let one = deb("1");
    let of = |config, sets: &[(Vec<&Deb>, Vec<&Wheel>)]| {
        let closures: Vec<_> = sets
            .iter()
            .map(|(debs, wheels)| Closure {
                debs: debs.clone(),
                wheels: wheels.clone(),
            })
            .collect();
        fingerprint(config, &closures)
    };
    let none = || (vec![], vec![]);
    let fingerprints = [
        of(config, &[(vec![], vec![&a, &b])]),
        of(config, &[(vec![], vec![&a])]),
        of(config, &[(vec![], vec![&other, &b])]),
        of(config, &[(vec![&one], vec![&a, &b])]),
        of(config, &[(vec![], vec![&a]), (vec![], vec![&b])]),
        of(config, &[(vec![], vec![&a, &b]), none()]),
        of(Digest::of(b"other"), &[(vec![], vec![&a, &b])]),
    ];
    let distinct: std::collections::BTreeSet<_> = fingerprints.iter().collect();
    assert_eq!(distinct.len(), fingerprints.len());
    assert_eq!(of(config, &[(vec![], vec![&b, &a])]), fingerprints[0]);
}

#[test]
fn a_diff_tells_versions_and_the_images_they_are_in() {
    let family = family_of(&files());
    let old = lock(&family);
    assert!(diff(&old, &old).is_empty());
    let new = lock_of(&family, deb("5.3"), vec![wheel("pandas")], "2026-11-30");
    let diff = diff(&old, &new);
    let name = "runtime-science-d12-py311_2026b_20261130";
    let changes: Vec<_> = diff
        .packages
        .iter()
        .map(|it| {
            (
                it.kind,
                it.name.as_str(),
                it.from.as_deref(),
                it.to.as_deref(),
            )
        })
        .collect();
    let expected = [
        (PackageKind::Deb, "bash", Some("5.2"), Some("5.3")),
        (PackageKind::Wheel, "numpy", Some("1"), None),
        (PackageKind::Wheel, "pandas", None, Some("1")),
    ];
    assert_eq!(changes, expected);
    assert!(diff.packages.iter().all(|change| change.images == [name]));
    assert_eq!(diff.moved.len(), 1);
    assert_eq!(
        (diff.moved[0].from.as_str(), diff.moved[0].to.as_str()),
        ("2026-11-22", "2026-11-30")
    );
}

#[test]
fn a_diff_tells_images_that_came_and_went() {
    let old = lock(&family_of(&files()));
    let new = lock(&edited(
        "kiln.toml",
        "bundle = \"science\"",
        "bundle = \"minimal\"",
    ));
    let diff = diff(&old, &new);
    assert_eq!(diff.added, ["runtime-minimal-d12-py311_2026b_20261122"]);
    assert_eq!(diff.removed, ["runtime-science-d12-py311_2026b_20261122"]);
    assert!(diff.packages.is_empty() && diff.moved.is_empty());
}

#[test]
fn the_configuration_has_everything_that_changes_an_image_and_nothing_else() {
    const KILN: &str = "kiln.toml";
    const BASE: &str = "bases/debian-12.toml";
    const SCIENCE: &str = "bundles/science/bundle.toml";
    let config = |family: &Family| fingerprint_config(family, &family.images[0]);
    let before = config(&family_of(&files()));
    for (path, from, to) in [
        (KILN, "2026b", "2027a"),
        (KILN, "name = \"test\"", "name = \"other\""),
        (KILN, "[family]", "[family]\ndescription = \"x\""),
        (KILN, "[family]", "[family]\nvendor = \"x\""),
        (KILN, "[family]", "[family]\nsource = \"x\""),
        (KILN, "[family]", "[family]\nlicenses = \"x\""),
        (KILN, "[family]", "[family]\nrepository = \"x\""),
        (KILN, "[family]", "[user]\nhome = \"/home\"\n[family]"),
        (KILN, "[family]", "[user]\ngid = 1\n[family]"),
        (
            BASE,
            "to = \"/etc/passwd\"",
            "to = \"/etc/passwd\"\nmode = \"0600\"",
        ),
        (
            BASE,
            "to = \"/etc/passwd\"",
            "to = \"/etc/passwd\"\nowner = \"0:1\"",
        ),
        (BASE, "d12", "d12.1"),
        (BASE, "[env]", "[labels]\na = \"b\"\n[env]"),
        (BASE, "[env]", "[winners]\n\"/a\" = \"b\"\n[env]"),
        (BASE, "[env]", "[env]\nA = \"\""),
        (SCIENCE, "extends", "title = \"Science\"\nextends"),
        (SCIENCE, "extends", "description = \"Science\"\nextends"),
        (KILN, "[family]", "[family]\nbytecode = false"),
        (KILN, "[family]", "[family]\npack-only = true"),
        (KILN, "[family]", "[user]\nname = \"jovyan\"\n[family]"),
        (KILN, "[family]", "[user]\nshell = \"/bin/sh\"\n[family]"),
        (BASE, "[env]", "[[run]]\ncommand = [\"/bin/true\"]\n[env]"),
    ] {
        assert_ne!(config(&edited(path, from, to)), before, "{to}");
    }
    for (path, from, to) in [
        (KILN, "[family]", "[family]\nuv = \"0.13.9\""),
        (KILN, "[family]", "[family]\nplatforms = [\"linux/arm64\"]"),
        (KILN, "[family]", "[family]\ndefault-base = \"debian-12\""),
        (
            KILN,
            "[family]",
            "[sources]\npypi = \"https://mirror.example.org/simple\"\n[family]",
        ),
        (BASE, "[env]", "# a comment\n[env]"),
    ] {
        assert_eq!(config(&edited(path, from, to)), before, "{to}");
    }
}

#[test]
fn a_command_and_its_artifacts_are_part_of_the_configuration() {
    const BASE: &str = "bases/debian-12.toml";
    const RUN: &str = "[[run]]\ncommand = [\"/bin/tar\", \"-x\"]\nenv = { A = \"b\" }\n\
        [[run.artifact]]\nsource = \"models\"\npath = \"a.tar\"\nsize = 1\nto = \"/mnt/a\"\n\
        sha256 = \"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\"\n";
    let config = |run: &str| {
        let family = edited(BASE, "[env]", &format!("{run}[env]"));
        fingerprint_config(&family, &family.images[0])
    };
    let before = config(RUN);
    for (from, to) in [
        ("-x", "-t"),
        ("\"b\"", "\"c\""),
        ("env =", "user = \"root\"\nenv ="),
        ("to = \"/mnt/a\"", "to = \"/mnt/b\""),
        ("e3b0", "e3b1"),
    ] {
        assert_ne!(config(&RUN.replace(from, to)), before, "{to}");
    }
    // Where the same bytes come from changes nothing.
    assert_eq!(config(&RUN.replace("models", "mirror")), before);
    assert_eq!(config(&RUN.replace("a.tar\"", "b/a.tar\"")), before);
}

#[test]
fn what_is_not_executed_is_no_part_of_an_image_that_is_packed_only() {
    const KILN: &str = "kiln.toml";
    let config = |more: &str, run: &str| {
        let mut files = files();
        let text = files.get_mut(KILN).unwrap();
        *text = text.replace("[family]", &format!("{more}[family]\npack-only = true"));
        let base = files.get_mut("bases/debian-12.toml").unwrap();
        *base = base.replace("[env]", &format!("{run}[env]"));
        let family = family_of(&files);
        fingerprint_config(&family, &family.images[0])
    };
    let before = config("", "");
    assert_eq!(config("[user]\nname = \"jovyan\"\n", ""), before);
    assert_eq!(config("", "[[run]]\ncommand = [\"/bin/true\"]\n"), before);
    assert_ne!(config("[user]\nuid = 7\n", ""), before);
}
