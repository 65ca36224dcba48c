//! Who does what when a layer is written.
//!
//! Every thread is alike and takes the most urgent work there is:
//!
//! 1. hash the next part of the tar stream, unless another thread is at it;
//! 2. hash and write the next part of the blob, unless another thread is at it;
//! 3. pack the next piece, while the memory for it lasts.
//!
//! So finished parts leave memory first, both hashes overlap with inflating and compressing,
//! and one thread alone works just as well. The order of parts is that of the pieces, whoever
//! packed them.

use std::collections::VecDeque;
use std::io::Write;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::batch::{CHUNK, Cut, Cutter, Piece};
use crate::buffer::Buffer;
use crate::estargz::{Chunks, Ending, footer};
use crate::pack::{Packed, Packer, Part};
use crate::tally::Tally;
use crate::{Compression, Entry, LayerError, LayerOptions, LayerSummary};

/// How many bytes packed parts may hold at once. A piece is always admitted when there is no
/// other, and the greatest (a payload of 32 MiB and its compressed bytes) is not much more.
const BUDGET: usize = 48 << 20;

/// Buffers are kept for later pieces up to this size and number.
const SPARE_SIZE: usize = 2 * CHUNK;
const SPARE_COUNT: usize = 4;

/// Packs `entries`, which are valid, and writes the blob to `out`.
pub(crate) fn run<W: Write + Send>(
    entries: &[Entry],
    options: LayerOptions,
    out: W,
) -> Result<LayerSummary, LayerError> {
    let shared = Shared {
        state: Mutex::new(State::new(entries, options.compression, out)),
        changed: Condvar::new(),
    };
    let work = || shared.work(Packer::new(options.compression, entries));
    let helpers = if is_small(entries, options.compression) {
        0
    } else {
        options.thread_count() - 1
    };
    thread::scope(|scope| {
        for _ in 0..helpers {
            // Without help it takes longer, and gives the same.
            if thread::Builder::new().spawn_scoped(scope, work).is_err() {
                break;
            }
        }
        work();
    });
    let state = shared
        .state
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    state.finish(entries, options.compression)
}

/// Whether the layer is one piece, for which no thread need be started.
fn is_small(entries: &[Entry], compression: Compression) -> bool {
    matches!(Cutter::new(entries, compression).cut(), Cut::Piece(Piece::Batch(batch)) if batch.last)
}

struct Shared<'a, W> {
    state: Mutex<State<'a, W>>,
    changed: Condvar,
}

struct State<'a, W> {
    cutter: Cutter<'a>,
    /// A piece that waits for memory.
    postponed: Option<Piece<'a>>,
    /// The number of the next piece.
    next: usize,
    /// How many bytes are held, or about to be held, by packed parts.
    held: usize,
    spare: Vec<Buffer>,
    tar: Stage<'a, Tally>,
    blob: Stage<'a, Sink<W>>,
    /// For a table of contents.
    chunks: Chunks,
    /// The error of the first piece that failed: the same whatever the threads did.
    error: Option<(usize, LayerError)>,
    panicked: bool,
}

/// Parts on their way to a consumer that takes them one by one, in order.
struct Stage<'a, C> {
    /// The parts that begin with number `first`; `None` is not packed yet.
    parts: VecDeque<Option<Part<'a>>>,
    first: usize,
    /// `None` while a thread uses it.
    consumer: Option<C>,
}

impl<'a, C> Stage<'a, C> {
    fn new(consumer: C) -> Self {
        Self {
            parts: VecDeque::new(),
            first: 0,
            consumer: Some(consumer),
        }
    }

    fn put(&mut self, number: usize, part: Part<'a>) {
        let index = number - self.first;
        if self.parts.len() <= index {
            self.parts.resize_with(index + 1, || None);
        }
        self.parts[index] = Some(part);
    }

    fn take(&mut self) -> Option<(Part<'a>, C)> {
        let part = self.parts.front_mut()?;
        if part.is_none() {
            return None;
        }
        let consumer = self.consumer.take()?;
        let part = part.take()?;
        self.parts.pop_front();
        self.first += 1;
        Some((part, consumer))
    }
}

struct Sink<W> {
    tally: Tally,
    out: W,
}

enum Task<'a, W> {
    Tar(Part<'a>, Tally),
    Blob(Part<'a>, Sink<W>),
    Pack {
        number: usize,
        piece: Piece<'a>,
        reserved: usize,
    },
    Wait,
    Stop,
}

impl<'a, W: Write> State<'a, W> {
    fn new(entries: &'a [Entry], compression: Compression, out: W) -> Self {
        Self {
            cutter: Cutter::new(entries, compression),
            postponed: None,
            next: 0,
            held: 0,
            spare: Vec::new(),
            tar: Stage::new(Tally::default()),
            blob: Stage::new(Sink {
                tally: Tally::default(),
                out,
            }),
            chunks: Chunks::default(),
            error: None,
            panicked: false,
        }
    }

    fn next_task(&mut self) -> Task<'a, W> {
        if self.error.is_some() || self.panicked {
            return Task::Stop;
        }
        if let Some((part, tally)) = self.tar.take() {
            return Task::Tar(part, tally);
        }
        if let Some((part, sink)) = self.blob.take() {
            return Task::Blob(part, sink);
        }
        match self
            .postponed
            .take()
            .map_or_else(|| self.cutter.cut(), Cut::Piece)
        {
            Cut::Piece(piece) if self.held > 0 && self.held + piece.weight() > BUDGET => {
                self.postponed = Some(piece);
                Task::Wait
            }
            Cut::Piece(piece) => {
                let number = self.next;
                self.next += 1;
                let reserved = piece.weight();
                self.held += reserved;
                Task::Pack {
                    number,
                    piece,
                    reserved,
                }
            }
            Cut::End if self.tar.first == self.next && self.blob.first == self.next => Task::Stop,
            Cut::Blocked | Cut::End => Task::Wait,
        }
    }

    fn deliver(&mut self, number: usize, packed: Packed<'a>) {
        self.held += packed.tar.held() + packed.blob.held();
        self.chunks.put(number, packed.blob.len(), packed.chunks);
        self.tar.put(number, packed.tar);
        self.blob.put(number, packed.blob);
        if let Some(inflater) = packed.inflater {
            self.cutter.give_back(inflater);
        }
    }

    fn release(&mut self, part: Part<'a>) {
        self.held -= part.held();
        if let Part::Owned(mut buffer) = part
            && buffer.capacity() <= SPARE_SIZE
            && self.spare.len() < SPARE_COUNT
        {
            buffer.truncate(0);
            self.spare.push(buffer);
        }
    }

    fn fail(&mut self, number: usize, error: LayerError) {
        if self.error.as_ref().is_none_or(|(first, _)| number < *first) {
            self.error = Some((number, error));
        }
    }

    fn finish(
        self,
        entries: &[Entry],
        compression: Compression,
    ) -> Result<LayerSummary, LayerError> {
        if let Some((_, error)) = self.error {
            return Err(error);
        }
        // Both are home once all threads have stopped without an error.
        let (Some(mut tally), Some(mut sink)) = (self.tar.consumer, self.blob.consumer) else {
            return Err(LayerError::Compressor);
        };
        let mut written = entries.len() as u64;
        let mut toc = None;
        if compression == Compression::Estargz {
            let ending = Ending::new(entries, self.chunks)?;
            let mut blob = Buffer::default();
            Packer::new(compression, entries).deflate_member(&ending.tar, &mut blob)?;
            blob.extend(&footer(sink.tally.bytes));
            tally.add(&ending.tar);
            sink.out.write_all(&blob)?;
            sink.tally.add(&blob);
            toc = Some(ending.toc);
            written += 1;
        }
        sink.out.flush()?;
        let (diff_id, unpacked_size) = tally.finish();
        let (digest, size) = sink.tally.finish();
        Ok(LayerSummary {
            digest,
            size,
            diff_id,
            unpacked_size,
            entries: written,
            toc,
        })
    }
}

impl<'a, W: Write> Shared<'a, W> {
    fn lock(&self) -> MutexGuard<'_, State<'a, W>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self, mut tools: Packer<'a>) {
        let _alarm = Alarm(self);
        let mut state = self.lock();
        loop {
            match state.next_task() {
                Task::Tar(part, mut tally) => {
                    drop(state);
                    tally.add(&part);
                    state = self.lock();
                    state.tar.consumer = Some(tally);
                    state.release(part);
                }
                Task::Blob(part, mut sink) => {
                    drop(state);
                    let written = sink.out.write_all(&part);
                    sink.tally.add(&part);
                    state = self.lock();
                    if let Err(error) = written {
                        let number = state.blob.first - 1;
                        state.fail(number, error.into());
                    }
                    state.blob.consumer = Some(sink);
                    state.release(part);
                }
                Task::Pack {
                    number,
                    piece,
                    reserved,
                } => {
                    drop(state);
                    let spare = || self.lock().spare.pop().unwrap_or_default();
                    let packed = tools.pack(piece, spare);
                    state = self.lock();
                    state.held -= reserved;
                    match packed {
                        Ok(parts) => state.deliver(number, parts),
                        Err(error) => state.fail(number, error),
                    }
                }
                Task::Wait => {
                    state = self
                        .changed
                        .wait(state)
                        .unwrap_or_else(PoisonError::into_inner);
                    continue;
                }
                Task::Stop => return,
            }
            self.changed.notify_all();
        }
    }
}

/// Stops the other threads when one panics: they would wait for its part for ever.
struct Alarm<'s, 'a, W: Write>(&'s Shared<'a, W>);

impl<W: Write> Drop for Alarm<'_, '_, W> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.lock().panicked = true;
            self.0.changed.notify_all();
        }
    }
}
