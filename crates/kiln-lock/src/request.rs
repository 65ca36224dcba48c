//! What a family asks of a lock.

use std::collections::BTreeMap;

use kiln_recipe::{Archive, Component, ComponentId, ComponentKind, Family};

use crate::model::{Request, SourceRequest};

/// What the family's components ask now, sorted by component: of those that an image uses, itself
/// or through the bundle that it extends.
pub fn requests(family: &Family) -> Vec<Request> {
    let mut requests: BTreeMap<&ComponentId, Request> = BTreeMap::new();
    for image in &family.images {
        for component in family.components(image) {
            requests
                .entry(&component.id)
                .or_insert_with(|| request(family, component));
        }
    }
    requests.into_values().collect()
}

fn request(family: &Family, component: &Component) -> Request {
    let from_source = component.from_source.iter().map(|(project, how)| {
        let request = SourceRequest {
            os_packages: sorted(how.os_packages.iter().map(|it| &it.text)),
            requirements: sorted(how.requirements.iter().map(|it| &it.text)),
            env: how.env.clone(),
        };
        (project.clone(), request)
    });
    let files = component
        .files
        .iter()
        .map(|file| (file.to.clone(), file.sha256))
        .collect();
    let from = from(family, &component.id);
    let indexes = component.python_indexes.iter().map(|(source, index)| {
        let projects = index.projects.keys().cloned().collect();
        (source.clone(), projects)
    });
    Request {
        component: component.id.clone(),
        requirements: sorted(component.requirements.iter().map(|it| &it.text)),
        os_packages: sorted(component.os_packages.iter().map(|it| &it.text)),
        from,
        python_indexes: indexes.collect(),
        from_source: from_source.collect(),
        files,
    }
}

fn sorted<'a>(texts: impl Iterator<Item = &'a String>) -> Vec<String> {
    let mut texts: Vec<_> = texts.cloned().collect();
    texts.sort();
    texts
}

fn from(family: &Family, id: &ComponentId) -> Vec<String> {
    let mut from = Vec::new();
    match id.kind {
        ComponentKind::Base => {
            if let Some(base) = family.bases.get(&id.name) {
                from.push(format!("python {}", base.python));
                from.extend(base.archives.iter().map(archive));
            }
        }
        ComponentKind::Accelerator => {
            if let Some(accelerator) = family.accelerators.get(&id.name) {
                from.extend(accelerator.archives.iter().map(archive));
            }
        }
        ComponentKind::Bundle => {
            if let Some(bundle) = family.bundles.get(&id.name) {
                from.extend(bundle.extends.clone());
                if bundle.independent {
                    from.push("independent".to_owned());
                }
            }
        }
        ComponentKind::Ide => {}
    }
    from
}

fn archive(archive: &Archive) -> String {
    let mut words = vec![archive.source.as_str(), &archive.suite];
    words.extend(archive.components.iter().map(String::as_str));
    if !archive.bases.is_empty() {
        words.push("on");
        words.extend(archive.bases.iter().map(String::as_str));
    }
    words.join(" ")
}
