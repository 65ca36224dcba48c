//! Whole images: configured, with compiled modules, and with what commands of the family change.

use std::collections::{BTreeMap, BTreeSet};

use kiln_digest::Digest;
use kiln_lock::{Deb, Lock, LockedImage, Set};
use kiln_plan::{Action, Kind, OWN_LAYER, Origin, Plan, PlanOptions, Step};
use kiln_recipe::{
    Artifact, ArtifactOrigin, ComponentKind, Family, PlacedFile, RunCommand, RunUser,
};
use proptest::prelude::*;

use crate::fixture::{at, component, deb, family, keys, lock, packages, plan_with, wheel};

fn plan_of(family: &Family, lock: &Lock) -> Plan {
    plan_with(family, lock, PlanOptions::default())
}

/// Adds Debian packages to a set of the lock.
fn add_debs(lock: &mut Lock, set: &str, debs: impl IntoIterator<Item = Deb>) {
    let set = lock.sets.iter_mut().find(|it| it.id == set).unwrap();
    for deb in debs {
        set.debs.push(deb.id.clone());
        lock.debs.push(deb);
    }
}

fn depends(name: &str, on: &[&str]) -> Deb {
    Deb {
        depends: on.iter().map(|&name| name.to_owned()).collect(),
        ..deb(name)
    }
}

/// The lock with an interpreter in its base.
pub(crate) fn with_python(mut lock: Lock) -> Lock {
    let python = depends("python3.11", &["libc6", "libpython3.11"]);
    let library = depends("libpython3.11", &["libc6"]);
    add_debs(&mut lock, "base", [python, library, deb("curl")]);
    lock
}

fn titles(plan: &Plan) -> Vec<&str> {
    plan.steps.iter().map(|step| step.title.as_str()).collect()
}

/// The kinds of an image's layers, bottom first.
fn kinds(plan: &Plan) -> Vec<&str> {
    let layers = plan.images[0].layers.iter();
    layers
        .map(|layer| match &plan.steps[layer.step].action.kind {
            Kind::PackDebs(_) => "debs",
            Kind::DebDatabase(_) => "database",
            Kind::Venv(_) => "venv",
            Kind::PackWheels(_) => "wheels",
            Kind::Files(_) => "files",
            Kind::Configure(_) => "configure",
            Kind::PackBytecode(_) => "bytecode",
            Kind::Run(_) => "run",
            Kind::Bytecode(_) | Kind::BuildWheel(_) => "no layer",
        })
        .collect()
}

pub(crate) fn run(command: &[&str]) -> RunCommand {
    RunCommand {
        command: command.iter().map(|&word| word.to_owned()).collect(),
        user: RunUser::Image,
        env: Vec::new(),
        artifacts: Vec::new(),
        at: at(),
    }
}

fn wheels(sizes: &[(&str, u64)]) -> Vec<(String, u64)> {
    let named = sizes.iter().map(|&(name, size)| (name.to_owned(), size));
    named.collect()
}

#[test]
fn layers_stand_in_the_documented_order() {
    let packages = BTreeMap::from([
        (
            "data".to_owned(),
            wheels(&[("large", OWN_LAYER.wheel), ("small", 10)]),
        ),
        ("lab".to_owned(), wheels(&[("ui", 10)])),
    ]);
    let mut family = family(&["data"], &["lab"]);
    let ide = &mut family.ides.get_mut("lab").unwrap().component;
    ide.runs = vec![run(&["/bin/a"]), run(&["/bin/b"])];
    let mut lock = with_python(lock(&[("data", "lab")], &packages));
    add_debs(&mut lock, "base data", [deb("libodbc2")]);
    let plan = plan_of(&family, &lock);
    assert_eq!(
        kinds(&plan),
        [
            "debs",
            "configure",
            "venv",
            "debs",
            "configure",
            "wheels",
            "bytecode",
            "wheels",
            "bytecode",
            "wheels",
            "bytecode",
            "run",
            "run"
        ]
    );
    assert_eq!(
        titles(&plan),
        [
            "debian-12: 4 OS packages",
            "debian-12: configure 4 OS packages",
            "Python 3.11 tree",
            "Python 3.11 to compile with",
            "data: 1 OS package",
            "data: configure 1 OS package",
            "large 1.0",
            "compile large 1.0",
            "compiled modules of large 1.0",
            "data: 1 wheel",
            "compile small 1.0",
            "compiled modules of data: 1 wheel",
            "lab: 1 wheel",
            "compile ui 1.0",
            "compiled modules of lab: 1 wheel",
            "lab: /bin/a",
            "lab: /bin/b",
        ]
    );
}

/// Every step stands after those that it needs, and names them.
fn check_needs(plan: &Plan) {
    for (index, step) in plan.steps.iter().enumerate() {
        assert!(
            step.needs.iter().all(|&need| need < index),
            "{}",
            step.title
        );
        let needed: Vec<_> = step
            .needs
            .iter()
            .map(|&need| plan.steps[need].key)
            .collect();
        assert_eq!(needed, step.action.needs(), "{}", step.title);
        let inputs: Vec<_> = step.inputs.iter().map(|input| input.sha256).collect();
        assert_eq!(inputs, step.action.inputs(), "{}", step.title);
    }
}

fn find<'a, T>(plan: &'a Plan, kind: impl Fn(&'a Kind) -> Option<&'a T>) -> Vec<(&'a Step, &'a T)> {
    let steps = plan.steps.iter();
    steps
        .filter_map(|step| Some((step, kind(&step.action.kind)?)))
        .collect()
}

#[test]
fn scripts_run_on_the_operating_system_below_and_nothing_else() {
    let packages = BTreeMap::from([("data".to_owned(), wheels(&[("a", 10)]))]);
    let mut lock = with_python(lock(&[("data", "lab")], &packages));
    add_debs(&mut lock, "base data +lab", [deb("libx")]);
    let plan = plan_of(&family(&["data"], &["lab"]), &lock);
    check_needs(&plan);
    let configured = find(&plan, |kind| match kind {
        Kind::Configure(configure) => Some(configure),
        _ => None,
    });
    let [(base_step, base), (_, delta)] = &configured[..] else {
        panic!("two configured sets");
    };
    assert_eq!(base.layers, [plan.steps[0].key]);
    assert_eq!(base.debs.len(), 4);
    let user = base.user.as_ref().unwrap();
    assert_eq!((user.name.as_str(), user.uid), ("default", 1001));
    assert_eq!(delta.layers[..2], [plan.steps[0].key, base_step.key]);
    assert_eq!(delta.layers.len(), 3, "its own package besides");
    assert_eq!(delta.debs.len(), 1);
    assert_eq!(delta.user, None);
}

#[test]
fn modules_are_compiled_by_the_interpreter_and_what_it_depends_on() {
    let packages = BTreeMap::from([("data".to_owned(), wheels(&[("a", 10), ("b", 10)]))]);
    let lock = with_python(lock(&[("data", "lab")], &packages));
    let family = family(&["data"], &["lab"]);
    let plan = plan_of(&family, &lock);
    check_needs(&plan);
    let compiled = find(&plan, |kind| match kind {
        Kind::Bytecode(bytecode) => Some(bytecode),
        _ => None,
    });
    assert_eq!(compiled.len(), 2);
    let runtime = plan
        .steps
        .iter()
        .find(|it| it.key == compiled[0].1.runtime)
        .unwrap();
    let Kind::PackDebs(pack) = &runtime.action.kind else {
        panic!("packages");
    };
    let names: Vec<_> = pack
        .debs
        .iter()
        .map(|deb| deb.file.split('_').next().unwrap())
        .collect();
    assert_eq!(names, ["libc6", "libpython3.11", "python3.11"]);
    assert!(pack.links, "the loader is found through them");

    // A package that the interpreter does not need compiles nothing anew.
    let mut other = lock.clone();
    let curl = other
        .debs
        .iter_mut()
        .find(|deb| deb.name == "curl")
        .unwrap();
    curl.sha256 = Digest::of(b"curl 2");
    let keys = |plan: &Plan| -> BTreeSet<_> {
        let of = |kind: &Kind| matches!(kind, Kind::Bytecode(_) | Kind::PackBytecode(_));
        let steps = plan.steps.iter().filter(|step| of(&step.action.kind));
        steps.map(|step| step.key).collect()
    };
    let other = plan_of(&family, &other);
    assert_ne!(keys(&plan).len(), 0);
    assert_eq!(keys(&plan), keys(&other));
    assert_ne!(plan.steps[0].key, other.steps[0].key);
}

#[test]
fn without_an_interpreter_nothing_is_compiled() {
    let packages = BTreeMap::from([("data".to_owned(), wheels(&[("a", 10)]))]);
    let lock = lock(&[("data", "lab")], &packages);
    let plan = plan_of(&family(&["data"], &["lab"]), &lock);
    assert_eq!(kinds(&plan), ["debs", "configure", "venv", "wheels"]);
}

#[test]
fn large_wheels_of_binaries_have_no_layer_of_modules_of_their_own() {
    let packages = BTreeMap::from([(
        "data".to_owned(),
        wheels(&[("large", OWN_LAYER.wheel), ("a", 1)]),
    )]);
    let mut lock = with_python(lock(&[("data", "lab")], &packages));
    let large = lock
        .wheels
        .iter_mut()
        .find(|it| it.name == "large")
        .unwrap();
    large.file = "large-1.0-py3-none-manylinux_2_28_x86_64.whl".to_owned();
    let plan = plan_of(&family(&["data"], &["lab"]), &lock);
    assert_eq!(
        kinds(&plan),
        ["debs", "configure", "venv", "wheels", "wheels", "bytecode"]
    );
    let packed = find(&plan, |kind| match kind {
        Kind::PackBytecode(pack) => Some(pack),
        _ => None,
    });
    assert_eq!(packed[0].1.parts.len(), 2);
    assert!(packed[0].1.parts.is_sorted());
}

#[test]
fn the_module_of_the_wheel_that_wins_is_the_one_that_is_packed() {
    let packages = BTreeMap::from([("data".to_owned(), wheels(&[("a", 10), ("b", 10)]))]);
    let mut family = family(&["data"], &["lab"]);
    family.bundles.get_mut("data").unwrap().component.winners = BTreeMap::from([
        ("/opt/x.py".to_owned(), "b".to_owned()),
        ("/opt/x.so".to_owned(), "b".to_owned()),
        ("/opt/y.py".to_owned(), "unknown".to_owned()),
    ]);
    let lock = with_python(lock(&[("data", "lab")], &packages));
    let plan = plan_of(&family, &lock);
    let packed = find(&plan, |kind| match kind {
        Kind::PackBytecode(pack) => Some(pack),
        _ => None,
    });
    let compiled = plan
        .steps
        .iter()
        .find(|step| step.title == "compile b 1.0")
        .unwrap();
    let expected = BTreeMap::from([("/opt/x.py".to_owned(), compiled.key)]);
    assert_eq!(packed[0].1.winners, expected);
}

#[test]
fn compiled_modules_of_sources_that_the_family_replaces_are_removed() {
    let site = "/opt/app-root/lib/python3.11/site-packages";
    let places = [
        "/etc/tool.py".to_owned(),
        format!("{site}/pkg/__pycache__/kept.cpython-311.pyc"),
        format!("{site}/pkg/data.txt"),
        format!("{site}/pkg/kept.py"),
        format!("{site}/pkg/settings.py"),
    ];
    let mut family = family(&["data"], &["lab"]);
    family.bundles.get_mut("data").unwrap().component.files = places
        .into_iter()
        .map(|to| PlacedFile {
            source: "file".into(),
            to,
            mode: 0o644,
            owner: (0, 0),
            sha256: Digest::of(b"file"),
            size: 4,
            at: at(),
        })
        .collect();
    let packages = BTreeMap::from([("data".to_owned(), wheels(&[("a", 10)]))]);
    let lock = with_python(lock(&[("data", "lab")], &packages));
    let removed = |options| {
        let plan = plan_with(&family, &lock, options);
        let files = find(&plan, |kind| match kind {
            Kind::Files(files) => Some(files),
            _ => None,
        });
        files[0].1.removed.clone()
    };
    assert_eq!(
        removed(PlanOptions::default()),
        [format!("{site}/pkg/__pycache__/settings.cpython-311.pyc")]
    );
    let without = PlanOptions {
        bytecode: false,
        ..PlanOptions::default()
    };
    assert_eq!(removed(without), [""; 0]);
}

#[test]
fn a_command_sees_all_layers_below_and_its_own_environment() {
    let packages = BTreeMap::from([("data".to_owned(), wheels(&[("a", 10)]))]);
    let mut family = family(&["data"], &["lab"]);
    let bundle = &mut family.bundles.get_mut("data").unwrap().component;
    bundle.env = vec![("MODELS".into(), "/opt/models".into())];
    bundle.runs = vec![RunCommand {
        user: RunUser::Root,
        env: vec![("PATH".into(), "${MODELS}/bin:${PATH}".into())],
        artifacts: vec![
            Artifact {
                to: "/mnt/a".into(),
                sha256: Digest::of(b"a"),
                size: 1,
                origin: ArtifactOrigin::Family("bundles/data/a".into()),
            },
            Artifact {
                to: "/mnt/b".into(),
                sha256: Digest::of(b"b"),
                size: 2,
                origin: ArtifactOrigin::Source {
                    source: "models".into(),
                    path: "x/b".into(),
                },
            },
        ],
        ..run(&["/bin/tar", "-x"])
    }];
    family.ides.get_mut("lab").unwrap().component.env = vec![("LATER".into(), "1".into())];
    let lock = with_python(lock(&[("data", "lab")], &packages));
    let plan = plan_of(&family, &lock);
    check_needs(&plan);
    let runs = find(&plan, |kind| match kind {
        Kind::Run(run) => Some(run),
        _ => None,
    });
    let [(step, run)] = &runs[..] else {
        panic!("one command");
    };
    assert_eq!(
        run.env,
        ["PATH=/opt/models/bin:/usr/bin", "MODELS=/opt/models"]
    );
    assert_eq!((run.uid, run.gid), (0, 0));
    assert_eq!(run.cwd, "/opt/app-root/src");
    let below = keys(&plan, 0);
    assert_eq!(run.layers, below[..below.len() - 1]);
    let (source, path) = ("models".to_owned(), "x/b".to_owned());
    assert_eq!(
        step.inputs
            .iter()
            .map(|it| it.origin.clone())
            .collect::<Vec<_>>(),
        [
            Origin::Family("bundles/data/a".to_owned()),
            Origin::File { source, path }
        ]
    );
}

#[test]
fn what_the_family_switches_off_stays_off() {
    let packages = BTreeMap::from([("data".to_owned(), wheels(&[("a", 10)]))]);
    let mut family = family(&["data"], &["lab"]);
    family.ides.get_mut("lab").unwrap().component.runs = vec![run(&["/bin/a"])];
    let lock = with_python(lock(&[("data", "lab")], &packages));
    family.bytecode = false;
    assert_eq!(
        kinds(&plan_of(&family, &lock)),
        ["debs", "configure", "venv", "wheels", "run"]
    );
    family.pack_only = true;
    let plan = plan_of(&family, &lock);
    assert_eq!(kinds(&plan), ["debs", "database", "venv", "wheels"]);
    assert!(!plan.steps.iter().any(|step| step.action.executes()));
}

/// What an image's layers come from: the keys of all steps that it needs, however far below.
pub(crate) fn all_keys(plan: &Plan, image: usize) -> BTreeSet<Digest> {
    let mut open: Vec<_> = plan.images[image].layers.iter().map(|it| it.step).collect();
    let mut keys = BTreeSet::new();
    while let Some(step) = open.pop() {
        if keys.insert(plan.steps[step].key) {
            open.extend(&plan.steps[step].needs);
        }
    }
    keys
}

fn image(lock: &Lock, bundle: &str, ide: &str) -> usize {
    let is = |image: &LockedImage| image.bundle == bundle && image.ide == ide;
    lock.images.iter().position(is).unwrap()
}

proptest! {
    /// Whatever else the family holds, its commands and packages included: an image's keys are its
    /// own, and so are those of what its layers are made from.
    #[test]
    fn another_image_changes_no_key(
        first in packages("f"), second in packages("s"), ide in packages("i"), other in packages("o"),
        commands in prop::collection::vec("[a-z]{1,4}", 0..3), with_debs: bool,
    ) {
        let packages = BTreeMap::from([
            ("one".to_owned(), first),
            ("two".to_owned(), second),
            ("lab".to_owned(), ide),
            ("code".to_owned(), other),
        ]);
        let mut family = family(&["one", "two"], &["lab", "code"]);
        let runs = |prefix: &str| -> Vec<_> {
            commands.iter().map(|it| run(&[&format!("/{prefix}/{it}")])).collect()
        };
        family.bundles.get_mut("one").unwrap().component.runs = runs("one");
        family.ides.get_mut("lab").unwrap().component.runs = runs("lab");
        let mut alone = with_python(lock(&[("one", "lab")], &packages));
        let all = [("two", "code"), ("one", "lab"), ("two", "lab"), ("one", "code")];
        let mut together = with_python(lock(&all, &packages));
        if with_debs {
            for lock in [&mut alone, &mut together] {
                add_debs(lock, "base one", [deb("libone")]);
                add_debs(lock, "base one +lab", [deb("liblab")]);
            }
        }
        let lonely = plan_of(&family, &alone);
        family.bundles.get_mut("two").unwrap().component.runs = runs("two");
        family.ides.get_mut("code").unwrap().component.runs = runs("code");
        let crowded = plan_of(&family, &together);
        let place = image(&together, "one", "lab");
        prop_assert_eq!(keys(&lonely, 0), keys(&crowded, place));
        prop_assert_eq!(all_keys(&lonely, 0), all_keys(&crowded, place));
        check_needs(&crowded);
        let distinct: BTreeSet<_> = crowded.steps.iter().map(|step| step.key).collect();
        prop_assert_eq!(distinct.len(), crowded.steps.len());
    }
}

#[test]
fn actions_that_execute_survive_their_encoding() {
    let packages = BTreeMap::from([("data".to_owned(), wheels(&[("a", 10)]))]);
    let mut family = family(&["data"], &["lab"]);
    family.ides.get_mut("lab").unwrap().component.runs = vec![run(&["/bin/a"])];
    let plan = plan_of(&family, &with_python(lock(&[("data", "lab")], &packages)));
    let executing = plan.steps.iter().filter(|step| step.action.executes());
    assert_eq!(executing.count(), 3, "scripts, a compiler and a command");
    for step in &plan.steps {
        let decoded: Action = serde_json::from_slice(&step.action.encode()).unwrap();
        assert_eq!(decoded, step.action);
    }
}

#[test]
fn a_toolkit_stands_above_the_bundles_with_the_commands_of_its_accelerator() {
    let packages = BTreeMap::from([("data".to_owned(), wheels(&[("small", 10)]))]);
    let mut family = family(&["data"], &["lab"]);
    family.accelerators.get_mut("cpu").unwrap().component.runs = vec![run(&["/bin/a"])];
    let mut lock = with_python(lock(&[("data", "lab")], &packages));
    let toolkit = wheel("cudart", 20);
    for (id, wheels) in [
        ("base cpu", vec![]),
        ("base data ^cpu", vec![toolkit.id.clone()]),
    ] {
        lock.sets.push(Set {
            id: id.to_owned(),
            component: component(ComponentKind::Accelerator, "cpu").id,
            debs: vec![],
            wheels,
        });
    }
    lock.wheels.push(toolkit);
    lock.images[0].sets = [
        "base",
        "base cpu",
        "base data",
        "base data ^cpu",
        "base data +lab",
    ]
    .map(str::to_owned)
    .to_vec();
    let plan = plan_of(&family, &lock);
    assert_eq!(
        titles(&plan)[3..],
        [
            "Python 3.11 to compile with",
            "data: 1 wheel",
            "compile small 1.0",
            "compiled modules of data: 1 wheel",
            "cpu: 1 wheel",
            "compile cudart 1.0",
            "compiled modules of cpu: 1 wheel",
            "cpu: /bin/a",
        ]
    );
    // Without packages of Python it is below the bundles, and all of them share it.
    lock.images[0].sets.remove(3);
    let place = |title: &str| {
        titles(&plan_of(&family, &lock))
            .iter()
            .position(|it| *it == title)
    };
    assert!(place("cpu: /bin/a") < place("data: 1 wheel"));
}
