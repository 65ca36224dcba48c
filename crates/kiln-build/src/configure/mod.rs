//! `configure`: what the maintainer scripts of Debian packages change.
//!
//! # Words
//!
//! - *set*: the packages to configure. Their files and their part of dpkg's database below
//!   `info/` are in the layers below, as data, and no script has run.
//! - *system of its own*: a set that includes the essential packages. Any other set is a *delta*:
//!   the packages below it are configured, and it never changes their versions.
//!
//! # Algorithm
//!
//! 1. The facts of the packages are read from their archives; the database and the accounts below
//!    a delta from the layers (`below`).
//! 2. The steps are made (`steps`), without any file or clock: the database as dpkg would have
//!    left it after unpacking everything; each `preinst` as dpkg runs it, after what its package
//!    pre-depends on (`order`); the essential packages, then `dpkg --configure --pending`; the
//!    audit. In a delta, the file triggers of the packages below are activated first, and the
//!    directories that got files get the time of now (`triggers`): dpkg does both while it
//!    unpacks, and caches such as that of man-db are brought up to date by these times.
//! 3. A sandbox carries them out on the layers, and tells what differs.
//! 4. What a clock or randomness decided is brought to the time at which the newest package of
//!    the set was made, or dropped (`normalise`, `accounts`, `keystore`, `scrub`).
//!
//! Packages that dpkg itself must install ([`kiln_plan::Configure::installed_by_dpkg`]) are not
//! among the layers of the sandbox: dpkg unpacks their archives there, after the `preinst`
//! scripts of the others; and the result is compared with all layers.
//!
//! # Invariants
//!
//! - The entries depend on the action alone: not on the day, not on who runs it.
//! - No private key and no machine's identity is in them.
//! - No package has moved its own files away (`diversions`).
//! - `dpkg --audit` has nothing to say, or there is no result.

mod accounts;
mod below;
mod diversions;
mod error;
pub(crate) mod keystore;
mod normalise;
mod order;
mod scrub;
mod steps;
mod triggers;

use std::collections::BTreeMap;

use kiln_layer::{Contribution, DirectoryMetadata, Entry, EntryPath, ParentPolicy, merge};
use kiln_package::deb::{self, DebFacts, UsrMerge};
use kiln_plan::Configure;
use kiln_sandbox::{Bind, Job, LayerBlob, Limits};

pub use self::error::ConfigureError;
pub use self::keystore::KeyStoreError;

use self::below::{Below, DATABASE};
use self::steps::{ARCHIVES, Set, steps};
use crate::execute::{Context, ExecuteError, each_deb};

/// What configuring the packages of `configure` changes in the layers below.
pub(crate) fn entries(
    configure: &Configure,
    context: &Context<'_>,
) -> Result<Vec<Entry>, ExecuteError> {
    let usr_merge = UsrMerge(configure.usr_merge.clone());
    let facts = each_deb(&configure.debs, context.open, |bytes, file| {
        deb::read_facts(bytes, file, &usr_merge, context.spool)
    })?;
    let all = context.trees(&configure.layers)?;
    let below = if facts.iter().any(|facts| facts.name == "dpkg") {
        // A system of its own: there is no database below.
        Below::default()
    } else {
        let layers = context.layers(&configure.layers)?;
        Below::read(&layers, |path| is_wanted(path, &facts))?
    };
    let (set, binds) = set(configure, &facts, &below, context)?;

    let alone: Vec<_> = configure.installed_by_dpkg.values().collect();
    let (mut mounted, mut compare) = (all.clone(), None);
    if !alone.is_empty() {
        let keys = configure.layers.iter().zip(&all);
        let others = keys.filter(|(key, _)| !alone.contains(key));
        mounted = others.map(|(_, layer)| layer.clone()).collect();
        compare = Some(all.clone());
    }
    let captured = context.capture(&Job {
        layers: mounted,
        compare,
        binds,
        steps: steps(&set),
        limits: Limits::default(),
        capture: Vec::new(),
    })?;
    let layers = context.layers(&configure.layers)?;
    for (mounted, layer) in all.iter().zip(&layers) {
        if mounted.diff_id != layer.diff_id {
            return Err(ConfigureError::OtherLayer(layer.diff_id).into());
        }
    }
    refuse_own_diversions(&captured.entries, &set, &layers, &usr_merge)?;
    let time = facts.iter().map(|facts| facts.built).max();
    let entries = normalise::normalised(
        captured.entries,
        &below,
        time.unwrap_or_default(),
        configure.user.as_ref(),
    )?;
    let parents = captured.parents.into_iter().map(|directory| {
        let Entry {
            path,
            mode,
            uid,
            gid,
            ..
        } = directory;
        (path, DirectoryMetadata { mode, uid, gid })
    });
    let parents = ParentPolicy {
        table: parents.collect(),
        ..ParentPolicy::default()
    };
    let contribution = Contribution {
        package: "maintainer scripts".to_owned(),
        entries,
    };
    Ok(merge(vec![contribution], &BTreeMap::new(), &parents)?)
}

/// The packages as the steps want them, and what the sandbox must mount.
fn set<'a>(
    configure: &Configure,
    facts: &'a [DebFacts],
    below: &Below,
    context: &Context<'_>,
) -> Result<(Set<'a>, Vec<Bind>), ExecuteError> {
    let mut set = Set {
        database: below.database(),
        ..Set::default()
    };
    if let Some(known) = facts.iter().find(|facts| is_known(facts, &set.database)) {
        return Err(ConfigureError::Installed(known.name.clone()).into());
    }
    let mut binds = Vec::new();
    for (facts, archive) in facts.iter().zip(&configure.debs) {
        if !configure.installed_by_dpkg.contains_key(&facts.name) {
            set.unpacked.push(facts);
            continue;
        }
        let source = (context.path)(&archive.sha256).map_err(|source| ExecuteError::Input {
            what: archive.file.clone(),
            digest: archive.sha256,
            source,
        })?;
        let target = format!("{ARCHIVES}/{}.deb", facts.info_name());
        set.archives.push((facts, target.clone()));
        binds.push(Bind { source, target });
    }
    if let Some(interests) = set.database.get("triggers/File") {
        let lists: Vec<String> = set
            .unpacked
            .iter()
            .map(|facts| below.text(&list(facts)))
            .collect();
        let paths = || lists.iter().flat_map(|list| list.lines());
        set.activated = triggers::unincorporated(&triggers::activated(interests, paths()));
        let directories = triggers::changed_directories(paths());
        set.directories = directories.into_iter().map(str::to_owned).collect();
    }
    Ok((set, binds))
}

/// Fails when a package has moved a file away that it ships.
fn refuse_own_diversions(
    captured: &[Entry],
    set: &Set<'_>,
    layers: &[LayerBlob],
    merge: &UsrMerge,
) -> Result<(), ConfigureError> {
    let list_of = |package: &str| {
        let facts = set.unpacked.iter().find(|facts| facts.name == package);
        facts.map(|facts| list(facts))
    };
    let diversions = normalise::content(captured, "var/lib/dpkg/diversions").unwrap_or_default();
    let moved: Vec<_> = diversions::moved(&diversions, captured, merge)
        .into_iter()
        .filter_map(|(package, path)| Some((package, path, list_of(package)?)))
        .collect();
    if moved.is_empty() {
        return Ok(());
    }
    let lists = Below::read(layers, |path| {
        let is_list = |(_, _, list): &(&str, &str, String)| list.as_bytes() == path.as_bytes();
        moved.iter().any(is_list)
    })?;
    let own = |(_, path, list): &&(&str, &str, String)| {
        lists.text(list).lines().any(|shipped| shipped == *path)
    };
    match moved.iter().find(own) {
        None => Ok(()),
        Some((package, path, _)) => Err(ConfigureError::Diverted {
            package: (*package).to_owned(),
            path: (*path).to_owned(),
        }),
    }
}

/// Whether the database has a package of that name and architecture.
fn is_known(facts: &DebFacts, database: &BTreeMap<String, String>) -> bool {
    let status = database.get("status").map_or("", String::as_str);
    status.split("\n\n").any(|paragraph| {
        let has = |field: &str, value: &str| {
            paragraph
                .lines()
                .any(|line| line.strip_prefix(field) == Some(value))
        };
        has("Package: ", &facts.name) && has("Architecture: ", &facts.architecture)
    })
}

/// The list of a package's files in the database.
fn list(facts: &DebFacts) -> String {
    format!("{DATABASE}info/{}.list", facts.info_name())
}

/// Which files of the layers below matter.
fn is_wanted(path: &EntryPath, facts: &[DebFacts]) -> bool {
    let Ok(path) = std::str::from_utf8(path.as_bytes()) else {
        return false;
    };
    match path.strip_prefix(DATABASE) {
        Some("status") => true,
        Some(name) if name.starts_with("triggers/") => true,
        Some(name) if name.starts_with("info/") => facts.iter().any(|facts| path == list(facts)),
        _ => path == "etc/shadow",
    }
}
