//! Collection: removing what nothing refers to.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use kiln_digest::Digest;

use crate::{Store, StoreError, files, lock::Mode, open::remove_temporary};

/// What a collection keeps beside the images that have names.
#[derive(Debug, Clone, Default)]
pub struct GcOptions {
    /// Keys of actions of the locks at hand: their results are kept.
    pub keys: BTreeSet<Digest>,
    /// Packages of the locks at hand that are kept, and what is known of them.
    pub downloads: BTreeSet<Digest>,
    /// Stop when this many bytes are free; all that is not kept goes when it is `None`.
    /// Packages go first: they can be fetched again, and those that are packed are rarely
    /// needed again.
    pub bytes: Option<u64>,
    /// Only report.
    pub dry_run: bool,
}

/// What a collection did, or would do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GcReport {
    /// What was removed, in the order of removal.
    pub removed: Vec<Removed>,
    /// The bytes that this freed.
    pub freed: u64,
    /// The bytes of blobs and packages that stayed.
    pub kept: u64,
}

/// One removed file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removed {
    /// What it was.
    pub kind: RemovedKind,
    /// Its name.
    pub file: String,
    /// Its size in bytes.
    pub size: u64,
}

/// What a removed file was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RemovedKind {
    /// A package, or part of one.
    Download,
    /// A layer, config or manifest.
    Blob,
}

impl Store {
    /// Removes what no named image and nothing in `options` reaches. Calls `wait` with the path
    /// of the lock before waiting for others who use the store. With a dry run nobody waits, and
    /// what others write meanwhile counts as unreached.
    ///
    /// An image whose manifest is damaged keeps only what can still be read of it.
    pub fn gc(
        &mut self,
        options: &GcOptions,
        wait: &mut dyn FnMut(&Path),
    ) -> Result<GcReport, StoreError> {
        if options.dry_run {
            return self.collect(options);
        }
        self.lock.change(Mode::Exclusive, wait)?;
        let report = self.collect(options);
        self.lock.change(Mode::Shared, wait)?;
        report
    }

    fn collect(&self, options: &GcOptions) -> Result<GcReport, StoreError> {
        let results = self.all_results()?;
        let mut blobs = self.reachable()?;
        blobs.extend(
            results
                .iter()
                .filter(|(key, _)| options.keys.contains(key))
                .map(|(_, result)| result.blob().0),
        );

        let mut report = GcReport::default();
        let stages = [
            (
                RemovedKind::Download,
                self.downloads_dir(),
                &options.downloads,
            ),
            (RemovedKind::Blob, self.path("blobs/sha256"), &blobs),
        ];
        for (kind, directory, keep) in stages {
            for (path, file, size) in list(&directory)? {
                let kept = Digest::from_hex(&file).is_ok_and(|digest| keep.contains(&digest));
                let enough = options.bytes.is_some_and(|bytes| report.freed >= bytes);
                if kept || enough {
                    report.kept += size;
                    continue;
                }
                if !options.dry_run {
                    files::remove(&path)?;
                }
                report.freed += size;
                report.removed.push(Removed { kind, file, size });
            }
        }
        if !options.dry_run {
            remove_temporary(&self.root)?;
            let alive = results.into_iter().filter(|(_, result)| {
                let (digest, size) = result.blob();
                self.has_blob(&digest, size)
            });
            self.rewrite_results(&alive.collect())?;
            self.drop_outlines()?;
            self.drop_facts(&options.downloads)?;
        }
        Ok(report)
    }

    /// The blobs that the images of the layout need.
    pub(crate) fn reachable(&self) -> Result<BTreeSet<Digest>, StoreError> {
        let mut reached = BTreeSet::new();
        let mut open = self.layout()?.children();
        while let Some(child) = open.pop() {
            // Each document is read once, so even a cycle of indexes ends.
            if reached.insert(child.digest) && child.is_document() {
                let Ok(bytes) = self.read_document(&child.digest) else {
                    continue;
                };
                open.extend(kiln_oci::children(&child.media_type, &bytes).unwrap_or_default());
            }
        }
        Ok(reached)
    }
}

/// The files of a directory with names and sizes, by name.
pub(crate) fn list(directory: &Path) -> Result<Vec<(PathBuf, String, u64)>, StoreError> {
    let failed = |error| StoreError::io("read", directory)(error);
    let mut entries = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let Ok(metadata) = entry.metadata() else {
            continue;
        };
        if metadata.is_file() {
            let name = entry.file_name().to_string_lossy().into_owned();
            entries.push((entry.path(), name, metadata.len()));
        }
    }
    entries.sort();
    Ok(entries)
}
