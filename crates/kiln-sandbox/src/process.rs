//! A worker as kiln sees it: starting it, talking to it, ending it.

use std::{
    ffi::OsString,
    fs::File,
    io,
    os::{
        fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd},
        unix::{net::UnixStream, process::CommandExt as _},
    },
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use rustix::event::{PollFd, PollFlags, poll};

use crate::{
    SandboxError, crowd,
    ids::IdMap,
    protocol::{self, CHANNELS_FD, CONTROL_FD, Go, OUTPUT_FD, Reply, Request, SPOOL_FD},
    sys,
};

/// How often kiln looks whether it is to stop.
const INTERVAL: Duration = Duration::from_millis(50);

/// How a worker is started.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    /// The file to execute.
    pub(crate) file: PathBuf,
    /// Its arguments.
    pub(crate) arguments: Vec<OsString>,
}

/// What a worker has of kiln's.
#[derive(Default)]
pub(crate) struct Given<'a> {
    /// Where commands print to.
    pub(crate) output: Option<OwnedFd>,
    /// Where the content of captured files goes.
    pub(crate) spool: Option<&'a File>,
    /// What the commands of a job have besides.
    pub(crate) channels: Vec<OwnedFd>,
    /// Standard input and output.
    pub(crate) terminal: bool,
}

/// A worker that runs.
pub(crate) struct Worker {
    child: Child,
    control: UnixStream,
    /// Whether init goes first, as far as it may.
    init_first: bool,
}

/// What makes a waiting kiln stop waiting.
pub(crate) enum Event {
    /// The worker said something; `None` if it died.
    Reply(Option<Reply>),
    /// Something was printed, or the time for another look has come.
    Tick,
}

impl Worker {
    /// Starts a worker, maps its ids and lets it begin.
    pub(crate) fn start(
        program: &Program,
        ids: &IdMap,
        request: &Request,
        given: Given<'_>,
    ) -> Result<Self, SandboxError> {
        let mut worker = Self::spawn(program, &given).map_err(SandboxError::io(
            "the process of the sandbox could not be started",
        ))?;
        // The output must end when the worker does.
        drop(given);
        worker.say(request)?;
        match worker.hear()? {
            Some(Reply::Unshared) => {}
            Some(Reply::Failed(failure)) => return Err(failure.into()),
            _ => return Err(worker.died()),
        }
        ids.write(worker.child.id())?;
        worker.say(&Go)?;
        Ok(worker)
    }

    #[expect(unsafe_code, reason = "descriptors of the child")]
    fn spawn(program: &Program, given: &Given<'_>) -> io::Result<Self> {
        let (control, theirs) = UnixStream::pair()?;
        // Far from the numbers that they get in the child, so that none takes another's place.
        let away = |fd: BorrowedFd<'_>| rustix::io::fcntl_dupfd_cloexec(fd, 64);
        let mut descriptors = vec![(away(theirs.as_fd())?, CONTROL_FD)];
        if let Some(output) = &given.output {
            descriptors.push((away(output.as_fd())?, OUTPUT_FD));
        }
        if let Some(spool) = given.spool {
            descriptors.push((away(spool.as_fd())?, SPOOL_FD));
        }
        for (channel, number) in given.channels.iter().zip(CHANNELS_FD..) {
            descriptors.push((away(channel.as_fd())?, number));
        }
        let mut command = Command::new(&program.file);
        command
            .args(&program.arguments)
            .env_clear()
            .current_dir("/");
        if !given.terminal {
            command.stdin(Stdio::null()).stdout(Stdio::null());
        }
        // SAFETY: after the fork only `dup2` is called.
        unsafe {
            command.pre_exec(move || {
                for (descriptor, number) in &descriptors {
                    sys::duplicate(descriptor.as_raw_fd(), *number)?;
                }
                Ok(())
            });
        }
        let child = command.spawn()?;
        Ok(Self {
            child,
            control,
            init_first: false,
        })
    }

    fn say(&mut self, message: &impl serde::Serialize) -> Result<(), SandboxError> {
        protocol::send(&self.control, message).map_err(|_| self.died())
    }

    fn hear(&mut self) -> Result<Option<Reply>, SandboxError> {
        protocol::receive(&self.control).map_err(SandboxError::io(
            "the process of the sandbox could not be understood",
        ))
    }

    /// Waits for the worker's last word, and nothing else.
    pub(crate) fn finish(mut self) -> Result<Reply, SandboxError> {
        match self.hear()? {
            Some(Reply::Failed(failure)) => Err(failure.into()),
            Some(reply) => Ok(reply),
            None => Err(self.died()),
        }
    }

    /// Waits until the worker says something, there is something to read in `output`, or a short
    /// time has passed.
    pub(crate) fn wait(&mut self, output: Option<&impl AsFd>) -> Result<Event, SandboxError> {
        let mut sources = vec![PollFd::new(&self.control, PollFlags::IN)];
        if let Some(output) = output {
            sources.push(PollFd::new(output, PollFlags::IN));
        }
        let most = rustix::time::Timespec {
            tv_sec: 0,
            tv_nsec: INTERVAL.subsec_nanos().into(),
        };
        match poll(&mut sources, Some(&most)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => {
                return Err(SandboxError::io("the sandbox could not be watched")(
                    error.into(),
                ));
            }
        }
        let told = !sources[0].revents().is_empty();
        drop(sources);
        if told {
            return Ok(Event::Reply(self.hear()?));
        }
        Ok(Event::Tick)
    }

    /// Sees to it that a job's init goes before all others, once it is there.
    pub(crate) fn put_init_first(&mut self) {
        self.init_first = self.init_first || crowd::put_init_first(self.child.id());
    }

    /// Sends a signal to the program in the sandbox.
    pub(crate) fn signal(&self, signal: u8) {
        // If the worker is gone so is the program.
        let _ = io::Write::write_all(&mut &self.control, &[signal]);
    }

    /// Ends the worker and with it all that runs in its sandbox.
    pub(crate) fn kill(&mut self) {
        // It fails if the worker has ended, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits for the end of the process, which has said its last word.
    pub(crate) fn end(&mut self) {
        let _ = self.child.wait();
    }

    /// The worker ended without an answer.
    pub(crate) fn died(&mut self) -> SandboxError {
        let how = match self.child.wait() {
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        };
        SandboxError::WorkerDied(how)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Whether the caller wants to stop.
pub(crate) fn is_set(cancelled: &AtomicBool) -> bool {
    cancelled.load(Ordering::Relaxed)
}
