//! Package archives → entry streams: wheels, source distributions and Debian packages.
//!
//! A package becomes a list of [`kiln_layer::Entry`]s without being unpacked anywhere: nothing
//! is written, no code of the package runs, and the bytes of its files stay views of the mapped
//! archive. The result is a function of the archive and of the placement that the caller gives;
//! host, clock and user have no part in it.
//!
//! Archives are foreign input. Every reader here bounds what it counts and inflates, refuses
//! what two readers could understand in two ways, and reports a typed error instead of guessing.

pub mod bytecode;
pub mod deb;
pub mod elf;
pub mod libraries;
pub mod sdist;
mod spool;
pub mod wheel;
pub mod zip;
