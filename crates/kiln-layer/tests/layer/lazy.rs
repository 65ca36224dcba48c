//! Layers that can be read lazily: every file is where the table of contents says.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::num::NonZero;

use flate2::bufread::GzDecoder;
use kiln_digest::Digest;
use kiln_layer::{
    Compression, Entry, EntryKind, EntryPath, LayerError, LayerOptions, LayerSummary, ReadLimits,
    RecordKind, is_for_lazy_readers, read_layer, write_layer,
};
use serde_json::Value;

use crate::sample::{CAP_NET_RAW, content, deflated, entries, entry, long_name, noise, plain};
use crate::written;

/// The member of gzip that begins at `at`, and that one alone.
fn member(blob: &[u8], at: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let start = usize::try_from(at).unwrap();
    GzDecoder::new(&blob[start..])
        .read_to_end(&mut bytes)
        .unwrap();
    bytes
}

/// What the footer says, as the specification lays it out.
fn table_at(blob: &[u8]) -> u64 {
    let footer = &blob[blob.len() - 51..];
    assert_eq!(footer[..4], [0x1f, 0x8b, 8, 4]);
    assert_eq!(footer[10..16], *b"\x1a\0SG\x16\0");
    assert_eq!(footer[32..38], *b"STARGZ");
    assert!(member(footer, 0).is_empty());
    u64::from_str_radix(std::str::from_utf8(&footer[16..32]).unwrap(), 16).unwrap()
}

/// The bytes of the table, and its rows.
fn table(blob: &[u8]) -> (Vec<u8>, Vec<Value>) {
    let tar = member(blob, table_at(blob));
    let mut archive = tar::Archive::new(&tar[..]);
    let mut entry = archive.entries().unwrap().next().unwrap().unwrap();
    assert_eq!(entry.path().unwrap().to_str(), Some("stargz.index.json"));
    let mut json = Vec::new();
    entry.read_to_end(&mut json).unwrap();
    let table: Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(table["version"], 1);
    let rows = table["entries"].as_array().unwrap().clone();
    (json, rows)
}

/// The content of each file, put together from the members that the table names.
fn files(blob: &[u8], rows: &[Value]) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::<String, Vec<u8>>::new();
    for row in rows {
        let name = row["name"].as_str().unwrap().to_owned();
        let Some(at) = row["offset"].as_u64() else {
            continue;
        };
        let bytes = member(blob, at);
        assert_eq!(row["chunkDigest"], Digest::of(&bytes).to_string(), "{name}");
        let file = files.entry(name).or_default();
        assert_eq!(row["chunkOffset"].as_u64().unwrap_or(0), file.len() as u64);
        if let Some(size) = row["chunkSize"].as_u64() {
            assert_eq!(size, bytes.len() as u64);
        }
        file.extend(bytes);
    }
    files
}

fn lazy(entries: &[Entry]) -> (Vec<u8>, LayerSummary) {
    written(entries, Compression::Estargz)
}

#[test]
fn every_file_is_found_through_the_table() {
    let entries = entries();
    let (blob, summary) = lazy(&entries);
    let (json, rows) = table(&blob);
    assert_eq!(summary.toc, Some(Digest::of(&json)));
    let found = files(&blob, &rows);
    let first: BTreeMap<_, _> = rows
        .iter()
        .filter(|row| row["type"] != "chunk")
        .map(|row| (row["name"].as_str().unwrap(), row))
        .collect();
    for entry in &entries {
        let name = entry.path.to_string();
        let expected = content(entry);
        let row = match &entry.kind {
            EntryKind::Directory => first[format!("{name}/").as_str()],
            EntryKind::Whiteout => first["removed/.wh.gone"],
            _ => first[name.as_str()],
        };
        assert_eq!(row["size"].as_u64().unwrap_or(0), expected.len() as u64);
        if expected.is_empty() {
            assert!(row["offset"].is_null(), "{name}");
        } else {
            assert!(found[&name] == expected, "{name}");
            assert_eq!(row["digest"], Digest::of(&expected).to_string());
        }
    }
}

#[test]
fn rows_say_what_headers_say() {
    let (blob, _) = lazy(&entries());
    let (_, rows) = table(&blob);
    let row = |name: &str| rows.iter().find(|row| row["name"] == name).unwrap();
    let ping4 = row("bin/ping4");
    assert_eq!(
        (&ping4["type"], &ping4["linkName"]),
        (&"hardlink".into(), &"bin/ping".into())
    );
    assert_eq!(
        (&ping4["mode"], &ping4["modtime"]),
        (&0o755.into(), &"2023-11-14T22:13:20Z".into())
    );
    let capability = &row("bin/ping")["xattrs"]["security.capability"];
    assert_eq!(CAP_NET_RAW[..6], [1, 0, 0, 2, 0, 0x20]);
    assert_eq!(capability, "AQAAAgAgAAAAAAAAAAAAAAAAAAA=");
    assert_eq!(row("bin/sh")["linkName"], "dash");
    assert_eq!(row("home/")["mode"], 0o2775);
    assert_eq!(row("home/")["uid"], 1001);
    assert_eq!(row(&long_name())["type"], "reg");
    assert_eq!(row("removed/.wh.gone")["size"], Value::Null);
    assert_eq!(row("zzz")["modtime"], "1969-12-31T23:59:59Z");
    assert_eq!(row(".no.prefetch.landmark")["size"], 1);
}

/// A reader that wants one page of a library must not have to fetch all of it.
#[test]
fn large_files_have_a_member_for_each_four_mebibytes_however_they_came() {
    let content = noise((13 << 20) + 5);
    for kind in [plain(content.clone()), deflated(&content)] {
        let (blob, _) = lazy(&[entry("large", kind)]);
        let (_, rows) = table(&blob);
        let chunks: Vec<_> = rows.iter().filter(|row| row["name"] == "large").collect();
        let sizes = chunks.iter().map(|row| row["chunkSize"].as_u64());
        // The last one goes to the end of the file.
        let whole = Some(4 << 20);
        assert_eq!(sizes.collect::<Vec<_>>(), [whole, whole, whole, None]);
        assert_eq!(chunks[0]["digest"], Digest::of(&content).to_string());
        assert!(files(&blob, &rows)["large"] == content);
    }
}

#[test]
fn ordinary_readers_see_an_ordinary_layer_with_two_files_more() {
    let entries = entries();
    let (blob, summary) = lazy(&entries);
    let mut names = Vec::new();
    let read = read_layer(&blob[..], ReadLimits::default(), |record, _| {
        if !(record.kind == RecordKind::File && is_for_lazy_readers(&record.path)) {
            names.push(record.path.clone());
        }
        Ok(())
    });
    let ours: Vec<_> = entries.iter().map(|entry| entry.path.clone()).collect();
    assert_eq!(names, ours);
    assert_eq!(
        read.unwrap(),
        LayerSummary {
            toc: None,
            ..summary
        }
    );
    assert_eq!(summary.entries, entries.len() as u64 + 2);
}

/// A change here changes the digest of every layer of this form: raise `LAYER_FORMAT`, and only
/// then these.
#[test]
fn golden_digests_of_lazy_layers() {
    let (_, summary) = lazy(&entries());
    let toc = summary.toc.unwrap();
    assert_eq!(
        [summary.diff_id, summary.digest, toc].map(|digest| digest.to_string()),
        [
            "sha256:7b536a4396abffa27700d3724a706bc58f69cde3724f0f42cd9fd747ef4e8b86",
            "sha256:1cc261aa832a1a908bd9aa897f0fb155c1f9fbbd418af896e7469ef97e80f80e",
            "sha256:ea848850672045017ea78c3342fdf5603da4efa0d9e69c5d544febd4d5cfbe31",
        ]
    );
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let entries = entries();
    let (expected, _) = lazy(&entries);
    for threads in [1, 2, 3, 9] {
        let options = LayerOptions::from(Compression::Estargz);
        let mut blob = Vec::new();
        write_layer(
            &entries,
            options.threads(NonZero::new(threads).unwrap()),
            &mut blob,
        )
        .unwrap();
        assert!(blob == expected, "{threads} threads");
    }
}

#[test]
fn the_empty_layer_has_a_table_of_the_landmark() {
    let (blob, _) = lazy(&[]);
    let (_, rows) = table(&blob);
    let [landmark] = rows.as_slice() else {
        panic!("one row, not {rows:?}");
    };
    assert_eq!(files(&blob, &rows)[".no.prefetch.landmark"], [0xf]);
    assert_eq!(landmark["mode"], 0o644);
}

#[test]
fn what_a_table_cannot_say_is_refused() {
    let latin = Entry {
        path: EntryPath::new(b"l\xe4nder".to_vec()).unwrap(),
        ..entry("x", plain(""))
    };
    for wrong in [
        entry("stargz.index.json", plain("")),
        entry(".no.prefetch.landmark", plain("")),
        entry(".prefetch.landmark", EntryKind::Directory),
        latin,
        entry("link", EntryKind::Symlink(b"\xff".to_vec())),
        Entry {
            mtime: i64::MAX,
            ..entry("file", plain(""))
        },
    ] {
        let path = wrong.path.clone();
        match write_layer(&[wrong], Compression::Estargz, std::io::sink()) {
            Err(LayerError::NotLazy(at, _)) => assert_eq!(at, path),
            other => panic!("{path} gives {other:?}"),
        }
    }
    let below = [
        entry("d", EntryKind::Directory),
        entry("d/stargz.index.json", plain("mine")),
    ];
    lazy(&below);
}
