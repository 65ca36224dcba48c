//! The two sides of a comparison: an image or all images of a lock, which may be a file elsewhere
//! or in the history of a git repository.

use std::{ffi::OsStr, path::Path};

use kiln_lock::{Lock, LockedImage, MAX_LOCK};
use kiln_recipe::{Family, FamilyFiles, RELEASES};

use super::git::{Commit, GitError};
use crate::{args::PlatformOption, error::Failure, exit, project::Project};

/// A lock with its family, and one image of it where one is meant.
pub(super) struct Side {
    /// What was typed, or what is meant by nothing.
    pub(super) label: String,
    pub(super) lock: Lock,
    /// The family as it was when the lock was; or why there is none, and so no layers.
    pub(super) family: Result<Family, String>,
    /// The place of the image in the lock.
    pub(super) image: Option<usize>,
    /// Whether it is of the family's lock as it is now.
    pub(super) is_current: bool,
}

impl Side {
    /// The family's lock as it is now.
    pub(super) fn current(project: &Project) -> Result<Self, Failure> {
        Ok(Self {
            label: format!("`{}` as it is", project.lock_place()),
            lock: project.fitting_lock()?,
            family: Ok(project.family.clone()),
            image: None,
            is_current: true,
        })
    }

    /// What a word means: a lock file, an image, a git revision or an image of one.
    pub(super) fn of(
        word: &str,
        project: &Project,
        platform: PlatformOption,
    ) -> Result<Self, Failure> {
        if Path::new(word).is_file() {
            return Self::file(Path::new(word));
        }
        if let Some((revision, part)) = word.split_once(':') {
            let mut side = Self::revision(revision, project)
                .map_err(|why| why.into_failure(revision, project))?;
            side.image = Some(project.one(&side.lock, part, platform)?);
            word.clone_into(&mut side.label);
            return Ok(side);
        }
        let no_image = match Self::image(word, project, platform) {
            Ok(side) => return Ok(side),
            Err(no_image) => no_image,
        };
        match Self::revision(word, project) {
            Ok(side) => Ok(side),
            Err(NoRevision::Unknown | NoRevision::Git(_)) if no_image.is_meant => {
                Err(*no_image.failure)
            }
            // What is no revision was probably meant for a name.
            Err(NoRevision::Unknown) => Err(Failure {
                hint: no_image.failure.hint,
                ..NoRevision::Unknown.into_failure(word, project)
            }),
            Err(why) => Err(why.into_failure(word, project)),
        }
    }

    /// An image of the lock as it is now.
    fn image(word: &str, project: &Project, platform: PlatformOption) -> Result<Self, NoImage> {
        let mut side = Self::current(project).map_err(|failure| NoImage {
            failure: failure.into(),
            is_meant: false,
        })?;
        let image = project.one(&side.lock, word, platform);
        side.image = Some(image.map_err(|failure| NoImage {
            failure: failure.into(),
            is_meant: project.is_near(&side.lock, word),
        })?);
        word.clone_into(&mut side.label);
        Ok(side)
    }

    fn file(path: &Path) -> Result<Self, Failure> {
        let io = |error| Failure::io(&format!("reading `{}`", path.display()), &error);
        let text = std::fs::read_to_string(path).map_err(io)?;
        let lock = Lock::parse(&text).map_err(|error| Failure::lock(path, &error))?;
        let beside = path.parent().filter(|dir| !dir.as_os_str().is_empty());
        let beside = beside.unwrap_or(Path::new(".")).canonicalize();
        Ok(Self {
            label: path.display().to_string(),
            family: family_beside(&beside.map_err(io)?),
            lock,
            image: None,
            is_current: false,
        })
    }

    /// The lock and the family of a git revision.
    fn revision(revision: &str, project: &Project) -> Result<Self, NoRevision> {
        let release = project.own_release();
        let place = project.lock_place();
        let commit = Commit::of(&project.dir, revision, &place, release);
        let commit = commit.map_err(NoRevision::Git)?;
        let commit = commit.ok_or(NoRevision::Unknown)?;
        let bytes = commit.file(&place, MAX_LOCK as u64);
        let bytes = bytes.map_err(NoRevision::Git)?.ok_or(NoRevision::NoLock)?;
        let lock = Lock::parse(&String::from_utf8_lossy(&bytes)).map_err(NoRevision::Lock)?;
        let files = commit.family(release).map_err(GitError::in_words);
        Ok(Self {
            label: revision.to_owned(),
            lock,
            family: files.and_then(|files| family(&files)),
            image: None,
            is_current: false,
        })
    }

    /// The image that is meant, or the one of this lock that is the same combination as `other`.
    pub(super) fn counterpart(&self, other: &LockedImage) -> Result<&LockedImage, Failure> {
        let image = match self.image {
            Some(place) => self.lock.images.get(place),
            None => self.lock.images.iter().find(|image| image.is_like(other)),
        };
        image.ok_or_else(|| {
            let message = format!("{} has no image like `{}`", self.label, other.name);
            Failure::new(exit::USAGE, message)
        })
    }
}

/// Why a word is no image of the lock as it is now.
struct NoImage {
    failure: Box<Failure>,
    /// Whether an image is meant all the same: a name is near, or there are several.
    is_meant: bool,
}

/// Why a word is no git revision that can be compared.
enum NoRevision {
    /// Git does not know it.
    Unknown,
    /// It has no lock.
    NoLock,
    /// Its lock cannot be used.
    Lock(kiln_lock::LockError),
    /// Git did not work.
    Git(GitError),
}

impl NoRevision {
    fn into_failure(self, revision: &str, project: &Project) -> Failure {
        let place = project.lock_place();
        match self {
            Self::Unknown => Failure::new(
                exit::USAGE,
                format!("`{revision}` is neither a lock file, nor an image, nor a git revision"),
            ),
            Self::NoLock => Failure::new(
                exit::USAGE,
                format!("git revision `{revision}` has no `{place}` in this directory"),
            )
            .hint("the lock of a family is committed beside its files"),
            Self::Lock(error) => Failure::lock(Path::new(&format!("{revision}:{place}")), &error),
            Self::Git(GitError::Missing(error)) => {
                let mut failure = Failure::new(
                    exit::USAGE,
                    format!("`{revision}` needs git, which cannot be run"),
                );
                failure.causes.push(error.to_string());
                failure.hint("install git, or compare with a lock file")
            }
            Self::Git(error) => {
                let mut failure = Failure::new(
                    exit::USAGE,
                    format!("git does not show revision `{revision}`"),
                );
                failure.causes.push(error.in_words());
                failure
            }
        }
    }
}

/// The family whose lock lies in `dir`: the one there, or a release of the one above.
fn family_beside(dir: &Path) -> Result<Family, String> {
    let above = dir.parent().filter(|above| above.ends_with(RELEASES));
    let root = above.and_then(Path::parent);
    let name = dir.file_name().and_then(OsStr::to_str);
    let files = match root.zip(name) {
        Some((root, name)) => kiln_recipe::read_release(root, name),
        None => kiln_recipe::read_family(dir),
    };
    family(&files.map_err(|error| error.to_string())?)
}

fn family(files: &FamilyFiles) -> Result<Family, String> {
    let family = kiln_recipe::parse(files);
    family.map_err(|errors| format!("its family has {} errors today", errors.0.len()))
}
