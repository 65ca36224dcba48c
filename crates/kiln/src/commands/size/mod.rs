//! `kiln size`: where the bytes of an image are.

mod page;
mod text;
mod treemap;

use std::{collections::BTreeMap, io::Write as _};

use kiln_build::{Anatomy, Bytes, Tree, anatomy};
use kiln_lock::{Lock, LockedImage};
use kiln_oci::LayerDescriptor;
use kiln_plan::{Compression, Plan, PlanOptions};
use kiln_store::{ActionResult, Store};
use serde_json::{Value, json};

use crate::{
    args::{Global, Size},
    error::Failure,
    exit,
    output::Output,
    project::{self, Project},
    whole_file,
};

/// What is known of an image's bytes.
struct Sizes {
    image: String,
    /// How many layers the image has; none when it is not built.
    layers: Option<usize>,
    anatomy: Anatomy,
}

pub(crate) fn run(args: &Size, global: &Global, output: &Output) -> Result<(), Failure> {
    let global = &project::of_one_release(global, std::slice::from_ref(&args.image))?;
    let project = Project::open(global)?;
    let lock = project.fitting_lock()?;
    let image = &lock.images[project.one(&lock, &args.image, args.platform)?];
    let sizes = match built(&project, &lock, image, global)? {
        Some(sizes) => sizes,
        None => Sizes {
            image: image.name.clone(),
            layers: None,
            anatomy: of_lock(&lock, image),
        },
    };
    if let Some(path) = &args.html {
        if sizes.layers.is_none() {
            return Err(Failure::new(
                exit::USAGE,
                format!("`{}` is not built, so its files are not known", image.name),
            )
            .hint(format!("`kiln build {}`", args.image)));
        }
        whole_file::write(path, |file, _| {
            file.write_all(page::page(&sizes).as_bytes())
                .map_err(|error| Failure::io(&format!("writing `{}`", path.display()), &error))
        })?;
        output.note(format!("wrote `{}`", path.display()));
    }
    if output.is_json() {
        output.json(&as_json(&sizes));
        return Ok(());
    }
    for line in text::lines(&sizes, usize::from(args.packages), output.width()) {
        output.line(line);
    }
    if sizes.layers.is_none() {
        output.note("not built: sizes are those of the archives of its packages, from the lock");
    }
    Ok(())
}

/// What the store has of an image that is built, however its layers are compressed: of several
/// ways the first.
fn built(
    project: &Project,
    lock: &Lock,
    image: &LockedImage,
    global: &Global,
) -> Result<Option<Sizes>, Failure> {
    // A look at sizes makes no store where there is none.
    if !project::store_root(global)?.join("oci-layout").is_file() {
        return Ok(None);
    }
    let store = project::store(global)?;
    for compression in [Compression::Gzip, Compression::Zstd, Compression::Estargz] {
        let options = PlanOptions {
            compression,
            pack_only: project.family.pack_only,
            bytecode: project.family.bytecode,
        };
        let plan = kiln_plan::plan(&project.family, lock, &[image], options)?;
        if let Some(layers) = layers(&plan, &store)? {
            return Ok(Some(Sizes {
                image: image.name.clone(),
                layers: Some(layers.len()),
                anatomy: anatomy(&plan, &plan.images[0], &layers, &store)?,
            }));
        }
    }
    Ok(None)
}

/// The layers of a planned image, when the store has all of them.
fn layers(plan: &Plan, store: &Store) -> Result<Option<Vec<LayerDescriptor>>, Failure> {
    let keys: Vec<_> = plan.steps.iter().map(|step| step.key).collect();
    let known = store.results(&keys)?;
    let layers = plan.images[0].layers.iter();
    let layers = layers
        .map(|layer| {
            let result = known.get(&plan.steps[layer.step].key);
            result.and_then(ActionResult::layer).cloned()
        })
        .collect();
    Ok(layers)
}

/// What the lock says of an image that is not built: sizes of archives, and no files.
fn of_lock(lock: &Lock, image: &LockedImage) -> Anatomy {
    let mut anatomy = Anatomy::default();
    let archive = |size: u64| Bytes {
        compressed: size,
        unpacked: 0,
    };
    for set in image.sets.iter().filter_map(|id| lock.set(id)) {
        let debs = set.debs.iter().filter_map(|id| lock.deb(id));
        let wheels = set.wheels.iter().filter_map(|id| lock.wheel(id));
        let debs = debs.map(|deb| (deb.name.clone(), archive(deb.size)));
        let wheels = wheels.map(|wheel| (wheel.name.clone(), archive(wheel.size)));
        let packages: BTreeMap<_, _> = debs.chain(wheels).collect();
        for bytes in packages.values() {
            anatomy.tree.bytes += *bytes;
        }
        anatomy
            .components
            .push((set.component.to_string(), packages));
    }
    anatomy
}

fn sum<'a>(all: impl IntoIterator<Item = &'a Bytes>) -> Bytes {
    let mut sum = Bytes::default();
    for bytes in all {
        sum += *bytes;
    }
    sum
}

fn as_json(sizes: &Sizes) -> Value {
    let of = |bytes: Bytes| json!({"compressed": bytes.compressed, "unpacked": bytes.unpacked});
    let components = sizes.anatomy.components.iter().map(|(name, packages)| {
        let packages = packages.iter().map(|(name, bytes)| {
            json!({
                "package": name, "compressed": bytes.compressed, "unpacked": bytes.unpacked,
            })
        });
        json!({"component": name, "packages": packages.collect::<Vec<_>>()})
    });
    json!({
        "image": sizes.image, "layers": sizes.layers, "total": of(sizes.anatomy.tree.bytes),
        "components": components.collect::<Vec<_>>(),
        "directories": directories(&sizes.anatomy.tree, "", 0),
    })
}

/// So deep, JSON tells of directories.
const DEPTH: usize = 6;

fn directories(tree: &Tree, path: &str, depth: usize) -> Vec<Value> {
    let mut found = Vec::new();
    for (name, child) in &tree.children {
        if child.children.is_empty() || depth == DEPTH {
            continue;
        }
        let path = format!("{path}/{name}");
        let bytes = child.bytes;
        found.push(json!({
            "path": path, "compressed": bytes.compressed, "unpacked": bytes.unpacked,
        }));
        found.extend(directories(child, &path, depth + 1));
    }
    found
}
