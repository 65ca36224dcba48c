//! The Debian packages of the sets of one tree: each set is solved on top of those below it, so
//! that images share them.

use std::cell::OnceCell;

use jiff::Timestamp;
use kiln_fetch::Fetcher;
use kiln_lock::{Deb, DebIndex};
use kiln_recipe::{Base, Platform};

use crate::{
    Event, Events, Mode, ResolveError,
    deb::{self, Index},
    forest::Tree,
    previous::Previous,
    python::target::Target,
};

/// What the sets of a tree hold.
pub(crate) struct OsSets {
    /// For each node.
    pub(crate) debs: Vec<Vec<Deb>>,
    /// The indexes of the base's archives.
    pub(crate) indexes: Vec<DebIndex>,
}

pub(crate) fn resolve(
    tree: &Tree,
    previous: &Previous,
    fetcher: &Fetcher,
    mode: Mode,
    now: Timestamp,
    events: Events,
) -> Result<OsSets, ResolveError> {
    let loaded: OnceCell<(Index, Vec<DebIndex>)> = OnceCell::new();
    let index = || {
        if loaded.get().is_none() {
            let _ = loaded.set(load(tree, previous, fetcher, now, events)?);
        }
        Ok::<_, ResolveError>(loaded.get().map(|(index, _)| index))
    };
    let before = previous.debs_of(tree.platform, &tree.base.component.id.name);
    let prefer: &[Deb] = if mode == Mode::Upgrade { &[] } else { &before };
    if mode == Mode::RelockGone && !before.is_empty() {
        if let Some(index) = index()? {
            report_gone(&before, index, events);
        }
    }
    let mut debs: Vec<Vec<Deb>> = Vec::with_capacity(tree.nodes.len());
    // Whether a node and all below it are what they were.
    let mut unmoved: Vec<bool> = Vec::with_capacity(tree.nodes.len());
    for node in &tree.nodes {
        let old = previous.debs(&node.id);
        let below_unmoved = node.below.is_none_or(|below| unmoved[below]);
        let unchanged = mode == Mode::Keep && below_unmoved && previous.same_os(node.component);
        let is_base = node.below.is_none();
        let nothing =
            node.component.os_packages.is_empty() && !(is_base && !tree.base.archives.is_empty());
        let chosen = match &old {
            Some(old) if unchanged => old.clone(),
            _ if nothing => Vec::new(),
            _ => {
                let path = node.below.map_or_else(Vec::new, |below| tree.path(below));
                let installed: Vec<Deb> = path
                    .iter()
                    .flat_map(|below| debs[*below].iter().cloned())
                    .collect();
                let request = deb::Request {
                    wanted: &node.component.os_packages,
                    installed: &installed,
                    prefer,
                    essential: is_base,
                };
                let failed = |cause| ResolveError::Os {
                    set: node.id.clone(),
                    cause,
                };
                match index()? {
                    Some(index) => deb::solve(index, &request).map_err(failed)?,
                    None => Vec::new(),
                }
            }
        };
        let same = old.is_some_and(|old| ids(&old).eq(ids(&chosen)));
        events(Event::OsSet {
            set: node.id.clone(),
            packages: chosen.len(),
            moved: !same,
        });
        unmoved.push(below_unmoved && same);
        debs.push(chosen);
    }
    let indexes = match loaded.into_inner() {
        Some((_, indexes)) => indexes,
        None => kept_indexes(tree.base, previous),
    };
    Ok(OsSets { debs, indexes })
}

fn ids(debs: &[Deb]) -> impl Iterator<Item = (&str, kiln_digest::Digest)> {
    debs.iter().map(|deb| (deb.id.0.as_str(), deb.sha256))
}

fn load(
    tree: &Tree,
    previous: &Previous,
    fetcher: &Fetcher,
    now: Timestamp,
    events: Events,
) -> Result<(Index, Vec<DebIndex>), ResolveError> {
    let base = &tree.base.component.id.name;
    events(Event::Indexes {
        base: base.clone(),
        platform: tree.platform,
    });
    deb::load(fetcher, tree.base, tree.platform, previous.indexes(), now).map_err(|cause| {
        ResolveError::Archives {
            base: base.clone(),
            cause: Box::new(cause),
        }
    })
}

fn kept_indexes(base: &Base, previous: &Previous) -> Vec<DebIndex> {
    let of_base = |index: &&DebIndex| {
        base.archives
            .iter()
            .any(|it| it.source == index.source && it.suite == index.suite)
    };
    previous.indexes().iter().filter(of_base).cloned().collect()
}

fn report_gone(before: &[Deb], index: &Index, events: Events) {
    for deb in before {
        if !matches!(index.locate(deb), deb::Located::Listed(_)) {
            events(Event::Gone { id: deb.id.clone() });
        }
    }
}

/// The target of a tree: Python's patch release and the C library are those of the packages of
/// its base; where it has none, the C library is the suite's.
pub(crate) fn target(
    platform: Platform,
    base: &Base,
    debs: &[Deb],
) -> Result<Target, ResolveError> {
    let upstream = |name: &str| {
        let deb = debs.iter().find(|deb| deb.name == name)?;
        let version = deb
            .version
            .split_once(':')
            .map_or(deb.version.as_str(), |(_, it)| it);
        version.split(['-', '+', '~']).next()
    };
    let minor = |version: &str| version.strip_prefix("2.")?.split('.').next()?.parse().ok();
    let patch = |version: &str| {
        version
            .strip_prefix(&format!("{}.", base.python))?
            .split('.')
            .next()?
            .parse()
            .ok()
    };
    let glibc = upstream("libc6")
        .and_then(minor)
        .or(match base.suite.as_str() {
            "bullseye" | "focal" => Some(31),
            "jammy" => Some(35),
            "bookworm" => Some(36),
            "noble" => Some(39),
            "trixie" => Some(41),
            _ => None,
        });
    Ok(Target {
        platform,
        python: base.python,
        patch: upstream(&format!("python{}", base.python)).and_then(patch),
        glibc: glibc.ok_or_else(|| ResolveError::NoLibc {
            base: base.component.id.name.clone(),
        })?,
    })
}
