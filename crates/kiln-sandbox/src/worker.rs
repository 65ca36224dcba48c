//! The worker: what runs in the user namespace of a sandbox.

/// What the worker's process does instead of its `main`, and the exit status to end with. The
/// first argument of the process is `sandbox-worker`.
pub fn worker_main() -> i32 {
    1
}
