//! What components place, run and build from source: what it means, and what can be wrong in it.

#![expect(
    clippy::unwrap_used,
    reason = "what tests share may panic, as tests do"
)]

use kiln_digest::Digest;
use kiln_recipe::{
    ArtifactOrigin, Component, Family, FamilyFiles, PlacedFile, RecipeErrors, RunUser, parse,
};

const KILN: &str = r#"[family]
name = "test"
release = "2026b"

[user]
uid = 1234
gid = 5

[[image]]
base = "debian-12"
bundle = "science"
"#;

const BASE: &str = r#"code = "d12"
distribution = "debian"
suite = "bookworm"
python = "3.11"

[[archive]]
source = "debian"
keyring = "debian.asc"

[env]
PATH = "/bin"
"#;

const PARENT: &str = "[from-source.Py_Spark]\n";

const SCIENCE: &str = r#"extends = "minimal"

[env]
MODELS = "/opt/models"

[[file]]
source = "tree"
to = "/srv"

[[run]]
command = ["/bin/sh", "-ec", "tar -C $MODELS -xf /mnt/a.tar.gz"]
user = "root"

[run.env]
TMP = "${MODELS}/tmp"

[[run.artifact]]
source = "models"
path = "a/b.tar.gz"
sha256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
size = 5000000000
to = "/mnt/b.tar.gz"

[[run.artifact]]
file = "a.tar.gz"
to = "/mnt/a.tar.gz"

[[run]]
command = ["/bin/true"]

[from-source.docopt]
packages = ["gcc", "python3-dev (>= 3.11)"]
requirements = ["cython<3.1"]

[from-source.docopt.env]
CFLAGS = "-O2"
"#;

/// The family with this bundle.
fn files(science: &str) -> FamilyFiles {
    let files = [
        ("kiln.toml", KILN),
        ("bases/debian-12.toml", BASE),
        ("bundles/minimal/bundle.toml", PARENT),
        ("bundles/science/bundle.toml", science),
        ("bundles/science/a.tar.gz", "an archive"),
        ("bundles/science/tree/README", "read me"),
        ("bundles/science/tree/bin/tool", "#!/bin/sh"),
        ("bundles/science/tree-of-others/x", "not placed"),
        ("keyrings/debian.asc", "key"),
    ];
    FamilyFiles {
        files: files
            .map(|(path, text)| (path.to_owned(), text.as_bytes().to_vec()))
            .into(),
        executables: ["bundles/science/tree/bin/tool".to_owned()].into(),
        ..FamilyFiles::default()
    }
}

fn family(science: &str) -> Family {
    parse(&files(science)).unwrap_or_else(|errors| panic!("{errors}"))
}

fn science(family: &Family) -> &Component {
    &family.bundles["science"].component
}

fn placed(file: &PlacedFile) -> (&str, u32, (u32, u32)) {
    (&file.to, file.mode, file.owner)
}

#[test]
fn a_directory_places_every_file_below_it_and_no_other() {
    let family = family(SCIENCE);
    let files: Vec<_> = science(&family).files.iter().map(placed).collect();
    assert_eq!(
        files,
        [
            ("/srv/README", 0o644, (0, 0)),
            ("/srv/bin/tool", 0o755, (0, 0))
        ]
    );
}

#[test]
fn mode_and_owner_hold_for_every_file_of_a_directory() {
    let edited = SCIENCE.replace(
        "to = \"/srv\"",
        "to = \"/\"\nmode = \"0600\"\nowner = \"user\"",
    );
    let family = family(&edited);
    let files: Vec<_> = science(&family).files.iter().map(placed).collect();
    assert_eq!(
        files,
        [
            ("/README", 0o600, (1234, 5)),
            ("/bin/tool", 0o600, (1234, 5))
        ]
    );
}

#[test]
fn owners_have_names_and_numbers() {
    for (owner, ids) in [("root", (0, 0)), ("user", (1234, 5)), ("7:8", (7, 8))] {
        let to = format!("to = \"/opt/app-root/x\"\nowner = \"{owner}\"");
        let family = family(&SCIENCE.replace("to = \"/srv\"", &to));
        assert_eq!(science(&family).files[0].owner, ids, "{owner}");
    }
}

#[test]
fn a_command_has_a_user_an_environment_and_artifacts() {
    let family = family(SCIENCE);
    let [first, second] = &science(&family).runs[..] else {
        panic!("two commands");
    };
    assert_eq!(first.command[0], "/bin/sh");
    assert_eq!((first.user, second.user), (RunUser::Root, RunUser::Image));
    assert_eq!(first.env, [("TMP".to_owned(), "${MODELS}/tmp".to_owned())]);
    let [a, b] = &first.artifacts[..] else {
        panic!("two artifacts");
    };
    assert_eq!((a.to.as_str(), a.size), ("/mnt/a.tar.gz", 10));
    assert_eq!(a.sha256, Digest::of(b"an archive"));
    let path = "bundles/science/a.tar.gz".to_owned();
    assert_eq!(a.origin, ArtifactOrigin::Family(path));
    assert_eq!((b.to.as_str(), b.size), ("/mnt/b.tar.gz", 5_000_000_000));
    assert_eq!(b.sha256, Digest::of(b""));
    let (source, path) = ("models".to_owned(), "a/b.tar.gz".to_owned());
    assert_eq!(b.origin, ArtifactOrigin::Source { source, path });
}

#[test]
fn projects_built_from_source_have_normal_names() {
    let family = family(SCIENCE);
    let parent = &family.bundles["minimal"].component;
    assert!(parent.from_source.contains_key("py-spark"));
    let docopt = &science(&family).from_source["docopt"];
    assert_eq!(docopt.os_packages[1].name, "python3-dev");
    assert_eq!(docopt.requirements[0].text, "cython<3.1");
    assert_eq!(docopt.env["CFLAGS"], "-O2");
}

fn errors(files: &FamilyFiles) -> RecipeErrors {
    parse(files).err().unwrap()
}

/// What is said after each edit of the bundle.
fn report(edits: &[(&str, &str)]) -> String {
    let said = edits.iter().map(|(from, to)| {
        assert!(SCIENCE.contains(from), "`{from}` is not there");
        let files = files(&SCIENCE.replacen(from, to, 1));
        let errors = parse(&files).err();
        errors
            .unwrap_or_else(|| panic!("no error after {from:?} → {to:?}"))
            .to_string()
    });
    said.collect::<Vec<_>>().join("\n\n")
}

#[test]
fn what_is_wrong_in_commands() {
    insta::assert_snapshot!(report(&[
        ("command = [\"/bin/true\"]", ""),
        ("command = [\"/bin/true\"]", "command = []"),
        ("command = [\"/bin/true\"]", "command = \"/bin/true\""),
        ("\"/bin/true\"", "\"true\""),
        ("command = [\"/bin/true\"]", "comand = [\"/bin/true\"]"),
        ("user = \"root\"", "user = \"roto\""),
        ("${MODELS}/tmp", "${MODEL}/tmp"),
        ("TMP = ", "\"T M P\" = "),
    ]));
}

#[test]
fn what_is_wrong_in_artifacts() {
    insta::assert_snapshot!(report(&[
        ("to = \"/mnt/a.tar.gz\"", "to = \"mnt\""),
        ("to = \"/mnt/a.tar.gz\"", "to = \"/proc/x\""),
        ("to = \"/mnt/a.tar.gz\"", "to = \"/mnt/b.tar.gz/a\""),
        ("to = \"/mnt/a.tar.gz\"", ""),
        ("file = \"a.tar.gz\"", "file = \"b.tar.gz\""),
        ("file = \"a.tar.gz\"", "file = \"tree\""),
        ("file = \"a.tar.gz\"", ""),
        ("file = \"a.tar.gz\"", "file = \"a.tar.gz\"\nsize = 3"),
        ("\"models\"", "\"Models\""),
        ("\"a/b.tar.gz\"", "\"../b.tar.gz\""),
        ("e3b0", "e3b"),
        ("size = 5000000000", "size = -1"),
        ("size = 5000000000\n", ""),
        ("size = 5000000000", "sise = 5000000000"),
    ]));
}

#[test]
fn what_is_wrong_in_tables_of_projects() {
    let twice = "[from-source.docopt.env]\nCFLAGS = \"-O2\"\n[from-source.Docopt]\n";
    insta::assert_snapshot!(report(&[
        ("from-source.docopt]", "from-source.\"doc opt\"]"),
        ("[from-source.docopt.env]\nCFLAGS = \"-O2\"\n", twice),
        ("from-source.docopt]", "from-source.\"py.spark\"]"),
        ("\"gcc\"", "\"gcc-\", \"GCC\""),
        ("cython<3.1", "cython<<3.1"),
        ("requirements =", "requires ="),
    ]));
}

#[test]
fn two_ides_on_one_bundle_cannot_both_say_how_a_project_is_built() {
    let mut files = files(SCIENCE);
    for ide in ["lab", "code"] {
        let text = "command = [\"/start\"]\n[from-source.pandoc]\n";
        let path = format!("ides/{ide}/ide.toml");
        files.files.insert(path, text.as_bytes().to_vec());
    }
    let image = |bundle: &str, ide: &str| {
        format!("[[image]]\nbase = \"debian-12\"\nbundle = \"{bundle}\"\nide = \"{ide}\"\n")
    };
    let mut with = |images: &str| {
        let kiln = format!("{KILN}{images}");
        files
            .files
            .insert("kiln.toml".to_owned(), kiln.into_bytes());
        parse(&files)
    };
    // On different bundles their packages have nothing to do with each other.
    with(&(image("science", "lab") + &image("minimal", "code"))).unwrap();
    let errors = with(&(image("science", "lab") + &image("science", "code"))).unwrap_err();
    insta::assert_snapshot!(errors, @r"
    ides/code/ide.toml:2:14: `ide/lab` already says how `pandoc` is built
       2 | [from-source.pandoc]
         |              ^^^^^^
    hint: one says it for all whose packages are chosen together
    ");
}

#[test]
fn a_command_may_be_a_script_of_several_lines() {
    let script = SCIENCE.replace(
        "command = [\"/bin/true\"]",
        "command = [\"/bin/sh\", \"-ec\", \"\"\"\n\techo a\necho b\n\"\"\"]",
    );
    let family = kiln_recipe::parse(&files(&script)).unwrap();
    let runs = &family.bundles["science"].component.runs;
    let command = &runs.last().unwrap().command;
    assert_eq!(command[2], "\techo a\necho b\n");
}

#[test]
fn what_is_wrong_in_directories() {
    let mut linked = files(SCIENCE);
    let link = "bundles/science/tree/README".to_owned();
    linked.links.insert(link);
    let collision = SCIENCE.replace(
        "[[run]]\ncommand = [\"/bin/true\"]",
        "[[file]]\nsource = \"a.tar.gz\"\nto = \"/srv/README\"\n",
    );
    let mut odd_name = files(SCIENCE);
    let odd = "bundles/science/tree/a\nb".to_owned();
    odd_name.files.insert(odd, Vec::new());
    let said = [
        errors(&linked).to_string(),
        errors(&files(&collision)).to_string(),
        errors(&odd_name).to_string(),
        report(&[
            ("source = \"tree\"", "source = \"trees\""),
            ("source = \"tree\"", "source = \"..\""),
            ("source = \"tree\"", "source = \"/\""),
            (
                "source = \"tree\"\nto = \"/srv\"",
                "source = \"a.tar.gz\"\nto = \"/\"",
            ),
        ]),
    ];
    insta::assert_snapshot!(said.join("\n\n"));
}
