//! Files of a commit, read out of the objects of a git repository. Nothing is checked out: no index
//! is used, and no hook or filter that the repository names runs.

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    io::{self, BufRead, BufReader, Read, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use kiln_recipe::{DIRECTORIES, FamilyFiles, MAX_FILE, MAX_FILES, MAX_TOTAL, RELEASES};

/// How many symbolic links may lead to a file, one to the next.
const MAX_LINKS: usize = 8;

/// Why git gave nothing.
#[derive(Debug)]
pub(super) enum GitError {
    /// It cannot be started.
    Missing(io::Error),
    /// It refused; what it said.
    Failed(String),
    /// What it has is not for us.
    Unusable(String),
}

impl From<io::Error> for GitError {
    fn from(error: io::Error) -> Self {
        Self::Unusable(format!("git ended early: {error}"))
    }
}

impl GitError {
    pub(super) fn in_words(self) -> String {
        match self {
            Self::Missing(error) => error.to_string(),
            Self::Failed(said) | Self::Unusable(said) => said,
        }
    }
}

/// The files of a family at a commit: those that are read of a directory, and its lock.
pub(super) struct Commit<'a> {
    dir: &'a Path,
    entries: BTreeMap<String, Entry>,
}

/// A file or a symbolic link of a commit.
struct Entry {
    mode: String,
    object: String,
    size: u64,
}

impl<'a> Commit<'a> {
    /// The family in `dir` at a revision; none where git does not know the revision. `lock` is the
    /// path of its lock, `release` the release with files of its own that is meant.
    pub(super) fn of(
        dir: &'a Path,
        revision: &str,
        lock: &str,
        release: Option<&str>,
    ) -> Result<Option<Self>, GitError> {
        let commit = format!("{revision}^{{commit}}");
        let mut known = git(dir);
        known.args(["rev-parse", "--verify", "--quiet", "--end-of-options"]);
        let commit = match printed(known.arg(commit)) {
            Ok(printed) => String::from_utf8_lossy(&printed).trim().to_owned(),
            Err(GitError::Failed(said)) if said.is_empty() => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut list = git(dir);
        list.args(["ls-tree", "-r", "-z", "-l", &commit, "--"])
            .args([lock, "kiln.toml"])
            .args(DIRECTORIES);
        if let Some(release) = release {
            list.arg(format!("{RELEASES}/{release}"));
        }
        let mut entries = BTreeMap::new();
        for line in printed(&mut list)?.split(|&byte| byte == 0) {
            // A name that is not UTF-8 is none that a family could name.
            let Some((path, entry)) = str::from_utf8(line).ok().and_then(parsed) else {
                continue;
            };
            entries.insert(path, entry);
        }
        Ok(Some(Self { dir, entries }))
    }

    /// The content of one file; none where the commit has no such file.
    pub(super) fn file(&self, path: &str, limit: u64) -> Result<Option<Vec<u8>>, GitError> {
        match self.entries.get(path).filter(|entry| entry.is_file()) {
            Some(entry) => Blobs::open(self.dir)?.read(path, entry, limit).map(Some),
            None => Ok(None),
        }
    }

    /// The family's files, as [`kiln_recipe::read_release`] finds them in a directory.
    pub(super) fn family(&self, release: Option<&str>) -> Result<FamilyFiles, GitError> {
        if !self.entries.contains_key("kiln.toml") {
            let why = "there is no `kiln.toml` in this directory at that revision";
            return Err(GitError::Unusable(why.to_owned()));
        }
        let mut reader = Reader {
            entries: &self.entries,
            blobs: Blobs::open(self.dir)?,
            found: FamilyFiles::default(),
            total: 0,
        };
        reader.files("")?;
        if let Some(name) = release {
            reader.files(&format!("{RELEASES}/{name}/"))?;
            reader.found.release = Some(name.to_owned());
        }
        Ok(reader.found)
    }
}

impl Entry {
    fn is_file(&self) -> bool {
        matches!(self.mode.as_str(), "100644" | "100755")
    }

    fn is_link(&self) -> bool {
        self.mode == "120000"
    }
}

/// One line of `git ls-tree -l`.
fn parsed(line: &str) -> Option<(String, Entry)> {
    let (about, path) = line.split_once('\t')?;
    let mut words = about.split_ascii_whitespace();
    let (mode, _kind) = (words.next()?, words.next()?);
    let object = words.next()?.to_owned();
    // What has no size, such as another repository, is not read.
    let size = words.next()?.parse().ok()?;
    let mode = mode.to_owned();
    Some((path.to_owned(), Entry { mode, object, size }))
}

/// Reads the files of a family.
struct Reader<'a> {
    entries: &'a BTreeMap<String, Entry>,
    blobs: Blobs,
    found: FamilyFiles,
    total: u64,
}

impl<'a> Reader<'a> {
    /// Reads what lies below `prefix`, which is the family's directory or a release's.
    fn files(&mut self, prefix: &str) -> Result<(), GitError> {
        for (place, entry) in self.entries {
            let Some(path) = place.strip_prefix(prefix) else {
                continue;
            };
            let ours = DIRECTORIES.iter().any(|name| {
                path.strip_prefix(name)
                    .is_some_and(|it| it.starts_with('/'))
            });
            if !ours && path != "kiln.toml" {
                continue;
            }
            let (file, through_link) = if entry.is_link() {
                (self.target(place, entry)?, true)
            } else if entry.is_file() {
                (entry, false)
            } else {
                continue;
            };
            self.total += file.size;
            if self.found.files.len() == MAX_FILES || self.total > MAX_TOTAL {
                let why = format!("`{place}` is one file or byte too many for a family");
                return Err(GitError::Unusable(why));
            }
            let bytes = self.blobs.read(place, file, MAX_FILE)?;
            // A release's own file takes the place of the family's, whatever that was.
            let path = path.to_owned();
            self.found.links.remove(&path);
            self.found.executables.remove(&path);
            if through_link {
                self.found.links.insert(path.clone());
            }
            if file.mode == "100755" {
                self.found.executables.insert(path.clone());
            }
            if !prefix.is_empty() {
                self.found.own.insert(path.clone(), place.clone());
            }
            self.found.files.insert(path, bytes);
        }
        Ok(())
    }

    /// The file that a symbolic link leads to, which is one of the family.
    fn target(&mut self, place: &str, link: &'a Entry) -> Result<&'a Entry, GitError> {
        let entries = self.entries;
        let (mut at, mut link) = (place.to_owned(), link);
        for _ in 0..MAX_LINKS {
            let target = self.blobs.read(&at, link, 4096)?;
            let next = str::from_utf8(&target).ok().and_then(|it| joined(&at, it));
            let Some((next, entry)) = next.and_then(|next| entries.get_key_value(&next)) else {
                break;
            };
            if entry.is_file() {
                return Ok(entry);
            }
            (at, link) = (next.clone(), entry);
        }
        Err(GitError::Unusable(format!(
            "`{place}` is a symbolic link that leads to no file of the family"
        )))
    }
}

/// The path that a link at `place` leads to, when that is inside the family.
fn joined(place: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> = place.split('/').collect();
    parts.pop();
    if target.starts_with('/') {
        return None;
    }
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

/// A running `git cat-file --batch`.
struct Blobs {
    child: Child,
    ask: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Blobs {
    fn open(dir: &Path) -> Result<Self, GitError> {
        let mut command = git(dir);
        command
            .args(["cat-file", "--batch"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = command.spawn().map_err(GitError::Missing)?;
        match (child.stdin.take(), child.stdout.take()) {
            (Some(ask), Some(answers)) => Ok(Self {
                child,
                ask,
                answers: BufReader::new(answers),
            }),
            _ => Err(io::Error::from(io::ErrorKind::BrokenPipe).into()),
        }
    }

    /// The content of an object, which is what lies at `path`.
    fn read(&mut self, path: &str, entry: &Entry, limit: u64) -> Result<Vec<u8>, GitError> {
        if entry.size > limit {
            let why = format!("`{path}` is larger than {limit} bytes");
            return Err(GitError::Unusable(why));
        }
        writeln!(self.ask, "{}", entry.object)?;
        let mut head = String::new();
        (&mut self.answers).take(256).read_line(&mut head)?;
        if head.trim_end() != format!("{} blob {}", entry.object, entry.size) {
            let why = format!("git does not have `{path}`: {}", head.trim_end());
            return Err(GitError::Unusable(why));
        }
        let mut bytes = Vec::new();
        // A line feed ends every answer.
        (&mut self.answers)
            .take(entry.size + 1)
            .read_to_end(&mut bytes)?;
        if bytes.pop() != Some(b'\n') || bytes.len() as u64 != entry.size {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        Ok(bytes)
    }
}

impl Drop for Blobs {
    fn drop(&mut self) {
        // It only reads: nothing is lost.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Git in `dir`, whatever repository a hook that runs kiln may mean, without hooks of the
/// repository, questions and the network.
fn git(dir: &Path) -> Command {
    let mut command = Command::new("git");
    for variable in [
        "GIT_DIR",
        "GIT_WORK_TREE",
        "GIT_INDEX_FILE",
        "GIT_PREFIX",
        "GIT_COMMON_DIR",
        "GIT_OBJECT_DIRECTORY",
    ] {
        command.env_remove(variable);
    }
    command
        .env("GIT_NO_LAZY_FETCH", "1")
        .env("GIT_TERMINAL_PROMPT", "0")
        .arg("-C")
        .arg(dir)
        .args(["-c", "core.hooksPath=/dev/null"])
        .args(["-c", "core.fsmonitor=false"])
        .stdin(Stdio::null());
    command
}

fn printed(command: &mut Command) -> Result<Vec<u8>, GitError> {
    let done = command.output().map_err(GitError::Missing)?;
    if done.status.success() {
        return Ok(done.stdout);
    }
    let said = String::from_utf8_lossy(&done.stderr).trim().to_owned();
    Err(GitError::Failed(said))
}
