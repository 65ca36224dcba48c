//! File capabilities: the value of the `security.capability` attribute, capabilities(7) and
//! `struct vfs_cap_data` in linux/capability.h.

const REVISION_MASK: u32 = 0xff00_0000;
const REVISION_2: u32 = 0x0200_0000;
const REVISION_3: u32 = 0x0300_0000;
const SIZE_2: usize = 20;
const SIZE_3: usize = 24;

/// The value in its version-2 form, in which layers hold it. A version-3 value is the same with
/// the id of the root user of a namespace behind it; only 0 means the same everywhere.
pub(super) fn version_2(value: &[u8]) -> Option<Vec<u8>> {
    let magic = u32::from_le_bytes(*value.first_chunk()?);
    match (magic & REVISION_MASK, value.len()) {
        (REVISION_2, SIZE_2) => Some(value.to_vec()),
        (REVISION_3, SIZE_3) if value[SIZE_2..] == [0; 4] => {
            let magic = (magic & !REVISION_MASK) | REVISION_2;
            Some([&magic.to_le_bytes(), &value[4..SIZE_2]].concat())
        }
        _ => None,
    }
}
