//! `kiln why`: which requirements bring a package into images.

use std::collections::BTreeSet;

use kiln_lock::{Lock, LockedImage, Path, Root, Why, diff::PackageKind};
use kiln_recipe::{Family, near_names};
use serde_json::{Value, json};

use crate::{
    args::{self, Global},
    error::Failure,
    exit,
    output::{Output, bytes, count},
    project::{self, Project},
};

/// How many names a hint has.
const NEAR: usize = 5;

pub(crate) fn run(args: &args::Why, global: &Global, output: &Output) -> Result<(), Failure> {
    let project = Project::open(&project::of_one_release(global, &args.images)?)?;
    let lock = project.fitting_lock()?;
    let images = project.select(&lock, &args.images, args.images.is_empty())?;
    let limit = usize::from(args.paths);
    let answers = answers(&project.family, &lock, &images, &args.package, limit);
    if answers.is_empty() {
        return Err(missing(&project.family, &lock, &images, &args.package));
    }
    for (index, answer) in answers.iter().enumerate() {
        if output.is_json() {
            output.json(&as_json(answer));
            continue;
        }
        if index > 0 {
            output.line("");
        }
        for line in as_text(answer, images.len()) {
            output.line(line);
        }
    }
    Ok(())
}

/// An answer, and the images for which it is the answer.
struct Answer {
    why: Why,
    images: Vec<String>,
}

/// Images with the same answer stand together, in the order of the lock.
fn answers(
    family: &Family,
    lock: &Lock,
    images: &[&LockedImage],
    package: &str,
    limit: usize,
) -> Vec<Answer> {
    let mut answers: Vec<Answer> = Vec::new();
    let several_platforms = family.platforms.len() > 1;
    for image in images {
        let name = if several_platforms {
            format!("{} ({})", image.name, image.platform)
        } else {
            image.name.clone()
        };
        for why in kiln_lock::why(family, lock, image, package, limit) {
            match answers.iter_mut().find(|answer| answer.why == why) {
                Some(answer) => answer.images.push(name.clone()),
                None => answers.push(Answer {
                    why,
                    images: vec![name.clone()],
                }),
            }
        }
    }
    answers
}

/// That a package is in none of the images, and what may have been meant.
fn missing(family: &Family, lock: &Lock, asked: &[&LockedImage], package: &str) -> Failure {
    let others: Vec<_> = lock
        .images
        .iter()
        .filter(|image| !asked.contains(image))
        .filter(|image| !kiln_lock::why(family, lock, image, package, 1).is_empty())
        .map(|image| format!("`{}`", image.name))
        .collect();
    let message = match asked {
        [image] => format!("`{package}` is not in `{}`", image.name),
        _ if asked.len() == lock.images.len() => format!("`{package}` is in no image"),
        _ => format!(
            "`{package}` is in none of these {}",
            count(asked.len(), "image")
        ),
    };
    let failure = Failure::new(exit::NEGATIVE, message);
    if !others.is_empty() {
        return failure.hint(format!("it is in {}", others.join(", ")));
    }
    let debs = lock.debs.iter().map(|deb| deb.name.as_str());
    let wheels = lock.wheels.iter().map(|wheel| wheel.name.as_str());
    let known: BTreeSet<_> = debs.chain(wheels).collect();
    let near = near_names(package, known, NEAR);
    let near: Vec<_> = near.into_iter().map(|name| format!("`{name}`")).collect();
    match near.as_slice() {
        [] => failure,
        near => failure.hint(format!("did you mean {}?", near.join(", "))),
    }
}

fn kind(kind: PackageKind) -> &'static str {
    match kind {
        PackageKind::Deb => "OS package",
        PackageKind::Wheel => "wheel",
    }
}

fn as_text(Answer { why, images }: &Answer, asked: usize) -> Vec<String> {
    let mut lines = vec![format!(
        "{} {} ({}, {}) comes with {}",
        why.name,
        why.version,
        kind(why.kind),
        bytes(why.size),
        why.component,
    )];
    if images.len() == asked && asked > 1 {
        lines.push(format!("in all {}", count(asked, "image")));
    } else {
        lines.extend(images.iter().map(|image| format!("in {image}")));
    }
    for path in &why.paths {
        lines.extend(path_lines(path));
    }
    let paths = if why.more == 1 { "path" } else { "paths" };
    match (why.more, why.complete) {
        (0, true) => {}
        (more, true) => lines.push(format!("  and {more} more {paths}")),
        (more, false) => lines.push(format!("  and more than {more} other {paths}")),
    }
    if !why.builds.is_empty() {
        lines.push(format!("  {} built with it", builds(&why.builds)));
    }
    lines
}

fn builds(names: &[String]) -> String {
    match names {
        [name] => format!("{name} is"),
        names => format!("{} are", names.join(", ")),
    }
}

/// The root on a line, and each package after the first one level deeper.
fn path_lines(path: &Path) -> Vec<String> {
    let root = match &path.root {
        Root::Requirement { text, at, .. } => format!("  {at} requires {text}"),
        Root::Essential { base } => format!(
            "  {base} has {}, which is essential",
            path.steps.first().map_or("", |step| step.package.as_str())
        ),
    };
    let mut lines = vec![root];
    for (depth, pair) in path.steps.windows(2).enumerate() {
        let [from, to] = pair else { continue };
        let indent = "  ".repeat(depth + 2);
        let needs = to.requirement.as_ref().unwrap_or(&to.package);
        lines.push(format!(
            "{indent}{} {} requires {needs}",
            from.package, from.version
        ));
    }
    lines
}

fn as_json(Answer { why, images }: &Answer) -> Value {
    let paths: Vec<_> = why.paths.iter().map(path_as_json).collect();
    json!({
        "package": why.name,
        "kind": match why.kind { PackageKind::Deb => "deb", PackageKind::Wheel => "wheel" },
        "version": why.version, "size": why.size, "component": why.component, "images": images,
        "paths": paths, "more": why.more, "complete": why.complete, "builds": why.builds,
    })
}

fn path_as_json(path: &Path) -> Value {
    let root = match &path.root {
        Root::Requirement {
            component,
            text,
            at,
        } => json!({
            "component": component, "requirement": text, "file": at.file, "line": at.line,
            "column": at.column,
        }),
        Root::Essential { base } => json!({"component": base, "essential": true}),
    };
    let steps: Vec<_> = path
        .steps
        .iter()
        .map(|step| {
            json!({
                "package": step.package, "version": step.version, "requirement": step.requirement,
            })
        })
        .collect();
    json!({"root": root, "steps": steps})
}

#[cfg(test)]
mod tests {
    use std::path::Path as FilePath;

    use super::*;

    /// The reference family and its lock.
    fn reference() -> (Family, Lock) {
        let dir = FilePath::new(env!("CARGO_MANIFEST_DIR")).join("../../family");
        let family = kiln_recipe::parse(&kiln_recipe::read_family(&dir).unwrap()).unwrap();
        let text = std::fs::read_to_string(dir.join("kiln.lock")).unwrap();
        (family, Lock::parse(&text).unwrap())
    }

    fn step(package: &str, requirement: Option<&str>) -> kiln_lock::Step {
        kiln_lock::Step {
            package: package.to_owned(),
            version: "1.0".to_owned(),
            requirement: requirement.map(str::to_owned),
        }
    }

    fn answer(more: usize, complete: bool) -> Answer {
        let component = |text: &str| text.to_owned().try_into().unwrap();
        let at = kiln_recipe::Location {
            file: "bundles/science/bundle.toml".to_owned(),
            line: 4,
            column: 5,
        };
        let required = Path {
            root: Root::Requirement {
                component: component("bundle/science"),
                text: "uvicorn[standard]~=1.0".to_owned(),
                at,
            },
            steps: vec![
                step("uvicorn[standard]", None),
                step("httptools", Some("httptools>=0.6 ; extra == 'standard'")),
                step("six", Some("six")),
            ],
        };
        let essential = Path {
            root: Root::Essential {
                base: component("base/debian-12"),
            },
            steps: vec![step("dash", None), step("six", None)],
        };
        Answer {
            why: Why {
                kind: PackageKind::Wheel,
                name: "six".to_owned(),
                version: "1.17.0".to_owned(),
                size: 11_050,
                component: component("bundle/science"),
                paths: vec![required, essential],
                more,
                complete,
                builds: vec!["docopt".to_owned()],
            },
            images: vec!["jupyter-science".to_owned(), "runtime-science".to_owned()],
        }
    }

    #[test]
    fn paths_are_shown_from_the_requirement_on() {
        insta::assert_snapshot!(as_text(&answer(1, true), 3).join("\n"), @r"
        six 1.17.0 (wheel, 11.1 kB) comes with bundle/science
        in jupyter-science
        in runtime-science
          bundles/science/bundle.toml:4:5 requires uvicorn[standard]~=1.0
            uvicorn[standard] 1.0 requires httptools>=0.6 ; extra == 'standard'
              httptools 1.0 requires six
          base/debian-12 has dash, which is essential
            dash 1.0 requires six
          and 1 more path
          docopt is built with it
        ");
        let text = as_text(&answer(100, false), 2).join("\n");
        assert!(text.contains("\nin all 2 images\n"), "{text}");
        assert!(
            text.contains("\n  and more than 100 other paths\n"),
            "{text}"
        );
    }

    #[test]
    fn every_package_has_a_path_in_an_image_of_each_base() {
        let (family, lock) = reference();
        let mut seen = BTreeSet::new();
        for image in &lock.images {
            let closure = lock.image_closure(image);
            let debs = closure.debs.iter().map(|deb| &deb.name);
            let wheels = closure.wheels.iter().map(|wheel| &wheel.name);
            for name in debs.chain(wheels) {
                if !seen.insert((&image.base, name)) {
                    continue;
                }
                let answers = kiln_lock::why(&family, &lock, image, name, 1);
                assert!(!answers.is_empty(), "{name} in {}", image.name);
                for answer in answers {
                    assert_eq!(answer.paths.len(), 1, "{name} in {}", image.name);
                    let last = answer.paths[0].steps.last().unwrap();
                    assert_eq!(last.package, *name);
                }
            }
        }
    }

    #[test]
    fn images_with_the_same_answer_stand_together() {
        let (family, lock) = reference();
        let images: Vec<_> = lock.images.iter().collect();
        let answers = answers(&family, &lock, &images, "Jupyter_Lab", 3);
        assert!(answers.is_empty(), "another project");
        let answers = super::answers(&family, &lock, &images, "JupyterLab", 3);
        let all: usize = answers.iter().map(|answer| answer.images.len()).sum();
        let jupyter = images.iter().filter(|image| image.ide == "jupyter");
        assert_eq!(all, jupyter.count());
        assert!(answers.len() < all);
    }

    #[test]
    fn a_package_that_no_image_has_is_answered_with_near_names() {
        let (family, lock) = reference();
        let all: Vec<_> = lock.images.iter().collect();
        let failure = missing(&family, &lock, &all, "panda");
        assert_eq!(failure.code, exit::NEGATIVE);
        assert_eq!(failure.message, "`panda` is in no image");
        assert!(failure.hint.unwrap().contains("`pandas`"));
        let minimal: Vec<_> = all
            .into_iter()
            .filter(|it| it.bundle == "minimal")
            .collect();
        let failure = missing(&family, &lock, &minimal[..1], "pandas");
        assert!(failure.message.starts_with("`pandas` is not in `"));
        assert!(failure.hint.unwrap().contains("datascience"));
    }
}
