//! The kiln command line: arguments in, results on standard output, all else on standard error.

mod args;
mod commands;
mod completion;
mod error;
mod exit;
mod interrupt;
mod lints;
mod memory;
mod output;
mod progress;
mod project;
mod sandbox;
mod stored;
mod table;
mod trace;
mod wheels;
mod whole_file;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    // The sandbox starts this program again: one process of many threads cannot become what it
    // needs.
    if std::env::args_os()
        .nth(1)
        .is_some_and(|it| it == "sandbox-worker")
    {
        return ExitCode::from(u8::try_from(kiln_sandbox::worker_main()).unwrap_or(exit::INTERNAL));
    }
    if completion::answer() {
        return ExitCode::from(exit::SUCCESS);
    }
    end_at_panics();
    memory::give_back();
    let args = match args::Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // Help and version are results; everything else is a usage error. Nobody can be told
            // when printing fails.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() {
                exit::USAGE
            } else {
                exit::SUCCESS
            });
        }
    };
    let output = output::Output::new(&args.global);
    trace::subscribe(&output);
    match commands::run(&args, &output) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            output.failure(&failure);
            ExitCode::from(failure.code)
        }
    }
}

/// Makes a panic of any thread end the process at once, as a fault of kiln's own. Others may wait
/// for the thread that died, and would for ever; the store survives any end.
#[expect(
    clippy::exit,
    reason = "a thread that panics cannot make `main` return"
)]
fn end_at_panics() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        std::process::exit(i32::from(exit::INTERNAL));
    }));
}
