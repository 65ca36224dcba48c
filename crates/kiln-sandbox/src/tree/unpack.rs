//! Unpacking a layer into a directory.

use std::{io, path::Path};

use super::{Owners, TreeError};
use crate::LayerBlob;

/// Unpacks a layer into the empty directory `target`.
pub(super) fn unpack(layer: &LayerBlob, target: &Path, owners: Owners) -> Result<(), TreeError> {
    let _ = (layer, owners);
    let path = target.as_os_str().as_encoded_bytes();
    Err(TreeError::file("unpack", path)(
        io::ErrorKind::Unsupported.into(),
    ))
}
