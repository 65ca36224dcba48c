//! Control files and what dpkg makes of them below `var/lib/dpkg/info`.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;

use bytes::Bytes;
use kiln_layer::{Entry, EntryKind, EntryPath, Payload, REPRODUCIBLE_MTIME};
use md5::{Digest as _, Md5};

use super::Conffile;
use super::control::{ControlError, Paragraph};
use super::error::Fault;
use super::tar::{self, Kind, Member};
use super::tree::{self, Tree, TreeError};
use super::triggers::Triggers;

/// dpkg refuses longer names of control files.
const MAX_NAME: usize = 50;
/// Packages have a dozen control files; the largest known have forty.
const MAX_FILES: usize = 1000;

/// The members of `control.tar`.
pub(super) struct ControlFiles {
    files: Vec<ControlFile>,
}

struct ControlFile {
    name: String,
    member: Member,
    content: Bytes,
}

impl ControlFiles {
    /// Reads the archive. Like dpkg, it ignores names with a dot.
    pub(super) fn read(tar: &Bytes) -> Result<Self, Fault> {
        let members = tar::members(tar, MAX_FILES).map_err(|source| Fault::Tar {
            member: "control.tar".into(),
            source,
        })?;
        let mut files: Vec<ControlFile> = Vec::new();
        for member in members {
            let name = tree::shipped_name(&member.name);
            if name.is_empty() && member.kind == Kind::Directory {
                continue;
            }
            let shown = String::from_utf8_lossy(&name[..name.len().min(100)]).into_owned();
            let is_plain = name.len() <= MAX_NAME
                && name
                    .iter()
                    .all(|byte| byte.is_ascii_graphic() && *byte != b'/');
            let Kind::File(content) = &member.kind else {
                return Err(Fault::ControlMember(shown));
            };
            let is_again = files.iter().any(|file| file.name == shown);
            if !is_plain || is_again {
                return Err(Fault::ControlMember(shown));
            }
            if !shown.contains('.') {
                let content = content.clone();
                files.push(ControlFile {
                    name: shown,
                    member,
                    content,
                });
            }
        }
        Ok(Self { files })
    }

    pub(super) fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = self.files.iter().map(|file| file.name.clone()).collect();
        names.sort_unstable();
        names
    }

    pub(super) fn newest(&self) -> i64 {
        let times = self.files.iter().map(|file| file.member.mtime);
        times.max().unwrap_or_default()
    }

    fn text(&self, name: &'static str) -> Result<Option<&str>, Fault> {
        self.files
            .iter()
            .find(|file| file.name == name)
            .map(|file| str::from_utf8(&file.content).map_err(|_| Fault::NotText(name)))
            .transpose()
    }

    pub(super) fn paragraph(&self) -> Result<Paragraph, Fault> {
        let text = self.text("control").map_err(|_| ControlError::Encoding)?;
        Ok(Paragraph::parse(text.ok_or(ControlError::Missing)?)?)
    }

    pub(super) fn triggers(&self) -> Result<Triggers, Fault> {
        Ok(Triggers::parse(self.text("triggers")?.unwrap_or_default())?)
    }

    /// Whether the package declares configuration files.
    pub(super) fn has_conffiles(&self) -> Result<bool, Fault> {
        Ok(self.text("conffiles")?.is_some())
    }

    /// The configuration files with the digests of what the package ships, deb-conffiles(5).
    pub(super) fn conffiles(&self, tree: &Tree) -> Result<Vec<Conffile>, Fault> {
        let contents = tree.contents();
        let mut digests = Digests::default();
        let mut conffiles: Vec<Conffile> = Vec::new();
        let mut paths = HashSet::new();
        let lines = self.text("conffiles")?.unwrap_or_default().lines();
        for line in lines.map(str::trim_ascii_end) {
            if line.is_empty() {
                continue;
            }
            let shown = || line.chars().take(200).collect();
            let removed = line.strip_prefix("remove-on-upgrade ");
            let path = removed.map_or(line, str::trim_ascii_start);
            let content = path
                .strip_prefix('/')
                .and_then(|path| contents.get(path.as_bytes()));
            let md5 = match (removed, content) {
                (Some(_), _) if path.starts_with('/') => None,
                (None, Some(content)) => Some(digests.md5(content).to_owned()),
                _ => return Err(Fault::Conffile(shown())),
            };
            if !paths.insert(path) {
                return Err(Fault::RepeatedConffile(shown()));
            }
            let path = path.to_owned();
            conffiles.push(Conffile { path, md5 });
        }
        Ok(conffiles)
    }
}

/// Digests of views of the data archive. The names of one file share its bytes, so that bytes
/// are hashed once however many names they have.
#[derive(Default)]
struct Digests(HashMap<(*const u8, usize), String>);

impl Digests {
    fn md5(&mut self, bytes: &Bytes) -> &str {
        let place = (bytes.as_ptr(), bytes.len());
        self.0.entry(place).or_insert_with(|| md5(bytes))
    }
}

fn md5(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(32);
    for byte in Md5::digest(bytes) {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// The info files: the control files but `control`, the file list, and digests of the files when
/// the package brings none.
pub(super) fn entries(
    info_name: &str,
    control: ControlFiles,
    tree: &Tree,
) -> Result<Vec<Entry>, TreeError> {
    let place = |kind: &str| {
        EntryPath::new(format!("var/lib/dpkg/info/{info_name}.{kind}")).map_err(TreeError::Path)
    };
    let has_digests = control.files.iter().any(|file| file.name == "md5sums");
    let mut entries = vec![generated(place("list")?, file_list(tree))];
    if !has_digests {
        entries.push(generated(place("md5sums")?, md5sums(tree)));
    }
    for file in control.files {
        // dpkg ignores a file list in the package, with a warning.
        if ["control", "list"].contains(&file.name.as_str()) {
            continue;
        }
        entries.push(Entry {
            path: place(&file.name)?,
            kind: EntryKind::File(Payload::Plain(file.content)),
            mode: file.member.mode,
            uid: file.member.uid,
            gid: file.member.gid,
            mtime: file.member.mtime,
            capability: None,
        });
    }
    Ok(entries)
}

/// A file that dpkg writes itself.
pub(super) fn generated(path: EntryPath, content: Vec<u8>) -> Entry {
    Entry {
        path,
        kind: EntryKind::File(Payload::Plain(content.into())),
        mode: 0o644,
        uid: 0,
        gid: 0,
        mtime: REPRODUCIBLE_MTIME,
        capability: None,
    }
}

/// All paths as shipped in the order of the archive; the root is `/.`.
fn file_list(tree: &Tree) -> Vec<u8> {
    let mut list = Vec::new();
    for shipped in &tree.shipped {
        list.push(b'/');
        list.extend_from_slice(if shipped.path.is_empty() {
            b"."
        } else {
            &shipped.path
        });
        list.push(b'\n');
    }
    list
}

/// `md5sum` lines of all files, hard links and conffiles included, as dpkg 1.21 writes them.
fn md5sums(tree: &Tree) -> Vec<u8> {
    let mut digests = Digests::default();
    let mut lines = Vec::new();
    for shipped in &tree.shipped {
        if let Some(content) = &shipped.content {
            lines.extend_from_slice(digests.md5(content).as_bytes());
            lines.extend_from_slice(b"  ");
            lines.extend_from_slice(&shipped.path);
            lines.push(b'\n');
        }
    }
    lines
}
