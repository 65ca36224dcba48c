//! Watching what the commands of a job use.

use std::{
    fs, io,
    os::fd::{AsFd, OwnedFd},
    time::{Duration, Instant},
};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, fstat, openat2, statat};

use crate::{Limits, Resource, protocol::Failure};

/// How often a measure is taken; a measure that takes long is taken less often, so that watching
/// costs a tenth of a core at most.
pub(crate) const INTERVAL: Duration = Duration::from_millis(100);

/// Takes the measures of one job.
pub(crate) struct Watch {
    limits: Limits,
    started: Instant,
    processes: Schedule,
    disk: Schedule,
    /// The directory that commands write to.
    written: OwnedFd,
    /// What was in it before.
    before: u64,
}

impl Watch {
    /// Begins to watch; `written` is the directory that commands write to.
    pub(crate) fn new(limits: Limits, written: OwnedFd) -> io::Result<Self> {
        let before = bytes_in(&written)?;
        Ok(Self {
            limits,
            started: Instant::now(),
            processes: Schedule::default(),
            disk: Schedule::default(),
            written,
            before,
        })
    }

    /// Counts processes now: a command may have failed because there were too many.
    pub(crate) fn count(&self) -> Result<(), Failure> {
        let most = self.limits.processes;
        within(Resource::Processes, most, used_by_processes(most).threads)
    }

    /// Takes the measures that are due.
    pub(crate) fn check(&mut self) -> Result<(), Failure> {
        let elapsed = self.started.elapsed();
        if elapsed > self.limits.time {
            // In whole seconds, the part of one that was too much must show.
            let found = elapsed.as_secs() + 1;
            return Err(passed(Resource::Time, self.limits.time.as_secs(), found));
        }
        let most = self.limits.processes;
        if let Some(used) = self.processes.run(|| used_by_processes(most)) {
            within(Resource::Processes, self.limits.processes, used.threads)?;
            within(Resource::Memory, self.limits.memory, used.memory)?;
        }
        let written = &self.written;
        if let Some(Ok(bytes)) = self.disk.run(|| bytes_in(written)) {
            let found = bytes.saturating_sub(self.before);
            within(Resource::Disk, self.limits.disk, found)?;
        }
        Ok(())
    }
}

fn within(resource: Resource, allowed: u64, found: u64) -> Result<(), Failure> {
    if found <= allowed {
        Ok(())
    } else {
        Err(passed(resource, allowed, found))
    }
}

fn passed(resource: Resource, allowed: u64, found: u64) -> Failure {
    Failure::Limit {
        resource,
        allowed,
        found,
    }
}

/// When a measure is due.
#[derive(Default)]
struct Schedule {
    next: Option<Instant>,
}

impl Schedule {
    fn run<T>(&mut self, measure: impl FnOnce() -> T) -> Option<T> {
        let start = Instant::now();
        if self.next.is_some_and(|next| start < next) {
            return None;
        }
        let result = measure();
        let end = Instant::now();
        self.next = Some(end + INTERVAL.max((end - start) * 10));
        Some(result)
    }
}

/// What all processes of this pid namespace but this one use.
#[derive(Debug, Default, PartialEq, Eq)]
struct Used {
    threads: u64,
    memory: u64,
}

/// More than `most` processes have too many threads, and are counted only: a bomb gets no time.
fn used_by_processes(most: u64) -> Used {
    let processes = processes();
    let mut used = Used::default();
    if processes.len() as u64 > most {
        used.threads = processes.len() as u64;
        return used;
    }
    for process in processes {
        // One that has ended meanwhile uses nothing.
        if let Ok(status) = fs::read_to_string(format!("/proc/{process}/status")) {
            let of = used_by(&status);
            used.threads += of.threads;
            used.memory += of.memory;
        }
    }
    used
}

/// The processes of this pid namespace but this one, which is process 1.
pub(crate) fn processes() -> Vec<i32> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|&process| process != 1)
        .collect()
}

/// Reads `/proc/PID/status` (`proc_pid_status(5)`). Pages that processes share after a fork count
/// for each of them.
fn used_by(status: &str) -> Used {
    let number = |name: &str| {
        status
            .lines()
            .find_map(|line| {
                line.strip_prefix(name)?
                    .split_whitespace()
                    .next()?
                    .parse::<u64>()
                    .ok()
            })
            .unwrap_or_default()
    };
    Used {
        threads: number("Threads:"),
        memory: number("RssAnon:") * 1024,
    }
}

/// The bytes that the files below a directory take on disk.
fn bytes_in(root: impl AsFd) -> io::Result<u64> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let mut bytes = blocks(&fstat(&root)?);
    // Paths and not descriptors: a directory may have more directories than files can be open.
    let mut pending = vec![b".".to_vec()];
    while let Some(path) = pending.pop() {
        // What commands are just removing is no longer there.
        let Ok(directory) = openat2(&root, &*path, flags, Mode::empty(), beneath) else {
            continue;
        };
        for entry in Dir::read_from(&directory)? {
            let entry = entry?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            if let Ok(found) = statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW) {
                bytes += blocks(&found);
            }
            if entry.file_type() == FileType::Directory {
                pending.push([&path, b"/".as_slice(), name.to_bytes()].concat());
            }
        }
    }
    Ok(bytes)
}

fn blocks(found: &rustix::fs::Stat) -> u64 {
    u64::try_from(found.st_blocks).unwrap_or_default() * 512
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_and_anonymous_memory_are_read_from_the_status_of_a_process() {
        let status = "Name:\tpython3\nVmRSS:\t  9000 kB\nRssAnon:\t    1234 kB\nThreads:\t7\n";
        let expected = Used {
            threads: 7,
            memory: 1234 * 1024,
        };
        assert_eq!(used_by(status), expected);
        assert_eq!(used_by("Name:\tkthreadd\n"), Used::default());
    }

    #[test]
    fn the_disk_use_of_a_tree_is_that_of_its_files() {
        let directory = tempfile::tempdir().unwrap();
        let before = bytes_in(fs::File::open(directory.path()).unwrap()).unwrap();
        let below = directory.path().join("a/b");
        fs::create_dir_all(&below).unwrap();
        fs::write(below.join("file"), vec![1; 1 << 20]).unwrap();
        std::os::unix::fs::symlink("/", below.join("link")).unwrap();
        let after = bytes_in(fs::File::open(directory.path()).unwrap()).unwrap();
        let grown = after - before;
        assert!(
            (1 << 20..(1 << 20) + (64 << 10)).contains(&grown),
            "{grown}"
        );
    }

    #[test]
    fn a_measure_is_not_taken_again_at_once() {
        let mut schedule = Schedule::default();
        assert_eq!(schedule.run(|| 1), Some(1));
        assert_eq!(schedule.run(|| 2), None);
    }
}
