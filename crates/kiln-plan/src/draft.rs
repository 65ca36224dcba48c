//! The layers that one set of packages becomes.

use std::collections::BTreeMap;

use kiln_lock::{Deb, LockedImage, Wheel};
use kiln_recipe::{Base, Combination, Component, ComponentId, ComponentKind, Family};

use crate::{
    action::{
        Archive, DebDatabase, Files, Kind, PackDebs, PackWheels, PlacedFile, Placement, Venv,
    },
    layers::{self, Package},
    plan::{Input, Origin, PlanError},
};

/// A step of one image, before it is known whether another image has it too.
pub(crate) struct Draft {
    pub(crate) component: ComponentId,
    pub(crate) title: String,
    pub(crate) kind: Kind,
    pub(crate) inputs: Vec<Input>,
    pub(crate) history: String,
}

/// What all layers of an image share.
pub(crate) struct Context<'a> {
    family: &'a Family,
    base: &'a Base,
    components: Vec<&'a Component>,
    placement: Placement,
    usr_merge: Vec<String>,
}

/// The combination of components that a locked image is.
pub(crate) fn combination(image: &LockedImage) -> Combination {
    Combination {
        base: image.base.clone(),
        accelerator: image.accelerator.clone(),
        bundle: image.bundle.clone(),
        ide: image.ide.clone(),
        at: kiln_recipe::Location {
            file: "kiln.lock".into(),
            line: 1,
            column: 1,
        },
    }
}

impl<'a> Context<'a> {
    pub(crate) fn new(family: &'a Family, image: &LockedImage) -> Result<Self, PlanError> {
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
            components: family.components(&combination(image)),
            placement: Placement {
                prefix: user.prefix.clone(),
                python: image.python,
                uid: user.uid,
                gid: user.gid,
            },
            usr_merge: layers::usr_merge(&base.suite),
        })
    }

    pub(crate) fn component(&self, id: &ComponentId) -> Result<&'a Component, PlanError> {
        let found = self.components.iter().find(|component| component.id == *id);
        found
            .copied()
            .ok_or_else(|| PlanError::Dangling(format!("component {id}")))
    }

    /// Winners that matter for `component`: its own and those of the components below it. What
    /// stands above cannot change a layer that others share.
    fn winners(&self, component: &Component) -> BTreeMap<String, String> {
        let position = self.components.iter().position(|it| it.id == component.id);
        let upto = position.map_or(0, |position| position + 1);
        let below = &self.components[..upto];
        below.iter().flat_map(|it| it.winners.clone()).collect()
    }

    /// The layers of a set's Debian packages.
    pub(crate) fn debs(
        &self,
        drafts: &mut Vec<Draft>,
        component: &Component,
        debs: &[&Deb],
        threshold: u64,
    ) {
        let (own, rest) = layers::split(&sorted(debs), threshold);
        let pack = |debs: &[&Deb], links| {
            let winners = if debs.len() > 1 {
                self.winners(component)
            } else {
                BTreeMap::new()
            };
            let usr_merge = self.usr_merge.clone();
            Kind::PackDebs(PackDebs {
                usr_merge,
                links,
                debs: archives(debs),
                winners,
            })
        };
        let is_base = component.id.kind == ComponentKind::Base;
        if !rest.is_empty() || is_base {
            drafts.push(Draft {
                component: component.id.clone(),
                title: format!("{}: {}", component.id.name, count(rest.len(), "OS package")),
                kind: pack(&rest, is_base),
                inputs: rest.iter().map(|deb| deb_input(deb)).collect(),
                history: history(
                    component,
                    &names(&rest, |deb| &deb.name, |deb| &deb.version),
                ),
            });
        }
        for deb in own {
            drafts.push(Draft {
                component: component.id.clone(),
                title: format!("{} {}", deb.name, deb.version),
                kind: pack(&[deb], false),
                inputs: vec![deb_input(deb)],
                history: history(component, &format!("{} {}", deb.name, deb.version)),
            });
        }
    }

    /// The layer of the dpkg database of all the image's Debian packages.
    pub(crate) fn database(&self, component: &Component, debs: &[&Deb]) -> Draft {
        let debs = sorted(debs);
        Draft {
            component: component.id.clone(),
            title: format!("dpkg database: {}", count(debs.len(), "package")),
            kind: Kind::DebDatabase(DebDatabase {
                usr_merge: self.usr_merge.clone(),
                debs: archives(&debs),
            }),
            inputs: debs.iter().map(|deb| deb_input(deb)).collect(),
            history: history(
                component,
                "dpkg database (unpacked, no maintainer script has run)",
            ),
        }
    }

    /// The layer of the Python tree's skeleton.
    pub(crate) fn venv(&self, component: &Component) -> Draft {
        let python = self.placement.python;
        Draft {
            component: component.id.clone(),
            title: format!("Python {python} tree"),
            kind: Kind::Venv(Venv {
                placement: self.placement.clone(),
                executable: format!("/usr/bin/python{}", self.base.python),
                home: self.family.user.home.clone(),
            }),
            inputs: Vec::new(),
            history: history(component, &format!("Python {python} tree")),
        }
    }

    /// The layers of a set's wheels.
    pub(crate) fn wheels(
        &self,
        drafts: &mut Vec<Draft>,
        component: &Component,
        wheels: &[&Wheel],
        threshold: u64,
    ) {
        let (own, rest) = layers::split(&sorted(wheels), threshold);
        let pack = |wheels: &[&Wheel]| {
            let winners = if wheels.len() > 1 {
                self.winners(component)
            } else {
                BTreeMap::new()
            };
            let placement = self.placement.clone();
            Kind::PackWheels(PackWheels {
                placement,
                wheels: archives(wheels),
                winners,
            })
        };
        for wheel in own {
            drafts.push(Draft {
                component: component.id.clone(),
                title: format!("{} {}", wheel.name, wheel.version),
                kind: pack(&[wheel]),
                inputs: vec![wheel_input(wheel)],
                history: history(component, &format!("{} {}", wheel.name, wheel.version)),
            });
        }
        if !rest.is_empty() {
            drafts.push(Draft {
                component: component.id.clone(),
                title: format!("{}: {}", component.id.name, count(rest.len(), "wheel")),
                kind: pack(&rest),
                inputs: rest.iter().map(|wheel| wheel_input(wheel)).collect(),
                history: history(component, &names(&rest, |it| &it.name, |it| &it.version)),
            });
        }
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
        Some(Draft {
            component: component.id.clone(),
            title: format!("{}: {}", component.id.name, count(files.len(), "file")),
            kind: Kind::Files(Files {
                files,
                placement: self.placement.clone(),
            }),
            inputs,
            history: history(component, &list),
        })
    }
}

/// The canonical order of packages in an action: by file name, then digest.
fn sorted<'a, P: Package>(packages: &[&'a P]) -> Vec<&'a P> {
    let mut packages = packages.to_vec();
    packages.sort_by_cached_key(|package| (package.file(), package.sha256()));
    packages
}

fn archives<P: Package>(packages: &[&P]) -> Vec<Archive> {
    packages
        .iter()
        .map(|it| Archive {
            file: it.file(),
            sha256: it.sha256(),
        })
        .collect()
}

fn deb_input(deb: &Deb) -> Input {
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

fn wheel_input(wheel: &Wheel) -> Input {
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

fn count(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

fn history(component: &Component, what: &str) -> String {
    format!("{}: {what}", component.id)
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
