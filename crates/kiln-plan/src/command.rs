//! The steps that run commands of the family.

use kiln_digest::Digest;
use kiln_lock::Closure;
use kiln_recipe::{ArtifactOrigin, Component, RunCommand, RunUser};

use crate::{
    action::{Kind, MountedArtifact, Run},
    config::Environment,
    draft::{Context, Draft},
    error::PlanError,
    plan::{Input, Origin},
};

/// How many characters of a command titles and histories show.
const SHOWN: usize = 200;

impl Context<'_> {
    /// The layer of what a command of `component` changes on top of `layers`, which hold the
    /// packages `installed`.
    pub(crate) fn run(
        &self,
        component: &Component,
        run: &RunCommand,
        layers: Vec<Digest>,
        installed: &Closure<'_>,
    ) -> Result<Draft, PlanError> {
        let below = self.upto(component);
        let mut env = Environment::of(self.family, below, self.placement.python, installed)?;
        env.extend(&run.env, &run.at)?;
        let user = &self.family.user;
        let (uid, gid) = match run.user {
            RunUser::Image => (user.uid, user.gid),
            RunUser::Root => (0, 0),
        };
        let kind = Kind::Run(Run {
            layers,
            command: run.command.clone(),
            env: env.into_lines(),
            cwd: user.home.clone(),
            uid,
            gid,
            artifacts: run
                .artifacts
                .iter()
                .map(|artifact| MountedArtifact {
                    to: artifact.to.clone(),
                    sha256: artifact.sha256,
                })
                .collect(),
        });
        let inputs = run
            .artifacts
            .iter()
            .map(|artifact| Input {
                sha256: artifact.sha256,
                size: artifact.size,
                origin: match &artifact.origin {
                    ArtifactOrigin::Family(path) => Origin::Family(path.clone()),
                    ArtifactOrigin::Source { source, path } => Origin::File {
                        source: source.clone(),
                        path: path.clone(),
                    },
                },
            })
            .collect();
        let shown = shown(&run.command);
        let title = format!("{}: {shown}", component.id.name);
        Ok(self.layer(component, title, kind, inputs, &shown))
    }
}

/// A command on one line: words that a shell would split or change in quotes, long ones cut.
fn shown(command: &[String]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    let words: Vec<_> = command
        .iter()
        .map(|word| {
            if !word.is_empty() && word.chars().all(plain) {
                word.clone()
            } else {
                format!("'{}'", word.replace('\'', "'\\''"))
            }
        })
        .collect();
    let line = words.join(" ");
    let cut: String = line.chars().take(SHOWN).collect();
    if cut.len() < line.len() {
        format!("{cut}…")
    } else {
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_shown_as_a_shell_would_read_them() {
        let command = ["/bin/sh", "-ec", "echo it's", ""].map(str::to_owned);
        assert_eq!(shown(&command), r"/bin/sh -ec 'echo it'\''s' ''");
        let long = ["/bin/echo".to_owned(), "ä".repeat(300)];
        assert_eq!(shown(&long).chars().count(), SHOWN + 1);
    }
}
