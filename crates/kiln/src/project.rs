//! The family that a command works on, its lock, and the tools it needs.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use kiln_fetch::{FetchOptions, Fetcher, SourceConfig, Sources};
use kiln_lock::{Lock, LockedImage};
use kiln_recipe::{Candidate, Family, RELEASES};
use kiln_store::Store;

use crate::{args::Global, error::Failure, exit};

/// The name of the lock file.
pub(crate) const LOCK_FILE: &str = "kiln.lock";

/// A family and where it is.
pub(crate) struct Project {
    pub(crate) dir: PathBuf,
    pub(crate) family: Family,
    /// Where the lock is: in `dir`, or in the directory of a release.
    lock_dir: PathBuf,
}

impl Project {
    /// Reads the family that the options name, or the nearest one.
    pub(crate) fn open(global: &Global) -> Result<Self, Failure> {
        let dir = find(global.family.as_deref())?;
        let own = kiln_recipe::releases(&dir)?;
        if let Some(name) = global.release.as_ref().filter(|name| own.contains(name)) {
            let family = kiln_recipe::parse(&kiln_recipe::read_release(&dir, name)?)?;
            let lock_dir = dir.join(RELEASES).join(name);
            return Ok(Self {
                dir,
                family,
                lock_dir,
            });
        }
        let family = kiln_recipe::parse(&kiln_recipe::read_family(&dir)?)?;
        let current = &family.release;
        if own.contains(current) {
            let message = format!("`kiln.toml` and `{RELEASES}/{current}` are the same release");
            return Err(Failure::new(exit::RECIPE, message)
                .hint("name the next release in `kiln.toml`, or remove the directory"));
        }
        if let Some(name) = global.release.as_ref().filter(|name| *name != current) {
            let known = own.into_iter().chain([current.clone()]).collect();
            let name = name.clone();
            return Err(kiln_recipe::ReadError::NoRelease { name, known }.into());
        }
        let lock_dir = dir.clone();
        Ok(Self {
            dir,
            family,
            lock_dir,
        })
    }

    pub(crate) fn lock_path(&self) -> PathBuf {
        self.lock_dir.join(LOCK_FILE)
    }

    /// The lock, if there is one.
    pub(crate) fn read_lock(&self) -> Result<Option<Lock>, Failure> {
        let path = self.lock_path();
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(Some(
                Lock::parse(&text).map_err(|error| Failure::lock(&path, &error))?,
            )),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Failure::io(
                &format!("reading `{}`", path.display()),
                &error,
            )),
        }
    }

    /// The lock, which must be there and fit the family.
    pub(crate) fn fitting_lock(&self) -> Result<Lock, Failure> {
        let Some(lock) = self.read_lock()? else {
            let path = self.lock_path();
            return Err(
                Failure::new(exit::RECIPE, format!("there is no `{}`", path.display()))
                    .hint("`kiln lock` makes it"),
            );
        };
        kiln_lock::check(&self.family, &lock)?;
        Ok(lock)
    }

    /// The locked images that the selectors mean, each once, in the order of the lock.
    pub(crate) fn select<'a>(
        &self,
        lock: &'a Lock,
        selectors: &[String],
        all: bool,
    ) -> Result<Vec<&'a LockedImage>, Failure> {
        if all {
            return Ok(lock.images.iter().collect());
        }
        let candidates: Vec<_> = lock.images.iter().map(candidate).collect();
        let mut chosen = Vec::new();
        for selector in selectors {
            let default_base = self.family.default_base.as_deref();
            chosen.extend(kiln_recipe::select(&candidates, selector, default_base)?);
        }
        chosen.sort_unstable();
        chosen.dedup();
        Ok(chosen
            .into_iter()
            .map(|index| &lock.images[index])
            .collect())
    }

    /// Named sources and verified downloads, as this family and this host have them.
    pub(crate) fn fetcher(&self, global: &Global) -> Result<Fetcher, Failure> {
        fetcher(self.family.sources.clone(), global)
    }
}

/// The selectors of each release, with the options that mean it: a selector that names a release
/// which has files of its own is of that one, the others of the one that `global` means.
pub(crate) fn by_release(
    global: &Global,
    selectors: &[String],
) -> Result<Vec<(Global, Vec<String>)>, Failure> {
    let own = kiln_recipe::releases(&find(global.family.as_deref())?)?;
    let mut groups: BTreeMap<Option<String>, Vec<String>> = BTreeMap::new();
    for selector in selectors {
        let mut words = selector.split(['-', '_']);
        let named = words.find(|word| own.iter().any(|it| it == word));
        let release = named.map(str::to_owned).or(global.release.clone());
        groups.entry(release).or_default().push(selector.clone());
    }
    if groups.is_empty() {
        groups.insert(global.release.clone(), Vec::new());
    }
    let group = |(release, selectors)| {
        let global = Global {
            release,
            ..global.clone()
        };
        (global, selectors)
    };
    Ok(groups.into_iter().map(group).collect())
}

/// A locked image as selectors see it.
pub(crate) fn candidate(image: &LockedImage) -> Candidate {
    Candidate {
        name: image.name.clone(),
        base: image.base.clone(),
        accelerator: image.accelerator.clone(),
        bundle: image.bundle.clone(),
        ide: image.ide.clone(),
    }
}

pub(crate) fn fetcher(
    overrides: BTreeMap<String, String>,
    global: &Global,
) -> Result<Fetcher, Failure> {
    let sources = Sources::new(SourceConfig::new(overrides));
    let mut options = FetchOptions::new(sources);
    options.offline = global.offline;
    Ok(Fetcher::new(options)?)
}

/// Opens the store that the options name, or the user's own.
pub(crate) fn store(global: &Global) -> Result<Store, Failure> {
    Ok(Store::open(store_root(global)?)?)
}

/// Where that store is, or would be.
pub(crate) fn store_root(global: &Global) -> Result<PathBuf, Failure> {
    match &global.store {
        Some(root) => Ok(root.clone()),
        None => Ok(kiln_store::default_root(|name| std::env::var_os(name))?),
    }
}

fn find(given: Option<&Path>) -> Result<PathBuf, Failure> {
    let is_family = |dir: &Path| dir.join("kiln.toml").is_file();
    if let Some(dir) = given {
        if is_family(dir) {
            return Ok(dir.to_owned());
        }
        let message = format!("`{}` holds no `kiln.toml`", dir.display());
        return Err(Failure::new(exit::USAGE, message));
    }
    let here = std::env::current_dir()
        .map_err(|error| Failure::io("finding the current directory", &error))?;
    let above = here
        .ancestors()
        .find(|dir| is_family(dir))
        .map(Path::to_owned);
    let below = || Some(here.join("family")).filter(|dir| is_family(dir));
    above.or_else(below).ok_or_else(|| {
        let message = format!("there is no `kiln.toml` in `{}` or above", here.display());
        Failure::new(exit::USAGE, message).hint(
            "name the family's directory with `--family DIR`, or begin one with `kiln init DIR`",
        )
    })
}
