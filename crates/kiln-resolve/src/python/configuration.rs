//! uv's configuration, which says what is built from source and what that requires, and which
//! projects have an index of their own.

use std::collections::BTreeMap;

use pep440_rs::Version;
use pep508_rs::PackageName;
use serde::Serialize;

use super::routes::RoutedIndex;

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
/// other versions. Routed projects come from the first index; the indexes of their files are there
/// for their logins alone, which stand in [`login_variables`].
pub(super) fn configuration(
    sources: &[Source],
    routed: &RoutedIndex,
    exclude_newer: bool,
) -> String {
    #[derive(Serialize)]
    #[serde(rename_all = "kebab-case")]
    struct Configuration<'a> {
        no_build: bool,
        index_strategy: &'a str,
        no_binary_package: Vec<&'a str>,
        // What is newer was left out when their pages were read.
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        exclude_newer_package: BTreeMap<&'a str, bool>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        index: Vec<Index>,
        dependency_metadata: Vec<Metadata<'a>>,
    }
    #[derive(Serialize)]
    struct Index {
        name: String,
        url: String,
        explicit: bool,
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
    let first = routed.address().map(|url| Index {
        name: "routed".to_owned(),
        url: url.to_owned(),
        explicit: false,
    });
    let logins = (0..).zip(routed.logins()).map(|(number, login)| Index {
        name: login_name(number),
        url: login.address.clone(),
        explicit: true,
    });
    let projects = routed.routes().projects().filter(|_| exclude_newer);
    let configuration = Configuration {
        no_build: true,
        index_strategy: "first-index",
        exclude_newer_package: projects.map(|it| (it.as_ref(), false)).collect(),
        index: first.into_iter().chain(logins).collect(),
        no_binary_package: sources.iter().map(|it| it.name.as_ref()).collect(),
        dependency_metadata: metadata.collect(),
    };
    // Texts and lists always serialise.
    toml::to_string(&configuration).unwrap_or_default()
}

fn login_name(number: usize) -> String {
    format!("login{number}")
}

/// The variables that hand the logins of routed projects' sources to uv.
pub(super) fn login_variables(routed: &RoutedIndex) -> Vec<(String, String)> {
    let logins = (0..).zip(routed.logins());
    let variables = logins.flat_map(|(number, login)| {
        let name = login_name(number).to_ascii_uppercase();
        [
            (format!("UV_INDEX_{name}_USERNAME"), login.user.clone()),
            (format!("UV_INDEX_{name}_PASSWORD"), login.password.clone()),
        ]
    });
    variables.collect()
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
        let nothing = RoutedIndex::default();
        insta::assert_snapshot!(configuration(&sources, &nothing, false), @r#"
        no-build = true
        index-strategy = "first-index"
        no-binary-package = ["zope-x"]

        [[dependency-metadata]]
        name = "zope-x"
        version = "1.0"
        requires-dist = ['six; extra == "a"']

        [[dependency-metadata]]
        name = "zope-x"
        requires-dist = []
        "#);
        assert!(configuration(&[], &nothing, true).starts_with("no-build = true\n"));
    }
}
