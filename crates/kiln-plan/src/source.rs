//! The steps that build wheels from source.
//!
//! A build environment is a base as it is, configured, and further OS packages on top, configured
//! as well. Its steps are those of images on that base wherever these are alike; they depend
//! neither on the image that wants the wheel nor on how its layers are compressed, so that a
//! wheel that was built while locking is not built again.

use kiln_digest::Digest;
use kiln_lock::{BuiltFrom, Deb, Wheel};
use kiln_recipe::{Component, ComponentId, ComponentKind, Family, Platform};

use crate::{
    action::{Archive, BuildProduct, BuildWheel, Kind},
    draft::{Context, Draft, archives, sorted, wheel_input},
    error::PlanError,
    layers::OWN_LAYER,
    plan::{Input, Origin, Plan, PlanOptions, in_order},
};

/// A source distribution, and everything that a wheel is built from it with.
#[derive(Debug, Clone)]
pub struct Source<'a> {
    /// Normalised name of the project.
    pub project: &'a str,
    /// Its version.
    pub version: &'a str,
    /// The named source that has the source distribution.
    pub source: &'a str,
    /// File, size, digest, environment.
    pub from: &'a BuiltFrom,
    /// The Debian packages of the base.
    pub base: Vec<&'a Deb>,
    /// Those of the build environment beyond it.
    pub debs: Vec<&'a Deb>,
    /// The build requirements.
    pub requirements: Vec<&'a Wheel>,
}

/// What it takes to make `product` of a source distribution on a base: a plan without images,
/// whose last step makes it.
pub fn source_plan(
    family: &Family,
    base: &str,
    platform: Platform,
    source: &Source<'_>,
    product: BuildProduct,
) -> Result<Plan, PlanError> {
    let context = Context::of_base(family, base, platform, PlanOptions::default())?;
    Ok(Plan {
        steps: in_order(context.build_from(source, product)),
        images: Vec::new(),
    })
}

impl Context<'_> {
    /// The steps that make `product`; the last one makes it. For a context of a base.
    pub(crate) fn build_from(&self, source: &Source<'_>, product: BuildProduct) -> Vec<Draft> {
        let base = self.base_component();
        let mut layers = Vec::new();
        let mut drafts = self.system(base, &source.base, &mut layers);
        // No component of the family brings these, and so no `[winners]` concern them.
        let id = ComponentId {
            kind: ComponentKind::Bundle,
            name: source.project.to_owned(),
        };
        let environment = Component::new(id, base.at.clone());
        drafts.extend(self.system(&environment, &source.debs, &mut layers));

        let requirements = sorted(&source.requirements);
        let sdist = Input {
            sha256: source.from.sha256,
            size: source.from.size,
            origin: Origin::Wheel {
                source: source.source.to_owned(),
                project: source.project.to_owned(),
                file: source.from.file.clone(),
            },
        };
        let mut inputs: Vec<_> = requirements.iter().map(|it| wheel_input(it)).collect();
        inputs.push(sdist);
        let kind = Kind::BuildWheel(BuildWheel {
            product,
            layers,
            executable: self.executable(),
            sdist: Archive {
                file: source.from.file.clone(),
                sha256: source.from.sha256,
            },
            requirements: archives(&requirements),
            env: source.from.env.clone(),
        });
        let what = match product {
            BuildProduct::Wheel => "wheel",
            BuildProduct::Requirements => "build requirements",
        };
        let title = format!("{what} of {} {}", source.project, source.version);
        drafts.push(self.layer(base, title, kind, inputs, ""));
        // No image has a layer of any of them for this reason.
        for draft in &mut drafts {
            draft.history = None;
        }
        drafts
    }

    /// The steps that pack and configure `debs` on top of `layers`, to which theirs are added.
    fn system(&self, component: &Component, debs: &[&Deb], layers: &mut Vec<Digest>) -> Vec<Draft> {
        let mut drafts = self.debs(component, debs, OWN_LAYER.deb);
        layers.extend(drafts.iter().map(|draft| draft.key));
        if !debs.is_empty() {
            let configure = self.configure(component, debs, layers, &drafts);
            layers.push(configure.key);
            drafts.push(configure);
        }
        drafts
    }
}
