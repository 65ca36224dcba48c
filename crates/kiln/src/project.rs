//! The family that a command works on, its lock, and the tools it needs.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use kiln_fetch::{FetchOptions, Fetcher, SourceConfig, Sources};
use kiln_lock::{Lock, LockedImage};
use kiln_recipe::{Candidate, Family, FamilyFiles, RELEASES, SelectError};
use kiln_store::Store;

use crate::{
    args::{Global, PlatformOption},
    error::Failure,
    exit,
};

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
        Self::open_with_files(global).map(|(project, _)| project)
    }

    /// The family, and the files that it was read from.
    pub(crate) fn open_with_files(global: &Global) -> Result<(Self, FamilyFiles), Failure> {
        let dir = find(global.family.as_deref())?;
        let own = kiln_recipe::releases(&dir)?;
        if let Some(name) = global.release.as_ref().filter(|name| own.contains(name)) {
            let files = kiln_recipe::read_release(&dir, name)?;
            let family = kiln_recipe::parse(&files)?;
            let lock_dir = dir.join(RELEASES).join(name);
            let project = Self {
                dir,
                family,
                lock_dir,
            };
            return Ok((project, files));
        }
        let files = kiln_recipe::read_family(&dir)?;
        let family = kiln_recipe::parse(&files)?;
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
        let project = Self {
            dir,
            family,
            lock_dir,
        };
        Ok((project, files))
    }

    /// The same project, with the family that other files make.
    pub(crate) fn with_files(&self, files: &FamilyFiles) -> Result<Self, Failure> {
        Ok(Self {
            dir: self.dir.clone(),
            family: kiln_recipe::parse(files)?,
            lock_dir: self.lock_dir.clone(),
        })
    }

    pub(crate) fn lock_path(&self) -> PathBuf {
        self.lock_dir.join(LOCK_FILE)
    }

    /// Where the lock is in the family's directory.
    pub(crate) fn lock_place(&self) -> String {
        match self.own_release() {
            Some(name) => format!("{RELEASES}/{name}/{LOCK_FILE}"),
            None => LOCK_FILE.to_owned(),
        }
    }

    /// The release that is meant, if it is one that has files of its own.
    pub(crate) fn own_release(&self) -> Option<&str> {
        (self.lock_dir != self.dir).then_some(&self.family.release)
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
        let mut chosen = Vec::new();
        for selector in selectors {
            chosen.extend(self.places(lock, selector)?);
        }
        chosen.sort_unstable();
        chosen.dedup();
        Ok(chosen
            .into_iter()
            .map(|index| &lock.images[index])
            .collect())
    }

    /// The place of the one locked image that `word` means. Of images that differ in the platform
    /// alone it is that of the option, or this machine's.
    pub(crate) fn one(
        &self,
        lock: &Lock,
        word: &str,
        option: PlatformOption,
    ) -> Result<usize, Failure> {
        let chosen = self.places(lock, word)?;
        let of = |place: &usize| &lock.images[*place];
        let kinds: BTreeSet<_> = chosen
            .iter()
            .map(of)
            .map(|it| (&it.base, &it.accelerator, &it.bundle, &it.ide))
            .collect();
        if kinds.len() > 1 {
            let message = format!("`{word}` means {} images", kinds.len());
            return Err(Failure::new(exit::USAGE, message).hint("name one"));
        }
        let platforms: Vec<_> = chosen
            .iter()
            .map(|it| of(it).platform.to_string())
            .collect();
        let wanted = match option.platform {
            Some(platform) => platform.to_string(),
            None if platforms.len() == 1 => platforms[0].clone(),
            None => host_platform(),
        };
        let place = platforms.iter().position(|it| *it == wanted);
        place.map(|place| chosen[place]).ok_or_else(|| {
            let message = format!("`{word}` is not locked for {wanted}");
            Failure::new(exit::USAGE, message).hint(format!(
                "it is locked for {}: choose with `--platform`",
                platforms.join(" and ")
            ))
        })
    }

    /// Whether `word` looks like the name of an image: it means some, or a name is near.
    pub(crate) fn is_near(&self, lock: &Lock, word: &str) -> bool {
        let far = |error: &SelectError| matches!(error, SelectError::Unknown { nearest: None, .. });
        !self.places(lock, word).is_err_and(|error| far(&error))
    }

    /// The places of the locked images that a selector means.
    fn places(&self, lock: &Lock, selector: &str) -> Result<Vec<usize>, SelectError> {
        let candidates: Vec<_> = lock.images.iter().map(candidate).collect();
        let default_base = self.family.default_base.as_deref();
        kiln_recipe::select(&candidates, selector, default_base)
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

/// The options that mean the release of all the selectors, for commands that look at one.
pub(crate) fn of_one_release(global: &Global, selectors: &[String]) -> Result<Global, Failure> {
    let mut groups = by_release(global, selectors)?;
    match (groups.pop(), groups.is_empty()) {
        (Some((global, _)), true) => Ok(global),
        _ => Err(
            Failure::new(exit::USAGE, "these images are of several releases")
                .hint("name those of one release, and then those of the next"),
        ),
    }
}

/// The options that mean each release of the family.
pub(crate) fn releases(global: &Global) -> Result<Vec<Global>, Failure> {
    let own = kiln_recipe::releases(&find(global.family.as_deref())?)?;
    let of = |release: Option<String>| Global {
        release,
        ..global.clone()
    };
    Ok(std::iter::once(None)
        .chain(own.into_iter().map(Some))
        .map(of)
        .collect())
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

/// This machine's platform, as OCI names it.
pub(crate) fn host_platform() -> String {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    format!("linux/{architecture}")
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
