//! Debian and Ubuntu packages: from archives and names to locked packages.
//!
//! A *release* ([`release`]) is the signed `InRelease` of one suite: it names, by SHA-256, the
//! `Packages` index of each component and architecture. The packages of all archives of a base
//! make one [`Index`], from which [`solve()`] chooses. [`load()`] fetches; everything else is pure.
//!
//! Trust goes one way: a keyring (a file of the family) verifies `InRelease`, whose signed text
//! alone is read; its digests verify the indexes; their digests go into the lock. Nothing here
//! is believed because of where it came from.

mod compression;
pub mod contents;
pub mod index;
mod load;
pub mod packages;
pub mod relation;
pub mod release;
pub mod signature;
pub mod solve;
mod verdict;
pub mod version;

pub use compression::Compression;
pub use index::{ArchiveName, Index, Located};
pub use load::{DebError, load};
pub use packages::Package;
pub use release::{Release, ReleaseError};
pub use solve::{Request, SolveError, solve};
