//! The lock: every byte that any image of a family is made from, with its SHA-256.

mod model;

pub use model::*;
