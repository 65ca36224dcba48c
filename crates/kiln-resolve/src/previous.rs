//! What the previous lock says, by what a resolver asks.

use std::collections::{BTreeMap, BTreeSet};

use kiln_lock::{Deb, DebIndex, Lock, LockedImage, PackageId, Request, Set, Wheel};
use kiln_recipe::{Combination, Component, ComponentId, Platform};

/// The previous lock and what the family asks now.
pub(crate) struct Previous<'a> {
    lock: Option<&'a Lock>,
    sets: BTreeMap<&'a str, &'a Set>,
    debs: BTreeMap<&'a PackageId, &'a Deb>,
    wheels: BTreeMap<&'a PackageId, &'a Wheel>,
    asked: BTreeMap<&'a ComponentId, &'a Request>,
    asks: BTreeMap<&'a ComponentId, &'a Request>,
}

impl<'a> Previous<'a> {
    pub(crate) fn new(lock: Option<&'a Lock>, asks: &'a [Request]) -> Self {
        let by_component = |requests: &'a [Request]| {
            requests
                .iter()
                .map(|request| (&request.component, request))
                .collect()
        };
        Self {
            lock,
            sets: lock.map_or_else(BTreeMap::new, |lock| {
                lock.sets.iter().map(|set| (set.id.as_str(), set)).collect()
            }),
            debs: lock.map_or_else(BTreeMap::new, |lock| {
                lock.debs.iter().map(|deb| (&deb.id, deb)).collect()
            }),
            wheels: lock.map_or_else(BTreeMap::new, |lock| {
                lock.wheels.iter().map(|wheel| (&wheel.id, wheel)).collect()
            }),
            asked: lock.map_or_else(BTreeMap::new, |lock| by_component(&lock.requests)),
            asks: by_component(asks),
        }
    }

    /// The Debian packages of a set; nothing when there was no such set.
    pub(crate) fn debs(&self, set: &str) -> Option<Vec<Deb>> {
        let set = self.sets.get(set)?;
        set.debs
            .iter()
            .map(|id| self.debs.get(id).map(|deb| (*deb).clone()))
            .collect()
    }

    /// The wheels of a set; nothing when there was no such set.
    pub(crate) fn wheels(&self, set: &str) -> Option<Vec<Wheel>> {
        self.sets.get(set)?;
        Some(self.set_wheels(set).cloned().collect())
    }

    /// The wheels of a set; none when there was no such set.
    pub(crate) fn set_wheels(&self, set: &str) -> impl Iterator<Item = &'a Wheel> {
        let ids = self.sets.get(set).map_or(&[][..], |set| &set.wheels);
        ids.iter().filter_map(|id| self.wheels.get(id).copied())
    }

    /// The wheels of all sets that these components have on a base's set `root`.
    pub(crate) fn wheels_of<'s>(
        &'s self,
        root: &'s str,
        components: BTreeSet<&'s ComponentId>,
    ) -> impl Iterator<Item = &'a Wheel> + use<'s, 'a> {
        let on_it = move |set: &&&Set| {
            components.contains(&set.component)
                && set
                    .id
                    .strip_prefix(root)
                    .is_some_and(|it| it.starts_with(' '))
        };
        let sets = self.sets.values().filter(on_it);
        let ids = sets.flat_map(|set| &set.wheels);
        ids.filter_map(|id| self.wheels.get(id).copied())
    }

    /// All Debian packages of the sets on a set, and of that set.
    pub(crate) fn debs_on(&self, root: &str) -> Vec<Deb> {
        let of_it = |id: &str| {
            id.strip_prefix(root)
                .is_some_and(|it| it.is_empty() || it.starts_with(' '))
        };
        let sets = self.sets.iter().filter(|(id, _)| of_it(id));
        let found: BTreeMap<&PackageId, &Deb> = sets
            .flat_map(|(_, set)| &set.debs)
            .filter_map(|id| self.debs.get(id).map(|deb| (id, *deb)))
            .collect();
        found.into_values().cloned().collect()
    }

    /// All wheels.
    pub(crate) fn all_wheels(&self) -> &'a [Wheel] {
        self.lock.map_or(&[], |lock| &lock.wheels)
    }

    /// The Debian package of this id.
    pub(crate) fn deb(&self, id: &PackageId) -> Option<&'a Deb> {
        self.debs.get(id).copied()
    }

    /// The wheel of this id.
    pub(crate) fn wheel(&self, id: &PackageId) -> Option<&'a Wheel> {
        self.wheels.get(id).copied()
    }

    /// Whether the component wants the project built as before.
    pub(crate) fn same_source(&self, component: &Component, project: &str) -> bool {
        self.same(component, |asked, asks| {
            asked.from_source.get(project) == asks.from_source.get(project)
        })
    }

    /// All indexes.
    pub(crate) fn indexes(&self) -> &'a [DebIndex] {
        self.lock.map_or(&[], |lock| &lock.indexes)
    }

    /// All tools.
    pub(crate) fn tools(&self) -> &'a [kiln_lock::Tool] {
        self.lock.map_or(&[], |lock| &lock.tools)
    }

    /// Whether the component asks for the same OS packages, from the same archives, as before.
    pub(crate) fn same_os(&self, component: &Component) -> bool {
        self.same(component, |asked, asks| {
            asked.os_packages == asks.os_packages && asked.from == asks.from
        })
    }

    /// Whether the component names the same archives as before.
    pub(crate) fn same_archives(&self, component: &Component) -> bool {
        self.same(component, |asked, asks| asked.from == asks.from)
    }

    /// Whether the component asks for the same Python packages, on the same bundle, as before.
    pub(crate) fn same_python(&self, component: &Component) -> bool {
        self.same(component, |asked, asks| {
            asked.requirements == asks.requirements
                && asked.from_source == asks.from_source
                && asked.python_indexes == asks.python_indexes
                && (asked.from == asks.from
                    || component.id.kind != kiln_recipe::ComponentKind::Bundle)
        })
    }

    fn same(&self, component: &Component, equal: impl Fn(&Request, &Request) -> bool) -> bool {
        match (self.asked.get(&component.id), self.asks.get(&component.id)) {
            (Some(asked), Some(asks)) => equal(asked, asks),
            // A component that asks for nothing may be in neither.
            (None, None) => true,
            _ => false,
        }
    }

    /// The Python that a base had.
    pub(crate) fn python(&self, base: &str) -> Option<kiln_recipe::PythonVersion> {
        let images = &self.lock?.images;
        images
            .iter()
            .find(|image| image.base == base)
            .map(|image| image.python)
    }

    /// The image of a combination.
    pub(crate) fn image(&self, image: &Combination, platform: Platform) -> Option<&'a LockedImage> {
        self.lock?.images.iter().find(|locked| {
            locked.platform == platform
                && locked.base == image.base
                && locked.accelerator == image.accelerator
                && locked.bundle == image.bundle
                && locked.ide == image.ide
        })
    }
}
