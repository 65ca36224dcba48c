//! What locking reads of archives that it chose or had built.

use std::{io, path::Path};

use kiln_package::{
    sdist::{self, SdistError},
    wheel::{self, Description, WheelError},
};

use crate::inputs;

/// Why an archive does not say what it is.
#[derive(Debug, thiserror::Error)]
pub enum DescribeError {
    /// It cannot be read.
    #[error("reading the archive")]
    Read(#[from] io::Error),
    /// It is no source distribution.
    #[error("the source distribution cannot be used")]
    Sdist(#[from] SdistError),
    /// It is no wheel.
    #[error("the wheel cannot be used")]
    Wheel(#[from] WheelError),
}

/// What the `pyproject.toml` of a source distribution requires to build it. `spool` is a
/// directory for an unnamed file that holds what is unpacked.
pub fn requires(archive: &Path, file: &str, spool: &Path) -> Result<Vec<String>, DescribeError> {
    let archive = inputs::map(archive)?;
    Ok(sdist::read(&archive, file, spool)?.build_system.requires)
}

/// The file name and the metadata of a wheel, from its content.
pub fn describe(archive: &Path) -> Result<Description, DescribeError> {
    Ok(wheel::describe(&inputs::map(archive)?)?)
}
