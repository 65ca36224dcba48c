//! Tests of what the crate makes: its bytes, and what trusted tools read from them.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod archive;
#[cfg(feature = "engine")]
mod docker;
mod image;
mod saved;
mod skopeo;
mod support;
