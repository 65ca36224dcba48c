//! Each rule: what it finds, in the words that people read, and what it lets pass.

#![expect(clippy::unwrap_used, reason = "tests")]

mod cuda;
mod libraries;
mod structure;
mod world;
