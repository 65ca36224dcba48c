//! The triggers of a package: deb-triggers(5).

/// What the `triggers` control file says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Triggers {
    /// `interest` directives.
    pub interests: Vec<Trigger>,
    /// `activate` directives.
    pub activates: Vec<Trigger>,
}

/// One directive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trigger {
    /// An absolute path for a file trigger, else a name.
    pub name: String,
    /// Whether the activating package need not wait for the interested one.
    pub noawait: bool,
}

impl Trigger {
    /// Whether a change of files activates it.
    pub fn is_file_trigger(&self) -> bool {
        self.name.starts_with('/')
    }
}

/// A line that is no directive.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of its triggers {problem}: `{text}`")]
pub struct TriggerError {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub problem: &'static str,
    /// The line, shortened.
    pub text: String,
}

/// Packages have one or two.
const MAX_TRIGGERS: usize = 1000;
/// Files of dpkg in the directory of the named triggers.
const RESERVED: [&str; 5] = ["File", "Lock", "Unincorp", ".", ".."];

impl Triggers {
    /// Reads the control file.
    pub fn parse(text: &str) -> Result<Self, TriggerError> {
        let mut triggers = Self::default();
        for (index, line) in text.lines().enumerate() {
            // deb-triggers(5) promises comments at the end of a line as well; dpkg takes them for
            // part of the name, which it then refuses.
            let directive = if line.trim_ascii_start().starts_with('#') {
                ""
            } else {
                line
            };
            let wrong = |problem| TriggerError {
                line: index + 1,
                problem,
                text: line.chars().take(100).collect(),
            };
            let mut words = directive.split_ascii_whitespace();
            let Some(word) = words.next() else { continue };
            let (verb, how) = word.split_once('-').unwrap_or((word, "await"));
            let list = match verb {
                "interest" => &mut triggers.interests,
                "activate" => &mut triggers.activates,
                _ => return Err(wrong("has an unknown directive")),
            };
            let noawait = match how {
                "await" => false,
                "noawait" => true,
                _ => return Err(wrong("has an unknown directive")),
            };
            let (Some(name), None) = (words.next(), words.next()) else {
                return Err(wrong("does not name one trigger"));
            };
            if !is_legal(name) {
                return Err(wrong("names an illegal trigger"));
            }
            if list.len() == MAX_TRIGGERS {
                return Err(wrong("is one directive too many"));
            }
            let name = name.to_owned();
            list.push(Trigger { name, noawait });
        }
        Ok(triggers)
    }
}

/// Names are file names of dpkg's database, and paths are words of its lines.
fn is_legal(name: &str) -> bool {
    let is_word = name.bytes().all(|byte| byte.is_ascii_graphic());
    is_word && (name.starts_with('/') || !name.contains('/') && !RESERVED.contains(&name))
}
