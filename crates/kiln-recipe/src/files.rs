//! Reading the family's directory. Nothing here knows what the files mean.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use crate::error::suggest;

/// The largest single file that is read, in bytes.
pub const MAX_FILE: u64 = 16 << 20;
/// The largest sum of all files, in bytes.
pub const MAX_TOTAL: u64 = 64 << 20;
/// The largest number of files.
pub const MAX_FILES: usize = 4096;
/// How deep directories may nest below the family's.
pub const MAX_DEPTH: usize = 16;

/// The directories of a family that are read; everything else beside them is not ours.
pub const DIRECTORIES: [&str; 5] = ["accelerators", "bases", "bundles", "ides", "keyrings"];

/// The directory of releases that have files of their own.
pub const RELEASES: &str = "releases";

/// The bytes of a family's files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FamilyFiles {
    /// Content by path relative to the family's directory, with `/`.
    pub files: BTreeMap<String, Vec<u8>>,
    /// Paths of those that somebody may execute.
    pub executables: BTreeSet<String>,
    /// Paths of those that are symbolic links; content and mode are of what they lead to.
    pub links: BTreeSet<String>,
    /// The release that is meant, if it is one that has files of its own ([`read_release`]).
    pub release: Option<String>,
    /// Where those files of it are really: `releases/2026a/kiln.toml` for `kiln.toml`.
    pub own: BTreeMap<String, String>,
}

impl FamilyFiles {
    /// Where a file is, relative to the family's directory.
    pub fn place<'a>(&'a self, path: &'a str) -> &'a str {
        self.own.get(path).map_or(path, String::as_str)
    }
}

/// Why a family could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The directory has no `kiln.toml`.
    #[error("no `kiln.toml` in `{}`", .0.display())]
    NoFamily(PathBuf),
    /// There is no such release.
    #[error("the family has no release `{name}` in `{RELEASES}`")]
    NoRelease {
        /// What was asked for.
        name: String,
        /// The releases that it has.
        known: Vec<String>,
    },
    /// The operating system refused.
    #[error("cannot read `{}`", path.display())]
    Io {
        /// What was read.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A symbolic link leads out of the family, or to a directory.
    #[error("`{}` is a symbolic link that leads out of the family or to a directory", .0.display())]
    Symlink(PathBuf),
    /// A name that no TOML file could name.
    #[error("`{}` has a name that is not UTF-8", .0.display())]
    NotUtf8(PathBuf),
    /// A limit was passed.
    #[error("`{}` {what}", path.display())]
    TooMuch {
        /// Where.
        path: PathBuf,
        /// Which limit.
        what: String,
    },
}

impl ReadError {
    /// What a newcomer can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoFamily(_) => Some(
                "name the directory that holds `kiln.toml`, `bases/`, `bundles/` and `ides/`"
                    .to_owned(),
            ),
            Self::NoRelease { name, known } => {
                suggest(name, "releases", known.iter().map(String::as_str))
            }
            Self::Symlink(_) => {
                Some("put a copy of the file or directory into the family".to_owned())
            }
            Self::NotUtf8(_) => Some("give it a name in UTF-8".to_owned()),
            Self::TooMuch { .. } => Some(
                "large files are artifacts of a source: `[[run.artifact]]` in docs/family-files.md"
                    .to_owned(),
            ),
            Self::Io { .. } => None,
        }
    }
}

/// Reads `kiln.toml` and everything below `accelerators/`, `bases/`, `bundles/`, `ides/` and
/// `keyrings/`. Symbolic links are followed to files inside the family only.
pub fn read_family(dir: &Path) -> Result<FamilyFiles, ReadError> {
    read(dir, None)
}

/// Reads the files of a release that has some of its own in `releases/NAME/`, as they lie in the
/// family's directory: these count, and where there is none the family's.
pub fn read_release(dir: &Path, name: &str) -> Result<FamilyFiles, ReadError> {
    read(dir, Some(name))
}

/// The releases that have files of their own, sorted. Their directories are no symbolic links, as
/// little as those of components.
pub fn releases(dir: &Path) -> Result<Vec<String>, ReadError> {
    let path = dir.join(RELEASES);
    if path.is_symlink() {
        return Err(ReadError::Symlink(path));
    }
    let io = |source| ReadError::Io {
        path: path.clone(),
        source,
    };
    let entries = match fs::read_dir(&path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(io(source)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(io)?;
        let kind = entry.file_type().map_err(io)?;
        if kind.is_symlink() && entry.path().is_dir() {
            return Err(ReadError::Symlink(entry.path()));
        }
        if kind.is_dir()
            && let Ok(name) = entry.file_name().into_string()
        {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

fn read(dir: &Path, release: Option<&str>) -> Result<FamilyFiles, ReadError> {
    let root = dir.canonicalize().map_err(|source| ReadError::Io {
        path: dir.into(),
        source,
    })?;
    let mut reader = Reader {
        root: &root,
        found: FamilyFiles::default(),
        total: 0,
        below: String::new(),
    };
    if !root.join("kiln.toml").exists() {
        return Err(ReadError::NoFamily(dir.into()));
    }
    reader.file_or_link(&root.join("kiln.toml"), "kiln.toml".to_owned())?;
    reader.directories(&root)?;
    if let Some(name) = release {
        // Only a name that is listed: another could lead anywhere.
        let known = releases(&root)?;
        if !known.iter().any(|it| it == name) {
            return Err(ReadError::NoRelease {
                name: name.to_owned(),
                known,
            });
        }
        let own = root.join(RELEASES).join(name);
        reader.below = format!("{RELEASES}/{name}/");
        let settings = own.join("kiln.toml");
        if settings.is_symlink() || settings.is_file() {
            reader.file_or_link(&settings, "kiln.toml".to_owned())?;
        }
        reader.directories(&own)?;
        reader.found.release = Some(name.to_owned());
    }
    Ok(reader.found)
}

struct Reader<'a> {
    root: &'a Path,
    found: FamilyFiles,
    total: u64,
    /// What the paths of files have in front of those that they are known by.
    below: String,
}

impl Reader<'_> {
    /// Reads the directories of components below `root`, which is the family's or a release's.
    fn directories(&mut self, root: &Path) -> Result<(), ReadError> {
        for name in DIRECTORIES {
            let path = root.join(name);
            match path.symlink_metadata() {
                Ok(metadata) if metadata.is_dir() => self.directory(&path, name, 1)?,
                Ok(metadata) if metadata.is_symlink() => return Err(ReadError::Symlink(path)),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(ReadError::Io { path, source }),
            }
        }
        Ok(())
    }

    fn directory(&mut self, dir: &Path, relative: &str, depth: usize) -> Result<(), ReadError> {
        let io = |source| ReadError::Io {
            path: dir.into(),
            source,
        };
        if depth > MAX_DEPTH {
            let what = format!("lies more than {MAX_DEPTH} directories deep");
            return Err(ReadError::TooMuch {
                path: dir.into(),
                what,
            });
        }
        for entry in fs::read_dir(dir).map_err(io)? {
            let entry = entry.map_err(io)?;
            let path = entry.path();
            let name = entry.file_name();
            let Some(name) = name.to_str() else {
                return Err(ReadError::NotUtf8(path));
            };
            let relative = format!("{relative}/{name}");
            let kind = entry.file_type().map_err(io)?;
            if kind.is_dir() {
                self.directory(&path, &relative, depth + 1)?;
            } else if kind.is_symlink() || kind.is_file() {
                self.file_or_link(&path, relative)?;
            }
        }
        Ok(())
    }

    /// Reads a file; a symbolic link is followed to a file of the family.
    fn file_or_link(&mut self, path: &Path, relative: String) -> Result<(), ReadError> {
        if !path.is_symlink() {
            return self.file(path, relative);
        }
        let target = path.canonicalize().map_err(|source| ReadError::Io {
            path: path.into(),
            source,
        })?;
        if !target.starts_with(self.root) || !target.is_file() {
            return Err(ReadError::Symlink(path.into()));
        }
        self.file(&target, relative.clone())?;
        self.found.links.insert(relative);
        Ok(())
    }

    fn file(&mut self, path: &Path, relative: String) -> Result<(), ReadError> {
        let io = |source| ReadError::Io {
            path: path.into(),
            source,
        };
        let too_much = |what| {
            Err(ReadError::TooMuch {
                path: path.into(),
                what,
            })
        };
        if self.found.files.len() == MAX_FILES {
            return too_much(format!(
                "is one file too many: a family has at most {MAX_FILES}"
            ));
        }
        let mut bytes = Vec::new();
        let file = fs::File::open(path).map_err(io)?;
        let mode = file.metadata().map_err(io)?.permissions().mode();
        // One byte more than allowed tells a file that is too long, whatever its metadata say.
        io::Read::read_to_end(&mut io::Read::take(file, MAX_FILE + 1), &mut bytes).map_err(io)?;
        let length = bytes.len() as u64;
        if length > MAX_FILE {
            return too_much(format!("is larger than {} MiB", MAX_FILE >> 20));
        }
        self.total += length;
        if self.total > MAX_TOTAL {
            let limit = MAX_TOTAL >> 20;
            return too_much(format!(
                "makes the family's files larger than {limit} MiB together"
            ));
        }
        // A release's own file takes the place of the family's, whatever that was.
        self.found.links.remove(&relative);
        if mode & 0o111 == 0 {
            self.found.executables.remove(&relative);
        } else {
            self.found.executables.insert(relative.clone());
        }
        if !self.below.is_empty() {
            let place = format!("{}{relative}", self.below);
            self.found.own.insert(relative.clone(), place);
        }
        self.found.files.insert(relative, bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn family() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("bundles/minimal/files")).unwrap();
        fs::write(dir.path().join("kiln.toml"), "a").unwrap();
        fs::write(dir.path().join("README.md"), "not ours").unwrap();
        fs::write(dir.path().join("bundles/minimal/bundle.toml"), "b").unwrap();
        fs::write(dir.path().join("bundles/minimal/files/x"), "c").unwrap();
        dir
    }

    #[test]
    fn a_release_has_the_familys_files_and_its_own_instead() {
        let dir = family();
        let own = dir.path().join("releases/2026a");
        fs::create_dir_all(own.join("bundles/minimal")).unwrap();
        fs::write(own.join("bundles/minimal/bundle.toml"), "old").unwrap();
        fs::write(own.join("kiln.lock"), "not read").unwrap();
        fs::write(dir.path().join("releases/README.md"), "not ours").unwrap();
        let family = read_family(dir.path()).unwrap();
        assert_eq!(family.files["bundles/minimal/bundle.toml"], b"b");
        assert_eq!((family.release.as_deref(), family.own.len()), (None, 0));
        assert_eq!(releases(dir.path()).unwrap(), ["2026a"]);
        let release = read_release(dir.path(), "2026a").unwrap();
        assert_eq!(release.release.as_deref(), Some("2026a"));
        assert_eq!(release.files.len(), family.files.len());
        assert_eq!(release.files["bundles/minimal/bundle.toml"], b"old");
        assert_eq!(release.files["bundles/minimal/files/x"], b"c");
        assert_eq!(
            release.place("bundles/minimal/bundle.toml"),
            "releases/2026a/bundles/minimal/bundle.toml"
        );
        assert_eq!(release.place("kiln.toml"), "kiln.toml");
        for other in ["2026b", "../releases/2026a", "", "."] {
            let error = read_release(dir.path(), other).unwrap_err();
            assert!(matches!(error, ReadError::NoRelease { .. }), "{other}");
        }
    }

    #[test]
    fn only_the_familys_own_files_are_read() {
        let dir = family();
        let files = read_family(dir.path()).unwrap().files;
        let names: Vec<_> = files.keys().map(String::as_str).collect();
        assert_eq!(
            names,
            [
                "bundles/minimal/bundle.toml",
                "bundles/minimal/files/x",
                "kiln.toml"
            ]
        );
        assert_eq!(files["bundles/minimal/files/x"], b"c");
    }

    #[test]
    fn a_directory_without_kiln_toml_is_no_family() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(
            read_family(dir.path()),
            Err(ReadError::NoFamily(_))
        ));
    }

    #[test]
    fn links_inside_the_family_are_followed_and_links_out_of_it_refused() {
        let dir = family();
        let link = dir.path().join("bundles/minimal/files/link");
        std::os::unix::fs::symlink("x", &link).unwrap();
        let files = read_family(dir.path()).unwrap();
        assert_eq!(files.files["bundles/minimal/files/link"], b"c");
        assert!(files.links.contains("bundles/minimal/files/link"));
        assert_eq!(files.links.len(), 1);
        for target in ["/etc/hostname", "..", "../../../../../../../etc/passwd"] {
            fs::remove_file(&link).unwrap();
            std::os::unix::fs::symlink(target, &link).unwrap();
            assert!(
                matches!(read_family(dir.path()), Err(ReadError::Symlink(_))),
                "{target}"
            );
        }
    }

    #[test]
    fn links_that_lead_a_release_out_of_the_family_are_refused() {
        use std::os::unix::fs::symlink;
        let outside = tempfile::tempdir().unwrap();
        fs::create_dir(outside.path().join("2026a")).unwrap();
        fs::write(outside.path().join("kiln.toml"), "secret").unwrap();
        let refused = |dir: &Path| {
            let refused = |it: Result<_, ReadError>| matches!(it, Err(ReadError::Symlink(_)));
            assert!(refused(read_release(dir, "2026a").map(drop)));
            refused(releases(dir).map(drop))
        };
        let dir = family();
        symlink(outside.path(), dir.path().join("releases")).unwrap();
        assert!(refused(dir.path()));

        let dir = family();
        fs::create_dir(dir.path().join("releases")).unwrap();
        symlink(
            outside.path().join("2026a"),
            dir.path().join("releases/2026a"),
        )
        .unwrap();
        assert!(refused(dir.path()));

        // A link in the release is that of a file, and may lead to one of the family.
        let dir = family();
        let own = dir.path().join("releases/2026a");
        fs::create_dir_all(&own).unwrap();
        symlink(outside.path().join("kiln.toml"), own.join("kiln.toml")).unwrap();
        assert!(!refused(dir.path()));
        fs::remove_file(own.join("kiln.toml")).unwrap();
        symlink("../../kiln.toml", own.join("kiln.toml")).unwrap();
        let release = read_release(dir.path(), "2026a").unwrap();
        assert_eq!(release.files["kiln.toml"], b"a");

        let dir = family();
        fs::remove_file(dir.path().join("kiln.toml")).unwrap();
        symlink(
            outside.path().join("kiln.toml"),
            dir.path().join("kiln.toml"),
        )
        .unwrap();
        let read = read_family(dir.path());
        assert!(matches!(read, Err(ReadError::Symlink(_))), "{read:?}");
    }

    #[test]
    fn it_is_told_which_files_can_be_executed() {
        let dir = family();
        let script = dir.path().join("bundles/minimal/files/x");
        assert!(read_family(dir.path()).unwrap().executables.is_empty());
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        let files = read_family(dir.path()).unwrap();
        assert_eq!(
            files.executables.into_iter().collect::<Vec<_>>(),
            ["bundles/minimal/files/x"]
        );
    }

    #[test]
    fn a_file_that_is_too_large_is_refused() {
        let dir = family();
        let file = fs::File::create(dir.path().join("bundles/minimal/files/big")).unwrap();
        file.set_len(MAX_FILE + 1).unwrap();
        assert!(matches!(
            read_family(dir.path()),
            Err(ReadError::TooMuch { .. })
        ));
    }
}
