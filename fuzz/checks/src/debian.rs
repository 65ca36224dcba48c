//! Packages of Debian: archives, control files, relations.

use std::{collections::BTreeMap, env};

use kiln_package::deb::{
    DebPackage, Limits, Paragraph, Triggers, UsrMerge, read_within, unpacked_onto,
};
use kiln_resolve::deb::{relation, version::Version};

use crate::{
    layers, sections, shown,
    tars::{self, ar, archive},
};

/// A control file that is right.
const CONTROL: &[u8] = b"Package: demo\nVersion: 1.0-1\nArchitecture: all\n\
    Maintainer: Somebody <somebody@example.org>\nDescription: demo\n";

/// Small, so that a check ends soon.
const LIMITS: Limits = Limits {
    control_bytes: 1 << 20,
    data_bytes: 16 << 20,
    members: 1000,
};

/// Any bytes as a package.
pub fn deb_archive(data: &[u8]) {
    let merge = UsrMerge(vec!["bin".into(), "lib".into(), "sbin".into()]);
    let package = read_within(
        data.to_vec().into(),
        "demo.deb",
        &merge,
        &env::temp_dir(),
        &LIMITS,
    );
    let Some(DebPackage { facts, entries }) = shown(package) else {
        return;
    };
    layers::written(&entries);
    // What dpkg's database says of it is read back as it was.
    let below = BTreeMap::new();
    for entry in unpacked_onto(&below, &[&facts]) {
        let kiln_layer::EntryKind::File(kiln_layer::Payload::Plain(text)) = &entry.kind else {
            continue;
        };
        if entry.path.as_bytes().ends_with(b"/status") {
            let text = std::str::from_utf8(text).expect("the status file is text");
            let status = Paragraph::parse(text.trim_end_matches('\n')).expect("one paragraph");
            assert_eq!(status.get("Package"), Some(facts.name.as_str()));
            // As dpkg, it leaves out an epoch of zero.
            let version = |text: Option<&str>| text.and_then(|text| text.parse::<Version>().ok());
            if let Some(shipped) = version(Some(&facts.version)) {
                assert_eq!(version(status.get("Version")), Some(shipped));
            }
            assert_eq!(status.get("Status"), Some("install ok unpacked"));
        }
    }
}

/// A package of sections: those named `control/…` are its control files, all others its files.
pub fn deb(data: &[u8]) {
    let sections = sections(data);
    let below = |name: &str| name.starts_with("control/");
    let control = archive(sections.iter().filter_map(|(name, content)| {
        let name = name.strip_prefix("control/")?;
        Some((name, *content))
    }));
    let files = archive(
        sections
            .iter()
            .filter(|(name, _)| !below(name))
            .map(|(name, content)| (*name, *content)),
    );
    packed(&control, &files);
}

/// A package whose files are this tar stream, with its check sums made right.
pub fn deb_tar(data: &[u8]) {
    let mut stream = data.to_vec();
    tars::mend(&mut stream);
    packed(&archive([("control", CONTROL)]), &stream);
}

fn packed(control: &[u8], files: &[u8]) {
    deb_archive(&ar(&[
        ("debian-binary", b"2.0\n"),
        ("control.tar", control),
        ("data.tar", files),
    ]));
}

/// The texts of control files, each read as a paragraph, triggers, relations and versions.
pub fn control(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    // A carriage return belongs to the end of a line, and is not written.
    let paragraph = shown(Paragraph::parse(text)).filter(|_| !text.contains('\r'));
    if let Some(paragraph) = paragraph {
        let fields = paragraph.iter();
        let written: String = fields
            .flat_map(|(name, value)| [name, ": ", value, "\n"])
            .collect();
        let again = Paragraph::parse(&written).expect("what was read is written and read again");
        assert!(again.iter().eq(paragraph.iter()), "{written:?}");
        for (_, value) in paragraph.iter() {
            relations(value);
        }
    }
    let _ = shown(Triggers::parse(text));
    relations(text);
    versions(text);
}

fn relations(text: &str) {
    let Some(groups) = shown(relation::parse_relations(text)) else {
        return;
    };
    for one in groups.iter().flatten() {
        let written = one.to_string();
        let again = relation::parse_relation(&written).expect("a relation is read again");
        assert_eq!(again.to_string(), written);
    }
}

/// Versions are ordered: the order of any three is one order.
fn versions(text: &str) {
    let versions: Vec<Version> = text
        .split_whitespace()
        .filter_map(|word| word.parse().ok())
        .take(12)
        .collect();
    for triple in versions.windows(3) {
        let [a, b, c] = triple else { continue };
        assert_eq!(a.cmp(b), b.cmp(a).reverse(), "{a} and {b}");
        if a <= b && b <= c {
            assert!(a <= c, "{a} <= {b} <= {c}");
        }
    }
}
