//! What the tools that people trust make of our layers.

mod sample;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use kiln_layer::{Compression, Entry, LayerSummary, write_layer};

fn written(entries: &[Entry], compression: Compression) -> (Vec<u8>, LayerSummary) {
    let mut blob = Vec::new();
    let summary = write_layer(entries, compression, &mut blob).unwrap();
    (blob, summary)
}

/// Runs a tool, which must succeed without a complaint, and gives what it prints.
fn run(program: &str, arguments: &[&str], directory: &Path) -> Vec<u8> {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(directory)
        .env("LC_ALL", "C.UTF-8")
        .env("TZ", "UTC")
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{program} is needed for this test: {error}"));
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && complaint.is_empty(),
        "{program}: {complaint}"
    );
    output.stdout
}

#[test]
fn gzip_and_zstd_find_no_fault_and_give_the_tar_stream_of_the_diff_id() {
    let directory = tempfile::tempdir().unwrap();
    let entries = sample::entries();
    for (compression, tool) in [(Compression::Gzip, "gzip"), (Compression::Zstd, "zstd")] {
        let (blob, summary) = written(&entries, compression);
        assert_eq!(summary.size, blob.len() as u64);
        assert_eq!(summary.digest, kiln_digest::Digest::of(&blob));
        fs::write(directory.path().join("blob"), &blob).unwrap();
        if compression == Compression::Gzip {
            fs::rename(
                directory.path().join("blob"),
                directory.path().join("blob.gz"),
            )
            .unwrap();
            run(tool, &["-t", "blob.gz"], directory.path());
            fs::rename(
                directory.path().join("blob.gz"),
                directory.path().join("blob"),
            )
            .unwrap();
        } else {
            run(tool, &["-q", "-t", "blob"], directory.path());
        }
        let tar = run(
            "sh",
            &["-c", &format!("{tool} -dc < blob")],
            directory.path(),
        );
        assert_eq!(summary.unpacked_size, tar.len() as u64);
        assert_eq!(summary.diff_id, kiln_digest::Digest::of(&tar));
    }
}
