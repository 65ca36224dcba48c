//! A step, or a batch of them: inputs opened, layers written, results recorded.

use std::{collections::HashMap, io};

use kiln_digest::Digest;
use kiln_plan::{Origin, Step};
use kiln_sandbox::{LayerBlob, Sandbox, SandboxError};
use kiln_store::ActionResult;

use crate::{
    assemble,
    build::as_wanted,
    error::BuildError,
    event::Event,
    execute::{self, Context, ExecuteError, Found, Product},
    inputs,
    outline::Outline,
    repeat,
    schedule::{Run, Shared},
};

impl Run<'_> {
    /// Runs the steps of a batch; when their inputs have rotted in the store, fetches them again
    /// and tries once more.
    pub(crate) fn run(
        &self,
        shared: &Shared,
        batch: &[usize],
    ) -> Result<Vec<ActionResult>, BuildError> {
        match self.attempt(shared, batch) {
            Err(BuildError::Step { source, .. })
                if source.blames_input() && self.repair(batch)? =>
            {
                self.attempt(shared, batch)
            }
            result => result,
        }
    }

    fn attempt(&self, shared: &Shared, batch: &[usize]) -> Result<Vec<ActionResult>, BuildError> {
        let steps: Vec<_> = batch.iter().map(|&step| &self.plan.steps[step]).collect();
        let origins: HashMap<Digest, &Origin> = steps
            .iter()
            .flat_map(|step| &step.inputs)
            .map(|input| (input.sha256, &input.origin))
            .collect();
        for step in &steps {
            self.check_built(shared, step)?;
        }
        let result = |key: &Digest| self.result(shared, key);
        let path = |digest: &Digest| match origins.get(digest) {
            Some(Origin::Family(path)) => Ok(self.with.family.root.join(path)),
            Some(Origin::Built(key)) => match result(key) {
                Ok(Found::Blob(path)) => Ok(path),
                Ok(Found::Layer(_)) => Err(io::Error::from(io::ErrorKind::NotFound)),
                Err(error) => Err(io::Error::other(error)),
            },
            _ => Ok(self.with.store.download_path(digest)),
        };
        let open = |digest: &Digest| match origins.get(digest) {
            Some(Origin::Family(path)) => self.with.family.read(path, digest),
            _ => inputs::map(&path(digest)?),
        };
        let spool = self.with.store.spool_dir();
        let sandbox = || self.sandbox();
        let context = Context {
            open: &open,
            path: &path,
            result: &result,
            spool: &spool,
            sandbox: &sandbox,
            output: &|bytes| {
                (self.with.events)(Event::StepOutput {
                    step: batch[0],
                    bytes: bytes.to_vec(),
                });
            },
            cancelled: self.with.cancelled,
        };
        let failed = |step: &Step, source| match source {
            ExecuteError::Sandbox(SandboxError::Cancelled) => BuildError::Interrupted,
            source => BuildError::Step {
                title: step.title.clone(),
                key: step.key,
                source: Box::new(source),
            },
        };
        let once = || {
            let products = match steps.as_slice() {
                [step] => execute::product(&step.action, &context).map(|product| vec![product]),
                steps => {
                    let actions: Vec<_> = steps.iter().map(|step| &step.action).collect();
                    execute::compile(&actions, &context)
                }
            };
            products.map_err(|source| failed(steps[0], source))
        };
        let products = once()?;
        if self.with.options.twice && steps[0].action.executes() {
            for ((first, second), step) in products.iter().zip(once()?).zip(&steps) {
                if let Some(difference) = repeat::difference(first, &second) {
                    let title = step.title.clone();
                    return Err(BuildError::NotRepeatable { title, difference });
                }
            }
        }
        let finish = |(step, product): (&&Step, &Product)| {
            let mut writer = self.with.store.blob_writer()?;
            let summary = execute::write(&step.action, product, &mut writer)
                .map_err(|source| failed(step, source))?;
            let result = assemble::result(&summary, step.action.compression);
            let (digest, size) = result.blob();
            writer.commit(&digest, size)?;
            if let Product::Entries(entries) = product {
                let outline = Outline::of(entries).to_bytes();
                self.with.store.put_outline(&digest, &outline)?;
            }
            self.with.store.record(&step.key, &result)?;
            Ok(result)
        };
        steps.iter().zip(&products).map(finish).collect()
    }

    /// Whether what other steps built for this one is what the lock says.
    fn check_built(&self, shared: &Shared, step: &Step) -> Result<(), BuildError> {
        for input in &step.inputs {
            let Some(key) = input.built_by() else {
                continue;
            };
            let made = self.plan.steps.iter().position(|step| step.key == key);
            let result = made.and_then(|made| Some((made, shared.result(made)?)));
            if let Some((made, result)) = result {
                let (found, _) = result.blob();
                if found != input.sha256 {
                    return Err(BuildError::Unreproducible {
                        title: self.plan.steps[made].title.clone(),
                        expected: input.sha256,
                        found,
                    });
                }
            }
        }
        Ok(())
    }

    /// The result of another step of the plan.
    fn result(&self, shared: &Shared, key: &Digest) -> Result<Found, ExecuteError> {
        let step = self.plan.steps.iter().position(|step| step.key == *key);
        let result = step.and_then(|step| shared.result(step));
        match result.ok_or(ExecuteError::NoResult(*key))? {
            ActionResult::Layer(layer) => Ok(Found::Layer(LayerBlob {
                diff_id: layer.diff_id,
                path: self.with.store.blob_path(&layer.digest),
            })),
            // A layer is verified while it is unpacked. Nothing else notices all that may rot in the
            // zip archives that blobs are.
            ActionResult::Blob { digest, .. } => {
                let path = self.with.store.blob_path(&digest);
                if inputs::has_digest(&path, &digest) {
                    Ok(Found::Blob(path))
                } else {
                    Err(ExecuteError::DamagedBlob(digest))
                }
            }
        }
    }

    /// The sandbox, which is looked for when the first step needs one.
    fn sandbox(&self) -> Result<&Sandbox, SandboxError> {
        if let Some(sandbox) = self.sandbox.get() {
            return Ok(sandbox);
        }
        let sandbox = Sandbox::open(&self.with.store.rootfs_dir(), self.with.options.sandbox)?;
        Ok(self.sandbox.get_or_init(|| sandbox))
    }

    /// Fetches inputs that are no longer what was downloaded. Whether there were any.
    fn repair(&self, batch: &[usize]) -> Result<bool, BuildError> {
        let inputs = batch.iter().flat_map(|&step| &self.plan.steps[step].inputs);
        let rotten: Vec<_> = inputs
            .filter(|input| !inputs::is_intact(self.with.store, &input.sha256))
            .filter_map(as_wanted)
            .collect();
        for wanted in &rotten {
            let what = wanted.name().to_owned();
            (self.with.events)(Event::Repaired { what });
            self.with.store.remove_download(&wanted.sha256)?;
        }
        let repaired = !rotten.is_empty();
        let received = self
            .with
            .fetcher
            .download(rotten, &self.with.store.downloads_dir(), |_| {});
        for (_, result) in received {
            result?;
        }
        Ok(repaired)
    }
}
