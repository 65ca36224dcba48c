//! What jobs change is captured, the same whatever the kind of sandbox.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use kiln_layer::{Entry, EntryKind};
use kiln_sandbox::{Choice, IdChoice, Job, LayerBlob, SandboxError, Step};

use crate::{
    root::{Store, directory, entry, file, layer, open, run, shell, symlink},
    users::{caller, kinds},
};

/// Runs a job in a sandbox of this kind.
fn changes(store: &Store, choice: Choice, job: &Job) -> Vec<String> {
    let directory = tempfile::tempdir_in(store.path()).unwrap();
    let output = caller(store, "job", choice, directory.path(), job)
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success(), "{choice:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(str::to_owned).collect()
}

fn assert_changes(store: &Store, job: &Job, expected: &[&str]) {
    for kind in kinds() {
        assert_eq!(changes(store, kind, job), expected, "{kind:?}");
    }
}

/// A layer with files of many kinds.
fn base(store: &Store) -> LayerBlob {
    let owned = |path: &str, mode, uid, gid| Entry {
        uid,
        gid,
        ..file(path, "old\n", mode)
    };
    layer(
        store.path(),
        vec![
            file("etc/config", "old\n", 0o644),
            file("etc/removed", "old\n", 0o644),
            owned("etc/secret", 0o640, 0, 42),
            owned("srv/data/one", 0o644, 33, 33),
            owned("srv/data/two", 0o4755, 33, 33),
            file("srv/hard", "old\n", 0o644),
            entry("srv/shared", EntryKind::Directory, 0o2775, 0, 50),
            symlink("srv/link", "data/one"),
            entry(
                "srv/owned-link",
                EntryKind::Symlink("x".into()),
                0o777,
                5,
                6,
            ),
            directory("srv/gone"),
            file("srv/gone/a", "old\n", 0o644),
            file("srv/remade/a", "old\n", 0o644),
            file("srv/remade/b", "old\n", 0o644),
        ],
    )
}

#[test]
fn every_kind_of_sandbox_captures_the_same_changes_of_files() {
    let store = Store::new();
    let script = "
        echo new > /etc/config
        rm /etc/removed
        rm -r /srv/gone /srv/remade
        mkdir /srv/remade; echo new > /srv/remade/b
        mv /srv/hard /srv/moved
        ln /srv/moved /srv/second
        ln -sfn data/two /srv/link
        mkdir -m 700 /new; echo x > /new/file; chmod 4711 /new/file
        setcap cap_net_raw+ep /usr/bin/sleep
        touch /etc/secret
        cat /etc/secret > /new/copy
    ";
    let job = Job {
        capture: vec!["/etc".into(), "/srv".into(), "/new".into()],
        ..store.job(&[base(&store)], script)
    };
    assert_changes(
        &store,
        &job,
        &[
            "etc/config 0644 0:0 file \"new\\n\"",
            "etc/removed removed",
            "new 0700 0:0 directory",
            "new/copy 0644 0:0 file \"old\\n\"",
            "new/file 4711 0:0 file \"x\\n\"",
            "srv/gone removed",
            "srv/hard removed",
            "srv/link 0777 0:0 symlink to data/two",
            "srv/moved 0644 0:0 file \"old\\n\"",
            "srv/remade/a removed",
            "srv/remade/b 0644 0:0 file \"new\\n\"",
            "srv/second 0644 0:0 hard link to srv/moved",
        ],
    );
}

#[test]
fn every_kind_of_sandbox_captures_the_same_owners_and_capabilities() {
    let store = Store::new();
    let script = "
        chown 7:8 /etc/config
        chown :9 /srv/data/one
        chown 34 /srv/data/two
        echo x > /new; chown 11:12 /new; chmod 4755 /new; chown 13 /new
        chown -h 14:15 /srv/link
        chown -h 5:16 /srv/owned-link
        chown 17:18 /srv/link
        mkdir -p /srv/shared/below; echo x > /srv/shared/file
        cp /usr/bin/sleep /srv/capable; setcap cap_net_raw+ep /srv/capable
        cp /usr/bin/sleep /srv/lost; setcap cap_net_raw+ep /srv/lost; chown 1 /srv/lost
        : > /srv/capable; echo > /srv/lost
        cp /etc/config /srv/capable2; setcap cap_net_raw,cap_chown+ep /srv/capable2
    ";
    let job = store.job(&[base(&store)], script);
    assert_changes(
        &store,
        &job,
        &[
            "etc/config 0644 7:8 file \"old\\n\"",
            "new 0755 13:12 file \"x\\n\"",
            "srv/capable 0755 0:0 file \"\"",
            "srv/capable2 0644 0:0 file \"old\\n\" \
             [01, 00, 00, 02, 01, 20, 00, 00, 00, 00, 00, 00, 00, 00, 00, 00, 00, 00, 00, 00]",
            "srv/data/one 0644 17:18 file \"old\\n\"",
            "srv/data/two 0755 34:33 file \"old\\n\"",
            "srv/link 0777 14:15 symlink to data/one",
            "srv/lost 0755 1:0 file \"\\n\"",
            "srv/owned-link 0777 5:16 symlink to x",
            "srv/shared/below 2755 0:50 directory",
            "srv/shared/file 0644 0:50 file \"x\\n\"",
        ],
    );
}

#[test]
fn commands_see_the_owners_of_files_in_every_kind_of_sandbox() {
    let store = Store::new();
    // The last way is that of programs that write a file anew, as `useradd` does.
    let script = "
        stat -c '%u %g %a' /etc/secret /srv/data/two /etc/config > /seen
        cp -p /etc/secret /kept
        chown --reference=/srv/data/one /etc/config
        perl -e '@seen = (stat q(/etc/secret))[4, 5]; open F, q(<), q(/srv/data/one);
                 push @seen, (stat F)[4, 5]; print qq(@seen\n)' >> /seen
        perl -e 'open F, q(>), q(/etc/new); open G, q(<), q(/etc/secret); @of = stat G;
                 chown $of[4], $of[5], q(/etc/new); chmod $of[2] & 07777, q(/etc/new);
                 rename q(/etc/new), q(/etc/secret)'
    ";
    let job = store.job(&[base(&store)], script);
    assert_changes(
        &store,
        &job,
        &[
            "etc/config 0644 33:33 file \"old\\n\"",
            "etc/secret 0640 0:42 file \"\"",
            "kept 0640 0:42 file \"old\\n\"",
            "seen 0644 0:0 file \"0 42 640\\n33 33 4755\\n0 0 644\\n0 42 33 33\\n\"",
        ],
    );
}

#[test]
fn steps_that_are_no_commands_do_the_same_in_every_kind_of_sandbox() {
    let store = Store::new();
    let mut job = store.job(&[base(&store)], "");
    let path = |path: &str| path.to_owned();
    job.steps = vec![
        Step::Write {
            path: path("/a/b/file"),
            mode: 0o4750,
            uid: 3,
            gid: 4,
            content: b"text".to_vec(),
        },
        Step::Write {
            path: path("/srv/link"),
            mode: 0o600,
            uid: 0,
            gid: 0,
            content: Vec::new(),
        },
        Step::Directory {
            path: path("/srv/data"),
            mode: 0o1777,
            uid: 5,
            gid: 6,
        },
        Step::Copy {
            from: path("/srv/data/two"),
            to: path("/srv/shared/x/copy"),
        },
        Step::Remove {
            path: path("/srv/gone"),
        },
        Step::Remove {
            path: path("/not/there"),
        },
        Step::DirectoryTimes,
        Step::Run(shell(
            "stat -c '%n %Y' / /a /srv /srv/data /etc | { read -r line; \
             while read -r _ time; do test $time = 315532800; done; }",
        )),
    ];
    assert_changes(
        &store,
        &job,
        &[
            "a 0755 0:0 directory",
            "a/b 0755 0:0 directory",
            "a/b/file 4750 3:4 file \"text\"",
            "srv/data 1777 5:6 directory",
            "srv/gone removed",
            "srv/link 0600 0:0 file \"\"",
            "srv/shared/x 0755 0:0 directory",
            "srv/shared/x/copy 4755 33:33 file \"old\\n\"",
        ],
    );
}

#[test]
fn a_job_can_be_compared_with_other_layers() {
    let store = Store::new();
    let base = base(&store);
    let above = layer(store.path(), vec![file("etc/config", "new\n", 0o644)]);
    let mut job = store.job(
        std::slice::from_ref(&base),
        "echo new > /etc/config; echo more > /etc/more",
    );
    job.compare = Some(vec![store.programs.clone(), base, above]);
    assert_changes(&store, &job, &["etc/more 0644 0:0 file \"more\\n\""]);
}

#[test]
fn a_command_that_fails_tells_its_last_lines_and_leaves_its_tree() {
    let store = Store::new();
    let sandbox = store.sandbox(Choice::default()).unwrap();
    let job = store.job(&[], "echo one; echo two >&2; echo x > /made; exit 7");
    let (result, output) = run(&sandbox, &job, store.path());
    assert_eq!(output, "one\ntwo\n");
    let Err(SandboxError::CommandFailed {
        status,
        cause: None,
        tail,
        state: Some(state),
        ..
    }) = result
    else {
        panic!("{result:?}");
    };
    assert_eq!(status.code(), 7);
    assert_eq!(tail, ["one", "two"]);
    assert!(state.exists());
    // The same job fails again: its earlier state makes room.
    let (again, _) = run(&sandbox, &job, store.path());
    let Err(SandboxError::CommandFailed { state: second, .. }) = again else {
        panic!("{again:?}");
    };
    assert_eq!(second.as_deref(), Some(&*state));
    sandbox.discard(&state).unwrap();
    assert!(!state.exists());
    sandbox.discard(&state).unwrap();
}

#[test]
fn a_command_that_fills_the_disk_fails_because_of_it_and_leaves_no_tree() {
    let store = Store::new();
    let disk = SmallDisk::new(&store.path().join("disk"));
    let sandbox = open(&disk.0, Choice::default()).unwrap();
    let job = store.job(&[], "dd if=/dev/zero of=/big bs=1M");
    let (result, _) = run(&sandbox, &job, store.path());
    let Err(SandboxError::CommandFailed {
        cause: Some(cause),
        state: None,
        ..
    }) = result
    else {
        panic!("{result:?}");
    };
    assert_eq!(cause.kind(), Some(std::io::ErrorKind::StorageFull));
    // There is room again.
    run(
        &sandbox,
        &store.job(&[], "dd if=/dev/zero of=/small bs=1M count=4"),
        store.path(),
    )
    .0
    .unwrap();
}

/// A file system of 128 MiB.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn new(place: &Path) -> Self {
        fs::create_dir(place).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=128m", "small"]);
        assert!(mount.arg(place).status().unwrap().success());
        Self(place.to_owned())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let status = Command::new("umount").arg(&self.0).status();
        assert!(status.unwrap().success());
    }
}

#[test]
fn a_command_of_another_user_is_refused_where_there_is_only_one_id() {
    let store = Store::new();
    let single = Choice {
        ids: IdChoice::Single,
        ..Choice::default()
    };
    let sandbox = store.sandbox(single).unwrap();
    let mut job = store.job(&[], "exit 3");
    if let Step::Run(command) = &mut job.steps[0] {
        command.uid = 1001;
    }
    let (result, _) = run(&sandbox, &job, store.path());
    let error = result.unwrap_err();
    assert!(matches!(error, SandboxError::Ids { .. }), "{error}");
    assert!(error.hint().unwrap().contains("/etc/subuid"));
}
