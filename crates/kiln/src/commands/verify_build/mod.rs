//! `kiln verify-build`: images rebuilt from the lock, beside those that are there.

mod rebuild;
mod report;

use kiln_build::compare_image;
use kiln_digest::Digest;
use kiln_oci::Saved;
use kiln_plan::Plan;
use kiln_recipe::Platform;
use kiln_store::Store;

use crate::{
    args::{Global, VerifyBuild},
    commands::{build, plan},
    error::Failure,
    exit,
    output::{Output, count},
    project::{self, Project},
};
use rebuild::Rebuilt;

pub(crate) fn run(args: &VerifyBuild, global: &Global, output: &Output) -> Result<(), Failure> {
    let jobs = build::jobs(args.jobs);
    let global = &project::of_one_release(global, &args.selection.images)?;
    let project = Project::open(global)?;
    let lock = project.fitting_lock()?;
    let images = project.select(&lock, &args.selection.images, args.selection.all)?;
    let options = plan::options(&args.layers, &project.family)?;
    let plan = kiln_plan::plan(&project.family, &lock, &images, options)?;
    let names = names(&plan);
    let store = project::store(global)?;
    // What is wrong with the other side is better known before an hour of building.
    let against = Against::find(args, &names, &store)?;
    let rebuilt = Rebuilt::of(&plan, &project, &store, jobs, global, output)?;
    let compared = compare(&against, &names, &plan, rebuilt.store(), output);
    rebuilt.remove()?;
    match compared? {
        0 => Ok(()),
        differing => Err(Failure::new(
            exit::INTEGRITY,
            match names.len() {
                1 => "the image is not what the lock gives".to_owned(),
                all => format!("{differing} of {all} images are not what the lock gives"),
            },
        )),
    }
}

/// The names of the planned images, each once.
fn names(plan: &Plan) -> Vec<&str> {
    let mut names: Vec<&str> = plan
        .images
        .iter()
        .map(|image| image.name.as_str())
        .collect();
    names.dedup();
    names
}

/// What rebuilt images are compared with.
enum Against {
    /// An image layout: the store itself, or what somebody wrote.
    Layout(Box<Saved>),
    /// The digest of a manifest, or of the index of several platforms.
    Digest(Digest),
}

impl Against {
    fn find(args: &VerifyBuild, names: &[&str], store: &Store) -> Result<Self, Failure> {
        if let Some(digest) = args.digest {
            return match names {
                [_] => Ok(Self::Digest(digest)),
                _ => Err(Failure::new(
                    exit::USAGE,
                    format!(
                        "{} are meant; a digest is that of one",
                        count(names.len(), "image")
                    ),
                )),
            };
        }
        if let Some(path) = &args.against {
            let saved = Saved::open(path)?;
            for name in names {
                saved.images(name)?;
            }
            return Ok(Self::Layout(Box::new(saved)));
        }
        for name in names {
            if store.find(name)?.is_none() {
                let message = format!("`{name}` is not in the store");
                return Err(Failure::new(exit::USAGE, message).hint(
                    "`kiln build` with the same options puts it there; `--against` compares with \
                     an archive or a directory, `--digest` with a digest alone",
                ));
            }
        }
        Ok(Self::Layout(Box::new(Saved::open(store.root())?)))
    }
}

/// Compares and reports each image; gives how many names differ.
fn compare(
    against: &Against,
    names: &[&str],
    plan: &Plan,
    rebuilt: &Store,
    output: &Output,
) -> Result<usize, Failure> {
    let mut differing = 0;
    for name in names {
        let same = match against {
            Against::Digest(digest) => {
                let found = rebuilt.find(name)?.map(|manifest| manifest.digest);
                report::digest(name, digest, found.as_ref(), output)
            }
            Against::Layout(saved) => compare_name(saved, name, plan, rebuilt, output)?,
        };
        differing += usize::from(!same);
    }
    Ok(differing)
}

/// Compares the images of a name, one for each platform.
fn compare_name(
    saved: &Saved,
    name: &str,
    plan: &Plan,
    rebuilt: &Store,
    output: &Output,
) -> Result<bool, Failure> {
    let mut same = true;
    let images = saved.images(name)?;
    for rebuilt_image in rebuilt.images_of(name)? {
        let platform = &rebuilt_image.platform;
        let planned = plan
            .images
            .iter()
            .find(|image| image.name == name && is(image.platform, platform));
        let steps = planned.map_or(&[][..], |image| &image.layers);
        let steps: Vec<_> = steps.iter().map(|it| &plan.steps[it.step]).collect();
        let image = images.iter().find(|image| image.platform == *platform);
        let Some(image) = image else {
            report::missing(name, platform, output);
            same = false;
            continue;
        };
        let comparison = compare_image(saved, image, &rebuilt_image, rebuilt);
        same &= comparison.same;
        let pair = report::Pair {
            name,
            image,
            rebuilt: &rebuilt_image,
        };
        report::image(&pair, &comparison, &steps, output);
    }
    Ok(same)
}

fn is(platform: Platform, found: &kiln_oci::Platform) -> bool {
    platform.os() == found.os && platform.architecture() == found.architecture
}
