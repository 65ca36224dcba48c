//! Why many processes in a sandbox do not harm the machine around it.
//!
//! Init counts processes and ends a job that has too many. A bomb may fork faster than init gets
//! to count on a busy machine, and process ids are the whole machine's: when none is left, nobody
//! can fork. So there are bounds that need nobody's attention:
//!
//! - `RLIMIT_NPROC`, which the kernel does not apply to the machine's root;
//! - since Linux 6.14 a pid namespace has a `pid_max` of its own ([`bound`]);
//! - before, kiln makes init run in real time where it may, as root ([`put_init_first`]), so that
//!   init does get to count. (A cgroup's `pids.max` would do, too; but cgroups are for who runs the
//!   machine, systemd or an engine, to make.)

use std::fs;

use crate::sys;

/// How many ids there are beyond those that processes may have: some that are given once only
/// (`RESERVED_PIDS` in the kernel's `pid.h`) or still name a group or a session; the rest is what a bomb
/// needs some tenths of a second for, so that init sees which limit was passed before forks fail.
const SPARE: u64 = 8192;
/// What a kernel takes at most (`PID_MAX_LIMIT`).
const MOST: u64 = 4 << 20;

/// Makes the kernel refuse to start many more than `processes` in the pid namespace of this
/// process. `/proc` is there, and can be written.
pub(crate) fn bound(processes: u64) {
    let most = processes.saturating_add(SPARE);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    // Older ones would change it for the whole machine.
    if most > MOST || !has_own_ids(&kernel) {
        return;
    }
    // Refused where a container has a `/proc` that nobody may write: the other bounds are there.
    let _ = fs::write("/proc/sys/kernel/pid_max", most.to_string());
}

/// Whether pid namespaces of this release of Linux have a `pid_max` of their own.
fn has_own_ids(release: &str) -> bool {
    let mut numbers = release
        .split(|it: char| !it.is_ascii_digit())
        .map(|it| it.parse::<u32>().unwrap_or_default());
    (numbers.next(), numbers.next()) >= (Some(6), Some(14))
}

/// Makes init run as soon as it has something to do, whoever else would; not what it starts. For
/// kiln, as nobody in a user namespace may. Gives whether the `worker` has started init.
///
/// A nice value would not do: where the kernel groups processes by session it counts within one
/// only (`sched(7)`, "The autogroup feature").
pub(crate) fn put_init_first(worker: u32) -> bool {
    let children = fs::read_to_string(format!("/proc/{worker}/task/{worker}/children"));
    // It has no other child.
    let init = children.ok().and_then(|it| it.trim().parse().ok());
    if let Some(init) = init {
        // Refused to plain users, to whom `RLIMIT_NPROC` applies.
        let _ = sys::run_in_real_time(init);
    }
    init.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_since_6_14_bound_the_ids_of_a_namespace() {
        for release in ["6.14.0", "6.18.44-fc-v782", "7.0-rc1", "10.1"] {
            assert!(has_own_ids(release), "{release}");
        }
        for release in [
            "6.13.9",
            "6.1.0-40-amd64",
            "5.14.0-503.el9",
            "2.6.61",
            "6",
            "x",
            "",
        ] {
            assert!(!has_own_ids(release), "{release}");
        }
    }
}
