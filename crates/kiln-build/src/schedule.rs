//! Runs steps: largest first, as soon as their inputs are there, within a budget of memory.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, BinaryHeap, HashMap},
    sync::{
        Condvar, Mutex, MutexGuard, OnceLock, PoisonError, atomic::Ordering, mpsc::RecvTimeoutError,
    },
    time::{Duration, Instant},
};

use kiln_digest::Digest;
use kiln_fetch::{FetchError, Wanted};
use kiln_plan::{Kind, Plan, Step};
use kiln_sandbox::Sandbox;
use kiln_store::ActionResult;

use crate::{
    build::{Builder, Timings},
    error::BuildError,
    event::Event,
};

/// Bytes that the running steps together may hold in anonymous memory.
const MEMORY_BUDGET: u64 = 256 << 20;

/// What a step may hold: a layer writer's buffers at most, and never more than a few times its
/// input. (What programs in a sandbox hold is theirs.)
fn memory(step: &Step) -> u64 {
    let input: u64 = step.inputs.iter().map(|input| input.size).sum();
    input.saturating_mul(4).clamp(4 << 20, 96 << 20)
}

/// What is taken first. Scripts run one after another and mostly on one core, so whatever they
/// wait for comes first, then they themselves; compiling, which wants to be done in large
/// batches and by every core, comes last. Among equals the largest.
type Priority = (u8, u64, Reverse<usize>);

/// What does not change while a build runs.
pub(crate) struct Run<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) with: Builder<'a>,
    pub(crate) sandbox: OnceLock<Sandbox>,
}

/// What changes while a build runs.
struct State {
    /// The steps that can run.
    ready: BinaryHeap<Priority>,
    /// For each step, how many of its inputs and of the results it needs are not there yet.
    missing: Vec<usize>,
    /// Steps that have not ended.
    unfinished: usize,
    /// Bytes that running steps may hold.
    memory: u64,
    results: Vec<Option<ActionResult>>,
    failure: Option<BuildError>,
    packing: Option<(Instant, Instant)>,
}

pub(crate) struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    /// For each step, the steps that wait for its result.
    dependents: Vec<Vec<usize>>,
}

impl Shared {
    /// The result of a step, when it is there.
    pub(crate) fn result(&self, step: usize) -> Option<ActionResult> {
        self.lock().results[step].clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A worker that panicked has recorded nothing; what others recorded is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fail(&self, error: BuildError) {
        self.lock().failure.get_or_insert(error);
        self.changed.notify_all();
    }
}

/// Stops the other workers when one panics: they would wait for its step for ever.
struct Alarm<'a>(&'a Shared);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Nobody sees it: the panic goes on once all have stopped.
            self.0.fail(BuildError::Interrupted);
        }
    }
}

impl Run<'_> {
    /// Runs the steps `todo`, whose results are missing, and gives all results.
    pub(crate) fn steps(
        &self,
        results: Vec<Option<ActionResult>>,
        todo: &[usize],
        wanted: Vec<Wanted>,
        jobs: usize,
        timings: &mut Timings,
    ) -> Result<Vec<Option<ActionResult>>, BuildError> {
        let started = Instant::now();
        let mut waiting: HashMap<Digest, Vec<usize>> = wanted
            .iter()
            .map(|wanted| (wanted.sha256, Vec::new()))
            .collect();
        let mut missing = vec![0; self.plan.steps.len()];
        for &step in todo {
            let mut digests = self.plan.steps[step].action.inputs();
            digests.sort();
            digests.dedup();
            for digest in digests {
                if let Some(steps) = waiting.get_mut(&digest) {
                    steps.push(step);
                    missing[step] += 1;
                }
            }
        }
        let mut dependents = vec![Vec::new(); self.plan.steps.len()];
        for &step in todo {
            let needs: BTreeSet<_> = self.plan.steps[step].needs.iter().copied().collect();
            for needed in needs.into_iter().filter(|&step| results[step].is_none()) {
                dependents[needed].push(step);
                missing[step] += 1;
            }
        }
        let ready = todo.iter().filter(|&&step| missing[step] == 0);
        let ready = ready
            .map(|&step| self.priority(step, &dependents))
            .collect();
        let shared = Shared {
            dependents,
            state: Mutex::new(State {
                ready,
                missing,
                unfinished: todo.len(),
                memory: 0,
                results,
                failure: None,
                packing: None,
            }),
            changed: Condvar::new(),
        };
        std::thread::scope(|scope| {
            let workers = (0..jobs.min(todo.len())).map_while(|_| {
                let worker = std::thread::Builder::new();
                worker.spawn_scoped(scope, || self.work(&shared)).ok()
            });
            let workers = workers.count();
            self.download(&shared, wanted, &waiting);
            timings.download = if waiting.is_empty() {
                Duration::ZERO
            } else {
                started.elapsed()
            };
            // The system gave no thread: this one works, too.
            if workers == 0 {
                self.work(&shared);
            }
        });
        let state = shared
            .state
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        timings.pack = state
            .packing
            .map_or(Duration::ZERO, |(first, last)| last - first);
        match state.failure {
            Some(error) => Err(error),
            None if state.unfinished > 0 => Err(BuildError::Interrupted),
            None => Ok(state.results),
        }
    }

    fn priority(&self, step: usize, dependents: &[Vec<usize>]) -> Priority {
        let inputs = &self.plan.steps[step].inputs;
        let size = inputs.iter().map(|input| input.size).sum();
        let class = match &self.plan.steps[step].action.kind {
            Kind::Bytecode(_) => 0,
            _ if !dependents[step].is_empty() => 3,
            Kind::Configure(_) | Kind::Run(_) => 2,
            _ => 1,
        };
        (class, size, Reverse(step))
    }

    /// Downloads and makes steps ready, until all is there or something failed.
    fn download(
        &self,
        shared: &Shared,
        wanted: Vec<Wanted>,
        waiting: &HashMap<Digest, Vec<usize>>,
    ) {
        if wanted.is_empty() {
            return;
        }
        let (sender, events) = std::sync::mpsc::channel();
        let received =
            self.with
                .fetcher
                .download(wanted, &self.with.store.downloads_dir(), move |event| {
                    // Nobody listens any more once the build has failed.
                    let _ = sender.send(event);
                });
        std::thread::scope(|scope| {
            scope.spawn(move || {
                for event in events {
                    (self.with.events)(Event::Fetch(event));
                }
            });
            let mut left = waiting.len();
            while left > 0 {
                if self.with.cancelled.load(Ordering::Relaxed) || shared.lock().failure.is_some() {
                    break;
                }
                match received.next_within(Duration::from_millis(200)) {
                    Ok((digest, Ok(_))) => {
                        left -= 1;
                        self.arrived(shared, waiting.get(&digest).map_or(&[], Vec::as_slice));
                    }
                    Ok((_, Err(error))) => {
                        shared.fail(error.into());
                        break;
                    }
                    Err(RecvTimeoutError::Timeout) => {}
                    // Every file has a result; without one, what fetches them has died.
                    Err(RecvTimeoutError::Disconnected) => {
                        shared.fail(FetchError::Cancelled.into());
                        break;
                    }
                }
            }
            // Dropping the receiver ends what is still under way.
            drop(received);
        });
    }

    fn arrived(&self, shared: &Shared, steps: &[usize]) {
        let mut state = shared.lock();
        self.less_missing(&mut state, shared, steps);
        drop(state);
        shared.changed.notify_all();
    }

    /// One thing that each of `steps` waited for is there.
    fn less_missing(&self, state: &mut State, shared: &Shared, steps: &[usize]) {
        for &step in steps {
            state.missing[step] -= 1;
            if state.missing[step] == 0 {
                state.ready.push(self.priority(step, &shared.dependents));
            }
        }
    }

    /// A worker: runs ready steps until none is left.
    fn work(&self, shared: &Shared) {
        let _alarm = Alarm(shared);
        while let Some(batch) = self.next(shared) {
            let started = Instant::now();
            let title = match batch.as_slice() {
                [step] => self.plan.steps[*step].title.clone(),
                steps => format!("compile {} wheels", steps.len()),
            };
            (self.with.events)(Event::StepStarted {
                step: batch[0],
                title: title.clone(),
            });
            let result = self.run(shared, &batch);
            let mut state = shared.lock();
            state.memory -= self.memory(&batch);
            let first = state
                .packing
                .map_or(started, |(first, _)| first.min(started));
            state.packing = Some((first, Instant::now()));
            match result {
                Ok(results) => {
                    let size = results.iter().map(|result| result.blob().1).sum();
                    for (&step, result) in batch.iter().zip(results) {
                        state.results[step] = Some(result);
                        state.unfinished -= 1;
                        self.less_missing(&mut state, shared, &shared.dependents[step]);
                    }
                    drop(state);
                    (self.with.events)(Event::StepFinished {
                        step: batch[0],
                        steps: batch.len(),
                        title,
                        size,
                        took: started.elapsed(),
                    });
                }
                Err(error) => {
                    state.failure.get_or_insert(error);
                }
            }
            shared.changed.notify_all();
        }
    }

    fn memory(&self, batch: &[usize]) -> u64 {
        let each = batch.iter().map(|&step| memory(&self.plan.steps[step]));
        each.max().unwrap_or_default()
    }

    /// The runtime that a step compiles with, if it compiles.
    fn compiles_with(&self, step: usize) -> Option<Digest> {
        match &self.plan.steps[step].action.kind {
            Kind::Bytecode(bytecode) => Some(bytecode.runtime),
            _ => None,
        }
    }

    /// The next step to run, with others that are cheaper to run together; none when all have
    /// ended, one failed, or the user interrupts.
    fn next(&self, shared: &Shared) -> Option<Vec<usize>> {
        let mut state = shared.lock();
        loop {
            let interrupted = self.with.cancelled.load(Ordering::Relaxed);
            if interrupted || state.failure.is_some() || state.unfinished == 0 {
                return None;
            }
            if let Some(&(_, _, Reverse(step))) = state.ready.peek() {
                let needed = memory(&self.plan.steps[step]);
                if state.memory == 0 || state.memory + needed <= MEMORY_BUDGET {
                    state.ready.pop();
                    let mut batch = vec![step];
                    if let Some(runtime) = self.compiles_with(step) {
                        let (same, others) = std::mem::take(&mut state.ready)
                            .into_iter()
                            .partition(|&(_, _, Reverse(other))| {
                                self.compiles_with(other) == Some(runtime)
                            });
                        state.ready = others;
                        let same: BinaryHeap<Priority> = same;
                        batch.extend(same.into_iter().map(|(_, _, Reverse(step))| step));
                        batch.sort_unstable();
                    }
                    state.memory += self.memory(&batch);
                    return Some(batch);
                }
            }
            // Woken by whatever changes; the timeout is for the interrupt, which only sets a flag.
            let waited = shared
                .changed
                .wait_timeout(state, Duration::from_millis(200));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_panics_stops_the_others() {
        let shared = Shared {
            state: Mutex::new(State {
                ready: BinaryHeap::new(),
                missing: Vec::new(),
                unfinished: 1,
                memory: 0,
                results: Vec::new(),
                failure: None,
                packing: None,
            }),
            changed: Condvar::new(),
            dependents: Vec::new(),
        };
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _alarm = Alarm(&shared);
            let _state = shared.lock();
            std::panic::resume_unwind(Box::new("a worker's"));
        }));
        assert!(panicked.is_err());
        assert!(shared.lock().failure.is_some());
    }
}
