//! A worker, and with the argument `job` a caller of one: so that tests can be other users.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program of tests"
)]

use std::{io::Read as _, path::Path, sync::atomic::AtomicBool};

use kiln_sandbox::{Choice, Job, Sandbox};
use shown::shown;

#[path = "../sandbox/shown.rs"]
mod shown;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<_> = std::env::args().collect();
    if arguments.get(1).map(String::as_str) != Some("job") {
        std::process::exit(kiln_sandbox::worker_main());
    }
    let choice: Choice = serde_json::from_str(&arguments[2])?;
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    let job: Job = serde_json::from_str(&text)?;
    let directory = Path::new(&arguments[3]);
    let program = std::env::current_exe()?;
    let sandbox = Sandbox::with_worker(&directory.join("rootfs"), choice, &program, &[])?;
    let mut print = |bytes: &[u8]| eprint!("{}", String::from_utf8_lossy(bytes));
    let cancelled = AtomicBool::new(false);
    let captured = sandbox.run(&job, directory, &mut print, &cancelled)?;
    for line in shown(&captured) {
        println!("{line}");
    }
    Ok(())
}
