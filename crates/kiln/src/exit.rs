//! Exit codes: part of the interface. Scripts may rely on them.

/// All went well.
pub(crate) const SUCCESS: u8 = 0;
/// A question was answered with no: `kiln lock --check` found a stale lock, lints found errors.
pub(crate) const NEGATIVE: u8 = 1;
/// The command line is wrong.
pub(crate) const USAGE: u8 = 2;
/// A family file, or the lock, is wrong or does not fit the other.
pub(crate) const RECIPE: u8 = 3;
/// No versions fit the requirements, or images would move that a change does not concern.
pub(crate) const RESOLUTION: u8 = 4;
/// A source cannot be reached, or needs to be and `--offline` forbids it.
pub(crate) const NETWORK: u8 = 5;
/// Bytes are not what the lock, a signature or a format says they are.
pub(crate) const INTEGRITY: u8 = 6;
/// The sandbox cannot be had, or what ran in it failed.
pub(crate) const SANDBOX: u8 = 7;
/// The store or another local file cannot be read or written: no space, no permission.
pub(crate) const STORAGE: u8 = 8;
/// An engine that kiln was asked to load into is missing or refused.
pub(crate) const ENGINE: u8 = 9;
/// A fault of kiln itself.
pub(crate) const INTERNAL: u8 = 70;
/// The program to start in an image is not there or cannot be started, as shells say it.
pub(crate) const NOT_STARTED: u8 = 127;
/// Interrupted by the user (128 + SIGINT).
pub(crate) const INTERRUPTED: u8 = 130;
