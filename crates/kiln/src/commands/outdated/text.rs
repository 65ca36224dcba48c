//! The table of `kiln outdated`.

use kiln_resolve::newer::{Holder, Newer};

use crate::{
    output::shortened,
    table::{Align, lines},
};

const TITLES: [&str; 6] = [
    "package", "locked", "allowed", "newest", "images", "held by",
];

/// For terminals.
pub(super) fn table(found: &[Newer], asked: usize) -> Vec<String> {
    if found.is_empty() {
        return Vec::new();
    }
    let mut rows = vec![TITLES.map(str::to_owned).to_vec()];
    rows.extend(found.iter().map(|it| row(it, asked)));
    let mut columns = [Align::Left; 6];
    columns[4] = Align::Right;
    lines(&columns, &rows)
}

/// For issues and merge requests.
pub(super) fn markdown(found: &[Newer], asked: usize) -> Vec<String> {
    let line = |cells: &[String]| format!("| {} |", cells.join(" | "));
    let mut lines = vec![
        line(&TITLES.map(str::to_owned)),
        "| --- | --- | --- | --- | ---: | --- |".to_owned(),
    ];
    let escaped = |cell: String| cell.replace('|', "\\|");
    let rows = found.iter().map(|it| row(it, asked));
    lines.extend(rows.map(|row| line(&row.into_iter().map(escaped).collect::<Vec<_>>())));
    lines
}

fn row(it: &Newer, asked: usize) -> Vec<String> {
    let mut why: Vec<String> = Vec::new();
    if let Some(reason) = &it.yanked {
        // A reason may have many lines.
        let reason = reason.split_whitespace().collect::<Vec<_>>().join(" ");
        why.push(match reason.as_str() {
            "" => "yanked".to_owned(),
            reason => format!("yanked: {}", shortened(reason, 60)),
        });
    }
    if it.gone {
        why.push("gone".to_owned());
    }
    match it.held_by.as_slice() {
        [] => {}
        [one] => why.push(holder(one)),
        [first, others @ ..] => {
            why.push(format!("{} and {} more", holder(first), others.len()));
        }
    }
    let images = match it.images.len() {
        all if all == asked => "all".to_owned(),
        some => some.to_string(),
    };
    let same = |version: &String, than: &String| {
        if version == than {
            String::new()
        } else {
            version.clone()
        }
    };
    vec![
        it.name.clone(),
        it.locked.clone(),
        same(&it.allowed, &it.locked),
        same(&it.newest, &it.locked),
        images,
        why.join("; "),
    ]
}

/// What holds a version back, without what matters less: markers, and the rest of long lists of extras.
fn holder(holder: &Holder) -> String {
    let short = |requirement: &str| {
        let said = requirement.split_once(';').map_or(requirement, |it| it.0);
        shortened(said.trim_end(), 60)
    };
    match holder {
        Holder::Family {
            requirement, at, ..
        } => format!("{at} {}", short(requirement)),
        Holder::Wheel {
            name,
            version,
            requirement,
        } => format!("{name} {version} requires {}", short(requirement)),
        Holder::Python { requires } => format!("it requires Python {requires}"),
        Holder::NoWheel { target } => format!("it has no wheel for {target}"),
    }
}

#[cfg(test)]
mod tests {
    use kiln_lock::diff::PackageKind;
    use kiln_recipe::{ComponentId, ComponentKind, Location};

    use super::*;

    fn found() -> Vec<Newer> {
        let newer = |name: &str, versions: [&str; 3], held_by: Vec<Holder>| Newer {
            kind: PackageKind::Wheel,
            name: name.to_owned(),
            source: "pypi".to_owned(),
            locked: versions[0].to_owned(),
            allowed: versions[1].to_owned(),
            newest: versions[2].to_owned(),
            held_by,
            yanked: None,
            gone: false,
            direct: false,
            images: vec!["runtime-a".to_owned(), "jupyter-a".to_owned()],
        };
        let family = Holder::Family {
            component: ComponentId {
                kind: ComponentKind::Bundle,
                name: "science".to_owned(),
            },
            requirement: "numpy~=2.4.0".to_owned(),
            at: Location {
                file: "bundles/science/bundle.toml".to_owned(),
                line: 9,
                column: 5,
            },
        };
        let wheel = Holder::Wheel {
            name: "botocore".to_owned(),
            version: "1.42.1".to_owned(),
            requirement: "urllib3<2 ; python_version < '3.14'".to_owned(),
        };
        let no_wheel = Holder::NoWheel {
            target: "Python 3.11 on linux/amd64 with glibc 2.36".to_owned(),
        };
        let python = Holder::Python {
            requires: ">=3.12".to_owned(),
        };
        let mut withdrawn = newer("six", ["1.17.0", "1.17.0", "1.17.0"], Vec::new());
        withdrawn.yanked = Some("wrong\n  licence | see #1".to_owned());
        withdrawn.images.pop();
        let mut gone = newer("libc6", ["2.36-9", "2.36-10", "2.36-10"], Vec::new());
        gone.gone = true;
        vec![
            newer("numpy", ["2.4.0", "2.4.1", "2.5.0"], vec![family, python]),
            newer("urllib3", ["1.26.0", "1.26.0", "2.5.0"], vec![wheel]),
            newer("polars", ["1.0", "1.0", "1.1"], vec![no_wheel]),
            withdrawn,
            gone,
        ]
    }

    #[test]
    fn a_table_says_what_is_newer_and_what_holds_it_back() {
        insta::assert_snapshot!(table(&found(), 2).join("\n"), @r"
        package  locked  allowed  newest   images  held by
        numpy    2.4.0   2.4.1    2.5.0       all  bundles/science/bundle.toml:9:5 numpy~=2.4.0 and 1 more
        urllib3  1.26.0           2.5.0       all  botocore 1.42.1 requires urllib3<2
        polars   1.0              1.1         all  it has no wheel for Python 3.11 on linux/amd64 with glibc 2.36
        six      1.17.0                         1  yanked: wrong licence | see #1
        libc6    2.36-9  2.36-10  2.36-10     all  gone
        ");
        assert!(table(&[], 2).is_empty());
    }

    #[test]
    fn a_table_in_markdown_keeps_its_columns() {
        let lines = markdown(&found(), 3);
        insta::assert_snapshot!(lines.join("\n"), @r"
        | package | locked | allowed | newest | images | held by |
        | --- | --- | --- | --- | ---: | --- |
        | numpy | 2.4.0 | 2.4.1 | 2.5.0 | 2 | bundles/science/bundle.toml:9:5 numpy~=2.4.0 and 1 more |
        | urllib3 | 1.26.0 |  | 2.5.0 | 2 | botocore 1.42.1 requires urllib3<2 |
        | polars | 1.0 |  | 1.1 | 2 | it has no wheel for Python 3.11 on linux/amd64 with glibc 2.36 |
        | six | 1.17.0 |  |  | 1 | yanked: wrong licence \| see #1 |
        | libc6 | 2.36-9 | 2.36-10 | 2.36-10 | 2 | gone |
        ");
    }
}
