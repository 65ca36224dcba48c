//! The floor under packing: every byte of a wheel inflated once, and SHA-256 over both the compressed
//! and the uncompressed stream; every byte of a Debian package decompressed once, and SHA-256 over
//! what comes out; on all cores. Nothing is written.
//!
//! `kiln-bench-floor DIRECTORY` takes the `.whl` and `.deb` files of a directory and prints the
//! seconds it took and the bytes it saw, as JSON. Each archive is one job, largest first, as kiln's
//! own schedule is.

mod deb;

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use bytes::Bytes;
use kiln_digest::Hasher;
use kiln_layer::Payload;
use memmap2::Mmap;

fn main() -> ExitCode {
    let Some(directory) = std::env::args_os().nth(1) else {
        #[expect(clippy::print_stderr, reason = "a small program's usage")]
        {
            eprintln!("usage: kiln-bench-floor DIRECTORY");
        }
        return ExitCode::from(2);
    };
    match run(&PathBuf::from(directory)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            #[expect(clippy::print_stderr, reason = "a small program's error")]
            {
                eprintln!("error: {error}");
            }
            ExitCode::FAILURE
        }
    }
}

fn run(directory: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let mut archives = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if kind(&entry.path()).is_some() {
            archives.push((entry.metadata()?.len(), entry.path()));
        }
    }
    archives.sort();
    let count = archives.len();
    let queue = Mutex::new(archives);
    let (packed, unpacked) = (AtomicU64::new(0), AtomicU64::new(0));
    let failed = Mutex::new(None);
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let started = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().ok().and_then(|mut queue| queue.pop());
                    let Some((_, path)) = next else { break };
                    match archive(&path) {
                        Ok(seen) => {
                            packed.fetch_add(seen.packed, Ordering::Relaxed);
                            unpacked.fetch_add(seen.unpacked, Ordering::Relaxed);
                        }
                        Err(error) => {
                            let message = format!("{}: {error}", path.display());
                            if let Ok(mut failed) = failed.lock() {
                                failed.get_or_insert(message);
                            }
                        }
                    }
                }
            });
        }
    });
    if let Some(message) = failed.into_inner()? {
        return Err(message.into());
    }
    #[expect(clippy::print_stdout, reason = "the result")]
    {
        println!(
            "{{\"seconds\": {:.3}, \"archives\": {count}, \"packed\": {}, \"unpacked\": {}, \
             \"threads\": {threads}}}",
            started.elapsed().as_secs_f64(),
            packed.into_inner(),
            unpacked.into_inner(),
        );
    }
    Ok(())
}

/// The bytes of an archive's content.
struct Seen {
    packed: u64,
    unpacked: u64,
}

fn archive(path: &Path) -> Result<Seen, Box<dyn std::error::Error>> {
    match kind(path) {
        Some("deb") => Ok(deb::deb(&map(path)?)?),
        _ => wheel(&map(path)?),
    }
}

fn kind(path: &Path) -> Option<&str> {
    let kind = path.extension()?.to_str()?;
    ["whl", "deb"].contains(&kind).then_some(kind)
}

/// Inflates and hashes one wheel.
fn wheel(archive: &Bytes) -> Result<Seen, Box<dyn std::error::Error>> {
    let (mut blob, mut tar) = (Hasher::new(), Hasher::new());
    let (mut packed, mut unpacked) = (0, 0);
    let mut inflate = libdeflater::Decompressor::new();
    let mut buffer = Vec::new();
    for member in kiln_package::zip::files(archive)? {
        match member.payload {
            Payload::Deflated { data, size, .. } => {
                let length = usize::try_from(size)?;
                if buffer.len() < length {
                    buffer.resize(length, 0);
                }
                inflate.deflate_decompress(&data, &mut buffer[..length])?;
                blob.update(&data);
                tar.update(&buffer[..length]);
                packed += data.len() as u64;
                unpacked += size;
            }
            Payload::Plain(data) => {
                blob.update(&data);
                tar.update(&data);
                packed += data.len() as u64;
                unpacked += data.len() as u64;
            }
        }
    }
    std::hint::black_box((blob.finish(), tar.finish()));
    Ok(Seen { packed, unpacked })
}

#[expect(
    unsafe_code,
    reason = "memory map of a file that nobody writes during a benchmark"
)]
fn map(path: &Path) -> std::io::Result<Bytes> {
    // SAFETY: see the reason above.
    let map = unsafe { Mmap::map(&File::open(path)?)? };
    Ok(Bytes::from_owner(map))
}
