//! Jobs in real sandboxes, of every kind that this machine can make.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod attacks;
mod changes;
mod root;
mod shown;
