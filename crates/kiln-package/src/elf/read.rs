//! Reading the dynamic segment.

use std::collections::HashSet;

use super::{
    Dynamic, ElfError, MAGIC, MAX_BYTES, MAX_ENTRIES, MAX_NAME, MAX_NAMES, MAX_SEARCH_PATH,
    Machine, Required,
};

const CLASS_64: u8 = 2;
const LITTLE_ENDIAN: u8 = 1;
const EXECUTABLE: u16 = 2;
const SHARED: u16 = 3;

const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
const PT_INTERP: u32 = 3;
const PROGRAM_HEADER: usize = 56;

const DT_NULL: u64 = 0;
const DT_NEEDED: u64 = 1;
const DT_STRTAB: u64 = 5;
const DT_STRSZ: u64 = 10;
const DT_SONAME: u64 = 14;
const DT_RPATH: u64 = 15;
const DT_RUNPATH: u64 = 29;
const DT_VERDEF: u64 = 0x6fff_fffc;
const DT_VERDEFNUM: u64 = 0x6fff_fffd;
const DT_VERNEED: u64 = 0x6fff_fffe;
const DT_VERNEEDNUM: u64 = 0x6fff_ffff;
const DYNAMIC_ENTRY: usize = 16;

const VER_FLG_BASE: u16 = 1;
const VER_FLG_WEAK: u16 = 2;

/// What a program or shared object says to the dynamic linker, and of which machine. Nothing for
/// other files: of other machines or classes, relocatable, without a dynamic segment.
pub fn read(bytes: &[u8]) -> Result<Option<(Machine, Dynamic)>, ElfError> {
    let file = File(bytes);
    let Some(machine) = machine(bytes) else {
        return Ok(None);
    };
    let segments = Segments::read(file)?;
    let Some(entries) = &segments.dynamic else {
        return Ok(None);
    };
    // Of several, the last one counts: `ld.so` keeps one of each tag.
    let value = |tag| entries.iter().rfind(|(it, _)| *it == tag).map(|it| it.1);
    let names = Names::find(&segments, value(DT_STRTAB), value(DT_STRSZ))?;
    let mut budget = Budget::default();
    let mut found = Dynamic {
        program: segments.interpreter,
        ..Dynamic::default()
    };
    for (_, at) in entries.iter().filter(|(tag, _)| *tag == DT_NEEDED) {
        found.needed.push(names.counted(*at, &mut budget)?);
    }
    if let Some(at) = value(DT_SONAME) {
        found.soname = Some(names.counted(at, &mut budget)?);
    }
    match (value(DT_RUNPATH), value(DT_RPATH)) {
        (Some(at), _) => found.runpath = names.directories(at, &mut budget)?,
        (None, Some(at)) => found.rpath = names.directories(at, &mut budget)?,
        (None, None) => {}
    }
    if let (Some(at), Some(count)) = (value(DT_VERNEED), value(DT_VERNEEDNUM)) {
        found.requires = required(&segments, &names, at, count, &mut budget)?;
    }
    if let (Some(at), Some(count)) = (value(DT_VERDEF), value(DT_VERDEFNUM)) {
        found.defines = defined(&segments, &names, at, count, &mut budget)?;
    }
    Ok(Some((machine, found)))
}

/// The machine of a 64-bit program or shared object.
pub fn machine(bytes: &[u8]) -> Option<Machine> {
    let file = File(bytes);
    let is_ours = bytes.starts_with(MAGIC)
        && bytes.get(4..6) == Some(&[CLASS_64, LITTLE_ENDIAN])
        && matches!(file.u16(16), Some(EXECUTABLE | SHARED));
    file.u16(18).filter(|_| is_ours).and_then(Machine::of)
}

/// What may be kept of one file.
struct Budget {
    names: usize,
    bytes: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            names: MAX_NAMES,
            bytes: MAX_BYTES,
        }
    }
}

impl Budget {
    fn take(&mut self, name: &str) -> Result<(), ElfError> {
        const WHAT: ElfError = ElfError::TooMany("names");
        self.names = self.names.checked_sub(1).ok_or(WHAT)?;
        self.bytes = self.bytes.checked_sub(name.len()).ok_or(WHAT)?;
        Ok(())
    }
}

/// A file in memory or mapped.
#[derive(Clone, Copy)]
struct File<'a>(&'a [u8]);

impl File<'_> {
    fn array<const N: usize>(self, at: usize) -> Option<[u8; N]> {
        self.0.get(at..)?.first_chunk().copied()
    }

    fn u16(self, at: usize) -> Option<u16> {
        self.array(at).map(u16::from_le_bytes)
    }

    fn u32(self, at: usize) -> Option<u32> {
        self.array(at).map(u32::from_le_bytes)
    }

    fn u64(self, at: usize) -> Option<u64> {
        self.array(at).map(u64::from_le_bytes)
    }
}

/// Which parts of the file are where in memory, and the entries of the dynamic segment.
struct Segments<'a> {
    file: File<'a>,
    /// Address, offset and length in the file.
    loads: Vec<(u64, u64, u64)>,
    dynamic: Option<Vec<(u64, u64)>>,
    interpreter: bool,
}

impl<'a> Segments<'a> {
    fn read(file: File<'a>) -> Result<Self, ElfError> {
        const WHAT: ElfError = ElfError::Outside("a program header");
        let start = file.u64(32).ok_or(WHAT)?;
        let size = usize::from(file.u16(54).ok_or(WHAT)?);
        let count = usize::from(file.u16(56).ok_or(WHAT)?);
        if count > MAX_ENTRIES {
            return Err(ElfError::TooMany("program headers"));
        }
        let mut dynamic = None;
        let mut segments = Self {
            file,
            loads: Vec::new(),
            dynamic: None,
            interpreter: false,
        };
        if count > 0 && size < PROGRAM_HEADER {
            return Err(WHAT);
        }
        let start = usize::try_from(start).map_err(|_| WHAT)?;
        for number in 0..count {
            let at = start.checked_add(number * size).ok_or(WHAT)?;
            let word = |offset| file.u64(at.checked_add(offset)?);
            let kind = file.u32(at).ok_or(WHAT)?;
            let fields = (word(8), word(16), word(32));
            let (Some(offset), Some(address), Some(length)) = fields else {
                return Err(WHAT);
            };
            match kind {
                PT_LOAD => segments.loads.push((address, offset, length)),
                PT_DYNAMIC if length > 0 => dynamic = Some((offset, length)),
                PT_INTERP => segments.interpreter = true,
                _ => {}
            }
        }
        if let Some((offset, length)) = dynamic {
            segments.dynamic = Some(entries(file, offset, length)?);
        }
        Ok(segments)
    }

    /// Where in the file an address is: so that a field behind it can be computed.
    fn offset(&self, address: u64) -> Option<usize> {
        let found = self.loads.iter().find_map(|(start, offset, length)| {
            let inside = address.checked_sub(*start).filter(|it| it < length)?;
            usize::try_from(offset.checked_add(inside)?).ok()
        });
        found.filter(|offset| *offset < usize::MAX / 2)
    }
}

/// The entries of a dynamic segment up to its end mark.
fn entries(file: File<'_>, offset: u64, length: u64) -> Result<Vec<(u64, u64)>, ElfError> {
    const WHAT: ElfError = ElfError::Outside("the dynamic segment");
    let start = usize::try_from(offset).map_err(|_| WHAT)?;
    let count = usize::try_from(length).map_err(|_| WHAT)? / DYNAMIC_ENTRY;
    let mut entries = Vec::new();
    for number in 0..count {
        if number == MAX_ENTRIES {
            return Err(ElfError::TooMany("dynamic entries"));
        }
        let at = start.checked_add(number * DYNAMIC_ENTRY).ok_or(WHAT)?;
        let tag = file.u64(at).ok_or(WHAT)?;
        let value = file.u64(at + 8).ok_or(WHAT)?;
        if tag == DT_NULL {
            break;
        }
        entries.push((tag, value));
    }
    Ok(entries)
}

/// The table of names.
struct Names<'a>(&'a [u8]);

impl<'a> Names<'a> {
    fn find(
        segments: &Segments<'a>,
        address: Option<u64>,
        size: Option<u64>,
    ) -> Result<Self, ElfError> {
        const WHAT: ElfError = ElfError::Outside("the table of names");
        let (Some(address), Some(size)) = (address, size) else {
            return Ok(Self(&[]));
        };
        let start = segments.offset(address).ok_or(WHAT)?;
        let size = usize::try_from(size).map_err(|_| WHAT)?;
        let end = start.checked_add(size).ok_or(WHAT)?;
        segments.file.0.get(start..end).map(Self).ok_or(WHAT)
    }

    fn text(&self, at: u64, limit: usize) -> Result<&'a str, ElfError> {
        let at = usize::try_from(at).map_err(|_| ElfError::Name)?;
        let rest = self.0.get(at..).ok_or(ElfError::Name)?;
        let rest = &rest[..rest.len().min(limit + 1)];
        let end = rest.iter().position(|byte| *byte == 0);
        let name = &rest[..end.ok_or(ElfError::Name)?];
        match std::str::from_utf8(name) {
            Ok(name) if !name.contains(char::is_control) => Ok(name),
            _ => Err(ElfError::Name),
        }
    }

    fn counted(&self, at: u64, budget: &mut Budget) -> Result<String, ElfError> {
        let name = self.text(at, MAX_NAME)?;
        budget.take(name)?;
        Ok(name.to_owned())
    }

    /// The directories of a search path, each once.
    fn directories(&self, at: u64, budget: &mut Budget) -> Result<Vec<String>, ElfError> {
        let mut seen = HashSet::new();
        let mut found = Vec::new();
        for directory in self.text(at, MAX_SEARCH_PATH)?.split(':') {
            if !directory.is_empty() && seen.insert(directory) {
                budget.take(directory)?;
                found.push(directory.to_owned());
            }
        }
        Ok(found)
    }
}

/// `Elf64_Verneed` and `Elf64_Vernaux`.
fn required(
    segments: &Segments<'_>,
    names: &Names<'_>,
    address: u64,
    count: u64,
    budget: &mut Budget,
) -> Result<Vec<Required>, ElfError> {
    const WHAT: ElfError = ElfError::Outside("a required version");
    let file = segments.file;
    let mut found = Vec::new();
    let mut at = segments.offset(address).ok_or(WHAT)?;
    for _ in 0..count {
        let library = u64::from(file.u32(at + 4).ok_or(WHAT)?);
        let library = names.counted(library, budget)?;
        let mut versions = Vec::new();
        let mut entry = step(at, file.u32(at + 8)).ok_or(WHAT)?;
        for _ in 0..file.u16(at + 2).ok_or(WHAT)? {
            let flags = file.u16(entry + 4).ok_or(WHAT)?;
            let name = names.counted(u64::from(file.u32(entry + 8).ok_or(WHAT)?), budget)?;
            if flags & VER_FLG_WEAK == 0 {
                versions.push(name);
            }
            match file.u32(entry + 12).ok_or(WHAT)? {
                0 => break,
                next => entry = step(entry, Some(next)).ok_or(WHAT)?,
            }
        }
        if !versions.is_empty() {
            found.push(Required { library, versions });
        }
        match file.u32(at + 12).ok_or(WHAT)? {
            0 => break,
            next => at = step(at, Some(next)).ok_or(WHAT)?,
        }
    }
    Ok(found)
}

/// `Elf64_Verdef`, and the first `Elf64_Verdaux` of each, which is its name.
fn defined(
    segments: &Segments<'_>,
    names: &Names<'_>,
    address: u64,
    count: u64,
    budget: &mut Budget,
) -> Result<Vec<String>, ElfError> {
    const WHAT: ElfError = ElfError::Outside("a defined version");
    let file = segments.file;
    let mut found = Vec::new();
    let mut at = segments.offset(address).ok_or(WHAT)?;
    for _ in 0..count {
        let flags = file.u16(at + 2).ok_or(WHAT)?;
        let entry = step(at, file.u32(at + 12)).ok_or(WHAT)?;
        let name = names.counted(u64::from(file.u32(entry).ok_or(WHAT)?), budget)?;
        // The first one stands for the file itself.
        if flags & VER_FLG_BASE == 0 {
            found.push(name);
        }
        match file.u32(at + 16).ok_or(WHAT)? {
            0 => break,
            next => at = step(at, Some(next)).ok_or(WHAT)?,
        }
    }
    Ok(found)
}

/// Where an entry is that lies so far behind another. Small enough that a field behind it can be
/// computed.
fn step(at: usize, offset: Option<u32>) -> Option<usize> {
    let next = at.checked_add(usize::try_from(offset?).ok()?)?;
    (next < usize::MAX / 2).then_some(next)
}
