//! Ctrl-C: the first asks running work to stop, the second stops at once.

use std::{
    io::IsTerminal,
    sync::{Arc, atomic::AtomicBool},
};

use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    flag,
};

use crate::exit;

/// A flag that the first interrupt sets.
pub(crate) fn flag() -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        sets(signal, &stop);
    }
    stop
}

/// The flag for a program that has this process's terminal: there Ctrl-C goes to the program,
/// which may mean something else by it than to end.
pub(crate) fn of_program() -> Arc<AtomicBool> {
    if !std::io::stdin().is_terminal() {
        return flag();
    }
    // Caught and not heeded. To ignore the signal would make the program ignore it, too.
    let _ = flag::register(SIGINT, Arc::new(AtomicBool::new(false)));
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGHUP] {
        sets(signal, &stop);
    }
    stop
}

/// Makes a signal set the flag, and end the process when the flag is set already: the user
/// insists, and the store survives any kill.
fn sets(signal: i32, stop: &Arc<AtomicBool>) {
    // Fails only for signals that cannot be caught.
    let _ =
        flag::register_conditional_shutdown(signal, i32::from(exit::INTERRUPTED), Arc::clone(stop));
    let _ = flag::register(signal, Arc::clone(stop));
}
