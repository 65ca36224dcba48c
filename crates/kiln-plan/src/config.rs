//! The configuration of an image: environment, user, command, labels.

use std::collections::BTreeMap;

use kiln_lock::{Closure, LockedImage};
use kiln_recipe::{Component, ComponentKind, Cuda, Family, Location, PythonVersion};

use crate::{cuda, error::PlanError};

/// What an engine needs to know to start an image (image-spec, config.md).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageConfig {
    /// `NAME=value`, in order of first definition; see [`crate`] for what is computed.
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

/// The configuration of an image that has the packages `installed`.
pub(crate) fn config(
    family: &Family,
    image: &LockedImage,
    installed: &Closure<'_>,
) -> Result<ImageConfig, PlanError> {
    let ide = family
        .ides
        .get(&image.ide)
        .ok_or_else(|| PlanError::NoComponent {
            image: image.name.clone(),
            component: format!("ide/{}", image.ide),
        })?;
    let mut labels = labels(family, image);
    let components = family.components(&image.combination());
    let accelerator = family.accelerators.get(&image.accelerator);
    if let Some(cuda) = accelerator.and_then(|it| it.cuda.as_ref()) {
        let computed = cuda::labels(cuda, installed).into_iter();
        labels.extend(computed.map(|(name, value)| (name.to_owned(), value)));
    }
    for component in &components {
        labels.extend(component.labels.clone());
    }
    Ok(ImageConfig {
        env: Environment::of(family, &components, image.python, installed)?.into_lines(),
        user: format!("{}:{}", family.user.uid, family.user.gid),
        working_dir: family.user.home.clone(),
        entrypoint: ide.command.clone(),
        port: ide.port,
        labels,
        created: format!("{}T00:00:00Z", image.date),
    })
}

/// What engines set where an image has no `PATH`; one that has gets nothing more.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Variables in the order of their first definition.
#[derive(Default)]
pub(crate) struct Environment<'a> {
    order: Vec<&'a str>,
    values: BTreeMap<&'a str, String>,
}

impl<'a> Environment<'a> {
    /// The environment of `components`, which stand in layer order, where the packages `installed`
    /// are; `${NAME}` in a value means what `NAME` was below. What an accelerator computes stands
    /// below what it says.
    pub(crate) fn of(
        family: &'a Family,
        components: &[&'a Component],
        python: PythonVersion,
        installed: &Closure<'_>,
    ) -> Result<Self, PlanError> {
        let mut environment = Self::default();
        for component in components {
            if let Some(cuda) = toolkit(family, component) {
                let site = cuda::site(&family.user.prefix, python);
                environment.compute(cuda::environment(cuda, &site, installed));
            }
            environment.extend(&component.env, &component.at)?;
        }
        Ok(environment)
    }

    /// Sets computed variables: those that nothing has set, and lists of directories, which go
    /// before what is there.
    fn compute(&mut self, variables: Vec<cuda::Variable>) {
        for variable in variables {
            let value = match self.values.get(variable.name) {
                None => {
                    self.order.push(variable.name);
                    match variable.name {
                        "PATH" => format!("{}:{DEFAULT_PATH}", variable.value),
                        _ => variable.value,
                    }
                }
                Some(below) if variable.is_path && below.is_empty() => variable.value,
                Some(below) if variable.is_path => format!("{}:{below}", variable.value),
                Some(_) => continue,
            };
            self.values.insert(variable.name, value);
        }
    }

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

/// The CUDA toolkit of a component, if it is an accelerator that has one.
fn toolkit<'a>(family: &'a Family, component: &Component) -> Option<&'a Cuda> {
    if component.id.kind != ComponentKind::Accelerator {
        return None;
    }
    family.accelerators.get(&component.id.name)?.cuda.as_ref()
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
    let accelerator = family.accelerators.get(&image.accelerator);
    let and = match accelerator.filter(|it| it.code.is_some()) {
        Some(accelerator) => format!(" and {}", accelerator.component.title),
        None => String::new(),
    };
    let display = format!("{subject} with Python {python}{and} on {base}");
    let summary = format!("{subject} {kind} image with Python {python}{and}, based on {base}");
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
