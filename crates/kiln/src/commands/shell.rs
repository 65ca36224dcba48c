//! `kiln shell`: a shell in an image of the store.

use crate::{
    args::{Global, Shell},
    commands::program::{self, Settings},
    error::Failure,
    interrupt,
    output::Output,
    project, sandbox,
};

/// Gives the exit status of the shell.
pub(crate) fn run(args: &Shell, global: &Global, output: &Output) -> Result<u8, Failure> {
    let store = project::store(global)?;
    let (_, image) = program::find(&store, global, &args.image, &args.program)?;
    let settings = Settings::of(&image)?;
    let program = program::interactive(&store, &image, &settings, &args.program, program::shell())?;
    let sandbox = sandbox::open(&store.rootfs_dir())?;
    program::start(&sandbox, &program, &interrupt::of_program(), output)
}
