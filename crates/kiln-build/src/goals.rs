//! What a build is for: goals, each of them some steps that are of use together. A goal that a
//! failure makes unreachable is given up, and with it the steps that no other goal needs.

use crate::error::BuildError;

/// Steps that are wanted together: the layers of an image.
#[derive(Debug, Clone)]
pub(crate) struct Goal {
    /// For people: the image.
    pub(crate) name: String,
    /// Indices of steps.
    pub(crate) steps: Vec<usize>,
}

/// A failure, and what cannot be had because of it.
#[derive(Debug)]
pub struct Setback {
    /// What went wrong.
    pub error: BuildError,
    /// The goals that were given up, by their places. Never empty.
    pub goals: Vec<usize>,
}

/// How many of `count` goals no setback concerns.
pub(crate) fn left(count: usize, setbacks: &[Setback]) -> usize {
    let given_up: usize = setbacks.iter().map(|it| it.goals.len()).sum();
    count.saturating_sub(given_up)
}

/// Which goals can still be reached.
#[derive(Debug)]
pub(crate) struct Goals {
    /// For each goal, the steps that must run for it, those before it included.
    steps: Vec<Vec<usize>>,
    given_up: Vec<bool>,
    /// For each step, how many goals still need it.
    users: Vec<usize>,
    /// What went wrong, in the order in which it did.
    setbacks: Vec<Setback>,
}

impl Goals {
    /// Goals by the steps that must run for each; `count` is how many steps there are at all.
    pub(crate) fn new(steps: Vec<Vec<usize>>, count: usize) -> Self {
        let mut users = vec![0; count];
        for &step in steps.iter().flatten() {
            users[step] += 1;
        }
        Self {
            given_up: vec![false; steps.len()],
            steps,
            users,
            setbacks: Vec::new(),
        }
    }

    /// Whether a goal that can be reached needs the step.
    pub(crate) fn want(&self, step: usize) -> bool {
        self.users[step] > 0
    }

    /// How many goals can be reached.
    pub(crate) fn left(&self) -> usize {
        self.given_up.iter().filter(|&&it| !it).count()
    }

    /// Gives up the goals that need one of `failed`. What was given up, and the steps that nobody
    /// wants any more; nothing when no goal needed any of them.
    pub(crate) fn give_up(&mut self, failed: &[usize], error: BuildError) -> Option<GivenUp> {
        let hit: Vec<_> = (0..self.steps.len())
            .filter(|&goal| !self.given_up[goal])
            .filter(|&goal| failed.iter().any(|step| self.steps[goal].contains(step)))
            .collect();
        if hit.is_empty() {
            return None;
        }
        let mut unwanted = Vec::new();
        for &goal in &hit {
            self.given_up[goal] = true;
            for &step in &self.steps[goal] {
                self.users[step] -= 1;
                if self.users[step] == 0 {
                    unwanted.push(step);
                }
            }
        }
        self.setbacks.push(Setback {
            error,
            goals: hit.clone(),
        });
        Some(GivenUp {
            goals: hit,
            unwanted,
        })
    }

    /// What went wrong.
    pub(crate) fn into_setbacks(self) -> Vec<Setback> {
        self.setbacks
    }
}

/// What follows from a failure.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct GivenUp {
    /// The goals, by their places.
    pub(crate) goals: Vec<usize>,
    /// Steps that are of no use any more.
    pub(crate) unwanted: Vec<usize>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_a_failed_goal_needed_is_dropped() {
        // Three goals: 0 is under all of them, 1 under the first two.
        let goals = vec![vec![0, 1, 2], vec![0, 1, 3], vec![0, 4]];
        let mut goals = Goals::new(goals, 6);
        assert!(!goals.want(5), "nobody ever needed it");
        let first = goals.give_up(&[2], BuildError::Interrupted).unwrap();
        assert_eq!((first.goals, first.unwanted), (vec![0], vec![2]));
        assert!(goals.want(0) && goals.want(1) && goals.want(3));
        // What fails again, or fails for goals that are given up, is no news.
        assert_eq!(goals.give_up(&[2], BuildError::Interrupted), None);
        let second = goals.give_up(&[1], BuildError::Interrupted).unwrap();
        assert_eq!((second.goals, second.unwanted), (vec![1], vec![1, 3]));
        assert_eq!(goals.left(), 1);
        let last = goals.give_up(&[0, 4], BuildError::Interrupted).unwrap();
        assert_eq!((last.goals, last.unwanted), (vec![2], vec![0, 4]));
        assert_eq!(goals.left(), 0);
        let setbacks = goals.into_setbacks();
        let hit: Vec<_> = setbacks.into_iter().map(|it| it.goals).collect();
        assert_eq!(hit, [[0], [1], [2]]);
    }

    #[test]
    fn a_step_that_several_goals_need_fails_all_of_them_at_once() {
        let mut goals = Goals::new(vec![vec![0, 1], vec![0, 2]], 3);
        let given_up = goals.give_up(&[0], BuildError::Interrupted).unwrap();
        assert_eq!(given_up.goals, [0, 1]);
        assert_eq!(given_up.unwanted, [1, 0, 2]);
        // One setback, two goals.
        assert_eq!(left(3, &goals.into_setbacks()), 1);
    }
}
