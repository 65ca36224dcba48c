//! The bytes of layer format 1, and what is refused.

use std::io::{self, Write};
use std::num::NonZero;

use kiln_layer::{
    Compression, CorruptPayload, Entry, EntryKind, InvalidEntry, LAYER_FORMAT, LayerError,
    LayerOptions, Payload, write_layer,
};

use crate::sample::{CAP_NET_RAW, deflated, entries, entry, noise, path, plain};
use crate::written;

/// A change here changes the digest of every layer that anybody has: raise `LAYER_FORMAT`, and
/// only then these. The tar stream is checked by other tools in `tools`.
#[test]
fn golden_digests_of_format_1() {
    assert_eq!(LAYER_FORMAT, 1);
    let (_, gzip) = written(&entries(), Compression::Gzip);
    let (_, zstd) = written(&entries(), Compression::Zstd);
    assert_eq!(
        [gzip.diff_id, gzip.digest, zstd.digest].map(|digest| digest.to_string()),
        [
            "sha256:9ff5dd4ea11bee51ca851f83421eba33ea681815fdbdd86bbd3604d3102370c0",
            "sha256:0ceb0d036bcf8d41eb62e6a442c64e0eec3b27acc08e419ef0719a3a024a206a",
            "sha256:04ccc87a163573427fa538b4a261f851654d4a5b2dd83e718cb9eb7d0b36ec20"
        ]
    );
    assert_eq!(gzip.diff_id, zstd.diff_id);
    assert_eq!(gzip.entries, 20);
}

#[test]
fn the_empty_layer_is_two_zero_blocks() {
    let (blob, summary) = written(&[], Compression::Gzip);
    assert_eq!(summary.diff_id, kiln_digest::Digest::of(&[0; 1024]));
    assert_eq!((summary.entries, summary.unpacked_size), (0, 1024));
    assert_eq!(blob[..10], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255]);
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let entries = entries();
    for compression in [Compression::Gzip, Compression::Zstd] {
        let (expected, _) = written(&entries, compression);
        for threads in [1, 2, 3, 9] {
            let threads = NonZero::new(threads).unwrap();
            let mut blob = Vec::new();
            write_layer(
                &entries,
                LayerOptions::from(compression).threads(threads),
                &mut blob,
            )
            .unwrap();
            assert!(blob == expected, "{compression:?} with {threads} threads");
        }
    }
}

/// The point of the format: the compressed bytes of a zip member stand in the layer as they are.
#[test]
fn deflated_payloads_are_copied() {
    let content = noise(100_000);
    let file = entry("file", deflated(&content));
    let EntryKind::File(Payload::Deflated { data, .. }) = &file.kind else {
        panic!("not deflated");
    };
    let (blob, _) = written(std::slice::from_ref(&file), Compression::Gzip);
    assert!(blob.windows(data.len()).any(|window| window == &data[..]));
    // One member before it, one after it, each far smaller than a header.
    assert!(blob.len() < data.len() + 18 + 200);
}

#[test]
fn plain_and_deflated_payloads_have_one_diff_id() {
    for length in [0, 1, 511, 512, 513, 4 << 20, (4 << 20) + 1] {
        let content = noise(length);
        let (_, a) = written(&[entry("f", plain(content.clone()))], Compression::Gzip);
        let (_, b) = written(&[entry("f", deflated(&content))], Compression::Gzip);
        assert_eq!(a.diff_id, b.diff_id, "{length} bytes");
    }
}

#[test]
fn what_is_no_layer_is_refused() {
    let directory = entry("d", EntryKind::Directory);
    let file = entry("f", plain("x"));
    let link = |target| entry("l", EntryKind::Symlink(target));
    let hard = |at, target| entry(at, EntryKind::Hardlink(path(target)));
    let capability = |bytes: &[u8]| Entry {
        capability: Some(bytes.to_vec()),
        ..file.clone()
    };
    let mut version_3 = CAP_NET_RAW.to_vec();
    version_3[3] = 3;
    version_3.extend([0; 4]);
    let cases = [
        (
            vec![file.clone(), directory],
            InvalidEntry::Order(path("d")),
        ),
        (
            vec![file.clone(), file.clone()],
            InvalidEntry::Order(path("f")),
        ),
        (
            vec![entry("d/f", plain("x"))],
            InvalidEntry::Parent(path("d/f")),
        ),
        (
            vec![file.clone(), entry("f/f", plain("x"))],
            InvalidEntry::Parent(path("f/f")),
        ),
        (
            vec![entry(".wh.f", plain(""))],
            InvalidEntry::Reserved(path(".wh.f")),
        ),
        (vec![link(vec![])], InvalidEntry::Symlink(path("l"))),
        (
            vec![link(b"a\0b".to_vec())],
            InvalidEntry::Symlink(path("l")),
        ),
        (
            vec![hard("a", "f"), file.clone()],
            InvalidEntry::Hardlink {
                path: path("a"),
                target: path("f"),
            },
        ),
        (
            vec![file.clone(), hard("l", "gone")],
            InvalidEntry::Hardlink {
                path: path("l"),
                target: path("gone"),
            },
        ),
        (
            vec![Entry {
                mode: 0o10_0644,
                ..file.clone()
            }],
            InvalidEntry::Mode(path("f")),
        ),
        (
            vec![capability(&version_3)],
            InvalidEntry::Capability(path("f")),
        ),
        (
            vec![capability(&CAP_NET_RAW[..19])],
            InvalidEntry::Capability(path("f")),
        ),
    ];
    for (entries, expected) in cases {
        match write_layer(&entries, Compression::Gzip, io::sink()) {
            Err(LayerError::Invalid(problem)) => assert_eq!(problem, expected),
            other => panic!("expected {expected:?}, not {other:?}"),
        }
    }
}

#[test]
fn a_payload_that_is_not_what_it_claims_is_refused_in_every_size() {
    for length in [0, 100, 5 << 20, 33 << 20] {
        let mut file = entry("f", deflated(&noise(length)));
        let EntryKind::File(Payload::Deflated { crc32, .. }) = &mut file.kind else {
            panic!("not deflated");
        };
        *crc32 ^= 1;
        for compression in [Compression::Gzip, Compression::Zstd] {
            match write_layer(&[file.clone()], compression, io::sink()) {
                Err(LayerError::Corrupt { path: at, source }) => {
                    assert_eq!((at, source), (path("f"), CorruptPayload::Mismatch));
                }
                other => panic!("{length} bytes: {other:?}"),
            }
        }
    }
}

/// Takes some bytes, then fails or panics.
struct Broken {
    left: usize,
    panics: bool,
}

impl Write for Broken {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.left >= bytes.len() {
            self.left -= bytes.len();
            return Ok(bytes.len());
        }
        assert!(!self.panics, "the writer panics");
        Err(io::ErrorKind::StorageFull.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_full_disk_ends_the_work_with_a_hint() {
    for left in [0, 1 << 20, 10 << 20] {
        let threads = NonZero::new(3).unwrap();
        let options = LayerOptions::from(Compression::Gzip).threads(threads);
        let error = write_layer(
            &entries(),
            options,
            Broken {
                left,
                panics: false,
            },
        )
        .unwrap_err();
        assert!(error.hint().unwrap().contains("disk space"), "{error:?}");
    }
}

#[test]
#[should_panic(expected = "panic")]
fn a_panic_in_one_thread_ends_the_others() {
    let options = LayerOptions::from(Compression::Gzip).threads(NonZero::new(3).unwrap());
    let _ = write_layer(
        &entries(),
        options,
        Broken {
            left: 6 << 20,
            panics: true,
        },
    );
}
