//! Archives of Python: zip files, wheels, source distributions.

use std::{env, num::NonZero};

use bytes::Bytes;
use kiln_layer::{Compression, Entry, EntryPath, LayerOptions, write_layer};
use kiln_package::{
    bytecode, sdist as source_distribution,
    wheel::{self as wheels, Placement},
    zip::{self as zips, Member, NewMember},
};

use crate::{layers, sections, shown};

/// No member is read further than this.
const MEMBER: u64 = 1 << 20;

fn placement() -> Placement {
    Placement {
        prefix: EntryPath::new("opt/app").unwrap(),
        python: (3, 12),
        uid: 1001,
        gid: 0,
        directory_mode: 0o775,
        file_mode: 0o664,
        executable_mode: 0o775,
    }
}

/// Any bytes as a zip archive: its files, the modules of it, the wheel of it, its metadata as it
/// is cut out of a wheel that is not downloaded. Two readers never see two texts.
pub fn zip(data: &[u8]) {
    let archive = Bytes::copy_from_slice(data);
    if let Some(members) = shown(zips::files(&archive)) {
        members.iter().for_each(member);
    }
    if let Some(entries) = shown(bytecode::entries(&archive, &placement())) {
        layers::written(&entries);
    }
    let cut_out = kiln_fetch::fuzzing::wheel_metadata(data);
    if let Some(description) = shown(wheels::describe(&archive)) {
        assert_eq!(
            cut_out.as_ref(),
            Ok(&description.metadata),
            "two texts in one wheel"
        );
        read_wheel(&archive, &description.file);
        let Some(canonical) = shown(wheels::canonical(&archive, &env::temp_dir())) else {
            return;
        };
        let again = wheels::canonical(&canonical, &env::temp_dir()).unwrap();
        assert!(again == canonical, "the canonical form has another one");
        assert_eq!(
            wheels::describe(&canonical).unwrap().metadata,
            description.metadata
        );
    }
}

/// A member is read as its payload becomes a layer: both or neither.
fn member(member: &Member) {
    let _ = shown(member.starts_with(b"#!"));
    if member.payload.size() > MEMBER {
        return;
    }
    let content = shown(member.read(MEMBER));
    let entry = layers::file("file", member.payload.clone());
    let options = LayerOptions::from(Compression::Gzip).threads(NonZero::<usize>::MIN);
    let written = write_layer(&[entry], options, std::io::sink());
    if !layers::is_overlong(&written) {
        assert_eq!(
            content.is_some(),
            shown(written).is_some(),
            "one reader inflates what another refuses"
        );
    }
}

/// The wheel of sections: each is a member. `RECORD` gets the rows that are right before those
/// of the input. The section `!name` is the name of the file.
pub fn wheel(data: &[u8]) {
    let mut sections = sections(data);
    let mut file_name = "demo-1.0-py3-none-any.whl".to_owned();
    sections.retain(|(name, content)| {
        if *name == "!name" {
            file_name = String::from_utf8_lossy(content).into_owned();
        }
        *name != "!name"
    });
    let record = record(&sections);
    let members = sections.iter().map(|(name, content)| NewMember {
        name: name.trim_end_matches('!'),
        mode: if name.ends_with('!') { 0o755 } else { 0o644 },
        content: if name.ends_with(".dist-info/RECORD") {
            record.as_bytes()
        } else {
            content
        },
    });
    let mut archive = Vec::new();
    if shown(zips::write(members, &mut archive)).is_none() {
        return;
    }
    zip(&archive);
    read_wheel(&archive.into(), &file_name);
}

fn read_wheel(archive: &Bytes, file_name: &str) {
    let Some(entries) = shown(wheels::entries(archive, file_name, &placement())) else {
        return;
    };
    let prefix = placement().prefix;
    for Entry { path, .. } in &entries {
        let is_inside = path.as_bytes().starts_with(prefix.as_bytes());
        let is_above = prefix.as_bytes().starts_with(path.as_bytes());
        assert!(is_inside || is_above, "{path} lies outside of {prefix}");
    }
    layers::written(&entries);
}

/// Rows for all members, then the text of the input.
fn record(sections: &[(&str, &[u8])]) -> String {
    let mut text = String::new();
    for (name, content) in sections {
        if name.ends_with(".dist-info/RECORD") {
            text.push_str(&String::from_utf8_lossy(content));
        } else if !name.contains(['"', ',', '\n', '\r']) {
            let digest = kiln_digest::Digest::of(content);
            let name = name.trim_end_matches('!');
            text = format!(
                "{name},sha256={},{}\n{text}",
                base64url(digest.as_bytes()),
                content.len()
            );
        }
    }
    text
}

/// RFC 4648, section 5, without padding.
fn base64url(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let bits: Vec<u8> = bytes
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1))
        .collect();
    bits.chunks(6)
        .map(|six| six.iter().fold(0, |sum, bit| sum << 1 | bit) << (6 - six.len()))
        .map(|number| char::from(DIGITS[usize::from(number)]))
        .collect()
}

/// A source distribution: the first byte says in which form.
pub fn sdist(data: &[u8]) {
    let Some((form, data)) = data.split_first() else {
        return;
    };
    let (file_name, archive) = match form % 4 {
        0 => ("demo-1.0.tar.gz", data.to_vec()),
        1 => ("demo-1.0.zip", data.to_vec()),
        2 => {
            let mut tar = data.to_vec();
            crate::tars::mend(&mut tar);
            ("demo-1.0.tar.gz", crate::tars::gzip(&tar))
        }
        _ => {
            let mut zip = Vec::new();
            let sections = sections(data);
            let members = sections.iter().map(|(name, content)| NewMember {
                name,
                mode: 0o644,
                content,
            });
            if shown(zips::write(members, &mut zip)).is_none() {
                return;
            }
            ("demo-1.0.zip", zip)
        }
    };
    let Some(sdist) = shown(source_distribution::read(
        &archive.into(),
        file_name,
        &env::temp_dir(),
    )) else {
        return;
    };
    for pair in sdist.entries.windows(2) {
        assert!(pair[0].path < pair[1].path, "entries are not sorted");
    }
}
