//! The lock as text: TOML, sorted, one fact a line, so that diffs read well and merges are easy.

use std::{collections::BTreeMap, fmt::Write as _};

use serde::{Deserialize as _, de::IntoDeserializer as _};
use toml::de::{DeTable, Deserializer};

use crate::{
    invariants::invariants,
    model::{LOCK_VERSION, Lock},
};

/// The largest lock, in bytes. One of 10,000 packages has about 5 MiB.
pub const MAX_LOCK: usize = 64 << 20;

const HEADER: &str =
    "# Written by `kiln lock`. Do not edit: change the family files and lock again.\n";

/// Why a text is not a lock.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LockError {
    /// Larger than [`MAX_LOCK`].
    #[error("the lock is larger than {} MiB", MAX_LOCK >> 20)]
    TooLarge,
    /// Not TOML, or not the keys and values of a lock.
    #[error("the lock is not valid, line {line}, column {column}: {message}")]
    Syntax {
        /// Line, from 1.
        line: usize,
        /// Column in characters, from 1.
        column: usize,
        /// What is wrong.
        message: String,
    },
    /// A later format.
    #[error(
        "the lock was written by a newer kiln: its version is {found}, this kiln reads {LOCK_VERSION}"
    )]
    Newer {
        /// Its version.
        found: i64,
    },
    /// A format that there never was.
    #[error("the lock has version {found}; the first is 1")]
    NoVersion {
        /// What it says.
        found: i64,
    },
    /// Text that is well-formed and yet no lock.
    #[error("the lock contradicts itself: {0}")]
    Invariant(String),
}

impl LockError {
    /// What a newcomer can do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Newer { .. } => "use the kiln that wrote it, or a later one".to_owned(),
            _ => "take the last good version from version control, or remove the lock and run \
                  `kiln lock`, which chooses all versions anew"
                .to_owned(),
        })
    }
}

impl Lock {
    /// Parses what [`Lock::render`] writes, and checks the invariants of the model.
    pub fn parse(text: &str) -> Result<Self, LockError> {
        if text.len() > MAX_LOCK {
            return Err(LockError::TooLarge);
        }
        let syntax = |error: &toml::de::Error| {
            let (line, column) = position(text, error.span().map_or(0, |span| span.start));
            LockError::Syntax {
                line,
                column,
                message: error.message().to_owned(),
            }
        };
        let table = DeTable::parse(text).map_err(|error| syntax(&error))?;
        // A newer format has keys that this one does not know, so its version comes first.
        let version = table.get_ref().get("version").and_then(|value| {
            let integer = value.get_ref().as_integer()?;
            i64::from_str_radix(integer.as_str(), integer.radix()).ok()
        });
        match version.filter(|found| *found != i64::from(LOCK_VERSION)) {
            Some(found) if found > i64::from(LOCK_VERSION) => {
                return Err(LockError::Newer { found });
            }
            Some(found) => return Err(LockError::NoVersion { found }),
            None => {}
        }
        let deserializer: Deserializer<'_> = table.into();
        let lock =
            Self::deserialize(deserializer.into_deserializer()).map_err(|error| syntax(&error))?;
        invariants(&lock).map_err(LockError::Invariant)?;
        Ok(lock)
    }

    /// [`Lock::render`], once [`Lock::parse`] has made the same lock of it: for who writes it to be
    /// read by others.
    pub fn render_checked(&self) -> Result<String, LockError> {
        let text = self.render();
        if Self::parse(&text)? == *self {
            return Ok(text);
        }
        let other = "what is read from it is another lock";
        Err(LockError::Invariant(other.to_owned()))
    }

    /// The lock as TOML. Equal locks give equal texts.
    pub fn render(&self) -> String {
        let mut out = Writer(HEADER.to_owned());
        out.integer("version", self.version.into());
        out.string("family", &self.family);
        out.string("release", &self.release);
        for tool in &self.tools {
            out.table("tool");
            out.string("name", &tool.name);
            out.string("version", &tool.version);
            out.string("source", &tool.source);
            out.string("file", &tool.file);
            out.integer("size", tool.size);
            out.string("sha256", &tool.sha256.to_string());
        }
        for index in &self.indexes {
            out.table("index");
            out.string("source", &index.source);
            out.string("suite", &index.suite);
            out.string("date", &index.date);
            out.string("sha256", &index.sha256.to_string());
            out.list("signed_by", &index.signed_by);
        }
        for request in &self.requests {
            out.table("request");
            out.string("component", &request.component.to_string());
            out.some("requirements", &request.requirements);
            out.some("os_packages", &request.os_packages);
            out.some("from", &request.from);
            if !request.python_indexes.is_empty() {
                out.child("request.python_indexes");
                for (source, projects) in &request.python_indexes {
                    out.list(&quoted(source), projects);
                }
            }
            for (project, how) in &request.from_source {
                out.child(&format!("request.from_source.{}", quoted(project)));
                out.some("os_packages", &how.os_packages);
                out.some("requirements", &how.requirements);
                if !how.env.is_empty() {
                    out.line("env", &inline(&how.env));
                }
            }
            if !request.files.is_empty() {
                out.child("request.files");
                for (path, digest) in &request.files {
                    out.string(&quoted(path), &digest.to_string());
                }
            }
        }
        self.render_images(&mut out);
        self.render_packages(&mut out);
        out.0
    }

    fn render_images(&self, out: &mut Writer) {
        for image in &self.images {
            out.table("image");
            out.string("name", &image.name);
            out.string("platform", &image.platform.to_string());
            out.string("base", &image.base);
            out.string("accelerator", &image.accelerator);
            out.string("bundle", &image.bundle);
            out.string("ide", &image.ide);
            out.string("python", &image.python.to_string());
            out.string("date", &image.date);
            out.string("fingerprint", &image.fingerprint.to_string());
            out.list("sets", &image.sets);
        }
        for set in &self.sets {
            out.table("set");
            out.string("id", &set.id);
            out.string("component", &set.component.to_string());
            out.some("debs", &set.debs);
            out.some("wheels", &set.wheels);
        }
    }

    fn render_packages(&self, out: &mut Writer) {
        for deb in &self.debs {
            out.table("deb");
            out.string("id", &deb.id.0);
            out.string("name", &deb.name);
            out.string("version", &deb.version);
            out.string("architecture", &deb.architecture);
            out.string("source", &deb.source);
            out.string("suite", &deb.suite);
            out.string("path", &deb.path);
            out.integer("size", deb.size);
            out.string("sha256", &deb.sha256.to_string());
            for (key, value) in [
                ("essential", deb.essential),
                ("multi_arch_same", deb.multi_arch_same),
            ] {
                if value {
                    out.line(key, "true");
                }
            }
            out.some("depends", &deb.depends);
        }
        for wheel in &self.wheels {
            out.table("wheel");
            out.string("id", &wheel.id.0);
            out.string("name", &wheel.name);
            out.string("version", &wheel.version);
            out.string("source", &wheel.source);
            out.string("file", &wheel.file);
            out.integer("size", wheel.size);
            out.string("sha256", &wheel.sha256.to_string());
            out.some("requires", &wheel.requires);
            if let Some(built) = &wheel.built_from {
                out.child("wheel.built_from");
                out.string("file", &built.file);
                out.integer("size", built.size);
                out.string("sha256", &built.sha256.to_string());
                out.string("base", &built.base);
                out.some("debs", &built.debs);
                out.some("requirements", &built.requirements);
                if !built.env.is_empty() {
                    out.line("env", &inline(&built.env));
                }
            }
        }
    }
}

/// Writes TOML. The values are few kinds; the `toml` crate's pretty printer would lay them out
/// otherwise from version to version.
struct Writer(String);

impl Writer {
    fn line(&mut self, key: &str, value: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "{key} = {value}");
    }

    fn string(&mut self, key: &str, value: &str) {
        self.line(key, &quoted(value));
    }

    fn integer(&mut self, key: &str, value: u64) {
        self.line(key, &value.to_string());
    }

    fn table(&mut self, name: &str) {
        let _ = writeln!(self.0, "\n[[{name}]]");
    }

    fn child(&mut self, name: &str) {
        let _ = writeln!(self.0, "[{name}]");
    }

    /// A list, one item a line; of one item at most, on one line.
    fn list<T: AsRef<str>>(&mut self, key: &str, items: &[T]) {
        match items {
            [] => self.line(key, "[]"),
            [item] => self.line(key, &format!("[{}]", quoted(item.as_ref()))),
            _ => {
                let mut lines = String::new();
                for item in items {
                    let _ = writeln!(lines, "    {},", quoted(item.as_ref()));
                }
                self.line(key, &format!("[\n{lines}]"));
            }
        }
    }

    /// A list that is left out when it is empty.
    fn some<T: AsRef<str>>(&mut self, key: &str, items: &[T]) {
        if !items.is_empty() {
            self.list(key, items);
        }
    }
}

/// An inline table (TOML 1.0, "Inline Table").
fn inline(map: &BTreeMap<String, String>) -> String {
    let pairs = map
        .iter()
        .map(|(key, value)| format!("{} = {}", quoted(key), quoted(value)));
    format!("{{ {} }}", pairs.collect::<Vec<_>>().join(", "))
}

/// A TOML string (TOML 1.0, "String"): basic, or literal where that saves escapes.
fn quoted(text: &str) -> String {
    let plain = |c: char| !c.is_control() && c != '\'';
    if text.contains(['"', '\\']) && text.chars().all(plain) {
        return format!("'{text}'");
    }
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// Line and column, from 1, of a byte offset.
pub(crate) fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = String::from_utf8_lossy(&text.as_bytes()[..offset.min(text.len())]);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    (
        before.matches('\n').count() + 1,
        before[line_start..].chars().count() + 1,
    )
}
