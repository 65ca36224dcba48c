//! Process 1 of a sandbox: it makes the mounts, does the steps of a job one after another, reaps
//! orphans, answers calls that wait for it, and watches limits.

use std::{
    fs::{self, File},
    io,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    path::Path,
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags, poll};
use serde::{Deserialize, Serialize};

use crate::{
    Bind, Command, ExitStatus, Limits, Step, Volume,
    command::{self, Running, Terminal},
    crowd,
    limits::{self, Watch},
    mounts::{self, Detached},
    namespaces,
    owner_calls::Answers,
    protocol::Failure,
    seccomp::Filter,
    space, steps, sys,
    tree::{Owners, SymlinkOwners},
};

/// How long processes that a job leaves behind may take to end by themselves.
const GRACE: Duration = Duration::from_secs(1);

/// What init tells the worker at its end.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum End {
    /// All steps of the job were done.
    Done {
        /// The owners that commands gave to symbolic links.
        symlinks: SymlinkOwners,
        /// What was made in the tree to mount on.
        mount_points: Vec<String>,
    },
    /// The program of people ended.
    Ended(ExitStatus),
    /// It did not work.
    Failed(Failure),
}

/// What init does.
#[derive(Clone, Copy)]
pub(crate) enum Work<'a> {
    /// The steps of a job.
    Steps(&'a [Step]),
    /// A program for people.
    Program {
        command: &'a Command,
        foreground: bool,
    },
}

/// What init needs to know.
#[derive(Clone, Copy)]
pub(crate) struct Setup<'a> {
    /// The tree, a mount.
    pub(crate) tree: &'a Path,
    /// Where what commands write ends up.
    pub(crate) written: &'a Path,
    pub(crate) owners: Owners,
    pub(crate) limits: Limits,
    pub(crate) binds: &'a [Bind],
    pub(crate) volumes: &'a [Volume],
    /// Whether the tree itself cannot be written.
    pub(crate) read_only: bool,
    pub(crate) work: Work<'a>,
    /// Each byte that comes here is a signal for the program.
    pub(crate) control: BorrowedFd<'a>,
    /// Where commands of a job print to.
    pub(crate) output: Option<BorrowedFd<'a>>,
    /// What commands of a job have besides.
    pub(crate) channels: &'a [OwnedFd],
    /// Where the worker waits; nobody is there if it is dead.
    pub(crate) worker: BorrowedFd<'a>,
}

/// Is process 1 until the work is done. What still runs then ends with it.
pub(crate) fn run(setup: &Setup<'_>) -> End {
    match work(setup) {
        Ok(end) => end,
        Err(failure) => End::Failed(failure),
    }
}

fn work(setup: &Setup<'_>) -> Result<End, Failure> {
    namespaces::die_with_parent()?;
    // The worker may have died just before.
    if is_abandoned(setup.worker) {
        sys::exit(1);
    }
    sys::set_dumpable(false).map_err(Failure::setup("hide from the commands"))?;
    namespaces::enter_mounts()?;
    rustix::process::umask(rustix::fs::Mode::empty());
    let open = || -> io::Result<[OwnedFd; 3]> {
        let written = OwnedFd::from(File::open(setup.written)?);
        Ok([written.try_clone()?, written.try_clone()?, written])
    };
    let [answered, watched, written] = open().map_err(Failure::setup("open the tree"))?;
    let is_job = matches!(setup.work, Work::Steps(_));
    let mount_points = mount(setup, is_job)?;
    let watch = Watch::new(setup.limits, watched).map_err(Failure::setup("watch the tree"))?;
    let mut init = Init {
        setup,
        watch: is_job.then_some(watch),
        filter: Filter::new(setup.owners, !is_job),
        listeners: Vec::new(),
        answers: Answers::new(answered),
        written,
    };
    match setup.work {
        Work::Steps(steps) => {
            init.steps(steps)?;
            Ok(End::Done {
                symlinks: init.answers.into_symlinks(),
                mount_points,
            })
        }
        Work::Program {
            command,
            foreground,
        } => init.program(command, foreground).map(End::Ended),
    }
}

/// Whether nobody has the other end of this socket any more.
fn is_abandoned(worker: BorrowedFd<'_>) -> bool {
    let mut ends = [PollFd::from_borrowed_fd(worker, PollFlags::OUT)];
    let zero = rustix::time::Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    poll(&mut ends, Some(&zero)).is_ok()
        && ends[0]
            .revents()
            .intersects(PollFlags::ERR | PollFlags::HUP)
}

/// Makes the tree the root, with all that is mounted in it. Gives what was made to mount on.
fn mount(setup: &Setup<'_>, is_job: bool) -> Result<Vec<String>, Failure> {
    // What is of the host is held before the host is out of sight.
    let devices = mounts::devices()?;
    let binds = setup
        .binds
        .iter()
        .map(|bind| (&bind.source, &bind.target, true));
    let volumes = setup
        .volumes
        .iter()
        .map(|volume| (&volume.source, &volume.target, volume.read_only));
    let outside = binds
        .chain(volumes)
        .map(|(source, target, read_only)| Detached::open(source, target, read_only))
        .collect::<Result<Vec<_>, _>>()?;
    mounts::enter_root(setup.tree)?;
    mounts::mount_basics(setup.limits.memory)?;
    mounts::fill_dev(devices, setup.limits.memory)?;
    mounts::leave_old_root()?;
    if is_job {
        crowd::bound(setup.limits.processes);
    }
    mounts::protect_proc()?;
    let mut made = Vec::new();
    for detached in outside {
        made.extend(detached.place()?);
    }
    if setup.read_only {
        mounts::protect_root()?;
    }
    Ok(made)
}

struct Init<'a> {
    setup: &'a Setup<'a>,
    /// People may use what they like.
    watch: Option<Watch>,
    filter: Filter,
    listeners: Vec<OwnedFd>,
    answers: Answers,
    /// The directory that commands write to.
    written: OwnedFd,
}

impl Init<'_> {
    fn steps(&mut self, steps: &[Step]) -> Result<(), Failure> {
        for step in steps {
            let Step::Run(command) = step else {
                steps::perform(step, self.setup.owners)?;
                continue;
            };
            let terminal = match self.setup.output {
                Some(output) => Terminal::None(output, self.setup.channels),
                None => Terminal::Inherited,
            };
            match self.run(command, terminal)? {
                ExitStatus::Exited(0) => {}
                status => {
                    self.watch.as_ref().map_or(Ok(()), Watch::count)?;
                    return Err(Failure::Command {
                        argv: command.argv.clone(),
                        status,
                        cause: space::refusal(&self.written, command.uid),
                    });
                }
            }
        }
        self.settle()
    }

    fn program(&mut self, command: &Command, foreground: bool) -> Result<ExitStatus, Failure> {
        let terminal = if foreground {
            Terminal::Foreground
        } else {
            Terminal::Inherited
        };
        self.run(command, terminal)
    }

    /// Runs a command to its end.
    fn run(&mut self, command: &Command, terminal: Terminal<'_>) -> Result<ExitStatus, Failure> {
        let Running {
            process,
            pidfd,
            listener,
        } = command::start(
            command,
            terminal,
            &self.setup.limits,
            &self.filter,
            self.setup.owners,
        )?;
        self.listeners.extend(listener);
        loop {
            if let Some(status) = reap(process) {
                return Ok(ExitStatus::from_wait(status));
            }
            if let Some(watch) = &mut self.watch {
                watch.check()?;
            }
            self.wait(Some((pidfd.as_fd(), process)), limits::INTERVAL);
        }
    }

    /// Lets what the commands left running come to its end; what does not is an error.
    fn settle(&mut self) -> Result<(), Failure> {
        let started = Instant::now();
        loop {
            let _ = reap(0);
            let left = limits::processes();
            if left.is_empty() {
                return Ok(());
            }
            if started.elapsed() > GRACE {
                return Err(Failure::Left(names(&left)));
            }
            self.wait(None, GRACE / 100);
        }
    }

    /// Waits until something happens, at most this long, and sees to it.
    fn wait(&mut self, running: Option<(BorrowedFd<'_>, i32)>, most: Duration) {
        let mut sources = vec![PollFd::from_borrowed_fd(self.setup.control, PollFlags::IN)];
        for listener in &self.listeners {
            sources.push(PollFd::new(listener, PollFlags::IN));
        }
        if let Some((pidfd, _)) = running {
            sources.push(PollFd::from_borrowed_fd(pidfd, PollFlags::IN));
        }
        let most = rustix::time::Timespec {
            tv_sec: 0,
            tv_nsec: most.subsec_nanos().into(),
        };
        // Interrupted or not: the caller looks again.
        if poll(&mut sources, Some(&most)).is_err() {
            return;
        }
        let told = !sources[0].revents().is_empty();
        let events: Vec<_> = sources[1..].iter().map(PollFd::revents).collect();
        drop(sources);
        if told {
            self.obey(running.map(|(_, process)| process));
        }
        let mut events = events.into_iter();
        self.listeners.retain(|listener| {
            let event = events.next().unwrap_or(PollFlags::empty());
            if event.contains(PollFlags::IN) {
                self.answers.answer(listener.as_fd());
            }
            // Nobody is under this filter any more.
            !event.contains(PollFlags::HUP)
        });
    }

    /// Passes a signal on to the command; ends everything if kiln is gone.
    fn obey(&self, process: Option<i32>) {
        let mut signals = [0; 16];
        match rustix::io::read(self.setup.control, &mut signals[..]) {
            Ok(0) => sys::exit(1),
            Ok(count) => {
                for &signal in &signals[..count] {
                    if let Some(process) = process {
                        sys::kill(process, signal.into());
                    }
                }
            }
            Err(_) => {}
        }
    }
}

/// Takes notice of processes that ended; gives the status of `process` if it is one of them.
fn reap(process: i32) -> Option<i32> {
    while let Some((child, status)) = sys::wait_any() {
        if libc::WIFSTOPPED(status) {
            // Nobody is there who could take it up again.
            sys::kill(child, libc::SIGCONT);
        } else if child == process {
            return Some(status);
        }
    }
    None
}

fn names(processes: &[i32]) -> Vec<String> {
    processes
        .iter()
        .filter_map(|process| fs::read_to_string(format!("/proc/{process}/comm")).ok())
        .map(|name| name.trim_end().to_owned())
        .take(10)
        .collect()
}
