//! Kills, full disks and several processes at once.
//!
//! Each test starts this test binary again, with the "test" [`child`] alone, which does what its
//! environment says.

use std::{
    env, fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use crate::support::{ignore_wait, noise, say, write_image};
use kiln_digest::Digest;
use kiln_store::{GcOptions, Store, StoreError};

const TASK: &str = "KILN_STORE_TEST_TASK";
const ROOT: &str = "KILN_STORE_TEST_ROOT";
const SEED: &str = "KILN_STORE_TEST_SEED";

/// The command that runs [`child`], behind `prefix` if that is not empty.
fn task(prefix: &[&str], task: &str, root: &Path, seed: u32) -> Command {
    let this = env::current_exe().unwrap();
    let mut command = match prefix {
        [] => Command::new(&this),
        [program, arguments @ ..] => {
            let mut command = Command::new(program);
            command.args(arguments).arg(&this);
            command
        }
    };
    command
        .args([
            "processes::child",
            "--exact",
            "--ignored",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(TASK, task)
        .env(ROOT, root)
        .env(SEED, seed.to_string())
        .stdout(Stdio::piped());
    command
}

/// The lines that a child says.
fn lines(child: &mut Child) -> impl Iterator<Item = String> + use<> {
    let output = BufReader::new(child.stdout.take().unwrap());
    // libtest writes `test child ... ` in front of the first one.
    output
        .lines()
        .map_while(Result::ok)
        .filter_map(|line| line.split_once("child: ").map(|(_, line)| line.to_owned()))
}

#[test]
#[ignore = "started by the other tests, in a process of its own"]
fn child() {
    let root = PathBuf::from(env::var_os(ROOT).unwrap());
    let seed: u32 = env::var(SEED).unwrap().parse().unwrap();
    match env::var(TASK).unwrap().as_str() {
        "write until killed" => {
            let store = Store::open(root).unwrap();
            for number in 0.. {
                let size = (number as usize * 7919) % 60_000;
                write_image(
                    &store,
                    &format!("image{number}"),
                    &noise(seed + number, size),
                )
                .unwrap();
                if number == 0 {
                    say("writing");
                }
            }
        }
        "write twenty" => {
            for number in 0..20 {
                let store = Store::open(&root).unwrap();
                // Every second image is the same in all processes.
                let noise = noise(if number % 2 == 0 { 0 } else { seed } + number, 500);
                write_image(&store, &format!("image{seed}.{number}"), &noise).unwrap();
            }
            say("done");
        }
        "write until full" => {
            let store = Store::open(&root).unwrap();
            let error = (0..1000_u32)
                .find_map(|number| {
                    // Ever larger, so that a limit of one file's size is reached too.
                    let noise = noise(number, 20_000 * (number as usize + 1));
                    write_image(&store, &format!("image{number}"), &noise).err()
                })
                .unwrap();
            let StoreError::Io { source, .. } = &error else {
                panic!("{error}")
            };
            drop(store);
            // Only this process may see the file system, so it looks itself.
            assert!(!assert_whole(&root).images().unwrap().is_empty());
            say(&format!("{source}; {}", error.hint().unwrap()));
        }
        "open" => {
            let error = Store::open(root).unwrap_err();
            let StoreError::Io { source, .. } = &error else {
                panic!("{error}")
            };
            say(&format!("{source}; {}", error.hint().unwrap()));
        }
        "collect" => {
            let mut store = Store::open(root).unwrap();
            store
                .gc(&GcOptions::default(), &mut |_| say("waiting"))
                .unwrap();
            say("collected");
        }
        task => panic!("unknown task {task}"),
    }
}

fn assert_whole(root: &Path) -> Store {
    let mut store = Store::open(root).unwrap();
    let report = store.verify(&mut |_| (), &mut ignore_wait).unwrap();
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(
        fs::read_dir(root.join("tmp")).unwrap().count(),
        0,
        "files left in tmp"
    );
    for entry in store.images().unwrap() {
        let image = store.image(&entry.name).unwrap().unwrap();
        assert!(
            image
                .layers
                .iter()
                .all(|layer| store.has_blob(&layer.digest, layer.size))
        );
    }
    store
}

#[test]
fn a_kill_at_any_instant_leaves_a_whole_store() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("store");
    for round in 0..12 {
        let mut child = task(&[], "write until killed", &root, round * 10_000)
            .spawn()
            .unwrap();
        // A child that never writes would make this test wait, and so fail, instead of pass.
        if round % 3 > 0 {
            lines(&mut child).find(|line| line == "writing").unwrap();
        }
        // The instant of the kill is what varies here; nothing is expected to be done by then.
        std::thread::sleep(Duration::from_millis(u64::from(round * 17 % 41)));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_whole(&root);
    }
    let store = assert_whole(&root);
    assert!(!store.images().unwrap().is_empty());
    assert!(
        !store
            .results(&[Digest::of(&noise(10_000, 0))])
            .unwrap()
            .is_empty()
    );
}

#[test]
fn processes_write_at_the_same_time_and_nothing_is_lost() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("store");
    let seeds = [1000, 2000, 3000];
    let children: Vec<_> = seeds
        .iter()
        .map(|seed| task(&[], "write twenty", &root, *seed).spawn().unwrap())
        .collect();
    for mut child in children {
        assert_eq!(lines(&mut child).collect::<Vec<_>>(), ["done"]);
        assert!(child.wait().unwrap().success());
    }
    let store = assert_whole(&root);
    assert_eq!(store.images().unwrap().len(), 60);
    let keys: Vec<_> = (0..20)
        .flat_map(|number| {
            let seeds: &[u32] = if number % 2 == 0 { &[0] } else { &seeds };
            seeds
                .iter()
                .map(move |seed| Digest::of(&noise(seed + number, 500)))
        })
        .collect();
    assert_eq!(keys.len(), 40);
    assert_eq!(store.results(&keys).unwrap().len(), 40);
}

#[test]
fn collection_says_that_it_waits_for_others_and_then_runs() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path().join("store")).unwrap();
    // Two, which must not wait for each other for ever.
    let mut children = [1, 2].map(|seed| task(&[], "collect", store.root(), seed).spawn().unwrap());
    let mut outputs = children.each_mut().map(lines);
    for output in &mut outputs {
        assert_eq!(output.next().unwrap(), "waiting");
    }
    // What a build has written but not yet named must survive until it is done.
    let image = write_image(&store, "late", b"late").unwrap();
    let root = store.root().to_owned();
    drop(store);
    for (child, output) in children.iter_mut().zip(&mut outputs) {
        assert!(output.any(|line| line == "collected"));
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(assert_whole(&root).image("late").unwrap(), Some(image));
}

/// Runs a command in a mount namespace of its own, after `setup`; `$1` is the store's parent.
fn in_namespace<'a>(setup: &'a str, parent: &'a str, script: &'a mut String) -> Vec<&'a str> {
    *script = format!("set -e; {setup}; shift; exec \"$@\"");
    // A user namespace gives a plain user the right to mount.
    let mut command = vec!["unshare", "--mount"];
    if !rustix::process::geteuid().is_root() {
        command.push("--map-root-user");
    }
    command.extend(["sh", "-c", script, "sh", parent]);
    command
}

#[test]
fn a_full_disk_is_a_clear_error_and_leaves_a_whole_store() {
    let directory = tempfile::tempdir().unwrap();
    let parent = directory.path().to_str().unwrap();
    let mut script = String::new();
    let prefix = in_namespace(
        r#"mount -t tmpfs -o size=2m tmpfs "$1""#,
        parent,
        &mut script,
    );
    let root = directory.path().join("store");
    let mut child = task(&prefix, "write until full", &root, 0).spawn().unwrap();
    let said: Vec<_> = lines(&mut child).collect();
    assert!(child.wait().unwrap().success());
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].starts_with("No space left on device"), "{said:?}");
    assert!(said[0].contains("kiln store gc"), "{said:?}");
}

#[test]
fn a_file_that_may_not_grow_is_a_clear_error_and_leaves_a_whole_store() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("store");
    let script = r#"trap "" XFSZ; ulimit -f 200; exec "$@""#;
    let prefix = ["sh", "-c", script, "sh"];
    let mut child = task(&prefix, "write until full", &root, 0).spawn().unwrap();
    let said: Vec<_> = lines(&mut child).collect();
    assert!(child.wait().unwrap().success());
    assert!(said[0].starts_with("File too large"), "{said:?}");
}

#[test]
fn a_read_only_file_system_is_a_clear_error() {
    let directory = tempfile::tempdir().unwrap();
    let parent = directory.path().to_str().unwrap();
    let mut script = String::new();
    let prefix = in_namespace(r#"mount -t tmpfs -o ro tmpfs "$1""#, parent, &mut script);
    let mut child = task(&prefix, "open", &directory.path().join("store"), 0)
        .spawn()
        .unwrap();
    let said: Vec<_> = lines(&mut child).collect();
    assert!(child.wait().unwrap().success());
    assert_eq!(said.len(), 1);
    assert!(said[0].starts_with("Read-only file system"), "{said:?}");
    assert!(said[0].contains("KILN_HOME"), "{said:?}");
}
