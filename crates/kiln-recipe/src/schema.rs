//! JSON Schemas of the family's files, for editors. They are written by hand, as the readers are;
//! a test compares the keys of both.

/// The JSON Schema (draft 2020-12) of one kind of file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schema {
    /// The kind of file: `bundle`.
    pub kind: &'static str,
    /// The files that it is for, as a glob: `bundles/*/bundle.toml`.
    pub files: &'static str,
    /// The schema itself.
    pub text: &'static str,
}

/// The schemas of the family's files.
pub fn schemas() -> [Schema; 5] {
    let schema = |kind, files, text| Schema { kind, files, text };
    [
        schema(
            "kiln",
            "kiln.toml",
            include_str!("../schemas/kiln.schema.json"),
        ),
        schema(
            "base",
            "bases/*.toml",
            include_str!("../schemas/base.schema.json"),
        ),
        schema(
            "accelerator",
            "accelerators/*.toml",
            include_str!("../schemas/accelerator.schema.json"),
        ),
        schema(
            "bundle",
            "bundles/*/bundle.toml",
            include_str!("../schemas/bundle.schema.json"),
        ),
        schema(
            "ide",
            "ides/*/ide.toml",
            include_str!("../schemas/ide.schema.json"),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use serde_json::Value;

    use super::*;
    use crate::{FamilyFiles, parse};

    /// No key is near this one, so the errors list all that are known.
    const UNKNOWN: &str = "zzzzzzzz";

    /// The keys that the readers know, by file and table, taken from what they say about an
    /// unknown key in every table.
    fn keys_of_the_readers() -> BTreeMap<(String, String), BTreeSet<String>> {
        let table = |header: &str| format!("{header}\n{UNKNOWN} = 1\n");
        let ide = [
            "[[file]]",
            "[from-source.a]",
            "[[waive]]",
            "[[run]]",
            "[[run.artifact]]",
        ]
        .map(table)
        .concat();
        let ide = format!("{UNKNOWN} = 1\n{ide}");
        let component = format!("{ide}{}", table("[python-index.a]"));
        let base = format!("{component}[[archive]]\n{UNKNOWN} = 1\n");
        let accelerator = format!("{base}[cuda]\n{UNKNOWN} = 1\n");
        let kiln = format!(
            "{UNKNOWN} = 1\n[family]\n{UNKNOWN} = 1\n[user]\n{UNKNOWN} = 1\n[[image]]\nbase = \"a\"\nbundle = \"a\"\n{UNKNOWN} = 1\n[[image.exclude]]\n{UNKNOWN} = 1\n[[waive]]\n{UNKNOWN} = 1\n"
        );
        let files = [
            ("kiln.toml", &kiln),
            ("bases/a.toml", &base),
            ("accelerators/a.toml", &accelerator),
            ("bundles/a/bundle.toml", &component),
            ("ides/a/ide.toml", &ide),
        ];
        let files = files
            .map(|(path, text)| (path.to_owned(), text.clone().into_bytes()))
            .into();
        let mut keys = BTreeMap::new();
        let files = FamilyFiles {
            files,
            ..FamilyFiles::default()
        };
        for error in parse(&files).unwrap_err().0 {
            let Some(place) = error
                .message
                .strip_prefix(&format!("unknown key `{UNKNOWN}`"))
            else {
                continue;
            };
            let table = place
                .trim_start_matches(" in ")
                .replace(['`', '[', ']'], "")
                .replace("from-source.a", "from-source")
                .replace("python-index.a", "python-index");
            let hint = error.hint.unwrap();
            let known = hint
                .split('`')
                .skip(1)
                .step_by(2)
                .map(str::to_owned)
                .collect();
            keys.insert((error.at.file, table), known);
        }
        keys
    }

    /// The keys that the schemas know, by file and table.
    fn keys_of_the_schemas() -> BTreeMap<(String, String), BTreeSet<String>> {
        let mut keys = BTreeMap::new();
        for Schema { files, text, .. } in schemas() {
            let schema: Value = serde_json::from_str(text).unwrap();
            let file = files.replace('*', "a");
            let names = |object: &Value| -> Option<BTreeSet<String>> {
                Some(object["properties"].as_object()?.keys().cloned().collect())
            };
            keys.insert((file.clone(), String::new()), names(&schema).unwrap());
            let mut open = vec![(String::new(), &schema)];
            while let Some((table, schema)) = open.pop() {
                for (name, property) in schema["properties"].as_object().unwrap() {
                    // A table, a list of tables, or tables by name; tables of free keys have no
                    // properties.
                    let inner = [
                        property,
                        &property["items"],
                        &property["additionalProperties"],
                    ];
                    let Some(inner) = inner.into_iter().find(|it| names(it).is_some()) else {
                        continue;
                    };
                    let table = format!("{table}{name}");
                    keys.insert((file.clone(), table.clone()), names(inner).unwrap());
                    open.push((format!("{table}."), inner));
                }
            }
        }
        keys
    }

    #[test]
    fn schemas_know_the_keys_that_the_readers_know() {
        assert_eq!(keys_of_the_schemas(), keys_of_the_readers());
    }
}
