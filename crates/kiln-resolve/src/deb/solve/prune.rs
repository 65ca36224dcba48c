//! What of a solution is really needed.

use std::collections::{HashSet, VecDeque};

use super::provider::Universe;
use crate::deb::index::PackageNumber;

/// The part of `solution` that the goals need, sorted. A need that one package alone of the
/// solution satisfies is followed at once; of several, the first one only when no other need has
/// brought one of them.
///
/// What is left of a solution has no conflicts, since the whole has none.
pub(super) fn needed(
    universe: &Universe<'_>,
    goals: &[Vec<PackageNumber>],
    solution: &[PackageNumber],
) -> Vec<PackageNumber> {
    let solution: HashSet<PackageNumber> = solution.iter().copied().collect();
    let mut kept: HashSet<PackageNumber> = HashSet::new();
    // Needs whose satisfiers are not looked at yet, and those that have several.
    let mut needs: VecDeque<Vec<PackageNumber>> = goals.iter().cloned().collect();
    let mut choices: VecDeque<Vec<PackageNumber>> = VecDeque::new();
    loop {
        let chosen = if let Some(mut present) = needs.pop_front() {
            present.retain(|it| solution.contains(it));
            if let &[only] = present.as_slice() {
                only
            } else {
                choices.push_back(present);
                continue;
            }
        } else {
            let Some(present) = choices.pop_front() else {
                break;
            };
            match present.first() {
                Some(&first) if !present.iter().any(|it| kept.contains(it)) => first,
                _ => continue,
            }
        };
        if kept.insert(chosen) {
            let more = universe.needs(chosen).unwrap_or_default();
            needs.extend(more.into_iter().map(|(_, candidates)| candidates));
        }
    }
    let mut kept: Vec<PackageNumber> = kept.into_iter().collect();
    kept.sort_unstable();
    kept
}
