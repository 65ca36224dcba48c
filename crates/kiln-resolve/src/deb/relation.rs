//! Relations between packages: `libc6 (>= 2.36) | libc6.1, python3:any` (Debian Policy 7.1).
//!
//! Only what binary packages may hold: no architecture lists, no build profiles.

use std::fmt;

use super::version::{ParseVersionError, Version};

/// More alternatives than any real field holds (the longest in Debian has some hundreds).
const MAX_RELATIONS: usize = 20_000;

/// How a version is compared with the one after the operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// `<<`
    Earlier,
    /// `<=`, and the obsolete `<`
    EarlierOrEqual,
    /// `=`
    Equal,
    /// `>=`, and the obsolete `>`
    LaterOrEqual,
    /// `>>`
    Later,
}

impl Operator {
    /// Parses the operator.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "<<" => Self::Earlier,
            "<=" | "<" => Self::EarlierOrEqual,
            "=" => Self::Equal,
            ">=" | ">" => Self::LaterOrEqual,
            ">>" => Self::Later,
            _ => return None,
        })
    }

    /// Whether `left <operator> right`.
    pub fn holds(self, left: &Version, right: &Version) -> bool {
        match self {
            Self::Earlier => left < right,
            Self::EarlierOrEqual => left <= right,
            Self::Equal => left == right,
            Self::LaterOrEqual => left >= right,
            Self::Later => left > right,
        }
    }
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Earlier => "<<",
            Self::EarlierOrEqual => "<=",
            Self::Equal => "=",
            Self::LaterOrEqual => ">=",
            Self::Later => ">>",
        })
    }
}

/// One package name with what is asked of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation {
    /// The package, real or virtual.
    pub name: String,
    /// What stands after the colon of `python3:any`.
    pub qualifier: Option<String>,
    /// The versions that satisfy it; all when absent.
    pub constraint: Option<(Operator, Version)>,
}

impl Relation {
    /// A relation that any version satisfies.
    pub fn any_version(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            qualifier: None,
            constraint: None,
        }
    }

    /// Whether the constraint, if there is one, accepts `version`.
    pub fn accepts(&self, version: &Version) -> bool {
        self.constraint
            .as_ref()
            .is_none_or(|(operator, bound)| operator.holds(version, bound))
    }
}

impl fmt::Display for Relation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if let Some(qualifier) = &self.qualifier {
            write!(f, ":{qualifier}")?;
        }
        match &self.constraint {
            Some((operator, version)) => write!(f, " ({operator} {version})"),
            None => Ok(()),
        }
    }
}

/// Relations of which one must hold: `a | b`.
pub type Alternatives = Vec<Relation>;

/// Why a text is not a list of relations.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RelationError {
    /// It does not have the form `name[:arch] [(operator version)]`.
    #[error("`{0}` is not a relation such as `libc6 (>= 2.36)`")]
    Form(String),
    /// It is not a version.
    #[error(transparent)]
    Version(#[from] ParseVersionError),
    /// There are too many.
    #[error("it holds more than {MAX_RELATIONS} relations")]
    TooMany,
}

fn shortened(text: &str) -> String {
    text.chars().take(80).collect()
}

/// Whether `name` is a package name (Policy 5.6.1; upper case is let through, as dpkg does).
pub fn is_package_name(name: &str) -> bool {
    let mut characters = name.bytes();
    characters
        .next()
        .is_some_and(|first| first.is_ascii_alphanumeric())
        && characters.all(|it| it.is_ascii_alphanumeric() || b"+-._".contains(&it))
}

/// Parses one relation.
pub fn parse_relation(text: &str) -> Result<Relation, RelationError> {
    let error = || RelationError::Form(shortened(text));
    let text = text.trim();
    let (target, constraint) = match text.split_once('(') {
        None => (text, None),
        Some((target, rest)) => {
            let inner = rest.strip_suffix(')').ok_or_else(error)?.trim();
            let end = inner.find(|it| !"<=>".contains(it)).ok_or_else(error)?;
            let (operator, version) = inner.split_at(end);
            let operator = Operator::parse(operator).ok_or_else(error)?;
            (
                target.trim_end(),
                Some((operator, version.trim_start().parse()?)),
            )
        }
    };
    let (name, qualifier) = match target.split_once(':') {
        None => (target, None),
        Some((name, qualifier)) => (name, Some(qualifier)),
    };
    if !is_package_name(name) || !qualifier.is_none_or(is_package_name) {
        return Err(error());
    }
    Ok(Relation {
        name: name.to_owned(),
        qualifier: qualifier.map(str::to_owned),
        constraint,
    })
}

/// Parses a field such as `Depends`. Empty items, as a trailing comma makes, are let through.
pub fn parse_relations(text: &str) -> Result<Vec<Alternatives>, RelationError> {
    let mut count = 0;
    let mut groups = Vec::new();
    for group in text.split(',').filter(|group| !group.trim().is_empty()) {
        let mut alternatives = Vec::new();
        for relation in group.split('|') {
            count += 1;
            if count > MAX_RELATIONS {
                return Err(RelationError::TooMany);
            }
            alternatives.push(parse_relation(relation)?);
        }
        groups.push(alternatives);
    }
    Ok(groups)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_alternatives_qualifiers_and_constraints() {
        let groups =
            parse_relations("libc6 (>= 2.36~rc1), a:any|b(=1:2-3) | c (<< 4) , \n d,").unwrap();
        let texts: Vec<Vec<String>> = groups
            .iter()
            .map(|group| group.iter().map(ToString::to_string).collect())
            .collect();
        assert_eq!(
            texts,
            [
                vec!["libc6 (>= 2.36~rc1)"],
                vec!["a:any", "b (= 1:2-3)", "c (<< 4)"],
                vec!["d"]
            ]
        );
    }

    #[test]
    fn obsolete_operators_mean_or_equal() {
        assert_eq!(parse_relation("a (< 1)").unwrap().to_string(), "a (<= 1)");
        assert_eq!(parse_relation("a (> 1)").unwrap().to_string(), "a (>= 1)");
    }

    #[test]
    fn refuses_what_is_no_relation() {
        for text in [
            "", "a b", "a (1)", "a (>= )", "a (>= 1", "a (=> 1)", "a (== 1)", "../a", "a:",
        ] {
            assert!(parse_relation(text).is_err(), "{text:?}");
        }
        assert_eq!(
            parse_relation("a (= x y)"),
            Err("x y".parse::<Version>().unwrap_err().into()),
        );
        assert_eq!(
            parse_relations(&"a|".repeat(30_000)),
            Err(RelationError::TooMany)
        );
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC{0,80}|[a-z0-9:()<=>|, .~+-]{0,80}") {
            let _ = parse_relations(&text);
        }

        #[test]
        fn what_is_displayed_is_parsed_again(
            name in "[a-z][a-z0-9+.-]{1,20}",
            qualifier in proptest::option::of("any|amd64"),
            constraint in proptest::option::of(("<<|<=|=|>=|>>", "([0-9]:)?[0-9][0-9a-z.+~]{0,8}(-[0-9a-z+.~]{1,5})?")),
        ) {
            let constraint = constraint
                .map(|(operator, version)| (Operator::parse(&operator).unwrap(), version.parse().unwrap()));
            let relation = Relation { name, qualifier, constraint };
            prop_assert_eq!(parse_relation(&relation.to_string()), Ok(relation));
        }
    }
}
