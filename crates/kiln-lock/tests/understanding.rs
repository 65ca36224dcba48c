//! Why a package is in an image, and what differs between images.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use kiln_digest::Digest;
use kiln_lock::{
    Deb, ImageDifference, LOCK_VERSION, Lock, LockedImage, PackageId, Root, Set, Wheel, Why,
    compare_images, compare_locks,
    limits::{Limit, Limiter, Limits},
    why,
};
use kiln_recipe::{Family, FamilyFiles, Platform, PythonVersion, pep508_rs::PackageName};

const FILES: [(&str, &str); 5] = [
    (
        "kiln.toml",
        "[family]\nname = \"test\"\nrelease = \"1\"\n[[image]]\nbase = \"b\"\nbundle = \"science\"\n",
    ),
    (
        "bases/b.toml",
        "code = \"b1\"\ndistribution = \"debian\"\nsuite = \"bookworm\"\npython = \"3.11\"\n\
         packages = [\"curl\", \"python3.11\"]\n[[archive]]\nsource = \"debian\"\nkeyring = \"k.asc\"\n",
    ),
    (
        "bundles/minimal/bundle.toml",
        "requirements = [\n    \"web[fast]~=1.0\",\n    \"old; python_version < '3.11'\",\n]\n",
    ),
    (
        "bundles/science/bundle.toml",
        "extends = \"minimal\"\nrequirements = [\"numpy\"]\n",
    ),
    ("keyrings/k.asc", ""),
];

fn family() -> Family {
    let files = FILES.map(|(path, text)| (path.to_owned(), text.as_bytes().to_vec()));
    kiln_recipe::parse(&FamilyFiles {
        files: files.into(),
        ..FamilyFiles::default()
    })
    .unwrap_or_else(|it| panic!("{it}"))
}

fn deb(name: &str, version: &str, depends: &[&str]) -> Deb {
    Deb {
        id: PackageId(format!("debian/{name}_{version}_amd64")),
        name: name.to_owned(),
        version: version.to_owned(),
        architecture: "amd64".to_owned(),
        source: "debian".to_owned(),
        suite: "bookworm".to_owned(),
        path: format!("pool/{name}.deb"),
        size: 1000,
        sha256: Digest::of(name.as_bytes()),
        essential: name == "dash",
        multi_arch_same: false,
        depends: depends.iter().map(|&it| it.to_owned()).collect(),
    }
}

fn wheel(name: &str, version: &str, requires: &[&str]) -> Wheel {
    let file = format!("{name}-{version}-py3-none-any.whl");
    Wheel {
        id: PackageId(format!("pypi/{file}")),
        name: name.to_owned(),
        version: version.to_owned(),
        source: "pypi".to_owned(),
        sha256: Digest::of(file.as_bytes()),
        file,
        size: 2000,
        requires: requires.iter().map(|&it| it.to_owned()).collect(),
        built_from: None,
    }
}

/// A lock of one image; the sets are made of what each component brings.
fn lock(debs: Vec<Deb>, minimal: Vec<Wheel>, science: Vec<Wheel>) -> Lock {
    let ids = |wheels: &[Wheel]| wheels.iter().map(|wheel| wheel.id.clone()).collect();
    let set = |id: &str, component: &str| Set {
        id: id.to_owned(),
        component: component.to_owned().try_into().unwrap(),
        debs: Vec::new(),
        wheels: Vec::new(),
    };
    let sets = vec![
        Set {
            debs: debs.iter().map(|deb| deb.id.clone()).collect(),
            ..set("linux/amd64 b", "base/b")
        },
        Set {
            wheels: ids(&minimal),
            ..set("linux/amd64 b cpu minimal", "bundle/minimal")
        },
        Set {
            wheels: ids(&science),
            ..set("linux/amd64 b cpu minimal science", "bundle/science")
        },
    ];
    let mut wheels = [minimal, science].concat();
    wheels.sort_by(|a, b| a.id.cmp(&b.id));
    Lock {
        version: LOCK_VERSION,
        family: "test".to_owned(),
        release: "1".to_owned(),
        tools: Vec::new(),
        indexes: Vec::new(),
        requests: Vec::new(),
        images: vec![LockedImage {
            name: "runtime-science-b1-py311_1_20261122".to_owned(),
            platform: Platform::LinuxAmd64,
            base: "b".to_owned(),
            accelerator: "cpu".to_owned(),
            bundle: "science".to_owned(),
            ide: "runtime".to_owned(),
            python: PythonVersion {
                major: 3,
                minor: 11,
            },
            date: "2026-11-22".to_owned(),
            fingerprint: Digest::of(b""),
            sets: sets.iter().map(|set| set.id.clone()).collect(),
        }],
        sets,
        debs,
        wheels,
    }
}

fn sample() -> Lock {
    lock(
        vec![
            deb("curl", "8.0-1", &["libssl3"]),
            deb("dash", "0.5", &["libc6"]),
            deb("libc6", "2.36-9", &[]),
            deb("libssl3", "3.0-1", &["libc6"]),
            deb("python3.11", "3.11.2-6", &["libc6", "libssl3"]),
        ],
        vec![
            wheel("loop", "1.0", &["web"]),
            wheel("tools", "1.0", &[]),
            wheel(
                "web",
                "1.2",
                &[
                    "loop>=1; extra == 'fast'",
                    "tools (>=1.0,<2)",
                    "numpy; extra == 'slow'",
                    "tools; python_full_version < '3.11.2'",
                ],
            ),
        ],
        vec![wheel("numpy", "2.4", &["tools; sys_platform == 'win32'"])],
    )
}

/// Each path on a line.
fn shown(why: &Why) -> Vec<String> {
    let paths = why.paths.iter().map(|path| {
        let root = match &path.root {
            Root::Requirement { text, at, .. } => format!("{at} {text}"),
            Root::Essential { base } => format!("{base} essential"),
        };
        let steps = path.steps.iter().map(|step| {
            let by = step.requirement.as_ref();
            let by = by.map_or_else(String::new, |by| format!(" [{by}]"));
            format!(" > {} {}{by}", step.package, step.version)
        });
        format!("{root}{}", steps.collect::<String>())
    });
    paths.collect()
}

fn paths(name: &str) -> Vec<String> {
    let lock = sample();
    let answers = why(&family(), &lock, &lock.images[0], name, 10);
    assert!(answers.len() < 2);
    answers.iter().flat_map(shown).collect()
}

const WEB: &str = "bundles/minimal/bundle.toml:2:5 web[fast]~=1.0";

#[test]
fn requirements_lead_to_wheels_through_extras_and_markers() {
    assert_eq!(
        paths("Tools"),
        [format!("{WEB} > web 1.2 > tools 1.0 [tools>=1.0,<2]")],
        "neither the marker of Windows nor that of an older patch release holds"
    );
    assert_eq!(
        paths("loop"),
        [format!(
            "{WEB} > web[fast] 1.2 > loop 1.0 [loop>=1 ; extra == 'fast']"
        )]
    );
    // The extra `slow` is not asked for.
    assert_eq!(
        paths("numpy"),
        ["bundles/science/bundle.toml:2:17 numpy > numpy 2.4"]
    );
    // That `loop` requires `web` leads back to where it came from.
    assert_eq!(paths("web"), [format!("{WEB} > web 1.2")]);
    assert_eq!(paths("old"), [""; 0], "its marker does not hold");
}

#[test]
fn os_packages_come_from_requirements_or_are_essential() {
    assert_eq!(
        paths("libssl3"),
        [
            "bases/b.toml:5:13 curl > curl 8.0-1 > libssl3 3.0-1",
            "bases/b.toml:5:21 python3.11 > python3.11 3.11.2-6 > libssl3 3.0-1",
        ]
    );
    assert_eq!(paths("dash"), ["base/b essential > dash 0.5"]);
    assert_eq!(paths("libc6").len(), 4);
    let lock = sample();
    let limited = why(&family(), &lock, &lock.images[0], "libc6", 1);
    assert_eq!((limited[0].paths.len(), limited[0].more), (1, 3));
    assert_eq!(limited[0].component.to_string(), "base/b");
    assert!(limited[0].complete);
}

#[test]
fn packages_that_came_went_or_changed_are_told() {
    let old = sample();
    let mut debs = old.debs.clone();
    debs.remove(1);
    debs[0] = deb("curl", "8.1-1", &[]);
    let minimal = vec![wheel("tools", "1.0", &[]), wheel("web", "1.2", &[])];
    let new = lock(debs, minimal, vec![wheel("pandas", "3.0", &[])]);
    let difference = compare_images((&old, &old.images[0]), (&new, &new.images[0]));
    let told: BTreeMap<_, _> = difference
        .packages
        .iter()
        .map(|it| {
            let version = |held: &Option<kiln_lock::Held>| held.clone().map(|it| it.version);
            (it.name.as_str(), (version(&it.from), version(&it.to)))
        })
        .collect();
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(
        told,
        BTreeMap::from([
            ("curl", (some("8.0-1"), some("8.1-1"))),
            ("dash", (some("0.5"), None)),
            ("loop", (some("1.0"), None)),
            ("numpy", (some("2.4"), None)),
            ("pandas", (None, some("3.0"))),
        ])
    );
}

#[test]
fn images_are_compared_with_those_of_the_same_components() {
    let old = sample();
    let mut new = sample();
    let mut other = new.images[0].clone();
    other.name = "runtime-science-b1-py311_1_20261127".to_owned();
    other.ide = "lab".to_owned();
    new.images[0].name = "runtime-science-b1-py311_1_20261128".to_owned();
    new.images.push(other);
    let difference = compare_locks(&old, &new);
    assert_eq!(difference.images.len(), 1);
    assert_eq!(difference.images[0].to.name, new.images[0].name);
    assert!(!difference.images[0].is_same() && difference.images[0].packages.is_empty());
    assert_eq!(difference.added, [&new.images[1]]);
    assert!(difference.removed.is_empty());
    let back = compare_locks(&new, &old);
    assert_eq!(back.removed, [&new.images[1]]);
    assert!(
        compare_locks(&new, &new)
            .images
            .iter()
            .all(ImageDifference::is_same)
    );
}

/// Who limits a project of the image of a lock, and how.
fn limits(lock: &Lock, project: &str) -> Vec<String> {
    let family = family();
    let limits = Limits::new(&family, lock);
    let all = limits.of(&lock.images[0]);
    let of_project = all.get(&project.parse::<PackageName>().unwrap());
    let shown = |limit: &Limit<'_>| {
        let by = match limit.by {
            Limiter::Family { requirement, .. } => requirement.at.to_string(),
            Limiter::Wheel(wheel) => wheel.name.clone(),
        };
        format!("{by}: {}", limit.requirement)
    };
    let mut shown: Vec<_> = of_project.into_iter().flatten().map(shown).collect();
    shown.sort();
    shown
}

#[test]
fn a_project_is_limited_by_each_requirement_that_holds_once() {
    let minimal = vec![
        wheel(
            "web",
            "1.0",
            &[
                "json>=2",
                "fast<3; extra == 'fast'",
                "slow; extra == 'slow'",
                "web[more]; extra == 'fast'",
                "json<9; extra == 'more'",
            ],
        ),
        wheel("json", "2.0", &[]),
        wheel(
            "fast",
            "2.0",
            &["json!=5", "old<1; python_version < '3.11'"],
        ),
        wheel("old", "3.0", &[]),
    ];
    let science = vec![wheel("numpy", "2.0", &["old; os_name == 'posix'"])];
    let lock = lock(vec![deb("python3.11", "3.11.2-6", &[])], minimal, science);
    assert_eq!(
        limits(&lock, "web"),
        [
            "bundles/minimal/bundle.toml:2:5: web[fast]~=1.0",
            "web: web[more] ; extra == 'fast'"
        ]
    );
    assert_eq!(
        limits(&lock, "json"),
        [
            "fast: json!=5",
            "web: json<9 ; extra == 'more'",
            "web: json>=2"
        ]
    );
    assert_eq!(limits(&lock, "fast"), ["web: fast<3 ; extra == 'fast'"]);
    assert_eq!(limits(&lock, "old"), ["numpy: old ; os_name == 'posix'"]);
    assert!(limits(&lock, "slow").is_empty());
}
