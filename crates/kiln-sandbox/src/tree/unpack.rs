//! Unpacking a layer into a directory.
//!
//! The content of a layer is foreign: any path may come in any order, more than once, below
//! what was a file or a link before. Directories are opened one below the other, never through
//! links, and the last entry of a path holds.
//!
//! Removals become marks of overlayfs: a character device 0/0 for a path, the attribute
//! `user.overlay.opaque` on a directory whose content below is removed
//! (Documentation/filesystems/overlayfs.rst, "whiteouts and opaque directories").

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read, Write as _},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use kiln_digest::Digest;
use kiln_layer::{
    LayerRecord, REPRODUCIBLE_MTIME, ReadError, ReadLimits, RecordKind, is_for_lazy_readers,
    read_layer,
};
use rustix::{
    fs::{self, AtFlags, FileType, Mode, OFlags, XattrFlags},
    io::Errno,
};

use super::{
    Owner, Owners, TreeError, beneath,
    error::Cause,
    metadata::{Metadata, set_time},
    remove::remove_at,
    view::{OPAQUE, is_whiteout},
};

/// What was unpacked.
pub(super) struct Unpacked {
    /// The digest of the tar stream.
    pub(super) diff_id: Digest,
    /// The owners of symbolic links that are to be remembered, where owners are recorded.
    pub(super) symlinks: BTreeMap<Vec<u8>, Owner>,
}

/// Unpacks a layer in any of its forms into the empty directory `target`. Whether it is the right one is
/// for the caller to see.
pub(super) fn unpack(layer: impl Read, target: &Path, owners: Owners) -> Result<Unpacked, Failure> {
    let mut unpacker = Unpacker::new(target, owners)?;
    let mut failure = None;
    let read = read_layer(layer, ReadLimits::default(), |record, content| {
        unpacker
            .entry(record, content)
            .map_err(|error| match error {
                EntryFailure::Content(error) => error,
                EntryFailure::Tree(error) => {
                    failure = Some(error);
                    io::ErrorKind::Other.into()
                }
            })
    });
    if let Some(error) = failure {
        return Err(error.into());
    }
    let read = read.map_err(|error| {
        Failure::Layer(match error {
            ReadError::Io(error) => error.into(),
            error => Cause::of(&error),
        })
    })?;
    Ok(Unpacked {
        diff_id: read.diff_id,
        symlinks: unpacker.finish()?,
    })
}

/// Why a layer could not be unpacked.
pub(super) enum Failure {
    /// It could not be read.
    Layer(Cause),
    Tree(TreeError),
}

impl From<TreeError> for Failure {
    fn from(error: TreeError) -> Self {
        Self::Tree(error)
    }
}

enum EntryFailure {
    /// The layer could not be read.
    Content(io::Error),
    Tree(TreeError),
}

impl From<TreeError> for EntryFailure {
    fn from(error: TreeError) -> Self {
        Self::Tree(error)
    }
}

struct Unpacker {
    root: OwnedFd,
    owners: Owners,
    /// The directories from below the root to the one that was used last.
    open: Vec<OpenDirectory>,
    /// Modification times of directories, set when nothing is written any more.
    times: BTreeMap<Vec<u8>, i64>,
    symlinks: BTreeMap<Vec<u8>, Owner>,
    buffer: Vec<u8>,
}

struct OpenDirectory {
    name: Vec<u8>,
    fd: OwnedFd,
    /// Whether it gives its group to new files.
    setgid: bool,
}

impl Unpacker {
    fn new(target: &Path, owners: Owners) -> Result<Self, TreeError> {
        let root = beneath::root(target)?;
        let mode = || -> io::Result<()> {
            // `O_PATH` descriptors have no `fchmod`; by name they do.
            fs::chmodat(&root, ".", Mode::from_raw_mode(0o755), AtFlags::empty())?;
            set_time(root.as_fd(), b".", REPRODUCIBLE_MTIME)
        };
        mode().map_err(TreeError::file("prepare", "/"))?;
        Ok(Self {
            root,
            owners,
            open: Vec::new(),
            times: BTreeMap::new(),
            symlinks: BTreeMap::new(),
            buffer: vec![0; 128 << 10],
        })
    }

    /// Makes what one entry of the layer says.
    fn entry(&mut self, record: &LayerRecord, content: &mut dyn Read) -> Result<(), EntryFailure> {
        let path = record.path.as_bytes();
        let (parent, name) = beneath::split(path);
        self.enter(parent)?;
        if record.kind != RecordKind::Directory && self.times.contains_key(path) {
            // It was a directory before.
            let below = [path, b"/"].concat();
            self.times
                .retain(|other, _| other != path && !other.starts_with(&below));
        }
        match &record.kind {
            // As where they are mounted lazily: what is executed does not depend on the form.
            RecordKind::File if is_for_lazy_readers(&record.path) => Ok(()),
            RecordKind::File => return self.file(record, name, content),
            RecordKind::Directory => self.directory(record, name),
            RecordKind::Symlink(target) => self.symlink(record, name, target),
            RecordKind::Hardlink(target) => self.hardlink(name, target.as_bytes()),
            RecordKind::Whiteout => self.whiteout(name),
            RecordKind::OpaqueWhiteout => self.opaque(name),
            // Nothing reads what layers have in `dev`: another file system is mounted there.
            RecordKind::Other(_) if path.starts_with(b"dev/") => Ok(()),
            RecordKind::Other(flag) => {
                return Err(EntryFailure::Tree(TreeError::Special {
                    path: record.path.to_string(),
                    kind: match flag {
                        b'3' => "character device",
                        b'4' => "block device",
                        b'6' => "FIFO",
                        _ => "file of an unknown kind",
                    }
                    .to_owned(),
                }));
            }
        }
        .map_err(|error| EntryFailure::Tree(TreeError::file("unpack", path)(error)))
    }

    /// Opens the directory `path`; the parts that are not there are made.
    fn enter(&mut self, path: &[u8]) -> Result<(), TreeError> {
        let mut names = path
            .split(|&byte| byte == b'/')
            .filter(|name| !name.is_empty());
        let mut common = 0;
        let mut next = names.next();
        while let (Some(name), Some(open)) = (next, self.open.get(common))
            && open.name == name
        {
            common += 1;
            next = names.next();
        }
        self.open.truncate(common);
        while let Some(name) = next {
            let entered = self.enter_child(name);
            self.open
                .push(entered.map_err(TreeError::file("open", path))?);
            next = names.next();
        }
        Ok(())
    }

    fn enter_child(&mut self, name: &[u8]) -> io::Result<OpenDirectory> {
        let fd = match beneath::child(self.here(), name) {
            // Layers of kiln list every directory; others may leave it to us.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.make_directory(name)?;
                fs::chmodat(
                    self.here(),
                    name,
                    Mode::from_raw_mode(0o755),
                    AtFlags::empty(),
                )?;
                let above = self.open.iter().map(|open| open.name.as_slice());
                let path: Vec<_> = above.chain([name]).collect();
                self.times.insert(path.join(&b'/'), REPRODUCIBLE_MTIME);
                beneath::child(self.here(), name)?
            }
            opened => opened?,
        };
        let mode = Mode::from_raw_mode(fs::fstat(&fd)?.st_mode);
        Ok(OpenDirectory {
            name: name.to_vec(),
            fd,
            setgid: mode.contains(Mode::SGID),
        })
    }

    /// The directory that was entered last.
    fn here(&self) -> BorrowedFd<'_> {
        self.open
            .last()
            .map_or(self.root.as_fd(), |open| open.fd.as_fd())
    }

    /// What an entry of the directory that was entered last gets.
    fn metadata(&self, record: &LayerRecord) -> Metadata {
        let owner = Owner {
            uid: record.uid,
            gid: record.gid,
        };
        let in_setgid = self.open.last().is_some_and(|open| open.setgid);
        Metadata {
            owner: self.owners.must_say(owner, in_setgid).then_some(owner),
            mode: record.mode,
            capability: record.capability.clone(),
            mtime: record.mtime,
        }
    }

    fn file(
        &mut self,
        record: &LayerRecord,
        name: &[u8],
        content: &mut dyn Read,
    ) -> Result<(), EntryFailure> {
        let path = record.path.as_bytes();
        let fails = |error: io::Error| EntryFailure::Tree(TreeError::file("unpack", path)(error));
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let create = || fs::openat(self.here(), name, flags, Mode::from_raw_mode(0o600));
        let fd = self.replacing(name, create).map_err(fails)?;
        let mut file = File::from(fd);
        let mut buffer = std::mem::take(&mut self.buffer);
        loop {
            let count = content.read(&mut buffer).map_err(EntryFailure::Content)?;
            if count == 0 {
                break;
            }
            file.write_all(&buffer[..count]).map_err(fails)?;
        }
        self.buffer = buffer;
        let metadata = self.metadata(record);
        metadata.apply(&file, self.owners).map_err(fails)
    }

    fn directory(&mut self, record: &LayerRecord, name: &[u8]) -> io::Result<()> {
        self.make_directory(name)?;
        let metadata = self.metadata(record);
        metadata.apply_to_directory(self.here(), name, self.owners)?;
        self.times
            .insert(record.path.as_bytes().to_vec(), record.mtime);
        Ok(())
    }

    /// Makes a directory unless it is there. One in place of a removal hides what is below.
    fn make_directory(&self, name: &[u8]) -> io::Result<()> {
        let here = self.here();
        let make = || fs::mkdirat(here, name, Mode::from_raw_mode(0o755));
        match make() {
            Ok(()) => return Ok(()),
            Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        let found = fs::statat(here, name, AtFlags::SYMLINK_NOFOLLOW)?;
        if FileType::from_raw_mode(found.st_mode) == FileType::Directory {
            return Ok(());
        }
        remove_at(here, name)?;
        make()?;
        if is_whiteout(&found) {
            self.opaque(name)?;
        }
        Ok(())
    }

    fn symlink(&mut self, record: &LayerRecord, name: &[u8], target: &[u8]) -> io::Result<()> {
        let here = self.here();
        self.replacing(name, || fs::symlinkat(target, here, name))?;
        let metadata = self.metadata(record);
        metadata.apply_to_symlink(here, name, self.owners)?;
        let path = record.path.as_bytes();
        match metadata.owner {
            Some(owner) if self.owners == Owners::Recorded => {
                self.symlinks.insert(path.to_vec(), owner);
            }
            _ => {
                self.symlinks.remove(path);
            }
        }
        Ok(())
    }

    fn hardlink(&self, name: &[u8], target: &[u8]) -> io::Result<()> {
        let (directory, file) = beneath::split(target);
        let directory = beneath::directory(self.root.as_fd(), directory)?;
        let found = fs::statat(&directory, file, AtFlags::SYMLINK_NOFOLLOW)?;
        if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile {
            return Err(io::Error::other("a hard link to what is no file"));
        }
        let link = || fs::linkat(&directory, file, self.here(), name, AtFlags::empty());
        self.replacing(name, link)
    }

    /// Hides a path of the layers below. What this layer itself has there is not concerned.
    fn whiteout(&self, name: &[u8]) -> io::Result<()> {
        let here = self.here();
        match fs::mknodat(here, name, FileType::CharacterDevice, Mode::empty(), 0) {
            Ok(()) => Ok(()),
            Err(Errno::EXIST) => {
                let found = fs::statat(here, name, AtFlags::SYMLINK_NOFOLLOW)?;
                match FileType::from_raw_mode(found.st_mode) {
                    FileType::Directory => self.opaque(name),
                    _ => Ok(()),
                }
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Hides what the layers below have in a directory.
    fn opaque(&self, name: &[u8]) -> io::Result<()> {
        self.make_directory(name)?;
        let directory = beneath::open(self.here(), name)?;
        Ok(fs::fsetxattr(directory, OPAQUE, b"y", XattrFlags::empty())?)
    }

    /// Makes something new at `name`, in place of what the layer had there before.
    fn replacing<T>(&self, name: &[u8], make: impl Fn() -> rustix::io::Result<T>) -> io::Result<T> {
        match make() {
            Err(Errno::EXIST) => {
                remove_at(self.here(), name)?;
                Ok(make()?)
            }
            result => Ok(result?),
        }
    }

    /// Sets the times of directories; gives the owners of links.
    fn finish(mut self) -> Result<BTreeMap<Vec<u8>, Owner>, TreeError> {
        for (path, mtime) in std::mem::take(&mut self.times) {
            let (parent, name) = beneath::split(&path);
            self.enter(parent)?;
            set_time(self.here(), name, mtime).map_err(TreeError::file("unpack", &path))?;
        }
        Ok(self.symlinks)
    }
}
