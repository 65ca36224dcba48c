//! Runs steps as soon as their inputs are there, see [`crate::ready`] for the order. A step that fails
//! ends what needs it and nothing else, unless the failure concerns all.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Condvar, Mutex, OnceLock, PoisonError, atomic::Ordering},
    time::{Duration, Instant},
};

use kiln_digest::Digest;
use kiln_fetch::Wanted;
use kiln_plan::Plan;
use kiln_sandbox::Sandbox;
use kiln_store::ActionResult;

use crate::{
    build::{Builder, Timings},
    early::needs_trees_only,
    error::BuildError,
    event::Event,
    goals::{Goal, Goals, Setback},
    ready::{Awaited, Batch, Candidate, Ready, is_script},
    shared::{Alarm, Shared, State},
    transfer::Transfer,
};

/// What does not change while a build runs.
pub(crate) struct Run<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) goals: &'a [Goal],
    pub(crate) with: Builder<'a>,
    pub(crate) sandbox: OnceLock<Sandbox>,
}

/// What running steps gave.
pub(crate) struct Outcome {
    /// The result of each step of the plan, as far as it is known now.
    pub(crate) results: Vec<Option<ActionResult>>,
    /// What went wrong on the way.
    pub(crate) setbacks: Vec<Setback>,
    /// What ended everything.
    pub(crate) ended: Option<BuildError>,
}

/// A batch, for people.
fn compiling(wheels: usize) -> String {
    let s = if wheels == 1 { "" } else { "s" };
    format!("compile {wheels} wheel{s}")
}

impl Run<'_> {
    /// Runs the steps that are missing for each goal (`todo`).
    pub(crate) fn steps(
        &self,
        results: Vec<Option<ActionResult>>,
        todo: Vec<Vec<usize>>,
        wanted: Vec<Wanted>,
        timings: &mut Timings,
    ) -> Outcome {
        let started = Instant::now();
        let steps: BTreeSet<usize> = todo.iter().flatten().copied().collect();
        let mut waiting: HashMap<Digest, Vec<usize>> = wanted
            .iter()
            .map(|wanted| (wanted.sha256, Vec::new()))
            .collect();
        let mut missing = vec![0; self.plan.steps.len()];
        for &step in &steps {
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
        for &step in &steps {
            let needs: BTreeSet<_> = self.plan.steps[step].needs.iter().copied().collect();
            for needed in needs.into_iter().filter(|&step| results[step].is_none()) {
                dependents[needed].push(step);
                missing[step] += 1;
            }
        }
        let mut ready = Ready::default();
        for &step in steps.iter().filter(|&&step| missing[step] == 0) {
            ready.push(self.candidate(step, &dependents));
        }
        let shared = Shared {
            dependents,
            state: Mutex::new(State {
                ready,
                missing,
                unfinished: steps.len(),
                results,
                unpacked: HashMap::new(),
                goals: Goals::new(todo, self.plan.steps.len()),
                failure: None,
                packing: None,
            }),
            changed: Condvar::new(),
        };
        let jobs = self.with.options.jobs.max(1).min(steps.len());
        std::thread::scope(|scope| {
            let workers = (0..jobs).map_while(|_| {
                let worker = std::thread::Builder::new();
                worker.spawn_scoped(scope, || self.work(&shared)).ok()
            });
            let workers = workers.count();
            if !wanted.is_empty() {
                self.transfer(&shared, &Transfer { wanted, waiting });
                timings.download = started.elapsed();
            }
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
        let interrupted = (state.unfinished > 0).then_some(BuildError::Interrupted);
        Outcome {
            results: state.results,
            setbacks: state.goals.into_setbacks(),
            ended: state.failure.or(interrupted),
        }
    }

    fn candidate(&self, step: usize, dependents: &[Vec<usize>]) -> Candidate {
        let mut waiting = dependents[step].iter().map(|&it| &self.plan.steps[it]);
        let awaited = if dependents[step].is_empty() {
            Awaited::No
        } else if waiting.any(is_script) {
            Awaited::ByScripts
        } else {
            Awaited::BySteps
        };
        Candidate::new(step, &self.plan.steps[step], awaited)
    }

    /// A file that these steps read is there.
    pub(crate) fn arrived(&self, shared: &Shared, steps: &[usize]) {
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
                state.ready.push(self.candidate(step, &shared.dependents));
            }
        }
    }

    /// These steps cannot be had. What needs them is given up; what concerns all ends all.
    pub(crate) fn failed(&self, shared: &Shared, steps: &[usize], error: BuildError) {
        if error.concerns_all() {
            return shared.end(error);
        }
        let why = error.to_string();
        let mut state = shared.lock();
        state.unpacked.retain(|step, _| !steps.contains(step));
        let given_up = state.goals.give_up(steps, error);
        let left = state.goals.left();
        if let Some(given_up) = &given_up {
            let lost = given_up.unwanted.iter();
            let lost = lost.filter(|&&step| state.results[step].is_none()).count();
            state.unfinished -= lost;
        }
        drop(state);
        shared.changed.notify_all();
        if let Some(given_up) = given_up {
            let goals = given_up.goals.iter();
            (self.with.events)(Event::GivenUp {
                images: goals.map(|&goal| self.goals[goal].name.clone()).collect(),
                why,
                left,
            });
        }
    }

    /// A worker: runs ready steps until none is left.
    fn work(&self, shared: &Shared) {
        let _alarm = Alarm(shared);
        while let Some(batch) = self.next(shared) {
            let started = Instant::now();
            self.carry_out(shared, &batch.steps);
            let mut state = shared.lock();
            state.ready.ended(&batch);
            let first = state
                .packing
                .map_or(started, |(first, _)| first.min(started));
            state.packing = Some((first, Instant::now()));
            drop(state);
            shared.changed.notify_all();
        }
    }

    /// Runs a batch. When it fails, its steps are run one by one: not all of them may be at fault.
    fn carry_out(&self, shared: &Shared, batch: &[usize]) {
        let started = Instant::now();
        let title = match batch {
            [step] => self.plan.steps[*step].title.clone(),
            steps => compiling(steps.len()),
        };
        (self.with.events)(Event::StepStarted {
            step: batch[0],
            title: title.clone(),
        });
        match self.run(shared, batch) {
            Ok(results) => {
                let size = results.iter().map(|result| result.blob().1).sum();
                let mut state = shared.lock();
                for (&step, result) in batch.iter().zip(results) {
                    self.settle(&mut state, shared, step, result);
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
                (self.with.events)(Event::StepFailed { step: batch[0] });
                if batch.len() == 1 || error.concerns_all() {
                    return self.failed(shared, batch, error);
                }
                match self.recorded(shared, batch, started) {
                    Ok(left) => {
                        for step in left {
                            if shared.want_any(&[step]) && !shared.has_ended() {
                                self.carry_out(shared, &[step]);
                            }
                        }
                    }
                    Err(error) => shared.end(error),
                }
            }
        }
    }

    /// Takes the results that a batch has recorded before it failed. The steps that have none.
    fn recorded(
        &self,
        shared: &Shared,
        batch: &[usize],
        started: Instant,
    ) -> Result<Vec<usize>, BuildError> {
        let key = |step: usize| self.plan.steps[step].key;
        let keys: Vec<_> = batch.iter().map(|&step| key(step)).collect();
        let known = self.with.store.results(&keys)?;
        let (there, left): (Vec<usize>, Vec<usize>) = batch
            .iter()
            .partition(|&&step| known.contains_key(&key(step)));
        let mut state = shared.lock();
        for &step in &there {
            if let Some(result) = known.get(&key(step)) {
                self.settle(&mut state, shared, step, result.clone());
            }
        }
        drop(state);
        shared.changed.notify_all();
        if let Some(&step) = there.first() {
            (self.with.events)(Event::StepFinished {
                step,
                steps: there.len(),
                title: compiling(there.len()),
                size: known.values().map(|result| result.blob().1).sum(),
                took: started.elapsed(),
            });
        }
        Ok(left)
    }

    /// The result of a step is there.
    fn settle(&self, state: &mut State, shared: &Shared, step: usize, result: ActionResult) {
        state.results[step] = Some(result);
        if state.goals.want(step) {
            state.unfinished -= 1;
        }
        let is_unpacked = state.unpacked.contains_key(&step);
        let waiting = shared.dependents[step].iter().copied();
        let waiting: Vec<_> = waiting
            .filter(|&it| !(is_unpacked && needs_trees_only(&self.plan.steps[it])))
            .collect();
        self.less_missing(state, shared, &waiting);
    }

    /// The layer of a step is unpacked, and still being packed.
    pub(crate) fn unpacked(&self, shared: &Shared, step: usize, diff_id: Digest) {
        let mut state = shared.lock();
        if state.unpacked.insert(step, diff_id).is_some() {
            // A second attempt, for an input that had rotted.
            return;
        }
        let waiting = shared.dependents[step].iter().copied();
        let waiting: Vec<_> = waiting
            .filter(|&it| needs_trees_only(&self.plan.steps[it]))
            .collect();
        self.less_missing(&mut state, shared, &waiting);
        drop(state);
        shared.changed.notify_all();
    }

    /// The next step to run, with others that are cheaper to run together; none when all that are
    /// wanted have ended, something ends everything, or the user interrupts.
    fn next(&self, shared: &Shared) -> Option<Batch> {
        let mut state = shared.lock();
        loop {
            let interrupted = self.with.cancelled.load(Ordering::Relaxed);
            if interrupted || state.failure.is_some() || state.unfinished == 0 {
                return None;
            }
            let State { ready, goals, .. } = &mut *state;
            if let Some(batch) = ready.take(|step| goals.want(step)) {
                return Some(batch);
            }
            // Woken by whatever changes; the timeout is for the interrupt, which only sets a flag.
            let waited = shared
                .changed
                .wait_timeout(state, Duration::from_millis(200));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
