//! Wheels: hostile archives, single promises, and the comparison with pip and `venv`.
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "functions that tests call are part of the tests"
)]

mod archive;
mod entries;
mod environment;
mod pip;
mod zip;
