//! `Contents` indexes: which package has which file (Debian's repository format, "Contents
//! indices"). Read only to say which package would bring a library that is missing.
//!
//! Debian's have some 150 MB unpacked. They are read as a stream, and of them only the shared
//! libraries are kept that the dynamic linker finds by itself; that part is kept on disk as well,
//! under the digest of the index.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, BufRead, Read},
    path::Path,
};

use jiff::Timestamp;
use kiln_digest::Digest;
use kiln_fetch::Fetcher;
use kiln_lock::DebIndex;
use kiln_recipe::{Archive, Platform};

use super::load::{ArchiveSource, DebError};

/// The longest line that is read. The longest of Debian have some 10 KiB: one directory in many
/// packages.
const MAX_LINE: u64 = 1 << 20;

/// The most libraries of one index (Debian's `main` has some 20,000 files).
const MAX_LIBRARIES: usize = 1_000_000;

/// File names of shared libraries → the packages that have one, sorted.
pub type Libraries = BTreeMap<String, BTreeSet<String>>;

/// The libraries of an index that lie where the dynamic linker looks.
pub fn read(contents: impl BufRead, platform: Platform) -> io::Result<Libraries> {
    let mut libraries = Libraries::new();
    let triplet = match platform {
        Platform::LinuxAmd64 => "x86_64-linux-gnu",
        Platform::LinuxArm64 => "aarch64-linux-gnu",
    };
    let mut contents = contents;
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = contents
            .by_ref()
            .take(MAX_LINE)
            .read_until(b'\n', &mut line)?;
        if read == 0 {
            return Ok(libraries);
        }
        if read as u64 == MAX_LINE {
            return Err(malformed("a line is too long"));
        }
        let Ok(line) = std::str::from_utf8(&line) else {
            continue;
        };
        let Some((name, packages)) = library(line, triplet) else {
            continue;
        };
        if libraries.len() == MAX_LIBRARIES && !libraries.contains_key(name) {
            return Err(malformed("it has too many libraries"));
        }
        let known = libraries.entry(name.to_owned()).or_default();
        // Packages stand behind their sections: `libs/libgl1,oldlibs/libgl1-old`.
        let names = packages
            .split(',')
            .map(|it| it.rsplit('/').next().unwrap_or(it));
        known.extend(names.filter(|name| !name.is_empty()).map(str::to_owned));
    }
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// The name of the library and the packages of a line: a path, white space, packages.
fn library<'a>(line: &'a str, triplet: &str) -> Option<(&'a str, &'a str)> {
    let (path, packages) = line
        .trim_end()
        .rsplit_once(|c: char| c.is_ascii_whitespace())?;
    let path = path.trim_end();
    let path = path.strip_prefix("./").unwrap_or(path);
    let path = path.strip_prefix("usr/").unwrap_or(path);
    let (directory, name) = path.strip_prefix("lib/")?.rsplit_once('/').map_or_else(
        || Some(("", path.strip_prefix("lib/")?)),
        |(directory, name)| Some((directory, name)),
    )?;
    let is_library = name.contains(".so") && (directory.is_empty() || directory == triplet);
    is_library.then_some((name, packages))
}

/// Which packages of some archives have these libraries, the likeliest first. Archives without
/// such an index have none. `cache` is a directory in which what was read is kept; it may be
/// dropped at any time.
pub fn owners(
    fetcher: &Fetcher,
    archives: &[&Archive],
    platform: Platform,
    previous: &[DebIndex],
    now: Timestamp,
    cache: &Path,
    libraries: &BTreeSet<String>,
) -> Result<BTreeMap<String, Vec<String>>, DebError> {
    let mut found: Libraries = libraries
        .iter()
        .map(|library| (library.clone(), BTreeSet::new()))
        .collect();
    for archive in archives {
        let source = ArchiveSource {
            fetcher,
            archive,
            architecture: platform.architecture(),
            previous,
            now,
        };
        for known in source.libraries(platform, cache)? {
            for (library, packages) in &mut found {
                packages.extend(known.get(library).into_iter().flatten().cloned());
            }
        }
    }
    let sorted = found.into_iter().map(|(library, packages)| {
        let mut packages: Vec<_> = packages.into_iter().collect();
        // Not what is for compiling or debugging; then the shortest name.
        let is_odd = |name: &str| {
            ["-dev", "-dbg", "-cross"]
                .iter()
                .any(|it| name.contains(it))
        };
        packages.sort_by_key(|name| (is_odd(name), name.len(), name.clone()));
        (library, packages)
    });
    Ok(sorted.collect())
}

impl ArchiveSource<'_> {
    fn libraries(self, platform: Platform, cache: &Path) -> Result<Vec<Libraries>, DebError> {
        let (_, release) = self.release()?;
        let mut found = Vec::new();
        let mut seen = BTreeSet::new();
        for component in &self.archive.components {
            let suite = &self.archive.suite;
            let Some(file) = release.contents(suite, component, self.architecture) else {
                continue;
            };
            if !seen.insert(file.file.sha256.hex()) {
                continue;
            }
            let kept = cache.join(file.file.sha256.hex());
            if let Some(libraries) = read_kept(&kept) {
                found.push(libraries);
                continue;
            }
            let bytes = self.index(&file)?;
            let unpacked = file.compression.unpack(&bytes, file.unpacked_limit);
            let libraries =
                unpacked
                    .and_then(|reader| read(reader, platform))
                    .map_err(|cause| DebError::Contents {
                        at: self.archive.at.clone(),
                        from: self.archive.source.clone(),
                        path: file.path.clone(),
                        cause,
                    })?;
            // Where nothing can be kept, it is read again.
            let _ = std::fs::create_dir_all(cache).and_then(|()| keep(&kept, &libraries));
            found.push(libraries);
        }
        Ok(found)
    }
}

/// The digest of the rest, then one line for each library: its name and its packages.
fn keep(path: &Path, libraries: &Libraries) -> io::Result<()> {
    let mut text = String::new();
    for (library, packages) in libraries {
        text.push_str(library);
        for package in packages {
            text.push(' ');
            text.push_str(package);
        }
        text.push('\n');
    }
    let directory = path.parent().unwrap_or(path);
    let file = tempfile::NamedTempFile::new_in(directory)?;
    let content = format!("{}\n{text}", Digest::of(text.as_bytes()).hex());
    std::fs::write(file.path(), content)?;
    file.persist(path)?;
    Ok(())
}

fn read_kept(path: &Path) -> Option<Libraries> {
    let content = std::fs::read_to_string(path).ok()?;
    let (digest, text) = content.split_once('\n')?;
    if Digest::of(text.as_bytes()).hex() != digest {
        return None;
    }
    let lines = text.lines().filter_map(|line| {
        let mut words = line.split(' ').map(str::to_owned);
        Some((words.next()?, words.collect()))
    });
    Some(lines.collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Lines as they stand in the index of bookworm, and of noble.
    const CONTENTS: &str = "\
bin/bash                                                shells/bash
usr/lib/x86_64-linux-gnu/libGL.so.1                     libs/libgl1
usr/lib/x86_64-linux-gnu/libGL.so.1.7.0                 libs/libgl1
usr/lib/x86_64-linux-gnu/libGL.so                       libdevel/libgl-dev
lib/x86_64-linux-gnu/libz.so.1                          libs/zlib1g,oldlibs/zlib1g-old
./usr/lib/libopen.so.0    universe/libs/libopen0
usr/lib/x86_64-linux-gnu/dri/swrast_dri.so              libs/libgl1-mesa-dri
usr/lib/aarch64-linux-gnu/libarm.so.1                   libs/libarm1
usr/share/doc/a file with .so in it                     doc/a
";

    fn packages(libraries: &Libraries, name: &str) -> Vec<String> {
        libraries.get(name).into_iter().flatten().cloned().collect()
    }

    #[test]
    fn libraries_of_the_linkers_directories_are_found() {
        let found = read(CONTENTS.as_bytes(), Platform::LinuxAmd64).unwrap();
        assert_eq!(packages(&found, "libGL.so.1"), ["libgl1"]);
        assert_eq!(packages(&found, "libz.so.1"), ["zlib1g", "zlib1g-old"]);
        assert_eq!(packages(&found, "libopen.so.0"), ["libopen0"]);
        assert_eq!(found.len(), 5);
        let found = read(CONTENTS.as_bytes(), Platform::LinuxArm64).unwrap();
        assert_eq!(packages(&found, "libarm.so.1"), ["libarm1"]);
    }

    #[test]
    fn what_was_kept_reads_back_and_what_is_damaged_is_absent() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("kept");
        let libraries = read(CONTENTS.as_bytes(), Platform::LinuxAmd64).unwrap();
        keep(&path, &libraries).unwrap();
        assert_eq!(read_kept(&path), Some(libraries));
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replace("zlib1g", "zlib2g")).unwrap();
        assert_eq!(read_kept(&path), None);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes: Vec<u8>, text in "(usr/lib/|lib/)?[a-z/. ,]{0,40}\n?") {
            let _ = read(&bytes[..], Platform::LinuxAmd64);
            let _ = read(text.as_bytes(), Platform::LinuxAmd64);
        }
    }
}
