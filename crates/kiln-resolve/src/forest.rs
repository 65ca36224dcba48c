//! The sets of a family, as trees: one tree for each platform and base; the base at the root,
//! then accelerators, bundles on the bundles that they extend, toolkits, and IDEs as leaves.
//!
//! A toolkit is what an accelerator requires of Python and a bundle has not brought. It stands on
//! the bundle and below its IDEs, so it binds neither that bundle nor those that extend it. The
//! accelerator's OS packages are below all bundles.
//!
//! A set is named after the components up to its own, a toolkit with `^`, an IDE with `+`. A bundle that is `independent` has pins of
//! its own for everything below it, so the sets below it are its own too: their names end in
//! `@` and that bundle's name.

use std::collections::BTreeMap;

use kiln_recipe::{
    Archive, Base, Combination, Component, ComponentKind, Family, OsPackage, Platform, Requirement,
};

/// What a node is to the Python resolver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// It is solved, with everything below it and the IDEs on it.
    Universe {
        /// Whether the versions below it bind it.
        bound: bool,
    },
    /// What it brings is decided by the independent bundle above it.
    Passive,
    /// It is solved together with the bundle that it stands on, and so are the IDEs on it.
    Toolkit,
    /// It is solved together with the bundle that it stands on.
    Ide,
}

/// One set.
#[derive(Debug)]
pub(crate) struct Node<'a> {
    /// The set's name.
    pub(crate) id: String,
    /// The component that brings it.
    pub(crate) component: &'a Component,
    /// The set that it stands on: an earlier node of the same tree.
    pub(crate) below: Option<usize>,
    /// What it is to the Python resolver.
    pub(crate) role: Role,
    /// What its component requires of Python here.
    pub(crate) requirements: &'a [Requirement],
    /// The OS packages that its component names here.
    pub(crate) os_packages: &'a [OsPackage],
    /// The accelerator whose archives it may take OS packages from, besides the base's.
    pub(crate) archives_of: Option<&'a str>,
}

/// The sets of one platform and base. Every node stands after the one below it.
#[derive(Debug)]
pub(crate) struct Tree<'a> {
    pub(crate) platform: Platform,
    pub(crate) base: &'a Base,
    pub(crate) nodes: Vec<Node<'a>>,
    /// What accelerators add to the base's archives.
    pub(crate) archives: BTreeMap<&'a str, Vec<&'a Archive>>,
}

/// One image on one platform: its tree and its sets, base first.
#[derive(Debug)]
pub(crate) struct ImagePath<'a> {
    pub(crate) combination: &'a Combination,
    pub(crate) tree: usize,
    pub(crate) nodes: Vec<usize>,
}

/// All sets and images of a family.
#[derive(Debug)]
pub(crate) struct Forest<'a> {
    pub(crate) trees: Vec<Tree<'a>>,
    pub(crate) images: Vec<ImagePath<'a>>,
}

impl<'a> Forest<'a> {
    /// The sets that the family's images need.
    pub(crate) fn of(family: &'a Family) -> Self {
        let mut forest = Self {
            trees: Vec::new(),
            images: Vec::new(),
        };
        for platform in &family.platforms {
            for combination in &family.images {
                forest.plant(family, *platform, combination);
            }
        }
        forest
    }

    fn plant(&mut self, family: &'a Family, platform: Platform, combination: &'a Combination) {
        let Some(base) = family.bases.get(&combination.base) else {
            return;
        };
        let known = self.trees.iter().position(|tree| {
            tree.platform == platform && tree.base.component.id == base.component.id
        });
        let number = known.unwrap_or_else(|| {
            self.trees.push(Tree {
                platform,
                base,
                nodes: Vec::new(),
                archives: BTreeMap::new(),
            });
            self.trees.len() - 1
        });
        let nodes = self.trees[number].grow(family, combination);
        self.images.push(ImagePath {
            combination,
            tree: number,
            nodes,
        });
    }
}

impl<'a> Tree<'a> {
    /// The nodes of an image, made where they are missing.
    fn grow(&mut self, family: &'a Family, combination: &Combination) -> Vec<usize> {
        let components = family.components(combination);
        let [below @ .., ide] = components.as_slice() else {
            return Vec::new();
        };
        let archives_of = self.add_archives(family, combination);
        let chain = family.chain(&combination.bundle);
        let first_bundle = below.len() - chain.len();
        let independent = chain
            .iter()
            .rposition(|bundle| bundle.independent && bundle.extends.is_some())
            .map(|position| first_bundle + position);
        let mut id = self.platform.to_string();
        let mut path: Vec<usize> = Vec::with_capacity(components.len() + 1);
        for (place, component) in below.iter().enumerate() {
            id = format!("{id} {}", component.id.name);
            let (role, id) = match independent {
                Some(over) if place < over => {
                    (Role::Passive, format!("{id} @{}", components[over].id.name))
                }
                _ => {
                    let bound = place > 0 && independent != Some(place);
                    (Role::Universe { bound }, id.clone())
                }
            };
            let is_accelerator = component.id.kind == ComponentKind::Accelerator;
            self.stand(&mut path, id, component, |node| {
                node.role = role;
                if is_accelerator {
                    node.requirements = &[];
                }
                node.archives_of = archives_of.filter(|_| place > 0);
            });
        }
        let toolkits = below
            .iter()
            .filter(|it| it.id.kind == ComponentKind::Accelerator && !it.requirements.is_empty());
        for toolkit in toolkits {
            id = format!("{id} ^{}", toolkit.id.name);
            self.stand(&mut path, id.clone(), toolkit, |node| {
                node.role = Role::Toolkit;
                node.os_packages = &[];
                node.archives_of = archives_of;
            });
        }
        let id = format!("{id} +{}", ide.id.name);
        self.stand(&mut path, id, ide, |node| node.archives_of = archives_of);
        path
    }

    /// Puts a node on a path: the one that is there, or a new one, to which `adapt` is done.
    fn stand(
        &mut self,
        path: &mut Vec<usize>,
        id: String,
        component: &'a Component,
        adapt: impl FnOnce(&mut Node<'a>),
    ) {
        let known = self.nodes.iter().position(|node| node.id == id);
        let number = known.unwrap_or_else(|| {
            let mut node = Node {
                id,
                component,
                below: path.last().copied(),
                role: Role::Ide,
                requirements: &component.requirements,
                os_packages: &component.os_packages,
                archives_of: None,
            };
            adapt(&mut node);
            self.nodes.push(node);
            self.nodes.len() - 1
        });
        path.push(number);
    }

    /// Takes note of the archives that an image's accelerator adds; its name if it adds any.
    fn add_archives(&mut self, family: &'a Family, image: &Combination) -> Option<&'a str> {
        let (name, _) = family.accelerators.get_key_value(&image.accelerator)?;
        let all = family.archives(&image.base, name);
        let added = all.get(self.base.archives.len()..)?;
        if added.is_empty() {
            return None;
        }
        self.archives.insert(name, added.to_vec());
        Some(name)
    }

    /// A node and all nodes below it, the base first.
    pub(crate) fn path(&self, node: usize) -> Vec<usize> {
        let mut path: Vec<usize> =
            std::iter::successors(Some(node), |node| self.nodes[*node].below).collect();
        path.reverse();
        path
    }

    /// The toolkit that stands on a bundle's node, if its accelerator has one.
    pub(crate) fn toolkit(&self, node: usize) -> Option<usize> {
        self.on(node, Role::Toolkit).next()
    }

    /// The IDEs that stand on a bundle's node or on its toolkit.
    pub(crate) fn ides(&self, node: usize) -> Vec<usize> {
        let below = self.toolkit(node).unwrap_or(node);
        self.on(below, Role::Ide).collect()
    }

    fn on(&self, node: usize, role: Role) -> impl Iterator<Item = usize> {
        let nodes = self.nodes.iter().enumerate();
        nodes
            .filter(move |(_, it)| it.role == role && it.below == Some(node))
            .map(|(number, _)| number)
    }

    /// The universes, in groups: those of a group do not depend on each other, only on those of
    /// earlier groups.
    pub(crate) fn universes(&self) -> Vec<Vec<usize>> {
        let mut levels: Vec<Vec<usize>> = Vec::new();
        for (number, node) in self.nodes.iter().enumerate() {
            if matches!(node.role, Role::Universe { .. }) {
                let depth = self.path(number).len() - 1;
                levels.resize_with(levels.len().max(depth + 1), Vec::new);
                levels[depth].push(number);
            }
        }
        levels
    }
}

#[cfg(test)]
mod tests {
    use kiln_recipe::FamilyFiles;

    use super::*;

    const GPU: &str = "title = 't'\ndescription = 'd'\nrequirements = ['driver']\n\
         packages = ['libgpu1']\n";

    fn family(bundles: &[(&str, &str)], images: &[(&str, &str)]) -> Family {
        family_on("cpu", bundles, images)
    }

    fn family_on(accelerator: &str, bundles: &[(&str, &str)], images: &[(&str, &str)]) -> Family {
        let mut kiln = "[family]\nname = 'f'\nrelease = '1'\ndescription = 'd'\n\
             repository = 'localhost/f'\nplatforms = ['linux/amd64', 'linux/arm64']\n"
            .to_owned();
        for (bundle, ide) in images {
            let image = format!(
                "base = 'deb'\naccelerator = '{accelerator}'\nbundle = '{bundle}'\nide = '{ide}'\n"
            );
            kiln = kiln + "[[image]]\n" + &image;
        }
        let base = "title = 'D'\ndescription = 'd'\ncode = 'd12'\ndistribution = 'debian'\n\
             suite = 'bookworm'\npython = '3.11'\npackages = ['python3']\n[[archive]]\n\
             source = 'debian'\ncomponents = ['main']\nkeyring = 'k.asc'\n";
        let ide = "title = 't'\ndescription = 'd'\ncommand = ['lab']\n";
        let mut files = FamilyFiles {
            files: [
                ("kiln.toml", kiln.as_str()),
                ("bases/deb.toml", base),
                ("keyrings/k.asc", "none"),
                ("ides/lab/ide.toml", ide),
                ("accelerators/gpu.toml", GPU),
            ]
            .map(|(path, text)| (path.to_owned(), text.as_bytes().to_vec()))
            .into(),
            ..FamilyFiles::default()
        };
        for (name, text) in bundles {
            let text = format!("title = 't'\ndescription = 'd'\n{text}");
            files
                .files
                .insert(format!("bundles/{name}/bundle.toml"), text.into_bytes());
        }
        kiln_recipe::parse(&files).unwrap()
    }

    #[test]
    fn images_share_the_sets_that_they_have_in_common() {
        let family = family(
            &[("a", ""), ("b", "extends = 'a'\n")],
            &[("a", "lab"), ("b", "lab"), ("b", "runtime")],
        );
        let forest = Forest::of(&family);
        assert_eq!(forest.trees.len(), 2, "one for each platform");
        let tree = &forest.trees[1];
        let ids: Vec<&str> = tree.nodes.iter().map(|node| node.id.as_str()).collect();
        assert_eq!(
            ids,
            [
                "linux/arm64 deb",
                "linux/arm64 deb cpu",
                "linux/arm64 deb cpu a",
                "linux/arm64 deb cpu a +lab",
                "linux/arm64 deb cpu a b",
                "linux/arm64 deb cpu a b +lab",
                "linux/arm64 deb cpu a b +runtime",
            ]
        );
        assert_eq!(tree.universes(), [vec![0], vec![1], vec![2], vec![4]]);
        assert_eq!(tree.path(5), [0, 1, 2, 4, 5]);
        assert_eq!(tree.ides(4), [5, 6]);
        let paths: Vec<&[usize]> = forest.images.iter().map(|it| it.nodes.as_slice()).collect();
        assert_eq!(paths[..3], paths[3..], "platforms have the same shape");
        assert_eq!(
            paths[..3],
            [&[0, 1, 2, 3][..], &[0, 1, 2, 4, 5], &[0, 1, 2, 4, 6]]
        );
    }

    #[test]
    fn an_independent_bundle_has_sets_of_its_own_below_it() {
        let bundles = [
            ("a", ""),
            ("b", "extends = 'a'\nindependent = true\n"),
            ("c", "extends = 'b'\n"),
        ];
        let family = family(&bundles, &[("a", "runtime"), ("c", "runtime")]);
        let forest = Forest::of(&family);
        let last = &forest.images[1];
        let nodes: Vec<(&str, Role)> = last
            .nodes
            .iter()
            .map(|node| &forest.trees[0].nodes[*node])
            .map(|node| (node.id.trim_start_matches("linux/amd64 "), node.role))
            .collect();
        assert_eq!(
            nodes,
            [
                ("deb @b", Role::Passive),
                ("deb cpu @b", Role::Passive),
                ("deb cpu a @b", Role::Passive),
                ("deb cpu a b", Role::Universe { bound: false }),
                ("deb cpu a b c", Role::Universe { bound: true }),
                ("deb cpu a b c +runtime", Role::Ide),
            ]
        );
    }

    #[test]
    fn a_toolkit_stands_on_each_bundle_and_below_its_ides() {
        let bundles = [("a", ""), ("b", "extends = 'a'\n")];
        let images = [("a", "runtime"), ("b", "lab"), ("b", "runtime")];
        let family = family_on("gpu", &bundles, &images);
        let forest = Forest::of(&family);
        let tree = &forest.trees[0];
        let nodes: Vec<(&str, usize, usize)> = tree
            .nodes
            .iter()
            .map(|it| (it.id.as_str(), it.requirements.len(), it.os_packages.len()))
            .collect();
        assert_eq!(
            nodes,
            [
                ("linux/amd64 deb", 0, 1),
                ("linux/amd64 deb gpu", 0, 1),
                ("linux/amd64 deb gpu a", 0, 0),
                ("linux/amd64 deb gpu a ^gpu", 1, 0),
                ("linux/amd64 deb gpu a ^gpu +runtime", 0, 0),
                ("linux/amd64 deb gpu a b", 0, 0),
                ("linux/amd64 deb gpu a b ^gpu", 1, 0),
                ("linux/amd64 deb gpu a b ^gpu +lab", 0, 0),
                ("linux/amd64 deb gpu a b ^gpu +runtime", 0, 0),
            ]
        );
        assert_eq!(tree.universes(), [vec![0], vec![1], vec![2], vec![5]]);
        assert_eq!(tree.path(5), [0, 1, 2, 5], "no toolkit below a bundle");
        assert_eq!((tree.toolkit(5), tree.ides(5)), (Some(6), vec![7, 8]));
        assert_eq!(forest.images[1].nodes, [0, 1, 2, 5, 6, 7]);
    }
}
