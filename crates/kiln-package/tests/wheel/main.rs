//! Wheels: hostile archives, single promises, and the comparison with pip and `venv`.
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "the helpers belong to the tests"
)]

mod archive;
mod entries;
mod environment;
mod pip;
mod zip;
