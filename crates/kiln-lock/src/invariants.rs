//! What every lock that was read has been checked for.

use std::{collections::BTreeSet, fmt::Display};

use crate::model::{Lock, LockedImage};

/// Checks the invariants that the model promises. The error is a sentence's end.
pub(crate) fn invariants(lock: &Lock) -> Result<(), String> {
    sorted("tools", lock.tools.iter().map(|it| &it.name))?;
    sorted(
        "indexes",
        lock.indexes
            .iter()
            .map(|it| format!("{} {}", it.source, it.suite)),
    )?;
    sorted("requests", lock.requests.iter().map(|it| &it.component))?;
    sorted(
        "images",
        lock.images
            .iter()
            .map(|it| format!("{} {}", it.name, it.platform)),
    )?;
    sorted("sets", lock.sets.iter().map(|it| &it.id))?;
    sorted("debs", lock.debs.iter().map(|it| &it.id))?;
    sorted("wheels", lock.wheels.iter().map(|it| &it.id))?;
    for set in &lock.sets {
        sorted(&format!("debs of set `{}`", set.id), &set.debs)?;
        sorted(&format!("wheels of set `{}`", set.id), &set.wheels)?;
        let unknown_deb = set.debs.iter().find(|id| lock.deb(id).is_none());
        let unknown_wheel = set.wheels.iter().find(|id| lock.wheel(id).is_none());
        if let Some(id) = unknown_deb.or(unknown_wheel) {
            return Err(format!("set `{}` names `{id}`, which is not there", set.id));
        }
    }
    lock.images
        .iter()
        .try_for_each(|image| image_sets(lock, image))
}

/// An image's sets exist, stand in layer order, and bring no package twice.
fn image_sets(lock: &Lock, image: &LockedImage) -> Result<(), String> {
    let mut kinds = Vec::new();
    let mut packages = BTreeSet::new();
    for id in &image.sets {
        let name = &image.name;
        let set = lock
            .set(id)
            .ok_or_else(|| format!("image `{name}` names set `{id}`, which is not there"))?;
        kinds.push(set.component.kind);
        for package in set.debs.iter().chain(&set.wheels) {
            if !packages.insert(package) {
                return Err(format!("two sets of image `{name}` bring `{package}`"));
            }
        }
    }
    if !kinds.is_sorted() {
        return Err(format!(
            "the sets of image `{}` do not stand in layer order",
            image.name
        ));
    }
    let date = image.date.as_str();
    if !jiff::civil::Date::strptime("%Y-%m-%d", date).is_ok_and(|it| it.to_string() == date) {
        return Err(format!(
            "`{date}`, the date of image `{}`, is no date",
            image.name
        ));
    }
    Ok(())
}

fn sorted<T: Ord + Display>(what: &str, items: impl IntoIterator<Item = T>) -> Result<(), String> {
    let mut previous: Option<T> = None;
    for item in items {
        if let Some(previous) = previous.filter(|previous| *previous >= item) {
            return Err(if previous == item {
                format!("`{item}` stands twice in the {what}")
            } else {
                format!("the {what} are not sorted: `{item}` comes after `{previous}`")
            });
        }
        previous = Some(item);
    }
    Ok(())
}
