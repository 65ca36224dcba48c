//! The published schemas say what the readers say: the same keys, and of many small changes to
//! whole documents the schemas refuse none that the readers take. What the readers refuse beyond
//! that stands in a list.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    path::Path,
};

use kiln_lock::Lock;
use kiln_recipe::{FamilyFiles, Schema};
use serde_json::{Map, Value, json};

/// Documents in which every key stands.
const KILN: &str = r#"
[family]
name = "workbench"
release = "2026b"
description = "One sentence"
vendor = "Example Organisation"
source = "https://example.org/workbench"
licenses = "MIT"
repository = "localhost/workbench"
default-base = "a"
platforms = ["linux/amd64"]
name-pattern = "{cuda}-{ide}-{bundle}-{os}-{python}_{release}_{date}"
uv = "0.13.9"
pack-only = false
bytecode = true

[user]
uid = 1001
gid = 0
name = "default"
shell = "/bin/bash"
prefix = "/opt/app-root"
home = "/opt/app-root/src"

[sources]
debian = "https://mirror.example.org/debian"

[[image]]
base = "a"
accelerator = "a"
bundle = ["a", "b"]
ide = "a"
max-size = "4 GB"
exclude = [{ base = "a", accelerator = "a", bundle = "a", ide = ["a"] }]

[[waive]]
lint = "over-budget"
subject = "b*"
reason = "it is a test"
"#;
const COMPONENT: &str = r#"
title = "A"
description = "One sentence"
requirements = ["numpy~=2.4.0"]
packages = ["libodbc2 (>= 2.3)"]
needs = ["shared-thing"]
provides = ["shared-thing"]
conflicts = ["rocm"]
RANGE
[env]
NAME = "value"

[labels]
"dev.example.label" = "value"

[winners]
"/etc/mime.types" = "media-types"

[[file]]
source = "motd"
to = "/etc/motd.KIND"
mode = "0644"
owner = "root"

[[run]]
command = ["/bin/true"]
user = "root"
env = { NAME = "value" }

[[run.artifact]]
file = "motd"
to = "/mnt/motd"

[[run.artifact]]
source = "models"
path = "model.tar"
sha256 = "dc0e7c3a0d0a2c3cbb5a4f2b9a1c32c6a5b0a3ed9c5b59a5d1d2a7e4f7e6b3c1"
size = 184320
to = "/mnt/model"

INDEX
[[waive]]
lint = "missing-library"
subject = "libGL.so.1"
reason = "it is a test"

[from-source.KINDproject]
packages = ["gcc"]
requirements = ["meson-python"]
env = { CFLAGS = "-O2" }
"#;
const INDEX: &str = r#"
[python-index.other-KIND]
projects = ["KINDtorch"]
"#;
const CUDA: &str = r#"
kind = "cuda"
code = "cuda12"
"#;
const TOOLKIT: &str = r#"
[cuda]
version = "12.9"
flavour = "devel"
cudnn = true
driver = "minor"

[[archive]]
source = "nvidia"
suite = "bookworm"
components = ["main"]
keyring = "debian.asc"
check-valid-until = false
bases = ["a"]
"#;
const BASE: &str = r#"
code = "d12"
distribution = "debian"
suite = "bookworm"
python = "3.11"

[[archive]]
source = "debian"
suite = "bookworm-updates"
components = ["main"]
keyring = "debian.asc"
check-valid-until = false
"#;
const LOCK: &str = r#"
version = 1
family = "workbench"
release = "2026b"

[[tool]]
name = "uv"
version = "0.13.9"
source = "pypi"
file = "uv-0.13.9-py3-none-any.whl"
size = 5
sha256 = "DIGEST"

[[index]]
source = "debian"
suite = "bookworm"
date = "2026-11-14T10:00:00Z"
sha256 = "DIGEST"
signed_by = ["ABAB"]

[[request]]
component = "bundle/minimal"
requirements = ["pip"]
os_packages = ["bash"]
from = ["root"]
[request.python_indexes]
pytorch-cpu = ["torch"]
[request.from_source.x]
os_packages = ["gcc"]
requirements = ["cython"]
env = { CFLAGS = "-O1" }
[request.files]
"/etc/passwd" = "DIGEST"

[[image]]
name = "runtime-minimal-d12-py311_2026b_20261122"
platform = "linux/amd64"
base = "debian-12"
accelerator = "cpu"
bundle = "minimal"
ide = "runtime"
python = "3.11"
date = "2026-11-22"
fingerprint = "DIGEST"
sets = ["linux/amd64 debian-12"]

[[set]]
id = "linux/amd64 debian-12"
component = "base/debian-12"
debs = ["debian/bash"]
wheels = ["pypi/pip"]

[[deb]]
id = "debian/bash"
name = "bash"
version = "1:2.0-1"
architecture = "amd64"
source = "debian"
suite = "bookworm"
path = "pool/main/bash.deb"
size = 1234
sha256 = "DIGEST"
essential = true
multi_arch_same = false
depends = ["libc6"]

[[wheel]]
id = "pypi/pip"
name = "pip"
version = "1.0"
source = "pypi"
file = "pip-1.0-py3-none-any.whl"
size = 99
sha256 = "DIGEST"
requires = ["six (>=1.5)"]

[[wheel]]
id = "pypi/x"
name = "x"
version = "1.0"
source = "pypi"
file = "x-1.0-py3-none-any.whl"
size = 99
sha256 = "DIGEST"
[wheel.built_from]
file = "x-1.0.tar.gz"
size = 7
sha256 = "DIGEST"
base = "linux/amd64 debian-12"
debs = ["debian/bash"]
requirements = ["pypi/pip"]
env = { CFLAGS = "-O1" }
"#;

/// The whole document of a kind of file.
fn document(kind: &str) -> Value {
    let range = if kind == "base" {
        ""
    } else {
        "python = \">=3.11,<3.14\"\n"
    };
    let index = if kind == "ide" { "" } else { INDEX };
    let component = COMPONENT
        .replace("INDEX\n", index)
        .replace("KIND", kind)
        .replace("RANGE\n", range);
    let digest = format!("sha256:{}", "0123456789abcdef".repeat(4));
    // Keys stand before tables.
    let text = match kind {
        "kiln" => KILN.to_owned(),
        "base" => {
            let (keys, archive) = BASE.split_once("[[").unwrap();
            format!("{keys}{component}[[{archive}")
        }
        "accelerator" => format!("{CUDA}{component}{TOOLKIT}"),
        "bundle" => {
            format!("extends = \"a\"\nindependent = true\nmax-size = \"2 GB\"\n{component}")
        }
        "ide" => format!("command = [\"/bin/true\"]\nport = 8888\n{component}"),
        "lock" => LOCK.replace("DIGEST", &digest),
        _ => panic!("no document of {kind}"),
    };
    from_toml(&text)
}

fn from_toml(text: &str) -> Value {
    serde_json::to_value(text.parse::<toml::Table>().unwrap()).unwrap()
}

/// Why the reader refuses a document, if it does.
fn refused(kind: &str, document: &Value) -> Option<String> {
    let text = toml::to_string(document).unwrap();
    if kind == "lock" {
        return Lock::parse(&text).err().map(|error| error.to_string());
    }
    let mut family = FamilyFiles::default();
    let kinds = [
        ("kiln", "kiln.toml"),
        ("base", "bases/a.toml"),
        ("accelerator", "accelerators/a.toml"),
        ("bundle", "bundles/b/bundle.toml"),
        ("ide", "ides/a/ide.toml"),
    ];
    for (other, path) in kinds {
        let text = if other == kind {
            text.clone()
        } else {
            toml::to_string(&self::document(other)).unwrap()
        };
        family.files.insert(path.to_owned(), text.into_bytes());
    }
    for path in [
        "bases/a/motd",
        "accelerators/a/motd",
        "bundles/b/motd",
        "ides/a/motd",
        "bundles/a/bundle.toml",
        "keyrings/debian.asc",
    ] {
        family.files.insert(path.to_owned(), Vec::new());
    }
    kiln_recipe::parse(&family)
        .err()
        .map(|errors| errors.0[0].message.clone())
}

fn schemas() -> Vec<Schema> {
    let mut schemas = Vec::from(kiln_recipe::schemas());
    schemas.push(kiln_lock::schema());
    schemas
}

/// A compiled schema.
struct Validator {
    schemas: boon::Schemas,
    index: boon::SchemaIndex,
}

impl Validator {
    fn new(schema: &Schema) -> Self {
        let mut schemas = boon::Schemas::new();
        let mut compiler = boon::Compiler::new();
        let place = format!("kiln:///{}", schema.kind);
        let value = serde_json::from_str(schema.text).unwrap();
        compiler.add_resource(&place, value).unwrap();
        let index = compiler.compile(&place, &mut schemas).unwrap();
        Self { schemas, index }
    }

    fn error(&self, document: &Value) -> Option<String> {
        let checked = self.schemas.validate(document, self.index);
        checked.err().map(|error| format!("{error:#}"))
    }
}

/// The places in a document, as JSON pointers, with what stands there.
fn places(document: &Value) -> BTreeMap<String, Value> {
    fn walk(place: String, value: &Value, places: &mut BTreeMap<String, Value>) {
        match value {
            Value::Object(table) => {
                for (key, value) in table {
                    let key = key.replace('~', "~0").replace('/', "~1");
                    walk(format!("{place}/{key}"), value, places);
                }
            }
            Value::Array(items) => {
                for (index, value) in items.iter().enumerate() {
                    walk(format!("{place}/{index}"), value, places);
                }
            }
            _ => {}
        }
        places.insert(place, value.clone());
    }
    let mut all = BTreeMap::new();
    walk(String::new(), document, &mut all);
    all
}

/// Documents with one change each, by what changed.
fn changed(document: &Value) -> BTreeMap<String, Value> {
    let mut changed = BTreeMap::new();
    for (place, value) in places(document) {
        let mut instead = |with: Value| {
            let mut document = document.clone();
            if with != value {
                *document.pointer_mut(&place).unwrap() = with.clone();
                changed.insert(format!("{place} = {with}"), document);
            }
        };
        if let Value::Object(table) = &value {
            for key in table.keys() {
                let mut less = table.clone();
                less.remove(key);
                instead(less.into());
            }
            for more in [json!(1), json!("more")] {
                let mut table = table.clone();
                table.insert("zzz".to_owned(), more);
                instead(table.into());
            }
        }
        if place.is_empty() {
            continue;
        }
        for other in [
            json!(true),
            json!(0),
            json!(-1),
            json!(70_000),
            json!(4_294_967_295_u32),
            json!(1.5),
            json!(""),
            json!("Some words"),
            json!("0"),
            json!([]),
            json!([1]),
            json!([""]),
            json!({}),
            json!({"a": 1}),
        ] {
            instead(other);
        }
        match &value {
            Value::String(text) => {
                for text in [
                    text.to_uppercase(),
                    format!("../{text}"),
                    format!("{text}\u{7}"),
                ] {
                    instead(text.into());
                }
            }
            Value::Array(items) => {
                let first = items.first().unwrap().clone();
                instead([items.clone(), vec![first]].concat().into());
            }
            _ => {}
        }
    }
    changed
}

#[test]
fn whole_documents_are_what_schemas_and_readers_take() {
    for schema in schemas() {
        let document = document(schema.kind);
        assert_eq!(refused(schema.kind, &document), None, "{}", schema.kind);
        let error = Validator::new(&schema).error(&document);
        assert_eq!(error, None, "{}", schema.kind);
    }
}

#[test]
fn whole_documents_have_every_key_that_schemas_know() {
    /// The keys of a schema below `place`, items of lists and names of tables left out.
    fn keys(place: &str, schema: &Value, keys_: &mut BTreeSet<String>) {
        for inner in ["items", "additionalProperties"] {
            if schema[inner].is_object() {
                keys(place, &schema[inner], keys_);
            }
        }
        for (key, schema) in schema["properties"].as_object().into_iter().flatten() {
            let place = format!("{place}/{key}");
            keys(&place, schema, keys_);
            keys_.insert(place);
        }
    }
    for schema in schemas() {
        let value: Value = serde_json::from_str(schema.text).unwrap();
        let mut known = BTreeSet::new();
        keys("", &value, &mut known);
        let there: BTreeSet<String> = places(&document(schema.kind))
            .into_keys()
            .map(|place| {
                let is_name = |part: &&str| part.parse::<u8>().is_err();
                let parts: Vec<_> = place.split('/').filter(is_name).collect();
                let parts = parts.join("/");
                // Projects and indexes have names of their own.
                let parts = parts.replace(&format!("/{}project", schema.kind), "");
                let parts = parts.replace(&format!("/other-{}", schema.kind), "");
                parts.replace("/from_source/x", "/from_source")
            })
            .collect();
        let missing: Vec<_> = known.difference(&there).collect();
        assert!(missing.is_empty(), "{}: {missing:?}", schema.kind);
    }
}

#[test]
fn the_schema_of_the_lock_knows_the_keys_that_its_reader_knows() {
    let text = kiln_lock::schema().text;
    let schema: Value = serde_json::from_str(text).unwrap();
    let mut compared = 0;
    for (place, value) in places(&document("lock")) {
        let Value::Object(mut table) = value else {
            continue;
        };
        // The part of the schema that is for this table.
        let mut part = &schema;
        for key in place.split('/').skip(1) {
            part = if key.parse::<u8>().is_ok() {
                &part["items"]
            } else if part["properties"].is_object() {
                &part["properties"][key]
            } else {
                &part["additionalProperties"]
            };
        }
        let Some(properties) = part["properties"].as_object() else {
            continue;
        };
        table.insert("zzz".to_owned(), json!(1));
        let mut document = document("lock");
        *document.pointer_mut(&place).unwrap() = table.into();
        let message = refused("lock", &document).unwrap();
        let (_, expected) = message.split_once("expected one of ").expect(&message);
        let reader: BTreeSet<_> = expected.split('`').skip(1).step_by(2).collect();
        let schema: BTreeSet<_> = properties.keys().map(String::as_str).collect();
        assert_eq!(schema, reader, "{place}");
        compared += 1;
    }
    assert_eq!(compared, 11, "tables of the lock");
}

#[test]
fn readers_refuse_what_schemas_refuse_and_a_list_says_what_else() {
    let mut readers_alone = String::new();
    let mut schemas_alone = Vec::new();
    for schema in schemas() {
        let kind = schema.kind;
        let validator = Validator::new(&schema);
        for (what, document) in changed(&document(kind)) {
            let by_schema = validator.error(&document);
            match (by_schema, refused(kind, &document)) {
                (Some(error), None) => schemas_alone.push(format!("{kind} {what}: {error}")),
                (None, Some(why)) => {
                    writeln!(readers_alone, "{kind} {what}: {why}").unwrap();
                }
                _ => {}
            }
        }
    }
    // serde takes a list for a table whose keys may all be missing. Nothing writes that.
    schemas_alone.retain(|it| !it.starts_with("lock /request/0/from_source/x = []"));
    assert!(schemas_alone.is_empty(), "{}", schemas_alone.join("\n"));
    insta::assert_snapshot!(readers_alone);
}

#[test]
fn the_reference_family_and_its_lock_are_valid() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../family");
    let mut seen = Map::new();
    for schema in schemas() {
        let validator = Validator::new(&schema);
        let (directory, rest) = schema.files.split_once('*').unwrap_or((schema.files, ""));
        let mut files = vec![root.join(directory)];
        if schema.files.contains('*') {
            let entries = std::fs::read_dir(&files[0]).into_iter().flatten();
            files = entries
                .map(|entry| entry.unwrap().path().display().to_string())
                .filter(|path| rest.starts_with('/') || path.ends_with(rest))
                .map(|path| match rest.strip_prefix('/') {
                    Some(file) => format!("{path}/{file}").into(),
                    None => path.into(),
                })
                .collect();
        }
        for file in &files {
            let text = std::fs::read_to_string(file).unwrap();
            assert_eq!(
                validator.error(&from_toml(&text)),
                None,
                "{}",
                file.display()
            );
        }
        seen.insert(schema.kind.to_owned(), files.len().into());
    }
    let expected =
        json!({"kiln": 1, "base": 2, "accelerator": 5, "bundle": 12, "ide": 1, "lock": 1});
    assert_eq!(Value::from(seen), expected);
}
