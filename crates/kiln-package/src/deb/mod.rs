//! Debian packages → entries, and the dpkg database that belongs to them.
//!
//! # Words
//!
//! - *container*: the outer `ar` archive, deb(5): `debian-binary`, `control.tar`, `data.tar`;
//! - *control files*: the members of `control.tar`: the control paragraph, maintainer scripts,
//!   conffiles, triggers and so on, deb-control(5), deb-conffiles(5), deb-triggers(5);
//! - *info files*: what dpkg keeps of them below `var/lib/dpkg/info`;
//! - *shipped path*: a path as the archive spells it, without the leading `.`;
//! - *placed path*: where it goes after usr-merge, see [`UsrMerge`].
//!
//! # Algorithm
//!
//! The container is read in place. Both tar archives are decompressed under a limit into an
//! unlinked file that is then mapped (small ones stay in memory), so the payload of every file is
//! a view of that map and anonymous memory stays small. Members of the data archive become
//! entries at their placed paths; the control files become info files.
//!
//! # Invariants
//!
//! - No entry stands below anything but directories of its package: nothing can be written
//!   through a link that the package itself ships.
//! - Paths are normal and unique; devices, FIFOs, sockets and unknown members are refused.
//! - The result depends on the archive and on the usr-merge table only. Files, links and control
//!   files keep the times of the archive; directories and generated files have
//!   [`kiln_layer::REPRODUCIBLE_MTIME`]. Owners are the archive's numbers, modes its twelve bits.
//! - A hard link leads to a file of the same package, never to another link. Which name carries
//!   the payload in a sorted layer is settled when layers are merged.
//!
//! # Where this is stricter than dpkg
//!
//! Archives that two readers could understand in two ways are refused: a second data member, bytes
//! after the end of a tar archive, a path shipped twice, hard links to later files, a file below a
//! link. So is what dpkg never accepts: other compressions than gzip, xz and zstd are refused, too.

mod ar;
mod capability;
mod compression;
mod container;
mod control;
mod database;
mod error;
mod info;
mod relation;
mod tar;
mod tree;
mod triggers;
mod usr_merge;

use std::path::Path;

use bytes::Bytes;
use kiln_layer::Entry;

pub use self::ar::ArError;
pub use self::control::{ControlError, Paragraph};
pub use self::database::{unpacked_database, unpacked_onto};
pub use self::error::{DebError, Fault};
pub use self::tar::{TarError, TarProblem};
pub use self::tree::TreeError;
pub use self::triggers::{Trigger, TriggerError, Triggers};
pub use self::usr_merge::{UsrMerge, usr_merge_links};

/// What a package may cost to read. An archive that declares or unpacks to more is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the unpacked control archive.
    pub control_bytes: u64,
    /// Bytes of the unpacked data archive.
    pub data_bytes: u64,
    /// Members of the data archive.
    pub members: usize,
}

impl Default for Limits {
    /// Four times the largest package that is known (CUDA libraries, game data).
    fn default() -> Self {
        Self {
            control_bytes: 64 << 20,
            data_bytes: 16 << 30,
            members: 1_000_000,
        }
    }
}

/// Whether packages of several architectures can be installed together, deb-control(5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MultiArch {
    /// The default.
    No,
    /// Several architectures of this package can be installed together.
    Same,
    /// The package satisfies dependencies of any architecture.
    Foreign,
    /// Dependencies say which of the two it is.
    Allowed,
}

/// A configuration file of a package, deb-conffiles(5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conffile {
    /// Absolute, as the package spells it (not usr-merged).
    pub path: String,
    /// The MD5 of the shipped file in hexadecimal. `None` for a file marked `remove-on-upgrade`,
    /// which the package does not ship.
    pub md5: Option<String>,
}

/// All that the dpkg database says about a package, without its files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DebFacts {
    /// `Package`.
    pub name: String,
    /// `Version`.
    pub version: String,
    /// `Architecture`, also `all`.
    pub architecture: String,
    /// `Multi-Arch`.
    pub multi_arch: MultiArch,
    /// The control paragraph as shipped.
    pub control: Paragraph,
    /// Configuration files in the order of the package.
    pub conffiles: Vec<Conffile>,
    /// Triggers that the package is interested in or activates.
    pub triggers: Triggers,
    /// The names of the control files that dpkg reads, `control` included, sorted.
    pub control_files: Vec<String>,
    /// The newest modification time of the control files in seconds since the epoch: when the
    /// package was made. Debian's tools bring all times of a package to that of its changelog at
    /// the latest.
    pub built: i64,
}

impl DebFacts {
    /// The name in file names below `info/` and in trigger files: with the architecture for
    /// packages of which several can be installed, `libc6:amd64`.
    pub fn info_name(&self) -> String {
        match self.multi_arch {
            MultiArch::Same => format!("{}:{}", self.name, self.architecture),
            _ => self.name.clone(),
        }
    }

    /// Whether the package must be configured before others: `Essential` or `Protected`.
    pub fn is_essential(&self) -> bool {
        ["Essential", "Protected"]
            .iter()
            .any(|field| self.control.get(field) == Some("yes"))
    }
}

/// A package that was read.
#[derive(Debug, Clone)]
pub struct DebPackage {
    /// Its description in the dpkg database.
    pub facts: DebFacts,
    /// Its files and its info files, sorted by path.
    pub entries: Vec<Entry>,
}

/// Reads a package with the default [`Limits`].
///
/// `archive` is usually a map of the file and `file_name` its name for messages. `spool` is an
/// existing directory for the unpacked bytes; nothing is left in it.
pub fn read(
    archive: Bytes,
    file_name: &str,
    merge: &UsrMerge,
    spool: &Path,
) -> Result<DebPackage, DebError> {
    read_within(archive, file_name, merge, spool, &Limits::default())
}

/// Reads a package that may cost at most `limits`; else like [`read`].
#[expect(
    clippy::needless_pass_by_value,
    reason = "the entries hold views of the archive: the caller shares it"
)]
pub fn read_within(
    archive: Bytes,
    file_name: &str,
    merge: &UsrMerge,
    spool: &Path,
    limits: &Limits,
) -> Result<DebPackage, DebError> {
    read_parts(&archive, merge, spool, limits).map_err(|fault| DebError {
        file_name: file_name.to_owned(),
        fault,
    })
}

/// Reads what the dpkg database says about a package, without unpacking its files unless the
/// package has configuration files, whose digests the database holds. Else like [`read`].
#[expect(
    clippy::needless_pass_by_value,
    reason = "the same shape as `read`, whose entries hold views of the archive"
)]
pub fn read_facts(
    archive: Bytes,
    file_name: &str,
    merge: &UsrMerge,
    spool: &Path,
) -> Result<DebFacts, DebError> {
    let limits = Limits::default();
    let facts = || {
        let head = Head::read(&archive, spool, &limits)?;
        let tree = if head.control.has_conffiles()? {
            head.tree(merge, spool, &limits)?
        } else {
            tree::Tree::build(Vec::new(), merge)?
        };
        head.facts(&tree)
    };
    facts().map_err(|fault| DebError {
        file_name: file_name.to_owned(),
        fault,
    })
}

fn read_parts(
    archive: &Bytes,
    merge: &UsrMerge,
    spool: &Path,
    limits: &Limits,
) -> Result<DebPackage, Fault> {
    let head = Head::read(archive, spool, limits)?;
    let tree = head.tree(merge, spool, limits)?;
    let facts = head.facts(&tree)?;
    let info = info::entries(&facts.info_name(), head.control, &tree)?;
    let entries = tree.into_entries(info)?;
    Ok(DebPackage { facts, entries })
}

/// What a path of a package holds.
#[derive(Debug, Clone, Copy)]
pub enum Content<'a> {
    /// A file and its bytes.
    File(&'a [u8]),
    /// A symbolic link and its target, or a hard link and an absolute target.
    Link(&'a [u8]),
}

/// Shows every file and link of a package to `see`, by its shipped path without leading `./`,
/// with the default [`Limits`].
pub fn visit(
    archive: &Bytes,
    file_name: &str,
    spool: &Path,
    see: &mut dyn FnMut(&[u8], Content<'_>),
) -> Result<(), DebError> {
    let limits = Limits::default();
    let mut visit = || {
        let data = container::open(archive)?.data;
        let data_tar = compression::unpack(&data, limits.data_bytes, spool)?;
        let members = tar::members(&data_tar, limits.members).map_err(|source| Fault::Tar {
            member: data.name.clone(),
            source,
        })?;
        for member in &members {
            let name = tree::shipped_name(&member.name);
            match &member.kind {
                tar::Kind::File(bytes) => see(name, Content::File(bytes)),
                tar::Kind::Symlink(target) => see(name, Content::Link(target)),
                tar::Kind::Hardlink(target) => {
                    let target = [b"/", tree::shipped_name(target)].concat();
                    see(name, Content::Link(&target));
                }
                tar::Kind::Directory => {}
            }
        }
        Ok(())
    };
    visit().map_err(|fault| DebError {
        file_name: file_name.to_owned(),
        fault,
    })
}

/// What stands before the files of a package.
struct Head {
    container: container::Container,
    control: info::ControlFiles,
}

impl Head {
    fn read(archive: &Bytes, spool: &Path, limits: &Limits) -> Result<Self, Fault> {
        let container = container::open(archive)?;
        let control_tar = compression::unpack(&container.control, limits.control_bytes, spool)?;
        let control = info::ControlFiles::read(&control_tar)?;
        Ok(Self { container, control })
    }

    /// The package's files.
    fn tree(&self, merge: &UsrMerge, spool: &Path, limits: &Limits) -> Result<tree::Tree, Fault> {
        let data = &self.container.data;
        let data_tar = compression::unpack(data, limits.data_bytes, spool)?;
        let members = tar::members(&data_tar, limits.members).map_err(|source| Fault::Tar {
            member: data.name.clone(),
            source,
        })?;
        Ok(tree::Tree::build(members, merge)?)
    }

    fn facts(&self, tree: &tree::Tree) -> Result<DebFacts, Fault> {
        let paragraph = self.control.paragraph()?;
        let identity = control::Identity::of(&paragraph)?;
        Ok(DebFacts {
            name: identity.name,
            version: identity.version,
            architecture: identity.architecture,
            multi_arch: identity.multi_arch,
            control: paragraph,
            conffiles: self.control.conffiles(tree)?,
            triggers: self.control.triggers()?,
            control_files: self.control.names(),
            built: self.control.newest(),
        })
    }
}
