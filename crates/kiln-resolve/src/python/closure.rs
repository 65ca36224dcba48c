//! Which wheels a component brings: the closure of its requirements within the pins of its
//! universe.
//!
//! What follows from a requirement is in [`kiln_lock::requires`].

use std::collections::BTreeSet;

pub use kiln_lock::requires::Requires;
use kiln_lock::requires::{Node, held, leads_to};
use pep508_rs::{MarkerEnvironment, PackageName, Requirement};

/// A requirement leads to a project that has no pin: the resolver's output and the wheels'
/// metadata disagree.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` has no pin, but {required_by} requires it")]
pub struct MissingPin {
    /// The project without a pin.
    pub name: PackageName,
    /// What requires it.
    pub required_by: String,
}

/// What was reached so far. Clone it to branch: every IDE stands on the same bundles.
#[derive(Debug, Clone)]
pub struct Closure<'a> {
    requires: &'a Requires,
    markers: &'a MarkerEnvironment,
    seen: BTreeSet<Node>,
}

impl<'a> Closure<'a> {
    /// Nothing is reached.
    pub fn new(requires: &'a Requires, markers: &'a MarkerEnvironment) -> Self {
        Self {
            requires,
            markers,
            seen: BTreeSet::new(),
        }
    }

    /// Adds what `roots` reach; gives the projects that were not reached before.
    pub fn add<'r>(
        &mut self,
        roots: impl IntoIterator<Item = &'r Requirement>,
    ) -> Result<BTreeSet<PackageName>, MissingPin> {
        let mut new = BTreeSet::new();
        let mut open = Vec::new();
        for root in roots {
            if root.evaluate_markers(self.markers, &[]) {
                self.reach(root, || "the family".to_owned(), &mut open, &mut new)?;
            }
        }
        while let Some(node) = open.pop() {
            for requirement in held(self.requires, self.markers, &node) {
                self.reach(requirement, || format!("`{}`", node.0), &mut open, &mut new)?;
            }
        }
        Ok(new)
    }

    fn reach(
        &mut self,
        requirement: &Requirement,
        required_by: impl Fn() -> String,
        open: &mut Vec<Node>,
        new: &mut BTreeSet<PackageName>,
    ) -> Result<(), MissingPin> {
        let name = &requirement.name;
        if !self.requires.contains_key(name) {
            return Err(MissingPin {
                name: name.clone(),
                required_by: required_by(),
            });
        }
        for node in leads_to(requirement) {
            if self.seen.insert(node.clone()) {
                if node.1.is_none() {
                    new.insert(name.clone());
                }
                open.push(node);
            }
        }
        Ok(())
    }

    /// Whether a project was reached.
    pub fn contains(&self, name: &PackageName) -> bool {
        self.seen.contains(&(name.clone(), None))
    }
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use kiln_recipe::{Platform, PythonVersion};
    use proptest::prelude::*;

    use super::{super::target::Target, *};

    fn markers() -> MarkerEnvironment {
        let python = PythonVersion {
            major: 3,
            minor: 11,
        };
        Target {
            platform: Platform::LinuxAmd64,
            python,
            patch: Some(2),
            glibc: 36,
        }
        .markers()
        .unwrap()
    }

    fn requirements(texts: &[&str]) -> Vec<Requirement> {
        texts
            .iter()
            .map(|text| Requirement::from_str(text).unwrap())
            .collect()
    }

    fn requires(table: &[(&str, &[&str])]) -> Requires {
        table
            .iter()
            .map(|(name, needs)| (PackageName::from_str(name).unwrap(), requirements(needs)))
            .collect()
    }

    fn names(names: &BTreeSet<PackageName>) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    /// What the roots reach, in one step.
    fn reached(table: &[(&str, &[&str])], roots: &[&str]) -> Vec<String> {
        let (requires, markers) = (requires(table), markers());
        names(
            &Closure::new(&requires, &markers)
                .add(&requirements(roots))
                .unwrap(),
        )
    }

    #[test]
    fn chains_and_cycles_are_followed() {
        let table: &[(&str, &[&str])] = &[("a", &["b"]), ("b", &["c"]), ("c", &["a"]), ("d", &[])];
        assert_eq!(reached(table, &["a"]), ["a", "b", "c"]);
    }

    #[test]
    fn markers_decide() {
        let table: &[(&str, &[&str])] = &[
            (
                "a",
                &[
                    "win; sys_platform == 'win32'",
                    "old; python_version < '3.11'",
                    "patch; python_full_version < '3.11.4'",
                    "x86; platform_machine == 'x86_64' and os_name == 'posix'",
                    "pypy; implementation_name == 'pypy'",
                ],
            ),
            ("patch", &[]),
            ("x86", &[]),
        ];
        assert_eq!(reached(table, &["a"]), ["a", "patch", "x86"]);
        assert_eq!(reached(table, &["a; python_version >= '3.12'"]), [""; 0]);
    }

    #[test]
    fn extras_are_followed_only_where_they_are_asked() {
        let table: &[(&str, &[&str])] = &[
            (
                "a",
                &[
                    "plain",
                    "fast; extra == 'speed'",
                    "slow; extra == 'comfort'",
                ],
            ),
            ("plain", &[]),
            ("fast", &[]),
            ("slow", &[]),
            ("b", &["A[Speed]"]),
        ];
        assert_eq!(reached(table, &["a"]), ["a", "plain"]);
        assert_eq!(reached(table, &["a[speed]"]), ["a", "fast", "plain"]);
        assert_eq!(reached(table, &["b"]), ["a", "b", "fast", "plain"]);
    }

    #[test]
    fn extras_of_the_project_itself_are_followed() {
        let table: &[(&str, &[&str])] = &[
            (
                "a",
                &[
                    "x; extra == 'x'",
                    "y; extra == 'y'",
                    "a[x,y]; extra == 'all'",
                    "a[all]; extra == 'dev'",
                ],
            ),
            ("x", &[]),
            ("y", &[]),
        ];
        assert_eq!(reached(table, &["a[dev]"]), ["a", "x", "y"]);
    }

    #[test]
    fn names_are_normalised() {
        let table: &[(&str, &[&str])] =
            &[("zope-interface", &["Set_Up.Tools"]), ("set-up-tools", &[])];
        assert_eq!(
            reached(table, &["Zope.Interface"]),
            ["set-up-tools", "zope-interface"]
        );
    }

    #[test]
    fn a_step_adds_only_what_was_not_there() {
        let table: &[(&str, &[&str])] = &[
            ("a", &["b"]),
            ("b", &["c; extra == 'x'"]),
            ("c", &[]),
            ("d", &["a", "b[x]"]),
        ];
        let (requires, markers) = (requires(table), markers());
        let mut parent = Closure::new(&requires, &markers);
        parent.add(&requirements(&["a"])).unwrap();
        let mut child = parent.clone();
        assert_eq!(
            names(&child.add(&requirements(&["d"])).unwrap()),
            ["c", "d"]
        );
        assert_eq!(names(&parent.add(&requirements(&["b[x]"])).unwrap()), ["c"]);
    }

    #[test]
    fn a_project_without_pin_is_an_error_that_names_the_path() {
        let (requires, markers) = (requires(&[("a", &["b>=2"])]), markers());
        let error = Closure::new(&requires, &markers)
            .add(&requirements(&["a"]))
            .unwrap_err();
        assert_eq!(error.to_string(), "`b` has no pin, but `a` requires it");
    }

    proptest! {
        /// A step never depends on the order of the roots, and splitting roots into steps
        /// reaches the same in the end.
        #[test]
        fn steps_and_order_do_not_matter(
            edges in proptest::collection::vec((0..12_usize, 0..12_usize), 0..40),
            roots in proptest::collection::vec(0..12_usize, 1..6),
        ) {
            let name = |number: usize| PackageName::from_str(&format!("p{number}")).unwrap();
            let requirement = |number: &usize| Requirement::from_str(&format!("p{number}")).unwrap();
            let mut requires: Requires = (0..12).map(|it| (name(it), vec![])).collect();
            for (from, to) in &edges {
                requires.get_mut(&name(*from)).unwrap().push(requirement(to));
            }
            let markers = markers();
            let roots: Vec<Requirement> = roots.iter().map(requirement).collect();
            let at_once = Closure::new(&requires, &markers).add(&roots).unwrap();
            let mut closure = Closure::new(&requires, &markers);
            let mut stepwise = BTreeSet::new();
            for root in roots.iter().rev() {
                let new = closure.add([root]).unwrap();
                prop_assert!(stepwise.is_disjoint(&new));
                stepwise.extend(new);
            }
            prop_assert_eq!(at_once, stepwise);
        }
    }
}
