//! The steps that compile Python modules ahead.

use std::collections::{BTreeMap, BTreeSet};

use kiln_lock::{Deb, Wheel};
use kiln_recipe::{Component, PythonVersion};

use crate::{
    action::{Bytecode, Kind, PackBytecode, PackDebs, PlacedFile, Placement},
    draft::{Context, Draft, archives, deb_input, sorted},
};

impl Context<'_> {
    /// The step that packs the interpreter of a base and all that it depends on, and nothing else:
    /// what else the base brings must not compile every module anew. None where nothing is
    /// compiled, or where no OS package is the interpreter.
    pub(crate) fn runtime(&self, base: &Component, debs: &[&Deb]) -> Option<Draft> {
        if self.options.pack_only || !self.options.bytecode {
            return None;
        }
        let interpreter = format!("python{}", self.placement.python);
        let debs = sorted(&closure(&interpreter, debs)?);
        let kind = Kind::PackDebs(PackDebs {
            usr_merge: self.usr_merge.clone(),
            links: true,
            debs: archives(&debs),
            winners: BTreeMap::new(),
        });
        let title = format!("Python {} to compile with", self.placement.python);
        let inputs = debs.iter().map(|deb| deb_input(deb)).collect();
        let draft = self.layer(base, title, kind, inputs, "");
        Some(Draft {
            history: None,
            ..draft
        })
    }

    /// The steps that compile the modules of `wheels`, and that of the layer which holds them.
    pub(crate) fn bytecode(
        &self,
        component: &Component,
        wheels: &[&Wheel],
        of: &str,
        runtime: &Draft,
    ) -> Vec<Draft> {
        let mut drafts: Vec<_> = wheels
            .iter()
            .zip(archives(wheels))
            .map(|(wheel, archive)| {
                let kind = Kind::Bytecode(Bytecode {
                    runtime: runtime.key,
                    executable: self.executable(),
                    placement: self.placement.clone(),
                    wheel: archive,
                });
                let title = format!("compile {} {}", wheel.name, wheel.version);
                let draft = self.layer(component, title, kind, vec![self.wheel(wheel)], "");
                Draft {
                    history: None,
                    ..draft
                }
            })
            .collect();
        let mut parts: Vec<_> = drafts.iter().map(|draft| draft.key).collect();
        parts.sort();
        let winner = |(path, package): (String, String)| {
            path.strip_suffix(".py")?;
            let position = wheels.iter().position(|wheel| wheel.name == package)?;
            Some((path, drafts[position].key))
        };
        let winners = self.winners(component).into_iter();
        let several = wheels.len() > 1;
        let kind = Kind::PackBytecode(PackBytecode {
            placement: self.placement.clone(),
            parts,
            winners: winners.filter(|_| several).filter_map(winner).collect(),
        });
        let title = format!("compiled modules of {of}");
        drafts.push(self.layer(component, title.clone(), kind, Vec::new(), &title));
        drafts
    }

    /// The compiled modules that `files` of the family put out of date if they replace files of
    /// packages: compiled modules are not compared with their sources.
    pub(crate) fn replaced_modules(&self, files: &[PlacedFile]) -> Vec<String> {
        if self.options.pack_only || !self.options.bytecode {
            return Vec::new();
        }
        let Placement { prefix, python, .. } = &self.placement;
        let packages = format!("{prefix}/lib/python{python}/site-packages/");
        let is_placed = |path: &String| files.iter().any(|file| file.to == *path);
        let mut removed: Vec<_> = files
            .iter()
            .filter(|file| file.to.starts_with(&packages))
            .filter_map(|file| compiled(&file.to, *python))
            .filter(|path| !is_placed(path))
            .collect();
        removed.sort();
        removed
    }
}

/// Where the compiled form of `source`, an absolute path, is, if Python compiles it (PEP 3147).
fn compiled(source: &str, python: PythonVersion) -> Option<String> {
    let (directory, file) = source.rsplit_once('/')?;
    let stem = file.strip_suffix(".py")?;
    let PythonVersion { major, minor } = python;
    Some(format!(
        "{directory}/__pycache__/{stem}.cpython-{major}{minor}.pyc"
    ))
}

/// A package and all that it depends on, of `debs`.
fn closure<'a>(name: &str, debs: &[&'a Deb]) -> Option<Vec<&'a Deb>> {
    let by_name: BTreeMap<&str, &Deb> = debs.iter().map(|deb| (deb.name.as_str(), *deb)).collect();
    let mut seen = BTreeSet::new();
    let mut open = vec![*by_name.get(name)?];
    let mut found = Vec::new();
    while let Some(deb) = open.pop() {
        if seen.insert(&deb.id) {
            found.push(deb);
            open.extend(
                deb.depends
                    .iter()
                    .filter_map(|name| by_name.get(name.as_str())),
            );
        }
    }
    Some(found)
}
