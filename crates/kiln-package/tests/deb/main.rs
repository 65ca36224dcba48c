//! Debian packages: what is refused, what is promised, and what dpkg itself says.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on must panic"
)]

mod archive;
mod built;
mod dpkg;
mod dpkg_deb;
mod hostile_archives;
mod hostile_trees;
mod promises;
mod properties;
