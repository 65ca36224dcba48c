//! What libraries are found by: ELF files, and the indexes that say which package has a file.

use kiln_package::elf::{self, MAX_BYTES, MAX_NAME, MAX_NAMES};
use kiln_recipe::Platform;
use kiln_resolve::deb::contents as indexes;

use crate::shown;

/// A program or a library: as it is, and with a header that says it is one of x86-64.
pub fn elf(data: &[u8]) {
    read(data);
    let mut bytes = data.to_vec();
    if let Some(header) = bytes.first_chunk_mut::<20>() {
        header[..6].copy_from_slice(b"\x7fELF\x02\x01");
        header[16..20].copy_from_slice(&[3, 0, 62, 0]);
        read(&bytes);
    }
}

fn read(bytes: &[u8]) {
    let Some(Some((_, found))) = shown(elf::read(bytes)) else {
        return;
    };
    let versions = found.requires.iter().flat_map(|it| &it.versions);
    let names: Vec<_> = found
        .needed
        .iter()
        .chain(&found.defines)
        .chain(versions)
        .collect();
    assert!(names.len() <= MAX_NAMES);
    assert!(names.iter().all(|name| name.len() <= MAX_NAME));
    let required = found.requires.iter().map(|it| &it.library);
    let directories = found.runpath.iter().chain(&found.rpath);
    let kept = names
        .into_iter()
        .chain(required)
        .chain(directories)
        .chain(&found.soname);
    assert!(kept.map(String::len).sum::<usize>() <= MAX_BYTES);
    assert!(found.rpath.is_empty() || found.runpath.is_empty());
}

/// An unpacked `Contents` index.
pub fn contents(data: &[u8]) {
    let Some(found) = shown(indexes::read(data, Platform::LinuxAmd64)) else {
        return;
    };
    for (library, packages) in &found {
        assert!(
            library.contains(".so") && !library.contains('/'),
            "{library}"
        );
        assert!(packages.iter().all(|name| !name.contains([',', '/'])));
    }
}
