//! Jobs and programs in real sandboxes, of every kind that this machine can make. Run as root, as
//! other users are tried, too.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod attacks;
mod changes;
mod programs;
mod received;
mod root;
mod shown;
mod users;
