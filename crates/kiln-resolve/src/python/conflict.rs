//! Which few requirements contradict each other, found by asking the solver about subsets.
//!
//! `QuickXplain` (Ulrich Junker, AAAI 2004): for a conflict of k out of n items it asks about
//! k·log(n/k) times. So a message names the lines that take part, without reading the solver's
//! prose.

/// A minimal set of items that cannot be satisfied together: without any one of them, the others
/// can. The items together must not be satisfiable. Order is kept.
pub(super) fn minimal<T: Clone, E>(
    items: &[T],
    satisfiable: &mut impl FnMut(&[T]) -> Result<bool, E>,
) -> Result<Vec<T>, E> {
    explain(&[], false, items, satisfiable)
}

fn explain<T: Clone, E>(
    background: &[T],
    background_grew: bool,
    items: &[T],
    satisfiable: &mut impl FnMut(&[T]) -> Result<bool, E>,
) -> Result<Vec<T>, E> {
    if background_grew && !satisfiable(background)? {
        return Ok(Vec::new());
    }
    if items.len() <= 1 {
        return Ok(items.to_vec());
    }
    let (first, second) = items.split_at(items.len() / 2);
    let from_second = explain(&[background, first].concat(), true, second, satisfiable)?;
    let grown = [background, &from_second].concat();
    let mut conflict = explain(&grown, !from_second.is_empty(), first, satisfiable)?;
    conflict.extend(from_second);
    Ok(conflict)
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, convert::Infallible};

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever sets contradict, the answer is one of the minimal ones.
        #[test]
        fn the_answer_is_a_minimal_conflict(
            size in 1..20_usize,
            conflicts in proptest::collection::vec(
                proptest::collection::btree_set(0..20_usize, 1..4), 1..5),
        ) {
            let items: Vec<usize> = (0..size).collect();
            let contradicts = |subset: &[usize]| {
                let subset: BTreeSet<usize> = subset.iter().copied().collect();
                conflicts.iter().any(|conflict| conflict.is_subset(&subset))
            };
            prop_assume!(contradicts(&items));
            let found = minimal(&items, &mut |subset: &[usize]| {
                Ok::<_, Infallible>(!contradicts(subset))
            }).unwrap();
            prop_assert!(contradicts(&found));
            for left_out in &found {
                let rest: Vec<usize> = found.iter().copied().filter(|it| it != left_out).collect();
                prop_assert!(!contradicts(&rest));
            }
        }
    }

    #[test]
    fn a_small_conflict_among_many_items_is_found_in_few_questions() {
        let items: Vec<u32> = (0..128).collect();
        let mut questions = 0;
        let found = minimal(&items, &mut |subset: &[u32]| {
            questions += 1;
            Ok::<_, Infallible>(!(subset.contains(&17) && subset.contains(&90)))
        });
        assert_eq!(found, Ok(vec![17, 90]));
        assert!(questions < 32, "{questions}");
    }
}
