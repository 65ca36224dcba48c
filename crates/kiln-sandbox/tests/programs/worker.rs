//! A program that is a worker and nothing else.

fn main() -> std::process::ExitCode {
    let status = kiln_sandbox::worker_main();
    u8::try_from(status).unwrap_or(u8::MAX).into()
}
