//! A page with a treemap of an image's directories: one file, without scripts and without anything
//! from elsewhere. The same facts stand in lists below the map, for who cannot see it.

use std::fmt::Write as _;

use kiln_build::{Bytes, Tree};

use super::{
    Sizes, sum,
    treemap::{Area, squarified},
};
use crate::output::bytes;

/// The map, in its own units; browsers scale it.
const MAP: Area = Area {
    x: 0.0,
    y: 0.0,
    width: 1200.0,
    height: 720.0,
};
/// The height of a directory's label, and the least width and height of what has one.
const LABEL: f64 = 15.0;
const LABELLED: (f64, f64) = (44.0, 18.0);
/// Rectangles of less are not drawn.
const SMALLEST: f64 = 3.0;
/// In lists, directories of less than one part in so many are left out.
const LISTED: u64 = 400;

const STYLE: &str = "
:root { color-scheme: light dark; font: 15px/1.45 system-ui, sans-serif; }
body { margin: 1.5rem auto; max-width: 1240px; padding: 0 1rem; }
svg { display: block; width: 100%; height: auto; }
rect { stroke: #fff; stroke-width: 1; }
rect:hover { stroke: #000; stroke-width: 2; }
text { font: 11px system-ui, sans-serif; fill: #111; pointer-events: none; }
table { border-collapse: collapse; margin: 0.5rem 0; }
td, th { padding: 0.1rem 0.8rem 0.1rem 0; text-align: left; }
td + td, th + th { text-align: right; font-variant-numeric: tabular-nums; }
ul { margin: 0; padding-left: 1.2rem; list-style: none; }
";

/// Colours of the directories below the root: light, so that black text can be read on them.
const HUES: [u16; 8] = [210, 30, 130, 280, 60, 340, 180, 0];

/// The page.
pub(super) fn page(sizes: &Sizes) -> String {
    let total = sizes.anatomy.tree.bytes;
    let name = escaped(&sizes.image);
    let mut out = String::new();
    let _ = write!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>{name}: sizes</title>\n\
         <style>{STYLE}</style>\n</head>\n<body>\n<h1>{name}</h1>\n\
         <p>{} compressed, {} unpacked, {} layers. Areas are unpacked bytes.</p>\n",
        bytes(total.compressed),
        bytes(total.unpacked),
        sizes.layers.unwrap_or_default(),
    );
    map(&sizes.anatomy.tree, &mut out);
    out.push_str("<h2>Components and packages</h2>\n");
    for (component, packages) in &sizes.anatomy.components {
        let _ = write!(
            out,
            "<details><summary>{}: {}</summary>\n<table><tr><th scope=\"col\">package</th>\
             <th scope=\"col\">compressed</th><th scope=\"col\">unpacked</th></tr>\n",
            escaped(component),
            both(sum(packages.values())),
        );
        let mut packages: Vec<_> = packages.iter().collect();
        packages.sort_by(|a, b| (b.1.unpacked, a.0).cmp(&(a.1.unpacked, b.0)));
        for (package, size) in packages {
            let _ = writeln!(
                out,
                "<tr><td>{}</td><td>{}</td><td>{}</td></tr>",
                escaped(package),
                bytes(size.compressed),
                bytes(size.unpacked),
            );
        }
        out.push_str("</table></details>\n");
    }
    out.push_str("<h2>Directories</h2>\n");
    list(&sizes.anatomy.tree, total.unpacked / LISTED, &mut out);
    out.push_str("</body>\n</html>\n");
    out
}

fn both(size: Bytes) -> String {
    format!(
        "{} compressed, {} unpacked",
        bytes(size.compressed),
        bytes(size.unpacked)
    )
}

fn map(tree: &Tree, out: &mut String) {
    let Area { width, height, .. } = MAP;
    let _ = writeln!(
        out,
        "<svg viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"Map of the image's \
         directories; the list below has the same sizes\">"
    );
    for (index, (name, child, area)) in placed(tree, MAP).into_iter().enumerate() {
        let hue = HUES[index % HUES.len()];
        node(&format!("/{name}"), name, child, area, (hue, 0), out);
    }
    out.push_str("</svg>\n");
}

/// The children of a directory with their areas, the largest first.
fn placed(tree: &Tree, area: Area) -> Vec<(&str, &Tree, Area)> {
    let mut children: Vec<_> = tree.children.iter().collect();
    children.sort_by(|a, b| (b.1.bytes.unpacked, a.0).cmp(&(a.1.bytes.unpacked, b.0)));
    let shares: Vec<f64> = children.iter().map(|(_, it)| share(it)).collect();
    let areas = squarified(&shares, area);
    let children = children.into_iter().zip(areas);
    children
        .map(|((name, child), area)| (name.as_str(), child, area))
        .collect()
}

#[expect(
    clippy::cast_precision_loss,
    reason = "what is drawn is as wide as a pixel"
)]
fn share(tree: &Tree) -> f64 {
    tree.bytes.unpacked as f64
}

fn node(
    path: &str,
    name: &str,
    tree: &Tree,
    area: Area,
    (hue, depth): (u16, u16),
    out: &mut String,
) {
    if area.width < SMALLEST || area.height < SMALLEST {
        return;
    }
    let light = 66 + 5 * depth.min(5);
    let _ = writeln!(
        out,
        "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" \
         fill=\"hsl({hue} 55% {light}%)\"><title>{}: {}</title></rect>",
        area.x,
        area.y,
        area.width,
        area.height,
        escaped(path),
        both(tree.bytes),
    );
    let labelled = area.width >= LABELLED.0 && area.height >= LABELLED.1;
    if labelled {
        let _ = writeln!(
            out,
            "<text x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            area.x + 4.0,
            area.y + 12.0,
            escaped(&fitting(name, area.width)),
        );
    }
    let head = if labelled { LABEL } else { 1.0 };
    let inner = Area {
        x: area.x + 2.0,
        y: area.y + head,
        width: area.width - 4.0,
        height: area.height - head - 2.0,
    };
    for (name, child, area) in placed(tree, inner) {
        let path = format!("{path}/{name}");
        node(&path, name, child, area, (hue, depth + 1), out);
    }
}

/// As much of a name as fits: letters are about 6.5 units wide.
fn fitting(name: &str, width: f64) -> String {
    let mut room = width - 8.0;
    let fits = |_: &char| {
        room -= 6.5;
        room >= 0.0
    };
    name.chars().take_while(fits).collect()
}

fn list(tree: &Tree, least: u64, out: &mut String) {
    let children = tree.children.iter();
    let children = children.filter(|(_, it)| !it.children.is_empty() && it.bytes.unpacked > least);
    let mut children: Vec<_> = children.collect();
    if children.is_empty() {
        return;
    }
    children.sort_by(|a, b| (b.1.bytes.unpacked, a.0).cmp(&(a.1.bytes.unpacked, b.0)));
    out.push_str("<ul>\n");
    for (name, child) in children {
        let _ = writeln!(
            out,
            "<li><details><summary>{}: {}</summary>",
            escaped(name),
            both(child.bytes)
        );
        list(child, least, out);
        out.push_str("</details></li>\n");
    }
    out.push_str("</ul>\n");
}

/// Text of HTML.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            c if c.is_control() => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use kiln_build::Anatomy;

    use super::*;

    fn tree(unpacked: u64, children: Vec<(&str, Tree)>) -> Tree {
        Tree {
            bytes: Bytes {
                compressed: unpacked / 2,
                unpacked,
            },
            children: children
                .into_iter()
                .map(|(name, tree)| (name.to_owned(), tree))
                .collect(),
        }
    }

    #[test]
    fn a_page_needs_nothing_else_and_no_name_breaks_it() {
        let evil = tree(700, vec![("<script>\"&\n", tree(700, vec![]))]);
        let sizes = Sizes {
            image: "runtime-a".to_owned(),
            layers: Some(2),
            anatomy: Anatomy {
                components: Vec::new(),
                tree: tree(1000, vec![("usr", evil), ("opt", tree(300, vec![]))]),
            },
        };
        let page = page(&sizes);
        assert_eq!(page, super::page(&sizes));
        for foreign in ["<script", "http", "src=", "href=", "@import", "url("] {
            assert!(!page.contains(foreign), "{foreign}");
        }
        assert!(page.contains("<title>/usr/&lt;script&gt;&quot;&amp;\u{fffd}: 350 B compressed"));
        // The list has what the map has.
        assert!(page.contains("<summary>usr: 350 B compressed, 700 B unpacked</summary>"));
    }
}
