//! A step, or a batch of them: inputs opened, layers written, results recorded.

use std::{collections::HashMap, io, sync::OnceLock};

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
    schedule::Run,
    shared::Shared,
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
            unpacked: &|key| shared.unpacked(self.plan.steps.iter().position(|it| it.key == *key)?),
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
        let finish = |step: &Step, product: &Product| {
            let mut writer = self.with.store.blob_writer()?;
            let mut write = |threads| execute::write(&step.action, product, threads, &mut writer);
            let summary = match product {
                Product::Entries(entries) => self.packing(shared, batch[0], entries, write),
                Product::Blob(_) => write(None),
            };
            let summary = summary.map_err(|source| failed(step, source))?;
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
        let twice = self.with.options.twice && steps[0].action.executes();
        let [step] = steps.as_slice() else {
            let actions: Vec<_> = steps.iter().map(|step| &step.action).collect();
            let compile = |take: &(dyn Fn(usize, Product) -> bool + Sync)| {
                execute::compile(&actions, &context, take)
                    .map_err(|source| failed(steps[0], source))
            };
            let firsts: Vec<OnceLock<Product>> = steps.iter().map(|_| OnceLock::new()).collect();
            if twice {
                compile(&|place, product| firsts[place].set(product).is_ok())?;
            }
            let results: Vec<OnceLock<_>> = steps.iter().map(|_| OnceLock::new()).collect();
            let compiled = compile(&|place, product| {
                let step = steps[place];
                let same = firsts[place]
                    .get()
                    .map_or(Ok(()), |first| repeatable(step, first, &product));
                let result = same.and_then(|()| finish(step, &product));
                let goes_on = result.is_ok();
                results[place].set(result).is_ok() && goes_on
            });
            return gathered(&steps, results, compiled);
        };
        let once = || {
            let product = execute::product(&step.action, &context);
            product.map_err(|source| failed(step, source))
        };
        let product = once()?;
        if twice {
            repeatable(step, &product, &once()?)?;
        }
        Ok(vec![finish(step, &product)?])
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
    pub(crate) fn sandbox(&self) -> Result<&Sandbox, SandboxError> {
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

/// Fails if a step gave something else the second time.
fn repeatable(step: &Step, first: &Product, second: &Product) -> Result<(), BuildError> {
    match repeat::difference(first, second) {
        None => Ok(()),
        Some(difference) => Err(BuildError::NotRepeatable {
            title: step.title.clone(),
            difference,
        }),
    }
}

/// The results of a batch, which are there if `compiled` is good; the first error of a step explains
/// why a batch ended early.
fn gathered(
    steps: &[&Step],
    results: Vec<OnceLock<Result<ActionResult, BuildError>>>,
    compiled: Result<(), BuildError>,
) -> Result<Vec<ActionResult>, BuildError> {
    let results = results.into_iter().map(OnceLock::into_inner);
    let mut gathered = Vec::with_capacity(steps.len());
    let mut missing = None;
    for (step, result) in steps.iter().zip(results) {
        match result.transpose()? {
            Some(result) => gathered.push(result),
            None => missing = missing.or(Some(step)),
        }
    }
    compiled?;
    match missing {
        None => Ok(gathered),
        Some(step) => Err(BuildError::Step {
            title: step.title.clone(),
            key: step.key,
            source: Box::new(ExecuteError::NoResult(step.key)),
        }),
    }
}
