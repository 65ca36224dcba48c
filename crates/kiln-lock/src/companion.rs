//! The companion, `kiln.layers`: known results of actions, committed beside the lock.
//!
//! One line for each result, sorted by key: two branches that learnt different results merge
//! without a conflict.
//!
//! ```text
//! # Written by kiln: results of actions that are known without running them.
//! version 1
//! sha256:<key> sha256:<digest> sha256:<diff id> <size> <unpacked size> <media type>
//! ```

use std::collections::BTreeMap;
use std::fmt::Write as _;

use kiln_digest::Digest;

/// The version of the companion's format.
pub const COMPANION_VERSION: u32 = 1;

/// The largest companion, in bytes.
pub const MAX_COMPANION: usize = 64 << 20;

const HEADER: &str = "# Written by kiln: results of actions that are known without running them.\n";

/// The layer that an action makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerRecord {
    /// Digest of the compressed layer.
    pub digest: Digest,
    /// Digest of the uncompressed layer.
    pub diff_id: Digest,
    /// Compressed size in bytes.
    pub size: u64,
    /// Uncompressed size in bytes.
    pub unpacked_size: u64,
    /// Its media type (image-spec, media-types.md).
    pub media_type: String,
}

/// Known results of actions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Companion {
    /// [`COMPANION_VERSION`].
    pub version: u32,
    /// Layers by the key of the action that makes them.
    pub layers: BTreeMap<Digest, LayerRecord>,
}

/// Why a text is not a companion.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompanionError {
    /// Larger than [`MAX_COMPANION`].
    #[error("the companion is larger than {} MiB", MAX_COMPANION >> 20)]
    TooLarge,
    /// A later format.
    #[error(
        "the companion was written by a newer kiln: its version is {0}, this kiln reads {COMPANION_VERSION}"
    )]
    Newer(u32),
    /// A line that says nothing understandable.
    #[error("line {line} of the companion {what}")]
    Line {
        /// Which line, from 1.
        line: usize,
        /// What is wrong with it: a fragment that fits after the line's number.
        what: String,
    },
}

impl CompanionError {
    /// What a newcomer can do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Newer(_) => "use the kiln that wrote it, or a later one".to_owned(),
            _ => "remove the file: it only saves work, and builds write it again".to_owned(),
        })
    }
}

impl Default for Companion {
    fn default() -> Self {
        Self {
            version: COMPANION_VERSION,
            layers: BTreeMap::new(),
        }
    }
}

impl Companion {
    /// Parses what [`Companion::render`] writes. Empty lines and lines with `#` in front say
    /// nothing; lines need not be sorted, as a merge may leave them.
    pub fn parse(text: &str) -> Result<Self, CompanionError> {
        if text.len() > MAX_COMPANION {
            return Err(CompanionError::TooLarge);
        }
        let mut lines = text
            .lines()
            .enumerate()
            .map(|(index, line)| (index + 1, line))
            .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        let (number, first) = lines.next().unwrap_or((1, ""));
        let version = first
            .strip_prefix("version ")
            .and_then(|it| it.parse::<u32>().ok());
        match version {
            Some(COMPANION_VERSION) => {}
            Some(newer) if newer > COMPANION_VERSION => return Err(CompanionError::Newer(newer)),
            _ => {
                let what = format!("must be `version {COMPANION_VERSION}`");
                return Err(CompanionError::Line { line: number, what });
            }
        }
        let mut layers = BTreeMap::new();
        for (number, line) in lines {
            let error = |what: &str| CompanionError::Line {
                line: number,
                what: what.to_owned(),
            };
            let (key, record) = record(line).ok_or_else(|| error("is not a result"))?;
            match layers.get(&key) {
                Some(known) if *known != record => {
                    return Err(error("gives an action another result than an earlier line"));
                }
                _ => drop(layers.insert(key, record)),
            }
        }
        Ok(Self {
            version: COMPANION_VERSION,
            layers,
        })
    }

    /// The companion as text. Equal companions give equal texts.
    pub fn render(&self) -> String {
        let mut text = format!("{HEADER}version {}\n", self.version);
        for (key, layer) in &self.layers {
            let LayerRecord {
                digest,
                diff_id,
                size,
                unpacked_size,
                media_type,
            } = layer;
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "{key} {digest} {diff_id} {size} {unpacked_size} {media_type}"
            );
        }
        text
    }
}

fn record(line: &str) -> Option<(Digest, LayerRecord)> {
    let fields: Vec<_> = line.split(' ').collect();
    let [key, digest, diff_id, size, unpacked_size, media_type] = fields.as_slice() else {
        return None;
    };
    let number = |text: &str| text.parse().ok().filter(|it: &u64| it.to_string() == text);
    let record = LayerRecord {
        digest: digest.parse().ok()?,
        diff_id: diff_id.parse().ok()?,
        size: number(size)?,
        unpacked_size: number(unpacked_size)?,
        media_type: (*media_type).to_owned(),
    };
    let visible = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic());
    visible(media_type).then_some((key.parse().ok()?, record))
}
