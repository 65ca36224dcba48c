//! A comparison for people.

use kiln_lock::Held;
use kiln_recipe::ComponentId;

use super::{Change, Comparison, Pull, Row};
use crate::{
    output::{bytes, count},
    table::{self, Align},
};

/// So many images are named where packages of them differ; of more the number is said.
const NAMED: usize = 3;

/// Packages of one component that differ in the same images.
struct Group<'a> {
    component: &'a ComponentId,
    images: &'a [String],
    changes: Vec<&'a Change>,
}

fn groups(comparison: &Comparison) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for change in &comparison.changes {
        let held = change.package.to.as_ref().or(change.package.from.as_ref());
        let Some(held) = held else { continue };
        match groups.last_mut() {
            Some(group) if *group.component == held.component && group.images == change.images => {
                group.changes.push(change);
            }
            _ => groups.push(Group {
                component: &held.component,
                images: &change.images,
                changes: vec![change],
            }),
        }
    }
    groups
}

/// What differs between the versions: `1.0 → 1.1`, `+`, `-`; and between the sizes.
fn versions(change: &Change) -> (&'static str, String, String) {
    let version = |held: &Held| held.version.clone();
    match (&change.package.from, &change.package.to) {
        (Some(from), Some(to)) if from.version == to.version => (
            "~",
            format!("{} (another file)", to.version),
            sizes(from, to),
        ),
        (Some(from), Some(to)) => (
            "~",
            format!("{} → {}", from.version, to.version),
            sizes(from, to),
        ),
        (Some(from), None) => ("-", version(from), bytes(from.size)),
        (None, Some(to)) => ("+", version(to), bytes(to.size)),
        (None, None) => ("", String::new(), String::new()),
    }
}

fn sizes(from: &Held, to: &Held) -> String {
    let (from, to) = (bytes(from.size), bytes(to.size));
    if from == to {
        to
    } else {
        format!("{from} → {to}")
    }
}

fn pulled(pull: Option<Pull>) -> [String; 2] {
    let Some(pull) = pull else {
        return ["?".to_owned(), "?".to_owned()];
    };
    let about = if pull.estimated { "~" } else { "" };
    [
        format!("{} of {}", pull.pulled, pull.layers),
        format!("{about}{}", bytes(pull.size)),
    ]
}

fn packages(row: &Row) -> String {
    match (row.added, row.removed, row.changed) {
        (0, 0, 0) if row.same => "the same".to_owned(),
        (0, 0, 0) => "configuration".to_owned(),
        (added, removed, changed) => [("+", added), ("-", removed), ("~", changed)]
            .iter()
            .filter(|(_, number)| *number > 0)
            .map(|(sign, number)| format!("{sign}{number}"))
            .collect::<Vec<_>>()
            .join(" "),
    }
}

/// The image, and what it was when it had another name.
fn name(row: &Row) -> String {
    if row.from == row.to {
        row.to.clone()
    } else {
        format!("{} → {}", row.from, row.to)
    }
}

fn total(comparison: &Comparison) -> Option<String> {
    let pull = comparison.total?;
    let [layers, size] = pulled(Some(pull));
    let note = if pull.estimated {
        " (~: layers that are not built count as their packages)"
    } else {
        ""
    };
    Some(format!(
        "who has {} pulls {layers} layers, {size}, for {}{note}",
        comparison.before, comparison.after
    ))
}

/// For terminals.
pub(super) fn text(comparison: &Comparison) -> Vec<String> {
    let mut lines = Vec::new();
    for group in groups(comparison) {
        let images = match group.images {
            images if images.len() == comparison.rows.len() && images.len() > 1 => {
                format!("all {}", count(images.len(), "image"))
            }
            // The table below says which.
            images if images.len() > NAMED => {
                format!(
                    "{} of {}",
                    images.len(),
                    count(comparison.rows.len(), "image")
                )
            }
            images => images.join(", "),
        };
        lines.push(format!("{}: {images}", group.component));
        let rows = group.changes.iter().map(|change| {
            let (sign, version, size) = versions(change);
            let name = format!("  {sign} {}", change.package.name);
            vec![name, version, size]
        });
        let rows: Vec<_> = rows.collect();
        lines.extend(table::lines(
            &[Align::Left, Align::Left, Align::Left],
            &rows,
        ));
        lines.push(String::new());
    }
    for (sign, names) in [("+", &comparison.added), ("-", &comparison.removed)] {
        lines.extend(names.iter().map(|name| format!("{sign} image {name}")));
    }
    if !(comparison.added.is_empty() && comparison.removed.is_empty()) {
        lines.push(String::new());
    }
    let head = ["image", "packages", "layers to pull", "bytes to pull"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(comparison.rows.iter().map(|row| {
        let [layers, size] = pulled(row.pull);
        vec![name(row), packages(row), layers, size]
    }));
    if rows.len() > 1 {
        let [left, right] = [Align::Left, Align::Right];
        lines.extend(table::lines(&[left, left, right, right], &rows));
    }
    lines.extend(total(comparison));
    lines.extend(comparison.note.iter().map(|note| format!("note: {note}")));
    lines
}

/// For release notes.
pub(super) fn markdown(comparison: &Comparison) -> Vec<String> {
    let mut lines = vec![format!("# {} → {}", comparison.before, comparison.after)];
    let table = |lines: &mut Vec<String>, head: &[&str], rows: Vec<Vec<String>>| {
        lines.push(String::new());
        lines.push(format!("| {} |", head.join(" | ")));
        lines.push(format!("|{}", "---|".repeat(head.len())));
        lines.extend(rows.iter().map(|row| format!("| {} |", row.join(" | "))));
    };
    for group in groups(comparison) {
        lines.push(String::new());
        lines.push(format!("## {}", group.component));
        lines.push(String::new());
        lines.extend(group.images.iter().map(|image| format!("- {image}")));
        let rows = group.changes.iter().map(|change| {
            let (sign, version, size) = versions(change);
            let what = match sign {
                "+" => "new",
                "-" => "gone",
                _ => "changed",
            };
            vec![change.package.name.clone(), what.to_owned(), version, size]
        });
        table(
            &mut lines,
            &["package", "what", "version", "archive"],
            rows.collect(),
        );
    }
    let images = [("new", &comparison.added), ("gone", &comparison.removed)];
    let images = images
        .iter()
        .flat_map(|(what, names)| names.iter().map(|name| (name.clone(), (*what).to_owned())));
    let rows = comparison
        .rows
        .iter()
        .map(|row| (name(row), packages(row), row.pull));
    let rows = rows.chain(images.map(|(name, what)| (name, what, None)));
    let rows: Vec<_> = rows
        .map(|(name, what, pull)| {
            let [layers, size] = pulled(pull);
            vec![name, what, layers, size]
        })
        .collect();
    if !rows.is_empty() {
        lines.push(String::new());
        lines.push("## Images".to_owned());
        table(
            &mut lines,
            &["image", "packages", "layers to pull", "bytes to pull"],
            rows,
        );
    }
    for line in total(comparison).into_iter().chain(comparison.note.clone()) {
        lines.push(String::new());
        lines.push(line);
    }
    lines
}

#[cfg(test)]
mod tests {
    use kiln_digest::Digest;
    use kiln_lock::{PackageDifference, diff::PackageKind};

    use super::*;

    fn held(component: &str, version: &str, size: u64) -> Held {
        Held {
            version: version.to_owned(),
            size,
            sha256: Digest::of(version.as_bytes()),
            component: component.to_owned().try_into().unwrap(),
        }
    }

    fn change(name: &str, from: Option<Held>, to: Option<Held>, images: &[&str]) -> Change {
        Change {
            package: PackageDifference {
                kind: PackageKind::Wheel,
                name: name.to_owned(),
                from,
                to,
            },
            images: images.iter().map(|&it| it.to_owned()).collect(),
        }
    }

    fn row(from: &str, to: &str, counts: (usize, usize, usize), pulled: usize) -> Row {
        Row {
            from: from.to_owned(),
            to: to.to_owned(),
            same: from == to,
            added: counts.0,
            removed: counts.1,
            changed: counts.2,
            pull: Some(Pull {
                layers: 20,
                pulled,
                size: pulled as u64 * 1_500_000,
                estimated: pulled > 1,
            }),
        }
    }

    fn comparison() -> Comparison {
        let science = |version: &str, size| Some(held("bundle/science", version, size));
        let both = ["lab-science_2", "science_2"];
        Comparison {
            before: "v1".to_owned(),
            after: "`kiln.lock` as it is".to_owned(),
            changes: vec![
                change(
                    "numpy",
                    science("2.4.0", 16_000_000),
                    science("2.4.1", 16_500_000),
                    &both,
                ),
                change("pandas", None, science("3.0", 12_000_000), &both),
                change(
                    "tornado",
                    Some(held("ide/lab", "6.5", 447_000)),
                    None,
                    &["lab-science_2"],
                ),
                change(
                    "six",
                    Some(held("ide/lab", "1.0", 11_000)),
                    Some(held("ide/lab", "1.0", 11_000)),
                    &["lab-science_2"],
                ),
            ],
            rows: vec![
                row("lab-science_1", "lab-science_2", (1, 1, 2), 4),
                row("science_1", "science_2", (1, 0, 1), 2),
                row("other_1", "other_1", (0, 0, 0), 0),
                row("plain_1", "plain_2", (0, 0, 0), 0),
            ],
            added: vec!["new_1".to_owned()],
            removed: vec!["old_1".to_owned()],
            total: Some(Pull {
                layers: 80,
                pulled: 5,
                size: 7_500_000,
                estimated: true,
            }),
            note: None,
        }
    }

    #[test]
    fn for_terminals() {
        insta::assert_snapshot!(text(&comparison()).join("\n"), @r"
        bundle/science: lab-science_2, science_2
          ~ numpy   2.4.0 → 2.4.1  16.0 MB → 16.5 MB
          + pandas  3.0            12.0 MB

        ide/lab: lab-science_2
          - tornado  6.5                 447.0 kB
          ~ six      1.0 (another file)  11.0 kB

        + image new_1
        - image old_1

        image                          packages       layers to pull  bytes to pull
        lab-science_1 → lab-science_2  +1 -1 ~2              4 of 20        ~6.0 MB
        science_1 → science_2          +1 ~1                 2 of 20        ~3.0 MB
        other_1                        the same              0 of 20            0 B
        plain_1 → plain_2              configuration         0 of 20            0 B
        who has v1 pulls 5 of 80 layers, ~7.5 MB, for `kiln.lock` as it is (~: layers that are not built count as their packages)
        ");
    }

    #[test]
    fn for_release_notes() {
        insta::assert_snapshot!(markdown(&comparison()).join("\n"), @r"
        # v1 → `kiln.lock` as it is

        ## bundle/science

        - lab-science_2
        - science_2

        | package | what | version | archive |
        |---|---|---|---|
        | numpy | changed | 2.4.0 → 2.4.1 | 16.0 MB → 16.5 MB |
        | pandas | new | 3.0 | 12.0 MB |

        ## ide/lab

        - lab-science_2

        | package | what | version | archive |
        |---|---|---|---|
        | tornado | gone | 6.5 | 447.0 kB |
        | six | changed | 1.0 (another file) | 11.0 kB |

        ## Images

        | image | packages | layers to pull | bytes to pull |
        |---|---|---|---|
        | lab-science_1 → lab-science_2 | +1 -1 ~2 | 4 of 20 | ~6.0 MB |
        | science_1 → science_2 | +1 ~1 | 2 of 20 | ~3.0 MB |
        | other_1 | the same | 0 of 20 | 0 B |
        | plain_1 → plain_2 | configuration | 0 of 20 | 0 B |
        | new_1 | new | ? | ? |
        | old_1 | gone | ? | ? |

        who has v1 pulls 5 of 80 layers, ~7.5 MB, for `kiln.lock` as it is (~: layers that are not built count as their packages)
        ");
    }

    #[test]
    fn layers_that_are_not_known_are_not_invented() {
        let mut comparison = comparison();
        for row in &mut comparison.rows {
            row.pull = None;
        }
        comparison.total = None;
        comparison.note = Some("the layers of v1 are not known: why".to_owned());
        let text = text(&comparison).join("\n");
        assert!(
            text.ends_with("\nnote: the layers of v1 are not known: why"),
            "{text}"
        );
        let same = text.lines().find(|line| line.starts_with("other_1"));
        let same: Vec<_> = same.unwrap().split_whitespace().collect();
        assert_eq!(same, ["other_1", "the", "same", "?", "?"]);
    }
}
