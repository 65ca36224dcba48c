//! Sandboxes of other users.

use std::{
    fs,
    os::unix::fs::chown,
    path::Path,
    process::{Command, Stdio},
    sync::Once,
};

use kiln_sandbox::{Choice, IdChoice, TreeChoice};
use serde::Serialize;

use crate::root::Store;

/// A user without privileges, with subordinate ids.
const USER: &str = "kiln-sandbox-test";

static USER_EXISTS: Once = Once::new();

/// Every kind of sandbox.
pub(crate) fn kinds() -> impl Iterator<Item = Choice> {
    [IdChoice::Root, IdChoice::Subordinate, IdChoice::Single]
        .into_iter()
        .flat_map(|ids| [TreeChoice::Overlay, TreeChoice::Copy].map(|tree| Choice { ids, tree }))
}

/// A program that does a task (`job` or `start`) in a sandbox of this kind: as root where it asks
/// for root, else as a plain user, to whom the directory is given.
pub(crate) fn caller(
    store: &Store,
    task: &str,
    choice: Choice,
    directory: &Path,
    request: &impl Serialize,
) -> Command {
    let program = store.path().join("worker");
    if !program.exists() {
        // By another process: one that this process had open for writing could not be executed as
        // long as children of other tests have it open.
        let own = env!("CARGO_BIN_EXE_kiln-sandbox-worker");
        let copied = Command::new("install")
            .args(["-m", "755", own])
            .arg(&program)
            .status();
        assert!(copied.unwrap().success());
    }
    fs::write(
        directory.join("request"),
        serde_json::to_vec(request).unwrap(),
    )
    .unwrap();
    let mut command = if choice.ids == IdChoice::Root {
        Command::new(&program)
    } else {
        let (uid, gid) = plain_user();
        chown(directory, Some(uid), Some(gid)).unwrap();
        let mut command = Command::new("setpriv");
        command
            .args([format!("--reuid={uid}"), format!("--regid={gid}")])
            .arg("--clear-groups")
            .arg(&program);
        command
    };
    command
        .args([task, &serde_json::to_string(&choice).unwrap()])
        .arg(directory)
        .stdin(Stdio::null());
    command
}

/// The plain user's command, as root of a user namespace in which something is done first.
pub(crate) fn in_own_namespace(caller: &Command, first: &str) -> Command {
    let arguments: Vec<_> = caller.get_args().collect();
    let own = arguments
        .iter()
        .position(|it| *it == "--clear-groups")
        .unwrap()
        + 1;
    let mut command = Command::new(caller.get_program());
    command
        .args(&arguments[..own])
        .args(["unshare", "--user", "--map-root-user", "sh", "-euc"])
        .arg(format!("{first}; exec \"$@\""))
        .arg("sh")
        .args(&arguments[own..]);
    command
}

/// The ids of the user, who is made if there is none yet.
pub(crate) fn plain_user() -> (u32, u32) {
    USER_EXISTS.call_once(|| {
        // Fails if the user is there from an earlier run.
        let _ = Command::new("useradd").arg(USER).output();
    });
    let id = |option: &str| {
        let output = Command::new("id").args([option, USER]).output().unwrap();
        String::from_utf8(output.stdout)
            .unwrap()
            .trim()
            .parse()
            .unwrap()
    };
    (id("-u"), id("-g"))
}
