//! Adding to and removing from the lists of a component's file: text in, text out.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use kiln_recipe::edit::{self, Bounds, Change, EditError, Wanted};
use proptest::prelude::*;

fn add(text: &str, entry: &str) -> String {
    edit::add(text, Wanted::Python, entry).unwrap().0
}

fn changed(text: &str, entry: &str) -> (Option<String>, String) {
    let change = edit::add(text, Wanted::Python, entry).unwrap().1;
    (change.from, change.to.unwrap())
}

fn remove(text: &str, name: &str) -> String {
    edit::remove(text, Wanted::Python, name).unwrap().0
}

const BUNDLE: &str = r#"#:schema ../../schemas/bundle.schema.json
# What all of it stands on.
title = "Science"   # for people
extends = "minimal"

# Within a release only the last number moves.
requirements = [ # sorted
    # Its authors call it beta.
    "alpha~=1.0.0",  # first
    "psycopg[binary]~=3.3.0",

    "zeta~=1.0.0", # last
]
packages = ["libodbc2"]

[env]
A = "[not, a, list]"
"#;

#[test]
fn an_entry_gets_a_line_of_its_own_where_the_list_is_sorted() {
    let text = add(BUNDLE, "Numpy ~= 2.4.0");
    let line = "    \"psycopg[binary]~=3.3.0\",\n";
    let expected = BUNDLE.replace(line, &format!("    \"Numpy ~= 2.4.0\",\n{line}"));
    // Behind what stands before it, so that comments above the next entry stay with that.
    assert_eq!(text, expected);
    let text = add(BUNDLE, "zz");
    assert_eq!(text, BUNDLE.replace("# last\n", "# last\n    \"zz\",\n"));
    let text = add(BUNDLE, "aaa");
    assert_eq!(
        text,
        BUNDLE.replace("# sorted\n", "# sorted\n    \"aaa\",\n")
    );
}

#[test]
fn an_entry_of_a_list_without_order_goes_to_its_end() {
    let text = "requirements = ['b', 'a']\n";
    assert_eq!(add(text, "aa"), "requirements = ['b', 'a', 'aa']\n");
}

#[test]
fn lists_keep_their_form() {
    for (before, after) in [
        ("requirements = []\n", "requirements = [\"m\"]\n"),
        ("requirements = [ ]\n", "requirements = [\"m\"]\n"),
        ("requirements = [\n]\n", "requirements = [\n    \"m\",\n]\n"),
        (
            "requirements = [\n  # none yet\n]\n",
            "requirements = [\n  # none yet\n  \"m\",\n]\n",
        ),
        ("requirements = [\"b\"]", "requirements = [\"b\", \"m\"]"),
        ("requirements = [\"b\",]", "requirements = [\"b\", \"m\",]"),
        ("requirements = ['x']", "requirements = ['m', 'x']"),
        ("requirements = ['b','x']", "requirements = ['b', 'm','x']"),
        (
            "requirements = [\n\t\"b\"\n]\n",
            "requirements = [\n\t\"b\",\n\t\"m\"\n]\n",
        ),
        (
            "requirements = [\n  'b' # beta\n  ]\n",
            "requirements = [\n  'b', # beta\n  'm'\n  ]\n",
        ),
        (
            "requirements = [ 'a', 'b',\n  'x', 'y' ]\n",
            "requirements = [ 'a', 'b',\n  'm',\n  'x', 'y' ]\n",
        ),
        (
            "requirements = [\n  'b'\n  , # odd, but TOML\n  'x'\n]\n",
            "requirements = [\n  'b'\n  , # odd, but TOML\n  'm',\n  'x'\n]\n",
        ),
        (
            "\"requirements\" = [\"\"\"\nb\"\"\"]\n",
            "\"requirements\" = [\"\"\"\nb\"\"\", \"m\"]\n",
        ),
        (
            "requirements = [\r\n  'b',\r\n]\r\n",
            "requirements = [\r\n  'b',\r\n  'm',\r\n]\r\n",
        ),
    ] {
        assert_eq!(add(before, "m"), after);
    }
}

#[test]
fn a_list_that_is_not_there_comes_below_the_other_keys() {
    for (before, after) in [
        ("", "requirements = [\"m\"]\n"),
        ("# nothing", "# nothing\nrequirements = [\"m\"]\n"),
        ("title = 'T'", "title = 'T'\nrequirements = [\"m\"]"),
        (
            "title = 'T' # it\n\n[env]\nA = 'b'\n",
            "title = 'T' # it\nrequirements = [\"m\"]\n\n[env]\nA = 'b'\n",
        ),
        (
            "command = [\r\n  'x',\r\n]\r\n[env]\r\n",
            "command = [\r\n  'x',\r\n]\r\nrequirements = [\"m\"]\r\n[env]\r\n",
        ),
        (
            "env.A = '[x]'\nenv.B = '''\n[y]\n'''\n[labels]\n",
            "env.A = '[x]'\nenv.B = '''\n[y]\n'''\nrequirements = [\"m\"]\n[labels]\n",
        ),
        (
            "#:schema x.json\n# Its environment.\n  [env]\nA = 'b'\n",
            "#:schema x.json\nrequirements = [\"m\"]\n\n# Its environment.\n  [env]\nA = 'b'\n",
        ),
        (
            "\u{feff}[env]\nA = 'b'\n",
            "\u{feff}requirements = [\"m\"]\n\n[env]\nA = 'b'\n",
        ),
        (
            "\u{feff}title = 'T'\n",
            "\u{feff}title = 'T'\nrequirements = [\"m\"]\n",
        ),
        (
            "[[file]]\nsource = 'x'\n",
            "requirements = [\"m\"]\n\n[[file]]\nsource = 'x'\n",
        ),
    ] {
        assert_eq!(add(before, "m"), after);
        assert!(
            after
                .parse::<toml::Table>()
                .unwrap()
                .contains_key("requirements")
        );
    }
}

#[test]
fn a_project_is_replaced_where_it_stands_and_keeps_its_extras() {
    let text = "requirements = ['A.b[x]~=1.0 ; os_name == \"posix\"', 'c']  # two\n";
    for (entry, expected) in [
        ("a-b~=2.0", "a-b[x]~=2.0; os_name == \"posix\""),
        ("a_b[y]~=2.0", "a_b[x,y]~=2.0; os_name == \"posix\""),
        ("a-b[X]~=2.0", "a-b[x]~=2.0; os_name == \"posix\""),
        ("a-b[y,x]", "a-b[x,y]~=1.0; os_name == \"posix\""),
        ("a-b[x]>=2; os_name=='posix'", "a-b[x]>=2; os_name=='posix'"),
    ] {
        let (from, to) = changed(text, entry);
        assert_eq!(from.unwrap(), "A.b[x]~=1.0 ; os_name == \"posix\"");
        assert_eq!(to, expected);
        let new = add(text, entry);
        assert!(new.ends_with(", 'c']  # two\n"), "{new}");
        assert_eq!(
            edit::remove(&new, Wanted::Python, "a.b").unwrap().1.len(),
            1
        );
    }
    // What is asked for is there.
    for entry in ["A.B", "a-b[X]"] {
        let (same, change) = edit::add(text, Wanted::Python, entry).unwrap();
        assert!(change.is_none(), "{entry}");
        assert_eq!(same, text);
    }
}

#[test]
fn a_project_under_several_markers_is_meant_by_one_of_them() {
    let text = "requirements = [\"a==1; python_version<'3.12'\", \"a==2; python_version>='3.12'\"]";
    let new = add(text, "a==3; python_version >= '3.12'");
    let expected = text.replace(
        "a==2; python_version>='3.12'",
        "a==3; python_version >= '3.12'",
    );
    assert_eq!(new, expected);
    let new = add(text, "a==0; python_version < '3.9'");
    assert!(new.contains(r#""a==2; python_version>='3.12'", "a==0; python_version < '3.9'"]"#));
    let error = edit::add(text, Wanted::Python, "a~=4.0").unwrap_err();
    assert!(matches!(error, EditError::Ambiguous { .. }), "{error}");
    assert!(error.hint().unwrap().contains("marker"));
    let (text, gone) = edit::remove(text, Wanted::Python, "A").unwrap();
    assert_eq!((text.as_str(), gone.len()), ("", 2));
}

#[test]
fn os_packages_are_entries_of_their_own_list() {
    let (text, change) = edit::add(BUNDLE, Wanted::Os, "libexpat1 (>= 2.5)").unwrap();
    let list = r#"packages = ["libexpat1 (>= 2.5)", "libodbc2"]"#;
    assert_eq!(text, BUNDLE.replace(r#"packages = ["libodbc2"]"#, list));
    assert_eq!(change.name, "libexpat1");
    let (again, change) = edit::add(&text, Wanted::Os, "libexpat1").unwrap();
    assert_eq!(change.from.unwrap(), "libexpat1 (>= 2.5)");
    let back = edit::remove(&again, Wanted::Os, "libexpat1").unwrap().0;
    assert_eq!(back, BUNDLE);
    let error = edit::remove(BUNDLE, Wanted::Os, "libodbc").unwrap_err();
    assert_eq!(error.hint().unwrap(), "did you mean `libodbc2`?");
    let error = edit::remove(BUNDLE, Wanted::Os, "libodbc2 (= 1)").unwrap_err();
    assert!(matches!(error, EditError::NotAName { .. }), "{error}");
}

#[test]
fn an_entry_goes_with_its_line_and_the_comment_there() {
    assert_eq!(
        remove(BUNDLE, "ALPHA"),
        BUNDLE.replace("    \"alpha~=1.0.0\",  # first\n", "")
    );
    assert_eq!(
        remove(BUNDLE, "zeta"),
        BUNDLE.replace("    \"zeta~=1.0.0\", # last\n", "")
    );
    for (before, after) in [
        ("requirements = ['a', 'm']", "requirements = ['a']"),
        ("requirements = ['m', 'a']", "requirements = ['a']"),
        ("requirements = ['a', 'm',]", "requirements = ['a',]"),
        (
            "requirements = ['a','m' , 'z']",
            "requirements = ['a', 'z']",
        ),
        (
            "requirements = [\n 'a', # one\n 'm' # two\n # end\n]",
            "requirements = [\n 'a' # one\n # end\n]",
        ),
        (
            "requirements = [\n 'a', # one\n 'm' ]",
            "requirements = [\n 'a', # one\n  ]",
        ),
        (
            "requirements = [\n 'm' # two\n , 'z']",
            "requirements = [\n  # two\n  'z']",
        ),
        (
            "requirements = [ # all\n 'm',\n]\n",
            "requirements = [ # all\n]\n",
        ),
        (
            "# why\nrequirements = ['m']\n",
            "# why\nrequirements = []\n",
        ),
        ("requirements = ['m'] # why\n", "requirements = [] # why\n"),
        ("title = 'T'\nrequirements = [\n 'm'\n]\n", "title = 'T'\n"),
        ("requirements = ['m',]\n[env]\n", "[env]\n"),
    ] {
        assert_eq!(remove(before, "m"), after);
    }
}

#[test]
fn what_is_not_there_is_not_removed_and_near_names_are_told() {
    let error = edit::remove(BUNDLE, Wanted::Python, "psycpg").unwrap_err();
    assert_eq!(error.to_string(), "`psycpg` is not in `requirements`");
    assert_eq!(error.hint().unwrap(), "did you mean `psycopg`?");
    for entry in [
        "alpha~=1.0",
        "alpha[x]",
        "alpha; os_name == 'posix'",
        "alpha (>1)",
    ] {
        let error = edit::remove(BUNDLE, Wanted::Python, entry).unwrap_err();
        assert_eq!(error.hint().unwrap(), "name the package alone: `alpha`");
    }
    let error = edit::remove("title = 'x'", Wanted::Python, "a").unwrap_err();
    assert_eq!(error.hint(), None);
}

#[test]
fn what_is_no_requirement_is_not_added() {
    let error = edit::add(BUNDLE, Wanted::Python, "numpy=>2").unwrap_err();
    let EditError::Requirement { cause, .. } = error else {
        panic!("{error}");
    };
    assert_eq!(cause.bytes.unwrap().start, 5);
    for bad in ["", "a @ https://example.org/a.whl", "-r x.txt", "a-;"] {
        assert!(edit::add(BUNDLE, Wanted::Python, bad).is_err(), "{bad}");
    }
    assert!(edit::add(BUNDLE, Wanted::Os, "Lib").is_err());
    for text in ["requirements = 'a'", "requirements = [1]", "not TOML"] {
        let error = edit::add(text, Wanted::Python, "a").unwrap_err();
        assert_eq!(
            error,
            EditError::NoList {
                key: "requirements"
            }
        );
    }
}

#[test]
fn a_bound_takes_the_place_of_what_is_said_of_versions() {
    let version = "2.4.1".parse().unwrap();
    for (entry, expected) in [
        ("a", "a~=2.4.0"),
        (
            "a[x, y] ; os_name == 'posix'",
            "a[x,y]~=2.4.0; os_name == 'posix'",
        ),
        ("a (>1)", "a~=2.4.0"),
    ] {
        assert_eq!(edit::bounded(entry, &version, Bounds::Minor), expected);
    }
    assert!(edit::is_unbounded("a[x] ; os_name == 'posix'"));
    assert!(!edit::is_unbounded("a[x]>1"));
}

/// Files as people and tools write them: lists in many forms among other keys.
fn files() -> impl Strategy<Value = String> {
    let entry = "[a-e][a-e0-9]{0,3}(\\[x\\])?(~=1\\.[0-9])?";
    let comment = prop_oneof![Just(""), Just(" # why, \"not\" ['b']")];
    let between = (comment.clone(), any::<bool>(), any::<bool>());
    let items = proptest::collection::vec((entry, between, any::<bool>()), 0..6);
    let around = (
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
        comment,
    );
    (items, around).prop_map(|(items, around)| {
        let (above, trailing, below, windows, comment) = around;
        let mut text = String::from("title = \"T\"\n");
        if above {
            text.push_str("\n# Above.\n");
        }
        text.push_str("requirements = [");
        let count = items.len();
        let mut seen = std::collections::BTreeSet::new();
        for (place, (entry, (comment, breaks, own), single)) in items.into_iter().enumerate() {
            let name: String = entry
                .chars()
                .take_while(char::is_ascii_alphanumeric)
                .collect();
            let entry = if seen.insert(name) {
                entry
            } else {
                format!("u{place}")
            };
            text.push_str(if breaks { "\n    " } else { " " });
            if own {
                text.push_str("# Of the next.\n    ");
            }
            let quote = if single { '\'' } else { '"' };
            text.push(quote);
            text.push_str(&entry);
            text.push(quote);
            if place + 1 < count || trailing {
                text.push(',');
            }
            if !comment.is_empty() {
                text.push_str(comment);
                text.push_str("\n  ");
            }
        }
        text.push_str(if trailing { "\n]" } else { "]" });
        text.push_str(comment);
        text.push('\n');
        if below {
            text.push_str("packages = ['libx1'] # more\n\n[env]\nA = \"x\" # y\n");
        }
        if windows {
            text.replace('\n', "\r\n")
        } else {
            text
        }
    })
}

fn entries(text: &str) -> Vec<String> {
    let table: toml::Table = text.parse().unwrap();
    let list = table.get("requirements").and_then(|it| it.as_array());
    let list = list.into_iter().flatten();
    list.map(|it| it.as_str().unwrap().to_owned()).collect()
}

fn others(text: &str) -> toml::Table {
    let mut table: toml::Table = text.parse().unwrap();
    table.remove("requirements");
    table
}

fn comments(text: &str) -> usize {
    text.matches('#').count()
}

proptest! {
    #[test]
    fn what_is_added_and_removed_again_leaves_every_byte(text in files(), name in "[a-f]z{1,2}") {
        let before = entries(&text);
        let (added, change) = edit::add(&text, Wanted::Python, &name).unwrap();
        prop_assert_eq!(change, Change { name: name.clone(), from: None, to: Some(name.clone()) });
        let mut expected = before.clone();
        let place = entries(&added).iter().position(|it| *it == name).unwrap();
        expected.insert(place, name.clone());
        prop_assert_eq!(entries(&added), expected);
        prop_assert_eq!(others(&added), others(&text));
        prop_assert_eq!(comments(&added), comments(&text));
        // All that was there is there in order.
        let mut rest = added.chars();
        prop_assert!(before.is_empty() || text.chars().all(|it| rest.any(|other| other == it)));
        let removed = remove(&added, &name);
        if !before.is_empty() {
            prop_assert_eq!(removed, text);
        }
    }

    #[test]
    fn what_is_removed_is_gone_and_nothing_else(text in files(), place in 0_usize..6) {
        let before = entries(&text);
        prop_assume!(!before.is_empty());
        let entry = &before[place % before.len()];
        let name: String = entry.chars().take_while(char::is_ascii_alphanumeric).collect();
        let (removed, gone) = edit::remove(&text, Wanted::Python, &name).unwrap();
        prop_assert_eq!(gone[0].from.as_ref(), Some(entry));
        let expected: Vec<_> = before.iter().filter(|it| *it != entry).cloned().collect();
        prop_assert_eq!(entries(&removed), expected);
        prop_assert_eq!(others(&removed), others(&text));
        // At most the comment at the end of its line.
        prop_assert!(comments(&removed) + 1 >= comments(&text));
        let mut rest = text.chars();
        prop_assert!(removed.chars().all(|it| rest.any(|other| other == it)));
    }

    #[test]
    fn any_text_is_edited_or_refused(text in "(\\PC|\n|\r|\t|requirements|[=\\[\\],'\"#]){0,60}", entry in "\\PC{0,12}") {
        for wanted in [Wanted::Python, Wanted::Os] {
            if let Ok((new, change)) = edit::add(&text, wanted, &entry) {
                prop_assert!(new.parse::<toml::Table>().is_ok(), "{new}");
                let (back, _) = edit::remove(&new, wanted, &change.name).unwrap();
                prop_assert!(back.parse::<toml::Table>().is_ok(), "{back}");
            }
        }
    }
}
