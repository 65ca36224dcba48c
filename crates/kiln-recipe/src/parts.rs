//! The files of components: what each kind has beyond what all have.

use crate::{
    component::{self, Context, Places, names_once},
    error::suggest,
    family::known,
    model::{Archive, Base, Bundle, ComponentId, ComponentKind, Ide, PythonVersion},
    name::is_name_part,
    reader::{Table, Text},
    size,
    source::Spot,
};

const DISTRIBUTIONS: [&str; 2] = ["debian", "ubuntu"];

/// Reads a base's file.
pub(crate) fn base(
    mut table: Table<'_>,
    id: ComponentId,
    dir: &str,
    context: &Context<'_>,
) -> (Base, Places) {
    let (component, places) = component::read(&mut table, id, dir, context);
    let code = table.required("code").map(|code| {
        if !is_name_part(&code.value) {
            code.error(
                format!("`{}` cannot stand in image names", code.value),
                Some("lowercase letters, digits and dots, such as `d12`".to_owned()),
            );
        }
        code.value
    });
    let distribution = table.required("distribution").map(|text| {
        if !DISTRIBUTIONS.contains(&text.value.as_str()) {
            let hint = suggest(&text.value, "distributions", DISTRIBUTIONS);
            text.error(format!("unknown distribution `{}`", text.value), hint);
        }
        text.value
    });
    let suite = table
        .required("suite")
        .map(|suite| word(suite, "suite"))
        .unwrap_or_default();
    let python = table.required("python").and_then(|text| {
        text.value
            .parse()
            .map_err(|error: String| text.error(error, None))
            .ok()
    });
    let archives: Vec<_> = table
        .tables("archive")
        .into_iter()
        .filter_map(|table| archive(table, Some(&suite), context))
        .collect();
    if table.lacks("archive") {
        table.error(
            "missing `[[archive]]`: a base takes its packages from at least one",
            Some(
                "`source`, `suite`, `components` and `keyring`, as in the reference family".into(),
            ),
        );
    }
    table.finish();
    let base = Base {
        component,
        code: code.unwrap_or_default(),
        distribution: distribution.unwrap_or_default(),
        suite,
        python: python.unwrap_or(PythonVersion { major: 3, minor: 0 }),
        archives,
    };
    (base, places)
}

/// Reads an archive: of a base that has this suite, or of an accelerator, which says for which
/// bases it is.
pub(crate) fn archive(
    mut table: Table<'_>,
    base_suite: Option<&str>,
    context: &Context<'_>,
) -> Option<Archive> {
    let at = table.source.spot(&table.span()).at;
    let source = table.required("source");
    let suite = match base_suite {
        Some(suite) => Some(
            table
                .text("suite")
                .map_or_else(|| suite.to_owned(), self::suite),
        ),
        None => table.required("suite").map(self::suite),
    };
    let is_flat = suite.as_ref().is_some_and(|suite| suite.ends_with('/'));
    let components = match table.texts("components") {
        Some(list) if is_flat && !list.is_empty() => {
            list[0].error(
                "a flat repository has no components",
                Some("leave `components` out where the suite ends in `/`".to_owned()),
            );
            Vec::new()
        }
        _ if is_flat => Vec::new(),
        None => vec!["main".to_owned()],
        Some(list) => list
            .into_iter()
            .map(|name| word(name, "component"))
            .collect(),
    };
    let keyring = table.required("keyring");
    let check_valid_until = table.boolean("check-valid-until", true);
    let mut bases = Vec::new();
    if base_suite.is_none() {
        let texts = names_once(table.texts("bases").unwrap_or_default(), "bases");
        bases.extend(
            texts
                .iter()
                .filter_map(|it| known(it, ComponentKind::Base, context.names)),
        );
    }
    table.finish();
    let source = source_name(&source?)?;
    let (suite, keyring) = (suite?, keyring?);
    let path = format!("keyrings/{}", keyring.value);
    let Some(bytes) = context.files.files.get(&path) else {
        let known = context
            .files
            .files
            .keys()
            .filter_map(|name| name.strip_prefix("keyrings/"));
        let hint = suggest(&keyring.value, "keyrings", known.collect::<Vec<_>>());
        keyring.error(
            format!("no keyring `{}` in `keyrings`", keyring.value),
            hint,
        );
        return None;
    };
    Some(Archive {
        source,
        suite,
        components,
        keyring: path,
        keyring_bytes: bytes.clone(),
        check_valid_until,
        bases,
        at,
    })
}

/// A suite of an archive, or the directory of a flat repository: `./`, or a path that ends in `/`.
fn suite(text: Text<'_>) -> String {
    if matches!(text.value.as_str(), "/" | "./") {
        return text.value;
    }
    match text.value.strip_suffix('/') {
        Some(directory) => {
            let value = directory.to_owned();
            word(Text { value, ..text }, "suite") + "/"
        }
        None => word(text, "suite"),
    }
}

/// A suite or component of an archive: it becomes part of a path there.
fn word(text: Text<'_>, what: &str) -> String {
    let legal = |c: char| c.is_ascii_alphanumeric() || "-._~+/".contains(c);
    let value = &text.value;
    let parts_fine = value
        .split('/')
        .all(|part| !part.is_empty() && !part.starts_with('.'));
    if !value.chars().all(legal) || !parts_fine {
        text.error(format!("`{value}` is not the name of a {what}"), None);
    }
    text.value
}

/// The name of a source; an error has been reported where there is none.
pub(crate) fn source_name(text: &Text<'_>) -> Option<String> {
    let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let value = &text.value;
    let fine = value.starts_with(|c: char| c.is_ascii_lowercase()) && value.chars().all(legal);
    if !fine {
        text.error(
            format!("`{value}` is not the name of a source"),
            Some("lowercase letters, digits and `-`, such as `debian-security`".to_owned()),
        );
    }
    fine.then(|| value.clone())
}

/// Reads a bundle's file. The spot is that of `extends`.
pub(crate) fn bundle(
    mut table: Table<'_>,
    id: ComponentId,
    dir: &str,
    context: &Context<'_>,
) -> (Bundle, Places, Option<Spot>) {
    let (component, places) = component::read(&mut table, id, dir, context);
    let extends = table.text("extends");
    let independent = table.boolean("independent", false);
    let max_size = size::limit(&mut table);
    table.finish();
    let mut spot = None;
    let extends = extends.and_then(|parent| {
        spot = Some(parent.source.spot(&parent.span));
        let bundles = context.names.get(&ComponentKind::Bundle);
        if bundles.is_some_and(|names| names.contains(parent.value.as_str())) {
            return Some(parent.value);
        }
        let known = bundles
            .into_iter()
            .flatten()
            .copied()
            .filter(|name| *name != component.id.name);
        let hint = suggest(&parent.value, "bundles", known);
        parent.error(format!("unknown bundle `{}`", parent.value), hint);
        None
    });
    (
        Bundle {
            component,
            extends,
            independent,
            max_size,
        },
        places,
        spot,
    )
}

/// Reads an IDE's file.
pub(crate) fn ide(
    mut table: Table<'_>,
    id: ComponentId,
    dir: &str,
    context: &Context<'_>,
) -> (Ide, Places) {
    let (component, places) = component::read(&mut table, id, dir, context);
    let is_runtime = component.id.name == "runtime";
    let command = table.texts("command").unwrap_or_default();
    if let Some(first) = command.first() {
        if is_runtime {
            first.error(
                "the IDE `runtime` starts nothing, so it has no command",
                None,
            );
        } else if first.value.is_empty() {
            first.error("the command is empty", None);
        }
    }
    if command.is_empty() && !is_runtime {
        table.error(
            "missing `command`: what starts when the image starts",
            Some("a list such as `[\"/opt/app-root/bin/start-notebook.sh\"]`".to_owned()),
        );
    }
    let port = table
        .integer("port", u16::MAX.into())
        .and_then(|(port, span)| {
            if port == 0 {
                table
                    .source
                    .error(&span, "`port` is 0, which is no port to serve", None);
            }
            u16::try_from(port).ok()
        });
    table.finish();
    let command = command.into_iter().map(|text| text.value).collect();
    (
        Ide {
            component,
            command,
            port,
        },
        places,
    )
}
