//! The Debian packages of the sets of one tree: each set is solved on top of those below it, so
//! that images share them. The base is chosen from its own archives; an accelerator, and what
//! stands on it, from those and the accelerator's.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use jiff::Timestamp;
use kiln_fetch::Fetcher;
use kiln_lock::{Deb, DebIndex};
use kiln_recipe::{Archive, Base, ComponentId, ComponentKind, OsPackage, Platform};

use crate::{
    Event, Events, Mode, ResolveError,
    deb::{self, Index},
    forest::Tree,
    previous::Previous,
    python::target::Target,
};

/// What the sets of a tree hold.
pub(crate) struct OsSets<'a> {
    /// For each node.
    pub(crate) debs: Vec<Vec<Deb>>,
    /// The archives of the base and of accelerators.
    archives: Archives<'a>,
}

pub(crate) fn resolve<'a>(
    tree: &'a Tree<'a>,
    previous: &Previous<'a>,
    fetcher: &'a Fetcher,
    mode: Mode,
    now: Timestamp,
    events: Events<'a>,
) -> Result<OsSets<'a>, ResolveError> {
    let archives = Archives {
        tree,
        known: previous.indexes(),
        fetcher,
        now,
        events,
        loaded: Mutex::default(),
    };
    let before = previous.debs_on(&root(tree));
    if mode == Mode::RelockGone && !before.is_empty() {
        report_gone(&before, &archives.all()?, events);
    }
    let mut debs: Vec<Vec<Deb>> = Vec::with_capacity(tree.nodes.len());
    // Whether a node and all below it are what they were.
    let mut unmoved: Vec<bool> = Vec::with_capacity(tree.nodes.len());
    for (number, node) in tree.nodes.iter().enumerate() {
        let old = previous.debs(&node.id);
        let essential = node.below.is_none();
        let below_unmoved = node.below.is_none_or(|below| unmoved[below]);
        let unchanged = mode == Mode::Keep && below_unmoved && previous.same_os(node.component);
        let asks_nothing = node.os_packages.is_empty();
        let chosen = match &old {
            Some(old) if unchanged => old.clone(),
            _ if asks_nothing && (!essential || tree.base.archives.is_empty()) => Vec::new(),
            _ => {
                let path = node.below.map_or_else(Vec::new, |below| tree.path(below));
                let installed: Vec<Deb> = path
                    .iter()
                    .flat_map(|below| debs[*below].iter().cloned())
                    .collect();
                let prefer = match mode {
                    Mode::Upgrade => Vec::new(),
                    Mode::Keep | Mode::RelockGone => preferred(tree, number, &before, previous),
                };
                let request = deb::Request {
                    wanted: node.os_packages,
                    installed: &installed,
                    prefer: &prefer,
                    essential,
                };
                let index = archives.index(node.archives_of)?;
                deb::solve(&index, &request).map_err(|cause| ResolveError::Os {
                    set: node.id.clone(),
                    cause: Box::new(cause),
                })?
            }
        };
        let same = old.is_some_and(|old| ids(&old).eq(ids(&chosen)));
        events(Event::OsSet {
            set: node.id.clone(),
            packages: chosen.len(),
            moved: !same,
        });
        unmoved.push(below_unmoved && same && previous.same_archives(node.component));
        debs.push(chosen);
    }
    Ok(OsSets { debs, archives })
}

/// The name that the base's set has, and with which those of all sets on it begin.
fn root(tree: &Tree<'_>) -> String {
    format!("{} {}", tree.platform, tree.base.component.id.name)
}

/// The packages of the previous lock that a node may take up, of which the last of a name counts.
/// Where two accelerators have different versions each keeps its own; what comes from the base's
/// archives alone is the same on all, where that can be.
fn preferred(tree: &Tree<'_>, node: usize, before: &[Deb], previous: &Previous<'_>) -> Vec<Deb> {
    let below = tree.path(node).into_iter();
    let accelerator = below
        .map(|below| &tree.nodes[below].component.id)
        .find(|id| id.kind == ComponentKind::Accelerator);
    let Some(accelerator) = accelerator else {
        return before.to_vec();
    };
    let of_base = |deb: &&Deb| {
        let mut archives = tree.base.archives.iter();
        archives.any(|it| it.source == deb.source && it.suite == deb.suite)
    };
    let of_all = before.iter().filter(of_base).cloned();
    let own = previous.debs_on(&format!("{} {}", root(tree), accelerator.name));
    of_all.chain(own).collect()
}

impl OsSets<'_> {
    /// The packages that `wanted` adds to a base, for a build environment, from the archives of the
    /// base and of an accelerator.
    pub(crate) fn beyond(
        &self,
        archives_of: Option<&str>,
        base: &[Deb],
        wanted: &[OsPackage],
        prefer: &[Deb],
    ) -> Result<Vec<Deb>, ResolveError> {
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let request = deb::Request {
            wanted,
            installed: base,
            prefer,
            essential: false,
        };
        let index = self.archives.index(archives_of)?;
        let solved = deb::solve(&index, &request);
        solved.map_err(|cause| ResolveError::Os {
            set: self.archives.tree.base.component.id.to_string(),
            cause: Box::new(cause),
        })
    }

    /// Whether the archives still have all these packages.
    pub(crate) fn have<'d>(
        &self,
        mut debs: impl Iterator<Item = &'d Deb>,
    ) -> Result<bool, ResolveError> {
        let indexes = self.archives.all()?;
        Ok(debs.all(|deb| is_listed(&indexes, deb)))
    }

    /// The indexes of the archives.
    pub(crate) fn indexes(self) -> (Vec<Vec<Deb>>, Vec<DebIndex>) {
        (self.debs, self.archives.indexes())
    }
}

/// The archives of a base and of the accelerators on it, read when a set must be solved.
struct Archives<'a> {
    tree: &'a Tree<'a>,
    /// The indexes of the previous lock.
    known: &'a [DebIndex],
    fetcher: &'a Fetcher,
    now: Timestamp,
    events: Events<'a>,
    /// By accelerator; that of the base alone is of none.
    loaded: Mutex<BTreeMap<Option<String>, Loaded>>,
}

/// What sets choose from, and what was read for it.
#[derive(Clone)]
struct Loaded {
    index: Arc<Index>,
    read: Vec<DebIndex>,
}

impl<'a> Archives<'a> {
    /// The index of the base, or of the base and an accelerator.
    fn index(&self, accelerator: Option<&str>) -> Result<Arc<Index>, ResolveError> {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let key = accelerator.map(str::to_owned);
        if let Some(known) = loaded.get(&key) {
            return Ok(Arc::clone(&known.index));
        }
        let base = if let Some(base) = loaded.get(&None) {
            base.clone()
        } else {
            let archives = self.tree.base.archives.iter().collect::<Vec<_>>();
            let new = self.read(&self.tree.base.component.id, &archives, None)?;
            loaded.insert(None, new.clone());
            new
        };
        let added = accelerator.and_then(|name| Some((name, self.tree.archives.get(name)?)));
        let Some((name, archives)) = added else {
            return Ok(base.index);
        };
        let id = ComponentId {
            kind: ComponentKind::Accelerator,
            name: name.to_owned(),
        };
        let new = self.read(&id, archives, Some(&base.index))?;
        let index = Arc::clone(&new.index);
        loaded.insert(key, new);
        Ok(index)
    }

    /// The indexes of the base and of every accelerator on it.
    fn all(&self) -> Result<Vec<Arc<Index>>, ResolveError> {
        let accelerators = self.tree.archives.keys().map(|name| Some(*name));
        let all = [None].into_iter().chain(accelerators);
        all.map(|accelerator| self.index(accelerator)).collect()
    }

    fn read(
        &self,
        component: &ComponentId,
        archives: &[&'a Archive],
        below: Option<&Index>,
    ) -> Result<Loaded, ResolveError> {
        let platform = self.tree.platform;
        (self.events)(Event::Indexes {
            component: component.clone(),
            platform,
        });
        let read = deb::load(
            self.fetcher,
            archives,
            platform,
            self.known,
            self.now,
            below,
        );
        let (index, read) = read.map_err(|cause| ResolveError::Archives {
            component: component.clone(),
            cause: Box::new(cause),
        })?;
        Ok(Loaded {
            index: Arc::new(index),
            read,
        })
    }

    /// For the lock: the indexes that were read, else those of the previous lock.
    fn indexes(self) -> Vec<DebIndex> {
        let loaded = self.loaded.into_inner();
        let mut loaded = loaded.unwrap_or_else(PoisonError::into_inner);
        let accelerators = self.tree.archives.iter();
        let added =
            accelerators.map(|(name, archives)| (Some((*name).to_owned()), archives.clone()));
        let base = self.tree.base.archives.iter().collect();
        let mut indexes = Vec::new();
        for (key, archives) in added.chain([(None, base)]) {
            match loaded.remove(&key) {
                Some(loaded) => indexes.extend(loaded.read),
                None => indexes.extend(
                    self.known
                        .iter()
                        .filter(|index| {
                            let mut archives = archives.iter();
                            archives.any(|it| it.source == index.source && it.suite == index.suite)
                        })
                        .cloned(),
                ),
            }
        }
        indexes
    }
}

fn ids(debs: &[Deb]) -> impl Iterator<Item = (&str, kiln_digest::Digest)> {
    debs.iter().map(|deb| (deb.id.0.as_str(), deb.sha256))
}

fn report_gone(before: &[Deb], indexes: &[Arc<Index>], events: Events) {
    for deb in before {
        if !is_listed(indexes, deb) {
            events(Event::Gone { id: deb.id.clone() });
        }
    }
}

fn is_listed(indexes: &[Arc<Index>], deb: &Deb) -> bool {
    let mut indexes = indexes.iter();
    indexes.any(|index| matches!(index.locate(deb), deb::Located::Listed(_)))
}

/// The target of a tree: Python's patch release and the C library are those of the packages of
/// its base; where it has none, the C library is the suite's.
pub(crate) fn target(
    platform: Platform,
    base: &Base,
    debs: &[Deb],
) -> Result<Target, ResolveError> {
    let upstream = |name: &str| Some(debs.iter().find(|deb| deb.name == name)?.upstream());
    let minor = |version: &str| version.strip_prefix("2.")?.split('.').next()?.parse().ok();
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
        patch: kiln_lock::requires::python_patch(base.python, debs),
        glibc: glibc.ok_or_else(|| ResolveError::NoLibc {
            base: base.component.id.name.clone(),
        })?,
    })
}

#[cfg(test)]
mod tests {
    use kiln_digest::Digest;
    use kiln_lock::PackageId;
    use kiln_recipe::{Component, Location, PythonVersion};

    use super::*;

    fn base(suite: &str) -> Base {
        let at = Location {
            file: "bases/b.toml".to_owned(),
            line: 1,
            column: 1,
        };
        Base {
            component: Component::new(
                ComponentId {
                    kind: ComponentKind::Base,
                    name: "b".to_owned(),
                },
                at,
            ),
            code: "b".to_owned(),
            distribution: "debian".to_owned(),
            suite: suite.to_owned(),
            python: PythonVersion {
                major: 3,
                minor: 11,
            },
            archives: Vec::new(),
        }
    }

    fn deb(name: &str, version: &str) -> Deb {
        Deb {
            id: PackageId(name.to_owned()),
            name: name.to_owned(),
            version: version.to_owned(),
            architecture: "amd64".to_owned(),
            source: "debian".to_owned(),
            suite: "bookworm".to_owned(),
            path: String::new(),
            size: 0,
            sha256: Digest::of(b""),
            essential: false,
            multi_arch_same: false,
            depends: Vec::new(),
        }
    }

    #[test]
    fn the_target_is_what_the_packages_of_the_base_say() {
        for (python, libc, patch, glibc) in [
            ("3.11.2-6+deb12u6", "2.36-9+deb12u14", Some(2), 36),
            ("1:3.11.9~rc1-1", "2.41-12", Some(9), 41),
            ("3.12.1-1", "2.39-0ubuntu8.4", None, 39),
        ] {
            let debs = [deb("libc6", libc), deb("python3.11", python)];
            let target = target(Platform::LinuxArm64, &base("sid"), &debs).unwrap();
            assert_eq!(
                (target.patch, target.glibc),
                (patch, glibc),
                "{python} {libc}"
            );
        }
    }

    #[test]
    fn a_base_without_packages_has_the_library_of_its_suite() {
        let target = target(Platform::LinuxAmd64, &base("bookworm"), &[]).unwrap();
        assert_eq!((target.patch, target.glibc), (None, 36));
        let error = super::target(Platform::LinuxAmd64, &base("sid"), &[]).unwrap_err();
        assert_eq!(error.to_string(), "the C library of base `b` is not known");
        assert!(error.hint().is_some());
    }
}
