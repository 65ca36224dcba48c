//! What the tools that people trust make of our layers.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use kiln_digest::Digest;
use kiln_layer::{Compression, EntryKind};

use crate::{sample, written};

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
    for (compression, tool, file) in [
        (Compression::Gzip, "gzip", "layer.gz"),
        (Compression::Zstd, "zstd", "layer.zst"),
    ] {
        let (blob, summary) = written(&entries, compression);
        assert_eq!(summary.size, blob.len() as u64);
        assert_eq!(summary.digest, Digest::of(&blob));
        fs::write(directory.path().join(file), &blob).unwrap();
        run(tool, &["-q", "-t", file], directory.path());
        let tar = run(tool, &["-dc", file], directory.path());
        assert_eq!(summary.unpacked_size, tar.len() as u64);
        assert_eq!(summary.diff_id, Digest::of(&tar));
    }
}

/// Written by hand from the entries of the sample: mode, owner, size, time, path.
const LISTING: &str = "\
drwxr-xr-x 0/0 0 1980-01-01 00:00:00 bin/
-rwxr-xr-x 0/0 4 2023-11-14 22:13:20 bin/ping
hrwxr-xr-x 0/0 0 2023-11-14 22:13:20 bin/ping4 link to bin/ping
lrwxrwxrwx 0/0 0 1980-01-01 00:00:00 bin/sh -> dash
drwxrwsr-x 1001/0 0 1980-01-01 00:00:00 home/
-rw-r--r-- 0/0 0 1980-01-01 00:00:00 home/.keep
-rw-r--r-- 0/0 0 1980-01-01 00:00:00 home/empty.deflated
-rw-r--r-- 0/0 16 1980-01-01 00:00:00 home/zwölf.py
drwxr-xr-x 0/0 0 1980-01-01 00:00:00 large/
-rw-r--r-- 0/0 5242880 1980-01-01 00:00:00 large/deflated
-rw-r--r-- 0/0 5242881 1980-01-01 00:00:00 large/plain
-rw-r--r-- 0/0 34603015 1980-01-01 00:00:00 large/streamed
drwxr-xr-x 0/0 0 1980-01-01 00:00:00 long/
drwxr-xr-x 0/0 0 1980-01-01 00:00:00 SPLIT_PARENT/
-rw-r--r-- 0/0 5 1980-01-01 00:00:00 SPLIT_PATH
lrwxrwxrwx 0/0 0 1980-01-01 00:00:00 long/link -> LONG_TARGET
-rw-r--r-- 0/0 6 1980-01-01 00:00:00 LONG_NAME
drwxr-xr-x 0/0 0 1980-01-01 00:00:00 removed/
-rw------- 0/0 0 1980-01-01 00:00:00 removed/.wh.gone
-rw-r--r-- 4000000/4000000 1 1969-12-31 23:59:59 zzz
";

#[test]
fn gnu_tar_lists_what_was_meant() {
    let directory = tempfile::tempdir().unwrap();
    let (blob, _) = written(&sample::entries(), Compression::Gzip);
    fs::write(directory.path().join("layer.gz"), &blob).unwrap();
    let arguments = [
        "--numeric-owner",
        "--full-time",
        "--quoting-style=literal",
        "-tvzf",
        "layer.gz",
    ];
    let listing = String::from_utf8(run("tar", &arguments, directory.path())).unwrap();
    let mut squeezed = String::new();
    for line in listing.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        writeln!(squeezed, "{}", words.join(" ")).unwrap();
    }
    let split_parent = sample::SPLIT_PATH.rsplit_once('/').unwrap().0;
    let expected = LISTING
        .replace("SPLIT_PARENT", split_parent)
        .replace("SPLIT_PATH", sample::SPLIT_PATH)
        .replace("LONG_TARGET", &format!("../{}", "y".repeat(120)))
        .replace("LONG_NAME", &sample::long_name());
    assert_eq!(squeezed, expected);
}

const PYTHON: &str = r#"
import hashlib, sys, tarfile
sys.stdout.reconfigure(encoding="utf-8")
with tarfile.open("layer.gz", "r:gz") as layer:
    for member in layer:
        content = layer.extractfile(member).read() if member.isreg() else b""
        capability = member.pax_headers.get("SCHILY.xattr.security.capability", "")
        print(member.name, member.type.decode(), f"{member.mode:o}", member.uid, member.gid,
              int(member.mtime), member.linkname, repr(member.uname + member.gname),
              capability.encode().hex(), hashlib.sha256(content).hexdigest())
"#;

#[test]
fn pythons_tarfile_reads_every_field_and_byte() {
    let directory = tempfile::tempdir().unwrap();
    let entries = sample::entries();
    let (blob, _) = written(&entries, Compression::Gzip);
    fs::write(directory.path().join("layer.gz"), &blob).unwrap();
    let printed = run("python3", &["-c", PYTHON], directory.path());
    let mut expected = String::new();
    for entry in &entries {
        let path = entry.path.to_string();
        let (path, kind, link) = match &entry.kind {
            EntryKind::Directory => (path, 5, String::new()),
            EntryKind::File(_) => (path, 0, String::new()),
            EntryKind::Symlink(link) => (path, 2, String::from_utf8(link.clone()).unwrap()),
            EntryKind::Hardlink(target) => (path, 1, target.to_string()),
            EntryKind::Whiteout => ("removed/.wh.gone".to_owned(), 0, String::new()),
        };
        let mode = match entry.kind {
            EntryKind::Symlink(_) => 0o777,
            EntryKind::Whiteout => 0o600,
            _ => entry.mode,
        };
        let capability = entry.capability.as_deref().unwrap_or_default();
        let hex = capability
            .iter()
            .fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
        let content = Digest::of(&sample::content(entry)).hex();
        let (uid, gid, mtime) = (entry.uid, entry.gid, entry.mtime);
        writeln!(
            expected,
            "{path} {kind} {mode:o} {uid} {gid} {mtime} {link} '' {hex} {content}"
        )
        .unwrap();
    }
    assert_eq!(String::from_utf8(printed).unwrap(), expected);
}

/// A time that is one more than eleven octal digits hold.
#[test]
fn numbers_that_ustar_cannot_hold_are_read_back_by_gnu_tar() {
    let directory = tempfile::tempdir().unwrap();
    let mut far = sample::entry("far", sample::plain("x"));
    far.mtime = 0o1_0000_0000_0000;
    let (blob, _) = written(&[far], Compression::Gzip);
    fs::write(directory.path().join("layer.gz"), &blob).unwrap();
    let arguments = ["--full-time", "--utc", "-tvzf", "layer.gz"];
    let listing = String::from_utf8(run("tar", &arguments, directory.path())).unwrap();
    // 68,719,476,736 seconds are 795,364 days and 27,136 seconds.
    assert!(listing.contains(" 07:32:16 far"), "{listing}");
}
