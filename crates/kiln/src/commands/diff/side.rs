//! The two sides of a comparison: an image or all images of a lock, which may be a file elsewhere
//! or in the history of a git repository.

use std::{path::Path, process::Command};

use kiln_lock::{Lock, LockedImage};
use kiln_recipe::Family;

use crate::{
    error::Failure,
    exit,
    project::{LOCK_FILE, Project, candidate},
};

/// A lock with its family, and one image of it where one is meant.
pub(super) struct Side {
    /// What was typed, or what is meant by nothing.
    pub(super) label: String,
    pub(super) lock: Lock,
    /// The family as it was when the lock was; or why there is none, and so no layers.
    pub(super) family: Result<Family, String>,
    /// The place of the image in the lock.
    pub(super) image: Option<usize>,
}

impl Side {
    /// The family's lock as it is now.
    pub(super) fn current(project: &Project) -> Result<Self, Failure> {
        Ok(Self {
            label: format!("`{LOCK_FILE}` as it is"),
            lock: project.fitting_lock()?,
            family: Ok(project.family.clone()),
            image: None,
        })
    }

    /// What a word means: a lock file, an image, a git revision or an image of one.
    pub(super) fn of(word: &str, project: &Project) -> Result<Self, Failure> {
        if Path::new(word).is_file() {
            return Self::file(Path::new(word));
        }
        let mut current = Self::current(project)?;
        let unknown = match current.choose(word, project) {
            Ok(()) => {
                current.label = word.to_owned();
                return Ok(current);
            }
            Err(unknown) => unknown,
        };
        let (revision, part) = match word.split_once(':') {
            Some((revision, part)) => (revision, Some(part)),
            None => (word, None),
        };
        match Self::revision(revision, project) {
            Ok(mut side) => {
                if let Some(part) = part {
                    side.choose(part, project)?;
                }
                word.clone_into(&mut side.label);
                Ok(side)
            }
            // What is no revision was probably meant for a name.
            Err(NoRevision::Unknown) if part.is_none() => Err(Failure {
                hint: unknown.hint,
                ..NoRevision::Unknown.into_failure(revision)
            }),
            Err(why) => Err(why.into_failure(revision)),
        }
    }

    fn file(path: &Path) -> Result<Self, Failure> {
        let read = std::fs::read_to_string(path);
        let text =
            read.map_err(|error| Failure::io(&format!("reading `{}`", path.display()), &error))?;
        let lock = Lock::parse(&text).map_err(|error| Failure::lock(path, &error))?;
        let beside = path.parent().filter(|dir| !dir.as_os_str().is_empty());
        Ok(Self {
            label: path.display().to_string(),
            family: family(beside.unwrap_or(Path::new("."))),
            lock,
            image: None,
        })
    }

    /// The lock and the family of a git revision.
    fn revision(revision: &str, project: &Project) -> Result<Self, NoRevision> {
        let commit = format!("{revision}^{{commit}}");
        let known = git(
            &project.dir,
            &[
                "rev-parse",
                "--verify",
                "--quiet",
                "--end-of-options",
                &commit,
            ],
            None,
        );
        let commit = match known {
            Ok(commit) => commit.trim().to_owned(),
            Err(Git::Failed(said)) if said.is_empty() => return Err(NoRevision::Unknown),
            Err(why) => return Err(NoRevision::Git(why)),
        };
        let path = format!("{commit}:./{LOCK_FILE}");
        let text = git(&project.dir, &["show", &path], None).map_err(|_| NoRevision::NoLock)?;
        let lock = Lock::parse(&text).map_err(NoRevision::Lock)?;
        Ok(Self {
            label: revision.to_owned(),
            lock,
            family: family_of_commit(&commit, project),
            image: None,
        })
    }

    /// Makes one image the subject.
    fn choose(&mut self, part: &str, project: &Project) -> Result<(), Failure> {
        let candidates: Vec<_> = self.lock.images.iter().map(candidate).collect();
        let default_base = project.family.default_base.as_deref();
        let chosen = kiln_recipe::select(&candidates, part, default_base)?;
        match chosen.as_slice() {
            [one] => self.image = Some(*one),
            several => {
                let message = format!("`{part}` means {} images", several.len());
                return Err(Failure::new(exit::USAGE, message)
                    .hint("compare one image with one, or all of a lock with all of another"));
            }
        }
        Ok(())
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

/// Why a word is no git revision that can be compared.
enum NoRevision {
    /// Git does not know it.
    Unknown,
    /// It has no lock.
    NoLock,
    /// Its lock cannot be used.
    Lock(kiln_lock::LockError),
    /// Git did not work.
    Git(Git),
}

impl NoRevision {
    fn into_failure(self, revision: &str) -> Failure {
        match self {
            Self::Unknown => Failure::new(
                exit::USAGE,
                format!("`{revision}` is neither a lock file, nor an image, nor a git revision"),
            ),
            Self::NoLock => Failure::new(
                exit::USAGE,
                format!("git revision `{revision}` has no `{LOCK_FILE}` in this directory"),
            )
            .hint("the lock of a family is committed beside its files"),
            Self::Lock(error) => {
                Failure::lock(Path::new(&format!("{revision}:{LOCK_FILE}")), &error)
            }
            Self::Git(Git::Missing(error)) => {
                let mut failure = Failure::new(
                    exit::USAGE,
                    format!("`{revision}` needs git, which cannot be run"),
                );
                failure.causes.push(error.to_string());
                failure.hint("install git, or compare with a lock file")
            }
            Self::Git(Git::Failed(said)) => {
                let mut failure = Failure::new(
                    exit::USAGE,
                    format!("git does not show revision `{revision}`"),
                );
                failure.causes.push(said);
                failure
            }
        }
    }
}

/// Why git gave nothing.
enum Git {
    /// It cannot be started.
    Missing(std::io::Error),
    /// It refused; what it said.
    Failed(String),
}

/// What git prints, run in `dir`.
fn git(dir: &Path, arguments: &[&str], index: Option<&Path>) -> Result<String, Git> {
    let mut command = Command::new("git");
    command.arg("-C").arg(dir).args(arguments);
    if let Some(index) = index {
        command.env("GIT_INDEX_FILE", index);
    }
    let done = command.output().map_err(Git::Missing)?;
    if done.status.success() {
        return Ok(String::from_utf8_lossy(&done.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&done.stderr).trim().to_owned();
    Err(Git::Failed(said))
}

/// The family as it was at a commit: its files are written beside an index of their own, which
/// leaves the repository's index and tree alone.
fn family_of_commit(commit: &str, project: &Project) -> Result<Family, String> {
    let in_words = |error: Git| match error {
        Git::Missing(error) => error.to_string(),
        Git::Failed(said) => said,
    };
    let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
    let index = directory.path().join("index");
    let files = directory.path().join("family");
    let prefix = git(&project.dir, &["rev-parse", "--show-prefix"], None).map_err(in_words)?;
    let tree = format!("{commit}:{}", prefix.trim().trim_end_matches('/'));
    git(&project.dir, &["read-tree", &tree], Some(&index)).map_err(in_words)?;
    let to = format!("--prefix={}/", files.display());
    // Paths of the index are those below the family's directory: they are written from there.
    let top = git(&project.dir, &["rev-parse", "--show-toplevel"], None).map_err(in_words)?;
    let top = Path::new(top.trim());
    git(
        top,
        &["checkout-index", "--all", "--force", &to],
        Some(&index),
    )
    .map_err(in_words)?;
    family(&files)
}

fn family(dir: &Path) -> Result<Family, String> {
    let files = kiln_recipe::read_family(dir).map_err(|error| error.to_string())?;
    let family = kiln_recipe::parse(&files);
    family.map_err(|errors| format!("its family has {} errors today", errors.0.len()))
}
