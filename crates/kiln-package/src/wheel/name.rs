//! Names of projects, versions and wheel files.
//!
//! Sources: the Python packaging specifications "Binary distribution format" (file name convention) and
//! "Names and normalization".

use std::str::FromStr;

use pep440_rs::Version;

use super::WheelError;

/// The parts of a wheel's file name that name the project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FileName {
    /// Normalised: lowercase, words joined by `-`.
    pub(super) project: String,
    /// As it is written.
    pub(super) version: String,
}

impl FileName {
    /// Parses `NAME-VERSION[-BUILD]-PYTHON-ABI-PLATFORM.whl`.
    pub(super) fn parse(file_name: &str) -> Result<Self, WheelError> {
        let error = || WheelError::FileName(file_name.chars().take(200).collect());
        let stem = file_name.strip_suffix(".whl").ok_or_else(error)?;
        let parts: Vec<&str> = stem.split('-').collect();
        let build_is_sound = match parts.len() {
            5 => true,
            // "Must start with a digit."
            6 => parts[2].starts_with(|first: char| first.is_ascii_digit()),
            _ => false,
        };
        let is_part = |part: &&str| {
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._+!".contains(&byte);
            !part.is_empty() && part.bytes().all(allowed)
        };
        if !build_is_sound || !parts.iter().all(is_part) {
            return Err(error());
        }
        Ok(Self {
            project: normalized(parts[0]),
            version: parts[1].to_owned(),
        })
    }

    /// Whether `name` and `version`, spelled in any allowed way, mean this project and version.
    pub(super) fn means(&self, name: &str, version: &str) -> bool {
        normalized(name) == self.project && same_version(version, &self.version)
    }
}

/// The normal form of a project name: lowercase, runs of `-`, `_` and `.` as one `-`.
pub(super) fn normalized(name: &str) -> String {
    let mut normal = String::with_capacity(name.len());
    for character in name.chars() {
        match character {
            '-' | '_' | '.' if normal.ends_with('-') => {}
            '-' | '_' | '.' => normal.push('-'),
            other => normal.push(other.to_ascii_lowercase()),
        }
    }
    normal
}

/// Equal as PEP 440 versions, or byte for byte where one of them is none. `_` stands for the
/// `-` that a file name cannot hold.
fn same_version(a: &str, b: &str) -> bool {
    let parse = |version: &str| Version::from_str(&version.replace('_', "-")).ok();
    match (parse(a), parse(b)) {
        (Some(a), Some(b)) => a == b,
        _ => a == b,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_give_project_and_version() {
        for (file_name, project, version) in [
            (
                "numpy-2.4.6-cp311-cp311-manylinux_2_27_x86_64.whl",
                "numpy",
                "2.4.6",
            ),
            (
                "Zope.Interface__x-5.0-1build-py3-none-any.whl",
                "zope-interface-x",
                "5.0",
            ),
            (
                "torch-2.9.0+cu128-cp311-cp311-linux_x86_64.whl",
                "torch",
                "2.9.0+cu128",
            ),
            ("a-1!2.0-py2.py3-none-any.whl", "a", "1!2.0"),
        ] {
            let parsed = FileName::parse(file_name).unwrap();
            assert_eq!((&*parsed.project, &*parsed.version), (project, version));
        }
    }

    #[test]
    fn other_file_names_are_refused() {
        for file_name in [
            "",
            ".whl",
            "a-1-py3-none-any.zip",
            "a-1-none-any.whl",
            "a-1-x1-py3-none-any.whl",
            "a-1-1-1-py3-none-any.whl",
            "a--py3-none-any.whl",
            "../a-1-py3-none-any.whl",
            "a b-1-py3-none-any.whl",
        ] {
            assert!(FileName::parse(file_name).is_err(), "{file_name}");
        }
    }

    #[test]
    fn spellings_of_one_version_are_equal() {
        let parsed = FileName::parse("Foo_Bar-1.0.post1-py3-none-any.whl").unwrap();
        assert!(parsed.means("foo.bar", "1.0-1"));
        assert!(parsed.means("FOO--BAR", "1.0.0.post1"));
        assert!(!parsed.means("foo-bar", "1.0"));
        assert!(!parsed.means("foobar", "1.0.post1"));
        let legacy = FileName::parse("foo-2004d-py3-none-any.whl").unwrap();
        assert!(legacy.means("foo", "2004d"));
        assert!(!legacy.means("foo", "2004e"));
    }
}
