//! `kiln diff`: what differs between images or locks.

mod git;
mod pull;
mod side;
mod text;

use kiln_lock::{
    Held, ImageDifference, LockDifference, LockedImage, PackageDifference, compare_images,
    compare_locks, diff::PackageKind,
};
use serde_json::{Value, json};

use self::{
    pull::{Layers, Pull},
    side::Side,
};
use crate::{
    args::{Diff, DiffFormat, Global},
    error::Failure,
    exit,
    output::Output,
    project::{self, Project},
};

pub(crate) fn run(args: &Diff, global: &Global, output: &Output) -> Result<(), Failure> {
    let project = Project::open(global)?;
    let before = Side::of(&args.before, &project, args.platform)?;
    let after = match &args.after {
        Some(word) => Side::of(word, &project, args.platform)?,
        None if before.is_current => {
            let image = &args.before;
            let message = format!("`{image}` is an image of the lock as it is, and so is B");
            return Err(Failure::new(exit::USAGE, message).hint(format!(
                "name another image as B, or what it was: `kiln diff REV:{image}`"
            )));
        }
        None => Side::current(&project)?,
    };
    // A look at sizes makes no store where there is none.
    let root = project::store_root(global)?;
    let store = if root.join("oci-layout").is_file() {
        Some(project::store(global)?)
    } else {
        None
    };
    let comparison = Comparison::of(&before, &after, store.as_ref())?;
    if output.is_json() {
        output.json(&comparison.as_json());
        return Ok(());
    }
    let lines = match args.format {
        DiffFormat::Text => text::text(&comparison),
        DiffFormat::Markdown => text::markdown(&comparison),
    };
    for line in lines {
        output.line(line);
    }
    Ok(())
}

/// A package that differs in the same way in some images.
struct Change {
    package: PackageDifference,
    /// Names of the images, as they are now.
    images: Vec<String>,
}

/// Two images beside each other.
struct Row {
    from: String,
    to: String,
    same: bool,
    added: usize,
    removed: usize,
    changed: usize,
    /// None where layers cannot be compared.
    pull: Option<Pull>,
}

/// All that differs.
struct Comparison {
    before: String,
    after: String,
    changes: Vec<Change>,
    rows: Vec<Row>,
    /// Images of the second side alone.
    added: Vec<String>,
    /// Images of the first side alone.
    removed: Vec<String>,
    /// For who has all that the first side has.
    total: Option<Pull>,
    /// Why layers cannot be compared.
    note: Option<String>,
}

impl Comparison {
    fn of(before: &Side, after: &Side, store: Option<&kiln_store::Store>) -> Result<Self, Failure> {
        let one = |side: &Side| {
            side.image
                .and_then(|place| side.lock.images.get(place).cloned())
        };
        let difference = match (one(before), one(after)) {
            (None, None) => compare_locks(&before.lock, &after.lock),
            (from, to) => {
                let (from, to) = match (&from, &to) {
                    (Some(from), _) => (before.counterpart(from)?, after.counterpart(from)?),
                    (None, Some(to)) => (before.counterpart(to)?, after.counterpart(to)?),
                    (None, None) => return Ok(Self::empty(before, after)),
                };
                let images = compare_images((&before.lock, from), (&after.lock, to));
                LockDifference {
                    images: vec![images],
                    ..LockDifference::default()
                }
            }
        };
        let layers = layers(before, after, &difference, store)?;
        let (layers, note) = match layers {
            Ok(layers) => (Some(layers), None),
            Err(why) => (None, Some(why)),
        };
        let pull = |place: Option<usize>| {
            let (old, new) = layers.as_ref()?;
            Some(new.pull(place, old, place))
        };
        let rows = difference.images.iter().enumerate();
        let names = |images: &[&LockedImage]| images.iter().map(|it| it.name.clone()).collect();
        Ok(Self {
            rows: rows.map(|(place, it)| row(it, pull(Some(place)))).collect(),
            changes: changes(&difference.images),
            added: names(&difference.added),
            removed: names(&difference.removed),
            total: pull(None),
            note,
            ..Self::empty(before, after)
        })
    }

    fn empty(before: &Side, after: &Side) -> Self {
        Self {
            before: before.label.clone(),
            after: after.label.clone(),
            changes: Vec::new(),
            rows: Vec::new(),
            added: Vec::new(),
            removed: Vec::new(),
            total: None,
            note: None,
        }
    }

    fn as_json(&self) -> Value {
        let pull = |pull: &Option<Pull>| {
            pull.map(|it| {
                json!({
                    "layers": it.layers, "pulled": it.pulled, "size": it.size,
                    "estimated": it.estimated,
                })
            })
        };
        let held = |held: &Option<Held>| {
            held.as_ref().map(|it| {
                json!({
                    "version": it.version, "size": it.size, "sha256": it.sha256,
                    "component": it.component,
                })
            })
        };
        let changes = self.changes.iter().map(|change| {
            let kind = match change.package.kind {
                PackageKind::Deb => "deb",
                PackageKind::Wheel => "wheel",
            };
            json!({
                "package": change.package.name, "kind": kind, "from": held(&change.package.from),
                "to": held(&change.package.to), "images": change.images,
            })
        });
        let rows = self.rows.iter().map(|row| {
            json!({
                "from": row.from, "to": row.to, "same": row.same, "added": row.added,
                "removed": row.removed, "changed": row.changed, "pull": pull(&row.pull),
            })
        });
        json!({
            "before": self.before, "after": self.after, "packages": changes.collect::<Vec<_>>(),
            "images": rows.collect::<Vec<_>>(), "added_images": self.added,
            "removed_images": self.removed, "pull": pull(&self.total), "note": self.note,
        })
    }
}

/// The layers of both sides, the images of each in the order of the difference; or why they cannot
/// be compared.
fn layers(
    before: &Side,
    after: &Side,
    difference: &LockDifference<'_>,
    store: Option<&kiln_store::Store>,
) -> Result<Result<(Layers, Layers), String>, Failure> {
    let pairs = difference.images.iter();
    let (mut old, mut new): (Vec<_>, Vec<_>) = pairs.map(|it| (it.from, it.to)).unzip();
    old.extend(&difference.removed);
    new.extend(&difference.added);
    let of = |side: &Side, images: &[&LockedImage]| {
        let why = |why: &str| format!("the layers of {} are not known: {why}", side.label);
        match &side.family {
            Ok(family) => {
                let layers = Layers::of(family, &side.lock, images, store)?;
                Ok::<_, Failure>(layers.map_err(|error| why(&error)))
            }
            Err(error) => Ok(Err(why(error))),
        }
    };
    let (old, new) = (of(before, &old)?, of(after, &new)?);
    Ok(old.and_then(|old| Ok((old, new?))))
}

fn row(difference: &ImageDifference<'_>, pull: Option<Pull>) -> Row {
    let count = |which: fn(&PackageDifference) -> bool| {
        let packages = difference.packages.iter();
        packages.filter(|it| which(it)).count()
    };
    Row {
        from: difference.from.name.clone(),
        to: difference.to.name.clone(),
        same: difference.is_same(),
        added: count(|it| it.from.is_none()),
        removed: count(|it| it.to.is_none()),
        changed: count(|it| it.from.is_some() && it.to.is_some()),
        pull,
    }
}

/// The packages that differ, those of the same component and the same images beside each other.
fn changes(images: &[ImageDifference<'_>]) -> Vec<Change> {
    let mut changes: Vec<Change> = Vec::new();
    for image in images {
        for package in &image.packages {
            let name = image.to.name.clone();
            match changes.iter_mut().find(|change| change.package == *package) {
                Some(change) => change.images.push(name),
                None => changes.push(Change {
                    package: package.clone(),
                    images: vec![name],
                }),
            }
        }
    }
    changes.sort_by_key(|change| {
        let held = change.package.to.as_ref().or(change.package.from.as_ref());
        (
            held.map(|held| held.component.clone()),
            change.images.clone(),
            change.package.kind,
            change.package.name.clone(),
        )
    });
    changes
}
