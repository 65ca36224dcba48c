//! What is known of CUDA: which driver a toolkit needs, which frameworks were released for which
//! CUDA, cuDNN and Python, and which packages belong to which CUDA.
//!
//! # Words
//!
//! - A **toolkit** is a release of CUDA, 12.9, with numbered updates.
//! - The **strict** driver of a toolkit knows all that the toolkit can do. The **floor** of a
//!   major version is the oldest driver that runs programs of any toolkit of that major version,
//!   as long as they hold code for the processor at hand ("minor version compatibility").
//! - A **release line** is a version without its last number, 2.6: all releases of a line are
//!   made for the same CUDA.
//!
//! # Invariants
//!
//! - The facts are data, `data/cuda.toml`; each table names the document that it was read from.
//!   A test reads all of it.
//! - What is newer than all rows is unknown. Unknown is never the same as never released: the
//!   functions here return [`Known`], whose third case says so.
//! - Pure: no files, no network, no devices.

mod facts;
mod package;
mod version;

pub use facts::{Facts, Floor, TensorFlow, Toolkit, Torch, facts};
pub use package::{Cuda, deb_cuda, is_driver, wheel_cuda};
pub use version::Version;

/// What the facts say to a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known<T> {
    /// It was released; these are the rows.
    Released(T),
    /// The facts cover it and have no such release.
    Never,
    /// It is not covered: newer than all rows, or older.
    Unknown,
}
