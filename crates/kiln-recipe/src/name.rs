//! The grammar of image names: rendering and parsing back.
//!
//! A pattern is literal text with the placeholders `{ide}`, `{bundle}`, `{os}`, `{python}`,
//! `{release}` and `{date}`, each exactly once, and at most one `{cuda}`, which may be spelt
//! `{accelerator}`. It stands for the code of the image's accelerator (`cuda`, `cuda12.devel`) and,
//! where that has none, for nothing, *together with one separator beside it*.
//!
//! What makes names parse back: no part of a name holds `-` or `_` ([`is_name_part`]), and every
//! placeholder is followed by one of the two or by the end. So a name falls apart in one way only,
//! and the number of separators tells whether an accelerator's code is there.
//!
//! Names are tags of OCI images, so they keep to the tag grammar (distribution-spec, "Pulling
//! manifests"): at most 128 of `[A-Za-z0-9_.-]`, not beginning with `.` or `-`.

/// The longest image name, in bytes: the longest OCI tag.
pub const MAX_NAME: usize = 128;

/// How image names look: `{cuda}-{ide}-{bundle}-{os}-{python}_{release}_{date}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamePattern {
    /// The pattern as written.
    pub text: String,
}

/// The parts of an image name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageName {
    /// The accelerator's code; none for images that compute on the processor alone.
    pub accelerator: Option<String>,
    /// The IDE, `runtime` for none.
    pub ide: String,
    /// The bundle.
    pub bundle: String,
    /// The base's code.
    pub os: String,
    /// `py311`.
    pub python: String,
    /// The family's release.
    pub release: String,
    /// The image's date, `YYYYMMDD`.
    pub date: String,
}

/// Why a text is not a [`NamePattern`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// A `{` that no known placeholder begins.
    #[error("unknown placeholder `{{{0}`")]
    Unknown(String),
    /// A placeholder that must stand once.
    #[error("`{{{0}}}` must stand exactly once")]
    NotOnce(&'static str),
    /// Both spellings of the accelerator's placeholder.
    #[error("`{{cuda}}` and `{{accelerator}}` are the same: one of them may stand once")]
    BothSpellings,
    /// Two placeholders without anything between them, or with something that a part may hold.
    #[error("after `{{{0}}}` must come `-`, `_` or the end")]
    NoSeparator(&'static str),
    /// The accelerator's placeholder at the end, after something else than a separator.
    #[error("before `{{{0}}}` at the end must come `-` or `_`")]
    AcceleratorAtEnd(&'static str),
    /// A character that image tags may not have.
    #[error("`{0}` may not stand in an image tag")]
    Character(char),
    /// A beginning that image tags may not have.
    #[error("an image tag may not begin with `.` or `-`")]
    Beginning,
}

impl PatternError {
    /// What a newcomer can do about it.
    pub fn hint(&self) -> Option<String> {
        let known: Vec<_> = PLACEHOLDERS.map(|name| format!("`{{{name}}}`")).into();
        Some(match self {
            Self::Unknown(_) => format!("known placeholders are {}", known.join(", ")),
            _ => format!("the usual pattern is `{}`", NamePattern::default().text),
        })
    }
}

/// Why a text is not a name after a pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is not an image name after `{pattern}`")]
pub struct NameError {
    name: String,
    pattern: String,
}

/// The two spellings of the placeholder for the accelerator's code.
const ACCELERATOR: [&str; 2] = ["cuda", "accelerator"];
const PLACEHOLDERS: [&str; 8] = [
    "cuda",
    "accelerator",
    "ide",
    "bundle",
    "os",
    "python",
    "release",
    "date",
];
const SEPARATORS: [char; 2] = ['-', '_'];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token<'a> {
    Literal(&'a str),
    Part(&'static str),
}

impl Token<'_> {
    /// Whether it is the placeholder for the accelerator's code.
    fn is_accelerator(&self) -> bool {
        matches!(self, Self::Part(name) if ACCELERATOR.contains(name))
    }
}

/// Whether a text may be a part of an image name: lowercase letters, digits and dots, a letter or
/// digit at both ends.
pub fn is_name_part(text: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.starts_with(alphanumeric)
        && text.ends_with(alphanumeric)
        && text.chars().all(|c| alphanumeric(c) || c == '.')
}

impl Default for NamePattern {
    fn default() -> Self {
        Self {
            text: "{cuda}-{ide}-{bundle}-{os}-{python}_{release}_{date}".to_owned(),
        }
    }
}

impl NamePattern {
    /// Parses a pattern, and makes sure that its names parse back.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let tokens = tokens(text)?;
        for placeholder in PLACEHOLDERS {
            let count = tokens
                .iter()
                .filter(|token| **token == Token::Part(placeholder))
                .count();
            let optional = ACCELERATOR.contains(&placeholder);
            if count > 1 || (count == 0 && !optional) {
                return Err(PatternError::NotOnce(placeholder));
            }
        }
        if tokens.iter().filter(|it| it.is_accelerator()).count() > 1 {
            return Err(PatternError::BothSpellings);
        }
        for (index, token) in tokens.iter().enumerate() {
            match (token, tokens.get(index + 1)) {
                (Token::Literal(literal), _) => {
                    if let Some(c) = literal.chars().find(|c| !is_tag_character(*c)) {
                        return Err(PatternError::Character(c));
                    }
                }
                (Token::Part(_), Some(Token::Literal(next))) if next.starts_with(SEPARATORS) => {}
                (Token::Part(name), None) if token.is_accelerator() => {
                    match index.checked_sub(1).map(|it| tokens[it]) {
                        Some(Token::Literal(before)) if before.ends_with(SEPARATORS) => {}
                        _ => return Err(PatternError::AcceleratorAtEnd(name)),
                    }
                }
                (Token::Part(_), None) => {}
                (Token::Part(name), _) => return Err(PatternError::NoSeparator(name)),
            }
        }
        // The name without a code may begin with what follows `{cuda}-`.
        for with_code in [true, false] {
            if let Some(Token::Literal(first)) = flatten(&tokens, with_code).first()
                && first.starts_with(['.', '-'])
            {
                return Err(PatternError::Beginning);
            }
        }
        Ok(Self {
            text: text.to_owned(),
        })
    }

    /// Whether names say the accelerator's code.
    pub fn has_accelerator(&self) -> bool {
        let said = |name: &str| self.text.contains(&format!("{{{name}}}"));
        ACCELERATOR.into_iter().any(said)
    }

    /// The name of an image. It parses back when each part [`is_name_part`], `python` is `py` and
    /// digits, and `date` is eight digits.
    pub fn render(&self, name: &ImageName) -> String {
        // A pattern that was not parsed stands for itself.
        let Ok(tokens) = tokens(&self.text) else {
            return self.text.clone();
        };
        flatten(&tokens, name.accelerator.is_some())
            .into_iter()
            .map(|token| match token {
                Token::Literal(literal) => literal,
                Token::Part(part) => match part {
                    "ide" => &name.ide,
                    "bundle" => &name.bundle,
                    "os" => &name.os,
                    "python" => &name.python,
                    "release" => &name.release,
                    "date" => &name.date,
                    _ => name.accelerator.as_deref().unwrap_or_default(),
                },
            })
            .collect()
    }

    /// The parts of a name that [`NamePattern::render`] made.
    pub fn parse_name(&self, text: &str) -> Result<ImageName, NameError> {
        let error = || NameError {
            name: text.chars().take(2 * MAX_NAME).collect(),
            pattern: self.text.clone(),
        };
        if text.len() > MAX_NAME {
            return Err(error());
        }
        let tokens = tokens(&self.text).map_err(|_| error())?;
        // At most one of the two fits: they differ in the number of separators.
        [false, true]
            .into_iter()
            .filter(|with_code| !with_code || self.has_accelerator())
            .find_map(|with_code| match_name(&flatten(&tokens, with_code), text))
            .ok_or_else(error)
    }
}

fn is_tag_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_.-".contains(c)
}

/// The literals and placeholders of a pattern, in order; no two literals stand side by side.
fn tokens(text: &str) -> Result<Vec<Token<'_>>, PatternError> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find('{') {
        if start > 0 {
            tokens.push(Token::Literal(&rest[..start]));
        }
        rest = &rest[start + 1..];
        let placeholder = PLACEHOLDERS
            .into_iter()
            .find(|name| {
                rest.strip_prefix(name)
                    .is_some_and(|rest| rest.starts_with('}'))
            })
            .ok_or_else(|| {
                let end = rest.find('}').map_or(rest.len(), |end| end + 1);
                PatternError::Unknown(rest[..end].to_owned())
            })?;
        tokens.push(Token::Part(placeholder));
        rest = &rest[placeholder.len() + 1..];
    }
    if !rest.is_empty() {
        tokens.push(Token::Literal(rest));
    }
    Ok(tokens)
}

/// The tokens of names with the accelerator's code, or of those without: then its placeholder is
/// missing together with the separator after it, or before it when it stands last.
fn flatten<'a>(tokens: &[Token<'a>], with_code: bool) -> Vec<Token<'a>> {
    let mut tokens = tokens.to_vec();
    let position = tokens.iter().position(Token::is_accelerator);
    if let (false, Some(position)) = (with_code, position) {
        tokens.remove(position);
        if let Some(Token::Literal(next)) = tokens.get_mut(position) {
            *next = next.get(1..).unwrap_or_default();
        } else if let Some(Token::Literal(last)) = tokens.last_mut() {
            *last = last.strip_suffix(SEPARATORS).unwrap_or(last);
        }
    }
    tokens.retain(|token| *token != Token::Literal(""));
    tokens
}

fn match_name(tokens: &[Token<'_>], text: &str) -> Option<ImageName> {
    let mut name = ImageName {
        accelerator: None,
        ide: String::new(),
        bundle: String::new(),
        os: String::new(),
        python: String::new(),
        release: String::new(),
        date: String::new(),
    };
    let mut rest = text;
    for token in tokens {
        match token {
            Token::Literal(literal) => rest = rest.strip_prefix(literal)?,
            Token::Part(part) => {
                let (value, after) = rest.split_at(rest.find(SEPARATORS).unwrap_or(rest.len()));
                rest = after;
                let digits = |text: &str| text.bytes().all(|c| c.is_ascii_digit());
                let (field, legal) = match *part {
                    "ide" => (&mut name.ide, is_name_part(value)),
                    "bundle" => (&mut name.bundle, is_name_part(value)),
                    "os" => (&mut name.os, is_name_part(value)),
                    "release" => (&mut name.release, is_name_part(value)),
                    "date" => (&mut name.date, value.len() == 8 && digits(value)),
                    "python" => {
                        let version = value.strip_prefix("py").unwrap_or_default();
                        (&mut name.python, version.len() >= 2 && digits(version))
                    }
                    _ => (name.accelerator.insert(String::new()), is_name_part(value)),
                };
                if !legal {
                    return None;
                }
                value.clone_into(field);
            }
        }
    }
    rest.is_empty().then_some(name)
}
