//! The caller's side of the sandbox.

use std::{
    ffi::OsString,
    io,
    os::fd::{AsFd as _, OwnedFd},
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
};

use kiln_layer::Entry;
use rustix::pipe::{PipeFlags, pipe_with};

use crate::{
    Choice, Job, Resource, SandboxError, TreeChoice,
    ids::IdMap,
    process::{Event, Given, Program, Worker, is_set},
    protocol::{CHANNELS_FD, Place, Reply, Request, Task, WORKER},
    scratch::{self, Kept, Scratch},
    tail::Tail,
    tree::{Changes, Owners, entries},
};

/// Runs jobs. Cheap to keep, and many threads may use it at once.
#[derive(Debug)]
pub struct Sandbox {
    rootfs: PathBuf,
    pub(crate) ids: IdMap,
    pub(crate) overlay: bool,
    pub(crate) program: Program,
}

/// What a job changed.
#[derive(Debug)]
pub struct Captured {
    /// What differs from the layers, sorted by path. Payloads are views of a file in the spool
    /// directory that has no name any more.
    pub entries: Vec<Entry>,
    /// The directories above these entries that do not differ, sorted by path, as they are:
    /// layers list them, too.
    pub parents: Vec<Entry>,
}

impl Sandbox {
    /// The number under which commands find the first channel of their job.
    pub const CHANNELS: i32 = CHANNELS_FD;

    /// Finds out what this machine allows. `rootfs` is the store's directory of unpacked layers.
    ///
    /// The program that calls this calls [`worker_main`](crate::worker_main) when its first
    /// argument is `sandbox-worker`.
    pub fn open(rootfs: &Path, choice: Choice) -> Result<Self, SandboxError> {
        Self::with_worker(rootfs, choice, Path::new("/proc/self/exe"), &[WORKER])
    }

    /// [`Sandbox::open`] with another program as the worker, for tests.
    #[doc(hidden)]
    pub fn with_worker(
        rootfs: &Path,
        choice: Choice,
        program: &Path,
        arguments: &[&str],
    ) -> Result<Self, SandboxError> {
        let program = Program {
            file: program.to_owned(),
            arguments: arguments.iter().map(OsString::from).collect(),
        };
        let mut refused = None;
        for ids in IdMap::candidates(choice.ids)? {
            let sandbox = Self {
                rootfs: rootfs.to_owned(),
                ids,
                overlay: false,
                program: program.clone(),
            };
            match sandbox.probe(choice.tree) {
                Ok(overlay) => return Ok(Self { overlay, ..sandbox }),
                // Another mapping may be allowed; the first refusal tells most.
                Err(error) => refused = refused.or(Some(error)),
            }
        }
        Err(refused.unwrap_or_else(|| SandboxError::WorkerDied("never started".to_owned())))
    }

    /// Whether to use overlayfs.
    fn probe(&self, tree: TreeChoice) -> Result<bool, SandboxError> {
        let parent = self.scratch()?;
        let scratch = Scratch::new(&parent)?;
        let reply = self.ask(&self.ids, Task::Probe(scratch.path.clone()));
        // Also what processes that were killed have left.
        let mut left = scratch::abandoned(&parent);
        left.push(scratch.path.clone());
        let removed = self.ask(&self.ids, Task::Remove(left));
        match (reply?, tree) {
            (Reply::Overlay(false), TreeChoice::Overlay) => Err(SandboxError::Setup {
                what: "mount overlayfs".to_owned(),
                cause: "this machine does not allow it".into(),
            }),
            (Reply::Overlay(works), _) => {
                removed?;
                Ok(works && tree != TreeChoice::Copy)
            }
            _ => Err(SandboxError::WorkerDied("a wrong answer".to_owned())),
        }
    }

    /// Makes sure that commands are who they are to be. With a single id every process is user 0:
    /// what it creates would be root's, and other bytes would come out than elsewhere.
    fn has_ids_of(&self, job: &Job) -> Result<(), SandboxError> {
        if self.ids.owners() != Owners::Recorded {
            return Ok(());
        }
        match job.commands().find(|it| (it.uid, it.gid) != (0, 0)) {
            None => Ok(()),
            Some(command) => Err(SandboxError::Ids {
                reason: format!(
                    "a command runs as {}:{}, and this user has no subordinate ids",
                    command.uid, command.gid
                ),
                hint: Some(
                    "add a line for this user to /etc/subuid and to /etc/subgid, and install \
                     `newuidmap` (Debian: `apt-get install uidmap`); or let the command run as root"
                        .to_owned(),
                ),
            }),
        }
    }

    /// Runs a job. `output` is given what the commands print, as it comes. When `cancelled` is
    /// set everything is killed at once.
    pub fn run(
        &self,
        job: &Job,
        spool: &Path,
        output: &mut (dyn FnMut(&[u8]) + Send),
        cancelled: &AtomicBool,
    ) -> Result<Captured, SandboxError> {
        self.run_with_channels(job, Vec::new(), spool, output, cancelled)
    }

    /// [`Sandbox::run`] with descriptors that the commands of the job have, the first as number
    /// [`Self::CHANNELS`]. They are closed at the end, whichever it is; and commands can do with
    /// them what their kind of file allows, so let them be ends of pipes and sockets.
    pub fn run_with_channels(
        &self,
        job: &Job,
        channels: Vec<OwnedFd>,
        spool: &Path,
        output: &mut (dyn FnMut(&[u8]) + Send),
        cancelled: &AtomicBool,
    ) -> Result<Captured, SandboxError> {
        self.has_ids_of(job)?;
        let spool = tempfile::tempfile_in(spool).map_err(SandboxError::io(
            "no file for captured content could be made",
        ))?;
        let parent = self.scratch()?;
        let failed = Scratch::place_of_failed(&parent, job)?;
        self.discard(&failed)?;
        let scratch = Scratch::new(&parent)?;
        let mut tail = Tail::default();
        let task = Task::Run {
            job: job.clone(),
            place: self.place(&scratch, false),
            channels: i32::try_from(channels.len()).unwrap_or(i32::MAX),
        };
        let (printed, theirs) = pipe_with(PipeFlags::CLOEXEC)
            .map_err(|error| SandboxError::io("no pipe could be made")(error.into()))?;
        let given = Given {
            output: Some(theirs),
            spool: Some(&spool),
            channels,
            terminal: false,
        };
        let printed = Printed {
            pipe: printed,
            output,
            tail: &mut tail,
            left: job.limits.output,
            ended: false,
        };
        let result = self.work(task, given, printed, cancelled);
        match result {
            Ok(changes) => Ok(Captured {
                entries: entries(changes.entries, &spool)?,
                parents: entries(changes.parents, &spool)?,
            }),
            Err(SandboxError::CommandFailed {
                argv,
                status,
                cause,
                ..
            }) => {
                let command = job.commands().find(|it| it.argv == argv);
                let kept = if let (Some(command), None) = (command, &cause) {
                    let kept = Kept {
                        layers: job.layers.clone(),
                        binds: job.binds.clone(),
                        overlay: self.overlay,
                        command: command.clone(),
                    };
                    scratch.keep(&failed, &kept).ok()
                } else {
                    // What it wrote may be what fills the disk.
                    let _ = self.remove(&scratch.path);
                    None
                };
                Err(SandboxError::CommandFailed {
                    argv,
                    status,
                    cause,
                    tail: tail.lines(),
                    state: kept.map(|()| failed),
                })
            }
            Err(error) => {
                // The job's error is what matters; what stays is removed another time.
                let _ = self.remove(&scratch.path);
                Err(error)
            }
        }
    }

    fn work(
        &self,
        task: Task,
        given: Given<'_>,
        mut printed: Printed<'_>,
        cancelled: &AtomicBool,
    ) -> Result<Changes, SandboxError> {
        let allowed = printed.left;
        let request = self.request(&self.ids, task);
        let mut worker = Worker::start(&self.program, &self.ids, &request, given)?;
        let result = loop {
            if is_set(cancelled) {
                break Err(SandboxError::Cancelled);
            }
            match worker.wait(printed.source())? {
                Event::Reply(Some(Reply::Captured(changes))) => break Ok(changes),
                Event::Reply(Some(Reply::Failed(failure))) => break Err(failure.into()),
                Event::Reply(_) => break Err(worker.died()),
                Event::Tick => worker.put_init_first(),
            }
            if !printed.read()? {
                break Err(SandboxError::Limit {
                    resource: Resource::Output,
                    allowed,
                    found: allowed + 1,
                });
            }
        };
        match result {
            Ok(_) => worker.end(),
            Err(_) => worker.kill(),
        }
        // The pipe ends with the last process in the sandbox: so none is left after this.
        printed.drain()?;
        result
    }

    /// Removes the kept state of a failed job; nothing happens if there is none.
    pub fn discard(&self, state: &Path) -> Result<(), SandboxError> {
        if state.exists() {
            self.remove(state)?;
        }
        Ok(())
    }

    fn remove(&self, path: &Path) -> Result<(), SandboxError> {
        self.remove_as(&self.ids, path)
    }

    /// Removes a directory that was made under this mapping.
    pub(crate) fn remove_as(&self, ids: &IdMap, path: &Path) -> Result<(), SandboxError> {
        self.ask(ids, Task::Remove(vec![path.to_owned()])).map(drop)
    }

    /// Has a short task done.
    pub(crate) fn ask(&self, ids: &IdMap, task: Task) -> Result<Reply, SandboxError> {
        let request = self.request(ids, task);
        Worker::start(&self.program, ids, &request, Given::default())?.finish()
    }

    pub(crate) fn request(&self, ids: &IdMap, task: Task) -> Request {
        Request {
            parent: std::process::id(),
            owners: ids.owners(),
            rootfs: self.rootfs.clone(),
            label: ids.label.clone(),
            task,
        }
    }

    pub(crate) fn place(&self, scratch: &Scratch, resumed: bool) -> Place {
        Place {
            directory: scratch.path.clone(),
            overlay: self.overlay,
            resumed,
        }
    }

    pub(crate) fn rootfs(&self) -> &Path {
        &self.rootfs
    }

    /// Where scratch directories are.
    pub(crate) fn scratch(&self) -> Result<PathBuf, SandboxError> {
        scratch::parent(&self.rootfs, &self.ids.label)
    }
}

/// What commands print, on its way to the caller.
struct Printed<'a> {
    pipe: OwnedFd,
    output: &'a mut (dyn FnMut(&[u8]) + Send),
    tail: &'a mut Tail,
    /// How much may still come.
    left: u64,
    ended: bool,
}

impl Printed<'_> {
    /// What to wait for.
    fn source(&self) -> Option<&OwnedFd> {
        (!self.ended).then_some(&self.pipe)
    }

    /// Takes what is there now; `false` if it was more than allowed.
    fn read(&mut self) -> Result<bool, SandboxError> {
        let mut ready = [rustix::event::PollFd::new(
            &self.pipe,
            rustix::event::PollFlags::IN,
        )];
        let now = rustix::time::Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        if self.ended || !matches!(rustix::event::poll(&mut ready, Some(&now)), Ok(1..)) {
            return Ok(true);
        }
        self.take()
    }

    /// Takes all there is until nobody can print any more.
    fn drain(&mut self) -> Result<(), SandboxError> {
        while !self.ended {
            self.take()?;
        }
        Ok(())
    }

    fn take(&mut self) -> Result<bool, SandboxError> {
        let mut bytes = [0; 8 << 10];
        let count = match rustix::io::read(self.pipe.as_fd(), &mut bytes[..]) {
            Err(rustix::io::Errno::INTR) => return Ok(true),
            result => result.map_err(io::Error::from).map_err(SandboxError::io(
                "what the commands print could not be read",
            ))?,
        };
        self.ended = count == 0;
        self.tail.push(&bytes[..count]);
        let allowed = usize::try_from(self.left).unwrap_or(usize::MAX).min(count);
        (self.output)(&bytes[..allowed]);
        self.left -= allowed as u64;
        Ok(allowed == count)
    }
}
