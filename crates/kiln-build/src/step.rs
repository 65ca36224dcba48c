//! One step: its inputs opened, its layer written, its result recorded.

use std::collections::HashMap;

use kiln_digest::Digest;
use kiln_oci::LayerDescriptor;
use kiln_plan::{Origin, Step};
use kiln_store::ActionResult;

use crate::{
    assemble, build::as_wanted, error::BuildError, event::Event, execute, inputs, outline::Outline,
    schedule::Run,
};

impl Run<'_> {
    /// Runs one step; when its inputs have rotted in the store, fetches them again and tries once
    /// more.
    pub(crate) fn run(&self, step: &Step) -> Result<LayerDescriptor, BuildError> {
        match self.attempt(step) {
            Err(BuildError::Step { source, .. })
                if source.blames_input() && self.repair(step)? =>
            {
                self.attempt(step)
            }
            result => result,
        }
    }

    fn attempt(&self, step: &Step) -> Result<LayerDescriptor, BuildError> {
        let family: HashMap<Digest, &str> = step
            .inputs
            .iter()
            .filter_map(|input| match &input.origin {
                Origin::Family(path) => Some((input.sha256, path.as_str())),
                _ => None,
            })
            .collect();
        let open = |digest: &Digest| match family.get(digest) {
            Some(path) => self.family.read(path, digest),
            None => inputs::map_download(self.store, digest),
        };
        let failed = |source| BuildError::Step {
            title: step.title.clone(),
            source: Box::new(source),
        };
        let entries =
            execute::entries(&step.action, &open, &self.store.spool_dir()).map_err(failed)?;
        let mut writer = self.store.blob_writer()?;
        let summary = execute::write(&step.action, &entries, &mut writer).map_err(failed)?;
        let descriptor = assemble::descriptor(&summary, step.action.compression);
        writer.commit(&descriptor.digest, descriptor.size)?;
        let outline = Outline::of(&entries).to_bytes();
        self.store.put_outline(&descriptor.digest, &outline)?;
        self.store
            .record(&step.key, &ActionResult::Layer(descriptor.clone()))?;
        Ok(descriptor)
    }

    /// Fetches inputs that are no longer what was downloaded. Whether there were any.
    fn repair(&self, step: &Step) -> Result<bool, BuildError> {
        let rotten: Vec<_> = step
            .inputs
            .iter()
            .filter(|input| !inputs::is_intact(self.store, &input.sha256))
            .filter_map(as_wanted)
            .collect();
        for wanted in &rotten {
            let what = wanted.name().to_owned();
            (self.events)(Event::Repaired { what });
            self.store.remove_download(&wanted.sha256)?;
        }
        let repaired = !rotten.is_empty();
        let received = self
            .fetcher
            .download(rotten, &self.store.downloads_dir(), |_| {});
        for (_, result) in received {
            result?;
        }
        Ok(repaired)
    }
}
