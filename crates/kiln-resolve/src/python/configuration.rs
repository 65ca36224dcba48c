//! uv's configuration, which says what is built from source and what that requires.

use pep440_rs::Version;
use pep508_rs::PackageName;
use serde::Serialize;

/// A project that is built from source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The project.
    pub name: PackageName,
    /// Versions that were built.
    pub known: Vec<Known>,
}

/// What a version that was built says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// The version.
    pub version: Version,
    /// Its `Requires-Dist`.
    pub requires: Vec<String>,
}

/// uv's configuration: nothing is built, source distributions of `sources` are chosen and not
/// wheels, and what they require is what is known of them. The last entry of a project is for all
/// other versions.
pub(super) fn configuration(sources: &[Source]) -> String {
    #[derive(Serialize)]
    #[serde(rename_all = "kebab-case")]
    struct Configuration<'a> {
        no_build: bool,
        no_binary_package: Vec<&'a str>,
        dependency_metadata: Vec<Metadata<'a>>,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "kebab-case")]
    struct Metadata<'a> {
        name: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        version: Option<String>,
        requires_dist: &'a [String],
    }
    let metadata = sources.iter().flat_map(|source| {
        let name = source.name.as_ref();
        let known = source.known.iter().map(move |known| Metadata {
            name,
            version: Some(known.version.to_string()),
            requires_dist: &known.requires,
        });
        known.chain([Metadata {
            name,
            version: None,
            requires_dist: &[],
        }])
    });
    let configuration = Configuration {
        no_build: true,
        no_binary_package: sources.iter().map(|it| it.name.as_ref()).collect(),
        dependency_metadata: metadata.collect(),
    };
    // Texts and lists always serialise.
    toml::to_string(&configuration).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use super::*;

    /// The names are those of uv's own reference ("Settings").
    #[test]
    fn what_is_known_stands_before_what_is_not() {
        let sources = [Source {
            name: PackageName::from_str("zope.x").unwrap(),
            known: vec![Known {
                version: Version::from_str("1.0").unwrap(),
                requires: vec!["six; extra == \"a\"".to_owned()],
            }],
        }];
        insta::assert_snapshot!(configuration(&sources), @r#"
        no-build = true
        no-binary-package = ["zope-x"]

        [[dependency-metadata]]
        name = "zope-x"
        version = "1.0"
        requires-dist = ['six; extra == "a"']

        [[dependency-metadata]]
        name = "zope-x"
        requires-dist = []
        "#);
        assert!(configuration(&[]).starts_with("no-build = true\n"));
    }
}
