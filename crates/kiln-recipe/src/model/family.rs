//! A family and its images.

use std::collections::BTreeMap;

use super::{
    Accelerator, AcceleratorKind, Archive, Base, Bundle, Component, ComponentKind, Ide, Location,
    Platform, SizeLimit, Waiver,
};
use crate::name::{ImageName, NamePattern};

/// The user that images run as, and who owns the Python tree. Arbitrary-UID platforms need
/// group 0 and group-writable trees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// User id, 1001 unless said.
    pub uid: u32,
    /// Group id, 0 unless said.
    pub gid: u32,
    /// The Python tree, `/opt/app-root` unless said.
    pub prefix: String,
    /// Working directory and `HOME`, `/opt/app-root/src` unless said.
    pub home: String,
    /// Login name, `default` unless said.
    pub name: String,
    /// Login shell, `/bin/bash` unless said.
    pub shell: String,
}

impl Default for User {
    fn default() -> Self {
        Self {
            uid: 1001,
            gid: 0,
            prefix: "/opt/app-root".to_owned(),
            home: "/opt/app-root/src".to_owned(),
            name: "default".to_owned(),
            shell: "/bin/bash".to_owned(),
        }
    }
}

/// One image of the family: a combination of components.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Combination {
    /// Name of the base.
    pub base: String,
    /// Name of the accelerator.
    pub accelerator: String,
    /// Name of the bundle.
    pub bundle: String,
    /// Name of the IDE.
    pub ide: String,
    /// What it may weigh.
    pub max_size: Option<SizeLimit>,
    /// Where it is declared.
    pub at: Location,
}

/// A whole family. Every name that one part uses of another exists (`parse` checked it).
#[derive(Debug, Clone)]
pub struct Family {
    /// Its name.
    pub name: String,
    /// Its release, `2026b`.
    pub release: String,
    /// One sentence for people.
    pub description: String,
    /// Who makes it (`org.opencontainers.image.vendor`).
    pub vendor: Option<String>,
    /// Where its family files live (`org.opencontainers.image.source`).
    pub source: Option<String>,
    /// SPDX expression (`org.opencontainers.image.licenses`).
    pub licenses: Option<String>,
    /// The image repository, without a tag: `registry.example/workbench`.
    pub repository: String,
    /// The base that is meant when a part of a name fits images that differ in the base alone.
    pub default_base: Option<String>,
    /// Platforms of every image.
    pub platforms: Vec<Platform>,
    /// How image names look.
    pub pattern: NamePattern,
    /// Who runs and owns.
    pub user: User,
    /// Whether images are packed only: no maintainer script runs, nothing is compiled.
    pub pack_only: bool,
    /// Whether images hold compiled Python modules.
    pub bytecode: bool,
    /// Where named sources live, when the host's own settings shall not decide.
    pub sources: BTreeMap<String, String>,
    /// The exact version of the `uv` binary that resolves Python.
    pub uv: Option<String>,
    /// Bases by name.
    pub bases: BTreeMap<String, Base>,
    /// Accelerators by name.
    pub accelerators: BTreeMap<String, Accelerator>,
    /// Bundles by name; `extends` has no cycles.
    pub bundles: BTreeMap<String, Bundle>,
    /// IDEs by name.
    pub ides: BTreeMap<String, Ide>,
    /// The images, in the order of the file; no two are the same.
    pub images: Vec<Combination>,
    /// What is forgiven all images.
    pub waivers: Vec<Waiver>,
    /// The text of every family file that was read, for error messages.
    pub texts: BTreeMap<String, String>,
}

impl Family {
    /// The bundles that `name` stands on, the root first and `name` last. Empty for an unknown
    /// name.
    pub fn chain(&self, name: &str) -> Vec<&Bundle> {
        let mut chain = Vec::new();
        let mut next = self.bundles.get(name);
        while let Some(bundle) = next {
            chain.push(bundle);
            next = bundle
                .extends
                .as_deref()
                .and_then(|parent| self.bundles.get(parent));
        }
        chain.reverse();
        chain
    }

    /// The components of an image in layer order: base, accelerator, bundle chain, IDE.
    pub fn components(&self, image: &Combination) -> Vec<&Component> {
        let base = self.bases.get(&image.base).map(|base| &base.component);
        let accelerator = self
            .accelerators
            .get(&image.accelerator)
            .map(|it| &it.component);
        let ide = self.ides.get(&image.ide).map(|ide| &ide.component);
        let chain = self
            .chain(&image.bundle)
            .into_iter()
            .map(|bundle| &bundle.component);
        base.into_iter()
            .chain(accelerator)
            .chain(chain)
            .chain(ide)
            .collect()
    }

    /// Every component, whether an image has it or not.
    pub fn all_components(&self) -> Vec<&Component> {
        let bases = self.bases.values().map(|it| &it.component);
        let accelerators = self.accelerators.values().map(|it| &it.component);
        let bundles = self.bundles.values().map(|it| &it.component);
        let ides = self.ides.values().map(|it| &it.component);
        let lower = bases.chain(accelerators);
        lower.chain(bundles).chain(ides).collect()
    }

    /// The names that a component provides: its own, those that it says, and an accelerator's
    /// kind, of CUDA also with the major version (`cuda12`).
    pub fn provides(&self, component: &Component) -> Vec<String> {
        let mut names = vec![component.id.name.clone()];
        names.extend(component.provides.iter().map(|it| it.name.clone()));
        if component.id.kind != ComponentKind::Accelerator {
            return names;
        }
        if let Some(accelerator) = self.accelerators.get(&component.id.name)
            && accelerator.kind != AcceleratorKind::Cpu
        {
            let cuda = accelerator.cuda.as_ref();
            let major = cuda.map(|it| format!("cuda{}", it.version.major));
            names.push(accelerator.kind.name().to_owned());
            names.extend(major);
        }
        names
    }

    /// Where the OS packages of images on a base with an accelerator come from: the base's archives,
    /// then the accelerator's. Empty for unknown names.
    pub fn archives(&self, base: &str, accelerator: &str) -> Vec<&Archive> {
        let own = self.bases.get(base).map(|it| &it.archives);
        let added = self.accelerators.get(accelerator).map(|it| &it.archives);
        let is_for = |archive: &&Archive| {
            archive.bases.is_empty() || archive.bases.iter().any(|it| it == base)
        };
        let archives = own.into_iter().chain(added).flatten();
        archives.filter(is_for).collect()
    }

    /// The parts of an image's name, for an image that has this date (`YYYYMMDD`). `None` for a
    /// combination of unknown components.
    pub fn image_name(&self, image: &Combination, date: &str) -> Option<ImageName> {
        let base = self.bases.get(&image.base)?;
        Some(ImageName {
            accelerator: self.accelerators.get(&image.accelerator)?.code.clone(),
            ide: image.ide.clone(),
            bundle: image.bundle.clone(),
            os: base.code.clone(),
            python: format!("py{}{}", base.python.major, base.python.minor),
            release: self.release.clone(),
            date: date.to_owned(),
        })
    }
}
