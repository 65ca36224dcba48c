//! Entering namespaces, and what a fresh one needs to be of use.

use std::io;

use rustix::{
    mount::{MountPropagationFlags, mount_change},
    process::{Signal, set_parent_process_death_signal},
};

use crate::{NetworkMode, protocol::Failure, sys, tree::Owners};

/// Puts this process, which has a single thread, into a user namespace of its own.
pub(crate) fn enter_user() -> Result<(), Failure> {
    sys::unshare(libc::CLONE_NEWUSER).map_err(|error| refused("unshare(CLONE_NEWUSER)", &error))
}

/// Makes this process user and group 0 of its user namespace, unless a single id is mapped, which
/// it has already.
pub(crate) fn become_root(owners: Owners) -> Result<(), Failure> {
    match owners {
        Owners::Mapped => sys::set_ids(0, 0).map_err(Failure::setup("become user 0")),
        Owners::Recorded => Ok(()),
    }
}

/// Puts this process into mount, ipc and uts namespaces of its own, and into a network namespace
/// unless it keeps the host's. Its next child will be process 1 of a pid namespace.
pub(crate) fn enter_others(network: NetworkMode, hostname: &str) -> Result<(), Failure> {
    let mut flags = libc::CLONE_NEWNS
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWCGROUP
        | libc::CLONE_NEWPID;
    if network == NetworkMode::None {
        flags |= libc::CLONE_NEWNET;
    }
    // A kernel may allow a user namespace and then nothing in it (AppArmor does it so).
    sys::unshare(flags).map_err(|error| refused("unshare(CLONE_NEWNS)", &error))?;
    make_private()?;
    sys::set_hostname(hostname).map_err(Failure::setup("set the host name"))?;
    if network == NetworkMode::None {
        sys::raise_loopback().map_err(Failure::setup("raise the loopback device"))?;
    }
    Ok(())
}

/// Puts this process into a mount namespace of its own.
pub(crate) fn enter_mounts() -> Result<(), Failure> {
    sys::unshare(libc::CLONE_NEWNS).map_err(Failure::setup("unshare mounts"))?;
    make_private()
}

/// No mount that is made here shows elsewhere, and the other way round.
fn make_private() -> Result<(), Failure> {
    mount_change(
        "/",
        MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
    )
    .map_err(Failure::setup("make mounts private"))
}

/// This process is killed when the one that made it ends. A change of ids undoes it.
pub(crate) fn die_with_parent() -> Result<(), Failure> {
    set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(Failure::setup("ask to be killed with the parent"))
}

fn refused(what: &str, error: &io::Error) -> Failure {
    Failure::UserNamespace {
        what: what.to_owned(),
        os_error: error.raw_os_error().unwrap_or_default(),
    }
}
