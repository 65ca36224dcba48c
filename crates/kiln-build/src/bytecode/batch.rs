//! The sources of a batch of wheels on their way to the compiler, and their modules on the way back.
//!
//! Sources are inflated when their turn comes, and modules are compressed when they are there, so memory
//! holds what is being compiled and the compressed modules of the wheels that have begun: sources go wheel
//! by wheel, the largest wheel first and in it the largest source, so that none is left for the end.
//!
//! What Python's compiler needs is some twenty times the source. So *large* sources, of which there
//! are few, go to the first worker alone.

use std::{
    collections::VecDeque,
    io,
    os::unix::net::UnixStream,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use bytes::Bytes;
use kiln_layer::{EntryKind, Payload};
use kiln_package::{
    bytecode as modules, wheel,
    zip::{Member, PackedMember, Packer, ZipError},
};
use kiln_plan::{Bytecode, Placement};

use super::{BytecodeError, Take, compiler};
use crate::execute::{Context, ExecuteError, read, wheel_placement};

/// The most bytes of a source; longer ones, of which none are known, are not compiled.
const MAX_SOURCE: u64 = 64 << 20;
/// Sources of more bytes are large.
pub(super) const LARGE: u64 = 512 << 10;

/// A source to compile.
struct Source {
    /// Its wheel's place in the batch.
    wheel: usize,
    /// Where its module file goes below the environment's directory.
    module: String,
    /// Where it is in the image.
    path: String,
    payload: Payload,
}

impl Source {
    fn content(&self) -> Result<Bytes, ZipError> {
        let member = Member {
            name: self.path.clone(),
            unix_mode: 0,
            payload: self.payload.clone(),
        };
        member.read(MAX_SOURCE)
    }
}

/// The modules of a wheel, as far as they are there.
#[derive(Default)]
struct Modules {
    /// How many sources have no answer yet.
    left: usize,
    packed: Vec<PackedMember>,
}

/// The sources whose turn is still to come.
#[derive(Default)]
struct Queue {
    large: VecDeque<Source>,
    others: VecDeque<Source>,
}

/// A batch of wheels while it is compiled.
pub(super) struct Batch<'a> {
    wheels: &'a [&'a Bytecode],
    queue: Mutex<Queue>,
    modules: Vec<Mutex<Modules>>,
    take: &'a Take<'a>,
    /// Set when what the others do is of no use any more.
    stopped: AtomicBool,
}

impl<'a> Batch<'a> {
    /// Finds the sources of `wheels`.
    pub(super) fn new(
        wheels: &'a [&'a Bytecode],
        context: &Context<'_>,
        take: &'a Take<'a>,
    ) -> Result<Self, ExecuteError> {
        let mut of_wheels = Vec::with_capacity(wheels.len());
        for (index, action) in wheels.iter().enumerate() {
            of_wheels.push(sources(index, action, context)?);
        }
        let left = |sources: &Vec<Source>| {
            Mutex::new(Modules {
                left: sources.len(),
                packed: Vec::new(),
            })
        };
        let modules = of_wheels.iter().map(left).collect();
        let size = |source: &Source| source.payload.size();
        for sources in &mut of_wheels {
            // The sort is stable: equal sources keep their order.
            sources.sort_by_key(|source| std::cmp::Reverse(size(source)));
        }
        of_wheels.sort_by_key(|sources| std::cmp::Reverse(sources.iter().map(size).sum::<u64>()));
        let mut queue = Queue::default();
        for source in of_wheels.into_iter().flatten() {
            if size(&source) > LARGE {
                queue.large.push_back(source);
            } else {
                queue.others.push_back(source);
            }
        }
        Ok(Self {
            wheels,
            queue: Mutex::new(queue),
            modules,
            take,
            stopped: AtomicBool::new(false),
        })
    }

    /// How many sources there are.
    pub(super) fn len(&self) -> usize {
        let queue = lock(&self.queue);
        queue.large.len() + queue.others.len()
    }

    /// Gives the archives of the wheels without sources.
    pub(super) fn finish_empty(&self) -> Result<(), BytecodeError> {
        for (wheel, modules) in self.modules.iter().enumerate() {
            if lock(modules).left == 0 {
                self.give(wheel, Vec::new())?;
            }
        }
        Ok(())
    }

    /// Has all sources compiled by the workers that are at the other end of `channels`, while `run`
    /// runs them.
    pub(super) fn compile(
        &self,
        channels: Vec<UnixStream>,
        run: impl FnOnce() -> Result<(), ExecuteError>,
    ) -> Result<(), ExecuteError> {
        thread::scope(|scope| {
            let mut conversations = Vec::new();
            for (number, channel) in channels.into_iter().enumerate() {
                let attend = move || {
                    let ended = self.attend(&channel, number == 0);
                    if ended.is_err() {
                        self.stopped.store(true, Ordering::Relaxed);
                    }
                    ended
                };
                let begun = thread::Builder::new().spawn_scoped(scope, attend);
                match begun {
                    Ok(conversation) => conversations.push(conversation),
                    Err(error) => {
                        // Those that have begun wait for workers, which now never come.
                        drop(run);
                        return Err(BytecodeError::Channel(error).into());
                    }
                }
            }
            let ran = run();
            let mut silent = None;
            for conversation in conversations {
                match conversation.join() {
                    Ok(Ok(())) => {}
                    // Most likely because of what ended the workers.
                    Ok(Err(error @ BytecodeError::Channel(_))) => silent = Some(error),
                    Ok(Err(error)) => return Err(error.into()),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            ran?;
            silent.map_or(Ok(()), |error| Err(error.into()))
        })
    }

    /// Talks with one worker until nothing is left. While the worker compiles a source, the module
    /// before it is made canonical and compressed, and the source after it is inflated.
    fn attend(&self, channel: &UnixStream, takes_large: bool) -> Result<(), BytecodeError> {
        let mut packer = Packer::default();
        let mut asked: Option<Source> = None;
        loop {
            let next = self.next(takes_large);
            let content = next.as_ref().map(|source| {
                source.content().map_err(|error| BytecodeError::Source {
                    file: self.wheels[source.wheel].wheel.file.clone(),
                    source: error,
                })
            });
            let content = content.transpose()?;
            let answered = asked.take().map(|source| {
                let module = compiler::answer(channel).map_err(BytecodeError::Channel)?;
                Ok::<_, BytecodeError>((source, module))
            });
            let answered = answered.transpose()?;
            if let (Some(source), Some(content)) = (&next, content) {
                compiler::ask(channel, &source.path, &content).map_err(BytecodeError::Channel)?;
            }
            if let Some((source, module)) = answered {
                self.answered(&source, module, &mut packer)?;
            }
            if next.is_none() {
                return Ok(());
            }
            asked = next;
        }
    }

    fn next(&self, takes_large: bool) -> Option<Source> {
        if self.stopped.load(Ordering::Relaxed) {
            return None;
        }
        let mut queue = lock(&self.queue);
        let large = if takes_large {
            queue.large.pop_front()
        } else {
            None
        };
        large.or_else(|| queue.others.pop_front())
    }

    /// A source has been compiled, or has turned out not to compile.
    fn answered(
        &self,
        source: &Source,
        module: Option<Vec<u8>>,
        packer: &mut Packer,
    ) -> Result<(), BytecodeError> {
        let member = match module {
            None => None,
            Some(module) => {
                let python = version(&self.wheels[source.wheel].placement);
                let content =
                    modules::canonical(&module, python).map_err(|error| BytecodeError::Module {
                        path: source.path.clone(),
                        source: error,
                    })?;
                Some(packer.pack(&modules::member(&source.module, &content))?)
            }
        };
        let mut of_wheel = lock(&self.modules[source.wheel]);
        of_wheel.packed.extend(member);
        of_wheel.left -= 1;
        if of_wheel.left > 0 {
            return Ok(());
        }
        let all = std::mem::take(&mut of_wheel.packed);
        drop(of_wheel);
        self.give(source.wheel, all)
    }

    /// Gives the archive of a wheel to whom it is for.
    fn give(&self, wheel: usize, modules: Vec<PackedMember>) -> Result<(), BytecodeError> {
        if !(self.take)(wheel, modules::archive(modules)?) {
            self.stopped.store(true, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// The sources of the wheel that is at `index` in its batch.
fn sources(
    index: usize,
    action: &Bytecode,
    context: &Context<'_>,
) -> Result<Vec<Source>, ExecuteError> {
    let placement = wheel_placement(&action.placement)?;
    let archive = read(&action.wheel, context.open)?;
    let file = &action.wheel.file;
    let entries =
        wheel::entries(&archive, file, &placement).map_err(|source| ExecuteError::Wheel {
            file: file.clone(),
            source,
        })?;
    let prefix = format!("{}/", action.placement.prefix);
    let python = version(&action.placement);
    let source = |entry: kiln_layer::Entry| {
        let EntryKind::File(payload) = entry.kind else {
            return None;
        };
        let path = format!("/{}", entry.path);
        let module = modules::module_path(path.strip_prefix(&prefix)?, python)?;
        (payload.size() <= MAX_SOURCE).then_some(Source {
            wheel: index,
            module,
            path,
            payload,
        })
    };
    Ok(entries.into_iter().filter_map(source).collect())
}

fn version(placement: &Placement) -> (u8, u8) {
    (placement.python.major, placement.python.minor)
}

/// A thread that panicked while it held a lock ends the build; what is behind the lock is whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Pairs of connected sockets: ours, and those of as many workers.
pub(super) fn channels(workers: usize) -> io::Result<(Vec<UnixStream>, Vec<UnixStream>)> {
    let pairs: io::Result<Vec<_>> = (0..workers).map(|_| UnixStream::pair()).collect();
    Ok(pairs?.into_iter().unzip())
}
