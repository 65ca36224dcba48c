//! `[[image]]`: each key is a name or a list of names, and the table stands for every combination
//! of them that it does not exclude.

use crate::{
    component::names_once,
    error::suggest,
    family::{Names, known},
    model::{Combination, ComponentKind, SizeLimit},
    reader::{Table, Text},
    size,
    source::Spot,
};

/// The most images of a family.
pub(crate) const MAX_IMAGES: usize = 4096;
/// The most comparisons of names for the exclusions of a table.
const MAX_COMPARISONS: usize = 1 << 24;

/// The keys of a table in the order in which it is expanded, with what they name, what they name
/// when they are not there, and what they are called.
const AXES: [(&str, ComponentKind, Option<&str>, &str); 4] = [
    ("base", ComponentKind::Base, None, "bases"),
    (
        "accelerator",
        ComponentKind::Accelerator,
        Some("cpu"),
        "accelerators",
    ),
    ("bundle", ComponentKind::Bundle, None, "bundles"),
    ("ide", ComponentKind::Ide, Some("runtime"), "IDEs"),
];

/// Where an image is declared.
#[derive(Debug, Clone)]
pub(crate) struct ImagePlace {
    /// Its table.
    pub(crate) spot: Spot,
    /// Whether the table declares others, too.
    pub(crate) matrix: bool,
}

/// The names of an image's components, in the order of [`AXES`].
pub(crate) type Names4<'a> = [&'a str; 4];

/// Reads a table. `room` is how many images the family may still have.
pub(crate) fn read(
    mut table: Table<'_>,
    names: &Names<'_>,
    room: usize,
) -> Vec<(Combination, ImagePlace)> {
    let spot = table.source.spot(&table.span());
    let axes = AXES.map(|(key, kind, default, _)| axis(&mut table, key, kind, default, names));
    let max_size = size::limit(&mut table);
    let tables = table.tables("exclude").into_iter();
    let read = tables.map(|exclusion| self::exclusion(exclusion, &axes, names));
    let exclusions: Vec<_> = read.collect();
    let [Some(bases), Some(accelerators), Some(bundles), Some(ides)] = &axes else {
        table.finish();
        return Vec::new();
    };
    let lists = [bases, accelerators, bundles, ides];
    let product = lists
        .iter()
        .try_fold(1_usize, |product, list| product.checked_mul(list.len()));
    let compared: usize = exclusions.iter().flatten().map(Exclusion::names).sum();
    let comparisons = product.and_then(|product| product.checked_mul(compared));
    if compared > 0 && comparisons.is_none_or(|it| it > MAX_COMPARISONS) {
        table.error(
            "this table has too many combinations to exclude some of them",
            Some("make several tables of it".to_owned()),
        );
        table.finish();
        return Vec::new();
    }
    let excluded = |image: &Names4<'_>| exclusions.iter().flatten().any(|it| it.excludes(image));
    let images: Vec<_> = expand(lists)
        .filter(|image| !excluded(image))
        .take(room + 1)
        .map(|image| combination(image, max_size.as_ref(), &spot))
        .collect();
    if images.len() > room {
        table.error(
            format!("with the images of this table the family has more than {MAX_IMAGES}"),
            None,
        );
        table.finish();
        return Vec::new();
    }
    if images.is_empty() {
        table.error(
            "the exclusions of this table leave no image",
            Some("remove the table, or exclude less".to_owned()),
        );
    }
    table.finish();
    let matrix = product != Some(1);
    let place = ImagePlace { spot, matrix };
    images.into_iter().map(|it| (it, place.clone())).collect()
}

/// The names that a key lists; `None` after an error.
fn axis(
    table: &mut Table<'_>,
    key: &'static str,
    kind: ComponentKind,
    default: Option<&str>,
    names: &Names<'_>,
) -> Option<Vec<String>> {
    let texts = match (table.has(key), default) {
        (false, Some(default)) => {
            table.one_or_more(key);
            return Some(vec![default.to_owned()]);
        }
        (false, None) => {
            table.required(key);
            return None;
        }
        (true, _) => table.one_or_more(key)?,
    };
    let listed = names_once(texts, key);
    let known: Vec<_> = listed
        .iter()
        .filter_map(|text| known(text, kind, names))
        .collect();
    (known.len() == listed.len()).then_some(known)
}

/// Images that a table does not stand for: those that have one of the names under every key.
struct Exclusion([Option<Vec<String>>; 4]);

impl Exclusion {
    /// How many names it has to compare with.
    fn names(&self) -> usize {
        self.0.iter().flatten().map(Vec::len).sum()
    }

    fn excludes(&self, image: &Names4<'_>) -> bool {
        self.0.iter().zip(image).all(|(names, name)| {
            names
                .as_ref()
                .is_none_or(|names| names.iter().any(|it| it == name))
        })
    }
}

/// Reads an exclusion. What none of the table's images has is an error: nothing is excluded so.
fn exclusion(
    mut table: Table<'_>,
    axes: &[Option<Vec<String>>; 4],
    names: &Names<'_>,
) -> Option<Exclusion> {
    let mut fine = AXES.iter().any(|(key, ..)| table.has(key));
    if table.is_empty() {
        table.error(
            "an exclusion says which images the table does not stand for",
            Some("`base`, `accelerator`, `bundle` or `ide`, or several of them".to_owned()),
        );
    }
    let mut excluded = [const { None }; 4];
    for (index, (key, kind, _, many)) in AXES.into_iter().enumerate() {
        if !table.has(key) {
            table.one_or_more(key);
            continue;
        }
        let texts = names_once(table.one_or_more(key).unwrap_or_default(), key);
        fine &= !texts.is_empty();
        if let Some(listed) = &axes[index] {
            let unlisted = texts.iter().filter(|it| !listed.contains(&it.value));
            for text in unlisted {
                fine = false;
                if known(text, kind, names).is_some() {
                    nothing_excluded(text, key, listed, many);
                }
            }
        }
        excluded[index] = Some(texts.into_iter().map(|text| text.value).collect());
    }
    table.finish();
    fine.then_some(Exclusion(excluded))
}

fn nothing_excluded(text: &Text<'_>, key: &str, listed: &[String], many: &str) {
    let names = listed.iter().map(String::as_str);
    text.error(
        format!(
            "nothing is excluded: no image of this table has the {} `{}`",
            if key == "ide" { "IDE" } else { key },
            text.value
        ),
        suggest(&text.value, &format!("{many} of the table"), names),
    );
}

/// Every combination, the last list running fastest.
fn expand([a, b, c, d]: [&Vec<String>; 4]) -> impl Iterator<Item = Names4<'_>> {
    a.iter().flat_map(move |a| {
        b.iter().flat_map(move |b| {
            c.iter()
                .flat_map(move |c| d.iter().map(move |d| [a.as_str(), b, c, d]))
        })
    })
}

fn combination(image: Names4<'_>, max_size: Option<&SizeLimit>, spot: &Spot) -> Combination {
    let [base, accelerator, bundle, ide] = image.map(str::to_owned);
    Combination {
        base,
        accelerator,
        bundle,
        ide,
        max_size: max_size.cloned(),
        at: spot.at.clone(),
    }
}
