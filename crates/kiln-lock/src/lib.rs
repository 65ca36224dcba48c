//! The lock: every byte that any image of a family is made from, with its SHA-256.

mod invariants;
mod lookup;
mod model;
mod text;

pub use lookup::Closure;
pub use model::*;
pub use text::{LockError, MAX_LOCK};
