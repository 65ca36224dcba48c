//! From a family to its lock: the only place where versions are chosen.
//!
//! # Words
//!
//! - A **set** is what one component adds on top of those below it, for one platform and base.
//!   The sets of a family are trees: images share the sets that they have in common.
//! - A **universe** is a bundle with everything below it, the toolkit of its accelerator, and the
//!   IDEs on it: what is solved together for Python ([`python`]).
//! - A **toolkit** is what an accelerator requires of Python and a bundle has not brought. It
//!   stands on each bundle anew and binds none.
//! - A **route** binds a project to one Python index of its own ([`python::routes`]).
//! - What is **newer** than the lock is asked of the sources, and nothing is solved ([`newer`]).
//! - What is **kept** is taken from the previous lock as it stands, without asking anybody.
//!
//! # Algorithm
//!
//! For each tree, Debian packages first ([`deb`]): base, then each set on top of those below it,
//! which stay as they are. The base's packages say which Python and which C library there is;
//! that is the target of the wheels. Then the universes, parents before children: the versions
//! of the sets below bind, the versions of the previous lock are preferred, and so are those
//! that the toolkit and the same IDE have on the bundle below. Trees, and universes that do not stand on each
//! other, are solved side by side.
//!
//! Like cargo, it is incremental: a set or universe whose requests, and everything below it, are
//! what they were when it was locked, is kept. So a lock of an unchanged family needs no network
//! and changes nothing.
//!
//! A project of a `[from-source]` table is chosen as a source distribution, built by a
//! [`Builder`] in an environment that is locked with it, and solved again with what its wheel
//! turned out to require, until no version is new. The lock names the wheel that was built.
//!
//! # Invariants
//!
//! - The lock is a function of the family, the previous lock, what the sources offer, and
//!   [`Options`]; not of time, threads or the host's environment otherwise.
//! - The lock holds nothing that no image needs, and everything in it is sorted.
//! - An image's date moves only when its closure or its configuration does.

mod build;
pub mod deb;
mod error;
mod forest;
mod joint;
pub mod newer;
mod os;
mod previous;
pub mod python;
mod solver;
mod source;
mod universe;

use std::path::PathBuf;

use kiln_lock::PackageId;
use kiln_recipe::{ComponentId, Platform};

pub use build::{Build, BuildFailure, Builder, BuiltWheel};
pub use error::ResolveError;
pub use joint::resolve;

/// How to lock.
#[derive(Debug, Clone)]
pub struct Options {
    /// Choose the newest versions of everything.
    pub upgrade: bool,
    /// Move what the sources no longer have, and what that forces.
    pub relock_gone: bool,
    /// Open no connection. What cannot be kept is then an error.
    pub offline: bool,
    /// The date of images that changed.
    pub today: jiff::civil::Date,
    /// The time against which `Valid-Until` of archives is checked.
    pub now: jiff::Timestamp,
    /// Leave out Python files that were uploaded later: RFC 3339, or a date.
    pub exclude_newer: Option<String>,
    /// Where uv and its cache are kept. It may be dropped at any time.
    pub cache_dir: PathBuf,
    /// Where fetched files are kept, by SHA-256.
    pub downloads_dir: PathBuf,
}

/// What happens while a family is locked. Comes from several threads.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The indexes of a component's archives are fetched.
    Indexes {
        /// The base or accelerator.
        component: ComponentId,
        /// The platform.
        platform: Platform,
    },
    /// The Debian packages of a set are known.
    OsSet {
        /// The set.
        set: String,
        /// How many it adds.
        packages: usize,
        /// Whether they are others than before.
        moved: bool,
    },
    /// The Python packages of a bundle and the IDEs on it are known.
    Universe {
        /// The bundle's set.
        set: String,
        /// How many it adds.
        packages: usize,
        /// Whether they are others than before.
        moved: bool,
    },
    /// A wheel is built from source.
    Building {
        /// The project.
        project: String,
        /// The version.
        version: String,
        /// The base that it is built on.
        base: String,
    },
    /// A locked package that its source no longer has.
    Gone {
        /// The package.
        id: PackageId,
    },
}

/// Where events go.
type Events<'a> = &'a (dyn Fn(Event) + Sync);

/// What becomes of locked versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// They stay where nothing changed, and are preferred elsewhere.
    Keep,
    /// The same, but what the sources no longer have is looked for.
    RelockGone,
    /// They are forgotten.
    Upgrade,
}
