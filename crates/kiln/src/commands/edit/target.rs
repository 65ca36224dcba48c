//! Which component is meant, where its file is, and how a new text of it is written.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{MetadataExt as _, fchown},
    path::PathBuf,
};

use kiln_recipe::{
    Component, ComponentId, ComponentKind, Family, FamilyFiles, RELEASES, near_names,
};

use crate::{
    args::Global,
    error::Failure,
    exit,
    project::Project,
    whole_file::{self, Whole},
};

/// How many names a hint has.
const NEAR: usize = 5;

/// A component, and its file.
pub(super) struct Target {
    pub(super) project: Project,
    pub(super) id: ComponentId,
    /// The file as errors name it, relative to the family's directory.
    pub(super) place: String,
    pub(super) text: String,
    files: FamilyFiles,
    /// The file itself, where links lead.
    real: PathBuf,
    /// Every path by which the family knows it.
    paths: Vec<String>,
}

impl Target {
    /// Finds what `word` means in the family that the options name.
    pub(super) fn open(global: &Global, word: &str) -> Result<Self, Failure> {
        let (project, files) = Project::open_with_files(global)?;
        let id = find(&project.family, word)?.id.clone();
        let path = id.file();
        let place = files.place(&path).to_owned();
        let Some(text) = project.family.texts.get(&place).cloned() else {
            let message = format!("{id} has no file");
            return Err(Failure::new(exit::USAGE, message).hint(format!("make `{path}`")));
        };
        if let Some(release) = project.own_release().filter(|_| place == path) {
            return Err(shared(&path, release));
        }
        let real = |place: &str| {
            let path = project.dir.join(place);
            let real = path.canonicalize();
            real.map_err(|error| Failure::io(&format!("finding `{}`", path.display()), &error))
        };
        let file = real(&place)?;
        let mut paths = Vec::new();
        for known in files.files.keys() {
            if real(files.place(known))? == file {
                paths.push(known.clone());
            }
        }
        Ok(Self {
            project,
            id,
            place,
            text,
            files,
            real: file,
            paths,
        })
    }

    /// The project as it is with another text.
    pub(super) fn with(&self, text: &str) -> Result<Project, Failure> {
        let mut files = self.files.clone();
        for path in &self.paths {
            files.files.insert(path.clone(), text.into());
        }
        self.project.with_files(&files)
    }

    /// Whether an image has the component.
    pub(super) fn is_used(&self) -> bool {
        let mut requests = kiln_lock::requests(&self.project.family).into_iter();
        requests.any(|request| request.component == self.id)
    }

    /// A new text, to be put into the file's place. It has the file's mode, and where that is
    /// allowed its owner.
    pub(super) fn prepare(&self, text: &str) -> Result<Whole, Failure> {
        let failed =
            |error: io::Error| Failure::io(&format!("writing `{}`", self.real.display()), &error);
        // A file that may not be written is not replaced either.
        let old = OpenOptions::new().append(true).open(&self.real);
        let old = old.and_then(|file| file.metadata()).map_err(failed)?;
        let content = |file: &mut File| -> io::Result<()> {
            file.write_all(text.as_bytes())?;
            file.set_permissions(old.permissions())?;
            // Only root may give files away.
            let _ = fchown(file, Some(old.uid()), Some(old.gid()));
            Ok(())
        };
        let made = whole_file::prepare(&self.real, |file, _| content(file).map_err(failed));
        Ok(made?.0)
    }

    /// Refuses to replace a file that is not what was read any more.
    pub(super) fn check_unchanged(&self) -> Result<(), Failure> {
        if fs::read(&self.real).is_ok_and(|bytes| bytes == self.text.as_bytes()) {
            return Ok(());
        }
        let message = format!("`{}` was changed meanwhile; nothing is written", self.place);
        Err(Failure::new(exit::RECIPE, message).hint("do it again"))
    }

    /// Other releases that have this file from the family.
    pub(super) fn sharing(&self) -> Result<Vec<String>, Failure> {
        let path = self.id.file();
        let own = kiln_recipe::releases(&self.project.dir)?.into_iter();
        let has_own = |name: &String| {
            let release = self.project.dir.join(RELEASES).join(name);
            release.join(&path).exists()
        };
        Ok(own
            .filter(|name| self.place == path && !has_own(name))
            .collect())
    }
}

/// That a release has a file from the family, so that an edit would change others as well.
fn shared(path: &str, release: &str) -> Failure {
    let message = format!("release `{release}` has no `{path}` of its own");
    Failure::new(exit::USAGE, message).hint(format!(
        "to change it there alone, `cp --parents {path} {RELEASES}/{release}/` in the family's \
         directory; without `--release`, the family's file is edited"
    ))
}

/// The component that a word means: a bundle's name, `KIND/NAME`, or a name that one component has.
fn find<'f>(family: &'f Family, word: &str) -> Result<&'f Component, Failure> {
    let all = family.all_components();
    let is_meant = |component: &&&Component| {
        let id = &component.id;
        id.to_string() == word || id.name == word
    };
    let found: Vec<_> = all.iter().filter(is_meant).copied().collect();
    let bundle = found.iter().find(|it| it.id.kind == ComponentKind::Bundle);
    match (bundle, found.as_slice()) {
        (Some(one), _) | (None, [one]) => Ok(*one),
        (None, []) => {
            let names: Vec<_> = all.iter().map(|it| it.id.to_string()).collect();
            let short = all.iter().map(|it| it.id.name.as_str());
            let known = names.iter().map(String::as_str).chain(short);
            let failure = Failure::new(exit::USAGE, format!("there is no component `{word}`"));
            let near = quoted(near_names(word, known, NEAR));
            if near.is_empty() {
                return Err(failure.hint(format!("there are {}", quoted(names.iter()))));
            }
            Err(failure.hint(format!("did you mean {near}?")))
        }
        (None, several) => {
            let message = format!("`{word}` may mean {} components", several.len());
            let names: Vec<_> = several.iter().map(|it| it.id.to_string()).collect();
            Err(Failure::new(exit::USAGE, message).hint(format!("say {}", quoted(names.iter()))))
        }
    }
}

fn quoted<'n>(names: impl IntoIterator<Item = impl AsRef<str> + 'n>) -> String {
    let names = names.into_iter();
    let names: Vec<_> = names.map(|name| format!("`{}`", name.as_ref())).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn reference() -> Family {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../family");
        kiln_recipe::parse(&kiln_recipe::read_family(&dir).unwrap()).unwrap()
    }

    fn meant(word: &str) -> Result<String, String> {
        let family = reference();
        let found = find(&family, word).map(|it| it.id.to_string());
        found.map_err(|it| format!("{}: {}", it.message, it.hint.unwrap_or_default()))
    }

    #[test]
    fn a_component_is_meant_by_its_name_or_with_its_kind() {
        assert_eq!(meant("datascience").unwrap(), "bundle/datascience");
        assert_eq!(meant("bundle/datascience").unwrap(), "bundle/datascience");
        assert_eq!(meant("jupyter").unwrap(), "ide/jupyter");
        assert_eq!(meant("debian-12").unwrap(), "base/debian-12");
    }

    #[test]
    fn what_no_component_is_called_is_answered_with_near_names() {
        let error = meant("datascienc").unwrap_err();
        assert!(
            error.starts_with("there is no component `datascienc`: did you mean `datascience`")
        );
        let error = meant("ide/jupiter").unwrap_err();
        assert!(error.ends_with("did you mean `ide/jupyter`?"), "{error}");
        let error = meant("xyzzy").unwrap_err();
        assert!(error.contains("there are `base/debian-12`, "), "{error}");
    }

    #[test]
    fn a_bundle_comes_before_other_components_of_its_name() {
        let mut family = reference();
        let ide = family.ides["jupyter"].clone();
        let renamed = |name: &str| {
            let mut ide = ide.clone();
            ide.component.id.name = name.to_owned();
            ide
        };
        for name in ["cuda-13", "datascience"] {
            family.ides.insert(name.to_owned(), renamed(name));
        }
        let bundle = find(&family, "datascience").unwrap();
        assert_eq!(bundle.id.kind, ComponentKind::Bundle);
        let failure = find(&family, "cuda-13").unwrap_err();
        assert_eq!(failure.code, exit::USAGE);
        assert_eq!(
            failure.hint.unwrap(),
            "say `accelerator/cuda-13`, `ide/cuda-13`"
        );
    }
}
