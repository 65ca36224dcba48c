//! The compiled modules of one wheel, as one file.
//!
//! A zip archive as [`crate::zip::write()`] makes it. The members are named by where they go below
//! the environment's directory (`lib/python3.11/site-packages/six/__pycache__/…`) and stand in
//! the order of these names; their modes are 0644. Owner and mode in an image are decided when
//! the archive becomes entries, which copies compressed bytes only.

use bytes::Bytes;
use kiln_layer::{Entry, EntryKind, EntryPathError, REPRODUCIBLE_MTIME};

use crate::{
    wheel::Placement,
    zip::{self, NewMember, PackedMember, WriteError, ZipError},
};

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

/// A module file as a member of an archive: `path` is where it goes below the environment's
/// directory, `content` is canonical.
pub fn member<'a>(path: &'a str, content: &'a [u8]) -> NewMember<'a> {
    NewMember {
        name: path,
        mode: 0o644,
        content,
    }
}

/// The archive of modules ([`member`]), which come in any order.
pub fn archive(mut modules: Vec<PackedMember>) -> Result<Bytes, WriteError> {
    modules.sort_unstable();
    let mut out = Vec::new();
    zip::write_packed(modules, &mut out)?;
    Ok(out.into())
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
    use crate::zip::Packer;

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

    fn module(path: &str) -> PackedMember {
        let content = path.repeat(9).into_bytes();
        Packer::default().pack(&member(path, &content)).unwrap()
    }

    fn archive(modules: &[PackedMember]) -> Bytes {
        super::archive(modules.to_vec()).unwrap()
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
