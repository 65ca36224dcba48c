//! The lock: every byte that any image of a family is made from, with its SHA-256. And its
//! companion, which knows results of actions.
//!
//! # Words
//!
//! - **package**: one archive, a Debian package or a wheel, with its source, size and SHA-256.
//! - **set**: what one component adds on top of those below it, for one base and platform. Images
//!   share sets.
//! - **closure**: all packages of an image: its sets, one after the other.
//! - **request**: what a component asked for when it was locked.
//! - **fingerprint**: digest of an image's closure and configuration; it decides whether the
//!   image's date moves.
//! - **stale**: said of a lock whose family has changed since ([`check`] says how).
//! - **path**: a way from a requirement of the family to a package ([`why`]).
//! - **limit**: a requirement that holds for a project of an image, and who has it ([`limits`]).
//! - **companion**: `kiln.layers`, action key → layer, committed beside the lock.
//!
//! # Formats
//!
//! `kiln.lock` is TOML: one `[[deb]]` or `[[wheel]]` for each package, one `[[set]]`, `[[image]]`
//! and `[[request]]` for each of these, sorted, lists one item a line. `kiln.layers` has one line
//! for each result. Both begin with their version; a newer one is refused as such, an unknown key
//! is an error. Neither holds an address, a date of writing or a version of kiln, so writing the
//! same facts again gives the same bytes.
//!
//! # Invariants
//!
//! - [`Lock::parse`] of [`Lock::render`] is the same lock; parsing never panics, and what it
//!   returns keeps the invariants of the model: sorted, without duplicates, every id exists, sets
//!   in layer order, no package twice in an image.
//! - A fingerprint depends on nothing but what would change the image.

mod companion;
mod compare;
pub mod diff;
mod fingerprint;
mod invariants;
pub mod limits;
mod lookup;
mod model;
pub mod moves;
mod paths;
mod request;
pub mod requires;
mod schema;
mod stale;
mod text;
mod why;

pub use companion::{COMPANION_VERSION, Companion, CompanionError, LayerRecord, MAX_COMPANION};
pub use compare::{
    Held, ImageDifference, LockDifference, PackageDifference, compare_images, compare_locks,
};
pub use diff::diff;
pub use fingerprint::{fingerprint, fingerprint_config};
pub use lookup::Closure;
pub use model::*;
pub use moves::moves;
pub use request::requests;
pub use schema::schema;
pub use stale::{Difference, Stale, check};
pub use text::{LockError, MAX_LOCK};
pub use why::{Path, Root, Step, Why, why};
