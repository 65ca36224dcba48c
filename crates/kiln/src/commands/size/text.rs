//! Sizes as bars, as wide as the terminal allows.

use kiln_build::{Bytes, Tree};

use super::{Sizes, sum};
use crate::output::{bytes, shortened};

/// The widest and the narrowest bar.
const BARS: (usize, usize) = (40, 10);
/// Directories that hold less than one part in so many are left out.
const SMALLEST: u64 = 40;
/// How deep directories are shown.
const DEPTH: usize = 8;

pub(super) fn lines(sizes: &Sizes, packages: usize, width: usize) -> Vec<String> {
    let total = sizes.anatomy.tree.bytes;
    let mut lines = vec![match sizes.layers {
        Some(layers) => format!(
            "{}: {} compressed, {} unpacked, {layers} layers",
            sizes.image,
            bytes(total.compressed),
            bytes(total.unpacked),
        ),
        None => format!("{}: {} of packages", sizes.image, bytes(total.compressed)),
    }];
    let components = &sizes.anatomy.components;
    let rows = components
        .iter()
        .map(|(name, packages)| (name.clone(), sum(packages.values())));
    table(&mut lines, "component", rows.collect(), total, width);
    let mut all: Vec<(String, Bytes)> = components
        .iter()
        .flat_map(|(_, packages)| packages.iter())
        .map(|(name, bytes)| (name.clone(), *bytes))
        .collect();
    all.sort_by(|a, b| (b.1.compressed, &a.0).cmp(&(a.1.compressed, &b.0)));
    let rest = all.split_off(packages.min(all.len()));
    if !rest.is_empty() {
        let name = format!("{} others", rest.len());
        all.push((name, sum(rest.iter().map(|(_, bytes)| bytes))));
    }
    table(&mut lines, "package", all, total, width);
    let mut rows = Vec::new();
    directories(&sizes.anatomy.tree, 0, total.unpacked / SMALLEST, &mut rows);
    if !rows.is_empty() {
        table(&mut lines, "directory", rows, total, width);
    }
    lines
}

/// Directories that hold much, each below its parent; one that has nothing but another directory
/// stands on one line with it.
fn directories(tree: &Tree, depth: usize, least: u64, rows: &mut Vec<(String, Bytes)>) {
    let large = tree.children.iter();
    let large = large.filter(|(_, child)| child.bytes.unpacked > least);
    let mut large: Vec<_> = large.filter(|(_, it)| !it.children.is_empty()).collect();
    large.sort_by(|a, b| (b.1.bytes.unpacked, a.0).cmp(&(a.1.bytes.unpacked, b.0)));
    for (name, mut child) in large {
        let mut path = format!("/{name}");
        while let Some((name, only)) = child.children.first_key_value()
            && child.children.len() == 1
            && !only.children.is_empty()
        {
            path = format!("{path}/{name}");
            child = only;
        }
        rows.push((format!("{}{path}", "  ".repeat(depth)), child.bytes));
        if depth + 1 < DEPTH {
            directories(child, depth + 1, least, rows);
        }
    }
}

fn table(
    lines: &mut Vec<String>,
    head: &str,
    rows: Vec<(String, Bytes)>,
    total: Bytes,
    width: usize,
) {
    // Two numbers of ten and nine characters, and blanks between all.
    let numbers = 10 + 9 + 3 * 2;
    let longest = rows.iter().map(|(name, _)| name.chars().count()).max();
    let longest = longest.unwrap_or(0).max(head.len());
    let names = longest.min(width.saturating_sub(numbers + BARS.1).max(head.len()));
    let bars = width.saturating_sub(numbers + names).clamp(BARS.1, BARS.0);
    let line = |name: &str, compressed: &str, unpacked: &str, bar: &str| {
        let line = format!("{name:<names$}  {compressed:>10}  {unpacked:>9}  {bar}");
        line.trim_end().to_owned()
    };
    // Where nothing is built, nothing is unpacked.
    let is_built = total.unpacked > 0;
    lines.push(String::new());
    let unpacked = if is_built { "unpacked" } else { "" };
    let compressed = if is_built { "compressed" } else { "archive" };
    lines.push(line(head, compressed, unpacked, ""));
    for (name, size) in rows {
        let share = if is_built {
            (size.unpacked, total.unpacked)
        } else {
            (size.compressed, total.compressed)
        };
        let unpacked = if is_built {
            bytes(size.unpacked)
        } else {
            String::new()
        };
        lines.push(line(
            &shortened(&name, names),
            &bytes(size.compressed),
            &unpacked,
            &bar(share.0, share.1, bars),
        ));
    }
}

/// A bar in eighths of a character.
fn bar(part: u64, total: u64, width: usize) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = u128::from(part) * (width as u128) * 8;
    let eighths = eighths.checked_div(u128::from(total)).unwrap_or_default();
    let eighths = usize::try_from(eighths).unwrap_or(width * 8).min(width * 8);
    format!("{}{}", "█".repeat(eighths / 8), EIGHTHS[eighths % 8])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use kiln_build::Anatomy;

    use super::*;

    fn of(compressed: u64, unpacked: u64) -> Bytes {
        Bytes {
            compressed,
            unpacked,
        }
    }

    fn dir(children: &[(&str, Tree)]) -> Tree {
        let children: BTreeMap<_, _> = children
            .iter()
            .map(|(name, tree)| ((*name).to_owned(), tree.clone()))
            .collect();
        Tree {
            bytes: sum(children.values().map(|tree| &tree.bytes)),
            children,
        }
    }

    fn file(unpacked: u64) -> Tree {
        Tree {
            bytes: of(unpacked / 3, unpacked),
            children: BTreeMap::new(),
        }
    }

    fn sample() -> Sizes {
        let packages = |list: &[(&str, u64)]| {
            let packages = list.iter();
            packages
                .map(|&(name, unpacked)| (name.to_owned(), of(unpacked / 3, unpacked)))
                .collect()
        };
        let site = dir(&[
            ("numpy", dir(&[("core.so", file(60_000_000))])),
            ("six.py", file(30_000)),
        ]);
        Sizes {
            image: "runtime-science".to_owned(),
            layers: Some(4),
            anatomy: Anatomy {
                components: vec![
                    (
                        "base/debian-12".to_owned(),
                        packages(&[("libc6", 12_000_000), ("bash", 18_000_000)]),
                    ),
                    (
                        "bundle/science".to_owned(),
                        packages(&[("numpy", 60_000_000), ("six", 30_000)]),
                    ),
                ],
                tree: dir(&[
                    ("opt", dir(&[("lib", dir(&[("site-packages", site)]))])),
                    (
                        "usr",
                        dir(&[
                            ("bin", dir(&[("bash", file(18_000_000))])),
                            ("lib", dir(&[("libc.so", file(12_000_000))])),
                        ]),
                    ),
                ]),
            },
        }
    }

    #[test]
    fn bars_fit_the_terminal() {
        insta::assert_snapshot!(lines(&sample(), 2, 72).join("\n"), @r"
        runtime-science: 30.0 MB compressed, 90.0 MB unpacked, 4 layers

        component       compressed   unpacked
        base/debian-12     10.0 MB    30.0 MB  ██████████▉
        bundle/science     20.0 MB    60.0 MB  ██████████████████████

        package   compressed   unpacked
        numpy        20.0 MB    60.0 MB  █████████████████████████▉
        bash          6.0 MB    18.0 MB  ███████▊
        2 others      4.0 MB    12.0 MB  █████▏

        directory               compressed   unpacked
        /opt/lib/site-packages     20.0 MB    60.0 MB  ████████████████▋
          /numpy                   20.0 MB    60.0 MB  ████████████████▋
        /usr                       10.0 MB    30.0 MB  ████████▎
          /bin                      6.0 MB    18.0 MB  ████▉
          /lib                      4.0 MB    12.0 MB  ███▎
        ");
        for width in [20, 60, 80, 200] {
            let lines = lines(&sample(), 15, width);
            let widest = lines[1..].iter().map(|line| line.chars().count()).max();
            assert!(widest.unwrap() <= width.max(60), "{width}: {lines:#?}");
        }
    }

    #[test]
    fn what_is_not_built_has_sizes_of_archives() {
        let mut sizes = sample();
        sizes.layers = None;
        sizes.anatomy.tree = Tree {
            bytes: of(30_010_000, 0),
            children: BTreeMap::new(),
        };
        let text = lines(&sizes, 15, 80).join("\n");
        assert!(text.contains("\npackage     archive\n"), "{text}");
        assert!(
            !text.contains("unpacked") && !text.contains("directory"),
            "{text}"
        );
    }

    #[test]
    fn bars_are_as_long_as_their_share() {
        assert_eq!(bar(1, 2, 10), "█████");
        assert_eq!(bar(1, 16, 10), "▋");
        assert_eq!(bar(0, 1, 10), "");
        assert_eq!(bar(3, 3, 2), "██");
        assert_eq!(bar(3, 0, 2), "");
    }
}
