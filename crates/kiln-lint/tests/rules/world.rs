//! Small families with a lock and facts, as short as a test can say them.

use std::{collections::BTreeMap, fmt::Write as _, sync::Arc};

use kiln_digest::Digest;
use kiln_lint::{Facts, Input, Owners, Report, Wanted, lint};
use kiln_lock::{Deb, LOCK_VERSION, Lock, LockedImage, PackageId, Set, Wheel};
use kiln_package::libraries::Libraries;
use kiln_recipe::{ComponentId, ComponentKind, Family, FamilyFiles, Platform};

const KILN: &str = "[family]\nname = \"test\"\nrelease = \"1\"\nrepository = \"localhost/test\"\n";
const ARCHIVE: &str =
    "[[archive]]\nsource = \"debian\"\ncomponents = [\"main\"]\nkeyring = \"d.asc\"\n";
const BASE: &str =
    "code = \"d12\"\ndistribution = \"debian\"\nsuite = \"bookworm\"\npython = \"3.11\"\n";
const CUDA: &str = "kind = \"cuda\"\n[cuda]\nversion = \"12.6\"\nflavour = \"runtime\"\n";

/// A family, what its images hold, and what is known of that.
pub(crate) struct World {
    files: BTreeMap<String, String>,
    debs: Vec<(String, String)>,
    wheels: Vec<Wheel>,
    facts: BTreeMap<String, Libraries>,
    owners: Vec<(String, Vec<String>)>,
    /// Packages of which nothing is known.
    unknown: Vec<String>,
    size: u64,
    /// The platforms that every image is locked for.
    platforms: Vec<Platform>,
}

impl World {
    /// One image with this bundle on a CPU.
    pub(crate) fn new(bundle: &str) -> Self {
        let images = "[[image]]\nbase = \"base\"\nbundle = \"own\"\n";
        Self::with_images(bundle, images)
    }

    /// One image with this bundle and an accelerator that has CUDA 12.6.
    pub(crate) fn with_cuda(bundle: &str) -> Self {
        let images = "[[image]]\nbase = \"base\"\nbundle = \"own\"\naccelerator = \"gpu\"\n";
        Self::with_images(bundle, images).file("accelerators/gpu.toml", CUDA)
    }

    /// These images.
    pub(crate) fn with_images(bundle: &str, images: &str) -> Self {
        let world = Self {
            files: BTreeMap::new(),
            debs: Vec::new(),
            wheels: Vec::new(),
            facts: BTreeMap::new(),
            owners: Vec::new(),
            unknown: Vec::new(),
            size: 1_000_000,
            platforms: vec![Platform::LinuxAmd64],
        };
        world
            .file("kiln.toml", &format!("{KILN}\n{images}"))
            .file("bases/base.toml", &format!("{BASE}{ARCHIVE}"))
            .file("keyrings/d.asc", "a keyring")
            .file("bundles/own/bundle.toml", bundle)
    }

    /// All images for both platforms, with the same packages.
    pub(crate) fn on_two_platforms(mut self) -> Self {
        self.platforms.push(Platform::LinuxArm64);
        self
    }

    /// A file of the family; what is said of `kiln.toml` comes behind the rest.
    pub(crate) fn file(mut self, path: &str, text: &str) -> Self {
        let file = self.files.entry(path.to_owned()).or_default();
        if path == "kiln.toml" {
            file.push_str(text);
        } else {
            text.clone_into(file);
        }
        self
    }

    pub(crate) fn deb(mut self, name: &str, version: &str) -> Self {
        self.debs.push((name.to_owned(), version.to_owned()));
        self
    }

    pub(crate) fn wheel(mut self, name: &str, version: &str, requires: &[&str]) -> Self {
        let file = format!(
            "{}-{version}-cp311-cp311-linux_x86_64.whl",
            name.replace('-', "_")
        );
        self.wheels.push(Wheel {
            id: PackageId(format!("pypi/{file}")),
            name: name.to_owned(),
            version: version.to_owned(),
            source: "pypi".to_owned(),
            sha256: Digest::of(file.as_bytes()),
            file,
            size: self.size,
            requires: requires.iter().map(|it| (*it).to_owned()).collect(),
            built_from: None,
        });
        self
    }

    /// What is known of a package.
    pub(crate) fn has(mut self, package: &str, libraries: Libraries) -> Self {
        self.facts.insert(package.to_owned(), libraries);
        self
    }

    /// Which packages bring a library.
    pub(crate) fn owner(mut self, library: &str, packages: &[&str]) -> Self {
        let packages = packages.iter().map(|it| (*it).to_owned()).collect();
        self.owners.push((library.to_owned(), packages));
        self
    }

    pub(crate) fn unknown(mut self, package: &str) -> Self {
        self.unknown.push(package.to_owned());
        self
    }

    pub(crate) fn family(&self) -> Family {
        let files = self.files.iter();
        let parsed = kiln_recipe::parse(&FamilyFiles {
            files: files
                .map(|(path, text)| (path.clone(), text.clone().into_bytes()))
                .collect(),
            ..FamilyFiles::default()
        });
        parsed.unwrap_or_else(|error| panic!("{error}"))
    }

    /// What the rules find.
    pub(crate) fn lint(mut self) -> Report {
        let family = self.family();
        self.wheels.sort_by(|a, b| a.id.cmp(&b.id));
        self.debs.sort();
        let debs: Vec<Deb> = self
            .debs
            .iter()
            .map(|(name, version)| deb(name, version))
            .collect();
        let mut facts = Facts::new();
        let digests = debs.iter().map(|it| (&it.name, it.sha256));
        let digests = digests.chain(self.wheels.iter().map(|it| (&it.name, it.sha256)));
        for (name, sha256) in digests.filter(|(name, _)| !self.unknown.contains(name)) {
            let known = self.facts.get(name).cloned().unwrap_or_default();
            facts.insert(sha256, Arc::new(known));
        }
        let mut owners = Owners::new();
        for image in &family.images {
            for (library, packages) in &self.owners {
                let wanted = Wanted {
                    base: image.base.clone(),
                    accelerator: image.accelerator.clone(),
                    platform: Platform::LinuxAmd64,
                    library: library.clone(),
                };
                owners.insert(wanted, packages.clone());
            }
        }
        let lock = lock(&family, debs, self.wheels, &self.platforms);
        let images: Vec<_> = lock.images.iter().collect();
        lint(Input {
            family: &family,
            lock: &lock,
            images: &images,
            facts: &facts,
            owners: &owners,
        })
    }
}

fn deb(name: &str, version: &str) -> Deb {
    let id = format!("debian/{name}_{version}_amd64");
    Deb {
        sha256: Digest::of(id.as_bytes()),
        id: PackageId(id),
        name: name.to_owned(),
        version: version.to_owned(),
        architecture: "amd64".to_owned(),
        source: "debian".to_owned(),
        suite: "bookworm".to_owned(),
        path: format!("pool/{name}.deb"),
        size: 1_000_000,
        essential: false,
        multi_arch_same: false,
        depends: Vec::new(),
    }
}

/// Every image has all packages: those of the OS in the set of its base, wheels in that of its
/// bundle. Other bundles have empty sets.
fn lock(family: &Family, debs: Vec<Deb>, wheels: Vec<Wheel>, platforms: &[Platform]) -> Lock {
    let set = |kind, name: &str| Set {
        id: format!("{name} set"),
        component: ComponentId {
            kind,
            name: name.to_owned(),
        },
        debs: Vec::new(),
        wheels: Vec::new(),
    };
    let mut sets = vec![Set {
        debs: debs.iter().map(|it| it.id.clone()).collect(),
        ..set(ComponentKind::Base, "base")
    }];
    for name in family.bundles.keys() {
        let ids = wheels.iter().map(|it| it.id.clone());
        sets.push(Set {
            wheels: ids.filter(|_| name == "own").collect(),
            ..set(ComponentKind::Bundle, name)
        });
    }
    sets.sort_by(|a, b| a.id.cmp(&b.id));
    let pairs = family
        .images
        .iter()
        .flat_map(|image| platforms.iter().map(move |platform| (image, *platform)));
    let images = pairs.map(|(image, platform)| {
        let chain = family.chain(&image.bundle);
        let bundles = chain
            .iter()
            .map(|it| format!("{} set", it.component.id.name));
        LockedImage {
            name: format!("{}-{}-{}", image.ide, image.bundle, image.accelerator),
            platform,
            base: image.base.clone(),
            accelerator: image.accelerator.clone(),
            bundle: image.bundle.clone(),
            ide: image.ide.clone(),
            python: "3.11".parse().unwrap(),
            date: "2026-11-22".to_owned(),
            fingerprint: Digest::of(b""),
            sets: std::iter::once("base set".to_owned())
                .chain(bundles)
                .collect(),
        }
    });
    Lock {
        version: LOCK_VERSION,
        family: family.name.clone(),
        release: family.release.clone(),
        tools: Vec::new(),
        indexes: Vec::new(),
        requests: Vec::new(),
        images: images.collect(),
        sets,
        debs,
        wheels,
    }
}

/// A report as text.
pub(crate) fn shown(report: &Report) -> String {
    let mut text = String::new();
    for finding in report.findings.iter().chain(&report.waived) {
        let (severity, lint) = (finding.severity, finding.lint);
        writeln!(
            text,
            "{severity}[{lint}] {}: {}",
            finding.subject, finding.reason
        )
        .unwrap();
        writeln!(text, "  at {}", finding.at).unwrap();
        if let Some(origin) = &finding.origin {
            writeln!(text, "  {} → {}", origin.request, origin.path.join(" → ")).unwrap();
        }
        writeln!(text, "  in {}", finding.images.join(", ")).unwrap();
        if let Some(hint) = &finding.hint {
            writeln!(text, "  hint: {hint}").unwrap();
        }
        if let Some(waived) = &finding.waived {
            writeln!(text, "  waived at {}: {}", waived.at, waived.reason).unwrap();
        }
    }
    if !report.unseen.is_empty() {
        writeln!(text, "unseen: {:?}", report.unseen).unwrap();
    }
    text
}

/// The ids and subjects of what was found.
pub(crate) fn found(report: &Report) -> Vec<String> {
    let findings = report.findings.iter();
    findings
        .map(|it| format!("{} {}", it.lint, it.subject))
        .collect()
}
