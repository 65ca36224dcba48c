//! Files that a waiting call names, seen from init: through `/proc` of the process that waits.

use std::{
    fs::{File, OpenOptions},
    io,
    os::{fd::OwnedFd, unix::fs::FileExt as _},
};

use rustix::{
    fs::{Mode, OFlags, ResolveFlags, open, openat, openat2},
    io::Errno,
};

/// A file, as a call names it.
pub(crate) struct Target {
    /// What the path starts from.
    pub(crate) directory: Directory,
    /// Empty for the directory or descriptor itself.
    pub(crate) path: Vec<u8>,
    /// Whether a link at the end of the path is followed.
    pub(crate) follow: bool,
}

/// What a path of a call starts from.
pub(crate) enum Directory {
    /// The working directory.
    Current,
    /// An open file.
    Descriptor(i32),
}

impl Target {
    /// Opens it as the process would.
    pub(crate) fn open(&self, process: u32) -> io::Result<OwnedFd> {
        let mut flags = OFlags::PATH | OFlags::CLOEXEC;
        let directory = match self.directory {
            Directory::Current => format!("/proc/{process}/cwd"),
            Directory::Descriptor(descriptor) => format!("/proc/{process}/fd/{descriptor}"),
        };
        if self.path.is_empty() {
            return open(directory, flags, Mode::empty()).map_err(|error| match error {
                Errno::NOENT => Errno::BADF.into(),
                error => error.into(),
            });
        }
        if !self.follow {
            flags |= OFlags::NOFOLLOW;
        }
        if let Some(own) = self.own_file(process) {
            return Ok(open(own, flags, Mode::empty())?);
        }
        if self.path.starts_with(b"/") {
            // The process may have changed its root.
            let root = open(
                format!("/proc/{process}/root"),
                OFlags::PATH | OFlags::CLOEXEC,
                Mode::empty(),
            )?;
            let within = ResolveFlags::IN_ROOT;
            return Ok(openat2(root, &*self.path, flags, Mode::empty(), within)?);
        }
        let directory = open(directory, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        Ok(openat(directory, &*self.path, flags, Mode::empty())?)
    }

    /// Where a path of the process's own files leads, as `self` would be init here.
    fn own_file(&self, process: u32) -> Option<Vec<u8>> {
        const OWN: [(&[u8], &str); 6] = [
            (b"/proc/self/", ""),
            (b"/proc/thread-self/", ""),
            (b"/dev/fd/", "fd/"),
            (b"/dev/stdin", "fd/0"),
            (b"/dev/stdout", "fd/1"),
            (b"/dev/stderr", "fd/2"),
        ];
        OWN.iter().find_map(|(prefix, below)| {
            let rest = self.path.strip_prefix(*prefix)?;
            Some([format!("/proc/{process}/{below}").as_bytes(), rest].concat())
        })
    }
}

/// A path in the memory of a process, without its NUL.
pub(crate) fn read_path(process: u32, address: u64) -> io::Result<Vec<u8>> {
    const PAGE: u64 = 4096;
    let memory = File::open(format!("/proc/{process}/mem"))?;
    let mut path = Vec::new();
    let mut address = address;
    let fault = || io::Error::from(Errno::FAULT);
    while path.len() < libc::PATH_MAX.unsigned_abs() as usize {
        // The page after this one may not be there.
        let mut page = vec![0; usize::try_from(PAGE - address % PAGE).unwrap_or_default()];
        let count = memory.read_at(&mut page, address).map_err(|_| fault())?;
        if count == 0 {
            return Err(fault());
        }
        let read = &page[..count];
        if let Some(end) = read.iter().position(|&byte| byte == 0) {
            path.extend(&read[..end]);
            return Ok(path);
        }
        path.extend(read);
        address += count as u64;
    }
    Err(Errno::NAMETOOLONG.into())
}

/// Writes to the memory of a process.
pub(crate) fn write_memory(process: u32, address: u64, bytes: &[u8]) -> io::Result<()> {
    let memory = OpenOptions::new()
        .write(true)
        .open(format!("/proc/{process}/mem"))?;
    memory
        .write_all_at(bytes, address)
        .map_err(|_| Errno::FAULT.into())
}
