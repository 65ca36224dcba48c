//! What plans promise, on made-up families.

#![expect(clippy::unwrap_used, reason = "tests")]

mod accelerators;
mod fixture;
mod packed;
mod source;
mod whole;
