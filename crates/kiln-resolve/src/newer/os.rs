//! OS packages: what the archives list, and which constraints of the family let it in.

use std::collections::BTreeMap;

use jiff::Timestamp;
use kiln_fetch::Fetcher;
use kiln_lock::{Deb, Lock, LockedImage, diff::PackageKind};
use kiln_recipe::{ComponentId, ComponentKind, Family, OsPackage, Platform};
use rayon::prelude::*;

use super::{Holder, Newer, Shared, SharedSet, packages};
use crate::{
    ResolveError,
    deb::{self, Index, Located, relation::parse_relation, version::Version},
};

/// Where the packages of images come from: the archives of a base on a platform, or those and an
/// accelerator's.
type Origin<'l> = (Platform, &'l str, Option<&'l str>);

pub(super) fn newer(
    family: &Family,
    lock: &Lock,
    shared: &Shared<'_>,
    fetcher: &Fetcher,
    now: Timestamp,
) -> Result<Vec<Newer>, ResolveError> {
    let debs = packages(lock, shared, |set| &set.debs);
    let debs: Vec<_> = debs
        .into_iter()
        .filter_map(|(id, set)| Some((lock.deb(id)?, set, set.all.first()?)))
        .map(|(deb, set, image)| (deb, set, origin(family, deb, image)))
        .collect();
    let mut origins: Vec<_> = debs.iter().map(|(_, _, origin)| *origin).collect();
    origins.sort_unstable();
    origins.dedup();
    let indexes: Result<BTreeMap<_, _>, ResolveError> = origins
        .par_iter()
        .map(|&origin| Ok((origin, index(family, lock, origin, fetcher, now)?)))
        .collect();
    let indexes = indexes?;
    let compared = debs.into_iter().filter_map(|(deb, set, origin)| {
        let index = indexes.get(&origin)?;
        compare(family, deb, set, index)
    });
    Ok(compared.collect())
}

/// Which archives list a package: the accelerator's only where the base's are not its source.
fn origin<'l>(family: &Family, deb: &Deb, image: &'l LockedImage) -> Origin<'l> {
    let archives = family.archives(&image.base, "");
    let is_of_base = archives
        .iter()
        .any(|it| it.source == deb.source && it.suite == deb.suite);
    let accelerator = (!is_of_base).then_some(image.accelerator.as_str());
    (image.platform, image.base.as_str(), accelerator)
}

fn index(
    family: &Family,
    lock: &Lock,
    (platform, base, accelerator): Origin<'_>,
    fetcher: &Fetcher,
    now: Timestamp,
) -> Result<Index, ResolveError> {
    let archives = family.archives(base, accelerator.unwrap_or_default());
    let (kind, name) = match accelerator {
        Some(name) => (ComponentKind::Accelerator, name),
        None => (ComponentKind::Base, base),
    };
    let loaded = deb::load(fetcher, &archives, platform, &lock.indexes, now, None);
    let (index, _) = loaded.map_err(|cause| ResolveError::Archives {
        component: ComponentId {
            kind,
            name: name.to_owned(),
        },
        cause: Box::new(cause),
    })?;
    Ok(index)
}

/// A package that is not the newest of its name, or gone.
fn compare(family: &Family, deb: &Deb, set: &SharedSet<'_>, index: &Index) -> Option<Newer> {
    let locked: Version = deb.version.parse().ok()?;
    let named: Vec<(&ComponentId, &OsPackage)> = named(family, set, &deb.name);
    let newer = index.versions(&deb.name).iter();
    let newer = newer.map(|it| &it.version).filter(|it| **it > locked);
    let newest = newer.clone().next();
    let allowed = newer
        .clone()
        .find(|version| named.iter().all(|(_, said)| lets_in(said, version)));
    let gone = !matches!(index.locate(deb), Located::Listed(_));
    if newest.is_none() && !gone {
        return None;
    }
    let held_by = match newest {
        Some(version) if newest != allowed => named
            .iter()
            .filter(|(_, said)| !lets_in(said, version))
            .map(|(component, said)| Holder::Family {
                component: (*component).clone(),
                requirement: said.text.clone(),
                at: said.at.clone(),
            })
            .collect(),
        _ => Vec::new(),
    };
    let shown = |version: Option<&Version>| {
        version.map_or_else(|| deb.version.clone(), ToString::to_string)
    };
    Some(Newer {
        kind: PackageKind::Deb,
        name: deb.name.clone(),
        source: deb.source.clone(),
        locked: deb.version.clone(),
        allowed: shown(allowed),
        newest: shown(newest),
        held_by,
        yanked: None,
        gone,
        direct: !named.is_empty(),
        images: set.asked.iter().map(|&name| name.to_owned()).collect(),
    })
}

/// Where the components of a set's images name a package.
fn named<'f>(
    family: &'f Family,
    set: &SharedSet<'_>,
    name: &str,
) -> Vec<(&'f ComponentId, &'f OsPackage)> {
    let mut named = BTreeMap::new();
    for image in &set.all {
        for component in family.components(&image.combination()) {
            let packages = component.os_packages.iter();
            if let Some(package) = { packages }.find(|it| it.name == name) {
                named.insert(&component.id, package);
            }
        }
    }
    named.into_iter().collect()
}

fn lets_in(said: &OsPackage, version: &Version) -> bool {
    parse_relation(&said.text).is_ok_and(|relation| relation.accepts(version))
}
