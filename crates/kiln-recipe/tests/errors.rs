//! Everything that can be wrong in family files, each with what a person is shown.

#![expect(
    clippy::unwrap_used,
    reason = "what tests share may panic, as tests do"
)]

use std::fmt::Write as _;

use kiln_recipe::{FamilyFiles, RecipeErrors, parse};
use proptest::prelude::*;

/// The smallest family in which every kind of component has a file.
fn files() -> FamilyFiles {
    let files = [
        ("kiln.toml", KILN),
        ("bases/debian-12.toml", BASE),
        ("bases/debian-12/passwd", "root:x:0:0::/root:/bin/sh\n"),
        ("accelerators/cuda12.toml", CUDA),
        (
            "bundles/minimal/bundle.toml",
            "requirements = [\"pip~=26.3.0\"]\n",
        ),
        ("bundles/science/bundle.toml", SCIENCE),
        ("ides/jupyter/ide.toml", JUPYTER),
        ("ides/jupyter/files/start.sh", "#!/bin/sh\n"),
        ("keyrings/debian.asc", "key"),
    ];
    let files = files.map(|(path, text)| (path.to_owned(), text.as_bytes().to_vec()));
    FamilyFiles {
        files: files.into(),
        ..FamilyFiles::default()
    }
}

const KILN: &str = r#"[family]
name = "test"
release = "2026b"
default-base = "debian-12"

[sources]
debian = "https://mirror.example.org/debian"

[[image]]
base = "debian-12"
bundle = "science"
ide = "jupyter"

[[image]]
base = "debian-12"
accelerator = "cuda12"
bundle = "science"
ide = "jupyter"
"#;

const BASE: &str = r#"title = "Debian 12"
code = "d12"
distribution = "debian"
suite = "bookworm"
python = "3.11"
packages = ["python3", "libc6 (>= 2.36)"]

[[archive]]
source = "debian"
keyring = "debian.asc"

[env]
PATH = "/usr/bin:/bin"

[[file]]
source = "passwd"
to = "/etc/passwd"
"#;

const CUDA: &str = r#"kind = "cuda"
code = "cuda12"

[cuda]
version = "12.9"
flavour = "runtime"

[[archive]]
source = "nvidia"
suite = "bookworm"
keyring = "debian.asc"
bases = ["debian-12"]
"#;

const SCIENCE: &str = r#"extends = "minimal"
requirements = [
    "numpy~=2.4.0",
    "scipy~=1.17.0; python_version < '3.12'",
]
"#;

const JUPYTER: &str = r#"command = ["/start.sh"]
port = 8888

[env]
PATH = "/opt/bin:${PATH}"

[[file]]
source = "files/start.sh"
to = "/start.sh"
mode = "0755"
"#;

/// The errors after one edit of one file.
fn errors(path: &str, from: &str, to: &str) -> RecipeErrors {
    let mut files = files();
    let text = String::from_utf8(files.files[path].clone()).unwrap();
    assert!(text.contains(from), "`{from}` is not in {path}");
    files
        .files
        .insert(path.to_owned(), text.replacen(from, to, 1).into_bytes());
    parse(&files)
        .err()
        .unwrap_or_else(|| panic!("no error after {from:?} → {to:?}"))
}

fn report(path: &str, edits: &[(&str, &str)]) -> String {
    let texts: Vec<_> = edits
        .iter()
        .map(|(from, to)| errors(path, from, to).to_string())
        .collect();
    texts.join("\n\n")
}

#[test]
fn the_family_that_the_edits_start_from_is_right() {
    parse(&files()).unwrap_or_else(|errors| panic!("{errors}"));
}

#[test]
fn in_kiln_toml() {
    insta::assert_snapshot!(report(
        "kiln.toml",
        &[
            ("release =", "relase ="),
            ("name = \"test\"\n", ""),
            ("[family]", "[famly]"),
            ("name = \"test\"", "name = 12"),
            ("name = \"test\"", "name = \"Test Family\""),
            ("2026b", "2026-b"),
            ("2026b", ""),
            ("2026b", "a\\tb"),
            ("2026b\"", "2026b"),
            ("name = \"test\"", "name = \"test\"\nname = \"twice\""),
            ("debian-12\"\n\n[sources]", "debian-21\"\n\n[sources]"),
            ("[sources]", "name-pattern = \"{ide}-{bundel}\"\n[sources]"),
            (
                "[sources]",
                "name-pattern = \"{ide}{bundle}-{os}-{python}_{release}_{date}\"\n[sources]"
            ),
            (
                "[sources]",
                "name-pattern = \"{ide}-{bundle}-{os}-{python}_{release}\"\n[sources]"
            ),
            (
                "[sources]",
                "name-pattern = \"{ide}-{bundle}-{os}-{python}_{release}_{date}\"\n[sources]"
            ),
            (
                "[sources]",
                "platforms = [\"linux/amd64\", \"linux/riscv64\", \"linux/amd64\"]\n[sources]"
            ),
            ("[sources]", "platforms = []\n[sources]"),
            (
                "[sources]",
                "repository = \"registry.example/a:latest\"\n[sources]"
            ),
            ("[sources]", "uv = \"0.13\"\n[sources]"),
            (
                "[sources]",
                "[user]\nuid = -1\nprefix = \"opt\"\nhome = \"/a/../b\"\n[sources]"
            ),
            ("https://mirror", "mirror"),
            ("https://", "ftp://"),
            ("https://", "https://me:secret@"),
            ("debian = \"https", "Debian = \"https"),
        ]
    ));
}

#[test]
fn in_images() {
    insta::assert_snapshot!(report(
        "kiln.toml",
        &[
            ("bundle = \"science\"", "bundle = \"scince\""),
            ("ide = \"jupyter\"", "ide = \"vscode\""),
            ("accelerator = \"cuda12\"", "accelerator = \"cuda13\""),
            ("base = \"debian-12\"\naccelerator", "accelerator"),
            (
                "base = \"debian-12\"\naccelerator",
                "base = \"fedora\"\naccelerator"
            ),
            ("accelerator = \"cuda12\"\n", ""),
            ("[[image]]", "[image]"),
        ]
    ));
}

#[test]
fn in_bases() {
    insta::assert_snapshot!(report(
        "bases/debian-12.toml",
        &[
            ("code = \"d12\"\n", ""),
            ("code = \"d12\"", "code = \"d-12\""),
            ("distribution = \"debian\"", "distribution = \"devian\""),
            ("3.11", "3.11.2"),
            ("suite = \"bookworm\"", "suite = \"../bookworm\""),
            ("keyring = \"debian.asc\"", "keyring = \"debain.asc\""),
            ("keyring = \"debian.asc\"\n", ""),
            (
                "[[archive]]\nsource = \"debian\"\nkeyring = \"debian.asc\"\n",
                ""
            ),
            ("source = \"debian\"", "source = \"Debian Main\""),
            (
                "source = \"debian\"",
                "source = \"debian\"\ncheck-valid-until = \"no\""
            ),
            ("\"python3\"", "\"Python3\""),
            ("\"python3\"", "\"libc6\""),
            ("(>= 2.36)", "(> 2.36)"),
            ("(>= 2.36)", "(>= )"),
            ("(>= 2.36)", ">= 2.36"),
            ("(>= 2.36)", "(~ 2.36)"),
        ]
    ));
}

#[test]
fn in_requirements() {
    insta::assert_snapshot!(report(
        "bundles/science/bundle.toml",
        &[
            ("requirements", "requirments"),
            ("requirements = [", "requirements = [1, "),
            ("requirements = [", "requirements = \"x\"\npackages = ["),
            ("~=2.4.0", "~=2.4.0.*"),
            ("numpy~=2.4.0", "numpy 2.4.0"),
            ("numpy~=2.4.0", "nümpy~=2.4.0"),
            ("numpy~=2.4.0", "-r requirements.txt"),
            (
                "numpy~=2.4.0",
                "numpy @ https://files.example.org/numpy.whl"
            ),
            ("numpy~=2.4.0", "./numpy"),
            ("numpy~=2.4.0\"", "numpy~=2.4.0\", \"Numpy>=2\""),
            ("'3.12'", "'3.12"),
            ("numpy~=2.4.0", "numpy- ~=2.4.0"),
            ("numpy~=2.4.0", "numpy[all, x.]~=2.4.0"),
            ("\"minimal\"", "\"minimul\""),
            ("\"minimal\"", "\"science\""),
            ("\"minimal\"", "[\"minimal\"]"),
        ]
    ));
}

#[test]
fn in_what_components_share() {
    insta::assert_snapshot!(report(
        "ides/jupyter/ide.toml",
        &[
            ("command = [\"/start.sh\"]\n", ""),
            ("command = [\"/start.sh\"]", "command = [\"\"]"),
            ("8888", "88888"),
            ("8888", "0"),
            ("${PATH}", "${PTAH}"),
            ("${PATH}", "${PATH"),
            ("PATH = ", "\"MY PATH\" = "),
            ("PATH = \"/opt/bin:${PATH}\"", "PATH = 1"),
            ("files/start.sh", "files/strat.sh"),
            ("files/start.sh", "../../kiln.toml"),
            ("to = \"/start.sh\"", "to = \"start.sh\""),
            ("to = \"/start.sh\"", "to = \"/a/../start.sh\""),
            ("to = \"/start.sh\"", "to = \"/etc/passwd\""),
            ("0755", "4755"),
            ("0755", "rwxr-xr-x"),
            ("mode = \"0755\"", "owner = \"rooot\""),
            (
                "mode = \"0755\"\n",
                "[[file]]\nsource = \"files/start.sh\"\nto = \"/start.sh\"\n"
            ),
            ("mode = \"0755\"\n", "[winners]\n\"etc/x\" = \"y\"\n"),
        ]
    ));
}

#[test]
fn in_accelerators() {
    insta::assert_snapshot!(report(
        "accelerators/cuda12.toml",
        &[
            ("kind = \"cuda\"", "kind = \"cdua\""),
            ("kind = \"cuda\"\n", ""),
            ("kind = \"cuda\"", "kind = \"rocm\""),
            ("code = \"cuda12\"", "code = \"cuda-12\""),
            ("12.9", "12"),
            ("12.9", "12.09"),
            ("version = \"12.9\"\n", ""),
            ("flavour = \"runtime\"", "flavour = \"develop\""),
            ("flavour = \"runtime\"\n", ""),
            (
                "flavour = \"runtime\"",
                "flavour = \"runtime\"\ndriver = \"newest\""
            ),
            (
                "[cuda]\nversion = \"12.9\"\nflavour = \"runtime\"\n",
                "cuda = true\n"
            ),
            ("\n[cuda]\nversion = \"12.9\"\nflavour = \"runtime\"\n", ""),
            ("suite = \"bookworm\"\n", ""),
            ("\"debian-12\"", "\"debian-21\""),
            ("\"debian-12\"", "\"debian-12\", \"debian-12\""),
        ]
    ));
}

#[test]
fn in_rules_of_components() {
    let kept = "extends = \"minimal\"\n";
    let with = |more: &str| format!("{more}\n{kept}");
    let edits = [
        "python = \">=3.11,<\"",
        "python = \"\"",
        "python = \"3.11\"",
        "python = \">=3.11.2\"",
        "needs = [\"CUDA 12\"]",
        "needs = [\"cuda21\"]",
        "needs = [\"science\"]",
        "provides = [\"toolkit\", \"toolkit\"]",
        "max-size = 2000000000",
        "max-size = \"2 gb\"",
        "max-size = \"two gigabytes\"",
        "max-size = \"0 GB\"",
    ]
    .map(with);
    let edits: Vec<_> = edits.iter().map(|to| (kept, to.as_str())).collect();
    insta::assert_snapshot!(report("bundles/science/bundle.toml", &edits));
}

#[test]
fn in_python_indexes_and_waivers() {
    let last = "\"scipy~=1.17.0; python_version < '3.12'\",\n]\n";
    let with = |more: &str| format!("{last}\n{more}\n");
    let edits = [
        "[python-index.pytorch]\nprojects = []",
        "[python-index.pytorch]\nproject = [\"torch\"]",
        "[python-index.pytorch]\nprojects = [\"torch~=2.9\"]",
        "[python-index.pytorch]\nprojects = [\"torch\"]\n[python-index.other]\nprojects = [\"Torch\"]",
        "[python-index.PyTorch]\nprojects = [\"torch\"]",
        "[python-index.pypi]\nprojects = [\"torch\"]",
        "[[waive]]\nlint = \"mising-library\"\nreason = \"so\"",
        "[[waive]]\nlint = \"missing-library\"",
        "[[waive]]\nlint = \"missing-library\"\nreason = \" \"",
        "[[waive]]\nlint = \"missing-library\"\nsubject = \"lib[\"\nreason = \"so\"",
        "[waive]\nlint = \"missing-library\"",
    ]
    .map(with);
    let edits: Vec<_> = edits.iter().map(|to| (last, to.as_str())).collect();
    insta::assert_snapshot!(report("bundles/science/bundle.toml", &edits));

    // Two components of what is resolved together.
    let mut files = files();
    for (path, source) in [
        ("bundles/minimal/bundle.toml", "one"),
        ("bundles/science/bundle.toml", "two"),
    ] {
        let text = files.files.get_mut(path).unwrap();
        let table = format!("\n[python-index.{source}]\nprojects = [\"torch\"]\n");
        text.extend_from_slice(table.as_bytes());
    }
    insta::assert_snapshot!(parse(&files).unwrap_err(), @r#"
        bundles/science/bundle.toml:8:13: `bundle/minimal` already takes `torch` from `one`
           8 | projects = ["torch"]
             |             ^^^^^^^
        hint: one project comes from one index
    "#);
}

#[test]
fn an_ide_may_not_route_projects_of_images_without_it() {
    let mut files = files();
    let text = files.files.get_mut("ides/jupyter/ide.toml").unwrap();
    text.extend_from_slice(b"\n[python-index.corp]\nprojects = [\"torch\"]\n");
    insta::assert_snapshot!(parse(&files).unwrap_err(), @r"
        ides/jupyter/ide.toml:12:15: an IDE cannot say where Python projects come from, as images without it would have them from there, too
          12 | [python-index.corp]
             |               ^^^^
        hint: put it into the bundle or the accelerator
    ");
}

#[test]
fn in_the_layout_of_files() {
    type Edit = fn(&mut FamilyFiles);
    let add = |files: &mut FamilyFiles, path: &str, text: &str| {
        files
            .files
            .insert(path.to_owned(), text.as_bytes().to_vec());
    };
    let remove = |files: &mut FamilyFiles, path: &str| drop(files.files.remove(path));
    let edits: [(&str, Edit); 9] = [
        ("no kiln.toml", |files| {
            drop(files.files.remove("kiln.toml"));
        }),
        ("no bundle.toml", |files| {
            files
                .files
                .insert("bundles/other/files/x".to_owned(), Vec::new());
        }),
        ("no base", |files| {
            drop(files.files.remove("bases/debian-12.toml"));
        }),
        ("bundle names stand in image names", |files| {
            files
                .files
                .insert("bundles/data-science/bundle.toml".to_owned(), Vec::new());
        }),
        ("names of bases", |files| {
            files
                .files
                .insert("bases/Debian.toml".to_owned(), Vec::new());
        }),
        ("not UTF-8", |files| {
            files
                .files
                .insert("bundles/science/bundle.toml".to_owned(), vec![0xff]);
        }),
        ("too large", |files| {
            files.files.insert(
                "bundles/science/bundle.toml".to_owned(),
                vec![b'\n'; 1 << 21],
            );
        }),
        ("a circle", |files| {
            let text = |parent: &str| format!("extends = \"{parent}\"\n").into_bytes();
            files
                .files
                .insert("bundles/science/bundle.toml".to_owned(), text("minimal"));
            files
                .files
                .insert("bundles/minimal/bundle.toml".to_owned(), text("other"));
            files
                .files
                .insert("bundles/other/bundle.toml".to_owned(), text("science"));
        }),
        ("two bases with one code", |files| {
            let base = files.files["bases/debian-12.toml"].clone();
            files.files.insert("bases/again.toml".to_owned(), base);
            files
                .files
                .insert("bases/again/passwd".to_owned(), Vec::new());
            let kiln = "\n[[image]]\nbase = \"again\"\nbundle = \"science\"\nide = \"jupyter\"\n";
            files
                .files
                .get_mut("kiln.toml")
                .unwrap()
                .extend_from_slice(kiln.as_bytes());
        }),
    ];
    let mut report = String::new();
    for (what, edit) in edits {
        let mut files = files();
        edit(&mut files);
        let errors = parse(&files).expect_err(what);
        let _ = write!(report, "## {what}\n{errors}\n\n");
    }
    insta::assert_snapshot!(report);
    // Builtin components may get files, and files that belong to nothing are left alone.
    let mut files = files();
    add(&mut files, "ides/runtime/ide.toml", "title = \"No IDE\"\n");
    add(&mut files, "bundles/README.md", "not ours");
    remove(&mut files, "accelerators/cuda12.toml");
    let kiln = KILN
        .split("\n[[image]]\nbase = \"debian-12\"\naccelerator")
        .next()
        .unwrap();
    add(&mut files, "kiln.toml", kiln);
    let family = parse(&files).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(family.ides["runtime"].component.title, "No IDE");
}

#[test]
fn all_errors_of_all_files_are_reported_at_once_in_order_of_place() {
    let mut files = files();
    for (path, text) in [
        (
            "kiln.toml",
            KILN.replace("default-base", "defalut-base")
                .replace("\"2026b\"", "2026"),
        ),
        (
            "bundles/science/bundle.toml",
            SCIENCE.replace("extends", "extend"),
        ),
        (
            "ides/jupyter/ide.toml",
            "port = 1\ncommand = [\n".to_owned(),
        ),
    ] {
        files.files.insert(path.to_owned(), text.into_bytes());
    }
    insta::assert_snapshot!(parse(&files).unwrap_err());
}

proptest! {
    #[test]
    fn no_bytes_of_a_file_make_parsing_panic(
        which in any::<prop::sample::Index>(),
        bytes in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..200),
            "(\\PC|[\n=\"'\\[\\]{}#.,]){0,200}".prop_map(String::into_bytes),
        ],
    ) {
        let mut files = files();
        let paths: Vec<_> = files.files.keys().cloned().collect();
        files.files.insert(which.get(&paths).clone(), bytes);
        let _ = parse(&files).map_err(|errors| errors.to_string());
    }

    #[test]
    fn no_damage_to_a_file_makes_parsing_panic(
        which in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        length in 0_usize..20,
        by in "[a-z0-9\"'\\[\\]{}=,.\n$ -]{0,8}",
    ) {
        let mut files = files();
        let paths: Vec<_> = files.files.keys().cloned().collect();
        let content = files.files.get_mut(which.get(&paths)).unwrap();
        let start = at.index(content.len());
        let end = (start + length).min(content.len());
        content.splice(start..end, by.bytes());
        let _ = parse(&files).map_err(|errors| errors.to_string());
    }

    #[test]
    fn no_requirement_makes_parsing_panic(
        head in "[a-zA-Z]{1,3}[-_.]{0,2}( |\\[[a-z., -]{0,5}\\]?)?",
        version in "[<>=~!@;( ]{0,3}([0-9.*]{0,5}|\\PC{0,5})",
        marker in "( ?; ?[a-z_']{0,20}( (==|<|in|~=) )?['\"]?[a-z0-9.-]{0,5}['\"]?)?",
    ) {
        let mut files = files();
        let text = format!("{head}{version}{marker}");
        let toml = format!("requirements = [\n'''{text}''']\npackages = ['''{text}''']\n");
        files.files.insert("bundles/minimal/bundle.toml".to_owned(), toml.into_bytes());
        let _ = parse(&files).map_err(|errors| errors.to_string());
    }
}
