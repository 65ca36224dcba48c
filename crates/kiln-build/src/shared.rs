//! What the workers of a build share, and what changes while they run.

use std::{
    collections::HashMap,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use kiln_digest::Digest;
use kiln_store::ActionResult;

use crate::{error::BuildError, goals::Goals, ready::Ready};

/// What changes while a build runs.
pub(crate) struct State {
    pub(crate) ready: Ready,
    /// For each step, how many of its inputs and of the results it needs are not there yet.
    pub(crate) missing: Vec<usize>,
    /// Steps that are wanted and have no result yet.
    pub(crate) unfinished: usize,
    pub(crate) results: Vec<Option<ActionResult>>,
    /// The diff IDs of layers that were unpacked before they were packed, by step.
    pub(crate) unpacked: HashMap<usize, Digest>,
    /// What is still to be reached.
    pub(crate) goals: Goals,
    /// What ends everything.
    pub(crate) failure: Option<BuildError>,
    pub(crate) packing: Option<(Instant, Instant)>,
}

pub(crate) struct Shared {
    pub(crate) state: Mutex<State>,
    pub(crate) changed: Condvar,
    /// For each step, the steps that wait for its result.
    pub(crate) dependents: Vec<Vec<usize>>,
}

impl Shared {
    /// The result of a step, when it is there. Waits for a layer that is unpacked and still being packed.
    pub(crate) fn result(&self, step: usize) -> Option<ActionResult> {
        let mut state = self.lock();
        loop {
            let comes = state.unpacked.contains_key(&step) && state.failure.is_none();
            if state.results[step].is_some() || !comes {
                return state.results[step].clone();
            }
            let waited = self.changed.wait(state);
            state = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The diff ID of a layer that is unpacked and still being packed.
    pub(crate) fn unpacked(&self, step: usize) -> Option<Digest> {
        let state = self.lock();
        let unpacked = state.unpacked.get(&step).copied();
        unpacked.filter(|_| state.results[step].is_none())
    }

    /// The steps that wait for the result of this one.
    pub(crate) fn dependents(&self, step: usize) -> &[usize] {
        &self.dependents[step]
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        // A worker that panicked has recorded nothing; what others recorded is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends everything.
    pub(crate) fn end(&self, error: BuildError) {
        self.lock().failure.get_or_insert(error);
        self.changed.notify_all();
    }

    /// Whether something has ended everything.
    pub(crate) fn has_ended(&self) -> bool {
        self.lock().failure.is_some()
    }

    /// Whether any of these steps is still of use.
    pub(crate) fn want_any(&self, steps: &[usize]) -> bool {
        let state = self.lock();
        steps.iter().any(|&step| state.goals.want(step))
    }
}

/// Stops the other workers when one panics: they would wait for its step for ever.
pub(crate) struct Alarm<'a>(pub(crate) &'a Shared);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Nobody sees it: the panic goes on once all have stopped.
            self.0.end(BuildError::Interrupted);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared(results: Vec<Option<ActionResult>>) -> Shared {
        Shared {
            state: Mutex::new(State {
                ready: Ready::default(),
                missing: Vec::new(),
                unfinished: 1,
                results,
                unpacked: HashMap::new(),
                goals: Goals::new(Vec::new(), 0),
                failure: None,
                packing: None,
            }),
            changed: Condvar::new(),
            dependents: Vec::new(),
        }
    }

    fn blob(content: &str) -> ActionResult {
        ActionResult::Blob {
            digest: Digest::of(content.as_bytes()),
            size: content.len() as u64,
        }
    }

    #[test]
    fn who_asks_for_what_is_unpacked_waits_until_it_is_packed() {
        let shared = shared(vec![None, None]);
        let diff_id = Digest::of(b"tar");
        shared.lock().unpacked.insert(0, diff_id);
        assert_eq!(shared.result(1), None, "nobody packs it");
        assert_eq!(shared.unpacked(0), Some(diff_id));
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| shared.result(0));
            shared.lock().results[0] = Some(blob("packed"));
            shared.changed.notify_all();
            assert_eq!(waiting.join().unwrap(), Some(blob("packed")));
        });
        assert_eq!(shared.unpacked(0), None, "there is a blob");
    }

    #[test]
    fn who_waits_for_what_cannot_be_packed_goes_away() {
        let shared = shared(vec![None]);
        shared.lock().unpacked.insert(0, Digest::of(b"tar"));
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| shared.result(0));
            shared.lock().unpacked.clear();
            shared.changed.notify_all();
            assert_eq!(waiting.join().unwrap(), None);
        });
        shared.lock().unpacked.insert(0, Digest::of(b"tar"));
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| shared.result(0));
            shared.end(BuildError::Interrupted);
            assert_eq!(waiting.join().unwrap(), None);
        });
    }

    #[test]
    fn a_worker_that_panics_stops_the_others() {
        let shared = shared(Vec::new());
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _alarm = Alarm(&shared);
            let _state = shared.lock();
            std::panic::resume_unwind(Box::new("a worker's"));
        }));
        assert!(panicked.is_err());
        assert!(shared.lock().failure.is_some());
    }
}
