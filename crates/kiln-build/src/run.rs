//! `run`: a command of the family, and what it changes.

use std::collections::BTreeMap;

use kiln_layer::{Contribution, Entry, ParentPolicy, merge};
use kiln_plan::Run;
use kiln_sandbox::{Bind, Command, Job, Limits, Step};

use crate::execute::{Context, ExecuteError};

/// What the command of `run` changes in the layers below it.
pub(crate) fn entries(run: &Run, context: &Context<'_>) -> Result<Vec<Entry>, ExecuteError> {
    let binds = run
        .artifacts
        .iter()
        .map(|artifact| {
            let source = (context.path)(&artifact.sha256);
            let source = source.map_err(|source| ExecuteError::Input {
                what: artifact.to.clone(),
                digest: artifact.sha256,
                source,
            })?;
            let target = artifact.to.clone();
            Ok(Bind { source, target })
        })
        .collect::<Result<_, ExecuteError>>()?;
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
        binds,
        steps: vec![Step::Run(command)],
        limits: Limits::default(),
        capture: Vec::new(),
    };
    let contribution = Contribution {
        package: "command of the family".to_owned(),
        entries: context.run(&job)?,
    };
    Ok(merge(
        vec![contribution],
        &BTreeMap::new(),
        &ParentPolicy::default(),
    )?)
}
