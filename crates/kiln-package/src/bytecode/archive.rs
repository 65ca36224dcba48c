//! The compiled modules of one wheel, as one file.
//!
//! A zip archive as [`crate::zip::write()`] makes it. The members are named by where they go below
//! the environment's directory (`lib/python3.11/site-packages/six/__pycache__/…`) and stand in
//! the order of these names; their modes are 0644. Owner and mode in an image are decided when
//! the archive becomes entries, which copies compressed bytes only.

use std::{
    io::{BufWriter, IntoInnerError},
    path::Path,
};

use bytes::Bytes;
use kiln_layer::{Entry, EntryKind, EntryPathError, REPRODUCIBLE_MTIME};

use crate::{
    spool::Spool,
    wheel::Placement,
    zip::{self, NewMember, WriteError, ZipError},
};

/// A compiled module.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ModuleFile {
    /// Where it goes below the environment's directory.
    pub path: String,
    /// Its bytes, canonical.
    pub content: Vec<u8>,
}

/// Why an archive of modules is refused.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It is no zip archive.
    #[error(transparent)]
    Zip(#[from] ZipError),
    /// It holds something else.
    #[error("`{0}` is no compiled module")]
    NotAModule(String),
    /// A path is too long.
    #[error(transparent)]
    Path(#[from] EntryPathError),
}

/// Where Python looks for the compiled form of `source`, a path that ends in `.py` (PEP 3147;
/// `cache_from_source` in `Lib/importlib/_bootstrap_external.py` of Python).
pub fn module_path(source: &str, python: (u8, u8)) -> Option<String> {
    let (directory, file) = source
        .rsplit_once('/')
        .map_or(("", source), |(directory, file)| (directory, file));
    let stem = match file.strip_suffix(".py")? {
        // A file that is called `.py` has no stem, and Python takes its suffix for one.
        "" => "py",
        stem => stem,
    };
    let (major, minor) = python;
    let slash = if directory.is_empty() { "" } else { "/" };
    Some(format!(
        "{directory}{slash}{CACHE}/{stem}.cpython-{major}{minor}.pyc"
    ))
}

const CACHE: &str = "__pycache__";

/// The archive of `modules`, which come in any order. A large one is a map of an unnamed file in
/// the directory `spool`.
pub fn archive(mut modules: Vec<ModuleFile>, spool: &Path) -> Result<Bytes, WriteError> {
    modules.sort_unstable();
    let members = modules.iter().map(|module| NewMember {
        name: &module.path,
        mode: 0o644,
        content: &module.content,
    });
    let mut out = BufWriter::new(Spool::new(spool));
    zip::write(members, &mut out)?;
    let out = out.into_inner().map_err(IntoInnerError::into_error)?;
    Ok(out.into_bytes()?)
}

/// The entries of the modules in `archive`, without their directories.
pub fn entries(archive: &Bytes, placement: &Placement) -> Result<Vec<Entry>, ArchiveError> {
    let entry = |member: zip::Member| {
        let mut components = member.name.rsplit('/');
        let stem = components.next().and_then(|file| file.strip_suffix(".pyc"));
        let is_module = stem.is_some() && components.next() == Some(CACHE);
        if !is_module {
            return Err(ArchiveError::NotAModule(member.name));
        }
        Ok(Entry {
            path: placement.prefix.join(member.name.as_bytes())?,
            kind: EntryKind::File(member.payload),
            mode: placement.file_mode,
            uid: placement.uid,
            gid: placement.gid,
            mtime: REPRODUCIBLE_MTIME,
            capability: None,
        })
    };
    zip::files(archive)?.into_iter().map(entry).collect()
}

#[cfg(test)]
mod tests {
    use kiln_layer::EntryPath;
    use proptest::prelude::*;

    use super::*;

    fn placement() -> Placement {
        Placement {
            prefix: EntryPath::new("opt/app-root").unwrap(),
            python: (3, 11),
            uid: 1001,
            gid: 0,
            directory_mode: 0o775,
            file_mode: 0o664,
            executable_mode: 0o775,
        }
    }

    fn module(path: &str) -> ModuleFile {
        ModuleFile {
            path: path.into(),
            content: path.repeat(9).into_bytes(),
        }
    }

    fn archive(modules: &[ModuleFile]) -> Bytes {
        super::archive(modules.to_vec(), &std::env::temp_dir()).unwrap()
    }

    /// Expected values from `importlib.util.cache_from_source` of Python 3.11.
    #[test]
    fn modules_are_where_python_looks_for_them() {
        let cases = [
            ("six.py", "__pycache__/six.cpython-311.pyc"),
            ("lib/a/b.py", "lib/a/__pycache__/b.cpython-311.pyc"),
            ("lib/a.b.py", "lib/__pycache__/a.b.cpython-311.pyc"),
            ("lib/.py", "lib/__pycache__/py.cpython-311.pyc"),
        ];
        for (source, module) in cases {
            assert_eq!(module_path(source, (3, 11)).as_deref(), Some(module));
        }
        assert_eq!(module_path("lib/a.pyi", (3, 11)), None);
        assert_eq!(module_path("lib/a.py/b", (3, 11)), None);
    }

    #[test]
    fn entries_belong_to_the_family_s_user() {
        let archive = archive(&[module("lib/__pycache__/a.cpython-311.pyc")]);
        let [entry] = &entries(&archive, &placement()).unwrap()[..] else {
            panic!("one module, one entry");
        };
        assert_eq!(
            entry.path.as_bytes(),
            b"opt/app-root/lib/__pycache__/a.cpython-311.pyc"
        );
        assert_eq!((entry.mode, entry.uid, entry.gid), (0o664, 1001, 0));
        assert_eq!(entry.mtime, REPRODUCIBLE_MTIME);
    }

    #[test]
    fn other_files_are_refused() {
        for path in ["lib/a.py", "lib/a.pyc", "__pycache__", "a/__pycache__/b.so"] {
            let outcome = entries(&archive(&[module(path)]), &placement());
            assert!(
                matches!(outcome, Err(ArchiveError::NotAModule(_))),
                "{path}"
            );
        }
    }

    proptest! {
        #[test]
        fn the_order_of_modules_does_not_matter(
            paths in prop::collection::btree_set("[a-z]{1,3}/__pycache__/[a-z]{1,3}\\.pyc", 0..6)
                .prop_map(|paths| paths.into_iter().collect::<Vec<_>>())
                .prop_shuffle(),
        ) {
            let modules: Vec<_> = paths.iter().map(|path| module(path)).collect();
            let mut sorted = modules.clone();
            sorted.sort();
            prop_assert_eq!(archive(&modules), archive(&sorted));
            prop_assert_eq!(entries(&archive(&modules), &placement()).unwrap().len(), modules.len());
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let _ = entries(&bytes.into(), &placement());
        }
    }
}
