//! What went wrong, for people and for scripts. The one place that gives exit codes to errors.

#[cfg(test)]
mod list;
#[cfg(test)]
mod words;

use std::{error::Error, path::Path};

use kiln_build::{BuildError, ExecuteError, LibraryError, is_full};
use kiln_fetch::FetchError;
use kiln_layer::LayerError;
use kiln_lock::{LockError, Stale};
use kiln_oci::{ArchiveError, ImageError, SavedError};
use kiln_plan::PlanError;
use kiln_recipe::{ReadError, RecipeErrors, SelectError, edit::EditError};
use kiln_resolve::{ResolveError, python::PythonError};
use kiln_sandbox::SandboxError;
use kiln_store::StoreError;
use serde_json::json;

use crate::exit;

/// Why a command failed.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The exit code.
    pub(crate) code: u8,
    /// What failed: fits after `error: `.
    pub(crate) message: String,
    /// Why, outermost first.
    pub(crate) causes: Vec<String>,
    /// What to do about it.
    pub(crate) hint: Option<String>,
    /// Whole reports that stand above the message, such as places in family files.
    pub(crate) details: Vec<String>,
    /// The images that are not built because of it, where others are.
    pub(crate) images: Box<[String]>,
}

impl Failure {
    pub(crate) fn new(code: u8, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            causes: vec![],
            hint: None,
            details: vec![],
            images: Box::default(),
        }
    }

    /// The failure as one that concerns these images and not the whole command.
    pub(crate) fn of_images(mut self, images: impl IntoIterator<Item = String>) -> Self {
        self.images = images.into_iter().collect();
        self
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    fn of(code: u8, error: &dyn Error, hint: Option<String>) -> Self {
        let mut causes = Vec::new();
        let mut next = error.source();
        while let Some(cause) = next {
            causes.push(cause.to_string());
            next = cause.source();
        }
        Self {
            code,
            message: error.to_string(),
            causes,
            hint,
            details: vec![],
            images: Box::default(),
        }
    }

    pub(crate) fn io(doing: &str, error: &std::io::Error) -> Self {
        Self {
            causes: vec![error.to_string()],
            ..Self::new(exit::STORAGE, doing)
        }
    }

    /// Lints have found errors, which stand above.
    pub(crate) fn lints(errors: usize) -> Self {
        let errors = crate::output::count(errors, "error");
        Self::new(exit::NEGATIVE, format!("lints have found {errors}")).hint(
            "mend what they name, or waive it with a reason: `[[waive]]` in `kiln.toml` or in the \
             component's file",
        )
    }

    pub(crate) fn lock(path: &Path, error: &LockError) -> Self {
        let failure = Self::of(exit::RECIPE, error, error.hint());
        Self {
            message: format!("`{}` cannot be used", path.display()),
            causes: std::iter::once(failure.message)
                .chain(failure.causes)
                .collect(),
            ..failure
        }
    }

    pub(crate) fn as_json(&self) -> serde_json::Value {
        let mut value = json!({
            "event": "failed", "code": self.code, "message": self.message,
            "causes": self.causes, "hint": self.hint, "details": self.details,
        });
        if !self.images.is_empty() {
            value["event"] = "image-failed".into();
            value["images"] = self.images.to_vec().into();
        }
        value
    }
}

impl From<RecipeErrors> for Failure {
    fn from(errors: RecipeErrors) -> Self {
        let details: Vec<_> = errors.0.iter().map(ToString::to_string).collect();
        let message = match details.len() {
            1 => "the family has 1 error".to_owned(),
            count => format!("the family has {count} errors"),
        };
        Self {
            details,
            ..Self::new(exit::RECIPE, message)
        }
    }
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        Self::of(exit::RECIPE, &error, error.hint())
    }
}

impl From<SelectError> for Failure {
    fn from(error: SelectError) -> Self {
        Self::of(exit::USAGE, &error, error.hint())
    }
}

impl From<EditError> for Failure {
    fn from(error: EditError) -> Self {
        Self::of(exit::USAGE, &error, error.hint())
    }
}

impl From<Stale> for Failure {
    fn from(stale: Stale) -> Self {
        let details = vec![stale.to_string()];
        let hint = stale.hint();
        Self {
            hint,
            details,
            ..Self::new(exit::RECIPE, "the lock does not fit the family")
        }
    }
}

impl From<PlanError> for Failure {
    fn from(error: PlanError) -> Self {
        Self::of(exit::RECIPE, &error, error.hint())
    }
}

impl From<FetchError> for Failure {
    fn from(error: FetchError) -> Self {
        Self::of(fetch_code(&error), &error, error.hint())
    }
}

fn fetch_code(error: &FetchError) -> u8 {
    if error.is_integrity() {
        exit::INTEGRITY
    } else if matches!(error, FetchError::Disk { .. }) {
        exit::STORAGE
    } else if matches!(error, FetchError::Cancelled) {
        exit::INTERRUPTED
    } else {
        exit::NETWORK
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::of(exit::STORAGE, &error, error.hint())
    }
}

impl From<LibraryError> for Failure {
    fn from(error: LibraryError) -> Self {
        let code = if error.is_of_archive() {
            exit::INTEGRITY
        } else {
            exit::STORAGE
        };
        Self::of(code, &error, error.hint())
    }
}

impl From<ImageError> for Failure {
    fn from(error: ImageError) -> Self {
        Self::of(exit::INTEGRITY, &error, error.hint())
    }
}

impl From<SavedError> for Failure {
    fn from(error: SavedError) -> Self {
        let code = match &error {
            SavedError::Read { .. } => exit::STORAGE,
            SavedError::NotALayout(_) | SavedError::NoImage { .. } => exit::USAGE,
            _ => exit::INTEGRITY,
        };
        Self::of(code, &error, error.hint())
    }
}

impl From<ArchiveError> for Failure {
    fn from(error: ArchiveError) -> Self {
        let code = match &error {
            ArchiveError::Write { source, .. }
                if source.kind() == std::io::ErrorKind::InvalidData =>
            {
                exit::INTEGRITY
            }
            ArchiveError::NotALayout(_) => exit::USAGE,
            _ => exit::STORAGE,
        };
        Self::of(code, &error, error.hint())
    }
}

impl From<ExecuteError> for Failure {
    fn from(error: ExecuteError) -> Self {
        let printed = match &error {
            ExecuteError::Sandbox(error) => last_output(error),
            _ => vec![],
        };
        Self {
            details: printed,
            ..Self::of(execute_code(&error), &error, room(&error).or(error.hint()))
        }
    }
}

impl From<SandboxError> for Failure {
    fn from(error: SandboxError) -> Self {
        Self {
            details: last_output(&error),
            ..Self::of(sandbox_code(&error), &error, room(&error).or(error.hint()))
        }
    }
}

/// How to make room, if a full disk is what failed.
fn room(error: &(dyn Error + 'static)) -> Option<String> {
    is_full(error).then(|| {
        "the disk of the store is full: free some space (`kiln store gc`), or set KILN_HOME to a \
         directory on another one; what is finished is kept"
            .to_owned()
    })
}

fn sandbox_code(error: &SandboxError) -> u8 {
    match error {
        _ if is_full(error) => exit::STORAGE,
        SandboxError::Cancelled => exit::INTERRUPTED,
        _ => exit::SANDBOX,
    }
}

/// The last lines that a failed command printed.
fn last_output(error: &SandboxError) -> Vec<String> {
    match error {
        SandboxError::CommandFailed { tail, .. } if !tail.is_empty() => vec![tail.join("\n")],
        _ => vec![],
    }
}

fn execute_code(error: &ExecuteError) -> u8 {
    match error {
        _ if is_full(error) => exit::STORAGE,
        ExecuteError::Format(_) | ExecuteError::Path(_) => exit::USAGE,
        ExecuteError::Merge(_) => exit::RECIPE,
        ExecuteError::Layer(LayerError::Write(_)) | ExecuteError::Blob(_) => exit::STORAGE,
        ExecuteError::Sandbox(error) => sandbox_code(error),
        ExecuteError::ForeignPlatform(_) => exit::SANDBOX,
        _ => exit::INTEGRITY,
    }
}

impl From<BuildError> for Failure {
    fn from(error: BuildError) -> Self {
        let code = match &error {
            BuildError::Fetch(error) => fetch_code(error),
            BuildError::Step { source, .. } => execute_code(source),
            BuildError::FamilyFile { .. } | BuildError::Plan(_) | BuildError::Conflict { .. } => {
                exit::RECIPE
            }
            BuildError::Store(_) => exit::STORAGE,
            BuildError::Image(_)
            | BuildError::Layer { .. }
            | BuildError::NotRepeatable { .. }
            | BuildError::Unreproducible { .. } => exit::INTEGRITY,
            BuildError::Interrupted => exit::INTERRUPTED,
            _ => exit::INTERNAL,
        };
        let mut failure = Self::of(code, &error, room(&error).or(error.hint()));
        if let BuildError::Step { key, source, .. } = &error
            && let ExecuteError::Sandbox(error) = source.as_ref()
        {
            failure.details = last_output(error);
            if let SandboxError::CommandFailed { state: Some(_), .. } = error {
                let shell = format!("`kiln debug {}` opens a shell where it failed", key.short());
                failure.hint.get_or_insert(shell);
            }
        }
        failure
    }
}

impl From<ResolveError> for Failure {
    fn from(error: ResolveError) -> Self {
        let error = match build_failure(error) {
            Ok(failure) => return failure,
            Err(error) => error,
        };
        // A source that fails is no matter of versions, however deep it lies.
        let mut next = error.source();
        let mut fetch = None;
        while let Some(cause) = next {
            // A boxed cause is a type of its own.
            let boxed = || cause.downcast_ref::<Box<FetchError>>().map(AsRef::as_ref);
            fetch = fetch
                .or_else(|| cause.downcast_ref::<FetchError>())
                .or_else(boxed);
            next = cause.source();
        }
        let code = match (&error, fetch) {
            (_, Some(fetch)) => fetch_code(fetch),
            (ResolveError::Archives { .. }, None) => exit::INTEGRITY,
            _ => exit::RESOLUTION,
        };
        Self::of(code, &error, error.hint())
    }
}

/// A wheel that could not be built while a family was locked is as much a failed build as one
/// that cannot be built later.
fn build_failure(error: ResolveError) -> Result<Failure, ResolveError> {
    let ResolveError::Python { set, cause } = error else {
        return Err(error);
    };
    match *cause {
        PythonError::Build {
            project,
            file,
            cause,
        } => {
            let inner = match cause.cause.downcast::<BuildError>() {
                Ok(error) => Failure::from(*error),
                Err(other) => Failure::of(exit::RESOLUTION, other.as_ref(), None),
            };
            let mut hints = Vec::new();
            if inner.code == exit::SANDBOX && !inner.details.is_empty() {
                hints.push(format!(
                    "when a compiler, a header or a module is missing: `[from-source.{project}]` \
                     names OS packages in `packages` and build requirements in `requirements`"
                ));
            }
            hints.extend(cause.hint.or(inner.hint));
            Ok(Failure {
                code: inner.code,
                message: format!("no wheel can be built of {file}, which `{set}` needs"),
                causes: std::iter::once(inner.message).chain(inner.causes).collect(),
                hint: (!hints.is_empty()).then(|| hints.join("; ")),
                details: inner.details,
                images: Box::default(),
            })
        }
        other => Err(ResolveError::Python {
            set,
            cause: Box::new(other),
        }),
    }
}
