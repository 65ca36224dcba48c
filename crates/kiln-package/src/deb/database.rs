//! The dpkg database of packages that are unpacked and not yet configured: dpkg(1), its
//! administrative directory.
//!
//! Together with the info files of the packages it is what `dpkg --unpack` of all of them leaves,
//! with these differences, each on purpose:
//!
//! - conffiles have the digests of the shipped files and not the word `newconffile`, because the
//!   files stand at their final paths already: `dpkg --configure` then leaves them alone;
//! - lock files, `status-old`, `available`, `diversions`, `statoverride` and `arch` are absent:
//!   dpkg and its tools make them when they need them, and layers do not hold the first three.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use kiln_layer::{Entry, EntryKind, EntryPath};

use super::info::generated;
use super::relation;
use super::triggers::Trigger;
use super::{Conffile, DebFacts, MultiArch};

/// The directories that dpkg expects, whether or not anything is in them.
const DIRECTORIES: [&str; 5] = ["alternatives", "info", "parts", "triggers", "updates"];

/// The database files that belong to no single package, sorted by path. They depend on the set
/// of packages, not on their order.
pub fn unpacked_database(packages: &[&DebFacts]) -> Vec<Entry> {
    unpacked_onto(&BTreeMap::new(), packages)
}

/// Like [`unpacked_database`], for packages that come to a system with a database. `below` are
/// its `status`, `triggers/File` and named triggers, by their path below `var/lib/dpkg`. The
/// packages must be new there.
pub fn unpacked_onto(below: &BTreeMap<String, String>, packages: &[&DebFacts]) -> Vec<Entry> {
    let mut packages = packages.to_vec();
    packages.sort_by_key(|facts| (&facts.name, &facts.architecture));
    packages.dedup_by_key(|facts| (&facts.name, &facts.architecture));

    let known = |name: &str| below.get(name).cloned().unwrap_or_default();
    let mut status = known("status");
    let mut file_triggers = known("triggers/File");
    let mut named_triggers: BTreeMap<&str, String> = BTreeMap::new();
    for facts in packages {
        status.push_str(&record(facts));
        for trigger in distinct(&facts.triggers.interests) {
            let suffix = if trigger.noawait { "/noawait" } else { "" };
            let who = format!("{}{suffix}\n", facts.info_name());
            if trigger.is_file_trigger() {
                file_triggers.extend([&trigger.name, " ", &who]);
            } else {
                named_triggers
                    .entry(&trigger.name)
                    .or_insert_with(|| known(&format!("triggers/{}", trigger.name)))
                    .push_str(&who);
            }
        }
    }
    let mut entries: Vec<Entry> = DIRECTORIES.into_iter().filter_map(directory).collect();
    entries.extend(
        [
            file("info/format", "1\n".into()),
            file("status", status),
            file("triggers/Unincorp", String::new()),
        ]
        .into_iter()
        .flatten(),
    );
    if !file_triggers.is_empty() {
        entries.extend(file("triggers/File", file_triggers));
    }
    let named = named_triggers.into_iter();
    entries.extend(named.filter_map(|(name, who)| file(&format!("triggers/{name}"), who)));
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    entries
}

/// A later directive for the same trigger replaces an earlier one in its place.
fn distinct(interests: &[Trigger]) -> Vec<&Trigger> {
    let mut distinct: Vec<&Trigger> = Vec::new();
    for trigger in interests {
        match distinct.iter_mut().find(|known| known.name == trigger.name) {
            Some(known) => *known = trigger,
            None => distinct.push(trigger),
        }
    }
    distinct
}

/// Trigger names are checked when they are read, so every name makes a path.
fn file(name: &str, content: String) -> Option<Entry> {
    let path = EntryPath::new(format!("var/lib/dpkg/{name}")).ok()?;
    Some(generated(path, content.into_bytes()))
}

fn directory(name: &str) -> Option<Entry> {
    Some(Entry {
        kind: EntryKind::Directory,
        mode: 0o755,
        ..file(name, String::new())?
    })
}

/// Fields before and after the arbitrary ones, in the order of dpkg's `fieldinfos`.
const ORDER: [&str; 25] = [
    "Package",
    "Essential",
    "Protected",
    "Status",
    "Priority",
    "Section",
    "Installed-Size",
    "Origin",
    "Maintainer",
    "Bugs",
    "Architecture",
    "Multi-Arch",
    "Source",
    "Version",
    "Replaces",
    "Provides",
    "Depends",
    "Pre-Depends",
    "Recommends",
    "Suggests",
    "Breaks",
    "Conflicts",
    "Enhances",
    "Conffiles",
    "Description",
];
const RELATIONS: std::ops::Range<usize> = 14..23;
const PRIORITIES: [&str; 5] = ["required", "important", "standard", "optional", "extra"];

/// The paragraph of a package in `status`: the fields that dpkg knows in its order, then the
/// others in the order of the package.
fn record(facts: &DebFacts) -> String {
    let mut record = String::new();
    for (place, field) in ORDER.into_iter().enumerate() {
        let shipped = facts.control.get(field).unwrap_or_default();
        let value = match field {
            "Status" => "install ok unpacked".to_owned(),
            "Essential" | "Protected" if shipped != "yes" => String::new(),
            "Multi-Arch" if facts.multi_arch == MultiArch::No => String::new(),
            "Version" => relation::version(shipped).to_owned(),
            "Conffiles" => conffiles(&facts.conffiles),
            "Priority" => priority(shipped),
            _ if RELATIONS.contains(&place) => relation::normalised(shipped),
            _ => shipped.to_owned(),
        };
        push(&mut record, field, &value);
    }
    let is_known = |name: &str| ORDER.iter().any(|field| field.eq_ignore_ascii_case(name));
    for (name, value) in facts.control.iter().filter(|(name, _)| !is_known(name)) {
        push(&mut record, name, value);
    }
    record.push('\n');
    record
}

/// An empty value means that there is no such field.
fn push(record: &mut String, name: &str, value: &str) {
    if value.is_empty() {
        return;
    }
    let blank = if value.starts_with('\n') { "" } else { " " };
    // Writing to a string cannot fail.
    let _ = writeln!(record, "{name}:{blank}{value}");
}

fn priority(shipped: &str) -> String {
    let known = PRIORITIES
        .iter()
        .find(|known| known.eq_ignore_ascii_case(shipped));
    known.map_or_else(|| shipped.to_owned(), ToString::to_string)
}

fn conffiles(conffiles: &[Conffile]) -> String {
    let mut lines = String::new();
    for Conffile { path, md5 } in conffiles {
        let state = md5.as_deref().unwrap_or("newconffile remove-on-upgrade");
        let _ = write!(lines, "\n {path} {state}");
    }
    lines
}
