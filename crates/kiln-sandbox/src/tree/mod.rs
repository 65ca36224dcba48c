//! Layers on disk: unpacking them, putting them on top of each other, finding what a job changed.
//!
//! All of it runs inside a worker, as user 0 of its user namespace.
//!
//! # Words
//!
//! - *layer directory*: a layer, unpacked (`rootfs`, `unpack`); removals are overlayfs marks;
//! - *view*: directories on top of each other, looked at as overlayfs would (`view`); both the
//!   tree of a job and the layers that it is compared with are views;
//! - *record*: the owner of a file as an attribute, where the kernel knows a single id (`owners`).
//!
//! # Invariants
//!
//! - No path is followed through a symbolic link: directories are opened one component after the
//!   other, from the root of their tree (`beneath`).
//! - What is captured depends on the layers and on what the commands did; neither on how ids map
//!   nor on how the tree is made.

mod beneath;
mod capability;
mod capture;
mod compare;
mod copy;
mod error;
mod metadata;
mod owners;
mod remove;
mod rootfs;
mod scope;
mod spool;
mod unpack;
mod view;

pub(crate) use capture::{Capture, Tree, capture};
pub(crate) use copy::{Snapshot, copy_layers};
pub use error::{Cause, TreeError};
pub(crate) use owners::{Owner, Owners, PartialOwner, SymlinkOwners, record, recorded};
pub(crate) use remove::remove_tree;
pub(crate) use rootfs::{LayerTree, Rootfs};
pub(crate) use spool::{Change, ChangeKind, Changes, Spool, entries};

#[cfg(test)]
mod tests;
