//! `kiln.toml`.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    component::normal_path,
    error::suggest,
    matrix::{self, ImagePlace},
    model::{Combination, ComponentKind, Platform, User, Waiver},
    name::{NamePattern, is_name_part},
    parts::source_name,
    reader::{Table, Text},
    rules,
};

/// What `kiln.toml` says.
pub(crate) struct Settings {
    pub(crate) name: String,
    pub(crate) release: String,
    pub(crate) description: String,
    pub(crate) vendor: Option<String>,
    pub(crate) source: Option<String>,
    pub(crate) licenses: Option<String>,
    pub(crate) repository: String,
    pub(crate) default_base: Option<String>,
    pub(crate) platforms: Vec<Platform>,
    pub(crate) pattern: NamePattern,
    pub(crate) uv: Option<String>,
    pub(crate) user: User,
    pub(crate) pack_only: bool,
    pub(crate) bytecode: bool,
    pub(crate) sources: BTreeMap<String, String>,
    pub(crate) images: Vec<(Combination, ImagePlace)>,
    pub(crate) waivers: Vec<Waiver>,
}

/// The names of all components, by kind.
pub(crate) type Names<'a> = BTreeMap<ComponentKind, BTreeSet<&'a str>>;

impl Default for Settings {
    /// What stands in when `kiln.toml` cannot be read.
    fn default() -> Self {
        Self {
            name: String::new(),
            release: String::new(),
            description: String::new(),
            vendor: None,
            source: None,
            licenses: None,
            repository: String::new(),
            default_base: None,
            platforms: vec![Platform::LinuxAmd64],
            pattern: NamePattern::default(),
            uv: None,
            user: User::default(),
            pack_only: false,
            bytecode: true,
            sources: BTreeMap::new(),
            images: Vec::new(),
            waivers: Vec::new(),
        }
    }
}

/// Reads `kiln.toml`.
pub(crate) fn read(mut root: Table<'_>, names: &Names<'_>) -> Settings {
    let mut settings = Settings::default();
    match root.table("family") {
        Some(table) => family(table, names, &mut settings),
        None if root.has("family") => {}
        None => {
            let hint = "it has at least `name` and `release`".to_owned();
            root.error("missing the table `[family]`", Some(hint));
        }
    }
    if let Some(table) = root.table("user") {
        user(table, &mut settings.user);
    }
    for (name, url) in root.pairs("sources") {
        let Some(name) = source_name(&name) else {
            continue;
        };
        if is_source_url(&url) {
            settings.sources.insert(name, url.value);
        }
    }
    for table in root.tables("image") {
        let left = matrix::MAX_IMAGES - settings.images.len();
        settings.images.extend(matrix::read(table, names, left));
    }
    if root.lacks("image") {
        root.error(
            "the family has no `[[image]]`",
            Some("one for each image, or for several: `base`, `bundle` and `ide`".to_owned()),
        );
    }
    settings.waivers = rules::waivers(&mut root);
    root.finish();
    settings
}

fn family(mut table: Table<'_>, names: &Names<'_>, settings: &mut Settings) {
    if let Some(name) = table.required("name") {
        let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
        if !name.value.chars().all(legal) {
            name.error(
                format!("`{}` is not the name of a family", name.value),
                Some("lowercase letters, digits, `.`, `_` and `-`".to_owned()),
            );
        }
        settings.name = name.value;
    }
    if let Some(release) = table.required("release") {
        if !is_name_part(&release.value) {
            release.error(
                format!("`{}` cannot stand in image names", release.value),
                Some("lowercase letters, digits and dots, such as `2026b`".to_owned()),
            );
        }
        settings.release = release.value;
    }
    settings.description = table.string("description").unwrap_or_default();
    settings.vendor = table.string("vendor");
    settings.source = table.string("source");
    settings.licenses = table.string("licenses");
    settings.repository = match table.text("repository") {
        Some(text) => repository(text),
        None => format!("localhost/{}", settings.name),
    };
    settings.default_base = table
        .text("default-base")
        .and_then(|text| known(&text, ComponentKind::Base, names));
    if let Some(platforms) = table.texts("platforms") {
        settings.platforms = self::platforms(&platforms);
        if platforms.is_empty() {
            table.error(
                "`platforms` is empty",
                Some("leave it out for `linux/amd64`".to_owned()),
            );
        }
    }
    if let Some(text) = table.text("name-pattern") {
        match NamePattern::parse(&text.value) {
            Ok(pattern) => settings.pattern = pattern,
            Err(error) => {
                let hint = error.hint();
                text.error(format!("not a pattern of names: {error}"), hint);
            }
        }
    }
    settings.uv = table.text("uv").and_then(|text| {
        let numbers: Vec<_> = text.value.split('.').collect();
        let digits = |part: &&str| !part.is_empty() && part.bytes().all(|c| c.is_ascii_digit());
        if numbers.len() == 3 && numbers.iter().all(digits) {
            return Some(text.value);
        }
        let hint = Some("all three numbers, such as `0.13.9`".to_owned());
        text.error(
            format!("`{}` is not an exact version of uv", text.value),
            hint,
        );
        None
    });
    settings.pack_only = table.boolean("pack-only", settings.pack_only);
    settings.bytecode = table.boolean("bytecode", settings.bytecode);
    table.finish();
}

fn repository(text: Text<'_>) -> String {
    let value = &text.value;
    let legal = |c: char| c.is_ascii_alphanumeric() || "._-/:".contains(c);
    let parts_fine = value.split('/').all(|part| !part.is_empty());
    let last = value.rsplit('/').next().unwrap_or_default();
    if !value.chars().all(legal) || !parts_fine || last.contains(':') {
        text.error(
            format!("`{value}` is not the name of an image repository"),
            Some("without a scheme, a tag or a digest: `registry.example/team/workbench`".into()),
        );
    }
    text.value
}

fn platforms(texts: &[Text<'_>]) -> Vec<Platform> {
    let mut platforms = Vec::new();
    for text in texts {
        match text.value.parse::<Platform>() {
            Ok(platform) if platforms.contains(&platform) => {
                text.error(format!("`{platform}` is named twice"), None);
            }
            Ok(platform) => platforms.push(platform),
            Err(error) => text.error(error.to_string(), None),
        }
    }
    platforms
}

fn user(mut table: Table<'_>, user: &mut User) {
    if let Some((uid, _)) = table.integer("uid", u32::MAX - 1) {
        user.uid = uid;
    }
    if let Some((gid, _)) = table.integer("gid", u32::MAX - 1) {
        user.gid = gid;
    }
    if let Some(name) = table.text("name") {
        if is_login(&name.value) {
            user.name = name.value;
        } else {
            name.error(
                format!("`{}` is not a login name", name.value),
                Some("lowercase letters, digits, `_` and `-`, not beginning with a digit or `-`, at most 32".to_owned()),
            );
        }
    }
    for (key, path) in [
        ("prefix", &mut user.prefix),
        ("home", &mut user.home),
        ("shell", &mut user.shell),
    ] {
        let Some(text) = table.text(key) else {
            continue;
        };
        match normal_path(&text.value) {
            // Lines of `/etc/passwd` have fields between colons.
            Ok(()) if text.value.contains(':') => {
                text.error(format!("`{}` holds a colon", text.value), None);
            }
            Ok(()) => *path = text.value,
            Err(why) => text.error(format!("`{}` {why}", text.value), None),
        }
    }
    table.finish();
}

/// The login names that `useradd` of Debian takes without `--badname`.
fn is_login(name: &str) -> bool {
    let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-".contains(c);
    name.len() <= 32
        && name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.chars().all(legal)
}

/// Whether a source's address can be used; an error has been reported when not. Credentials are
/// refused: family files are shared.
fn is_source_url(text: &Text<'_>) -> bool {
    let Some((scheme, rest)) = text.value.split_once("://") else {
        text.error(
            format!("`{}` is not an address", text.value),
            Some("it begins with `https://`, `http://` or `file://`".to_owned()),
        );
        return false;
    };
    if !matches!(scheme, "https" | "http" | "file") {
        let hint = Some("it begins with `https://`, `http://` or `file://`".to_owned());
        text.error(
            format!("`{scheme}` is not a scheme that sources can have"),
            hint,
        );
        return false;
    }
    let authority = rest.split('/').next().unwrap_or_default();
    if authority.contains('@') {
        text.error(
            "the address of a source holds credentials",
            Some("put them into `~/.netrc`, where kiln finds them".to_owned()),
        );
        return false;
    }
    true
}

/// The name of a component that exists; an error has been reported where there is none.
pub(crate) fn known(text: &Text<'_>, kind: ComponentKind, names: &Names<'_>) -> Option<String> {
    let known = names.get(&kind);
    if known.is_some_and(|names| names.contains(text.value.as_str())) {
        return Some(text.value.clone());
    }
    let (one, many) = match kind {
        ComponentKind::Base => ("base", "bases"),
        ComponentKind::Accelerator => ("accelerator", "accelerators"),
        ComponentKind::Bundle => ("bundle", "bundles"),
        ComponentKind::Ide => ("IDE", "IDEs"),
    };
    let hint = suggest(&text.value, many, known.into_iter().flatten().copied());
    text.error(format!("unknown {one} `{}`", text.value), hint);
    None
}
