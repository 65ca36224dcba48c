//! The mounts of a sandbox: its tree, and what stands in it that is no image's.

use std::{
    fs, io,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, symlink},
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{CWD, Mode, OFlags},
    io::Errno,
    mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MoveMountFlags, OpenTreeFlags,
        UnmountFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen,
        mount, mount_bind, move_mount, open_tree, unmount,
    },
};

use crate::{protocol::Failure, sys};

/// What of `/proc` tells about the host and is of no use; the list is Docker's.
const MASKED: [&str; 10] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
];

/// What of `/proc` may be read only; the list is Docker's.
const READ_ONLY: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

/// Devices of the host that every program may use.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

/// Mounts directories (the topmost last) and `upper` as one tree on `scratch/tree`.
///
/// The tree is volatile: its end would else sync the whole file system that it is on. overlayfs
/// then leaves a mark in `scratch/work` and does not mount it again.
pub(crate) fn mount_overlay(lower: &[PathBuf], scratch: &Path) -> Result<PathBuf, Failure> {
    let target = scratch.join("tree");
    let mounted = match overlay_by_parts(lower, scratch, &target) {
        // Kernels before 6.5 take all layers at once only.
        Err(Errno::INVAL | Errno::NOSYS) => overlay_at_once(lower, scratch, &target),
        result => result.map_err(io::Error::from),
    };
    mounted.map_err(Failure::setup("mount the layers with overlayfs"))?;
    Ok(target)
}

fn overlay_by_parts(lower: &[PathBuf], scratch: &Path, target: &Path) -> rustix::io::Result<()> {
    let overlay = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    for directory in lower.iter().rev() {
        fsconfig_set_string(overlay.as_fd(), "lowerdir+", directory)?;
    }
    fsconfig_set_string(overlay.as_fd(), "upperdir", scratch.join("upper"))?;
    fsconfig_set_string(overlay.as_fd(), "workdir", scratch.join("work"))?;
    // Without privileges overlayfs keeps its marks as attributes of users.
    fsconfig_set_flag(overlay.as_fd(), "userxattr")?;
    fsconfig_set_flag(overlay.as_fd(), "volatile")?;
    fsconfig_create(overlay.as_fd())?;
    let mount = fsmount(
        overlay.as_fd(),
        FsMountFlags::FSMOUNT_CLOEXEC,
        MountAttrFlags::empty(),
    )?;
    attach(&mount, target)
}

/// The options of `mount(2)` are a page at most, so layers get short names: links in a directory.
fn overlay_at_once(lower: &[PathBuf], scratch: &Path, target: &Path) -> io::Result<()> {
    let links = scratch.join("lower");
    fs::create_dir(&links)?;
    let mut names = Vec::new();
    for (number, directory) in lower.iter().enumerate().rev() {
        symlink(directory, links.join(number.to_string()))?;
        names.push(number.to_string());
    }
    std::env::set_current_dir(&links)?;
    let options = format!(
        "userxattr,volatile,lowerdir={},upperdir=../upper,workdir=../work",
        names.join(":")
    );
    let options = std::ffi::CString::new(options)?;
    mount(
        "overlay",
        target,
        "overlay",
        MountFlags::empty(),
        options.as_c_str(),
    )?;
    std::env::set_current_dir("/")
}

/// Makes a directory a mount point of itself, so that it can become the root.
pub(crate) fn mount_on_itself(directory: &Path) -> Result<(), Failure> {
    mount_bind(directory, directory).map_err(Failure::setup("mount the tree on itself"))
}

/// Takes the mount at `target` away.
pub(crate) fn detach(target: &Path) -> Result<(), Failure> {
    unmount(target, UnmountFlags::DETACH).map_err(Failure::setup("unmount the tree"))
}

/// Something of the host, open, that is to stand in the sandbox.
pub(crate) struct Detached {
    mount: OwnedFd,
    is_directory: bool,
    target: String,
}

impl Detached {
    /// Takes hold of a file or directory of the host.
    pub(crate) fn open(source: &Path, target: &str, read_only: bool) -> Result<Self, Failure> {
        let open = || -> io::Result<Self> {
            let flags = OpenTreeFlags::OPEN_TREE_CLONE
                | OpenTreeFlags::OPEN_TREE_CLOEXEC
                | OpenTreeFlags::AT_RECURSIVE;
            let mount = open_tree(CWD, source, flags)?;
            if read_only {
                sys::make_read_only(mount.as_fd(), true)?;
            }
            Ok(Self {
                mount,
                is_directory: fs::metadata(source)?.is_dir(),
                target: target.to_owned(),
            })
        };
        open().map_err(Failure::setup(format!("bind `{}`", source.display())))
    }

    /// Mounts it at its target. A missing target and directories above it are made; returned are
    /// the paths that were.
    pub(crate) fn place(self) -> Result<Vec<String>, Failure> {
        let mut made = Vec::new();
        let mut place = || -> io::Result<()> {
            let target = Path::new(&self.target);
            if let Some(parent) = target.parent() {
                make_directories(parent, &mut made)?;
            }
            if self.is_directory {
                make_directories(target, &mut made)?;
            } else if !target.exists() {
                let new = fs::OpenOptions::new()
                    .write(true)
                    .create_new(true)
                    .mode(0o644)
                    .open(target);
                match new {
                    Ok(_) => made.push(self.target.clone()),
                    // A link that leads nowhere: its target is what is missing.
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                        fs::remove_file(target)?;
                        fs::File::create_new(target)?;
                    }
                    Err(error) => return Err(error),
                }
            }
            Ok(attach(&self.mount, target)?)
        };
        place().map_err(Failure::setup(format!("mount `{}`", self.target)))?;
        Ok(made)
    }
}

fn make_directories(path: &Path, made: &mut Vec<String>) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        make_directories(parent, made)?;
    }
    fs::DirBuilder::new().mode(0o755).create(path)?;
    made.push(path.to_string_lossy().into_owned());
    Ok(())
}

/// The devices of the host, to be placed in `/dev` when it is there.
pub(crate) fn devices() -> Result<Vec<Detached>, Failure> {
    DEVICES
        .iter()
        .map(|name| format!("/dev/{name}"))
        .filter(|path| Path::new(path).exists())
        .map(|path| Detached::open(Path::new(&path), &path, false))
        .collect()
}

fn attach(mount: &OwnedFd, target: &Path) -> rustix::io::Result<()> {
    move_mount(
        mount.as_fd(),
        "",
        CWD,
        target,
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH,
    )
}

/// Makes `tree`, which is a mount, the root of this mount namespace. Paths mean those of the
/// sandbox from now on; the old root is there until [`leave_old_root`].
pub(crate) fn enter_root(tree: &Path) -> Result<(), Failure> {
    let enter = || -> rustix::io::Result<()> {
        rustix::process::chdir(tree)?;
        // The old root ends up on top of the new one: no directory is needed for it.
        rustix::process::pivot_root(".", ".")
    };
    enter().map_err(Failure::setup("enter the tree"))
}

/// Takes the old root away.
pub(crate) fn leave_old_root() -> Result<(), Failure> {
    let leave = || -> rustix::io::Result<()> {
        unmount(".", UnmountFlags::DETACH)?;
        rustix::process::chdir("/")
    };
    leave().map_err(Failure::setup("leave the old root"))
}

/// Mounts what every sandbox has: `/proc`, `/dev`, `/run`, `/tmp`. File systems in memory hold at
/// most `memory` bytes each.
pub(crate) fn mount_basics(memory: u64) -> Result<(), Failure> {
    let mut made = Vec::new();
    for directory in ["/proc", "/dev", "/run", "/tmp"] {
        make_directories(Path::new(directory), &mut made)
            .map_err(Failure::setup(format!("make `{directory}`")))?;
    }
    let quiet = MountFlags::NOSUID | MountFlags::NODEV;
    // The kernel allows it as long as the old root shows the whole of another `/proc`, which
    // engines do not let their containers have.
    mount("proc", "/proc", "proc", quiet | MountFlags::NOEXEC, None).map_err(|error| {
        Failure::UserNamespace {
            what: "mounting `/proc` in one".to_owned(),
            os_error: error.raw_os_error(),
        }
    })?;
    // Mode 1777 would let nobody but its owner use what links in it lead to.
    tmpfs(
        "/dev",
        "755",
        65536,
        MountFlags::NOSUID | MountFlags::NOEXEC,
    )?;
    tmpfs("/run", "755", memory, quiet)?;
    tmpfs("/tmp", "1777", memory, quiet)?;
    Ok(())
}

/// Makes the root read-only; what is mounted below it stays as it is.
pub(crate) fn protect_root() -> Result<(), Failure> {
    let protect = || -> io::Result<()> {
        let root = rustix::fs::open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        sys::make_read_only(root.as_fd(), false)
    };
    protect().map_err(Failure::setup("make the tree read-only"))
}

fn tmpfs(target: &str, mode: &str, size: u64, flags: MountFlags) -> Result<(), Failure> {
    let mounted = std::ffi::CString::new(format!("mode={mode},size={size}"))
        .map_err(io::Error::from)
        .and_then(|options| Ok(mount("tmpfs", target, "tmpfs", flags, options.as_c_str())?));
    mounted.map_err(Failure::setup(format!("mount `{target}`")))
}

/// Fills `/dev`, which is an empty file system in memory.
pub(crate) fn fill_dev(devices: Vec<Detached>, memory: u64) -> Result<(), Failure> {
    for device in devices {
        device.place()?;
    }
    let links = || -> io::Result<()> {
        symlink("/proc/self/fd", "/dev/fd")?;
        symlink("/proc/self/fd/0", "/dev/stdin")?;
        symlink("/proc/self/fd/1", "/dev/stdout")?;
        symlink("/proc/self/fd/2", "/dev/stderr")?;
        symlink("pts/ptmx", "/dev/ptmx")?;
        fs::create_dir("/dev/shm")?;
        fs::create_dir("/dev/pts")
    };
    links().map_err(Failure::setup("fill `/dev`"))?;
    let quiet = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    tmpfs("/dev/shm", "1777", memory, quiet)?;
    mount(
        "devpts",
        "/dev/pts",
        "devpts",
        MountFlags::NOSUID | MountFlags::NOEXEC,
        c"newinstance,ptmxmode=0666,mode=0620",
    )
    .map_err(Failure::setup("mount `/dev/pts`"))
}

/// Hides what `/proc` tells about the host, and makes read-only what changes it.
pub(crate) fn protect_proc() -> Result<(), Failure> {
    for path in MASKED {
        let masked = match fs::metadata(path) {
            Err(_) => continue,
            Ok(found) if found.is_dir() => {
                let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV;
                mount("tmpfs", path, "tmpfs", flags, c"size=0")
            }
            Ok(_) => mount_bind("/dev/null", path),
        };
        masked.map_err(Failure::setup(format!("mask `{path}`")))?;
    }
    for path in READ_ONLY {
        if Path::new(path).exists() {
            Detached::open(Path::new(path), path, true)?.place()?;
        }
    }
    Ok(())
}
