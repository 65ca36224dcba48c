//! Ctrl-C: the first asks running work to stop, the second stops at once.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use crate::exit;

/// A flag that the first interrupt sets.
pub(crate) fn flag() -> Arc<AtomicBool> {
    let flag = Arc::new(AtomicBool::new(false));
    let set = Arc::clone(&flag);
    // Fails only when a handler is there already; then interrupts end the process at once, which
    // is safe too.
    let _ = ctrlc::set_handler(move || {
        if set.swap(true, Ordering::Relaxed) {
            #[expect(clippy::exit, reason = "the user insists; the store survives any kill")]
            std::process::exit(i32::from(exit::INTERRUPTED));
        }
    });
    flag
}
