//! What commands must not be able to do.

use std::{
    fs,
    path::Path,
    process::{Child, Command},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use kiln_layer::EntryKind;
use kiln_sandbox::{Choice, IdChoice, Job, Limits, Resource, SandboxError, TreeChoice, TreeError};

use crate::{
    root::{Store, run},
    shown::shown,
    users::caller,
};

/// Runs a script that must fail, and gives how.
fn failure(store: &Store, script: &str, limits: Limits) -> SandboxError {
    let job = Job {
        limits,
        ..store.job(&[], script)
    };
    let (result, output) = store.run(&job);
    result
        .map(|captured| panic!("it succeeded: {output} {captured:?}"))
        .unwrap_err()
}

/// The limit that a script passes.
fn passed(script: &str, limits: Limits) -> Resource {
    let error = failure(&Store::new(), script, limits);
    let SandboxError::Limit {
        resource,
        allowed,
        found,
    } = error
    else {
        panic!("{error:?}");
    };
    assert!(found > allowed, "{error}");
    resource
}

/// The error that a system call gives, by its number; 0 if it succeeds.
fn call(store: &Store, number: libc::c_long, arguments: &str) -> i32 {
    let script = format!("perl -e 'print syscall({number}, {arguments}) < 0 ? 0 + $! : 0'");
    store.output(&script).parse().unwrap()
}

/// Whether a process of this machine has this argument.
fn runs(argument: &str) -> bool {
    fs::read_dir("/proc").unwrap().any(|entry| {
        let arguments = fs::read(entry.unwrap().path().join("cmdline")).unwrap_or_default();
        arguments
            .split(|&byte| byte == 0)
            .any(|found| found == argument.as_bytes())
    })
}

#[test]
fn the_host_is_out_of_sight() {
    let store = Store::new();
    let secret = store.path().join("secret");
    fs::write(&secret, "leaked").unwrap();
    let secret = secret.display();
    let output = store.output(&format!(
        "cat {secret} /proc/1/root{secret} /proc/1/cwd{secret} /proc/1/environ 2>/dev/null || true
         readlink /proc/1/root /proc/1/exe || true
         hostname
         cat /proc/self/environ"
    ));
    assert_eq!(output.trim_end_matches('\0'), "kiln\nPATH=/usr/bin\0PWD=/");
    assert_eq!(
        store.output("echo /*"),
        "/bin /dev /lib /lib64 /proc /run /sbin /tmp /usr\n"
    );
}

#[test]
fn another_root_leads_nowhere() {
    let escape = "perl -e 'mkdir q(/x); chroot q(/x) or die; chdir q(../../../..); chroot q(.); \
                  exec q(/bin/sh), q(-c), q(echo /*)'";
    let expected = "/bin /dev /lib /lib64 /proc /run /sbin /tmp /usr /x\n";
    assert_eq!(Store::new().output(escape), expected);
}

#[test]
fn descriptors_of_the_caller_are_not_there() {
    let output = Store::new().output("ls /proc/self/fd; readlink /proc/self/fd/0");
    // The fourth is the directory that `ls` reads.
    assert_eq!(output, "0\n1\n2\n3\n/dev/null\n");
}

#[test]
fn there_is_no_network() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let connect = |port: u16, address: &str| {
        format!(
            "perl -e 'socket(S, 2, 1, 0) or die; $to = pack(q(S n C4 x8), 2, {port}, {address}); \
             print connect(S, $to) ? 0 : 0 + $!; print qq(\\n)';"
        )
    };
    let script = connect(port, "127, 0, 0, 1") + &connect(80, "192, 0, 2, 1");
    let expected = format!("{}\n{}\n", libc::ECONNREFUSED, libc::ENETUNREACH);
    assert_eq!(Store::new().output(&script), expected);
}

#[test]
fn a_fork_bomb_passes_the_limit_of_processes() {
    let limits = Limits {
        processes: 200,
        ..Limits::default()
    };
    assert_eq!(passed("f() { f | f & f; }; f", limits), Resource::Processes);
}

/// Process ids are the whole machine's: when none is left, nobody can start a process.
#[test]
fn a_fork_bomb_on_a_busy_machine_lets_others_fork() {
    let cores = std::thread::available_parallelism().unwrap().get();
    let _busy: Vec<_> = (0..2 * cores).map(|_| Busy::new()).collect();
    let limits = Limits {
        processes: 200,
        ..Limits::default()
    };
    std::thread::scope(|scope| {
        let bombs = scope.spawn(|| {
            for _ in 0..3 {
                assert_eq!(passed("f() { f | f & f; }; f", limits), Resource::Processes);
            }
        });
        while !bombs.is_finished() {
            Command::new("true").status().unwrap();
        }
    });
}

#[test]
fn the_kernel_bounds_the_process_ids_of_a_sandbox_and_no_others() {
    let limit = "/proc/sys/kernel/pid_max";
    let here = fs::read_to_string(limit).unwrap();
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let numbers: Vec<u32> = release.split('.').map_while(|it| it.parse().ok()).collect();
    let inside = Store::new().output(&format!("cat {limit}"));
    let expected = if numbers >= vec![6, 14] {
        (Limits::default().processes + 8192).to_string() + "\n"
    } else {
        here.clone()
    };
    assert_eq!(inside, expected);
    assert_eq!(fs::read_to_string(limit).unwrap(), here);
}

/// A process that takes all it gets of a core.
struct Busy(Child);

impl Busy {
    fn new() -> Self {
        let forever = ["-c", "while :; do :; done"];
        Self(Command::new("sh").args(forever).spawn().unwrap())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// Init runs in real time, so that it gets to count; nothing that it starts does or may.
#[test]
fn init_goes_before_the_commands_of_root() {
    let store = Store::new();
    // Words of `stat` (`proc_pid_stat(5)`): the policy is the 41st, the nice value the 19th.
    let script = "
        until test \"$policy\" = 1; do
            set -- $(cat /proc/1/stat)
            shift 40
            policy=$1
        done
        set -- $(cat /proc/self/stat)
        nice=${19}
        shift 40
        echo $nice $1
        cat /proc/self/limits | while read -r word other rest; do
            case \"$other $rest\" in *priority*) echo $word $other $rest; esac
        done";
    let job = Job {
        limits: Limits {
            time: Duration::from_secs(60),
            ..Limits::default()
        },
        ..store.job(&[], &format!("policy=; {script}"))
    };
    let (result, output) = store.run(&job);
    result.unwrap();
    assert_eq!(
        output,
        "0 0\nMax nice priority 0 0\nMax realtime priority 0 0\n"
    );
}

#[test]
fn files_without_end_pass_the_limit_of_disk() {
    let limits = Limits {
        disk: 64 << 20,
        ..Limits::default()
    };
    let script = "i=0; while :; do i=$((i+1)); dd if=/dev/zero of=/f$i bs=1M count=4; done";
    assert_eq!(passed(script, limits), Resource::Disk);
}

#[test]
fn a_hungry_process_passes_the_limit_of_memory() {
    let limits = Limits {
        memory: 64 << 20,
        ..Limits::default()
    };
    let script = "perl -e 'push @all, q(x) x 1000000 while 1'";
    assert_eq!(passed(script, limits), Resource::Memory);
}

#[test]
fn talk_without_end_passes_the_limit_of_output() {
    let limits = Limits {
        output: 1 << 20,
        ..Limits::default()
    };
    assert_eq!(
        passed("while :; do echo more; done", limits),
        Resource::Output
    );
}

#[test]
fn a_command_without_end_passes_the_limit_of_time() {
    let limits = Limits {
        time: Duration::from_secs(1),
        ..Limits::default()
    };
    assert_eq!(passed("sleep 1000", limits), Resource::Time);
}

#[test]
fn a_daemon_is_ended_and_named() {
    let daemon = "perl -e 'exit if fork; setpgrp; close STDOUT; exec qw(sleep 1000)'";
    let error = failure(&Store::new(), daemon, Limits::default());
    let SandboxError::LeftProcesses { names } = error else {
        panic!("{error:?}");
    };
    assert_eq!(names, ["sleep"]);
}

#[test]
fn a_process_that_outlives_its_command_a_little_may_end() {
    Store::new().output("(exec >&-; while test -e /wait; do :; done; echo x > /done) &");
}

#[test]
fn closing_all_descriptors_changes_nothing() {
    let store = Store::new();
    let (result, _) = store.run(&store.job(&[], "exec <&- >&- 2>&-; mkdir /a"));
    assert_eq!(shown(&result.unwrap()), ["a 0755 0:0 directory"]);
}

#[test]
fn links_are_captured_and_not_followed() {
    let store = Store::new();
    let outside = store.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("file"), "untouched").unwrap();
    let script = format!("ln -s {0} /a; mkdir /b; ln -s / /b/c", outside.display());
    let (result, _) = store.run(&store.job(&[], &script));
    let kinds: Vec<_> = result
        .unwrap()
        .entries
        .into_iter()
        .map(|entry| entry.kind)
        .collect();
    assert!(
        matches!(
            &kinds[..],
            [
                EntryKind::Symlink(_),
                EntryKind::Directory,
                EntryKind::Symlink(_)
            ]
        ),
        "{kinds:?}"
    );
    assert_eq!(
        fs::read_to_string(outside.join("file")).unwrap(),
        "untouched"
    );
}

#[test]
fn special_files_are_refused_or_not_captured() {
    let store = Store::new();
    let script = "mknod /a c 1 3 && exit 1; mknod /a b 8 0 && exit 1; mknod /a c 0 0 && exit 1; \
                  ls /dev";
    let devices = store.output(script);
    let devices: Vec<_> = devices
        .lines()
        .filter(|line| !line.starts_with("mknod"))
        .collect();
    assert_eq!(
        devices,
        [
            "fd", "full", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout",
            "tty", "urandom", "zero"
        ]
    );
    let error = failure(&store, "mkfifo /a", Limits::default());
    assert!(
        matches!(&error, SandboxError::Tree(TreeError::Special { path, .. }) if path == "a"),
        "{error:?}"
    );
}

#[test]
fn init_cannot_be_ended_or_looked_into() {
    let script = "kill -9 1; kill -STOP 1; readlink /proc/1/fd/3 && exit 1; \
                  cat /proc/1/mem 2>/dev/null && exit 1; echo alive";
    assert_eq!(Store::new().output(script), "alive\n");
}

#[test]
fn the_machine_cannot_be_changed() {
    let script = "
        hostname other && exit 1
        date -s 2001-01-01 && exit 1
        unshare -m true && exit 1
        unshare -r true && exit 1
        for file in kernel/domainname kernel/core_pattern kernel/pid_max vm/drop_caches; do
            if echo 1 > /proc/sys/$file; then exit 1; fi
        done
        if echo b > /proc/sysrq-trigger; then exit 1; fi
        test -z \"$(cat /proc/kcore /proc/keys /proc/timer_list)\"";
    Store::new().output(script);
}

#[test]
fn system_calls_without_use_are_refused() {
    let store = Store::new();
    let refused = [
        (libc::SYS_ptrace, "0, 0, 0, 0"),
        (libc::SYS_mount, "0, 0, 0, 0, 0"),
        (libc::SYS_unshare, "0"),
        (libc::SYS_setns, "0, 0"),
        (libc::SYS_clone, "0x10000000, 0, 0, 0, 0"),
        (libc::SYS_clock_settime, "0, 0"),
        (libc::SYS_keyctl, "0, 0, 0"),
        (libc::SYS_bpf, "0, 0, 0"),
        (libc::SYS_perf_event_open, "0, 0, 0, 0, 0"),
        (libc::SYS_open_by_handle_at, "0, 0, 0"),
        (libc::SYS_ioctl, "0, 0x5412, 0"),
    ];
    for (number, arguments) in refused {
        assert_eq!(
            call(&store, number, arguments),
            libc::EPERM,
            "call {number}"
        );
    }
    for number in [libc::SYS_clone3, libc::SYS_io_uring_setup, 467, 100_000] {
        assert_eq!(call(&store, number, "0, 0"), libc::ENOSYS, "call {number}");
    }
    let vsock = call(&store, libc::SYS_socket, "40, 1, 0");
    assert_eq!(vsock, libc::EAFNOSUPPORT);
}

/// Descriptor 999 is not open: a call that reached the kernel would say so.
#[test]
fn jobs_do_not_wait_for_the_disk() {
    let store = Store::new();
    let syncs = [
        (libc::SYS_fsync, "999"),
        (libc::SYS_fdatasync, "999"),
        (libc::SYS_syncfs, "999"),
        (libc::SYS_sync_file_range, "999, 0, 0, 0"),
        (libc::SYS_sync, ""),
    ];
    for (number, arguments) in syncs {
        let script = format!("perl -e 'print syscall({number}, {arguments})'");
        assert_eq!(store.output(&script), "0", "call {number}");
    }
    // Nor does the end of their tree.
    let overlay = Choice {
        tree: TreeChoice::Overlay,
        ..Choice::default()
    };
    let job = store.job(&[], "cat /proc/self/mounts");
    let (result, output) = run(&store.sandbox(overlay).unwrap(), &job, store.path());
    result.unwrap();
    let mut mounts = output.lines();
    let root = mounts.find(|mount| mount.split(' ').nth(1) == Some("/"));
    // Newer kernels say `fsync=volatile`.
    assert!(root.unwrap().contains("volatile"), "{output}");
}

#[test]
fn a_cancelled_job_ends_with_all_its_processes() {
    let store = Store::new();
    let sandbox = store.sandbox(Choice::default()).unwrap();
    let job = store.job(&[], "echo ready; sleep 54321.25");
    let cancelled = AtomicBool::new(false);
    let mut ready = |_: &[u8]| cancelled.store(true, Ordering::Relaxed);
    let result = sandbox.run(&job, store.path(), &mut ready, &cancelled);
    assert!(matches!(result, Err(SandboxError::Cancelled)), "{result:?}");
    assert!(!runs("54321.25"));
    assert_eq!(scratch(store.path()), 0);
}

#[test]
fn what_a_killed_caller_leaves_ends_and_is_removed() {
    let store = Store::new();
    let job = store.job(&[], "sleep 54321.5");
    let as_root = Choice {
        ids: IdChoice::Root,
        ..Choice::default()
    };
    let mut caller = caller(&store, "job", as_root, store.path(), &job);
    let mut caller = caller.spawn().unwrap();
    while !runs("54321.5") {
        assert!(caller.try_wait().unwrap().is_none(), "the job ended");
        std::thread::yield_now();
    }
    caller.kill().unwrap();
    caller.wait().unwrap();
    // Ends by the test's own time limit if it never does.
    while runs("54321.5") {
        std::thread::yield_now();
    }
    assert_eq!(scratch(store.path()), 1);
    let sandbox = store.sandbox(Choice::default()).unwrap();
    assert_eq!(scratch(store.path()), 0);
    run(&sandbox, &store.job(&[], "true"), store.path())
        .0
        .unwrap();
}

/// How many scratch directories there are.
fn scratch(store: &Path) -> usize {
    fs::read_dir(store.join("rootfs/scratch/root"))
        .unwrap()
        .count()
}
