//! `kiln debug`: a shell in the state that a failed action left.

use kiln_digest::Digest;
use kiln_plan::Plan;
use kiln_sandbox::{Command, Interactive, NetworkMode};
use kiln_store::{FailedAction, Store};
use serde_json::json;

use crate::{
    args::{Debug, Global},
    commands::program,
    error::Failure,
    exit, interrupt,
    output::Output,
    project, sandbox,
};

/// Gives the exit status of the shell.
pub(crate) fn run(args: &Debug, global: &Global, output: &Output) -> Result<u8, Failure> {
    let store = project::store(global)?;
    let Some(wanted) = &args.action else {
        list(&store.failed()?, output);
        return Ok(exit::SUCCESS);
    };
    let failed = store.failed()?;
    let (key, failed) = one(&failed, wanted)?;
    let sandbox = sandbox::open(&store.rootfs_dir())?;
    if args.discard {
        sandbox.discard(&failed.state)?;
        store.forget_failed(key)?;
        output.note(format!("removed what `{}` has left", failed.title));
        return Ok(exit::SUCCESS);
    }
    let command = sandbox.failed_command(&failed.state)?;
    output.note(format!(
        "what `{}` has left; this failed in it:",
        failed.title
    ));
    output.note(format!("  {}", quoted(&command.argv)));
    let mut command = Command {
        argv: program::shell(),
        ..command
    };
    command.env.retain(|(name, _)| name != "TERM");
    command
        .env
        .extend(program::terminal().map(|it| ("TERM".to_owned(), it)));
    let program = Interactive {
        // Those of the state.
        layers: vec![],
        state: Some(failed.state.clone()),
        command,
        volumes: vec![],
        network: NetworkMode::None,
        hostname: "kiln".to_owned(),
        read_only: false,
    };
    let status = program::start(&sandbox, &program, &interrupt::of_program(), output)?;
    output.note(format!(
        "it stays as you left it; `kiln debug --discard {}` removes it",
        key.short()
    ));
    Ok(status)
}

/// Notes the state that a failed build has left, so that it can be found.
pub(crate) fn note(store: &Store, error: &kiln_build::BuildError) -> Result<(), Failure> {
    if let kiln_build::BuildError::Step { title, key, source } = error
        && let kiln_build::ExecuteError::Sandbox(error) = source.as_ref()
        && let kiln_sandbox::SandboxError::CommandFailed {
            state: Some(state), ..
        } = error
    {
        let failed = FailedAction {
            title: title.clone(),
            state: state.clone(),
        };
        store.put_failed(key, &failed)?;
    }
    Ok(())
}

/// Removes what earlier attempts at the steps of a plan left that have succeeded now.
pub(crate) fn forget(store: &Store, plan: &Plan) -> Result<(), Failure> {
    let mut mended = store.failed()?;
    mended.retain(|(key, _)| plan.steps.iter().any(|step| step.key == *key));
    let keys: Vec<_> = mended.iter().map(|(key, _)| *key).collect();
    let known = store.results(&keys)?;
    mended.retain(|(key, _)| known.contains_key(key));
    if mended.is_empty() {
        return Ok(());
    }
    let sandbox = sandbox::open(&store.rootfs_dir())?;
    for (key, failed) in mended {
        sandbox.discard(&failed.state)?;
        store.forget_failed(&key)?;
    }
    Ok(())
}

fn list(failed: &[(Digest, FailedAction)], output: &Output) {
    for (key, FailedAction { title, state }) in failed {
        if output.is_json() {
            output.json(&json!({"key": key, "title": title, "state": state}));
        } else {
            output.line(format!("{}  {title}", key.short()));
        }
    }
    if failed.is_empty() {
        output.note("no action has left anything");
    }
}

/// The one failed action whose key begins with `wanted`, or whose title holds it.
fn one<'a>(
    failed: &'a [(Digest, FailedAction)],
    wanted: &str,
) -> Result<&'a (Digest, FailedAction), Failure> {
    let digits = wanted.strip_prefix("sha256:").unwrap_or(wanted);
    let by_key = failed
        .iter()
        .filter(|(key, _)| key.hex().starts_with(digits));
    let by_key: Vec<_> = by_key.collect();
    let found = if by_key.is_empty() {
        let holds = |(_, failed): &&(_, FailedAction)| failed.title.contains(wanted);
        failed.iter().filter(holds).collect()
    } else {
        by_key
    };
    match found.as_slice() {
        [one] => Ok(one),
        [] => Err(
            Failure::new(exit::USAGE, format!("no failed action is `{wanted}`"))
                .hint("`kiln debug` lists them"),
        ),
        several => {
            let names = several
                .iter()
                .map(|(key, failed)| format!("\n  {}  {}", key.short(), failed.title));
            let message = format!("`{wanted}` may mean {} failed actions", several.len());
            Err(Failure::new(exit::USAGE, message)
                .hint(format!("say more of the key:{}", names.collect::<String>())))
        }
    }
}

/// A command as it may be typed into a shell.
fn quoted(argv: &[String]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    let words = argv.iter().map(|word| {
        if !word.is_empty() && word.chars().all(plain) {
            word.clone()
        } else {
            format!("'{}'", word.replace('\'', r"'\''"))
        }
    });
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(title: &str) -> (Digest, FailedAction) {
        let action = FailedAction {
            title: title.to_owned(),
            state: "/state".into(),
        };
        (Digest::of(title.as_bytes()), action)
    }

    #[test]
    fn an_action_is_meant_by_its_key_or_its_title() {
        let all = [
            failed("debian-12: configure"),
            failed("debian-13: configure"),
        ];
        let title = |wanted: &str| one(&all, wanted).map(|(_, it)| it.title.as_str());
        let key = all[1].0.hex();
        assert_eq!(title(&key[..12]).unwrap(), "debian-13: configure");
        assert_eq!(
            title(&format!("sha256:{key}")).unwrap(),
            "debian-13: configure"
        );
        assert_eq!(title("12: conf").unwrap(), "debian-12: configure");
        let several = title("configure").unwrap_err();
        assert!(several.hint.unwrap().contains(&key[..12]));
        assert_eq!(title("fedora").unwrap_err().code, exit::USAGE);
    }

    #[test]
    fn commands_are_shown_as_they_may_be_typed() {
        let argv = ["/bin/sh", "-c", "echo it's", ""].map(str::to_owned);
        assert_eq!(quoted(&argv), r"/bin/sh -c 'echo it'\''s' ''");
    }
}
