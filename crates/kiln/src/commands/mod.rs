//! One file for each command.

mod action;
mod build;
mod export;
mod images;
mod inspect;
mod load;
mod lock;
mod plan;
mod store;

use crate::{
    args::{Args, Command},
    error::Failure,
    output::Output,
};

/// Carries out what was typed.
pub(crate) fn run(args: &Args, output: &Output) -> Result<(), Failure> {
    let global = &args.global;
    match &args.command {
        Command::Lock(args) => lock::run(args, global, output),
        Command::Plan(args) => plan::run(args, global, output),
        Command::Build(args) => build::run(args, global, output),
        Command::Images => images::run(global, output),
        Command::Inspect(args) => inspect::run(args, global, output),
        Command::Export(args) => export::run(args, global, output),
        Command::Load(args) => load::run(args, global, output),
        Command::Store(args) => store::run(args, global, output),
        Command::Action(args) => action::run(args, output),
    }
}
