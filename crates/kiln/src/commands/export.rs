//! `kiln export`: an image of the store as an archive or a directory.

use std::{
    collections::BTreeSet,
    io::{BufWriter, Write},
    path::Path,
};

use kiln_oci::Image;
use kiln_recipe::{Candidate, SelectError, is_glob};
use kiln_store::Store;

use crate::{
    args::{Export, ExportFormat, Global, PlatformOption},
    error::Failure,
    exit,
    output::Output,
    project::{self, Project},
    whole_file,
};

pub(crate) fn run(args: &Export, global: &Global, output: &Output) -> Result<(), Failure> {
    let store = project::store(global)?;
    let name = one(&store, global, &args.image)?;
    let image = image(&store, &name, args.platform)?;
    if args.format == ExportFormat::OciDir {
        let reference = reference(global, &name);
        kiln_oci::write_oci_directory(&image, &name, &reference, &store.blob_opener(), &args.path)?;
    } else if args.path == Path::new("-") {
        let mut out = BufWriter::with_capacity(1 << 20, std::io::stdout().lock());
        archive(args.format, &store, &image, &name, global, &mut out)?;
        out.flush()
            .map_err(|error| Failure::io("writing to standard output", &error))?;
        return Ok(());
    } else {
        whole_file::write(&args.path, |file, _| {
            archive(args.format, &store, &image, &name, global, file)
        })?;
    }
    output.note(format!("wrote {name} to `{}`", args.path.display()));
    Ok(())
}

fn archive(
    format: ExportFormat,
    store: &Store,
    image: &Image,
    name: &str,
    global: &Global,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let reference = reference(global, name);
    if format == ExportFormat::DockerArchive {
        kiln_oci::write_docker_archive(image, &[reference], &store.blob_opener(), out)?;
    } else {
        kiln_oci::write_oci_archive(image, name, &reference, &store.blob_opener(), out)?;
    }
    Ok(())
}

/// The image with this name, which `names` has found in the store: the one for the platform that
/// was asked for, else the only one, else the one for this machine.
pub(crate) fn image(store: &Store, name: &str, option: PlatformOption) -> Result<Image, Failure> {
    let mut images = store.images_of(name)?;
    let platforms: Vec<_> = images.iter().map(|it| it.platform.to_string()).collect();
    let wanted = match option.platform {
        Some(platform) => platform.to_string(),
        None if images.len() == 1 => platforms[0].clone(),
        None => project::host_platform(),
    };
    match platforms.iter().position(|platform| *platform == wanted) {
        Some(position) => Ok(images.swap_remove(position)),
        None if images.is_empty() => Err(Failure::new(
            exit::USAGE,
            format!("`{name}` is no longer in the store"),
        )),
        None => Err(
            Failure::new(exit::USAGE, format!("`{name}` is not built for {wanted}")).hint(format!(
                "it is built for {}: choose with `--platform`",
                platforms.join(" and ")
            )),
        ),
    }
}

/// The names of the images of the store that the selectors mean. A selector that names a release
/// means what the lock of that release says.
pub(crate) fn names(
    store: &Store,
    global: &Global,
    selectors: &[String],
) -> Result<Vec<String>, Failure> {
    // Without a family there are no releases.
    let groups = project::by_release(global, selectors)
        .unwrap_or_else(|_| vec![(global.clone(), selectors.to_vec())]);
    let mut names = Vec::new();
    for (global, selectors) in groups {
        names.extend(names_of_release(store, &global, &selectors)?);
    }
    names.dedup();
    Ok(names)
}

fn names_of_release(
    store: &Store,
    global: &Global,
    selectors: &[String],
) -> Result<Vec<String>, Failure> {
    let project = Project::open(global).ok();
    let locked = match &project {
        Some(project) => project
            .read_lock()?
            .map(|lock| lock.images)
            .unwrap_or_default(),
        None => Vec::new(),
    };
    let stored = store.images()?;
    // The images of the lock come first: they are what a part of a name means while older
    // builds of the same image are still in the store.
    let mut current: Vec<Candidate> = Vec::new();
    let mut older: Vec<Candidate> = Vec::new();
    for image in &stored {
        match locked.iter().find(|locked| locked.name == image.name) {
            Some(locked) => current.push(project::candidate(locked)),
            None => older.push(foreign(&image.name)),
        }
    }
    let default_base = project
        .as_ref()
        .and_then(|it| it.family.default_base.clone());
    let known: Vec<Candidate> = locked.iter().map(project::candidate).collect();
    let built: BTreeSet<&str> = current.iter().map(|it| it.name.as_str()).collect();
    let mut names = Vec::new();
    for selector in selectors {
        let choose = |from: &[Candidate]| {
            kiln_recipe::select(from, selector, default_base.as_deref()).map(|chosen| {
                chosen
                    .into_iter()
                    .map(|index| from[index].name.clone())
                    .collect::<Vec<_>>()
            })
        };
        // One image is what the lock means by it, whatever else happens to be there.
        let meant = if is_glob(selector) {
            Err(())
        } else {
            choose(&known).map_err(drop)
        };
        let chosen: Vec<String> = match meant {
            Ok(meant) if meant.iter().all(|name| built.contains(name.as_str())) => meant,
            Ok(meant) => {
                let is_earlier = |it: &&Candidate| {
                    let mut meant = known.iter().filter(|known| meant.contains(&known.name));
                    meant.any(|known| known.stem() == it.stem())
                };
                let earlier: Vec<_> = older.iter().filter(is_earlier).cloned().collect();
                choose(&earlier).map_err(|error| match error {
                    SelectError::Unknown { .. } => not_built(selector),
                    error => error.into(),
                })?
            }
            Err(()) => match choose(&current) {
                Ok(chosen) => chosen,
                Err(_) if !older.is_empty() => choose(&older).or_else(|_| {
                    let all: Vec<_> = current.iter().chain(&older).cloned().collect();
                    choose(&all)
                })?,
                Err(_) if choose(&known).is_ok() => return Err(not_built(selector)),
                Err(error) => return Err(error.into()),
            },
        };
        names.extend(chosen);
    }
    Ok(names)
}

fn not_built(selector: &str) -> Failure {
    Failure::new(exit::USAGE, format!("`{selector}` is not built"))
        .hint(format!("`kiln build {selector}` builds it"))
}

/// An image of the store that this family's lock does not name: all that is known is its name.
fn foreign(name: &str) -> Candidate {
    Candidate {
        name: name.to_owned(),
        base: String::new(),
        accelerator: String::new(),
        bundle: name.to_owned(),
        ide: String::new(),
    }
}

/// The name of the one image of the store that the selector means.
pub(crate) fn one(store: &Store, global: &Global, selector: &str) -> Result<String, Failure> {
    let names = names(store, global, &[selector.to_owned()])?;
    match names.as_slice() {
        [name] => Ok(name.clone()),
        names => {
            let message = format!("`{selector}` means {} images; one is needed", names.len());
            Err(Failure::new(exit::USAGE, message))
        }
    }
}

/// The reference that engines know an image by: the family's repository and the image's name.
pub(crate) fn reference(global: &Global, name: &str) -> String {
    let repository = Project::open(global).map(|project| project.family.repository);
    format!(
        "{}:{name}",
        repository.as_deref().unwrap_or("localhost/kiln")
    )
}
