//! Golden layers: what an action's layer holds, entry by entry, and its digest.
//!
//! The packages are made here, so that these tests need neither network nor tools. A digest that
//! changes means that the same action gives other bytes: raise `ACTION_FORMAT`, read the new
//! listing, then take it over.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write as _,
    io::{self, Read},
};

use bytes::Bytes;
use kiln_build::{Context, Summary, execute};
use kiln_digest::Digest;
use kiln_plan::{
    ACTION_FORMAT, Action, Archive, Compression, Kind, PackDebs, PackWheels, Placement, Venv,
};
use kiln_recipe::{Platform, PythonVersion};

/// Packages that an action reads.
#[derive(Default)]
struct Inputs(HashMap<Digest, Bytes>);

impl Inputs {
    fn add(&mut self, file: &str, bytes: Vec<u8>) -> Archive {
        let sha256 = Digest::of(&bytes);
        self.0.insert(sha256, bytes.into());
        Archive {
            file: file.to_owned(),
            sha256,
        }
    }

    /// The layer of an action, and its digest and diff id.
    fn layer(&self, kind: Kind, compression: Compression) -> (Vec<u8>, Digest, Digest) {
        let action = Action {
            format: ACTION_FORMAT,
            platform: Platform::LinuxAmd64,
            compression,
            kind,
        };
        let open = |digest: &Digest| {
            let found = self.0.get(digest).cloned();
            found.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
        };
        let spool = tempfile::tempdir().unwrap();
        let mut layer = Vec::new();
        let context = Context::packing(&open, spool.path());
        let Summary::Layer(summary) = execute(&action, &context, &mut layer).unwrap() else {
            panic!("not a layer");
        };
        assert_eq!(Digest::of(&layer), summary.digest);
        (layer, summary.digest, summary.diff_id)
    }
}

/// A layer as text: digests first, then an entry a line.
fn shown((layer, digest, diff_id): &(Vec<u8>, Digest, Digest)) -> String {
    let mut tar = Vec::new();
    flate2::read::MultiGzDecoder::new(layer.as_slice())
        .read_to_end(&mut tar)
        .unwrap();
    assert_eq!(Digest::of(&tar), *diff_id);
    let mut text = format!("digest  {digest}\ndiff-id {diff_id}\n");
    for entry in tar::Archive::new(tar.as_slice()).entries().unwrap() {
        let mut entry = entry.unwrap();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        let header = entry.header().clone();
        let kind = match header.entry_type() {
            tar::EntryType::Directory => 'd',
            tar::EntryType::Symlink => 'l',
            tar::EntryType::Link => 'h',
            _ => '-',
        };
        let link = entry.link_name().unwrap();
        let target = link.map_or_else(String::new, |link| format!(" -> {}", link.display()));
        writeln!(
            text,
            "{kind}{:04o} {}:{} {:>10} {:>4} {}{target}",
            header.mode().unwrap(),
            header.uid().unwrap(),
            header.gid().unwrap(),
            header.mtime().unwrap(),
            content.len(),
            entry.path().unwrap().display(),
        )
        .unwrap();
    }
    text
}

fn placement() -> Placement {
    Placement {
        prefix: "/opt/app-root".into(),
        python: PythonVersion {
            major: 3,
            minor: 11,
        },
        uid: 1001,
        gid: 0,
    }
}

/// A wheel whose members are stored, but for one that is deflated.
fn wheel() -> Vec<u8> {
    let members: [(&str, &[u8]); 6] = [
        ("tool/__init__.py", b"def main():\n    print('hello')\n"),
        ("tool/data.bin", &[0; 300]),
        ("tool-1.0.data/scripts/tool.sh", b"#!/bin/sh\n"),
        (
            "tool-1.0.dist-info/METADATA",
            b"Metadata-Version: 2.1\nName: tool\nVersion: 1.0\n",
        ),
        (
            "tool-1.0.dist-info/WHEEL",
            b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        ),
        (
            "tool-1.0.dist-info/entry_points.txt",
            b"[console_scripts]\ntool = tool:main\n",
        ),
    ];
    let record: String = members
        .iter()
        .map(|(name, _)| format!("{name},,\n"))
        .chain(["tool-1.0.dist-info/RECORD,,\n".to_owned()])
        .collect();
    let mut body = Vec::new();
    let mut directory = Vec::new();
    let record = ("tool-1.0.dist-info/RECORD", record.as_bytes());
    for (name, content) in members.iter().chain([&record]) {
        let mut crc = flate2::Crc::new();
        crc.update(content);
        // A run of 300 zeros as DEFLATE with fixed codes (RFC 1951, 3.2.6), by hand: literal 0,
        // length 258 distance 1, length 41 distance 1, end of block.
        let is_run = content.len() == 300;
        let packed = if is_run {
            deflated_run()
        } else {
            content.to_vec()
        };
        let method = if is_run { 8u8 } else { 0 };
        let mut shared = vec![20, 0, 0, 0, method, 0, 0, 0, 0x21, 0];
        shared.extend(crc.sum().to_le_bytes());
        shared.extend(u32::try_from(packed.len()).unwrap().to_le_bytes());
        shared.extend(u32::try_from(content.len()).unwrap().to_le_bytes());
        shared.extend(u16::try_from(name.len()).unwrap().to_le_bytes());
        shared.extend([0, 0]);
        let offset = u32::try_from(body.len()).unwrap().to_le_bytes();
        body.extend(*b"PK\x03\x04");
        body.extend(&shared);
        body.extend(name.as_bytes());
        body.extend(packed);
        directory.extend(*b"PK\x01\x02\x14\x00");
        directory.extend(&shared);
        directory.extend([0; 10]);
        directory.extend(offset);
        directory.extend(name.as_bytes());
    }
    let count = u16::try_from(members.len() + 1).unwrap().to_le_bytes();
    let mut end = b"PK\x05\x06\0\0\0\0".to_vec();
    end.extend([count, count].concat());
    end.extend(u32::try_from(directory.len()).unwrap().to_le_bytes());
    end.extend(u32::try_from(body.len()).unwrap().to_le_bytes());
    end.extend([0, 0]);
    [body, directory, end].concat()
}

/// 300 zeros, deflated by hand: the bits are those of RFC 1951, codes most significant bit first.
fn deflated_run() -> Vec<u8> {
    let bits = [
        "1 10",           // last block, fixed codes (01, least significant bit first)
        "00110000",       // literal 0
        "11000101 00000", // length 258 (code 285), distance 1 (code 0)
        "0010001 011",    // length 41 (code 273 is 35 to 42: 6 above)
        "00000",          // distance 1
        "0000000",        // end of block
    ];
    let mut out = Vec::new();
    let bits = bits.concat().replace(' ', "");
    for (bit, value) in bits.bytes().enumerate() {
        if bit % 8 == 0 {
            out.push(0u8);
        }
        if value == b'1' {
            *out.last_mut().unwrap() |= 1 << (bit % 8);
        }
    }
    out
}

/// A Debian package (deb(5)) of uncompressed parts.
fn deb(name: &str, members: &[(&str, tar::EntryType, u32, &[u8], &str)]) -> Vec<u8> {
    let control = format!(
        "Package: {name}\nVersion: 1.0\nArchitecture: all\nMaintainer: Nobody <n@b.invalid>\n\
         Description: {name}\n"
    );
    let control = tar_of(&[(
        "./control",
        tar::EntryType::Regular,
        0o644,
        control.as_bytes(),
        "",
    )]);
    let data = tar_of(members);
    let mut out = b"!<arch>\n".to_vec();
    for (part, content) in [
        ("debian-binary", &b"2.0\n"[..]),
        ("control.tar", &control),
        ("data.tar", &data),
    ] {
        let head = format!(
            "{part:<16}{:<12}0     0     100644  {:<10}`\n",
            1_700_000_000,
            content.len()
        );
        out.extend(head.as_bytes());
        out.extend(content);
        if content.len() % 2 == 1 {
            out.push(b'\n');
        }
    }
    out
}

fn tar_of(members: &[(&str, tar::EntryType, u32, &[u8], &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, kind, mode, content, link) in members {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_mode(*mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_700_000_000);
        header.set_size(content.len() as u64);
        if !link.is_empty() {
            header.set_link_name(link).unwrap();
        }
        // As dpkg-deb writes names, `./` in front: `set_path` would drop it.
        header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
        header.set_cksum();
        builder.append(&header, *content).unwrap();
    }
    builder.into_inner().unwrap()
}

#[test]
fn a_layer_of_debian_packages() {
    use tar::EntryType::{Directory, Link, Regular, Symlink};
    let mut inputs = Inputs::default();
    let one = deb(
        "one",
        &[
            ("./", Directory, 0o755, b"", ""),
            ("./bin/", Directory, 0o755, b"", ""),
            ("./bin/one", Regular, 0o4755, b"#!/bin/sh\n", ""),
            ("./usr/share/one/", Directory, 0o750, b"", ""),
            ("./usr/share/one/a", Regular, 0o644, b"a", ""),
            ("./usr/share/one/b", Link, 0o644, b"", "./usr/share/one/a"),
        ],
    );
    let two = deb(
        "two",
        &[
            ("./usr/share/two", Symlink, 0o777, b"", "one"),
            ("./usr/lib/zeros", Regular, 0o600, &[0; 4096], ""),
        ],
    );
    let debs = vec![
        inputs.add("one_1.0_all.deb", one),
        inputs.add("two_1.0_all.deb", two),
    ];
    let kind = |debs| {
        Kind::PackDebs(PackDebs {
            usr_merge: vec!["bin".into(), "lib".into()],
            links: true,
            debs,
            winners: BTreeMap::new(),
        })
    };
    let layer = inputs.layer(kind(debs.clone()), Compression::Gzip);
    insta::assert_snapshot!(shown(&layer));
    let zstd = inputs.layer(kind(debs), Compression::Zstd);
    assert_eq!(
        zstd.2, layer.2,
        "how a layer is compressed changes nothing in it"
    );
    insta::assert_snapshot!(zstd.1.to_string());
}

#[test]
fn a_layer_of_wheels() {
    let mut inputs = Inputs::default();
    let wheels = vec![inputs.add("tool-1.0-py3-none-any.whl", wheel())];
    let kind = Kind::PackWheels(PackWheels {
        placement: placement(),
        wheels,
        winners: BTreeMap::new(),
    });
    insta::assert_snapshot!(shown(&inputs.layer(kind, Compression::Gzip)));
}

#[test]
fn the_python_tree() {
    let kind = Kind::Venv(Venv {
        placement: placement(),
        executable: "/usr/bin/python3.11".into(),
        home: "/opt/app-root/src".into(),
    });
    insta::assert_snapshot!(shown(&Inputs::default().layer(kind, Compression::Gzip)));
}
