//! Which paths a capture is of.

/// Other file systems are mounted there.
const NEVER: [&[u8]; 5] = [b"dev", b"proc", b"run", b"sys", b"tmp"];

/// Which paths are captured.
pub(super) struct Scope(Vec<Vec<u8>>);

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// It is captured.
    Inside,
    /// It is not captured, but something below it is.
    Above,
    /// Neither it nor anything below it is captured.
    Outside,
}

impl Scope {
    /// Everything below these directories, and they themselves; everything if there are none.
    pub(super) fn new(prefixes: &[String]) -> Self {
        Self(prefixes.iter().map(|prefix| relative(prefix)).collect())
    }

    pub(super) fn place(&self, path: &[u8]) -> Place {
        if NEVER.contains(&path) {
            Place::Outside
        } else if self.0.is_empty() || self.0.iter().any(|prefix| is_within(path, prefix)) {
            Place::Inside
        } else if self.0.iter().any(|prefix| is_within(prefix, path)) {
            Place::Above
        } else {
            Place::Outside
        }
    }
}

/// Whether `path` is `directory` or below it.
fn is_within(path: &[u8], directory: &[u8]) -> bool {
    match path.strip_prefix(directory) {
        Some(rest) => rest.is_empty() || directory.is_empty() || rest[0] == b'/',
        None => false,
    }
}

/// A path inside, without slashes at its ends.
pub(super) fn relative(path: &str) -> Vec<u8> {
    path.trim_matches('/').as_bytes().to_vec()
}
