//! `[build-system]` of `pyproject.toml` (PEP 517 and 518).

use serde::Deserialize;

use super::{MAX_PYPROJECT, SdistError};

/// How a project wants to be built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildSystem {
    /// What building requires.
    pub requires: Vec<String>,
    /// The object with the hooks, `module` or `module:object`.
    pub backend: String,
    /// Directories of the project that the back end is imported from.
    pub backend_path: Vec<String>,
}

/// The back end of projects that name none: `setup.py`, run as it was before PEP 517.
const LEGACY: &str = "setuptools.build_meta:__legacy__";

impl Default for BuildSystem {
    /// What projects get that say nothing (PEP 517, "Source trees"). `wheel` is what the back
    /// end of setuptools before 70.1 needs and asks for too late.
    fn default() -> Self {
        Self {
            requires: vec!["setuptools>=40.8.0".to_owned(), "wheel".to_owned()],
            backend: LEGACY.to_owned(),
            backend_path: Vec::new(),
        }
    }
}

#[derive(Deserialize)]
struct Pyproject {
    #[serde(rename = "build-system")]
    build_system: Option<Table>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Table {
    requires: Vec<String>,
    build_backend: Option<String>,
    #[serde(default)]
    backend_path: Vec<String>,
}

impl BuildSystem {
    /// Reads a `pyproject.toml`.
    pub fn parse(text: &[u8]) -> Result<Self, SdistError> {
        let unusable = |why: &str| SdistError::Pyproject(why.to_owned());
        if text.len() > MAX_PYPROJECT {
            return Err(unusable("it is too large"));
        }
        let text = std::str::from_utf8(text).map_err(|_| unusable("it is not UTF-8"))?;
        let pyproject: Pyproject =
            toml::from_str(text).map_err(|error| unusable(error.message()))?;
        let Some(table) = pyproject.build_system else {
            return Ok(Self::default());
        };
        let mut requires = table.requires;
        let backend = table.build_backend.unwrap_or_else(|| {
            requires.push("setuptools>=40.8.0".to_owned());
            LEGACY.to_owned()
        });
        let is_name = |text: &str| {
            let mut words = text.split('.');
            words.all(|word| {
                let legal = |letter: char| letter.is_alphanumeric() || letter == '_';
                !word.is_empty() && word.chars().all(legal)
            })
        };
        let (module, object) = backend.split_once(':').unwrap_or((&backend, "x"));
        if !is_name(module) || !is_name(object) {
            return Err(unusable("`build-backend` is no `module:object`"));
        }
        let inside = |path: &String| {
            !path.starts_with('/') && !path.split('/').any(|component| component == "..")
        };
        if !table.backend_path.iter().all(inside) {
            return Err(unusable("`backend-path` leads outside the project"));
        }
        Ok(Self {
            requires,
            backend,
            backend_path: table.backend_path,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_build_system_is_read() {
        let text = b"[project]\nname = 'x'\n[build-system]\nrequires = ['flit_core >=3.2,<4']\n\
            build-backend = 'backend:hooks'\nbackend-path = ['.', 'build/hooks']\n";
        let read = BuildSystem::parse(text).unwrap();
        assert_eq!(read.requires, ["flit_core >=3.2,<4"]);
        assert_eq!(read.backend, "backend:hooks");
        assert_eq!(read.backend_path, [".", "build/hooks"]);
    }

    #[test]
    fn projects_that_say_nothing_are_built_as_before_pep_517() {
        let legacy = BuildSystem::default();
        assert_eq!(BuildSystem::parse(b"[tool.black]\n").unwrap(), legacy);
        let named = BuildSystem::parse(b"[build-system]\nrequires = ['cython']\n").unwrap();
        assert_eq!(named.backend, legacy.backend);
        assert_eq!(named.requires, ["cython", "setuptools>=40.8.0"]);
    }

    #[test]
    fn what_no_front_end_could_use_is_refused() {
        for text in [
            "[build-system]\nbuild-backend = 'x'\n",
            "[build-system]\nrequires = []\nbuild-backend = 'x; import os'\n",
            "[build-system]\nrequires = []\nbuild-backend = 'x'\nbackend-path = ['../up']\n",
            "[build-system]\nrequires = []\nbuild-backend = 'x'\nbackend-path = ['/etc']\n",
            "[build-system",
        ] {
            assert!(BuildSystem::parse(text.as_bytes()).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in any::<Vec<u8>>(), value in "\\PC*") {
            let _ = BuildSystem::parse(&text);
            let _ = BuildSystem::parse(
                format!("[build-system]\nrequires = []\nbuild-backend = '{value}'\n").as_bytes(),
            );
        }
    }
}
