//! Completion on the command line. The code that `kiln completions` prints makes the shell start
//! kiln again, with [`VARIABLE`] set, for the words that may stand at the cursor.

use std::ffi::OsString;

use clap::{CommandFactory as _, Parser as _};
use clap_complete::{CompleteEnv, CompletionCandidate, env::Shells};
use kiln_recipe::{ComponentId, ComponentKind};

use crate::{
    args::{Args, Global, ShellName},
    error::Failure,
    exit,
    project::{self, Project},
};

/// Set by the shell; its value is the shell's name.
const VARIABLE: &str = "KILN_COMPLETE";

/// Answers the shell, if it asks. Whether it did.
pub(crate) fn answer() -> bool {
    let here = std::env::current_dir().ok();
    CompleteEnv::with_factory(Args::command)
        .var(VARIABLE)
        .try_complete(std::env::args_os(), here.as_deref())
        // A shell that asks wrongly gets no answer: nothing may be printed into a command line.
        .unwrap_or(true)
}

/// The code that a shell reads at its start.
pub(crate) fn registration(shell: ShellName) -> Result<String, Failure> {
    let name = match shell {
        ShellName::Bash => "bash",
        ShellName::Elvish => "elvish",
        ShellName::Fish => "fish",
        ShellName::Powershell => "powershell",
        ShellName::Zsh => "zsh",
    };
    let unknown = || Failure::new(exit::INTERNAL, format!("nothing is known of {name}"));
    let shells = Shells::builtins();
    let shell = shells.completer(name).ok_or_else(unknown)?;
    let mut code = Vec::new();
    shell
        .write_registration(VARIABLE, "kiln", "kiln", "kiln", &mut code)
        .map_err(|error| Failure::io("writing the code", &error))?;
    Ok(String::from_utf8_lossy(&code).into_owned())
}

/// The images that can be built: those of the locks of all releases, or of the one on the line.
pub(crate) fn locked_images() -> Vec<CompletionCandidate> {
    let names = || {
        let global = global()?;
        let releases = match global.release {
            Some(_) => vec![global],
            None => project::releases(&global).ok()?,
        };
        // A release that cannot be read has no images to name.
        let locks = releases
            .iter()
            .filter_map(|global| Project::open(global).ok()?.read_lock().ok()?);
        let images = locks.flat_map(|lock| lock.images);
        Some(images.map(|image| image.name).collect())
    };
    candidates(names())
}

/// The packages of the family's lock.
pub(crate) fn locked_packages() -> Vec<CompletionCandidate> {
    let names = || {
        let lock = Project::open(&global()?).ok()?.read_lock().ok()??;
        let debs = lock.debs.into_iter().map(|deb| deb.name);
        let wheels = lock.wheels.into_iter().map(|wheel| wheel.name);
        Some(debs.chain(wheels).collect())
    };
    candidates(names())
}

/// The components that have a file. Bundles go without their kind.
pub(crate) fn components() -> Vec<CompletionCandidate> {
    let names = || {
        let family = Project::open(&global()?).ok()?.family;
        let components = family.all_components().into_iter();
        let edited = components.filter(|it| it.at.file.ends_with(&it.id.file()));
        let name = |id: &ComponentId| match id.kind {
            ComponentKind::Bundle => id.name.clone(),
            _ => id.to_string(),
        };
        Some(edited.map(|it| name(&it.id)).collect())
    };
    candidates(names())
}

/// The packages that components of the family name.
pub(crate) fn required_packages() -> Vec<CompletionCandidate> {
    let names = || {
        let family = Project::open(&global()?).ok()?.family;
        let components = family.all_components().into_iter();
        let names = components.flat_map(|component| {
            let python = component.requirements.iter();
            let python = python.map(|it| it.parsed.name.to_string());
            python.chain(component.os_packages.iter().map(|it| it.name.clone()))
        });
        Some(names.collect())
    };
    candidates(names())
}

/// The images of the store.
pub(crate) fn stored_images() -> Vec<CompletionCandidate> {
    let names = || {
        let global = global()?;
        // Opening a store makes it where there is none.
        if !project::store_root(&global)
            .ok()?
            .join("oci-layout")
            .is_file()
        {
            return None;
        }
        let images = project::store(&global).ok()?.images().ok()?;
        Some(images.into_iter().map(|image| image.name).collect())
    };
    candidates(names())
}

fn candidates(names: Option<Vec<String>>) -> Vec<CompletionCandidate> {
    let mut names = names.unwrap_or_default();
    names.sort_unstable();
    names.dedup();
    names.into_iter().map(CompletionCandidate::new).collect()
}

/// The options of all commands: those of the line so far, and the environment.
fn global() -> Option<Global> {
    let words = std::env::args_os().skip_while(|word| word != "--").skip(1);
    let args = Args::try_parse_from(options(words)).ok()?;
    Some(args.global)
}

/// A whole command line with the options of `words` that say where family and store are, and which
/// release is meant.
fn options(words: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut line: Vec<OsString> = ["kiln", "images"].map(OsString::from).into();
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let text = word.to_string_lossy();
        if ["--family", "--store", "--release"].contains(&&*text) {
            let value = words.next();
            line.extend([word].into_iter().chain(value));
        } else if ["--family=", "--store=", "--release="]
            .iter()
            .any(|option| text.starts_with(option))
        {
            line.push(word);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_family_and_store_are_is_read_from_the_line() {
        let words = [
            "kiln",
            "build",
            "--family",
            "a b",
            "-v",
            "--store=/s",
            "--release",
            "1",
            "jup",
        ];
        let line = options(words.map(OsString::from));
        let expected = [
            "kiln",
            "images",
            "--family",
            "a b",
            "--store=/s",
            "--release",
            "1",
        ];
        assert_eq!(line, expected);
        // The value is being typed.
        assert_eq!(options(["--family".into()]), ["kiln", "images", "--family"]);
    }
}
