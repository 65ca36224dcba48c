//! Finding things in a lock by id. Lists are sorted, so this is a binary search.

use kiln_recipe::{Combination, Location};

use crate::model::{Deb, Lock, LockedImage, PackageId, Set, Wheel};

/// The packages of a set, sorted by id; or of an image, set after set in layer order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Closure<'a> {
    /// Debian packages.
    pub debs: Vec<&'a Deb>,
    /// Wheels.
    pub wheels: Vec<&'a Wheel>,
}

impl Deb {
    /// The version that its authors gave it: without the epoch, and without what Debian adds.
    pub fn upstream(&self) -> &str {
        let version = self
            .version
            .split_once(':')
            .map_or(&*self.version, |it| it.1);
        version.split(['-', '+', '~']).next().unwrap_or(version)
    }
}

impl LockedImage {
    /// Its components, as a family names them; it stands nowhere in a file.
    pub fn combination(&self) -> Combination {
        Combination {
            base: self.base.clone(),
            accelerator: self.accelerator.clone(),
            bundle: self.bundle.clone(),
            ide: self.ide.clone(),
            max_size: None,
            at: Location {
                file: String::new(),
                line: 1,
                column: 1,
            },
        }
    }
}

impl Lock {
    /// The Debian package of this id.
    pub fn deb(&self, id: &PackageId) -> Option<&Deb> {
        let index = self.debs.binary_search_by(|deb| deb.id.cmp(id)).ok()?;
        self.debs.get(index)
    }

    /// The wheel of this id.
    pub fn wheel(&self, id: &PackageId) -> Option<&Wheel> {
        let index = self
            .wheels
            .binary_search_by(|wheel| wheel.id.cmp(id))
            .ok()?;
        self.wheels.get(index)
    }

    /// The set of this id.
    pub fn set(&self, id: &str) -> Option<&Set> {
        let index = self
            .sets
            .binary_search_by(|set| set.id.as_str().cmp(id))
            .ok()?;
        self.sets.get(index)
    }

    /// The packages of each set of an image, base first. Ids that do not exist (in a lock that was
    /// not parsed) are left out.
    pub fn set_closures(&self, image: &LockedImage) -> Vec<Closure<'_>> {
        let sets = image.sets.iter().filter_map(|id| self.set(id));
        sets.map(|set| Closure {
            debs: set.debs.iter().filter_map(|id| self.deb(id)).collect(),
            wheels: set.wheels.iter().filter_map(|id| self.wheel(id)).collect(),
        })
        .collect()
    }

    /// Every package of an image, set after set.
    pub fn image_closure(&self, image: &LockedImage) -> Closure<'_> {
        let mut closure = Closure::default();
        for set in self.set_closures(image) {
            closure.debs.extend(set.debs);
            closure.wheels.extend(set.wheels);
        }
        closure
    }
}
