//! Compiled Python modules: their canonical form, and archives of them.
//!
//! # Words
//!
//! - **module file**: a `.pyc` file (PEP 3147, PEP 552): a header of 16 bytes, which names the
//!   Python that can load it and says how it is compared with its source, and a code object in
//!   the `marshal` format.
//! - **canonical**: [`canonical()`] of a module file. Compiling a source twice with one Python
//!   gives files that load alike but whose bytes differ; their canonical forms are equal.
//! - **archive**: the module files of one wheel ([`archive()`]).
//!
//! # What the compiler leaves to chance
//!
//! Found by compiling the standard library of each Python in other orders, processes and hash
//! seeds:
//!
//! - An object is *marked* in `marshal` if a later place could refer to it. Python marks what has
//!   more than one owner at that moment, and owners are also caches of the process: so marks
//!   depend on what was compiled before. Here an object is marked if something does refer to it.
//! - Which equal objects are one depends on tables of the process: Python 3.13 finds the qualified
//!   name of a class among interned texts if a class of that name was made before. Equal
//!   frozensets of one source are one or two by the order of their elements. Here all equal
//!   constants are one.
//! - Text is written as interned if it is in the process's table of interned texts. Python interns
//!   names (when a code object is made, also in loading) but single characters and some fixed
//!   texts are shared by all of a process. Here texts that look like names are written as
//!   interned, and no others.
//! - The elements of a `frozenset` come in an order that depends on hashes or on marks. Here they
//!   are sorted by what they are.
//!
//! # Invariants
//!
//! - Canonical files load as what they were made from: the same values, of the same types, and
//!   the same object where it was the same object. Which other equal constants are one object is
//!   a matter of memory for Python, too, and the order in a `frozenset` is no part of its
//!   value.
//! - The canonical form of a canonical file is itself.
//! - Module files are foreign input: memory and time are bounded by their length.

mod archive;
mod marshal;
mod read;
#[cfg(test)]
mod tests;
mod write;

pub use archive::{ArchiveError, archive, entries, member, module_path};
pub use marshal::Fault;

use self::marshal::{CodeLayout, canonical_marshal};

/// The most bytes of a module file. The largest known ones (generated parsers) have some 10 MiB.
pub const MAX_MODULE: usize = 256 << 20;

const HEADER: usize = 16;

/// PEP 552: bit 0 says that a hash of the source follows, bit 1 that it is to be compared.
const UNCHECKED_HASH: u32 = 0b01;

/// Why a module file is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModuleError {
    /// Longer than [`MAX_MODULE`].
    #[error("a module file has more than {MAX_MODULE} bytes")]
    TooLarge,
    /// No header, or one of another version of Python.
    #[error("the module file is not of Python {}.{}", .0.0, .0.1)]
    OtherPython((u8, u8)),
    /// Loading it would look at the source.
    #[error("the module file is compared with its source when it is loaded")]
    Checked,
    /// A version whose code objects this program does not know.
    #[error("module files of Python {}.{} are not known", .0.0, .0.1)]
    UnknownPython((u8, u8)),
    /// What follows the header is no code object.
    #[error("the module file holds no code object as Python's compiler makes it")]
    Marshal(#[from] Fault),
}

/// The canonical form of `module`, a file that `python` (major and minor version) compiled and
/// that is not compared with its source.
pub fn canonical(module: &[u8], python: (u8, u8)) -> Result<Vec<u8>, ModuleError> {
    if module.len() > MAX_MODULE {
        return Err(ModuleError::TooLarge);
    }
    let (magic_numbers, layout) = version(python).ok_or(ModuleError::UnknownPython(python))?;
    let Some((header, code)) = module.split_first_chunk::<HEADER>() else {
        return Err(ModuleError::OtherPython(python));
    };
    let &[m0, m1, b'\r', b'\n', f0, f1, f2, f3, ..] = header else {
        return Err(ModuleError::OtherPython(python));
    };
    if !magic_numbers.contains(&u16::from_le_bytes([m0, m1])) {
        return Err(ModuleError::OtherPython(python));
    }
    if u32::from_le_bytes([f0, f1, f2, f3]) != UNCHECKED_HASH {
        return Err(ModuleError::Checked);
    }
    let mut canonical = header.to_vec();
    canonical.extend(canonical_marshal(code, layout)?);
    Ok(canonical)
}

/// The magic numbers that a version of Python was given (fifty for each since 3.11; see
/// `Include/internal/pycore_magic_number.h` of Python), and how it writes code objects.
fn version(python: (u8, u8)) -> Option<(std::ops::Range<u16>, CodeLayout)> {
    Some(match python {
        (3, 9) => (3420..3430, CodeLayout::Until310),
        (3, 10) => (3430..3450, CodeLayout::Until310),
        (3, 11) => (3450..3500, CodeLayout::Since311),
        (3, 12) => (3500..3550, CodeLayout::Since311),
        (3, 13) => (3550..3600, CodeLayout::Since311),
        (3, 14) => (3600..3650, CodeLayout::Since311),
        _ => return None,
    })
}
