//! `[[image]]`: what tables stand for, which images are possible, and what a person is told of
//! those that are not.

#![expect(
    clippy::unwrap_used,
    reason = "what tests share may panic, as tests do"
)]

use std::{collections::BTreeSet, fmt::Write as _};

use kiln_recipe::{Family, FamilyFiles, RecipeErrors, parse};
use proptest::prelude::*;

const HEAD: &str = "[family]\nname = \"test\"\nrelease = \"2026b\"\n\n";

/// Two bases, three accelerators besides `cpu`, six bundles and two IDEs besides `runtime`.
fn files(images: &str) -> FamilyFiles {
    let base = |code: &str, python: &str| {
        format!(
            "code = \"{code}\"\ndistribution = \"debian\"\nsuite = \"bookworm\"\n\
             python = \"{python}\"\n\n[[archive]]\nsource = \"debian\"\nkeyring = \"key\"\n"
        )
    };
    let cuda = |version: &str| {
        let major = version.split('.').next().unwrap();
        format!(
            "kind = \"cuda\"\ncode = \"cuda{major}\"\n\n[cuda]\nversion = \"{version}\"\n\
             flavour = \"runtime\"\n"
        )
    };
    let ide = "command = [\"/start\"]\n".to_owned();
    let files = [
        ("kiln.toml", format!("{HEAD}{images}")),
        ("bases/debian-12.toml", base("d12", "3.11")),
        ("bases/debian-13.toml", base("d13", "3.13")),
        ("accelerators/cuda-12.toml", cuda("12.9")),
        ("accelerators/cuda-13.toml", cuda("13.0")),
        ("accelerators/mi300.toml", "kind = \"rocm\"\n".to_owned()),
        ("bundles/minimal/bundle.toml", String::new()),
        (
            "bundles/pytorch/bundle.toml",
            "extends = \"minimal\"\nneeds = [\"cuda\"]\n".to_owned(),
        ),
        (
            "bundles/vision/bundle.toml",
            "extends = \"pytorch\"\nconflicts = [\"cuda12\"]\n".to_owned(),
        ),
        (
            "bundles/legacy/bundle.toml",
            "python = \">=3.9,<3.12\"\nconflicts = [\"notebook\"]\n".to_owned(),
        ),
        ("bundles/never/bundle.toml", "python = \"<3\"\n".to_owned()),
        (
            "bundles/book/bundle.toml",
            "provides = [\"notebook\"]\nneeds = [\"notebook\"]\n".to_owned(),
        ),
        (
            "ides/jupyter/ide.toml",
            format!("provides = [\"notebook\"]\n{ide}"),
        ),
        ("ides/vscode/ide.toml", ide.clone()),
        ("keyrings/key", String::new()),
    ];
    let files = files.map(|(path, text)| (path.to_owned(), text.into_bytes()));
    FamilyFiles {
        files: files.into(),
        ..FamilyFiles::default()
    }
}

fn family(images: &str) -> Result<Family, RecipeErrors> {
    parse(&files(images))
}

/// The images: names of components, and the limit in bytes.
fn images(family: &Family) -> Vec<(String, Option<u64>)> {
    let words = family.images.iter().map(|it| {
        let names = [&it.base, &it.accelerator, &it.bundle, &it.ide].map(String::as_str);
        (names.join(" "), it.max_size.as_ref().map(|it| it.bytes))
    });
    words.collect()
}

fn report(tables: &[&str]) -> String {
    let mut report = String::new();
    for images in tables {
        let errors = family(images).err().unwrap();
        let _ = write!(report, "{images}\n{errors}\n\n---\n");
    }
    report
}

#[test]
fn a_table_stands_for_all_combinations_in_order() {
    let family = family(
        "[[image]]\nbase = [\"debian-13\", \"debian-12\"]\naccelerator = [\"cuda-13\", \"cuda-12\"]\n\
         bundle = [\"pytorch\", \"minimal\"]\nide = [\"jupyter\", \"runtime\"]\n\
         max-size = \"1.5 GB\"\nexclude = [\n    { bundle = \"minimal\", accelerator = [\"cuda-12\", \"cuda-13\"], ide = \"runtime\" },\n\
         \x20   { base = \"debian-12\", accelerator = \"cuda-13\" },\n]\n\n\
         [[image]]\nbase = \"debian-12\"\nbundle = \"minimal\"\n",
    )
    .unwrap_or_else(|errors| panic!("{errors}"));
    let lines: Vec<_> = images(&family)
        .into_iter()
        .map(|(names, limit)| format!("{names} {limit:?}"))
        .collect();
    insta::assert_snapshot!(lines.join("\n"), @r"
        debian-13 cuda-13 pytorch jupyter Some(1500000000)
        debian-13 cuda-13 pytorch runtime Some(1500000000)
        debian-13 cuda-13 minimal jupyter Some(1500000000)
        debian-13 cuda-12 pytorch jupyter Some(1500000000)
        debian-13 cuda-12 pytorch runtime Some(1500000000)
        debian-13 cuda-12 minimal jupyter Some(1500000000)
        debian-12 cuda-12 pytorch jupyter Some(1500000000)
        debian-12 cuda-12 pytorch runtime Some(1500000000)
        debian-12 cuda-12 minimal jupyter Some(1500000000)
        debian-12 cpu minimal runtime None
    ");
}

#[test]
fn components_provide_their_names_and_accelerators_their_kind() {
    let family = family("[[image]]\nbase = \"debian-12\"\nbundle = \"minimal\"\n").unwrap();
    let mut lines = Vec::new();
    for component in family.all_components() {
        lines.push(format!(
            "{}: {}",
            component.id,
            family.provides(component).join(" ")
        ));
    }
    insta::assert_snapshot!(lines.join("\n"), @r"
        base/debian-12: debian-12
        base/debian-13: debian-13
        accelerator/cpu: cpu
        accelerator/cuda-12: cuda-12 cuda cuda12
        accelerator/cuda-13: cuda-13 cuda cuda13
        accelerator/mi300: mi300 rocm
        bundle/book: book notebook
        bundle/legacy: legacy
        bundle/minimal: minimal
        bundle/never: never
        bundle/pytorch: pytorch
        bundle/vision: vision
        ide/jupyter: jupyter notebook
        ide/runtime: runtime
        ide/vscode: vscode
    ");
}

#[test]
fn what_is_wrong_with_a_table() {
    let matrix = "[[image]]\nbase = [\"debian-12\", \"debian-13\"]\nbundle = [\"minimal\", \"book\"]\nide = [\"jupyter\", \"runtime\"]\n";
    let with = |more: &str| format!("{matrix}{more}\n");
    let tables = [
        "[[image]]\nbase = []\nbundle = \"minimal\"\n".to_owned(),
        "[[image]]\nbase = 12\nbundle = \"minimal\"\n".to_owned(),
        "[[image]]\nbase = [\"debian-12\", 13]\nbundle = \"minimal\"\n".to_owned(),
        "[[image]]\nbase = [\"debian-12\", \"debian-12\"]\nbundle = \"minimal\"\n".to_owned(),
        "[[image]]\nbase = [\"debian-12\", \"debian-14\"]\nbundle = \"minimla\"\n".to_owned(),
        "[[image]]\nbundle = [\"minimal\"]\n".to_owned(),
        with("exclude = [{ bundle = \"pytorch\" }]"),
        with("exclude = [{ bundle = [\"minimal\", \"bok\"] }]"),
        with("exclude = [{ ide = \"vscode\", base = \"debian-12\" }]"),
        with("exclude = [{}]"),
        with("exclude = [{ bundel = \"book\" }]"),
        with("exclude = [{ bundle = [] }]"),
        with("exclude = { bundle = \"book\" }"),
        with("exclude = [{ base = \"debian-12\" }, { base = \"debian-13\" }]"),
        with("[[image]]\nbase = \"debian-12\"\nbundle = \"minimal\""),
        with("[[image]]\nbase = \"debian-12\"\nbundle = [\"minimal\", \"book\", \"legacy\"]"),
    ];
    let tables: Vec<_> = tables.iter().map(String::as_str).collect();
    insta::assert_snapshot!(report(&tables));
}

#[test]
fn what_is_impossible_is_said_with_the_reason_and_the_nearest_that_is_possible() {
    insta::assert_snapshot!(report(&[
        // The accelerator lacks.
        "[[image]]\nbase = \"debian-12\"\nbundle = \"pytorch\"\n",
        // It stands on a bundle that needs one, and refuses one.
        "[[image]]\nbase = \"debian-12\"\naccelerator = \"cuda-12\"\nbundle = \"vision\"\n",
        // The Python of the base.
        "[[image]]\nbase = \"debian-13\"\nbundle = \"legacy\"\n",
        // The IDE.
        "[[image]]\nbase = \"debian-12\"\nbundle = \"legacy\"\nide = \"jupyter\"\n",
        // Two changes.
        "[[image]]\nbase = \"debian-13\"\nbundle = \"legacy\"\nide = \"jupyter\"\n",
        // What is nearest stands already.
        "[[image]]\nbase = \"debian-12\"\nbundle = \"legacy\"\n\n[[image]]\nbase = \"debian-13\"\nbundle = \"legacy\"\n",
        // Itself does not count.
        "[[image]]\nbase = \"debian-12\"\nbundle = \"book\"\nide = \"vscode\"\n",
        // Nothing helps but another bundle.
        "[[image]]\nbase = \"debian-12\"\nbundle = \"never\"\n",
        // Several of a matrix.
        "[[image]]\nbase = [\"debian-12\", \"debian-13\"]\naccelerator = [\"cpu\", \"cuda-12\", \"cuda-13\"]\nbundle = [\"minimal\", \"pytorch\", \"vision\", \"legacy\"]\nide = [\"jupyter\", \"runtime\"]\n",
    ]));
}

#[test]
fn what_a_hint_says_to_exclude_leaves_what_is_possible() {
    let table = "[[image]]\nbase = [\"debian-12\", \"debian-13\"]\naccelerator = [\"cpu\", \"cuda-12\", \"cuda-13\"]\n\
                 bundle = [\"minimal\", \"pytorch\", \"vision\", \"legacy\", \"never\"]\nide = [\"jupyter\", \"runtime\"]\n";
    let mut exclusions = Vec::new();
    let family = loop {
        match family(&format!("{table}exclude = [{}]\n", exclusions.join(", "))) {
            Ok(family) => break family,
            Err(errors) => {
                for error in errors.0 {
                    let hint = error.hint.unwrap();
                    exclusions.push(hint.split('`').nth(1).unwrap().to_owned());
                }
            }
        }
        assert!(exclusions.len() < 40, "{exclusions:?}");
    };
    insta::assert_snapshot!(exclusions.join("\n"), @r#"
        { bundle = "legacy", ide = "jupyter" }
        { base = "debian-12", bundle = "never" }
        { accelerator = "cpu", bundle = "pytorch" }
        { accelerator = "cuda-12", bundle = "vision" }
        { base = "debian-13", bundle = "legacy" }
        { accelerator = "cpu", bundle = "vision" }
        { base = "debian-13", bundle = "never" }
    "#);
    // Possible are: `minimal` everywhere (2 × 3 × 2), `pytorch` with CUDA (2 × 2 × 2), `vision`
    // with CUDA 13 (2 × 2), `legacy` on one base without Jupyter (3).
    assert_eq!(family.images.len(), 12 + 8 + 4 + 3);
}

/// A table of 5600 combinations, less those that are excluded.
fn large(exclude: impl Fn(&str) -> String) -> FamilyFiles {
    let mut files = files("");
    let mut bundles = String::new();
    for number in 0..700 {
        let name = format!("b{number}");
        files
            .files
            .insert(format!("bundles/{name}/bundle.toml"), Vec::new());
        let _ = write!(bundles, "\"{name}\", ");
    }
    let kiln = format!(
        "{HEAD}[[image]]\nbase = [\"debian-12\", \"debian-13\"]\naccelerator = [\"cpu\", \"mi300\"]\n\
         ide = [\"jupyter\", \"runtime\"]\nbundle = [{bundles}]\nexclude = [{}]\n",
        exclude(&bundles)
    );
    files
        .files
        .insert("kiln.toml".to_owned(), kiln.into_bytes());
    files
}

#[test]
fn a_family_of_too_many_images_is_refused_before_they_are_made() {
    insta::assert_snapshot!(parse(&large(|_| String::new())).unwrap_err(), @r"
        kiln.toml:5:1: with the images of this table the family has more than 4096
           5 | [[image]]
             | ^^^^^^^^^
    ");
}

#[test]
fn what_is_excluded_does_not_count() {
    let half = parse(&large(|_| "{ ide = \"jupyter\" }".to_owned())).unwrap();
    assert_eq!(half.images.len(), 2800);
    // But it must not take long to find out.
    let long = |bundles: &str| {
        let one = format!("{{ ide = \"jupyter\", bundle = [{bundles}] }}, ");
        one.repeat(5)
    };
    insta::assert_snapshot!(parse(&large(long)).unwrap_err(), @r"
        kiln.toml:5:1: this table has too many combinations to exclude some of them
           5 | [[image]]
             | ^^^^^^^^^
        hint: make several tables of it
    ");
}

const BASES: [&str; 2] = ["debian-12", "debian-13"];
const ACCELERATORS: [&str; 4] = ["cpu", "cuda-12", "cuda-13", "mi300"];
const BUNDLES: [&str; 2] = ["minimal", "book"];
const IDES: [&str; 3] = ["jupyter", "runtime", "vscode"];

/// Some names of a list, at least one, in any order.
fn some(names: &'static [&'static str]) -> impl Strategy<Value = Vec<&'static str>> {
    let shuffled = Just(names.to_vec()).prop_shuffle();
    (shuffled, 1..=names.len()).prop_map(|(mut names, length)| {
        names.truncate(length);
        names
    })
}

fn quoted(names: &[&str]) -> String {
    let names: Vec<_> = names.iter().map(|it| format!("\"{it}\"")).collect();
    format!("[{}]", names.join(", "))
}

type Lists = [Vec<&'static str>; 4];

/// A matrix, and exclusions that name some of its names under some keys.
fn matrix() -> impl Strategy<Value = (Lists, Vec<Lists>)> {
    let lists = (
        some(&BASES),
        some(&ACCELERATORS),
        some(&BUNDLES),
        some(&IDES),
    );
    lists.prop_flat_map(|(bases, accelerators, bundles, ides)| {
        let lists = [bases, accelerators, bundles, ides];
        let subset = |list: Vec<&'static str>| {
            let length = list.len();
            prop::sample::subsequence(list, 0..=length)
        };
        let exclusion = lists.clone().map(subset);
        let exclusion = exclusion.prop_filter("at least one key", |it| {
            it.iter().any(|names| !names.is_empty())
        });
        (Just(lists), prop::collection::vec(exclusion, 0..4))
    })
}

const KEYS: [&str; 4] = ["base", "accelerator", "bundle", "ide"];

fn table(lists: &Lists, exclusions: &[Lists]) -> String {
    let mut text = "[[image]]\n".to_owned();
    for (key, names) in KEYS.iter().zip(lists) {
        let _ = writeln!(text, "{key} = {}", quoted(names));
    }
    let exclusions: Vec<_> = exclusions
        .iter()
        .map(|exclusion| {
            let named = KEYS.iter().zip(exclusion).filter(|(_, it)| !it.is_empty());
            let keys = named.map(|(key, names)| format!("{key} = {}", quoted(names)));
            format!("{{ {} }}", keys.collect::<Vec<_>>().join(", "))
        })
        .collect();
    let _ = writeln!(text, "exclude = [{}]", exclusions.join(", "));
    text
}

/// The same images, a table for each.
fn one_by_one(lists: &Lists, exclusions: &[Lists]) -> String {
    let mut text = String::new();
    for base in &lists[0] {
        for accelerator in &lists[1] {
            for bundle in &lists[2] {
                for ide in &lists[3] {
                    let image = [base, accelerator, bundle, ide];
                    let excluded = exclusions.iter().any(|exclusion| {
                        (0..4).all(|key| {
                            exclusion[key].is_empty() || exclusion[key].contains(image[key])
                        })
                    });
                    if !excluded {
                        text += "[[image]]\n";
                        for (key, name) in KEYS.iter().zip(image) {
                            let _ = writeln!(text, "{key} = \"{name}\"");
                        }
                    }
                }
            }
        }
    }
    text
}

proptest! {
    #[test]
    fn a_matrix_is_the_same_images_written_one_by_one((lists, exclusions) in matrix()) {
        let singles = one_by_one(&lists, &exclusions);
        let matrix = family(&table(&lists, &exclusions));
        match family(&singles) {
            Ok(singles) => prop_assert_eq!(images(&matrix.unwrap()), images(&singles)),
            // No image is left, or one that is impossible (`book` needs a notebook).
            Err(errors) => {
                let others = matrix.unwrap_err();
                if !singles.is_empty() {
                    // Of a matrix, those with one reason are one error.
                    let reasons = |errors: &RecipeErrors| -> BTreeSet<String> {
                        let reason = |message: &str| {
                            let (_, reason) = message.split_once("is impossible: ").unwrap();
                            reason.split(" (and ").next().unwrap().to_owned()
                        };
                        errors.0.iter().map(|it| reason(&it.message)).collect()
                    };
                    prop_assert_eq!(reasons(&others), reasons(&errors));
                }
            }
        }
    }

    #[test]
    fn the_order_of_exclusions_does_not_matter(
        (lists, exclusions, shuffled) in matrix().prop_flat_map(|(lists, exclusions)| {
            let shuffled = Just(exclusions.clone()).prop_shuffle();
            (Just(lists), Just(exclusions), shuffled)
        })
    ) {
        let result = |exclusions: &[Lists]| family(&table(&lists, exclusions)).map(|it| images(&it)).map_err(|it| {
            // The line of `exclude` itself differs, and is shown nowhere.
            it.to_string()
        });
        prop_assert_eq!(result(&exclusions), result(&shuffled));
    }

    #[test]
    fn the_names_of_all_images_parse_back((lists, exclusions) in matrix()) {
        if let Ok(family) = family(&table(&lists, &exclusions)) {
            let mut names = BTreeSet::new();
            for image in &family.images {
                let parts = family.image_name(image, "20261122").unwrap();
                let name = family.pattern.render(&parts);
                prop_assert_eq!(family.pattern.parse_name(&name), Ok(parts));
                prop_assert!(names.insert(name));
            }
        }
    }
}
