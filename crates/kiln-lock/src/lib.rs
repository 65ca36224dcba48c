//! The lock: every byte that any image of a family is made from, with its SHA-256.
mod companion;
pub mod diff;
mod fingerprint;
mod invariants;
mod lookup;
mod model;
mod request;
mod stale;
mod text;

pub use companion::{COMPANION_VERSION, Companion, CompanionError, LayerRecord, MAX_COMPANION};
pub use diff::diff;
pub use fingerprint::{fingerprint, fingerprint_config};
pub use lookup::Closure;
pub use model::*;
pub use request::requests;
pub use stale::{Difference, Stale, check};
pub use text::{LockError, MAX_LOCK};
