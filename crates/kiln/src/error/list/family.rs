//! Family files, names of images, plans.

use std::path::PathBuf;

use kiln_plan::PlanError;
use kiln_recipe::{
    ReadError, RecipeError, RecipeErrors, SelectError, edit::EditError, python_requirement,
};

use super::{Failures, at, denied, text};

pub(super) fn of_files(all: &mut Failures) {
    let file = || PathBuf::from("/family/bundles/minimal");
    let read = "kiln-recipe ReadError";
    all.add(read, ReadError::NoFamily("/family".into()));
    let (name, known) = (text("2026c"), vec![text("2026a"), text("2026b")]);
    all.add(read, ReadError::NoRelease { name, known });
    let (path, source) = (file(), denied());
    all.add(read, ReadError::Io { path, source });
    all.add(read, ReadError::Symlink(file()));
    all.add(read, ReadError::NotUtf8(file()));
    let (path, what) = (file(), text("has more than 16 MiB"));
    all.add(read, ReadError::TooMuch { path, what });
    let wrong = RecipeError {
        at: at(),
        line_text: text("requirments = []"),
        width: 4,
        message: text("unknown key `requirments`"),
        hint: Some(text("did you mean `requirements`?")),
    };
    all.add("kiln-recipe RecipeErrors", RecipeErrors(vec![wrong]));
    let select = "kiln-recipe SelectError";
    let part = || text("jupiter");
    let all_images = || vec![text("jupyter-minimal-d12-py311_1_20261122")];
    let unknown = SelectError::Unknown {
        part: part(),
        nearest: None,
        all: all_images(),
    };
    all.add(select, unknown);
    let ambiguous = SelectError::Ambiguous {
        part: part(),
        candidates: all_images(),
    };
    all.add(select, ambiguous);
    let (part, message) = (text("a["), text("unclosed character class"));
    all.add(select, SelectError::Glob { part, message });
    let plan = "kiln-plan PlanError";
    all.add(
        plan,
        PlanError::Dangling(text("set `linux/amd64 debian-12`")),
    );
    let image = || text("jupyter-minimal-d12-py311_1_20261122");
    let missing = PlanError::NoComponent {
        image: image(),
        component: text("ide/jupyter"),
    };
    all.add(plan, missing);
    let undefined = PlanError::UndefinedVariable {
        at: at().to_string(),
        variable: text("PATH"),
        missing: text("HOME"),
    };
    all.add(plan, undefined);
    let (image, layers) = (image(), 300);
    all.add(plan, PlanError::TooManyLayers { image, layers });
}

pub(super) fn of_edits(all: &mut Failures) {
    let name = || text("numpy");
    let entry = text("numpy=>2");
    let Err(cause) = python_requirement(&entry) else {
        panic!("`{entry}` is no requirement");
    };
    for error in [
        EditError::NoList {
            key: "requirements",
        },
        EditError::Requirement { entry, cause },
        EditError::Ambiguous {
            name: name(),
            entries: vec![
                text("numpy==1; python_version < '3.12'"),
                text("numpy==2; python_version >= '3.12'"),
            ],
        },
        EditError::Missing {
            name: name(),
            key: "requirements",
            near: vec![text("nump")],
        },
        EditError::NotAName {
            entry: text("numpy~=2.4"),
            name: name(),
        },
    ] {
        all.add("kiln-recipe EditError", error);
    }
}
