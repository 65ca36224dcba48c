//! Image names: rendered and parsed back, and meant by a part.

use std::fmt::Write as _;

use kiln_recipe::{Candidate, ImageName, MAX_NAME, NamePattern, SelectError, is_name_part, select};
use proptest::prelude::*;

fn name() -> ImageName {
    ImageName {
        accelerator: None,
        ide: "jupyter".to_owned(),
        bundle: "datascience".to_owned(),
        os: "d12".to_owned(),
        python: "py311".to_owned(),
        release: "2026b".to_owned(),
        date: "20261122".to_owned(),
    }
}

#[test]
fn the_usual_pattern_renders_the_usual_names() {
    let pattern = NamePattern::default();
    assert_eq!(NamePattern::parse(&pattern.text), Ok(pattern.clone()));
    assert_eq!(
        pattern.render(&name()),
        "jupyter-datascience-d12-py311_2026b_20261122"
    );
    let cuda = ImageName {
        accelerator: Some("cuda".to_owned()),
        ..name()
    };
    assert_eq!(
        pattern.render(&cuda),
        "cuda-jupyter-datascience-d12-py311_2026b_20261122"
    );
}

#[test]
fn an_ide_called_cuda_is_no_cuda_image() {
    let pattern = NamePattern::default();
    let odd = ImageName {
        ide: "cuda".to_owned(),
        bundle: "cuda".to_owned(),
        ..name()
    };
    for name in [
        ImageName {
            accelerator: Some("cuda".to_owned()),
            ..odd.clone()
        },
        odd,
    ] {
        assert_eq!(pattern.parse_name(&pattern.render(&name)), Ok(name));
    }
}

#[test]
fn cuda_may_stand_anywhere() {
    for (text, plain, cuda) in [
        (
            "{ide}-{cuda}-{bundle}-{os}-{python}_{release}_{date}",
            "jupyter-datascience-d12-py311_2026b_20261122",
            "jupyter-cuda-datascience-d12-py311_2026b_20261122",
        ),
        (
            "kiln_{ide}_{bundle}-{os}-{python}-{release}-{date}-{cuda}",
            "kiln_jupyter_datascience-d12-py311-2026b-20261122",
            "kiln_jupyter_datascience-d12-py311-2026b-20261122-cuda",
        ),
    ] {
        let pattern = NamePattern::parse(text).unwrap();
        assert_eq!(pattern.render(&name()), plain);
        assert_eq!(
            pattern.render(&ImageName {
                accelerator: Some("cuda".to_owned()),
                ..name()
            }),
            cuda
        );
        assert_eq!(pattern.parse_name(plain), Ok(name()));
        assert_eq!(
            pattern.parse_name(cuda),
            Ok(ImageName {
                accelerator: Some("cuda".to_owned()),
                ..name()
            })
        );
    }
}

#[test]
fn what_is_no_name_is_refused() {
    let pattern = NamePattern::default();
    for text in [
        "",
        "jupyter-datascience-d12-py311_2026b",
        "jupyter-datascience-d12-py311_2026b_latest",
        "jupyter-datascience-d12-py311_2026b_20261122-",
        "jupyter-datascience-d12-py311_2026b_20261122_x",
        "cuda-jupyter-data-science-d12-py311_2026b_20261122",
        "cuda-12-jupyter-datascience-d12-py311_2026b_20261122",
        "cuda.-jupyter-datascience-d12-py311_2026b_20261122",
        "jupyter--d12-py311_2026b_20261122",
        "Jupyter-datascience-d12-py311_2026b_20261122",
        "jupyter-datascience-d12-python3_2026b_20261122",
        "stable-studio-rhel9-no_py-_2023c_20231117",
    ] {
        assert!(pattern.parse_name(text).is_err(), "{text}");
    }
    let long = ImageName {
        bundle: "x".repeat(MAX_NAME),
        ..name()
    };
    assert!(pattern.parse_name(&pattern.render(&long)).is_err());
}

#[test]
fn patterns_whose_names_would_not_parse_back_are_refused() {
    let refused = [
        "{ide}",
        "{ide}{bundle}-{os}-{python}_{release}_{date}",
        "{ide}.{bundle}-{os}-{python}_{release}_{date}",
        "{ide}-{ide}-{bundle}-{os}-{python}_{release}_{date}",
        "{ide}-{bundle}-{os}-{python}_{release}_{date}{cuda}",
        "{cuda}{ide}-{bundle}-{os}-{python}_{release}_{date}",
        "{ide}-{bundle}-{os}-{python}_{release}_{date}{accelerator}",
        "{cuda}-{ide}-{accelerator}-{bundle}-{os}-{python}_{release}_{date}",
        "{cuda}-{ide}-{cuda}-{bundle}-{os}-{python}_{release}_{date}",
        "{cuda}--{ide}-{bundle}-{os}-{python}_{release}_{date}",
        "-{ide}-{bundle}-{os}-{python}_{release}_{date}",
        "{ide}-{bundle}-{os}-{python}_{release}_{day}",
        "{ide}-{bundle}-{os}-{python}_{release}_{date",
        "{ide}-{bundle}-{os}-{python}_{release}_+{date}",
    ];
    let errors: Vec<_> = refused
        .map(|text| match NamePattern::parse(text) {
            Ok(_) => panic!("{text} was taken"),
            Err(error) => format!("{text}: {error}"),
        })
        .into();
    insta::assert_snapshot!(errors.join("\n"));
}

prop_compose! {
    fn part()(text in "[a-z0-9]([a-z0-9.]{0,8}[a-z0-9])?") -> String {
        text
    }
}

prop_compose! {
    fn any_name()(
        accelerator in prop::option::of(part()),
        (ide, bundle, os, release) in (part(), part(), part(), part()),
        python in "py3[0-9]{1,2}",
        date in "[0-9]{8}",
    ) -> ImageName {
        ImageName { accelerator, ide, bundle, os, python, release, date }
    }
}

/// Patterns of every order of placeholders, with separators and literals between them.
fn any_pattern() -> impl Strategy<Value = NamePattern> {
    let placeholders = [
        "{cuda}",
        "{ide}",
        "{bundle}",
        "{os}",
        "{python}",
        "{release}",
        "{date}",
    ];
    let order = Just(placeholders.to_vec()).prop_shuffle();
    let between = prop::collection::vec("[-_][a-z._-]{0,3}", 6);
    (order, between, "[a-z]{0,2}").prop_filter_map("a legal pattern", |(order, between, start)| {
        let mut text = start;
        for (index, placeholder) in order.iter().enumerate() {
            text += placeholder;
            text += between.get(index).map_or("", String::as_str);
        }
        NamePattern::parse(&text).ok()
    })
}

proptest! {
    #[test]
    fn every_legal_name_of_every_pattern_parses_back(
        name in any_name(), pattern in any_pattern()
    ) {
        let text = pattern.render(&name);
        if text.len() <= MAX_NAME {
            prop_assert_eq!(pattern.parse_name(&text), Ok(name), "{} after {}", text, pattern.text);
        }
    }

    #[test]
    fn whatever_parses_is_what_would_be_rendered(
        text in "(cuda-)?[a-z.-]{1,6}-[a-z_]{1,6}-[a-z0-9]{1,4}-py[0-9]{1,3}_[0-9a-z.]{1,5}_[0-9]{7,9}"
    ) {
        let pattern = NamePattern::default();
        if let Ok(name) = pattern.parse_name(&text) {
            prop_assert_eq!(pattern.render(&name), text);
            prop_assert!([&name.ide, &name.bundle, &name.os].into_iter().all(|it| is_name_part(it)));
        }
    }

    #[test]
    fn nothing_panics(pattern in "(\\{[a-z]{0,7}\\}|[-_]|\\PC){0,12}", text in "\\PC{0,140}") {
        if let Ok(pattern) = NamePattern::parse(&pattern) {
            let _ = pattern.parse_name(&text);
        }
        let _ = NamePattern::default().parse_name(&text);
        let _ = NamePattern { text: pattern }.render(&name());
    }
}

fn images() -> Vec<Candidate> {
    let candidate = |accelerator: &str, ide: &str, bundle: &str, base: &str| {
        let (os, python) = if base == "debian-12" {
            ("d12", "py311")
        } else {
            ("d13", "py313")
        };
        let name = ImageName {
            accelerator: (accelerator != "cpu").then(|| "cuda".to_owned()),
            ide: ide.to_owned(),
            bundle: bundle.to_owned(),
            os: os.to_owned(),
            python: python.to_owned(),
            ..name()
        };
        Candidate {
            name: NamePattern::default().render(&name),
            base: base.to_owned(),
            accelerator: accelerator.to_owned(),
            bundle: bundle.to_owned(),
            ide: ide.to_owned(),
        }
    };
    let mut images = Vec::new();
    for base in ["debian-12", "debian-13"] {
        for bundle in ["minimal", "datascience"] {
            images.push(candidate("cpu", "jupyter", bundle, base));
            images.push(candidate("cpu", "runtime", bundle, base));
        }
    }
    images.push(candidate("cuda12", "jupyter", "pytorch", "debian-12"));
    images.push(candidate("cuda12", "jupyter", "minimal", "debian-12"));
    images
}

fn selected(part: &str) -> Result<Vec<String>, SelectError> {
    let images = images();
    let found = select(&images, part, Some("debian-12"))?;
    Ok(found
        .into_iter()
        .map(|index| images[index].name.clone())
        .collect())
}

#[test]
fn a_part_means_the_image_that_a_person_would_expect() {
    for (part, expected) in [
        (
            "jupyter-datascience",
            "jupyter-datascience-d12-py311_2026b_20261122",
        ),
        (
            "jupyter-datascience-d13",
            "jupyter-datascience-d13-py313_2026b_20261122",
        ),
        (
            "runtime-minimal-py313",
            "runtime-minimal-d13-py313_2026b_20261122",
        ),
        (
            "runtime-minimal-d13-py313_2026b_20261122",
            "runtime-minimal-d13-py313_2026b_20261122",
        ),
        (
            "jupyter-minimal",
            "jupyter-minimal-d12-py311_2026b_20261122",
        ),
        (
            "cuda-jupyter-minimal",
            "cuda-jupyter-minimal-d12-py311_2026b_20261122",
        ),
        (
            "cuda-minimal",
            "cuda-jupyter-minimal-d12-py311_2026b_20261122",
        ),
        ("torch", "cuda-jupyter-pytorch-d12-py311_2026b_20261122"),
        (
            "runtime-data",
            "runtime-datascience-d12-py311_2026b_20261122",
        ),
    ] {
        assert_eq!(
            selected(part).as_deref(),
            Ok([expected.to_owned()].as_slice()),
            "{part}"
        );
    }
}

#[test]
fn a_glob_means_all_that_it_matches() {
    for (glob, count) in [
        ("*", 10),
        ("jupyter-*", 4),
        ("*-py313", 4),
        ("*-d13-*", 4),
        ("*minimal*", 5),
        ("cuda-*", 2),
    ] {
        assert_eq!(selected(glob).unwrap().len(), count, "{glob}");
    }
}

#[test]
fn all_platforms_of_one_image_are_meant_together() {
    let mut images = images();
    images.push(images[0].clone());
    assert_eq!(
        select(&images, "jupyter-minimal", Some("debian-12")),
        Ok(vec![0, 10])
    );
}

#[test]
fn what_is_not_clear_is_said_with_the_names_that_may_be_meant() {
    let mut report = String::new();
    for part in [
        "minimal",
        "jupyter",
        "jupyter-datascinece",
        "rstudio",
        "vscode-*",
        "[",
        "",
    ] {
        let error = selected(part).unwrap_err();
        let _ = write!(
            report,
            "{error}\nhint: {}\n\n",
            error.hint().unwrap_or_default()
        );
    }
    let images = images();
    let error = select(&images, "jupyter-datascience", None).unwrap_err();
    let _ = write!(
        report,
        "without a default base: {error}\nhint: {}\n",
        error.hint().unwrap()
    );
    insta::assert_snapshot!(report);
}
