//! What decides whether an image is still the same: a digest of its closure and configuration.
//!
//! Everything that would change the image is in it, and nothing else: neither its date, which it
//! decides, nor the lock, the commit or the version of kiln.

use std::collections::BTreeMap;

use kiln_digest::{Digest, Hasher};
use kiln_recipe::{
    Accelerator, AcceleratorKind, Combination, Component, Family, RunCommand, RunUser,
};

use crate::lookup::Closure;

/// Counts how the environment and labels of images with CUDA are computed (kiln-plan, `cuda`): when
/// the rules change, these images do.
const CUDA_RULES: u64 = 1;

/// A canonical encoding that is hashed while it is written: each text and list with its length in
/// front, so that no two different configurations have the same encoding.
struct Fields(Hasher);

impl Fields {
    /// `domain` names what is encoded and its version.
    fn new(domain: &str) -> Self {
        let mut fields = Self(Hasher::new());
        fields.text(domain);
        fields
    }

    fn number(&mut self, number: u64) {
        self.0.update(&number.to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.0.update(text.as_bytes());
    }

    fn optional(&mut self, text: Option<&str>) {
        self.number(text.is_some().into());
        self.text(text.unwrap_or_default());
    }

    fn list<T>(&mut self, items: impl ExactSizeIterator<Item = T>, each: impl Fn(&mut Self, T)) {
        self.number(items.len() as u64);
        for item in items {
            each(self, item);
        }
    }

    fn digest(&mut self, digest: &Digest) {
        self.0.update(digest.as_bytes());
    }

    fn finish(self) -> Digest {
        self.0.finish()
    }
}

/// The digest of everything in an image's configuration that would change the image besides its
/// closure: environment, placed files, commands with their artifacts, what starts, port, labels and
/// what labels are made of, the user, the family's particulars. A combination of unknown components
/// has one too.
pub fn fingerprint_config(family: &Family, image: &Combination) -> Digest {
    let mut fields = Fields::new("kiln image configuration 2");
    for text in [
        &family.name,
        &family.release,
        &family.description,
        &family.repository,
    ] {
        fields.text(text);
    }
    for text in [&family.vendor, &family.source, &family.licenses] {
        fields.optional(text.as_deref());
    }
    fields.text(&family.pattern.text);
    let user = &family.user;
    fields.number(user.uid.into());
    fields.number(user.gid.into());
    fields.text(&user.prefix);
    fields.text(&user.home);
    // What nothing is executed for changes no image that is packed only.
    let executes = !family.pack_only;
    fields.number(executes.into());
    if executes {
        fields.number(family.bytecode.into());
        fields.text(&user.name);
        fields.text(&user.shell);
    }
    if let Some(base) = family.bases.get(&image.base) {
        for text in [
            &base.code,
            &base.distribution,
            &base.suite,
            &base.python.to_string(),
        ] {
            fields.text(text);
        }
    }
    if let Some(it) = family.accelerators.get(&image.accelerator) {
        accelerator(&mut fields, it);
    }
    if let Some(ide) = family.ides.get(&image.ide) {
        fields.list(ide.command.iter(), |fields, word| fields.text(word));
        fields.number(ide.port.unwrap_or_default().into());
    }
    fields.list(family.components(image).into_iter(), |fields, it| {
        component(fields, it);
        if executes {
            fields.list(it.runs.iter(), run);
        }
    });
    fields.finish()
}

/// What an accelerator says beyond what all components do. One of kind `cpu` says nothing.
fn accelerator(fields: &mut Fields, accelerator: &Accelerator) {
    fields.number((accelerator.kind != AcceleratorKind::Cpu).into());
    if let Some(code) = &accelerator.code {
        fields.text(accelerator.kind.name());
        fields.text(code);
    }
    if let Some(cuda) = &accelerator.cuda {
        fields.text(&cuda.version.to_string());
        fields.text(cuda.flavour.name());
        fields.number(cuda.cudnn.into());
        fields.text(cuda.driver.name());
        fields.number(CUDA_RULES);
    }
}

fn run(fields: &mut Fields, run: &RunCommand) {
    fields.list(run.command.iter(), |fields, word| fields.text(word));
    fields.number((run.user == RunUser::Root).into());
    fields.list(run.env.iter(), |fields, (name, value)| {
        fields.text(name);
        fields.text(value);
    });
    fields.list(run.artifacts.iter(), |fields, artifact| {
        fields.text(&artifact.to);
        fields.digest(&artifact.sha256);
    });
}

fn component(fields: &mut Fields, component: &Component) {
    fields.text(&component.id.to_string());
    fields.text(&component.title);
    fields.text(&component.description);
    fields.list(component.env.iter(), |fields, (name, value)| {
        fields.text(name);
        fields.text(value);
    });
    fields.list(component.files.iter(), |fields, file| {
        fields.text(&file.to);
        fields.number(file.mode.into());
        fields.number(file.owner.0.into());
        fields.number(file.owner.1.into());
        fields.digest(&file.sha256);
    });
    for map in [&component.labels, &component.winners] {
        fields.list(map.iter(), |fields, (key, value)| {
            fields.text(key);
            fields.text(value);
        });
    }
}

/// The digest of an image: its configuration ([`fingerprint_config`]) and the packages of each of
/// its sets, base first ([`crate::Lock::set_closures`]); within a set in any order. A package that
/// moves from one component to another changes layers, and so the fingerprint.
pub fn fingerprint(config: Digest, sets: &[Closure<'_>]) -> Digest {
    let mut fields = Fields::new("kiln image 2");
    fields.digest(&config);
    fields.list(sets.iter(), |fields, set| {
        let debs: BTreeMap<_, _> = set.debs.iter().map(|it| (&it.id, &it.sha256)).collect();
        let wheels: BTreeMap<_, _> = set.wheels.iter().map(|it| (&it.id, &it.sha256)).collect();
        for packages in [debs, wheels] {
            fields.list(packages.into_iter(), |fields, (id, sha256)| {
                fields.text(&id.0);
                fields.digest(sha256);
            });
        }
    });
    fields.finish()
}
