//! Which requirements hold for each Python project of an image: those of the family, and those of
//! the image's wheels.

use std::collections::{BTreeMap, BTreeSet};

use kiln_recipe::{
    ComponentId, Family,
    pep508_rs::{PackageName, Requirement},
};

use crate::{
    model::{Lock, LockedImage, PackageId, Wheel},
    requires::{self, Node},
};

/// A requirement that holds in an image, and who has it.
#[derive(Debug, Clone, Copy)]
pub struct Limit<'a> {
    /// Who.
    pub by: Limiter<'a>,
    /// What it says.
    pub requirement: &'a Requirement,
}

/// Who has a requirement.
#[derive(Debug, Clone, Copy)]
pub enum Limiter<'a> {
    /// A component of the family.
    Family {
        /// The component.
        component: &'a ComponentId,
        /// The requirement as it stands in its file.
        requirement: &'a kiln_recipe::Requirement,
    },
    /// A wheel of the image.
    Wheel(&'a Wheel),
}

/// The requirements of a family and of all wheels of its lock.
pub struct Limits<'a> {
    family: &'a Family,
    lock: &'a Lock,
    requires: BTreeMap<&'a PackageId, (PackageName, Vec<Requirement>)>,
}

impl<'a> Limits<'a> {
    /// Reads what the wheels require; what cannot be read requires nothing.
    pub fn new(family: &'a Family, lock: &'a Lock) -> Self {
        let read = lock.wheels.iter().filter_map(|wheel| {
            let requires = wheel.requires.iter();
            let requires = requires.filter_map(|text| requires::parse_requirement(text));
            let name = wheel.name.parse().ok()?;
            Some((&wheel.id, (name, requires.collect())))
        });
        Self {
            family,
            lock,
            requires: read.collect(),
        }
    }

    /// The requirements that hold in an image, by project. Each stands there once.
    pub fn of(&'a self, image: &LockedImage) -> BTreeMap<&'a PackageName, Vec<Limit<'a>>> {
        let closure = self.lock.image_closure(image);
        let patch = requires::python_patch(image.python, closure.debs.iter().copied());
        let Some(markers) = requires::markers(image.platform, image.python, patch) else {
            return BTreeMap::new();
        };
        let wheels: BTreeMap<&PackageName, (&'a Wheel, &'a [Requirement])> = closure
            .wheels
            .into_iter()
            .filter_map(|wheel| {
                let (name, requires) = self.requires.get(&wheel.id)?;
                Some((name, (wheel, requires.as_slice())))
            })
            .collect();
        let mut limits: BTreeMap<&PackageName, Vec<Limit<'a>>> = BTreeMap::new();
        let (mut seen, mut open) = (BTreeSet::<Node>::new(), Vec::<Node>::new());
        let mut meet = |limit: Limit<'a>, open: &mut Vec<Node>| {
            limits
                .entry(&limit.requirement.name)
                .or_default()
                .push(limit);
            let led = requires::leads_to(limit.requirement);
            open.extend(led.filter(|node| seen.insert(node.clone())));
        };
        for component in self.family.components(&image.combination()) {
            let held = component.requirements.iter();
            for requirement in held.filter(|it| it.parsed.evaluate_markers(&markers, &[])) {
                let by = Limiter::Family {
                    component: &component.id,
                    requirement,
                };
                let requirement = &requirement.parsed;
                meet(Limit { by, requirement }, &mut open);
            }
        }
        while let Some((name, extra)) = open.pop() {
            let Some((wheel, requires)) = wheels.get(&name) else {
                continue;
            };
            for requirement in *requires {
                // What holds without the extra is met at the plain project.
                let is_plain = requirement.evaluate_markers(&markers, &[]);
                let holds = match &extra {
                    None => is_plain,
                    Some(_) => {
                        !is_plain && requirement.evaluate_markers(&markers, extra.as_slice())
                    }
                };
                if holds {
                    let by = Limiter::Wheel(wheel);
                    meet(Limit { by, requirement }, &mut open);
                }
            }
        }
        limits
    }
}
