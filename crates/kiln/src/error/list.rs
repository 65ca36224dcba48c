//! Every error that a command may end with: what it says, what it hints at, its exit code. A
//! variant that is not in the list fails a test.

mod building;
mod family;
mod locking;
mod storing;

use std::{
    collections::BTreeSet,
    fmt::{Debug, Write as _},
    io::{self, ErrorKind},
};

use kiln_digest::Digest;
use kiln_layer::EntryPath;
use kiln_recipe::Location;

use super::{Failure, words::words};
use crate::{args::Global, output::Output};

/// The enums whose variants commands end with: each variant has a line in [`failures`].
const OUTERMOST: [&str; 17] = [
    "kiln-build BuildError",
    "kiln-build ExecuteError",
    "kiln-build LibraryError",
    "kiln-fetch FetchError",
    "kiln-fetch SourceError",
    "kiln-fetch Transport",
    "kiln-lock LockError",
    "kiln-oci ArchiveError",
    "kiln-oci ImageError",
    "kiln-oci SavedError",
    "kiln-plan PlanError",
    "kiln-recipe EditError",
    "kiln-recipe ReadError",
    "kiln-recipe SelectError",
    "kiln-resolve ResolveError",
    "kiln-sandbox SandboxError",
    "kiln-store StoreError",
];

/// What commands may end with, each with the variant that it is.
#[derive(Default)]
struct Failures(Vec<(String, Failure)>);

impl Failures {
    fn add<E: Debug + Into<Failure>>(&mut self, of: &str, error: E) {
        let name = variant(of, &error);
        self.0.push((name, error.into()));
    }
}

/// `kiln-lock LockError TooLarge`.
fn variant(of: &str, error: &impl Debug) -> String {
    let debug = format!("{error:?}");
    let end = debug.find(|c: char| !c.is_alphanumeric());
    format!("{of} {}", &debug[..end.unwrap_or(debug.len())])
}

fn digest() -> Digest {
    Digest::of(b"")
}

fn at() -> Location {
    Location {
        file: "bundles/minimal/bundle.toml".to_owned(),
        line: 3,
        column: 5,
    }
}

fn text(text: &str) -> String {
    text.to_owned()
}

fn denied() -> io::Error {
    ErrorKind::PermissionDenied.into()
}

fn no_json() -> serde_json::Error {
    serde_json::from_str::<u8>("x").unwrap_err()
}

fn path(path: &str) -> EntryPath {
    EntryPath::new(path).unwrap()
}

fn failures() -> Vec<(String, Failure)> {
    let mut all = Failures::default();
    family::of_files(&mut all);
    family::of_edits(&mut all);
    locking::of_fetching(&mut all);
    locking::of_locking(&mut all);
    building::of_actions(&mut all);
    building::of_building(&mut all);
    building::of_libraries(&mut all);
    building::of_sandboxes(&mut all);
    storing::of_stores(&mut all);
    storing::of_saved(&mut all);
    all.0
}

#[test]
fn what_commands_end_with_and_what_they_hint_at() {
    let output = Output::new(&Global::default());
    let mut list = String::new();
    for (name, failure) in failures() {
        let said = output.failure_text(&failure);
        writeln!(list, "{name}, exit code {}\n{said}", failure.code).unwrap();
    }
    insta::assert_snapshot!(list);
}

#[test]
fn every_variant_that_commands_end_with_is_in_the_list() {
    let shown: BTreeSet<_> = failures().into_iter().map(|(name, _)| name).collect();
    let outermost = |name: &String| {
        let of = name.rsplit_once(' ').map(|(of, _)| of);
        of.is_some_and(|of| OUTERMOST.contains(&of))
    };
    let declared: BTreeSet<_> = words()
        .into_keys()
        .map(|(name, _)| name)
        .filter(outermost)
        .collect();
    assert!(declared.len() > 80, "the sources were read");
    let missing: Vec<_> = declared.difference(&shown).collect();
    assert!(missing.is_empty(), "not in the list: {missing:#?}");
}
