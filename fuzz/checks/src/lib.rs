//! What must hold for any bytes that kiln reads.
//!
//! # Words
//!
//! - A **check** hands bytes to readers of one kind. A promise that does not hold is a panic: so
//!   a fuzzer sees it, and so does a test.
//! - **Sections** are several named files in one input, see [`sections`].
//!
//! # What every check promises
//!
//! The readers return: with a value or an error that can be shown, without a panic, within
//! [`MEMORY`]. What is read can be written and read again, where there is a writer; where another
//! reader of the same bytes exists, both agree.
//!
//! Behind a check sum a fuzzer finds nothing. So where a format has them the check makes them
//! right, or builds the container (zip, tar, ar) around the bytes.

#![expect(
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a promise that does not hold is a panic"
)]

mod debian;
mod documents;
mod edits;
mod fetched;
mod layers;
mod libraries;
mod modules;
mod resolved;
mod sections;
mod tars;
mod wheels;

use std::{alloc::System, error::Error};

use cap::Cap;

pub use debian::{control, deb, deb_archive, deb_tar};
pub use documents::{action, companion, family, image_name, lock, oci, results_log};
pub use edits::edit;
pub use fetched::{host, project_page};
pub use layers::{deflate, layer};
pub use libraries::{contents, elf};
pub use modules::{bytecode, key_store};
pub use resolved::{packages, pylock, python_metadata, release};
pub use sections::sections;
pub use wheels::{sdist, wheel, zip};

/// What all that a check does may hold at a time, in bytes.
pub const MEMORY: usize = 256 << 20;

/// Refuses more than [`MEMORY`], which ends the process.
#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, MEMORY);

/// A function that any bytes can be given to.
pub type Check = fn(&[u8]);

/// All checks, by the names of their fuzzers and of the directories of their inputs.
pub const CHECKS: [(&str, Check); 27] = [
    ("action", action),
    ("bytecode", bytecode),
    ("companion", companion),
    ("contents", contents),
    ("control", control),
    ("deb", deb),
    ("deb_archive", deb_archive),
    ("deb_tar", deb_tar),
    ("deflate", deflate),
    ("edit", edit),
    ("elf", elf),
    ("family", family),
    ("host", host),
    ("image_name", image_name),
    ("key_store", key_store),
    ("layer", layer),
    ("lock", lock),
    ("oci", oci),
    ("packages", packages),
    ("project_page", project_page),
    ("pylock", pylock),
    ("python_metadata", python_metadata),
    ("release", release),
    ("results_log", results_log),
    ("sdist", sdist),
    ("wheel", wheel),
    ("zip", zip),
];

/// Shows an error with its causes, which must not panic either; gives the value if there is one.
fn shown<T, E: Error + 'static>(result: Result<T, E>) -> Option<T> {
    let error = match result {
        Ok(value) => return Some(value),
        Err(error) => error,
    };
    let mut cause: Option<&dyn Error> = Some(&error);
    while let Some(error) = cause {
        assert!(
            !error.to_string().is_empty(),
            "an error that says nothing: {error:?}"
        );
        cause = error.source();
    }
    None
}
