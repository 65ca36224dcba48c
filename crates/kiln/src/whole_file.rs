//! Files that people ask for: under their names once they are complete, and not before.

use std::{
    fs::{File, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use crate::error::Failure;

/// A complete file that waits to be put under its name, and vanishes otherwise.
pub(crate) struct Whole {
    file: tempfile::NamedTempFile,
    path: PathBuf,
}

/// Writes what `content` does beside `path`, with the permissions that the umask leaves.
pub(crate) fn prepare<T>(
    path: &Path,
    content: impl FnOnce(&mut File, &Path) -> Result<T, Failure>,
) -> Result<(Whole, T), Failure> {
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let directory = parent.unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new()
        .prefix(".kiln.")
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(directory)
        .map_err(|error| failed(path, &error))?;
    let made = content(file.as_file_mut(), directory)?;
    let synced = file.as_file().sync_all();
    synced.map_err(|error| failed(path, &error))?;
    let path = path.to_owned();
    Ok((Whole { file, path }, made))
}

impl Whole {
    /// Puts the file under its name, in one step.
    pub(crate) fn put(self) -> Result<(), Failure> {
        let put = self.file.persist(&self.path);
        put.map_err(|error| failed(&self.path, &error.error))?;
        Ok(())
    }
}

/// Replaces `path` by what `content` writes, in one step, with the permissions that the umask leaves.
pub(crate) fn write<T>(
    path: &Path,
    content: impl FnOnce(&mut File, &Path) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let (whole, made) = prepare(path, content)?;
    whole.put()?;
    Ok(made)
}

fn failed(path: &Path, error: &std::io::Error) -> Failure {
    Failure::io(&format!("writing `{}`", path.display()), error)
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write as _};

    use super::*;
    use crate::exit;

    #[test]
    fn a_file_appears_when_it_is_complete_with_the_permissions_of_any_new_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("made");
        write(&path, |file, _| {
            file.write_all(b"whole").unwrap();
            assert!(!path.exists());
            Ok(())
        })
        .unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"whole");
        let usual = dir.path().join("usual");
        fs::write(&usual, b"").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&path), mode(&usual));
    }

    #[test]
    fn a_failure_leaves_what_was_there_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("made");
        fs::write(&path, b"before").unwrap();
        let failed = write(&path, |file, _| -> Result<(), Failure> {
            file.write_all(b"half").unwrap();
            Err(Failure::new(exit::STORAGE, "no space"))
        });
        assert!(failed.is_err());
        assert_eq!(fs::read(&path).unwrap(), b"before");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
