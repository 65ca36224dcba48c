//! What the dynamic linker reads of programs and shared objects: names of libraries, where they
//! are looked for, versions of symbols.
//!
//! Formats: System V ABI (object files, dynamic linking) with the x86-64 and `AArch64` supplements,
//! for symbol versions the Linux Standard Base (Core, "Symbol Versioning"). Only 64-bit
//! little-endian files: both architectures that images have are that.
//!
//! The dynamic segment is read as `ld.so` reads it. Section headers are never looked at: a
//! stripped file may have none, and what they say means nothing at run time. That is why this is
//! a small reader of our own: those of the field find symbol versions through sections.
//!
//! # Invariants
//!
//! - Every offset is checked, every list is bounded by its count and by [`MAX_NAMES`] or
//!   [`MAX_ENTRIES`]; no bytes make the reader panic or loop.
//! - Nothing is copied but the names, [`MAX_BYTES`] of one file at most.
//! - Of entries that are there several times, the last one counts, as for `ld.so`, and is the only
//!   one that is read.

mod read;

use serde::{Deserialize, Serialize};

pub use read::{machine, read};

/// The most names that one file may need, define and require together. The C library defines
/// some 40 versions, the largest program known needs some 200 libraries.
pub const MAX_NAMES: usize = 10_000;

/// The most bytes of names and directories that are kept of one file.
pub const MAX_BYTES: usize = 1 << 20;

/// The most program headers, and the most entries of the dynamic segment, that are read.
pub const MAX_ENTRIES: usize = 10_000;

/// The longest name.
pub const MAX_NAME: usize = 4096;

/// The longest list of directories. TensorFlow's names the same thirty some hundred times over.
pub const MAX_SEARCH_PATH: usize = 1 << 20;

/// A processor architecture as `e_machine` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Machine {
    /// `EM_X86_64`
    X86_64,
    /// `EM_AARCH64`
    Aarch64,
}

impl Dynamic {
    /// How many bytes of memory its names take.
    pub fn size(&self) -> usize {
        let lists = [&self.needed, &self.runpath, &self.rpath, &self.defines];
        let names = lists.into_iter().flatten().chain(&self.soname);
        let required = self.requires.iter();
        let required = required.flat_map(|it| it.versions.iter().chain([&it.library]));
        names
            .chain(required)
            .map(|name| name.len() + size_of::<String>())
            .sum()
    }
}

impl Machine {
    const fn of(number: u16) -> Option<Self> {
        match number {
            62 => Some(Self::X86_64),
            183 => Some(Self::Aarch64),
            _ => None,
        }
    }
}

/// What the dynamic segment of one file says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Dynamic {
    /// `DT_SONAME`: the name by which others need it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub soname: Option<String>,
    /// `DT_NEEDED`: the libraries that it needs, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub needed: Vec<String>,
    /// `DT_RUNPATH`: directories in which they are looked for, with `$ORIGIN` as written.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub runpath: Vec<String>,
    /// `DT_RPATH`, where there is no `DT_RUNPATH`: the same, also for what is needed by what it
    /// needs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rpath: Vec<String>,
    /// `DT_VERNEED`: versions of symbols that libraries must define, without the weak ones.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub requires: Vec<Required>,
    /// `DT_VERDEF`: versions of symbols that it defines.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub defines: Vec<String>,
    /// Whether it is a program: it names an interpreter.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub program: bool,
}

/// Versions that one library must define.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Required {
    /// The library, as in `DT_NEEDED`.
    pub library: String,
    /// The versions, `GLIBC_2.34`.
    pub versions: Vec<String>,
}

/// Why a file that begins as an ELF file cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ElfError {
    /// An offset leads out of the file.
    #[error("{0} lies outside of the file")]
    Outside(&'static str),
    /// More than is read.
    #[error("it has too many {0}")]
    TooMany(&'static str),
    /// A name without an end, too long, or not UTF-8.
    #[error("one of its names is malformed")]
    Name,
}

/// Whether bytes begin as an ELF file.
pub fn is_elf(start: &[u8]) -> bool {
    start.starts_with(MAGIC)
}

/// The first bytes of every ELF file.
pub const MAGIC: &[u8] = b"\x7fELF";
