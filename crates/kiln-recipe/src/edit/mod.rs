//! Adding requirements to a component's file and taking them out of it: text in, text out.
//!
//! What is not concerned keeps every byte: comments, order, line breaks, quotes. In a list that is
//! sorted by name, a new entry goes where it belongs, else to the end. An entry that is there is
//! replaced where it stands; the extras that it has stay.

mod bounds;
mod list;

pub use bounds::Bounds;

use pep508_rs::{MarkerTree, Requirement, pep440_rs::Version};

use self::list::List;
use crate::{
    error::near_names,
    requirement::{RequirementError, debian_package, python_requirement},
};

/// How many names a hint has.
const NEAR: usize = 5;

/// What a component asks for, as lists of its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Python requirements: `requirements`.
    Python,
    /// OS packages: `packages`.
    Os,
}

impl Wanted {
    /// The key of its list.
    pub fn key(self) -> &'static str {
        match self {
            Self::Python => "requirements",
            Self::Os => "packages",
        }
    }

    /// The name in an entry of its list, normalised, and whether it is all that it says.
    fn read(self, entry: &str) -> Result<(String, bool), EditError> {
        let read = match self {
            Self::Python => python_requirement(entry).map(|it| {
                let says_more = it.version_or_url.is_some() || it.marker != MarkerTree::TRUE;
                (it.name.to_string(), !says_more && it.extras.is_empty())
            }),
            Self::Os => {
                debian_package(entry).map(|(name, constraint)| (name, constraint.is_none()))
            }
        };
        read.map_err(|cause| EditError::Requirement {
            entry: entry.to_owned(),
            cause,
        })
    }

    /// The names in the entries of its list; of what is none, all of it.
    fn names(self, entries: &[&str]) -> Vec<String> {
        let name = |entry: &&str| self.read(entry).map_or((*entry).to_owned(), |it| it.0);
        entries.iter().map(name).collect()
    }
}

/// An entry that an edit has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The name, normalised.
    pub name: String,
    /// What stood there; nothing where it is new.
    pub from: Option<String>,
    /// What stands there; nothing where it is gone.
    pub to: Option<String>,
}

impl Change {
    /// Whether what stands there is what stood there.
    pub fn is_none(&self) -> bool {
        self.from == self.to
    }
}

/// Why a file cannot be edited so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EditError {
    /// The file has no such list that could be edited.
    #[error("`{key}` is no list of strings")]
    NoList {
        /// The list's key.
        key: &'static str,
    },
    /// What is to be added or removed is none.
    #[error("{cause}")]
    Requirement {
        /// What was given, on one line.
        entry: String,
        /// What is wrong with it.
        cause: RequirementError,
    },
    /// A project stands there under several markers.
    #[error("`{name}` is there {} times: {}", entries.len(), quoted(entries))]
    Ambiguous {
        /// The project.
        name: String,
        /// What stands there.
        entries: Vec<String>,
    },
    /// It does not stand there.
    #[error("`{name}` is not in `{key}`")]
    Missing {
        /// What was asked for.
        name: String,
        /// The list's key.
        key: &'static str,
        /// Names that are there and may have been meant.
        near: Vec<String>,
    },
    /// More than a name is given to be removed.
    #[error("`{entry}` says more than a name")]
    NotAName {
        /// What was given.
        entry: String,
        /// The name in it.
        name: String,
    },
}

impl EditError {
    /// What a newcomer can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoList { .. } => None,
            Self::Requirement { cause, .. } => cause.hint(),
            Self::Ambiguous { .. } => {
                Some("say which one is meant with its marker: `NAME~=1.2; …`".to_owned())
            }
            Self::Missing { near, .. } if near.is_empty() => None,
            Self::Missing { near, .. } => Some(format!("did you mean {}?", quoted(near))),
            Self::NotAName { name, .. } => Some(format!("name the package alone: `{name}`")),
        }
    }
}

fn quoted(names: &[String]) -> String {
    let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

/// The text of a file with an entry added to a list, and what that changed.
///
/// A Python project that stands there is replaced where its marker is the same, or where it
/// stands there once and `entry` has no marker; it keeps its extras, its marker and, when `entry`
/// names no version, its version.
pub fn add(text: &str, wanted: Wanted, entry: &str) -> Result<(String, Change), EditError> {
    let list = find(text, wanted)?;
    let entry = one_line(entry);
    let (name, _) = wanted.read(&entry)?;
    let entries: Vec<&str> = list.values().collect();
    let names = wanted.names(&entries);
    let known: Vec<usize> = (0..names.len()).filter(|&it| names[it] == name).collect();
    let (place, to) = match wanted {
        Wanted::Python => replaced(&entries, &known, &entry)?,
        Wanted::Os => (known.first().copied(), entry),
    };
    let from = place.map(|place| entries[place].to_owned());
    let text = match place {
        Some(_) if from.as_ref() == Some(&to) => text.to_owned(),
        Some(place) => list.replace(place, &to),
        None => list.insert(position(&names, &name), &to),
    };
    let to = Some(to);
    Ok((text, Change { name, from, to }))
}

/// The text of a file without the entries of a name in a list, and what they were.
pub fn remove(text: &str, wanted: Wanted, name: &str) -> Result<(String, Vec<Change>), EditError> {
    let given = one_line(name);
    let (name, is_bare) = wanted.read(&given)?;
    if !is_bare {
        return Err(EditError::NotAName { entry: given, name });
    }
    let (mut text, mut gone) = (text.to_owned(), Vec::new());
    loop {
        let list = find(&text, wanted)?;
        let entries: Vec<&str> = list.values().collect();
        let names = wanted.names(&entries);
        let Some(place) = names.iter().position(|it| *it == name) else {
            if gone.is_empty() {
                let near = near_names(&name, names.iter().map(String::as_str), NEAR);
                let near = near.into_iter().map(str::to_owned).collect();
                let key = wanted.key();
                return Err(EditError::Missing { name, key, near });
            }
            return Ok((text, gone));
        };
        gone.push(Change {
            name: name.clone(),
            from: Some(entries[place].to_owned()),
            to: None,
        });
        text = list.remove(place);
    }
}

/// A requirement with a bound that admits all these versions' series from the lowest on, in place
/// of what it says of versions.
pub fn bounded(requirement: &str, lowest: &Version, bounds: Bounds) -> String {
    let mut parts = Parts::of(requirement);
    let bound = bounds.of(lowest);
    parts.version = &bound;
    parts.join()
}

/// Whether a requirement says nothing of versions.
pub fn is_unbounded(requirement: &str) -> bool {
    Parts::of(requirement).version.is_empty()
}

fn find(text: &str, wanted: Wanted) -> Result<List<'_>, EditError> {
    let key = wanted.key();
    List::find(text, key).ok_or(EditError::NoList { key })
}

/// A requirement on one line, without blanks around it.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Where a new entry goes.
fn position(names: &[String], name: &str) -> usize {
    if names.is_sorted() {
        names.partition_point(|it| it.as_str() <= name)
    } else {
        names.len()
    }
}

/// What a text says that is a requirement.
fn python(entry: &str) -> Result<Requirement, EditError> {
    python_requirement(entry).map_err(|cause| EditError::Requirement {
        entry: entry.to_owned(),
        cause,
    })
}

/// Which of the entries at `known` a requirement replaces, if any, and what it becomes.
fn replaced(
    entries: &[&str],
    known: &[usize],
    entry: &str,
) -> Result<(Option<usize>, String), EditError> {
    let new = python(entry)?;
    let mut found = None;
    for &place in known {
        if python(entries[place])?.marker == new.marker {
            found = Some(place);
        }
    }
    let is_plain = new.marker == MarkerTree::TRUE;
    let place = match (found, known) {
        (Some(place), _) => place,
        (None, []) => return Ok((None, entry.to_owned())),
        (None, [one]) if is_plain => *one,
        (None, _) if !is_plain => return Ok((None, entry.to_owned())),
        (None, several) => {
            return Err(EditError::Ambiguous {
                name: new.name.to_string(),
                entries: several.iter().map(|it| entries[*it].to_owned()).collect(),
            });
        }
    };
    let old = python(entries[place])?;
    Ok((Some(place), merged(entries[place], &old, entry, &new)))
}

/// What a requirement becomes that takes the place of an old one.
fn merged(old: &str, old_read: &Requirement, new: &str, new_read: &Requirement) -> String {
    let (kept, mut parts) = (Parts::of(old), Parts::of(new));
    let says_more = new_read
        .extras
        .iter()
        .any(|it| !old_read.extras.contains(it));
    if parts.version.is_empty() && !says_more {
        return old.to_owned();
    }
    let lost = old_read
        .extras
        .iter()
        .any(|it| !new_read.extras.contains(it));
    if parts.version.is_empty() {
        parts.version = kept.version;
    } else if !lost && old_read.marker == new_read.marker {
        return new.to_owned();
    }
    if parts.marker.is_empty() {
        parts.marker = kept.marker;
    }
    let mut extras = kept.extras;
    for (extra, read) in parts.extras.into_iter().zip(&new_read.extras) {
        if !old_read.extras.contains(read) {
            extras.push(extra);
        }
    }
    parts.extras = extras;
    parts.join()
}

/// The parts of a requirement as they are written.
struct Parts<'a> {
    name: &'a str,
    extras: Vec<&'a str>,
    version: &'a str,
    marker: &'a str,
}

impl<'a> Parts<'a> {
    /// The parts of what [`python_requirement`] has read.
    fn of(requirement: &'a str) -> Self {
        let (said, marker) = requirement.split_once(';').unwrap_or((requirement, ""));
        let of_name = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
        let said = said.trim();
        let end = said.find(|letter| !of_name(letter)).unwrap_or(said.len());
        let (name, rest) = said.split_at(end);
        let rest = rest.trim_start();
        let inner = rest.strip_prefix('[').and_then(|it| it.split_once(']'));
        let (extras, version) = inner.unwrap_or(("", rest));
        let extras = extras.split(',').map(str::trim);
        Self {
            name,
            extras: extras.filter(|it| !it.is_empty()).collect(),
            version: version.trim(),
            marker: marker.trim(),
        }
    }

    fn join(&self) -> String {
        let mut text = self.name.to_owned();
        if !self.extras.is_empty() {
            text = format!("{text}[{}]", self.extras.join(","));
        }
        text.push_str(self.version);
        if !self.marker.is_empty() {
            text = format!("{text}; {}", self.marker);
        }
        text
    }
}
