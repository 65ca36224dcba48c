//! Small families, and a place to lock them in.

use std::{collections::BTreeMap, error::Error, fmt::Write as _, path::Path, sync::Mutex};

use kiln_fetch::{FetchOptions, Fetcher, Host, SourceConfig, Sources};
use kiln_lock::Lock;
use kiln_recipe::{Family, FamilyFiles};
use kiln_resolve::{
    Build, BuildFailure, Builder, BuiltWheel, Event, Options, ResolveError, resolve,
};

use crate::index::{Index, metadata, wheel};

/// A family of one base without OS packages: `files` are its bundles and IDEs, `images` the
/// pairs of bundle and IDE.
pub(crate) fn family(uv: &str, files: &[(&str, &str)], images: &[(&str, &str)]) -> Family {
    let images: Vec<_> = images
        .iter()
        .map(|(bundle, ide)| ("cpu", *bundle, *ide))
        .collect();
    family_of(uv, files, &images)
}

/// The same with `images` of accelerator, bundle and IDE.
pub(crate) fn family_of(uv: &str, files: &[(&str, &str)], images: &[(&str, &str, &str)]) -> Family {
    let mut kiln = format!(
        "[family]\nname = 'f'\nrelease = '1'\ndescription = 'd'\nrepository = 'localhost/f'\n\
         platforms = ['linux/amd64']\nuv = '{uv}'\n"
    );
    for (accelerator, bundle, ide) in images {
        let _ = write!(
            kiln,
            "[[image]]\nbase = 'deb'\naccelerator = '{accelerator}'\nbundle = '{bundle}'\n\
             ide = '{ide}'\n"
        );
    }
    let base = "title = 'D'\ndescription = 'd'\ncode = 'd12'\ndistribution = 'debian'\n\
         suite = 'bookworm'\npython = '3.11'\npackages = ['python3']\n[[archive]]\n\
         source = 'debian'\ncomponents = ['main']\nkeyring = 'k.asc'\n";
    let mut all: BTreeMap<String, Vec<u8>> = BTreeMap::from([
        ("kiln.toml".to_owned(), kiln.into_bytes()),
        ("bases/deb.toml".to_owned(), base.as_bytes().to_vec()),
        ("keyrings/k.asc".to_owned(), b"none".to_vec()),
    ]);
    for (path, text) in files {
        let text = format!("title = 't'\ndescription = 'd'\n{text}");
        all.insert((*path).to_owned(), text.into_bytes());
    }
    let files = FamilyFiles {
        files: all,
        ..FamilyFiles::default()
    };
    let mut family = kiln_recipe::parse(&files).unwrap();
    // What is tried here needs no operating system.
    for base in family.bases.values_mut() {
        base.archives.clear();
        base.component.os_packages.clear();
    }
    family
}

/// A directory and an index to lock with.
pub(crate) struct Workshop {
    /// The primary index.
    pub(crate) index: Index,
    /// The source `corp`.
    pub(crate) corp: Index,
    pub(crate) directory: tempfile::TempDir,
    pub(crate) events: Mutex<Vec<Event>>,
    pub(crate) bench: Mutex<Bench>,
}

impl Workshop {
    pub(crate) fn new() -> Self {
        Self {
            index: Index::serve(None),
            corp: Index::serve(Some("me:pa55-of-corp")),
            directory: tempfile::tempdir().unwrap(),
            events: Mutex::default(),
            bench: Mutex::default(),
        }
    }

    pub(crate) fn options(&self) -> Options {
        Options {
            upgrade: false,
            relock_gone: false,
            offline: false,
            today: "2026-11-22".parse().unwrap(),
            now: "2026-11-22T00:00:00Z".parse().unwrap(),
            exclude_newer: None,
            cache_dir: self.directory.path().join("cache"),
            downloads_dir: self.directory.path().join("downloads"),
        }
    }

    /// A host that knows nothing but these indexes.
    pub(crate) fn fetcher(&self) -> Fetcher {
        self.fetcher_of(&[("pypi", &self.index), ("corp", &self.corp)])
    }

    pub(crate) fn fetcher_of(&self, indexes: &[(&str, &Index)]) -> Fetcher {
        let sources = indexes.iter();
        let sources = sources.map(|(name, index)| ((*name).to_owned(), index.url.clone()));
        let sources = sources.collect();
        let host = Host::at(self.directory.path(), BTreeMap::new());
        let sources = Sources::on(SourceConfig::new(sources), host);
        Fetcher::new(FetchOptions::new(sources)).unwrap()
    }

    pub(crate) fn lock(
        &self,
        family: &Family,
        previous: Option<&Lock>,
        options: &Options,
    ) -> Result<Lock, ResolveError> {
        self.events.lock().unwrap().clear();
        let lock = resolve(family, previous, &self.fetcher(), options, self, &|event| {
            self.events.lock().unwrap().push(event);
        })?;
        // Whatever is locked can be written and read back.
        assert_eq!(Lock::parse(&lock.render()).unwrap(), lock);
        assert!(kiln_lock::check(family, &lock).is_ok());
        Ok(lock)
    }

    pub(crate) fn cache(&self) -> std::path::PathBuf {
        self.directory.path().join("cache")
    }
}

/// What a test's builder says of source distributions; by their file names.
#[derive(Default)]
pub(crate) struct Bench {
    /// `build-system.requires` of all of them.
    pub(crate) requires: Vec<&'static str>,
    /// What the hook asks for besides.
    pub(crate) further: Vec<&'static str>,
    /// `Requires-Dist` of the wheel that is built of `PROJECT-VERSION.tar.gz`.
    pub(crate) wheels: BTreeMap<&'static str, Vec<&'static str>>,
    /// What was built: the file, then the build requirements.
    pub(crate) built: Vec<String>,
}

impl Builder for Workshop {
    fn requires(&self, archive: &Path, file: &str) -> Result<Vec<String>, BuildFailure> {
        assert_eq!(std::fs::read(archive).unwrap(), file.as_bytes());
        let bench = self.bench.lock().unwrap();
        Ok(bench.requires.iter().map(|it| (*it).to_owned()).collect())
    }

    fn further_requires(&self, _: &Build<'_>) -> Result<Vec<String>, BuildFailure> {
        let bench = self.bench.lock().unwrap();
        Ok(bench.further.iter().map(|it| (*it).to_owned()).collect())
    }

    fn build(&self, build: &Build<'_>) -> Result<BuiltWheel, BuildFailure> {
        let mut bench = self.bench.lock().unwrap();
        let file = build.from.file.as_str();
        let requirements: Vec<_> = build.requirements.iter().map(|it| &*it.file).collect();
        bench
            .built
            .push(format!("{file} with {}", requirements.join(" ")));
        let Some(requires) = bench.wheels.get(file) else {
            return Err(BuildFailure {
                cause: "the compiler is missing".into(),
                hint: Some("name one".to_owned()),
            });
        };
        let (file, bytes) = wheel(build.project, build.version, "py3-none-any", requires);
        Ok(BuiltWheel {
            file,
            size: bytes.len() as u64,
            sha256: kiln_digest::Digest::of(&bytes),
            metadata: String::from_utf8(metadata(&bytes)).unwrap(),
        })
    }
}

/// An error as people see it: itself, what caused it, the hint.
pub(crate) fn render(error: &ResolveError) -> String {
    let mut text = format!("error: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        let _ = write!(text, "\ncause: {error}");
        cause = error.source();
    }
    if let Some(hint) = error.hint() {
        let _ = write!(text, "\nhint: {hint}");
    }
    text
}

/// The wheels of each set, as `set: file file`, without the part that all names share.
pub(crate) fn sets(lock: &Lock) -> Vec<String> {
    let wheels = |set: &kiln_lock::Set| {
        let names: Vec<&str> = set
            .wheels
            .iter()
            .filter_map(|id| lock.wheel(id))
            .map(|it| {
                let end = it.name.len() + 1 + it.version.len();
                &it.file[..end]
            })
            .collect();
        names.join(" ")
    };
    lock.sets
        .iter()
        .map(|set| {
            format!(
                "{}: {}",
                set.id
                    .replace("linux/amd64 deb cpu", "…")
                    .replace("linux/amd64 deb ", ""),
                wheels(set)
            )
        })
        .filter(|line| !line.ends_with(": "))
        .collect()
}

/// What a file of the cache holds; nothing when it is not there.
pub(crate) fn read(directory: &Path, name: &str) -> String {
    std::fs::read_to_string(directory.join(name)).unwrap_or_default()
}
