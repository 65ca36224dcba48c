//! Programs for people: `kiln run`, `kiln shell`, `kiln debug`.

use std::{
    io::IsTerminal as _,
    path::Path,
    sync::atomic::AtomicBool,
    time::{Duration, Instant},
};

use rustix::termios::{tcgetpgrp, tcsetpgrp};

use crate::{
    Bind, Interactive, LayerBlob, NetworkMode, Sandbox, SandboxError,
    ids::IdMap,
    process::{Event, Given, Worker, is_set},
    protocol::{Place, Reply, Task},
    scratch::Scratch,
    sys,
    tree::Owners,
};

/// How long a program may take to end when it is asked to.
const PATIENCE: Duration = Duration::from_secs(10);

/// What of the host a program needs to use its network.
const NETWORK_FILES: [&str; 2] = ["/etc/resolv.conf", "/etc/hosts"];

impl Sandbox {
    /// Runs a program for people, with the input and output of this process, and gives its exit
    /// status: 128 and the number of the signal if one ended it.
    ///
    /// If standard input is a terminal the program is in its foreground: keys that send signals
    /// concern the program alone. When `cancelled` is set it gets `SIGTERM`, and `SIGKILL` if it
    /// has not ended 10 s later. While layers are still unpacked everything is ended at once.
    ///
    /// Where layers must be unpacked first, `unpacking` is told how many of how many are, from
    /// none to all. Nothing is told where all are there already.
    pub fn start(
        &self,
        program: &Interactive,
        cancelled: &AtomicBool,
        unpacking: &mut dyn FnMut(usize, usize),
    ) -> Result<u8, SandboxError> {
        let Some(state) = &program.state else {
            let scratch = Scratch::new(&self.scratch()?)?;
            let place = self.place(&scratch, false);
            let ids = self
                .ids
                .for_program(program.command.uid, program.command.gid);
            let result = self
                .unpack(&ids, &program.layers, cancelled, unpacking)
                .and_then(|()| {
                    let program = program.clone();
                    self.attend(&ids, program, place, Vec::new(), cancelled, unpacking)
                });
            // By the mapping that made it: others may not touch what is in it.
            let removed = self.remove_as(&ids, &scratch.path);
            let status = result?;
            return removed.map(|()| status);
        };
        let (scratch, kept) = Scratch::resume(state)?;
        let place = Place {
            overlay: kept.overlay,
            ..self.place(&scratch, true)
        };
        let program = Interactive {
            layers: kept.layers,
            ..program.clone()
        };
        self.attend(&self.ids, program, place, kept.binds, cancelled, unpacking)
    }

    /// Unpacks layers as a job would. Where the caller is another user than 0 inside, and the only
    /// one, the program's own worker could not give files their capabilities.
    fn unpack(
        &self,
        ids: &IdMap,
        layers: &[LayerBlob],
        cancelled: &AtomicBool,
        unpacking: &mut dyn FnMut(usize, usize),
    ) -> Result<(), SandboxError> {
        if ids.owners() == Owners::Mapped {
            return Ok(());
        }
        let request = self.request(&self.ids, Task::Unpack(layers.to_vec()));
        let mut worker = Worker::start(&self.program, &self.ids, &request, Given::default())?;
        loop {
            if is_set(cancelled) {
                worker.kill();
                return Err(SandboxError::Cancelled);
            }
            match worker.wait(None::<&std::fs::File>)? {
                Event::Reply(Some(Reply::Unpacking { done, all })) => unpacking(done, all),
                Event::Reply(Some(Reply::Unpacked)) => return Ok(()),
                Event::Reply(Some(Reply::Failed(failure))) => return Err(failure.into()),
                Event::Reply(_) => return Err(worker.died()),
                Event::Tick => {}
            }
        }
    }

    /// Runs the program to its end.
    fn attend(
        &self,
        ids: &IdMap,
        program: Interactive,
        place: Place,
        mut binds: Vec<Bind>,
        cancelled: &AtomicBool,
        unpacking: &mut dyn FnMut(usize, usize),
    ) -> Result<u8, SandboxError> {
        if program.network == NetworkMode::Host {
            binds.extend(network_files());
        }
        let foreground = Foreground::of_this_process();
        let task = Task::Start {
            program,
            place,
            binds,
            terminal: foreground.is_some(),
        };
        let given = Given {
            terminal: true,
            ..Given::default()
        };
        let mut worker = Worker::start(&self.program, ids, &self.request(ids, task), given)?;
        let mut started = false;
        let mut asked: Option<Instant> = None;
        loop {
            match asked {
                None if is_set(cancelled) && !started => {
                    worker.kill();
                    return Err(SandboxError::Cancelled);
                }
                None if is_set(cancelled) => {
                    worker.signal(15);
                    asked = Some(Instant::now());
                }
                Some(when) if when.elapsed() > PATIENCE => {
                    worker.kill();
                    return Err(SandboxError::Cancelled);
                }
                _ => {}
            }
            match worker.wait(None::<&std::fs::File>)? {
                Event::Reply(Some(Reply::Unpacking { done, all })) => unpacking(done, all),
                Event::Reply(Some(Reply::Started)) => started = true,
                Event::Reply(Some(Reply::Ended(status))) => return Ok(status.code()),
                Event::Reply(Some(Reply::Failed(failure))) => return Err(failure.into()),
                Event::Reply(_) => return Err(worker.died()),
                Event::Tick => {}
            }
        }
    }
}

/// The host's files about names in the network, where it has them.
fn network_files() -> impl Iterator<Item = Bind> {
    NETWORK_FILES
        .into_iter()
        .filter(|file| Path::new(file).is_file())
        .map(|file| Bind {
            source: file.into(),
            target: file.to_owned(),
        })
}

/// The foreground of the terminal, given back when this is dropped.
struct Foreground {
    group: rustix::process::Pid,
}

impl Foreground {
    /// `None` unless this process has a terminal and is in its foreground.
    fn of_this_process() -> Option<Self> {
        let input = rustix::stdio::stdin();
        if !std::io::stdin().is_terminal() {
            return None;
        }
        let group = rustix::process::getpgrp();
        (tcgetpgrp(input).ok()? == group).then_some(Self { group })
    }
}

impl Drop for Foreground {
    fn drop(&mut self) {
        // Who is not in the foreground is stopped for this call unless the signal is blocked.
        sys::without_signal(libc::SIGTTOU, || {
            let _ = tcsetpgrp(rustix::stdio::stdin(), self.group);
        });
    }
}
