//! The layers that one set of packages becomes.

use std::collections::{BTreeMap, HashMap};

use kiln_digest::Digest;
use kiln_lock::{Deb, LockedImage, PackageId, Wheel};
use kiln_recipe::{Base, Component, ComponentId, ComponentKind, Family, Platform};

use crate::{
    action::{
        ACTION_FORMAT, Action, Archive, Configure, DebDatabase, Files, Kind, PackDebs, PackWheels,
        PlacedFile, Placement, UserEntry, Venv,
    },
    error::PlanError,
    layers::{self, Package},
    plan::{Input, Origin, PlanOptions},
};

/// A step of one image, before it is known whether another image has it too.
#[derive(Clone)]
pub(crate) struct Draft {
    pub(crate) key: Digest,
    pub(crate) action: Action,
    pub(crate) component: ComponentId,
    pub(crate) title: String,
    pub(crate) inputs: Vec<Input>,
    /// None for a step whose result other steps read and the image has not.
    pub(crate) history: Option<String>,
}

impl Draft {
    /// Whether the image has a layer of it.
    pub(crate) fn is_layer(&self) -> bool {
        self.history.is_some()
    }
}

/// What all layers of an image share.
pub(crate) struct Context<'a> {
    pub(crate) family: &'a Family,
    base: &'a Base,
    components: Vec<&'a Component>,
    pub(crate) placement: Placement,
    pub(crate) usr_merge: Vec<String>,
    platform: Platform,
    pub(crate) options: PlanOptions,
    /// The keys of the actions that build wheels, by the wheel.
    pub(crate) built: HashMap<&'a PackageId, Digest>,
}

impl<'a> Context<'a> {
    pub(crate) fn new(
        family: &'a Family,
        image: &LockedImage,
        options: PlanOptions,
    ) -> Result<Self, PlanError> {
        let base = family
            .bases
            .get(&image.base)
            .ok_or_else(|| PlanError::NoComponent {
                image: image.name.clone(),
                component: format!("base/{}", image.base),
            })?;
        let user = &family.user;
        Ok(Self {
            family,
            base,
            components: family.components(&image.combination()),
            placement: Placement {
                prefix: user.prefix.clone(),
                python: image.python,
                uid: user.uid,
                gid: user.gid,
            },
            usr_merge: layers::usr_merge(&base.suite),
            platform: image.platform,
            options,
            built: HashMap::new(),
        })
    }

    /// What an image that is nothing but a base would have in common.
    pub(crate) fn of_base(
        family: &'a Family,
        base: &str,
        platform: Platform,
        options: PlanOptions,
    ) -> Result<Self, PlanError> {
        let no_component = || PlanError::Dangling(format!("component base/{base}"));
        let base = family.bases.get(base).ok_or_else(no_component)?;
        let user = &family.user;
        Ok(Self {
            family,
            base,
            components: vec![&base.component],
            placement: Placement {
                prefix: user.prefix.clone(),
                python: base.python,
                uid: user.uid,
                gid: user.gid,
            },
            usr_merge: layers::usr_merge(&base.suite),
            platform,
            options,
            built: HashMap::new(),
        })
    }

    /// The base.
    pub(crate) fn base_component(&self) -> &'a Component {
        &self.base.component
    }

    /// A wheel as an input: built, or fetched.
    pub(crate) fn wheel(&self, wheel: &Wheel) -> Input {
        let input = wheel_input(wheel);
        match self.built.get(&wheel.id) {
            Some(key) => Input {
                origin: Origin::Built(*key),
                ..input
            },
            None => input,
        }
    }

    /// The interpreter.
    pub(crate) fn executable(&self) -> String {
        format!("/usr/bin/python{}", self.base.python)
    }

    /// The components up to `component`, in layer order.
    pub(crate) fn upto(&self, component: &Component) -> &[&'a Component] {
        let position = self.components.iter().position(|it| it.id == component.id);
        &self.components[..position.map_or(0, |position| position + 1)]
    }

    /// The draft of a layer of the image.
    pub(crate) fn layer(
        &self,
        component: &Component,
        title: String,
        kind: Kind,
        inputs: Vec<Input>,
        what: &str,
    ) -> Draft {
        let action = Action {
            format: ACTION_FORMAT,
            platform: self.platform,
            compression: self.options.compression,
            kind,
        };
        Draft {
            key: action.key(),
            action,
            component: component.id.clone(),
            title,
            inputs,
            history: Some(format!("{}: {what}", component.id)),
        }
    }

    pub(crate) fn component(&self, id: &ComponentId) -> Result<&'a Component, PlanError> {
        let found = self.components.iter().find(|component| component.id == *id);
        found
            .copied()
            .ok_or_else(|| PlanError::Dangling(format!("component {id}")))
    }

    /// Winners that matter for `component`: its own and those of the components below it. What
    /// stands above cannot change a layer that others share.
    pub(crate) fn winners(&self, component: &Component) -> BTreeMap<String, String> {
        let below = self.upto(component);
        below.iter().flat_map(|it| it.winners.clone()).collect()
    }

    /// The layers of a set's Debian packages.
    pub(crate) fn debs(&self, component: &Component, debs: &[&Deb], threshold: u64) -> Vec<Draft> {
        let alone = layers::installed_by_dpkg(&self.base.suite);
        let (own, rest) = layers::split(&sorted(debs), |deb| {
            deb.size >= threshold || alone.contains(&deb.name.as_str())
        });
        let pack = |debs: &[&Deb], links, title, what: &str| {
            let winners = if debs.len() > 1 {
                self.winners(component)
            } else {
                BTreeMap::new()
            };
            let kind = Kind::PackDebs(PackDebs {
                usr_merge: self.usr_merge.clone(),
                links,
                debs: archives(debs),
                winners,
            });
            let inputs = debs.iter().map(|deb| deb_input(deb)).collect();
            self.layer(component, title, kind, inputs, what)
        };
        let mut drafts = Vec::new();
        let is_base = component.id.kind == ComponentKind::Base;
        if !rest.is_empty() || is_base {
            let title = format!("{}: {}", component.id.name, count(rest.len(), "OS package"));
            let what = names(&rest, |deb| &deb.name, |deb| &deb.version);
            drafts.push(pack(&rest, is_base, title, &what));
        }
        drafts.extend(own.into_iter().map(|deb| {
            let title = format!("{} {}", deb.name, deb.version);
            pack(&[deb], false, title.clone(), &title)
        }));
        drafts
    }

    /// The layer of the dpkg database of all the image's Debian packages.
    pub(crate) fn database(&self, component: &Component, debs: &[&Deb]) -> Draft {
        let debs = sorted(debs);
        let kind = Kind::DebDatabase(DebDatabase {
            usr_merge: self.usr_merge.clone(),
            debs: archives(&debs),
        });
        self.layer(
            component,
            format!("dpkg database: {}", count(debs.len(), "package")),
            kind,
            debs.iter().map(|deb| deb_input(deb)).collect(),
            "dpkg database (unpacked, no maintainer script has run)",
        )
    }

    /// The layer of what the maintainer scripts of `debs` change, on top of the layers of the
    /// operating system so far. `packed` are those that [`Self::debs`] made of `debs`.
    pub(crate) fn configure(
        &self,
        component: &Component,
        debs: &[&Deb],
        system: &[Digest],
        packed: &[Draft],
    ) -> Draft {
        let alone = layers::installed_by_dpkg(&self.base.suite);
        let installed_by_dpkg = debs
            .iter()
            .filter(|deb| alone.contains(&deb.name.as_str()))
            .filter_map(|deb| Some((deb.name.clone(), layer_of(deb, packed)?)))
            .collect();
        let debs = sorted(debs);
        let user = &self.family.user;
        let is_base = component.id.kind == ComponentKind::Base;
        let kind = Kind::Configure(Configure {
            usr_merge: self.usr_merge.clone(),
            layers: system.to_vec(),
            debs: archives(&debs),
            installed_by_dpkg,
            user: is_base.then(|| UserEntry {
                name: user.name.clone(),
                uid: user.uid,
                gid: user.gid,
                home: user.home.clone(),
                shell: user.shell.clone(),
            }),
        });
        let packages = count(debs.len(), "OS package");
        self.layer(
            component,
            format!("{}: configure {packages}", component.id.name),
            kind,
            debs.iter().map(|deb| deb_input(deb)).collect(),
            &format!("configured {packages}"),
        )
    }

    /// The layer of the Python tree's skeleton.
    pub(crate) fn venv(&self, component: &Component) -> Draft {
        let title = format!("Python {} tree", self.placement.python);
        let kind = Kind::Venv(Venv {
            placement: self.placement.clone(),
            executable: self.executable(),
            home: self.family.user.home.clone(),
        });
        self.layer(component, title.clone(), kind, Vec::new(), &title)
    }

    /// The layers of a set's wheels, each with that of its compiled modules above it where
    /// `runtime` is there to compile them.
    pub(crate) fn wheels(
        &self,
        component: &Component,
        wheels: &[&Wheel],
        threshold: u64,
        runtime: Option<&Draft>,
    ) -> Vec<Draft> {
        let (own, rest) = layers::split(&sorted(wheels), |wheel| wheel.size >= threshold);
        let pack = |wheels: &[&Wheel], title, what: &str| {
            let winners = if wheels.len() > 1 {
                self.winners(component)
            } else {
                BTreeMap::new()
            };
            let kind = Kind::PackWheels(PackWheels {
                placement: self.placement.clone(),
                wheels: archives(wheels),
                winners,
            });
            let inputs = wheels.iter().map(|wheel| self.wheel(wheel)).collect();
            self.layer(component, title, kind, inputs, what)
        };
        // Modules of these share the layer that the rest has.
        let mut with_rest = Vec::new();
        let mut drafts = Vec::new();
        for wheel in own {
            let title = format!("{} {}", wheel.name, wheel.version);
            drafts.push(pack(&[wheel], title.clone(), &title));
            if layers::is_mostly_binaries(&wheel.file) {
                with_rest.push(wheel);
            } else if let Some(runtime) = runtime {
                drafts.extend(self.bytecode(component, &[wheel], &title, runtime));
            }
        }
        if !rest.is_empty() {
            let title = format!("{}: {}", component.id.name, count(rest.len(), "wheel"));
            let what = names(&rest, |it| &it.name, |it| &it.version);
            drafts.push(pack(&rest, title, &what));
        }
        with_rest.extend(rest);
        if let (Some(runtime), false) = (runtime, with_rest.is_empty()) {
            let of = format!("{}: {}", component.id.name, count(with_rest.len(), "wheel"));
            drafts.extend(self.bytecode(component, &sorted(&with_rest), &of, runtime));
        }
        drafts
    }

    /// The layer of the component's own files, if it has any.
    pub(crate) fn files(&self, component: &Component) -> Option<Draft> {
        if component.files.is_empty() {
            return None;
        }
        let mut sources: Vec<_> = component.files.iter().collect();
        sources.sort_by(|a, b| a.to.cmp(&b.to));
        let files: Vec<_> = sources
            .iter()
            .map(|file| PlacedFile {
                to: file.to.clone(),
                mode: file.mode,
                uid: file.owner.0,
                gid: file.owner.1,
                sha256: file.sha256,
            })
            .collect();
        let inputs = sources
            .iter()
            .map(|file| Input {
                sha256: file.sha256,
                size: file.size,
                origin: Origin::Family(file.source.clone()),
            })
            .collect();
        let list = files
            .iter()
            .map(|file| file.to.as_str())
            .collect::<Vec<_>>()
            .join(" ");
        let title = format!("{}: {}", component.id.name, count(files.len(), "file"));
        let removed = self.replaced_modules(&files);
        let kind = Kind::Files(Files {
            files,
            placement: self.placement.clone(),
            removed,
        });
        Some(self.layer(component, title, kind, inputs, &list))
    }
}

/// The key of the layer that holds a package alone.
fn layer_of(deb: &Deb, packed: &[Draft]) -> Option<Digest> {
    let alone = |draft: &&Draft| match &draft.action.kind {
        Kind::PackDebs(pack) => matches!(&pack.debs[..], [it] if it.sha256 == deb.sha256),
        _ => false,
    };
    packed.iter().find(alone).map(|draft| draft.key)
}

/// The canonical order of packages in an action: by file name, then digest.
pub(crate) fn sorted<'a, P: Package>(packages: &[&'a P]) -> Vec<&'a P> {
    let mut packages = packages.to_vec();
    packages.sort_by_cached_key(|package| (package.file(), package.sha256()));
    packages
}

pub(crate) fn archives<P: Package>(packages: &[&P]) -> Vec<Archive> {
    packages
        .iter()
        .map(|it| Archive {
            file: it.file(),
            sha256: it.sha256(),
        })
        .collect()
}

pub(crate) fn deb_input(deb: &Deb) -> Input {
    let origin = Origin::Deb {
        source: deb.source.clone(),
        suite: deb.suite.clone(),
        path: deb.path.clone(),
    };
    Input {
        sha256: deb.sha256,
        size: deb.size,
        origin,
    }
}

pub(crate) fn wheel_input(wheel: &Wheel) -> Input {
    let origin = Origin::Wheel {
        source: wheel.source.clone(),
        project: wheel.name.clone(),
        file: wheel.file.clone(),
    };
    Input {
        sha256: wheel.sha256,
        size: wheel.size,
        origin,
    }
}

pub(crate) fn count(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

/// `name version` of each package, cut where a history line stops being read.
fn names<P>(packages: &[&P], name: fn(&P) -> &String, version: fn(&P) -> &String) -> String {
    const LONGEST: usize = 2000;
    let mut text = String::new();
    for (shown, package) in packages.iter().enumerate() {
        let part = format!("{} {}", name(package), version(package));
        if text.len() + part.len() > LONGEST {
            return format!("{text}, and {} more", packages.len() - shown);
        }
        if !text.is_empty() {
            text.push_str(", ");
        }
        text.push_str(&part);
    }
    text
}
