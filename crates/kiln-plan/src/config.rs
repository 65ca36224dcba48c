//! The configuration of an image: environment, user, command, labels.

use std::collections::BTreeMap;

use kiln_lock::LockedImage;
use kiln_recipe::{Component, Family, Location};

use crate::{draft::combination, plan::PlanError};

/// What an engine needs to know to start an image (image-spec, config.md).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageConfig {
    /// `NAME=value`, in order of first definition.
    pub env: Vec<String>,
    /// `uid:gid`.
    pub user: String,
    /// The working directory.
    pub working_dir: String,
    /// The command, in exec form; empty for none.
    pub entrypoint: Vec<String>,
    /// The TCP port that it serves.
    pub port: Option<u16>,
    /// The labels.
    pub labels: BTreeMap<String, String>,
    /// RFC 3339: midnight UTC of the image's date.
    pub created: String,
}

/// The label keys that every image carries besides `org.opencontainers.image.*`: the nine that
/// OpenShift's workbench images have had since 2023 and that its tools read.
pub const LABEL_KEYS: [&str; 9] = [
    "name",
    "summary",
    "description",
    "io.k8s.description",
    "io.k8s.display-name",
    "authoritative-source-url",
    "io.openshift.build.commit.ref",
    "io.openshift.build.source-location",
    "io.openshift.build.image",
];

pub(crate) fn config(family: &Family, image: &LockedImage) -> Result<ImageConfig, PlanError> {
    let combination = combination(image);
    let ide = family
        .ides
        .get(&image.ide)
        .ok_or_else(|| PlanError::NoComponent {
            image: image.name.clone(),
            component: format!("ide/{}", image.ide),
        })?;
    let mut labels = labels(family, image);
    let components = family.components(&combination);
    for component in &components {
        labels.extend(component.labels.clone());
    }
    Ok(ImageConfig {
        env: environment(&components)?,
        user: format!("{}:{}", family.user.uid, family.user.gid),
        working_dir: family.user.home.clone(),
        entrypoint: ide.command.clone(),
        port: ide.port,
        labels,
        created: format!("{}T00:00:00Z", image.date),
    })
}

/// The environment of `components`, which stand in layer order; `${NAME}` in a value means what
/// `NAME` was below.
pub(crate) fn environment(components: &[&Component]) -> Result<Vec<String>, PlanError> {
    let mut environment = Environment::default();
    for component in components {
        environment.extend(&component.env, &component.at)?;
    }
    Ok(environment.into_lines())
}

/// Variables in the order of their first definition.
#[derive(Default)]
pub(crate) struct Environment<'a> {
    order: Vec<&'a str>,
    values: BTreeMap<&'a str, String>,
}

impl<'a> Environment<'a> {
    /// Sets variables whose values may use those that are set. `at` is where they are declared.
    pub(crate) fn extend(
        &mut self,
        variables: &'a [(String, String)],
        at: &Location,
    ) -> Result<(), PlanError> {
        for (name, text) in variables {
            let value = expand(text, |missing| self.values.get(missing).cloned());
            let value = value.map_err(|missing| PlanError::UndefinedVariable {
                at: at.file.clone(),
                variable: name.clone(),
                missing,
            })?;
            if self.values.insert(name, value).is_none() {
                self.order.push(name);
            }
        }
        Ok(())
    }

    /// `NAME=value`, in order.
    pub(crate) fn into_lines(self) -> Vec<String> {
        let line = |name: &&str| format!("{name}={}", self.values[name]);
        self.order.iter().map(line).collect()
    }
}

/// Replaces every `${NAME}`. A `$` without a brace stands for itself. The error is the name that
/// `lookup` does not know.
fn expand(text: &str, lookup: impl Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        let (before, from) = rest.split_at(start);
        result.push_str(before);
        let Some(end) = from.find('}') else {
            rest = from;
            break;
        };
        let name = &from[2..end];
        result.push_str(&lookup(name).ok_or_else(|| name.to_owned())?);
        rest = &from[end + 1..];
    }
    result.push_str(rest);
    Ok(result)
}

fn labels(family: &Family, image: &LockedImage) -> BTreeMap<String, String> {
    let title = |name: &str, title: Option<&str>| title.unwrap_or(name).to_owned();
    let bundle = title(
        &image.bundle,
        family
            .bundles
            .get(&image.bundle)
            .map(|it| it.component.title.as_str()),
    );
    let ide = family.ides.get(&image.ide);
    let kind = if ide.is_some_and(|ide| !ide.command.is_empty()) {
        "workbench"
    } else {
        "runtime"
    };
    let ide_title = title(&image.ide, ide.map(|it| it.component.title.as_str()));
    let base = title(
        &image.base,
        family
            .bases
            .get(&image.base)
            .map(|it| it.component.title.as_str()),
    );
    let python = image.python;
    let subject = if kind == "runtime" {
        bundle.clone()
    } else {
        format!("{ide_title} {bundle}")
    };
    let display = format!("{subject} with Python {python} on {base}");
    let summary = format!("{subject} {kind} image with Python {python}, based on {base}");
    let described = |component: Option<&str>| component.unwrap_or_default().trim().to_owned();
    let bundle_description = described(
        family
            .bundles
            .get(&image.bundle)
            .map(|it| it.component.description.as_str()),
    );
    let description = if bundle_description.is_empty() {
        summary.clone()
    } else {
        format!("{summary}. {bundle_description}")
    };
    let reference = format!("{}:{}", family.repository, image.name);
    let version = format!("{}_{}", family.release, image.date.replace('-', ""));

    let mut labels = BTreeMap::new();
    let mut put = |key: &str, value: &str| {
        labels.insert(key.to_owned(), value.to_owned());
    };
    put("org.opencontainers.image.title", &display);
    put("org.opencontainers.image.description", &description);
    put("org.opencontainers.image.version", &version);
    put(
        "org.opencontainers.image.created",
        &format!("{}T00:00:00Z", image.date),
    );
    put("org.opencontainers.image.ref.name", &image.name);
    put("name", &image.name);
    put("summary", &summary);
    put("description", &description);
    put("io.k8s.description", &description);
    put("io.k8s.display-name", &display);
    put("io.openshift.build.commit.ref", &family.release);
    put("io.openshift.build.image", &reference);
    if let Some(source) = &family.source {
        put("org.opencontainers.image.source", source);
        put("authoritative-source-url", source);
        put("io.openshift.build.source-location", source);
    }
    if let Some(vendor) = &family.vendor {
        put("org.opencontainers.image.vendor", vendor);
    }
    if let Some(licenses) = &family.licenses {
        put("org.opencontainers.image.licenses", licenses);
    }
    labels
}
