//! What comes back from programs in the sandbox: compiled modules, key stores.

use kiln_build::fuzzing;
use kiln_package::bytecode::canonical;
use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY, SHA1_OUTPUT_LEN};

use crate::shown;

/// A module file, of the Python that its magic number names. What is canonical stays as it is.
pub fn bytecode(data: &[u8]) {
    for minor in 8..16 {
        let Ok(module) = canonical(data, (3, minor)) else {
            continue;
        };
        let again = canonical(&module, (3, minor)).expect("the canonical form is read");
        assert!(again == module, "the canonical form has another one");
    }
}

/// What a digest of a key store begins with: the password that everybody knows, in UTF-16, and a
/// salt (`JavaKeyStore.java` of `OpenJDK`).
const PASSWORD: &str = "changeit";
const SALT: &[u8] = b"Mighty Aphrodite";

/// A Java key store, without its digest, and the answers of a compiler of modules.
pub fn key_store(data: &[u8]) {
    let mut sha1 = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
    let password = PASSWORD.encode_utf16().flat_map(u16::to_be_bytes);
    sha1.update(&password.collect::<Vec<u8>>());
    sha1.update(SALT);
    sha1.update(data);
    let store = [data, sha1.finish().as_ref()].concat();
    let time = 1_700_000_000;
    if let Some(store) = shown(fuzzing::key_store(&store, time)) {
        assert_eq!(store.len(), data.len() + SHA1_OUTPUT_LEN);
        let again = fuzzing::key_store(&store, time).expect("it is read again");
        assert!(again == store, "the second time changes it");
    }
    let modules = fuzzing::compiled_modules(data);
    let length: usize = modules.iter().map(Vec::len).sum();
    assert!(length <= data.len(), "more than there was");
}
