//! A worker, and with arguments a caller of one, so that tests can be other users:
//! `job|start CHOICE DIRECTORY`, with the job or the program in `DIRECTORY/request`.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program of tests"
)]

use std::{fs, path::Path, process::ExitCode, sync::atomic::AtomicBool};

use kiln_sandbox::{Choice, Sandbox};
use shown::shown;

#[path = "../sandbox/shown.rs"]
mod shown;

fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let arguments: Vec<_> = std::env::args().collect();
    let [_, task, choice, directory] = &arguments[..] else {
        let status = kiln_sandbox::worker_main();
        return Ok(u8::try_from(status)?.into());
    };
    let choice: Choice = serde_json::from_str(choice)?;
    let directory = Path::new(directory);
    let request = fs::read(directory.join("request"))?;
    let program = std::env::current_exe()?;
    let sandbox = Sandbox::with_worker(&directory.join("rootfs"), choice, &program, &[])?;
    let cancelled = AtomicBool::new(false);
    if task == "start" {
        let program = serde_json::from_slice(&request)?;
        return Ok(sandbox.start(&program, &cancelled, &mut |_, _| ())?.into());
    }
    let job = serde_json::from_slice(&request)?;
    let mut print = |bytes: &[u8]| eprint!("{}", String::from_utf8_lossy(bytes));
    let captured = sandbox.run(&job, directory, &mut print, &cancelled)?;
    for line in shown(&captured) {
        println!("{line}");
    }
    Ok(ExitCode::SUCCESS)
}
