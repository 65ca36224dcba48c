//! Edits of a component's file.

use kiln_recipe::edit::{Bounds, Wanted, add, bounded, is_unbounded, remove};
use toml::{Table, Value};

use crate::{sections, shown};

/// A component's file (`file`) and what is put in one after the other (`python`, `os`), or taken out again
/// (`-python`, `-os`).
///
/// A file that reads still reads, and says what it said but for the one list; what was put in is there, and
/// again changes nothing; what was taken out is not.
pub fn edit(data: &[u8]) {
    let mut text = String::new();
    for (name, content) in sections(data) {
        let Ok(content) = std::str::from_utf8(content) else {
            continue;
        };
        match name {
            "file" => content.clone_into(&mut text),
            // The others are refused before they are edited.
            _ if text.parse::<Table>().is_err() => {}
            "python" => put_in(&mut text, Wanted::Python, content),
            "os" => put_in(&mut text, Wanted::Os, content),
            "-python" => take_out(&mut text, Wanted::Python, content),
            "-os" => take_out(&mut text, Wanted::Os, content),
            _ => {}
        }
    }
}

fn put_in(text: &mut String, wanted: Wanted, entry: &str) {
    let added = add(text, wanted, entry).inspect_err(|error| drop(error.hint()));
    let Some((new, change)) = shown(added) else {
        return;
    };
    let to = change.to.clone().expect("what was put in");
    let entries = entries(&new, wanted);
    assert!(entries.contains(&to), "`{to}` is not in {entries:?}");
    unconcerned_is_left(text, &new, wanted);
    // Blanks of what stood there stay as they are, blanks of what is put in become one.
    let is_plain = to.split_whitespace().collect::<Vec<_>>().join(" ") == to;
    if is_plain {
        again_is_nothing(&new, wanted, &to);
    }
    *text = new;
}

fn again_is_nothing(new: &str, wanted: Wanted, to: &str) {
    let (again, change) = add(new, wanted, to).expect("what was put in can be put in");
    assert!(change.is_none(), "{change:?}");
    assert_eq!(again, new);
    if wanted == Wanted::Python && is_unbounded(to) {
        let version = "1.2.3rc1".parse().expect("a version");
        let bounded = bounded(to, &version, Bounds::Minor);
        let (_, change) = add(new, wanted, &bounded).expect("a bound is as good as none");
        assert_eq!(change.to, Some(bounded));
    }
}

fn take_out(text: &mut String, wanted: Wanted, name: &str) {
    let removed = remove(text, wanted, name).inspect_err(|error| drop(error.hint()));
    let Some((new, gone)) = shown(removed) else {
        return;
    };
    let (before, after) = (entries(text, wanted), entries(&new, wanted));
    assert_eq!(after.len() + gone.len(), before.len());
    unconcerned_is_left(text, &new, wanted);
    assert!(
        remove(&new, wanted, name).is_err(),
        "`{name}` is still there"
    );
    *text = new;
}

/// All but the list is as it was.
fn unconcerned_is_left(before: &str, after: &str, wanted: Wanted) {
    let [mut before, mut after] = [before, after].map(table);
    before.remove(wanted.key());
    after.remove(wanted.key());
    // As text: a number that is none equals nothing.
    assert_eq!(format!("{before:?}"), format!("{after:?}"));
}

fn entries(text: &str, wanted: Wanted) -> Vec<String> {
    let list = table(text).remove(wanted.key());
    let Some(Value::Array(list)) = list else {
        return Vec::new();
    };
    let text = |entry: Value| entry.as_str().map(str::to_owned);
    list.into_iter().filter_map(text).collect()
}

fn table(text: &str) -> Table {
    text.parse().expect("what is edited is TOML")
}
