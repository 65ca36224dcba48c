//! The lock and the companion as text.

use std::collections::BTreeMap;

use kiln_digest::Digest;
use kiln_lock::{
    BuiltFrom, COMPANION_VERSION, Companion, Deb, DebIndex, LOCK_VERSION, LayerRecord, Lock,
    LockError, LockedImage, PackageId, Request, Set, SourceRequest, Tool, Wheel,
};
use kiln_recipe::{ComponentId, ComponentKind, Platform, PythonVersion};
use proptest::{collection::btree_map, prelude::*};

fn id(kind: ComponentKind, name: &str) -> ComponentId {
    ComponentId {
        kind,
        name: name.to_owned(),
    }
}

fn deb(name: &str) -> Deb {
    Deb {
        id: PackageId(format!("debian/{name}_1%3a2.0-1_amd64")),
        name: name.to_owned(),
        version: "1:2.0-1".to_owned(),
        architecture: "amd64".to_owned(),
        source: "debian".to_owned(),
        suite: "bookworm".to_owned(),
        path: format!("pool/main/{name}_2.0-1_amd64.deb"),
        size: 1234,
        sha256: Digest::of(name.as_bytes()),
        essential: name == "bash",
        multi_arch_same: false,
        depends: if name == "bash" {
            vec!["libc6".into()]
        } else {
            Vec::new()
        },
    }
}

fn wheel(name: &str) -> Wheel {
    Wheel {
        id: PackageId(format!("pypi/{name}-1.0-py3-none-any.whl")),
        name: name.to_owned(),
        version: "1.0".to_owned(),
        source: "pypi".to_owned(),
        file: format!("{name}-1.0-py3-none-any.whl"),
        size: 99,
        sha256: Digest::of(name.as_bytes()),
        requires: vec!["six (>=1.5)".into(), r#"x; extra == "y""#.into()],
        built_from: None,
    }
}

/// [`small`] with a wheel that is built from source.
fn with_source() -> Lock {
    let mut lock = small();
    let env = BTreeMap::from([("CFLAGS".to_owned(), "-O1 \"x\"".to_owned())]);
    lock.requests[0].from_source.insert(
        "zope.x".to_owned(),
        SourceRequest {
            os_packages: vec!["gcc".to_owned()],
            requirements: vec!["cython<3.1".to_owned()],
            env: env.clone(),
        },
    );
    lock.wheels.push(Wheel {
        built_from: Some(BuiltFrom {
            file: "zope.x-1.0.tar.gz".to_owned(),
            size: 7,
            sha256: Digest::of(b"sdist"),
            base: lock.sets[0].id.clone(),
            debs: vec![deb("libc6").id],
            requirements: vec![wheel("pip").id],
            env,
        }),
        ..wheel("zope.x")
    });
    lock
}

fn small() -> Lock {
    let set = |text: &str, component, debs, wheels| Set {
        id: format!("linux/amd64 {text}"),
        component,
        debs,
        wheels,
    };
    Lock {
        version: LOCK_VERSION,
        family: "workbench".to_owned(),
        release: "2026b".to_owned(),
        tools: vec![Tool {
            name: "uv".to_owned(),
            version: "0.13.9".to_owned(),
            file: "uv-0.13.9-py3-none-any.whl".to_owned(),
            sha256: Digest::of(b"uv"),
            size: 5,
            source: "pypi".to_owned(),
        }],
        indexes: vec![DebIndex {
            source: "debian".to_owned(),
            suite: "bookworm".to_owned(),
            date: "2026-11-14T10:00:00Z".to_owned(),
            sha256: Digest::of(b"InRelease"),
            signed_by: vec!["AB".repeat(20)],
        }],
        requests: vec![Request {
            component: id(ComponentKind::Base, "debian-12"),
            requirements: Vec::new(),
            os_packages: vec!["bash".into(), "libc6 (>= 2.36)".into()],
            from: vec!["python 3.11".into(), "debian bookworm main".into()],
            python_indexes: BTreeMap::from([(
                "pytorch-cpu".to_owned(),
                vec!["torch".to_owned(), "torchvision".to_owned()],
            )]),
            from_source: BTreeMap::new(),
            files: BTreeMap::from([("/etc/passwd".to_owned(), Digest::of(b"root"))]),
        }],
        images: vec![LockedImage {
            name: "runtime-minimal-d12-py311_2026b_20261122".to_owned(),
            platform: Platform::LinuxAmd64,
            base: "debian-12".to_owned(),
            accelerator: "cpu".to_owned(),
            bundle: "minimal".to_owned(),
            ide: "runtime".to_owned(),
            python: PythonVersion {
                major: 3,
                minor: 11,
            },
            date: "2026-11-22".to_owned(),
            fingerprint: Digest::of(b"image"),
            sets: vec![
                "linux/amd64 debian-12".to_owned(),
                "linux/amd64 debian-12 cpu minimal".to_owned(),
            ],
        }],
        sets: vec![
            set(
                "debian-12",
                id(ComponentKind::Base, "debian-12"),
                vec![deb("bash").id, deb("libc6").id],
                vec![],
            ),
            set(
                "debian-12 cpu minimal",
                id(ComponentKind::Bundle, "minimal"),
                vec![],
                vec![wheel("pip").id],
            ),
        ],
        debs: vec![deb("bash"), deb("libc6")],
        wheels: vec![wheel("pip")],
    }
}

#[test]
fn a_lock_reads_well() {
    insta::assert_snapshot!(small().render());
}

#[test]
fn a_written_lock_reads_back() {
    assert_eq!(Lock::parse(&small().render()), Ok(small()));
    assert_eq!(small().render_checked(), Ok(small().render()));
}

#[test]
fn a_wheel_that_is_built_says_from_what() {
    let text = with_source().render();
    assert_eq!(Lock::parse(&text), Ok(with_source()));
    let asked = text.find("[request.from_source.").unwrap();
    let built = text.find("[wheel.built_from]").unwrap();
    let lines = |from: usize| text[from..].lines().take_while(|it| !it.is_empty());
    let shown: Vec<_> = lines(asked).take(4).chain(lines(built)).collect();
    insta::assert_snapshot!(shown.join("\n"));
}

#[test]
fn an_incomplete_build_environment_is_refused() {
    type Break = fn(&mut BuiltFrom);
    let breaks: [Break; 5] = [
        |built| built.base = "linux/amd64 other".to_owned(),
        |built| built.debs.push(deb("other").id),
        |built| built.requirements.push(wheel("zip").id),
        // A requirement that must be built itself.
        |built| built.requirements.push(wheel("zope.x").id),
        |built| built.debs.insert(0, deb("zip").id),
    ];
    for break_it in breaks {
        let mut lock = with_source();
        break_it(lock.wheels[1].built_from.as_mut().unwrap());
        let error = Lock::parse(&lock.render()).unwrap_err();
        assert!(matches!(error, LockError::Invariant(_)), "{error}");
    }
}

#[test]
fn a_newer_version_is_said_to_be_newer_whatever_else_is_in_it() {
    let text = small()
        .render()
        .replace("version = 1\n", "version = 2\nsomething = \"new\"\n");
    let error = Lock::parse(&text).unwrap_err();
    assert_eq!(error, LockError::Newer { found: 2 });
    insta::assert_snapshot!(
        error,
        @"the lock was written by a newer kiln: its version is 2, this kiln reads 1"
    );
}

#[test]
fn a_version_that_there_never_was_is_refused() {
    let text = small().render().replace("version = 1\n", "version = 0\n");
    assert_eq!(Lock::parse(&text), Err(LockError::NoVersion { found: 0 }));
}

#[test]
fn an_unknown_key_is_an_error_with_its_line() {
    let text = small()
        .render()
        .replace("[[deb]]\n", "[[deb]]\nflavour = \"x\"\n");
    let LockError::Syntax {
        line,
        column,
        message,
    } = Lock::parse(&text).unwrap_err()
    else {
        panic!("another kind of error");
    };
    let (expected, _) = text
        .lines()
        .enumerate()
        .find(|(_, it)| it.starts_with("flavour"))
        .unwrap();
    assert_eq!((line, column), (expected + 1, 1));
    assert!(message.contains("flavour"), "{message}");
}

#[test]
fn a_lock_that_contradicts_itself_is_refused() {
    type Break = fn(&mut Lock);
    let breaks: [(&str, Break); 11] = [
        ("debs not sorted", |lock| lock.debs.reverse()),
        ("a deb twice", |lock| lock.debs.push(lock.debs[1].clone())),
        ("wheels not sorted", |lock| {
            lock.wheels.insert(0, wheel("zzz"));
        }),
        ("requests twice", |lock| {
            lock.requests.push(lock.requests[0].clone());
        }),
        ("a deb that is not there", |lock| drop(lock.debs.pop())),
        ("a wheel that is not there", |lock| lock.wheels.clear()),
        ("a set that is not there", |lock| drop(lock.sets.pop())),
        ("sets out of layer order", |lock| {
            lock.images[0].sets.reverse();
        }),
        ("a package in two sets", |lock| {
            lock.sets[1].debs = lock.sets[0].debs.clone();
        }),
        ("two versions of a project", |lock| {
            let other = Wheel {
                id: PackageId("pypi/pip-0.9-py3-none-any.whl".to_owned()),
                ..wheel("pip")
            };
            lock.sets[0].wheels = vec![other.id.clone()];
            lock.wheels.insert(0, other);
        }),
        ("a date that is none", |lock| {
            lock.images[0].date = "2026-02-30".to_owned();
        }),
    ];
    let mut messages = Vec::new();
    for (what, break_it) in breaks {
        let mut lock = small();
        break_it(&mut lock);
        let error = Lock::parse(&lock.render()).expect_err(what);
        assert!(matches!(error, LockError::Invariant(_)), "{what}: {error}");
        assert_eq!(
            lock.render_checked(),
            Err(error.clone()),
            "nobody writes it"
        );
        messages.push(format!("{what}: {error}"));
    }
    insta::assert_snapshot!(messages.join("\n"));
}

#[test]
fn an_accelerator_may_stand_below_and_above_the_bundles() {
    let places = [
        id(ComponentKind::Base, "debian-12"),
        id(ComponentKind::Accelerator, "gpu"),
        id(ComponentKind::Bundle, "minimal"),
        id(ComponentKind::Accelerator, "gpu"),
        id(ComponentKind::Ide, "lab"),
    ];
    let with = |order: &[usize]| {
        let mut lock = small();
        lock.sets = (0..)
            .zip(&places)
            .map(|(number, component)| Set {
                id: format!("{number}"),
                component: component.clone(),
                debs: Vec::new(),
                wheels: Vec::new(),
            })
            .collect();
        lock.images[0].sets = order.iter().map(ToString::to_string).collect();
        Lock::parse(&lock.render())
    };
    for fine in [&[0, 1, 2, 3, 4][..], &[0, 1, 2, 4], &[0, 2, 3, 4]] {
        assert!(with(fine).is_ok(), "{fine:?}");
    }
    for wrong in [
        &[0, 1, 3, 2, 4][..],
        &[0, 1, 2, 4, 3],
        &[1, 0, 2],
        &[0, 2, 1, 3],
    ] {
        let error = with(wrong).unwrap_err().to_string();
        assert!(error.contains("layer order"), "{wrong:?}: {error}");
    }
}

fn companion() -> Companion {
    let record = |name: &str| LayerRecord {
        digest: Digest::of(name.as_bytes()),
        diff_id: Digest::of(b"plain"),
        size: 10,
        unpacked_size: 20,
        media_type: "application/vnd.oci.image.layer.v1.tar+gzip".to_owned(),
    };
    let layers = ["a", "b"].map(|name| (Digest::of(name.as_bytes()), record(name)));
    Companion {
        version: COMPANION_VERSION,
        layers: BTreeMap::from(layers),
    }
}

#[test]
fn a_companion_reads_well_and_reads_back() {
    insta::assert_snapshot!(companion().render());
    assert_eq!(Companion::parse(&companion().render()), Ok(companion()));
}

#[test]
fn a_companion_that_was_merged_line_by_line_is_fine() {
    let text = companion().render();
    let mut lines: Vec<_> = text.lines().collect();
    lines.push(lines[2]);
    lines[2..].reverse();
    assert_eq!(Companion::parse(&lines.join("\n")), Ok(companion()));
}

#[test]
fn a_companion_that_cannot_be_believed_is_refused() {
    let text = companion().render();
    let twice = format!(
        "{text}{}",
        text.lines().last().unwrap().replace(" 10 20 ", " 11 20 ")
    );
    let refused = [
        Companion::parse(""),
        Companion::parse("version 2\nwhatever"),
        Companion::parse(&text.replace(" 10 20 ", " 010 20 ")),
        Companion::parse(&text.replace(" 10 20 ", " 10 ")),
        Companion::parse(&twice),
    ];
    let messages: Vec<_> = refused
        .into_iter()
        .map(|it| it.unwrap_err().to_string())
        .collect();
    insta::assert_snapshot!(messages.join("\n"), @r"
    line 1 of the companion must be `version 1`
    the companion was written by a newer kiln: its version is 2, this kiln reads 1
    line 3 of the companion is not a result
    line 3 of the companion is not a result
    line 5 of the companion gives an action another result than an earlier line
    ");
}

prop_compose! {
    /// A lock with nasty texts in every place that holds a text.
    fn any_lock()(
        texts in prop::collection::vec("(\\PC|[\"'\\\\\n\t\r\u{7f}]){0,12}", 8),
        names in btree_map("[a-z]{1,3}", any::<u64>(), 0..4),
    ) -> Lock {
        let mut lock = with_source();
        lock.family.clone_from(&texts[0]);
        lock.release.clone_from(&texts[1]);
        lock.tools[0].file.clone_from(&texts[2]);
        lock.indexes[0].signed_by.clone_from(&texts);
        lock.requests[0].requirements.clone_from(&texts);
        lock.requests[0].files.insert(texts[3].clone(), Digest::of(b"x"));
        lock.images[0].name.clone_from(&texts[4]);
        lock.debs[0].path.clone_from(&texts[5]);
        lock.debs[0].depends.clone_from(&texts);
        for built in lock.wheels.iter_mut().filter_map(|it| it.built_from.as_mut()) {
            built.file.clone_from(&texts[6]);
        }
        for how in lock.requests[0].from_source.values_mut() {
            how.env.insert(texts[7].clone(), texts[0].clone());
            how.os_packages.clone_from(&texts);
        }
        lock.wheels[0].requires = texts;
        lock.wheels.extend(names.iter().map(|(name, size)| Wheel {
            // TOML integers have 63 bits.
            size: size >> 1,
            ..wheel(&format!("q{name}"))
        }));
        lock.wheels.sort_by(|a, b| a.id.cmp(&b.id));
        lock
    }
}

proptest! {
    #[test]
    fn any_lock_reads_back(lock in any_lock()) {
        prop_assert_eq!(Lock::parse(&lock.render()), Ok(lock));
    }

    #[test]
    fn parsing_never_panics(text in "(\\PC|\n){0,200}") {
        let _ = Lock::parse(&text);
        let _ = Companion::parse(&text);
    }

    #[test]
    fn parsing_a_damaged_lock_never_panics(
        at in any::<prop::sample::Index>(), length in 0_usize..40, by in "\\PC{0,6}"
    ) {
        for text in [with_source().render(), companion().render()] {
            let start = at.index(text.len());
            let end = (start + length).min(text.len());
            let damaged = format!("{}{by}{}", &text[..start], &text[end..]);
            let _ = Lock::parse(&damaged);
            let _ = Companion::parse(&damaged);
        }
    }
}
