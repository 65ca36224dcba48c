//! One file for each command.

mod action;
mod build;
pub(crate) mod debug;
mod diff;
mod edit;
mod export;
mod images;
mod init;
mod inspect;
mod lint;
mod load;
mod lock;
mod man;
mod outdated;
mod plan;
mod program;
mod run;
mod schema;
mod shell;
mod size;
mod store;
mod verify_build;
mod why;

use crate::{
    args::{Args, Command},
    completion,
    error::Failure,
    exit,
    output::Output,
};

/// Carries out what was typed; gives the exit code, which is a program's where one was started.
pub(crate) fn run(args: &Args, output: &Output) -> Result<u8, Failure> {
    let global = &args.global;
    match &args.command {
        Command::Run(args) => return run::run(args, global, output),
        Command::Shell(args) => return shell::run(args, global, output),
        Command::Debug(args) => return debug::run(args, global, output),
        Command::Init(args) => init::run(args, output),
        Command::Lock(args) => lock::run(args, global, output),
        Command::Add(args) => edit::add(args, global, output),
        Command::Remove(args) => edit::remove(args, global, output),
        Command::Outdated(args) => outdated::run(args, global, output),
        Command::Lint(args) => lint::run(args, global, output),
        Command::Plan(args) => plan::run(args, global, output),
        Command::Build(args) => build::run(args, global, output),
        Command::VerifyBuild(args) => verify_build::run(args, global, output),
        Command::Why(args) => why::run(args, global, output),
        Command::Diff(args) => diff::run(args, global, output),
        Command::Size(args) => size::run(args, global, output),
        Command::Images => images::run(global, output),
        Command::Inspect(args) => inspect::run(args, global, output),
        Command::Export(args) => export::run(args, global, output),
        Command::Load(args) => load::run(args, global, output),
        Command::Store(args) => store::run(args, global, output),
        Command::Action(args) => action::run(args, output),
        Command::Schema(args) => schema::run(args, output),
        Command::Completions(args) => {
            completion::registration(args.shell).map(|code| output.line(code.trim_end()))
        }
        Command::Man(args) => man::run(args, output),
    }?;
    Ok(exit::SUCCESS)
}
