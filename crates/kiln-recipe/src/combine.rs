//! Which components go together: `python`, `needs` and `conflicts` against what an image has.

use crate::{
    matrix::Names4,
    model::{
        Base, Capability, Combination, Component, ComponentKind, Family, Location, PythonRange,
    },
};

/// How many combinations are tried in search of a possible one.
const MAX_TRIES: usize = 20_000;

/// The kinds of components in the order of [`Names4`].
const KINDS: [ComponentKind; 4] = [
    ComponentKind::Base,
    ComponentKind::Accelerator,
    ComponentKind::Bundle,
    ComponentKind::Ide,
];

/// The order in which kinds are changed to make an image possible, as places in [`KINDS`]: what
/// one wants to have in an image comes last.
const READINESS: [usize; 4] = [1, 0, 3, 2];

/// Why components do not go together.
pub(crate) enum Impossible<'f> {
    /// The base has another Python.
    Python(&'f Component, &'f PythonRange, &'f Base),
    /// Nothing else provides what a component needs.
    Needs(&'f Component, &'f Capability),
    /// Something else provides what a component conflicts with.
    Conflict(&'f Component, &'f Capability, &'f Component),
}

impl<'f> Impossible<'f> {
    /// The first reason in layer order why an image is impossible, if it is.
    pub(crate) fn of(family: &'f Family, image: Names4<'_>) -> Option<Self> {
        let base = family.bases.get(image[0])?;
        let components = family.components(&combination(image));
        components.iter().find_map(|component| {
            if let Some(range) = &component.python
                && !range.contains(base.python)
            {
                return Some(Self::Python(component, range, base));
            }
            let provider = |capability: &Capability| {
                let others = components.iter().filter(|it| it.id != component.id);
                let mut providers =
                    others.filter(|it| family.provides(it).contains(&capability.name));
                providers.next().copied()
            };
            let mut needs = component.needs.iter();
            if let Some(lacking) = needs.find(|it| provider(it).is_none()) {
                return Some(Self::Needs(component, lacking));
            }
            let mut conflicts = component.conflicts.iter();
            conflicts.find_map(|it| Some(Self::Conflict(component, it, provider(it)?)))
        })
    }

    /// The line that says so.
    pub(crate) fn at(&self) -> &'f Location {
        match self {
            Self::Python(_, range, _) => &range.at,
            Self::Needs(_, capability) | Self::Conflict(_, capability, _) => &capability.at,
        }
    }

    /// The reason as the end of a sentence.
    pub(crate) fn reason(&self) -> String {
        let at = self.at();
        match self {
            Self::Python(component, range, base) => format!(
                "`{}` goes with Python `{}` ({at}), and `{}` has {}",
                component.id, range.text, base.component.id, base.python
            ),
            Self::Needs(component, needed) => format!(
                "`{}` needs `{}` ({at}), which nothing else in it provides",
                component.id, needed.name
            ),
            Self::Conflict(component, refused, other) => format!(
                "`{}` conflicts with `{}` ({at}), which `{}` provides",
                component.id, refused.name, other.id
            ),
        }
    }

    /// The kinds of the components that the reason is about.
    fn concerned(&self) -> Vec<ComponentKind> {
        match self {
            Self::Python(component, ..) => vec![component.id.kind, ComponentKind::Base],
            Self::Needs(component, _) => vec![component.id.kind],
            Self::Conflict(component, _, other) => vec![component.id.kind, other.id.kind],
        }
    }

    /// What to do about it.
    pub(crate) fn hint(&self, family: &Family, image: Names4<'_>, matrix: bool) -> String {
        let nearest = nearest(family, image);
        let changed: Vec<usize> = nearest.map_or_else(Vec::new, |it| {
            (0..4).filter(|index| it[*index] != image[*index]).collect()
        });
        let advice = match nearest {
            Some(near) => {
                let phrase = |index: &usize| format!("{} `{}`", called(*index), near[*index]);
                let phrases: Vec<_> = changed.iter().map(phrase).collect();
                let phrases = phrases.join(" and ");
                let already = if matrix {
                    String::new()
                } else {
                    already(family, near)
                };
                format!("the nearest possible image has {phrases}{already}")
            }
            None => "no combination of the family's components near it is possible".to_owned(),
        };
        if !matrix {
            return advice;
        }
        let concerned = self.concerned();
        let keys = (0..4)
            .filter(|index| changed.contains(index) || concerned.contains(&KINDS[*index]))
            .map(|index| format!("{} = \"{}\"", KINDS[index], image[index]));
        let keys: Vec<_> = keys.collect();
        format!("exclude it with `{{ {} }}`; {advice}", keys.join(", "))
    }
}

/// Where an image stands, for the end of a hint; empty where it does not.
fn already(family: &Family, image: Names4<'_>) -> String {
    let same = |it: &&Combination| names(it) == image;
    match family.images.iter().find(same) {
        Some(it) => format!(", which stands in line {} already", it.at.line),
        None => String::new(),
    }
}

/// What a kind of component is called in a sentence.
fn called(index: usize) -> &'static str {
    ["base", "accelerator", "bundle", "IDE"][index]
}

/// The names of an image's components.
pub(crate) fn names(image: &Combination) -> Names4<'_> {
    [&image.base, &image.accelerator, &image.bundle, &image.ide]
}

fn combination(image: Names4<'_>) -> Combination {
    let [base, accelerator, bundle, ide] = image.map(str::to_owned);
    Combination {
        base,
        accelerator,
        bundle,
        ide,
        max_size: None,
        at: Location {
            file: String::new(),
            line: 1,
            column: 1,
        },
    }
}

/// The possible image that changes the fewest components of `image`. Of several, one that keeps
/// what one wants to have in an image, then one that the family does not have yet, then the first
/// by name.
fn nearest<'f>(family: &'f Family, image: Names4<'f>) -> Option<Names4<'f>> {
    let mut tries = 0;
    for changes in 1..=4 {
        for changed in subsets(changes) {
            let mut existing = None;
            let mut candidates = vec![image];
            for index in changed {
                let others = others(family, index, image[index]);
                let with = |name| {
                    let change = move |mut it: Names4<'f>| {
                        it[index] = name;
                        it
                    };
                    candidates.iter().copied().map(change)
                };
                candidates = others.into_iter().flat_map(with).take(MAX_TRIES).collect();
            }
            for candidate in candidates {
                tries += 1;
                if tries > MAX_TRIES {
                    return existing;
                }
                if Impossible::of(family, candidate).is_some() {
                    continue;
                }
                if !family.images.iter().any(|it| names(it) == candidate) {
                    return Some(candidate);
                }
                existing = existing.or(Some(candidate));
            }
            if existing.is_some() {
                return existing;
            }
        }
    }
    None
}

/// The sets of so many kinds, those first that one changes most readily.
fn subsets(size: u32) -> impl Iterator<Item = Vec<usize>> {
    (1_u8..16)
        .filter(move |set| set.count_ones() == size)
        .map(|set| {
            let has = |bit: &usize| set & (1 << bit) != 0;
            (0..4).filter(has).map(|bit| READINESS[bit]).collect()
        })
}

/// The other components of a kind.
fn others<'f>(family: &'f Family, index: usize, but: &str) -> Vec<&'f str> {
    let names: Vec<&String> = match KINDS[index] {
        ComponentKind::Base => family.bases.keys().collect(),
        ComponentKind::Accelerator => family.accelerators.keys().collect(),
        ComponentKind::Bundle => family.bundles.keys().collect(),
        ComponentKind::Ide => family.ides.keys().collect(),
    };
    let names = names.into_iter().map(String::as_str);
    names.filter(|name| *name != but).collect()
}
