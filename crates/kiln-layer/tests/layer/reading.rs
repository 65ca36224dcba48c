//! Reading layers back, and layers that lie.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::num::NonZero;

use kiln_digest::Digest;
use kiln_layer::{
    Compression, Contribution, Entry, EntryKind, LayerOptions, LayerRecord, LayerSummary,
    ParentPolicy, REPRODUCIBLE_MTIME, ReadError, ReadLimits, RecordKind, merge, read_layer,
    write_layer, write_tar,
};
use proptest::prelude::*;

use crate::sample::{content, deflated, entries, entry, path, plain};
use crate::written;

type Records = Vec<(LayerRecord, Vec<u8>)>;

fn read(blob: &[u8]) -> Result<(Records, LayerSummary), ReadError> {
    let mut records = Vec::new();
    let summary = read_layer(blob, ReadLimits::default(), |record, reader| {
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes)?;
        records.push((record.clone(), bytes));
        Ok(())
    })?;
    Ok((records, summary))
}

/// What a reader should see of an entry.
fn expected(entry: &Entry) -> (LayerRecord, Vec<u8>) {
    let bytes = content(entry);
    let (kind, mode) = match &entry.kind {
        EntryKind::Directory => (RecordKind::Directory, entry.mode),
        EntryKind::File(_) => (RecordKind::File, entry.mode),
        EntryKind::Symlink(target) => (RecordKind::Symlink(target.clone()), 0o777),
        EntryKind::Hardlink(target) => (RecordKind::Hardlink(target.clone()), entry.mode),
        EntryKind::Whiteout => (RecordKind::Whiteout, 0o600),
    };
    let record = LayerRecord {
        path: entry.path.clone(),
        kind,
        size: bytes.len() as u64,
        mode,
        uid: entry.uid,
        gid: entry.gid,
        mtime: entry.mtime,
        capability: entry.capability.clone(),
    };
    (record, bytes)
}

#[test]
fn the_sample_is_read_back_from_all_forms() {
    let entries = entries();
    let expected: Records = entries.iter().map(expected).collect();
    let (gzip, written_gzip) = written(&entries, Compression::Gzip);
    let (zstd, written_zstd) = written(&entries, Compression::Zstd);
    let mut tar = Vec::new();
    flate2::read::MultiGzDecoder::new(&gzip[..])
        .read_to_end(&mut tar)
        .unwrap();
    for blob in [&gzip, &zstd, &tar] {
        let (records, summary) = read(blob).unwrap();
        assert!(records == expected);
        assert_eq!(summary.diff_id, written_gzip.diff_id);
    }
    assert_eq!(read(&gzip).unwrap().1, written_gzip);
    assert_eq!(read(&zstd).unwrap().1, written_zstd);
}

#[test]
fn content_may_be_left_unread() {
    let (blob, summary) = written(&entries(), Compression::Gzip);
    let mut paths = Vec::new();
    let read = read_layer(&blob[..], ReadLimits::default(), |record, _| {
        paths.push(record.path.clone());
        Ok(())
    });
    assert_eq!(read.unwrap(), summary);
    assert_eq!(paths.len(), entries().len());
}

#[test]
fn a_layer_that_is_cut_off_is_an_error_or_has_another_digest() {
    let content = b"0123456789".repeat(100);
    let (blob, summary) = written(&[entry("f", deflated(&content))], Compression::Gzip);
    for length in 0..blob.len() {
        if let Ok((_, read)) = read(&blob[..length]) {
            assert_ne!(
                (read.digest, read.diff_id),
                (summary.digest, summary.diff_id)
            );
        }
    }
}

#[test]
fn limits_hold_against_a_bomb() {
    let zeros = vec![0; 20 << 20];
    let (blob, _) = written(&[entry("zeros", deflated(&zeros))], Compression::Gzip);
    assert!(blob.len() < 100_000);
    let limits = ReadLimits {
        unpacked_size: 1 << 20,
        entries: 10,
    };
    let error = read_layer(&blob[..], limits, |_, _| Ok(())).unwrap_err();
    assert!(matches!(error, ReadError::Limit("bytes")), "{error:?}");
    let limits = ReadLimits {
        entries: 1,
        ..ReadLimits::default()
    };
    let two = [entry("a", plain("")), entry("b", plain(""))];
    let error = read_layer(&written(&two, Compression::Zstd).0[..], limits, |_, _| {
        Ok(())
    });
    assert!(
        matches!(error, Err(ReadError::Limit("entries"))),
        "{error:?}"
    );
}

/// The sum of such a size and its padding is 0 in 64 bits.
#[test]
fn a_file_of_nearly_two_to_the_sixty_four_bytes_is_refused_and_not_skipped() {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(tar::EntryType::XHeader);
    let records = b"29 size=18446744073709551615\n";
    header.set_size(records.len() as u64);
    let mut builder = tar::Builder::new(Vec::new());
    builder.append_data(&mut header, "x", &records[..]).unwrap();
    let mut file = tar::Header::new_ustar();
    file.set_size(0);
    builder.append_data(&mut file, "file", &b""[..]).unwrap();
    let stream = builder.into_inner().unwrap();
    let result = read_layer(&stream[..], ReadLimits::default(), |_, _| Ok(()));
    assert!(
        matches!(result, Err(ReadError::Limit("bytes"))),
        "{result:?}"
    );
}

/// A foreign tar stream, made by the `tar` crate.
#[test]
fn gnu_long_names_dots_and_opaque_marks_of_others_are_understood() {
    let mut builder = tar::Builder::new(Vec::new());
    let mut append = |path: &str, kind, data: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(data.len() as u64);
        header.set_mode(0o100_644);
        header.set_uid(0o777_7777 + 1);
        header.set_gid(0);
        header.set_mtime(5);
        builder.append_data(&mut header, path, data).unwrap();
    };
    let long = format!("d/{}", "n".repeat(200));
    append("./", tar::EntryType::Directory, b"");
    append("./d/", tar::EntryType::Directory, b"");
    append(&long, tar::EntryType::Regular, b"content");
    append("d/.wh..wh..opq", tar::EntryType::Regular, b"");
    append("pipe", tar::EntryType::Fifo, b"");
    let tar = builder.into_inner().unwrap();
    let (records, summary) = read(&tar).unwrap();
    let seen: Vec<_> = records
        .iter()
        .map(|(r, bytes)| (&r.path, &r.kind, &bytes[..]))
        .collect();
    let expected = [
        (&path("d"), &RecordKind::Directory, &b""[..]),
        (&path(&long), &RecordKind::File, b"content"),
        (&path("d"), &RecordKind::OpaqueWhiteout, b""),
        (&path("pipe"), &RecordKind::Other(b'6'), b""),
    ];
    assert_eq!(seen, expected);
    assert_eq!(records[1].0.uid, 0o777_7777 + 1);
    assert_eq!(summary.entries, 5);
}

#[test]
fn paths_that_lead_outside_are_refused() {
    let mut header = tar::Header::new_ustar();
    header.as_mut_bytes()[..7].copy_from_slice(b"a/../..");
    header.set_entry_type(tar::EntryType::Regular);
    header.set_size(0);
    header.set_mode(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_cksum();
    let error = read(header.as_bytes()).unwrap_err();
    assert!(matches!(error, ReadError::Path(_)), "{error:?}");
}

/// A leaf below up to three directories. Names of leaves and directories cannot meet.
fn leaf() -> impl Strategy<Value = Entry> {
    let name = prop_oneof!["[a-c]{1,3}", "[a-z]{90,130}", "ü[a-z]{1,3}"];
    let content = prop::collection::vec(any::<u8>(), 0..2000);
    let kind = prop_oneof![
        content.clone().prop_map(plain),
        content.prop_map(|content| deflated(&content)),
        "[a-z/.]{1,200}".prop_map(|target| EntryKind::Symlink(target.into_bytes())),
        Just(EntryKind::Whiteout),
        Just(EntryKind::Hardlink(path("f-target"))),
    ];
    let ids = prop_oneof![0..3_u32, any::<u32>()];
    let directories = prop::collection::vec("d[ab]{0,2}", 0..3);
    (directories, name, kind, 0..0o10000_u32, ids, any::<i32>()).prop_map(
        |(directories, name, kind, mode, id, mtime)| {
            let at = [directories, vec![format!("f{name}")]].concat().join("/");
            let (mode, uid, gid, mtime) = match kind {
                EntryKind::Whiteout => (0o600, 0, 0, REPRODUCIBLE_MTIME),
                _ => (mode, id, id, mtime.into()),
            };
            Entry {
                path: path(&at),
                kind,
                mode,
                uid,
                gid,
                mtime,
                capability: None,
            }
        },
    )
}

fn layer() -> impl Strategy<Value = Vec<Entry>> {
    prop::collection::vec(leaf(), 0..30).prop_map(|mut leaves| {
        leaves.push(entry("f-target", plain("target")));
        let unique: BTreeMap<_, _> = leaves
            .into_iter()
            .map(|entry| (entry.path.clone(), entry))
            .collect();
        unique.into_values().collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_written_is_read_back(leaves in layer(), zstd: bool) {
        let one = Contribution { package: "p".to_owned(), entries: leaves };
        let merged = merge(vec![one], &BTreeMap::new(), &ParentPolicy::default()).unwrap();
        let compression = if zstd { Compression::Zstd } else { Compression::Gzip };
        let (blob, summary) = written(&merged, compression);
        let (records, read) = read(&blob).unwrap();
        prop_assert_eq!(read, summary);
        let expected: Records = merged.iter().map(expected).collect();
        prop_assert_eq!(records, expected);
    }

    #[test]
    fn the_tar_stream_alone_is_that_of_the_diff_id(leaves in layer(), zstd: bool) {
        let one = Contribution { package: "p".to_owned(), entries: leaves };
        let merged = merge(vec![one], &BTreeMap::new(), &ParentPolicy::default()).unwrap();
        let compression = if zstd { Compression::Zstd } else { Compression::Gzip };
        let (_, summary) = written(&merged, compression);
        let mut tar = Vec::new();
        write_tar(&merged, &mut tar).unwrap();
        prop_assert_eq!(Digest::of(&tar), summary.diff_id);
        prop_assert_eq!(tar.len() as u64, summary.unpacked_size);
    }

    #[test]
    fn shuffled_packages_and_other_threads_make_the_same_layer(
        (leaves, shuffled) in layer().prop_flat_map(|leaves| {
            (Just(leaves.clone()), Just(leaves).prop_shuffle())
        }),
        threads in 1_usize..5,
    ) {
        let digest = |leaves: Vec<Entry>, threads: usize| {
            let packages = leaves.into_iter().enumerate().map(|(index, entry)| Contribution {
                package: index.to_string(),
                entries: vec![entry],
            });
            let policy = ParentPolicy::default();
            let merged = merge(packages.collect(), &BTreeMap::new(), &policy).unwrap();
            let options = LayerOptions::from(Compression::Gzip)
                .threads(NonZero::new(threads).unwrap());
            write_layer(&merged, options, io::sink()).unwrap()
        };
        prop_assert_eq!(digest(leaves, 1), digest(shuffled, threads));
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        let _ = read(&bytes);
    }

    #[test]
    fn damaged_layers_are_read_without_a_panic(
        leaves in layer(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        fix: bool,
    ) {
        let one = Contribution { package: "p".to_owned(), entries: leaves };
        let merged = merge(vec![one], &BTreeMap::new(), &ParentPolicy::default()).unwrap();
        let (blob, _) = written(&merged, Compression::Gzip);
        let mut tar = Vec::new();
        flate2::read::MultiGzDecoder::new(&blob[..]).read_to_end(&mut tar).unwrap();
        for (index, byte) in damage {
            let index = index.index(tar.len());
            tar[index] = byte;
            if fix {
                // So that the damage gets past the checksum, if it is in a header.
                let block = index / 512 * 512;
                let mut header = tar::Header::from_byte_slice(&tar[block..block + 512]).clone();
                header.set_cksum();
                tar[block..block + 512].copy_from_slice(header.as_bytes());
            }
        }
        let _ = read(&tar);
    }
}
