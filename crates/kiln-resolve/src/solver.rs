//! uv, and what it needs to run: found and read when the first universe needs it.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use kiln_fetch::Fetcher;
use kiln_lock::Tool;

use crate::{
    Options, ResolveError,
    python::{
        PythonError, SOURCE,
        compile::{CompileError, Compiler},
        routes::{RoutedIndex, Routes},
        target::Target,
        tool::{self, Uv},
    },
};

/// The resolver of Python packages: found when the first universe needs it.
pub(crate) struct Solver<'a> {
    pub(crate) fetcher: &'a Fetcher,
    pub(crate) options: &'a Options,
    version: &'a str,
    locked: &'a [Tool],
    found: Mutex<Option<(Uv, String)>>,
    /// What was read for each way to route projects.
    routed: Mutex<Vec<Arc<RoutedIndex>>>,
}

impl<'a> Solver<'a> {
    pub(crate) fn new(
        fetcher: &'a Fetcher,
        options: &'a Options,
        version: Option<&'a str>,
        locked: &'a [Tool],
    ) -> Self {
        let version = version.unwrap_or(tool::DEFAULT_VERSION);
        Self {
            fetcher,
            options,
            version,
            locked,
            found: Mutex::new(None),
            routed: Mutex::default(),
        }
    }

    /// Where uv and the index are.
    fn find(&self) -> Result<(PathBuf, String), PythonError> {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((uv, index)) = found.as_ref() {
            return Ok((uv.executable.clone(), index.clone()));
        }
        if self.options.offline {
            return Err(PythonError::Offline);
        }
        let index = self.fetcher.sources().url_for_tools(SOURCE)?;
        let Options {
            cache_dir,
            downloads_dir,
            ..
        } = self.options;
        let uv = tool::find(
            self.version,
            self.locked,
            self.fetcher,
            cache_dir,
            downloads_dir,
        )?;
        let executable = uv.executable.clone();
        *found = Some((uv, index.clone()));
        Ok((executable, index))
    }

    /// The pages of projects that have an index of their own, read once.
    fn routed(&self, routes: &Routes) -> Result<Arc<RoutedIndex>, PythonError> {
        let mut read_before = self.routed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = read_before.iter().find(|known| known.is_of(routes)) {
            return Ok(Arc::clone(known));
        }
        let newer = self.options.exclude_newer.as_deref();
        let read = Arc::new(RoutedIndex::read(routes, self.fetcher, newer)?);
        read_before.push(Arc::clone(&read));
        Ok(read)
    }

    /// Runs uv for a target.
    pub(crate) fn with_compiler<T>(
        &self,
        target: &Target,
        routes: &Routes,
        run: impl FnOnce(&Compiler) -> Result<T, PythonError>,
    ) -> Result<T, PythonError> {
        let (uv, index_url) = self.find()?;
        let index = self.routed(routes)?;
        run(&Compiler {
            uv: &uv,
            index_url: &index_url,
            routed: &index,
            cache_dir: &self.options.cache_dir.join("uv"),
            target,
            exclude_newer: self.options.exclude_newer.as_deref(),
        })
    }

    /// Finds out which few requirements contradict each other, where that is the error.
    pub(crate) fn explain(&self, error: ResolveError) -> ResolveError {
        let ResolveError::Python { set, mut cause } = error else {
            return error;
        };
        if let PythonError::Compile(CompileError::NoSolution {
            target,
            culprits,
            sources,
            routes,
            ..
        }) = cause.as_mut()
        {
            let explain = |it: &Compiler| Ok(it.explain(culprits, sources));
            let explained = self.with_compiler(target, routes, explain);
            *culprits = explained.unwrap_or_default();
        }
        ResolveError::Python { set, cause }
    }

    /// The tool for the lock: that of the previous one at this version, else what was fetched.
    /// (A host of another architecture fetches another wheel; the lock does not follow it.)
    pub(crate) fn tool(self) -> Option<Tool> {
        let found = self
            .found
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        let kept = self
            .locked
            .iter()
            .find(|it| it.name == "uv" && it.version == self.version);
        kept.cloned().or_else(|| found.and_then(|(uv, _)| uv.tool))
    }
}
