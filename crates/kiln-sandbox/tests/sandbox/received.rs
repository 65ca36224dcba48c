//! Layers that come as a stream, before there is a blob.

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    path::PathBuf,
    thread,
};

use flate2::read::MultiGzDecoder;
use kiln_digest::Digest;
use kiln_sandbox::{Choice, Job, LayerBlob, Sandbox, SandboxError};

use crate::root::{Store, file, layer, run, symlink};

/// Hands bytes to the sandbox as they would come.
fn receive(sandbox: &Sandbox, bytes: &[u8]) -> Result<Digest, SandboxError> {
    let (theirs, mut ours) = io::pipe().unwrap();
    thread::scope(|scope| {
        // Who does not read to the end breaks the pipe.
        scope.spawn(move || drop(ours.write_all(bytes)));
        sandbox.receive(theirs.into())
    })
}

/// A layer, and its tar stream.
fn made(store: &Store) -> (LayerBlob, Vec<u8>) {
    let made = layer(
        store.path(),
        vec![
            file("etc/config", "old\n", 0o644),
            symlink("etc/link", "config"),
        ],
    );
    let mut tar = Vec::new();
    let blob = File::open(&made.path).unwrap();
    MultiGzDecoder::new(blob).read_to_end(&mut tar).unwrap();
    (made, tar)
}

#[test]
fn jobs_run_on_a_layer_that_came_and_has_no_blob() {
    let store = Store::new();
    let sandbox = store.sandbox(Choice::default()).unwrap();
    let (made, tar) = made(&store);
    for _ in 0..2 {
        assert_eq!(receive(&sandbox, &tar).unwrap(), made.diff_id);
    }
    let without_blob = LayerBlob {
        path: PathBuf::new(),
        ..made
    };
    let job = Job {
        capture: vec!["/etc".into()],
        ..store.job(&[without_blob], "cat /etc/link; echo new > /etc/config")
    };
    let (captured, output) = run(&sandbox, &job, store.path());
    assert_eq!(output, "old\n");
    assert_eq!(captured.unwrap().entries.len(), 1);
}

#[test]
fn what_breaks_off_or_is_no_layer_leaves_no_layer() {
    let store = Store::new();
    let sandbox = store.sandbox(Choice::default()).unwrap();
    let (made, tar) = made(&store);
    // In the middle of a header, and of what follows it.
    for bytes in [&tar[..700], &tar[..1024 + 100], b"no layer at all"] {
        let error = receive(&sandbox, bytes).unwrap_err();
        assert!(
            error.to_string().contains("could not be unpacked"),
            "{error}"
        );
    }
    let without_blob = LayerBlob {
        path: PathBuf::new(),
        ..made
    };
    let (result, _) = run(&sandbox, &store.job(&[without_blob], "true"), store.path());
    assert!(matches!(result, Err(SandboxError::Tree(_))), "{result:?}");
}
