//! Hard links: the first path of a file carries its payload.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;

use crate::merge::{MergeError, Slot, name};
use crate::{Entry, EntryKind, EntryPath};

/// A link to a link to a link…: no archive nests deeper, and a circle ends here.
const MAX_CHAIN: usize = 16;

/// Makes every hard link in `slots`, which are sorted, point to the first path of its file.
/// `replaced` holds the paths that a package ships but another package won: a link of the first
/// to such a path would become another file.
pub(crate) fn settle(
    slots: &mut [Slot],
    packages: &[String],
    replaced: &BTreeSet<(EntryPath, Option<usize>)>,
) -> Result<(), MergeError> {
    let mut names: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (index, slot) in slots.iter().enumerate() {
        if let EntryKind::Hardlink(target) = &slot.entry.kind {
            let file = find_file(slots, target)
                .filter(|_| !replaced.contains(&(target.clone(), slot.package)))
                .ok_or_else(|| MergeError::HardlinkTarget {
                    package: name(packages, slot).to_owned(),
                    path: slot.entry.path.clone(),
                    target: target.clone(),
                })?;
            names.entry(file).or_default().push(index);
        }
    }
    for (file, links) in names {
        let first = links.first().copied().map_or(file, |link| link.min(file));
        let carrier = slots[first].entry.path.clone();
        let link = EntryKind::Hardlink(carrier);
        let payload = mem::replace(&mut slots[file].entry.kind, link);
        // One file, one set of metadata: each link becomes a copy of the file's own entry.
        let template = slots[file].entry.clone();
        for link in links {
            let path = slots[link].entry.path.clone();
            slots[link].entry = Entry {
                path,
                ..template.clone()
            };
        }
        slots[first].entry.kind = payload;
    }
    Ok(())
}

fn find_file(slots: &[Slot], target: &EntryPath) -> Option<usize> {
    let mut target = target;
    for _ in 0..MAX_CHAIN {
        let index = slots
            .binary_search_by(|slot| slot.entry.path.cmp(target))
            .ok()?;
        match &slots[index].entry.kind {
            EntryKind::File(_) => return Some(index),
            EntryKind::Hardlink(next) => target = next,
            _ => return None,
        }
    }
    None
}
