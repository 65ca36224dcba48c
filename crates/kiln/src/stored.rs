//! Images of the store, by the names that people give them.

use kiln_oci::Image;
use kiln_recipe::{Candidate, SelectError, is_glob};
use kiln_store::Store;

use crate::{
    args::{Global, PlatformOption},
    error::Failure,
    exit,
    project::{self, Project},
};

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
    let (mut current, mut older) = (Vec::new(), Vec::new());
    for image in &store.images()? {
        match locked.iter().find(|locked| locked.name == image.name) {
            Some(locked) => current.push(project::candidate(locked)),
            None => older.push(foreign(&image.name)),
        }
    }
    let known = Known {
        locked: locked.iter().map(project::candidate).collect(),
        current,
        older,
        default_base: project.and_then(|it| it.family.default_base),
    };
    let mut names = Vec::new();
    for selector in selectors {
        names.extend(known.meant(selector)?);
    }
    Ok(names)
}

/// The images that a selector may mean.
struct Known {
    /// Those of the lock, built or not.
    locked: Vec<Candidate>,
    /// Those of the lock that are built.
    current: Vec<Candidate>,
    /// What else the store has: earlier releases, other families' images.
    older: Vec<Candidate>,
    default_base: Option<String>,
}

impl Known {
    /// The names of what `selector` means. The images of the lock come first: they are what a part of
    /// a name means while older builds of the same image are still in the store.
    fn meant(&self, selector: &str) -> Result<Vec<String>, Failure> {
        // One image is what the lock means by it, whatever else happens to be there.
        if !is_glob(selector)
            && let Ok(meant) = self.choose(&self.locked, selector)
        {
            return self.built(meant, selector);
        }
        match self.choose(&self.current, selector) {
            Ok(chosen) => Ok(chosen),
            Err(_) if !self.older.is_empty() => {
                let chosen = self.choose(&self.older, selector).or_else(|_| {
                    let all: Vec<_> = self.current.iter().chain(&self.older).cloned().collect();
                    self.choose(&all, selector)
                });
                Ok(chosen?)
            }
            Err(_) if self.choose(&self.locked, selector).is_ok() => Err(not_built(selector)),
            Err(error) => Err(error.into()),
        }
    }

    /// Images of the lock, or else earlier builds of them.
    fn built(&self, meant: Vec<String>, selector: &str) -> Result<Vec<String>, Failure> {
        let is_built = |name: &String| self.current.iter().any(|it| it.name == *name);
        if meant.iter().all(is_built) {
            return Ok(meant);
        }
        let is_earlier = |it: &&Candidate| {
            let mut meant = self.locked.iter().filter(|it| meant.contains(&it.name));
            meant.any(|locked| locked.stem() == it.stem())
        };
        let earlier: Vec<_> = self.older.iter().filter(is_earlier).cloned().collect();
        self.choose(&earlier, selector)
            .map_err(|error| match error {
                SelectError::Unknown { .. } => not_built(selector),
                error => error.into(),
            })
    }

    fn choose(&self, from: &[Candidate], selector: &str) -> Result<Vec<String>, SelectError> {
        let chosen = kiln_recipe::select(from, selector, self.default_base.as_deref())?;
        let names = chosen.into_iter().map(|index| from[index].name.clone());
        Ok(names.collect())
    }
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
