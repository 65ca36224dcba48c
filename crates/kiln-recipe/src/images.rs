//! Rules about the images of a family: each once, each with a name of its own, each possible.

use std::collections::{BTreeMap, btree_map::Entry};

use crate::{
    combine::{Impossible, names},
    matrix::ImagePlace,
    model::{Combination, Family, Location},
    name::{ImageName, MAX_NAME},
    parse::AllPlaces,
    source::Problems,
};

pub(crate) fn check(family: &Family, places: &AllPlaces, problems: &Problems) {
    let mut found = Found::default();
    let mut combinations = BTreeMap::new();
    let mut taken = BTreeMap::new();
    for (image, place) in family.images.iter().zip(&places.images) {
        if let Some(first) = combinations.insert(names(image), image.at.line) {
            let hint = format!("the other stands in line {first}");
            let message = format!("{} stands twice", subject(image, place));
            found.add(place, hint.clone(), message, || Some(hint));
            continue;
        }
        if let Some(why) = Impossible::of(family, names(image)) {
            let subject = subject(image, place);
            let message = format!("{subject} is impossible: {}", why.reason());
            let hint = || Some(why.hint(family, names(image), place.matrix));
            found.add(place, format!("impossible {}", why.at()), message, hint);
            continue;
        }
        let Some(parts) = family.image_name(image, "00000000") else {
            continue;
        };
        if let (Some(code), false) = (&parts.accelerator, family.pattern.has_accelerator()) {
            let message = format!(
                "the family's `name-pattern` has no place for `{code}`, which stands for the \
                 accelerator `{}` in names",
                image.accelerator
            );
            let hint = "put `{cuda}-` into the pattern".to_owned();
            found.add(place, hint.clone(), message, || Some(hint));
            continue;
        }
        let name = family.pattern.render(&parts);
        if name.len() > MAX_NAME {
            let message = format!(
                "the name of {} is longer than {MAX_NAME} characters",
                subject(image, place)
            );
            found.add(place, "long".to_owned(), message, || None);
        }
        match taken.entry(name) {
            Entry::Vacant(entry) => {
                entry.insert(image);
            }
            Entry::Occupied(entry) => {
                let first = entry.get();
                let message = format!(
                    "{} would have the same name as {}",
                    subject(image, place),
                    other(first, &image.at)
                );
                let key = format!("name {}", first.at);
                found.add(place, key, message, || Some(clash_hint(&parts)));
            }
        }
    }
    found.report(problems);
}

/// An image as errors at its table call it.
fn subject(image: &Combination, place: &ImagePlace) -> String {
    if place.matrix {
        format!("the image `{}`", names(image).join(", "))
    } else {
        "this image".to_owned()
    }
}

/// Another image, seen from `at`.
fn other(image: &Combination, at: &Location) -> String {
    if image.at == *at {
        format!("`{}`", names(image).join(", "))
    } else {
        format!("the one in line {}", image.at.line)
    }
}

fn clash_hint(parts: &ImageName) -> String {
    let code = parts.accelerator.as_ref();
    format!(
        "names tell images apart by IDE, bundle, Python, the base's `code` (`{}`) and the \
         accelerator's ({})",
        parts.os,
        code.map_or_else(|| "none".to_owned(), |code| format!("`{code}`"))
    )
}

/// What was found: of the images of one table that share a reason, the first speaks for all.
#[derive(Default)]
struct Found<'a> {
    order: Vec<Finding<'a>>,
    places: BTreeMap<(&'a Location, String), usize>,
}

struct Finding<'a> {
    place: &'a ImagePlace,
    message: String,
    hint: Option<String>,
    others: usize,
}

impl<'a> Found<'a> {
    fn add(
        &mut self,
        place: &'a ImagePlace,
        reason: String,
        message: String,
        hint: impl FnOnce() -> Option<String>,
    ) {
        match self.places.entry((&place.spot.at, reason)) {
            Entry::Occupied(entry) => self.order[*entry.get()].others += 1,
            Entry::Vacant(entry) => {
                entry.insert(self.order.len());
                let hint = hint();
                let others = 0;
                self.order.push(Finding {
                    place,
                    message,
                    hint,
                    others,
                });
            }
        }
    }

    fn report(self, problems: &Problems) {
        for finding in self.order {
            let more = match finding.others {
                0 => String::new(),
                1 => " (and another image of this table for the same reason)".to_owned(),
                many => format!(" (and {many} other images of this table for the same reason)"),
            };
            let message = finding.message + &more;
            problems.add(finding.place.spot.clone(), message, finding.hint);
        }
    }
}
