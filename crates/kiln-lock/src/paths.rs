//! Paths from roots to a node of a graph, shortest first.

use std::collections::VecDeque;

/// How many paths that begin somewhere are followed at most: graphs of packages have cycles and
/// diamonds, so there may be more paths than anybody can count.
const MOST: usize = 100_000;

/// Who points at whom.
#[derive(Debug, Default)]
pub(crate) struct Graph {
    /// For each node, who points at it: the other node, and the number of what says so.
    pub(crate) into: Vec<Vec<(usize, usize)>>,
    /// For each node, how many roots point at it.
    pub(crate) roots: Vec<usize>,
    /// For each node, what it is part of: a project that has nodes for its extras. A path may go
    /// from part to part of the same, and does not come back to what it has left.
    pub(crate) whole: Vec<usize>,
}

/// A path: one of the roots of its first node, and the nodes after it with what leads to them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// Which of the roots of `first`.
    pub(crate) root: usize,
    /// The node that the root points at.
    pub(crate) first: usize,
    /// From there on: what points, and at which node; the last is the target.
    pub(crate) steps: Vec<(usize, usize)>,
}

/// Some paths, and how many more there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Paths {
    /// The shortest.
    pub(crate) found: Vec<Found>,
    /// How many there are beside them.
    pub(crate) more: usize,
    /// Whether all were counted.
    pub(crate) complete: bool,
}

/// A path back from the target, as a list in an arena.
struct Partial {
    node: usize,
    /// What leads from this node to the next, and the next.
    next: Option<(usize, usize)>,
    length: usize,
}

impl Graph {
    /// The `limit` shortest paths from a root to `target` that pass nothing twice.
    pub(crate) fn paths(&self, target: usize, limit: usize) -> Paths {
        let mut arena = vec![Partial {
            node: target,
            next: None,
            length: 0,
        }];
        let mut open = VecDeque::from([0]);
        let mut paths = Paths {
            found: Vec::new(),
            more: 0,
            complete: true,
        };
        while let Some(at) = open.pop_front() {
            let node = arena[at].node;
            for root in 0..self.roots[node] {
                if paths.found.len() < limit {
                    paths.found.push(Found {
                        root,
                        first: node,
                        steps: steps(&arena, at),
                    });
                } else {
                    paths.more += 1;
                }
            }
            for &(from, by) in &self.into[node] {
                if self.comes_back(&arena, at, from) {
                    continue;
                }
                if arena.len() == MOST {
                    paths.complete = false;
                    break;
                }
                let length = arena[at].length + 1;
                arena.push(Partial {
                    node: from,
                    next: Some((by, at)),
                    length,
                });
                open.push_back(arena.len() - 1);
            }
        }
        paths
    }

    /// Whether a path that begins at `at` would pass something twice if it began at `from`.
    fn comes_back(&self, arena: &[Partial], at: usize, from: usize) -> bool {
        let stays = self.whole[arena[at].node] == self.whole[from];
        let mut next = Some(at);
        while let Some(at) = next {
            let Partial {
                node, next: after, ..
            } = &arena[at];
            if *node == from || !stays && self.whole[*node] == self.whole[from] {
                return true;
            }
            next = after.map(|(_, after)| after);
        }
        false
    }
}

fn steps(arena: &[Partial], mut at: usize) -> Vec<(usize, usize)> {
    let mut steps = Vec::with_capacity(arena[at].length);
    while let Some((by, next)) = arena[at].next {
        steps.push((by, arena[next].node));
        at = next;
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A graph of edges that are numbered as they stand; roots point at some nodes.
    fn graph(nodes: usize, edges: &[(usize, usize)], roots: &[usize]) -> Graph {
        let mut graph = Graph {
            into: vec![Vec::new(); nodes],
            roots: vec![0; nodes],
            whole: (0..nodes).collect(),
        };
        for (by, &(from, to)) in edges.iter().enumerate() {
            graph.into[to].push((from, by));
        }
        for &root in roots {
            graph.roots[root] += 1;
        }
        graph
    }

    /// The nodes of each path.
    fn nodes(paths: &Paths) -> Vec<Vec<usize>> {
        let nodes = |found: &Found| {
            let rest = found.steps.iter().map(|(_, node)| *node);
            std::iter::once(found.first).chain(rest).collect()
        };
        paths.found.iter().map(nodes).collect()
    }

    #[test]
    fn the_shortest_path_comes_first() {
        // 0 → 1 → 3, 0 → 3, 2 → 3; roots are 0, 2 and 3 itself.
        let graph = graph(4, &[(0, 1), (1, 3), (0, 3), (2, 3)], &[0, 2, 3]);
        let paths = graph.paths(3, 10);
        assert_eq!(
            nodes(&paths),
            [vec![3], vec![0, 3], vec![2, 3], vec![0, 1, 3]]
        );
        assert_eq!(paths.found[3].steps, [(0, 1), (1, 3)]);
        assert!(paths.complete && paths.more == 0);
        let two = graph.paths(3, 2);
        assert_eq!((two.found.len(), two.more), (2, 2));
    }

    #[test]
    fn cycles_end() {
        let graph = graph(3, &[(0, 1), (1, 0), (1, 2), (2, 2)], &[0]);
        let paths = graph.paths(2, 10);
        assert_eq!(nodes(&paths), [[0, 1, 2]]);
        assert!(paths.complete);
    }

    #[test]
    fn a_path_does_not_come_back_to_another_part_of_what_it_left() {
        // 1 is an extra of 0, and 2 one of 1's: 1 → 2 → 3 → 0 → 4 comes back, 1 → 2 → 4 does not.
        let mut graph = graph(5, &[(1, 2), (2, 3), (3, 0), (0, 4), (2, 4)], &[0, 1]);
        graph.whole = vec![0, 0, 0, 3, 4];
        assert_eq!(nodes(&graph.paths(4, 10)), [vec![0, 4], vec![1, 2, 4]]);
    }

    #[test]
    fn what_no_root_reaches_has_no_path() {
        let paths = graph(2, &[(0, 1)], &[]).paths(1, 10);
        assert_eq!((paths.found.len(), paths.more), (0, 0));
    }

    #[test]
    fn nobody_counts_for_ever() {
        // A ladder of diamonds: 2^40 paths.
        let mut edges = Vec::new();
        for level in 0..40 {
            let at = 3 * level;
            edges.extend([
                (at, at + 1),
                (at, at + 2),
                (at + 1, at + 3),
                (at + 2, at + 3),
            ]);
        }
        // A root at every level: the first paths are short.
        let roots: Vec<_> = (0..40).map(|level| 3 * level).collect();
        let paths = graph(121, &edges, &roots).paths(120, 3);
        assert_eq!(paths.found.len(), 3);
        assert!(!paths.complete && paths.more > 1000);
    }
}
