//! What a family says about lints: what is forgiven which images, what images may weigh, and
//! which accelerators have CUDA.

use kiln_gpu::Version;
use kiln_recipe::{AcceleratorKind, ComponentId, Cuda, Family, Location, SizeLimit, Waiver};

use crate::image::Image;

/// A waiver and the images that it is for: those with a component, or all.
pub(crate) type Scoped<'a> = (&'a Waiver, Option<&'a ComponentId>);

/// All waivers of a family: those of `kiln.toml`, then those of components.
pub(crate) fn waivers(family: &Family) -> Vec<Scoped<'_>> {
    let bases = family.bases.values().map(|it| &it.component);
    let accelerators = family.accelerators.values().map(|it| &it.component);
    let bundles = family.bundles.values().map(|it| &it.component);
    let ides = family.ides.values().map(|it| &it.component);
    let components = bases.chain(accelerators).chain(bundles).chain(ides);
    let of_components = components
        .flat_map(|component| component.waivers.iter().map(|it| (it, Some(&component.id))));
    let of_family = family.waivers.iter().map(|it| (it, None));
    of_family.chain(of_components).collect()
}

impl Image<'_> {
    /// What it may weigh: what its `[[image]]` says, and each of its bundles.
    pub(crate) fn budgets(&self) -> Vec<&SizeLimit> {
        let chain = self.family.chain(&self.locked.bundle);
        let of_bundles = chain.into_iter().filter_map(|it| it.max_size.as_ref());
        self.max_size.into_iter().chain(of_bundles).collect()
    }

    /// Whether its accelerator has CUDA.
    pub(crate) fn has_cuda(&self) -> bool {
        let accelerator = self.family.accelerators.get(&self.locked.accelerator);
        accelerator.is_some_and(|it| it.kind == AcceleratorKind::Cuda)
    }

    /// The CUDA of its accelerator, and where that is said.
    pub(crate) fn toolkit(&self) -> Option<(Version, &Location)> {
        let accelerator = self.family.accelerators.get(&self.locked.accelerator)?;
        let Cuda { version, at, .. } = accelerator.cuda.as_ref()?;
        Some((version.to_string().parse().ok()?, at))
    }
}
