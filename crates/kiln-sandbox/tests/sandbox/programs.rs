//! Programs for people.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    sync::atomic::{AtomicBool, Ordering},
};

use kiln_layer::Entry;
use kiln_sandbox::{Choice, IdChoice, Interactive, NetworkMode, SandboxError, TreeChoice, Volume};

use crate::{
    root::{Store, file, layer, run, shell},
    users::{caller, in_own_namespace, kinds, plain_user},
};

fn program(store: &Store, script: &str) -> Interactive {
    Interactive {
        layers: vec![store.programs.clone()],
        state: None,
        command: shell(script),
        volumes: Vec::new(),
        network: NetworkMode::None,
        hostname: "host".to_owned(),
        read_only: false,
    }
}

/// What a program prints in a sandbox of this kind, and its exit status.
fn start(store: &Store, choice: Choice, program: &Interactive) -> (String, i32) {
    let directory = tempfile::tempdir_in(store.path()).unwrap();
    let output = caller(store, "start", choice, directory.path(), program)
        .output()
        .unwrap();
    let printed = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    (printed, output.status.code().unwrap())
}

/// The kinds of ids.
fn ids() -> impl Iterator<Item = Choice> {
    kinds().filter(|kind| kind.tree == TreeChoice::Overlay)
}

#[test]
fn a_program_has_its_output_and_its_exit_status() {
    let store = Store::new();
    for kind in kinds() {
        let said = start(
            &store,
            kind,
            &program(&store, "hostname; echo > /new; exit 3"),
        );
        assert_eq!(said, ("host\n".to_owned(), 3), "{kind:?}");
        let killed = start(&store, kind, &program(&store, "kill -9 $$"));
        assert_eq!(killed, (String::new(), 137), "{kind:?}");
    }
}

#[test]
fn layers_with_file_capabilities_start_as_any_user() {
    let store = Store::new();
    // `cap_net_raw+ep`, `struct vfs_cap_data` of linux/capability.h in version 2.
    let mut capability = vec![1, 0, 0, 2, 0, 0x20, 0, 0];
    capability.resize(20, 0);
    let ping = Entry {
        capability: Some(capability),
        ..file("usr/bin/ping", "", 0o755)
    };
    let capable = layer(store.path(), vec![ping]);
    for kind in kinds() {
        for user in [0, 1001] {
            let mut program = program(&store, "test -f /usr/bin/ping && echo it is there");
            program.layers.push(capable.clone());
            (program.command.uid, program.command.gid) = (user, user);
            let said = start(&store, kind, &program);
            assert_eq!(said, ("it is there\n".to_owned(), 0), "{kind:?} {user}");
        }
    }
}

#[test]
fn volumes_belong_to_who_calls_and_to_who_the_program_is() {
    let store = Store::new();
    for kind in ids() {
        for user in [0, 1001, 1_000_660_000] {
            let volume = tempfile::tempdir_in(store.path()).unwrap();
            fs::set_permissions(volume.path(), fs::Permissions::from_mode(0o755)).unwrap();
            let (uid, gid) = match kind.ids {
                IdChoice::Root => (user, 0),
                _ => plain_user(),
            };
            std::os::unix::fs::chown(volume.path(), Some(uid), Some(gid)).unwrap();
            let script = "id -u; stat -c %u /data; echo x > /data/file; stat -c %u /usr/bin/id; \
                          stat -c %a /tmp; echo x > /read-only/x || echo refused";
            let mut program = program(&store, script);
            program.command.uid = user;
            program.volumes = [("/data", false), ("/read-only", true)]
                .map(|(target, read_only)| Volume {
                    source: volume.path().to_owned(),
                    target: target.to_owned(),
                    read_only,
                })
                .to_vec();
            let (printed, status) = start(&store, kind, &program);
            // The only id there is owns all.
            let root = if kind.ids == IdChoice::Single {
                user
            } else {
                0
            };
            let expected = format!("{user}\n{user}\n{root}\n1777\nrefused\n");
            let lines: Vec<_> = printed
                .lines()
                .filter(|line| !line.starts_with("/bin/sh"))
                .collect();
            assert_eq!(lines.join("\n") + "\n", expected, "{kind:?} {user}");
            assert_eq!(status, 0);
            let made = fs::metadata(volume.path().join("file")).unwrap();
            assert_eq!(made.uid(), uid, "{kind:?} {user}");
        }
    }
}

#[test]
fn a_read_only_tree_takes_only_temporary_files() {
    let store = Store::new();
    let script = "echo > /tmp/a; echo > /run/a; echo > /dev/shm/a; echo > /new || exit 5";
    for kind in ids() {
        let program = Interactive {
            read_only: true,
            ..program(&store, script)
        };
        assert_eq!(start(&store, kind, &program).1, 5, "{kind:?}");
    }
}

/// Volumes are the host's: what is written there must be as safe as people believe.
#[test]
fn people_sync_what_they_write() {
    let store = Store::new();
    let script = format!("perl -e 'syscall({}, 999); exit $!'", libc::SYS_fsync);
    for kind in ids() {
        let (_, status) = start(&store, kind, &program(&store, &script));
        assert_eq!(status, libc::EBADF, "{kind:?}");
    }
}

#[test]
fn a_program_without_network_has_a_loopback_device_only() {
    let store = Store::new();
    let devices = program(&store, "cat /proc/net/dev");
    let (printed, _) = start(&store, ids().next().unwrap(), &devices);
    let names: Vec<_> = printed
        .lines()
        .skip(2)
        .filter_map(|line| line.split(':').next())
        .collect();
    assert_eq!(
        names.iter().map(|name| name.trim()).collect::<Vec<_>>(),
        ["lo"]
    );
}

#[test]
fn a_program_that_is_asked_to_stop_ends_as_it_likes() {
    let store = Store::new();
    let sandbox = store.sandbox(Choice::default()).unwrap();
    let script = "trap 'exit 9' TERM; echo > /data/ready; while :; do sleep 0.01; done";
    let volume = tempfile::tempdir_in(store.path()).unwrap();
    let program = Interactive {
        volumes: vec![Volume {
            source: volume.path().to_owned(),
            target: "/data".to_owned(),
            read_only: false,
        }],
        ..program(&store, script)
    };
    let cancelled = AtomicBool::new(false);
    let status = std::thread::scope(|scope| {
        let running = scope.spawn(|| sandbox.start(&program, &cancelled, &mut |_, _| ()));
        while !volume.path().join("ready").exists() && !running.is_finished() {
            std::thread::yield_now();
        }
        cancelled.store(true, Ordering::Relaxed);
        running.join().unwrap()
    });
    assert_eq!(status.unwrap(), 9);
    // Before it runs there is nobody to ask.
    let early = sandbox.start(&program, &AtomicBool::new(true), &mut |_, _| ());
    assert!(matches!(early, Err(SandboxError::Cancelled)), "{early:?}");
}

#[test]
fn who_waits_for_layers_is_told_how_far_they_are() {
    let store = Store::new();
    let sandbox = store.sandbox(Choice::default()).unwrap();
    let program = program(&store, "exit 0");
    let all = program.layers.len();
    let told = || {
        let mut told = Vec::new();
        let mut unpacking = |done, all| told.push((done, all));
        sandbox
            .start(&program, &AtomicBool::new(false), &mut unpacking)
            .unwrap();
        told
    };
    assert_eq!(
        told(),
        (0..=all).map(|done| (done, all)).collect::<Vec<_>>()
    );
    assert_eq!(told(), [], "all are there");
}

#[test]
fn people_go_on_where_a_job_failed() {
    let store = Store::new();
    for tree in [TreeChoice::Overlay, TreeChoice::Copy] {
        let choice = Choice {
            ids: IdChoice::Root,
            tree,
        };
        let sandbox = store.sandbox(choice).unwrap();
        let job = store.job(&[], "echo x > /made; exit 1");
        let (result, _) = run(&sandbox, &job, store.path());
        let Err(SandboxError::CommandFailed {
            state: Some(state), ..
        }) = result
        else {
            panic!("{result:?}");
        };
        let again = |script: &str| {
            let program = Interactive {
                state: Some(state.clone()),
                ..program(&store, script)
            };
            let cancelled = AtomicBool::new(false);
            sandbox.start(&program, &cancelled, &mut |_, _| ()).unwrap()
        };
        assert_eq!(again("test -e /made && echo > /more"), 0);
        assert_eq!(again("test -e /more"), 0);
        sandbox.discard(&state).unwrap();
    }
}

#[test]
fn a_machine_without_user_namespaces_is_told_what_to_enable() {
    let store = Store::new();
    let directory = tempfile::tempdir_in(store.path()).unwrap();
    let request = program(&store, "true");
    let caller = caller(
        &store,
        "start",
        Choice::default(),
        directory.path(),
        &request,
    );
    // This switch concerns the namespaces below the one in which it is set.
    let off = "echo 0 > /proc/sys/user/max_user_namespaces";
    let output = in_own_namespace(&caller, off).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("user.max_user_namespaces is 0"), "{said}");
    assert!(
        said.contains("sysctl -w user.max_user_namespaces=15000"),
        "{said}"
    );
    assert!(said.contains("--pack-only"), "{said}");
}

#[test]
fn a_sandbox_works_in_the_user_namespace_of_another() {
    let store = Store::new();
    let directory = tempfile::tempdir_in(store.path()).unwrap();
    let request = program(&store, "id -u; exit 4");
    let single = Choice {
        ids: IdChoice::Single,
        ..Choice::default()
    };
    let caller = caller(&store, "start", single, directory.path(), &request);
    let output = in_own_namespace(&caller, "true").output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "0\n");
    assert_eq!(output.status.code(), Some(4));
}
