//! The packages of a base are unpacked while their layer is still being packed: their maintainer scripts run
//! one after another and hold a build up, and need the tree only, not the compressed blob.
//!
//! # Invariants
//!
//! - What ran on such a tree counts only once the layer is packed, with the same diff ID ([`Context::trees`]).
//! - It is a head start and nothing else: where it fails, whatever the reason, the scripts wait for
//!   the blob, and the reason shows when that is unpacked.
//!
//! [`Context::trees`]: crate::Context

use std::{
    io::{self, BufWriter},
    num::NonZero,
    thread,
};

use kiln_digest::Digest;
use kiln_layer::{Entry, write_tar};
use kiln_plan::{Compression, Kind, Step};

use crate::{schedule::Run, shared::Shared};

/// Pipes hold 64 KiB.
const BUFFER: usize = 64 << 10;

/// Whether a step needs no more than the trees of the layers below it: the scripts of a system of its own,
/// below which there is no database to read.
pub(crate) fn needs_trees_only(step: &Step) -> bool {
    match &step.action.kind {
        Kind::Configure(configure) => configure.debs.iter().any(|deb| is_dpkg(&deb.file)),
        _ => false,
    }
}

fn is_dpkg(file: &str) -> bool {
    file.rsplit('/')
        .next()
        .is_some_and(|name| name.starts_with("dpkg_"))
}

impl Run<'_> {
    /// Packs the layer of a step with `pack`, which is told how many threads to use. If others only wait for
    /// its tree, it is unpacked meanwhile, and they begin.
    pub(crate) fn packing<T>(
        &self,
        shared: &Shared,
        step: usize,
        entries: &[Entry],
        pack: impl FnOnce(Option<NonZero<usize>>) -> T,
    ) -> T {
        let mut waiting = shared.dependents(step).iter();
        let is_awaited = waiting.any(|&it| needs_trees_only(&self.plan.steps[it]));
        // Lazy readers have one file more, and so another diff ID.
        let is_lazy = self.plan.steps[step].action.compression == Compression::Estargz;
        if !is_awaited || is_lazy {
            return pack(None);
        }
        thread::scope(|scope| {
            let unpack = || {
                if let Some(diff_id) = self.unpacked_now(entries) {
                    self.unpacked(shared, step, diff_id);
                }
            };
            // A core is left for unpacking, and then for the scripts.
            let threads = match thread::Builder::new().spawn_scoped(scope, unpack) {
                Ok(_) => thread::available_parallelism()
                    .ok()
                    .and_then(|cores| NonZero::new(cores.get() - 1).or(NonZero::new(1))),
                Err(_) => None,
            };
            pack(threads)
        })
    }

    /// Unpacks the layer of these entries; nothing if that does not work.
    fn unpacked_now(&self, entries: &[Entry]) -> Option<Digest> {
        let sandbox = self.sandbox().ok()?;
        let (theirs, ours) = io::pipe().ok()?;
        thread::scope(|scope| {
            let feed = || write_tar(entries, BufWriter::with_capacity(BUFFER, ours));
            let feeding = thread::Builder::new().spawn_scoped(scope, feed).ok()?;
            let received = sandbox.receive(theirs.into());
            // What came whole is a layer; a part of it might be one, too.
            feeding.join().ok()?.ok()?;
            received.ok()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dpkg_is_known_by_the_name_of_its_archive() {
        assert!(is_dpkg("pool/main/d/dpkg/dpkg_1.22.21_amd64.deb"));
        assert!(is_dpkg("dpkg_1.21.22_amd64.deb"));
        assert!(!is_dpkg("pool/main/d/dpkg/dpkg-dev_1.22.21_all.deb"));
        assert!(!is_dpkg("pool/dpkg_1/libc6_2.41_amd64.deb"));
    }
}
