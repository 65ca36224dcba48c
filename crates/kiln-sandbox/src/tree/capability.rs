//! File capabilities: the attribute `security.capability`, capabilities(7) and
//! `struct vfs_cap_data` in linux/capability.h.

use std::{io, os::fd::AsFd};

use rustix::{
    fs::{self, XattrFlags},
    io::Errno,
};

const ATTRIBUTE: &str = "security.capability";

const REVISION_MASK: u32 = 0xff00_0000;
const REVISION_2: u32 = 0x0200_0000;
const REVISION_3: u32 = 0x0300_0000;
const SIZE_2: usize = 20;
const SIZE_3: usize = 24;

/// The value in version-2 form, in which layers hold it. A version-3 value is the same with the
/// id of the root user of a namespace behind it; that user is root of the image.
fn version_2(value: &[u8]) -> Option<Vec<u8>> {
    let magic = u32::from_le_bytes(*value.first_chunk()?);
    match (magic & REVISION_MASK, value.len()) {
        (REVISION_2, SIZE_2) => Some(value.to_vec()),
        (REVISION_3, SIZE_3) => {
            let magic = (magic & !REVISION_MASK) | REVISION_2;
            Some([&magic.to_le_bytes(), &value[4..SIZE_2]].concat())
        }
        _ => None,
    }
}

/// Gives an open file its capabilities. The kernel stores them for the root user of our namespace.
pub(super) fn set(file: impl AsFd, value: &[u8]) -> io::Result<()> {
    let value = version_2(value).ok_or(io::ErrorKind::InvalidData)?;
    Ok(fs::fsetxattr(file, ATTRIBUTE, &value, XattrFlags::empty())?)
}

/// The capabilities of an open file in version-2 form.
pub(super) fn get(file: impl AsFd) -> io::Result<Option<Vec<u8>>> {
    let mut value = [0; SIZE_3];
    match fs::fgetxattr(file, ATTRIBUTE, &mut value[..]) {
        Ok(length) => match version_2(&value[..length]) {
            Some(value) => Ok(Some(value)),
            None => Err(io::ErrorKind::InvalidData.into()),
        },
        // The last are for the root of a namespace that is none of ours: they mean nothing here.
        Err(Errno::NODATA | Errno::NOTSUP | Errno::OVERFLOW) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_of_a_namespace_loses_the_id_of_its_root() {
        let sets = [7_u8; 16];
        let second = [&[1, 0, 0, 2][..], &sets].concat();
        let third = [&[1, 0, 0, 3][..], &sets, &1000_u32.to_le_bytes()].concat();
        assert_eq!(version_2(&third).as_ref(), Some(&second));
        assert_eq!(version_2(&second).as_ref(), Some(&second));
        assert_eq!(version_2(&second[..19]), None);
        assert_eq!(version_2(&[&[0, 0, 0, 1][..], &sets].concat()), None);
    }
}
