//! Locks small families against Python indexes on loopback.
//!
//! `kept` plays uv with a script, to see what it is given. `solve` (feature `online`) runs the
//! real uv, which comes from `PATH` or from the host's own index.

#![expect(clippy::unwrap_used, reason = "a test fails where it unwraps nothing")]

mod family;
mod index;
mod kept;
mod newer;
#[cfg(feature = "online")]
mod random;
#[cfg(feature = "online")]
mod routes;
#[cfg(feature = "online")]
mod solve;
mod source;
#[cfg(feature = "online")]
mod toolkit;
