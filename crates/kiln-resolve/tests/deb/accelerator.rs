//! OS packages of accelerators: from archives of their own, on a base that stays as it is.

use std::{collections::BTreeMap, path::Path};

use kiln_fetch::{FetchOptions, Fetcher, SourceConfig, Sources};
use kiln_lock::Lock;
use kiln_recipe::{Family, FamilyFiles};
use kiln_resolve::{Build, BuildFailure, Builder, BuiltWheel, Options, ResolveError, resolve};

use crate::load::Mirror;

/// Nothing is built here.
struct Nobody;

impl Builder for Nobody {
    fn requires(&self, _: &Path, file: &str) -> Result<Vec<String>, BuildFailure> {
        Err(nobody(file))
    }

    fn further_requires(&self, build: &Build<'_>) -> Result<Vec<String>, BuildFailure> {
        Err(nobody(build.project))
    }

    fn build(&self, build: &Build<'_>) -> Result<BuiltWheel, BuildFailure> {
        Err(nobody(build.project))
    }
}

fn nobody(what: &str) -> BuildFailure {
    BuildFailure {
        cause: format!("nobody builds {what}").into(),
        hint: None,
    }
}

/// Images of one bundle on `cpu` and on `gpu`; `archive` and `packages` are the accelerator's.
fn family(mirror: &Mirror, archive: &str, packages: &str, bundle: &str) -> Family {
    let text = |text: &str| text.as_bytes().to_vec();
    let image = |accelerator: &str| {
        format!("[[image]]\nbase = 'deb'\naccelerator = '{accelerator}'\nbundle = 'b'\n")
    };
    let kiln = format!(
        "[family]\nname = 'f'\nrelease = '1'\nplatforms = ['linux/amd64']\n{}{}",
        image("cpu"),
        image("gpu"),
    );
    let base = "code = 'd12'\ndistribution = 'debian'\nsuite = 'bookworm'\npython = '3.11'\n\
                packages = ['main']\n[[archive]]\nsource = 'debian'\nkeyring = 'k.asc'\n";
    let gpu = format!("kind = 'rocm'\npackages = {packages}\n{archive}");
    let files = BTreeMap::from([
        ("kiln.toml".to_owned(), text(&kiln)),
        ("bases/deb.toml".to_owned(), text(base)),
        ("accelerators/gpu.toml".to_owned(), text(&gpu)),
        (
            "bundles/b/bundle.toml".to_owned(),
            text(&format!("packages = {bundle}\n")),
        ),
        (
            "keyrings/k.asc".to_owned(),
            mirror.signers.export_armored(&[]),
        ),
    ]);
    let files = FamilyFiles {
        files,
        ..FamilyFiles::default()
    };
    kiln_recipe::parse(&files).unwrap_or_else(|it| panic!("{it}"))
}

fn lock(mirror: &Mirror, family: &Family, previous: Option<&Lock>) -> Result<Lock, ResolveError> {
    let address = format!("file://{}", mirror.root.path().display());
    let sources = ["debian", "nvidia"].map(|it| (it.to_owned(), address.clone()));
    let sources = Sources::new(SourceConfig::new(BTreeMap::from(sources)));
    let fetcher = Fetcher::new(FetchOptions::new(sources)).unwrap();
    let options = Options {
        upgrade: false,
        relock_gone: false,
        offline: false,
        today: "2026-03-02".parse().unwrap(),
        now: "2026-03-02T00:00:00Z".parse().unwrap(),
        exclude_newer: None,
        cache_dir: mirror.root.path().join("cache"),
        downloads_dir: mirror.root.path().join("downloads"),
    };
    let lock = resolve(family, previous, &fetcher, &options, &Nobody, &|_| {})?;
    assert_eq!(Lock::parse(&lock.render()).unwrap(), lock);
    Ok(lock)
}

fn sets(lock: &Lock) -> Vec<String> {
    let sets = lock.sets.iter().filter(|set| !set.debs.is_empty());
    sets.map(|set| {
        let debs: Vec<&str> = set.debs.iter().map(AsRef::as_ref).collect();
        format!("{}: {}", set.id, debs.join(" "))
    })
    .collect()
}

const FLAT: &str = "[[archive]]\nsource = 'nvidia'\nsuite = 'nvidia/'\nkeyring = 'k.asc'\n";

fn mirror() -> Mirror {
    let mirror = Mirror::new();
    let date = "Sat, 28 Feb 2026 10:16:37 UTC";
    mirror.publish("bookworm", date, &["main"]);
    mirror.publish_flat("nvidia/", true);
    mirror
}

#[test]
fn an_archive_of_an_accelerator_serves_it_and_what_stands_on_it_and_never_the_base() {
    let mirror = mirror();
    let family = family(&mirror, FLAT, "['cuda-amd64']", "[]");
    let first = lock(&mirror, &family, None).unwrap();
    assert_eq!(
        sets(&first),
        [
            "linux/amd64 deb: debian/main_bookworm1_amd64",
            "linux/amd64 deb gpu: nvidia/cuda-amd64_12.9-1_amd64",
        ],
        "the newer `main` of the other archive is not taken"
    );
    let deb = first.debs.iter().find(|it| it.source == "nvidia").unwrap();
    assert_eq!(
        (deb.suite.as_str(), deb.path.as_str()),
        ("nvidia/", "nvidia/cuda_amd64.deb")
    );
    let indexes: Vec<_> = first
        .indexes
        .iter()
        .map(|it| (it.source.as_str(), it.suite.as_str()))
        .collect();
    assert_eq!(indexes, [("debian", "bookworm"), ("nvidia", "nvidia/")]);
    assert_eq!(lock(&mirror, &family, Some(&first)).unwrap(), first);

    // A bundle has the packages of an accelerator's archive on that accelerator alone.
    let bundle = self::family(&mirror, FLAT, "[]", "['cuda-all']");
    let error = lock(&mirror, &bundle, None).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the OS packages of `linux/amd64 deb cpu b` cannot be chosen"
    );
}

#[test]
fn an_archive_of_an_accelerator_that_somebody_else_signed_is_refused() {
    let mirror = mirror();
    let other = Mirror::new();
    other.publish_flat("nvidia/", false);
    let signed = other.root.path().join("nvidia/InRelease");
    std::fs::copy(signed, mirror.root.path().join("nvidia/InRelease")).unwrap();
    let family = family(&mirror, FLAT, "['cuda-amd64']", "[]");
    let error = lock(&mirror, &family, None).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the archives of accelerator `gpu` cannot be used"
    );
}

#[test]
fn each_accelerator_keeps_its_own_version_of_a_package() {
    let mirror = Mirror::new();
    let date = "Sat, 28 Feb 2026 10:16:37 UTC";
    mirror.publish("bookworm", date, &["main", "other"]);
    for suite in ["1", "2"] {
        mirror.publish(suite, date, &["tool"]);
    }
    let archive = |suite: &str| {
        format!(
            "[[archive]]\nsource = 'nvidia'\nsuite = '{suite}'\ncomponents = ['tool']\n\
             keyring = 'k.asc'\n"
        )
    };
    let archives = archive("1") + &archive("2");
    // Two accelerators with the same archives; the packages are the bundle's.
    let family = |packages: &str| {
        let mut family = family(&mirror, &archives, "[]", packages);
        family.bases.get_mut("deb").unwrap().archives[0]
            .components
            .push("other".to_owned());
        let mut other = family.accelerators["gpu"].clone();
        other.component.id.name = "gpu2".to_owned();
        other.code = Some("gpu2".to_owned());
        family.accelerators.insert("gpu2".to_owned(), other);
        for (image, accelerator) in family.images.iter_mut().zip(["gpu", "gpu2"]) {
            image.accelerator = accelerator.to_owned();
        }
        family
    };
    let mut first = lock(&mirror, &family("['tool']"), None).unwrap();
    let with_tool = |lock: &Lock| -> Vec<String> {
        let sets = sets(lock).into_iter();
        sets.filter(|set| set.contains("tool")).collect()
    };
    assert_eq!(
        with_tool(&first),
        [
            "linux/amd64 deb gpu b: nvidia/tool_21_amd64",
            "linux/amd64 deb gpu2 b: nvidia/tool_21_amd64",
        ]
    );
    // As if the first had been locked when there was no newer one.
    let older = lock(&mirror, &family("['tool (<< 20)']"), None).unwrap();
    let set = "linux/amd64 deb gpu b";
    let place = first.sets.iter().position(|it| it.id == set).unwrap();
    first.sets[place] = older.set(set).unwrap().clone();
    first.debs.clone_from(&older.debs);
    let young = lock(&mirror, &family("['tool']"), None).unwrap().debs;
    let young = young.into_iter().filter(|deb| deb.version == "21");
    first.debs.extend(young);
    first.debs.sort_by(|a, b| a.id.cmp(&b.id));
    // Another package makes all be chosen anew.
    let second = lock(&mirror, &family("['tool', 'other']"), Some(&first)).unwrap();
    assert_eq!(
        with_tool(&second),
        [
            "linux/amd64 deb gpu b: debian/other_bookworm1_amd64 nvidia/tool_11_amd64",
            "linux/amd64 deb gpu2 b: debian/other_bookworm1_amd64 nvidia/tool_21_amd64",
        ]
    );
}

#[test]
fn an_archive_may_be_for_some_bases_alone() {
    let mirror = mirror();
    let text = family(&mirror, FLAT, "[]", "[]");
    let mut elsewhere = text.clone();
    let archives = &mut elsewhere.accelerators.get_mut("gpu").unwrap().archives;
    archives[0].bases = vec!["other".to_owned()];
    elsewhere
        .accelerators
        .get_mut("gpu")
        .unwrap()
        .component
        .os_packages = family(&mirror, FLAT, "['cuda-amd64']", "[]").accelerators["gpu"]
        .component
        .os_packages
        .clone();
    let error = lock(&mirror, &elsewhere, None).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the OS packages of `linux/amd64 deb gpu` cannot be chosen"
    );
    assert!(lock(&mirror, &text, None).is_ok());
}
