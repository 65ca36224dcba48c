//! Downloads beside the running steps: what has arrived makes steps ready.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{atomic::Ordering, mpsc::RecvTimeoutError},
    time::Duration,
};

use kiln_digest::Digest;
use kiln_fetch::{FetchError, Wanted};

use crate::{event::Event, schedule::Run, shared::Shared};

/// The files to fetch, and who waits for them.
pub(crate) struct Transfer {
    /// What is to be fetched.
    pub(crate) wanted: Vec<Wanted>,
    /// For each file, the steps that read it.
    pub(crate) waiting: HashMap<Digest, Vec<usize>>,
}

impl Transfer {
    fn steps(&self, digest: &Digest) -> &[usize] {
        self.waiting.get(digest).map_or(&[], Vec::as_slice)
    }
}

impl Run<'_> {
    /// Downloads and makes steps ready, until all that is still wanted is there or all has failed.
    pub(crate) fn transfer(&self, shared: &Shared, transfer: &Transfer) {
        let mut settled = BTreeSet::new();
        loop {
            let open = transfer.wanted.iter().filter(|wanted| {
                !settled.contains(&wanted.sha256) && shared.want_any(transfer.steps(&wanted.sha256))
            });
            let open: Vec<_> = open.cloned().collect();
            if open.is_empty() || self.is_stopped(shared) {
                return;
            }
            self.receive(shared, transfer, open, &mut settled);
        }
    }

    /// Fetches `open` until all of it has arrived or failed, or some of it is of no use any more:
    /// what has come of the rest is kept, and taken up again.
    fn receive(
        &self,
        shared: &Shared,
        transfer: &Transfer,
        open: Vec<Wanted>,
        settled: &mut BTreeSet<Digest>,
    ) {
        let mut under_way: BTreeSet<_> = open.iter().map(|wanted| wanted.sha256).collect();
        let (sender, events) = std::sync::mpsc::channel();
        let downloads = self.with.store.downloads_dir();
        let received = self.with.fetcher.download(open, &downloads, move |event| {
            // Nobody listens any more once the build has failed.
            let _ = sender.send(event);
        });
        std::thread::scope(|scope| {
            scope.spawn(move || {
                for event in events {
                    (self.with.events)(Event::Fetch(event));
                }
            });
            while !under_way.is_empty()
                && !self.is_stopped(shared)
                && under_way
                    .iter()
                    .all(|digest| shared.want_any(transfer.steps(digest)))
            {
                match received.next_within(Duration::from_millis(200)) {
                    Ok((digest, result)) => {
                        under_way.remove(&digest);
                        settled.insert(digest);
                        let steps = transfer.steps(&digest);
                        match result {
                            Ok(_) => self.arrived(shared, steps),
                            Err(error) => self.failed(shared, steps, error.into()),
                        }
                    }
                    Err(RecvTimeoutError::Timeout) => {}
                    // Every file has a result; without one, what fetches them has died.
                    Err(RecvTimeoutError::Disconnected) => {
                        shared.end(FetchError::Cancelled.into());
                    }
                }
            }
            // Dropping the receiver ends what is still under way.
            drop(received);
        });
    }

    fn is_stopped(&self, shared: &Shared) -> bool {
        self.with.cancelled.load(Ordering::Relaxed) || shared.has_ended()
    }
}
