//! `run`: a command of the family, and what it changes.

use std::{
    collections::BTreeMap,
    fs::Permissions,
    io::{self, Write as _},
    os::unix::fs::PermissionsExt as _,
    time::{Duration, UNIX_EPOCH},
};

use kiln_digest::Digest;
use kiln_layer::{Contribution, Entry, ParentPolicy, REPRODUCIBLE_MTIME, merge};
use kiln_plan::{MountedArtifact, Run};
use kiln_sandbox::{Bind, Captured, Command, Job, Limits, Step};
use tempfile::NamedTempFile;

use crate::execute::{Context, ExecuteError};

/// What the command of `run` changes in the layers below it.
pub(crate) fn entries(run: &Run, context: &Context<'_>) -> Result<Vec<Entry>, ExecuteError> {
    let artifacts = artifacts(run, context)?;
    let variable = |text: &String| {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        (name.to_owned(), value.to_owned())
    };
    let command = Command {
        argv: run.command.clone(),
        env: run.env.iter().map(variable).collect(),
        cwd: run.cwd.clone(),
        uid: run.uid,
        gid: run.gid,
        // What the images' user makes stays writable for the group, as the rest of its tree.
        umask: if run.uid == 0 { 0o022 } else { 0o002 },
    };
    let job = Job {
        layers: context.layers(&run.layers)?,
        compare: None,
        binds: artifacts.iter().map(|(bind, _)| bind.clone()).collect(),
        steps: vec![Step::Run(command)],
        limits: Limits::default(),
        capture: Vec::new(),
    };
    let Captured {
        mut entries,
        parents,
    } = context.capture(&job)?;
    // A layer lists every directory above its entries: here as the command found it.
    entries.extend(parents);
    let contribution = Contribution {
        package: "command of the family".to_owned(),
        entries,
    };
    Ok(merge(
        vec![contribution],
        &BTreeMap::new(),
        &ParentPolicy::default(),
    )?)
}

/// A copy of each artifact, which lives as long as what is returned with it. Whose the file on this
/// machine is, who may read it and when it was written is none of the command's business, and
/// would be seen through a mount of the file itself.
fn artifacts(run: &Run, context: &Context<'_>) -> Result<Vec<(Bind, NamedTempFile)>, ExecuteError> {
    let copy = |digest: &Digest| -> io::Result<NamedTempFile> {
        let bytes = (context.open)(digest)?;
        let mut copy = NamedTempFile::new_in(context.spool)?;
        copy.write_all(&bytes)?;
        let file = copy.as_file();
        file.set_permissions(Permissions::from_mode(0o444))?;
        file.set_modified(UNIX_EPOCH + Duration::from_secs(REPRODUCIBLE_MTIME.unsigned_abs()))?;
        Ok(copy)
    };
    let bind = |artifact: &MountedArtifact| {
        let copy = copy(&artifact.sha256).map_err(|source| ExecuteError::Input {
            what: artifact.to.clone(),
            digest: artifact.sha256,
            source,
        })?;
        let bind = Bind {
            source: copy.path().to_owned(),
            target: artifact.to.clone(),
        };
        Ok((bind, copy))
    };
    run.artifacts.iter().map(bind).collect()
}
