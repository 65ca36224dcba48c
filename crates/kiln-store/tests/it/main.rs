//! Tests of the store as others use it: one process, several, killed ones, and other tools.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod processes;
mod skopeo;
mod store;
mod support;
