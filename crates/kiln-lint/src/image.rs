//! A locked image as rules see it.

use kiln_lock::{Closure, Lock, LockedImage};
use kiln_package::elf::Machine;
use kiln_recipe::{Component, Family, Platform, SizeLimit};

use crate::origin::{Graph, Origins};

/// An image with its components and packages.
pub(crate) struct Image<'a> {
    pub(crate) family: &'a Family,
    pub(crate) locked: &'a LockedImage,
    /// In layer order, base first.
    pub(crate) components: Vec<&'a Component>,
    pub(crate) closure: Closure<'a>,
    pub(crate) origins: Origins,
    /// What its `[[image]]` says that it may weigh.
    pub(crate) max_size: Option<&'a SizeLimit>,
}

impl<'a> Image<'a> {
    /// Nothing for an image that the family does not have.
    pub(crate) fn new(
        family: &'a Family,
        lock: &'a Lock,
        locked: &'a LockedImage,
        graph: &Graph<'_>,
    ) -> Option<Self> {
        let combination = family.images.iter().find(|it| {
            it.base == locked.base
                && it.accelerator == locked.accelerator
                && it.bundle == locked.bundle
                && it.ide == locked.ide
        })?;
        let components = family.components(combination);
        let closure = lock.image_closure(locked);
        let origins = Origins::new(locked, &components, &closure, graph);
        Some(Self {
            family,
            locked,
            components,
            closure,
            origins,
            max_size: combination.max_size.as_ref(),
        })
    }

    pub(crate) fn machine(&self) -> Machine {
        match self.locked.platform {
            Platform::LinuxAmd64 => Machine::X86_64,
            Platform::LinuxArm64 => Machine::Aarch64,
        }
    }

    /// The sum of the sizes of its archives: what is pulled, nearly.
    pub(crate) fn size(&self) -> u64 {
        let debs = self.closure.debs.iter().map(|deb| deb.size);
        let wheels = self.closure.wheels.iter().map(|wheel| wheel.size);
        debs.chain(wheels).sum()
    }
}

/// Bytes for people, in decimal units: `312.4 MB`.
#[expect(clippy::cast_precision_loss, reason = "one decimal place is shown")]
pub(crate) fn bytes(count: u64) -> String {
    let (value, unit) = match count {
        0..1_000_000 => (count as f64 / 1e3, "kB"),
        1_000_000..1_000_000_000 => (count as f64 / 1e6, "MB"),
        _ => (count as f64 / 1e9, "GB"),
    };
    format!("{value:.1} {unit}")
}
