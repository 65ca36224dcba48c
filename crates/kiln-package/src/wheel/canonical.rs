//! The canonical form of a wheel, and what such a wheel says about itself.
//!
//! Build back ends write archives whose order, times, modes and compression depend on machine
//! and version. [`canonical`] writes the same files as one archive that depends on their content
//! alone, in the form of [`zip::write()`]:
//!
//! - members sorted by name; those of `.dist-info` after all others, as the wheel specification
//!   recommends, and `RECORD` last;
//! - modes 0755 for what any user may execute, else 0644;
//! - `RECORD` written anew, sorted, without signatures (which signed another one).
//!
//! The name of the file is a function of the content, too: name and version as `.dist-info` has
//! them, then build tag and tags of `WHEEL`, compressed by their parts in alphabetical order.

use std::{collections::BTreeSet, io, path::Path};

use bytes::Bytes;

use super::{
    Wheel, WheelError,
    headers::{header, headers},
    record::{self, Row},
};
use crate::{
    spool::Spool,
    zip::{self, NewMember, WriteError},
};

/// The largest file of a wheel: what a zip archive without ZIP64 can hold.
const MAX_FILE: u64 = u32::MAX as u64;

/// What a wheel says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// The name of its file, as its content says it.
    pub file: String,
    /// Its `METADATA`.
    pub metadata: String,
}

/// Reads name and metadata of a wheel out of the archive.
pub fn describe(archive: &Bytes) -> Result<Description, WheelError> {
    let members = zip::files(archive)?;
    let names = members.iter().map(|member| member.name.as_str());
    let dist_info: BTreeSet<&str> = names
        .filter_map(|name| name.split_once('/')?.0.strip_suffix(".dist-info"))
        .collect();
    let [stem] = dist_info.iter().copied().collect::<Vec<_>>()[..] else {
        return Err(WheelError::DistInfoCount(dist_info.len()));
    };
    // The tags do not matter yet: this finds the file that says them.
    let wheel = Wheel::open(archive, &format!("{stem}-py3-none-any.whl"))?;
    let text = wheel.text("WHEEL", &wheel.required_metadata("WHEEL")?)?;
    let mut parts = vec![stem.to_owned()];
    parts.extend(header(&text, "Build"));
    let tags = compressed(&headers(&text, "Tag"))
        .ok_or_else(|| wheel.malformed("WHEEL", "its `Tag` headers make no file name"))?;
    parts.push(tags);
    let file = format!("{}.whl", parts.join("-"));
    Wheel::open(archive, &file)?;
    let metadata = wheel.required_metadata("METADATA")?;
    Ok(Description {
        file,
        metadata: wheel.text("METADATA", &metadata)?,
    })
}

/// The canonical form of a wheel. `spool` is a directory for unnamed files that hold what is too
/// large for memory.
pub fn canonical(archive: &Bytes, spool: &Path) -> Result<Bytes, WheelError> {
    let Description { file, .. } = describe(archive)?;
    let wheel = Wheel::open(archive, &file)?;
    let record = wheel.metadata_path("RECORD");
    let mut members: Vec<_> = wheel
        .members
        .iter()
        .filter(|member| {
            let signature = member.name.strip_prefix(&record);
            !matches!(signature, Some("" | ".jws" | ".p7s"))
        })
        .collect();
    let prefix = wheel.metadata_path("");
    members.sort_by_key(|member| (member.name.starts_with(&prefix), &member.name));

    let mut spooled = Spool::new(spool);
    let mut contents = Vec::with_capacity(members.len());
    for member in members {
        let content = member.read(MAX_FILE)?;
        let range = spooled.append(&content[..]).map_err(WheelError::Write)?;
        let mode = if member.is_executable() { 0o755 } else { 0o644 };
        contents.push((member.name.as_str(), mode, range));
    }
    let spooled = spooled.into_bytes().map_err(WheelError::Write)?;
    let mut new: Vec<NewMember> = contents
        .into_iter()
        .map(|(name, mode, range)| NewMember {
            name,
            mode,
            content: &spooled[range],
        })
        .collect();
    let mut rows: Vec<Row> = new
        .iter()
        .map(|member| Row::of(member.name.to_owned(), member.content))
        .collect();
    rows.push(Row::bare(record.clone()));
    let rows = record::render(rows);
    new.push(NewMember {
        name: &record,
        mode: 0o644,
        content: rows.as_bytes(),
    });
    let mut written = Spool::new(spool);
    zip::write(new, &mut written).map_err(|error| {
        WheelError::Write(match error {
            WriteError::Io(error) => error,
            other => io::Error::other(other),
        })
    })?;
    written.into_bytes().map_err(WheelError::Write)
}

/// One compressed tag set (PEP 425) that means exactly these tags.
fn compressed(tags: &[String]) -> Option<String> {
    let mut parts: [BTreeSet<&str>; 3] = Default::default();
    let mut all = BTreeSet::new();
    for tag in tags {
        let words: Vec<&str> = tag.split('-').collect();
        if words.len() != 3
            || words
                .iter()
                .any(|word| word.is_empty() || word.contains('.'))
        {
            return None;
        }
        all.insert(tag.as_str());
        for (part, word) in parts.iter_mut().zip(words) {
            part.insert(word);
        }
    }
    // Every combination of the parts, and no other, or the name would say something else.
    let combinations: usize = parts.iter().map(BTreeSet::len).product();
    let joined = parts.map(|part| part.into_iter().collect::<Vec<_>>().join("."));
    (combinations == all.len() && combinations > 0).then(|| joined.join("-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A wheel as a back end might write it: members in this order.
    fn wheel(members: &[(&str, u32, &str)]) -> Bytes {
        let members = members.iter().map(|(name, mode, content)| NewMember {
            name,
            mode: *mode,
            content: content.as_bytes(),
        });
        let mut out = Vec::new();
        zip::write(members, &mut out).unwrap();
        out.into()
    }

    const METADATA: (&str, u32, &str) = (
        "a_b-1.0.dist-info/METADATA",
        0o664,
        "Metadata-Version: 2.1\nName: a-b\nVersion: 1.0\n",
    );
    const WHEEL: (&str, u32, &str) = (
        "a_b-1.0.dist-info/WHEEL",
        0o600,
        "Wheel-Version: 1.0\nTag: py3-none-any\nTag: py2-none-any\n",
    );
    const RECORD: (&str, u32, &str) = ("a_b-1.0.dist-info/RECORD", 0o664, "stale,,\n");
    const MODULE: (&str, u32, &str) = ("a_b/x.py", 0o775, "print()\n");
    const LATE: (&str, u32, &str) = ("z.py", 0o640, "");

    fn made(members: &[(&str, u32, &str)]) -> Bytes {
        canonical(&wheel(members), &std::env::temp_dir()).unwrap()
    }

    #[test]
    fn the_form_does_not_depend_on_what_the_back_end_wrote() {
        let one = made(&[METADATA, LATE, RECORD, MODULE, WHEEL]);
        let mut other = [WHEEL, MODULE, METADATA, RECORD, LATE];
        other[1].1 = 0o711;
        other[3].2 = "";
        assert_eq!(one, made(&other));
        assert_eq!(one, canonical(&one, &std::env::temp_dir()).unwrap());
        let files = zip::files(&one).unwrap();
        let names: Vec<_> = files
            .iter()
            .map(|it| (it.name.as_str(), it.unix_mode & 0o7777))
            .collect();
        assert_eq!(
            names,
            [
                ("a_b/x.py", 0o755),
                ("z.py", 0o644),
                ("a_b-1.0.dist-info/METADATA", 0o644),
                ("a_b-1.0.dist-info/WHEEL", 0o644),
                ("a_b-1.0.dist-info/RECORD", 0o644),
            ]
        );
    }

    #[test]
    fn the_record_is_true_and_signatures_of_the_old_one_are_gone() {
        let signature = ("a_b-1.0.dist-info/RECORD.jws", 0o644, "{}");
        let archive = made(&[METADATA, WHEEL, RECORD, signature, LATE]);
        let wheel = Wheel::open(&archive, "a_b-1.0-py2.py3-none-any.whl").unwrap();
        let rows = wheel.checked_record().unwrap();
        assert_eq!(rows.len(), 4);
        // SHA-256 of nothing.
        assert_eq!(
            rows["z.py"].hash,
            "sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"
        );
        assert_eq!(rows["a_b-1.0.dist-info/RECORD"].hash, "");
    }

    #[test]
    fn a_wheel_says_its_name_and_metadata() {
        let described = describe(&wheel(&[METADATA, WHEEL, RECORD])).unwrap();
        assert_eq!(described.file, "a_b-1.0-py2.py3-none-any.whl");
        assert_eq!(described.metadata, METADATA.2);
        let mut built = WHEEL;
        built.2 = "Wheel-Version: 1.0\nBuild: 2b\nTag: cp311-cp311-linux_x86_64\n";
        let described = describe(&wheel(&[METADATA, built, RECORD])).unwrap();
        assert_eq!(described.file, "a_b-1.0-2b-cp311-cp311-linux_x86_64.whl");
    }

    #[test]
    fn tags_that_no_file_name_can_say_are_refused() {
        let tags = |tags: &[&str]| {
            compressed(&tags.iter().map(|tag| (*tag).to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(
            tags(&["cp39-abi3-linux_x86_64"]).as_deref(),
            Some("cp39-abi3-linux_x86_64")
        );
        for wrong in [
            &["py3-none-any", "cp311-abi3-any"][..],
            &[],
            &["py3-none"],
            &["py2.py3-none-any"],
            &["py3--any"],
        ] {
            assert_eq!(tags(wrong), None, "{wrong:?}");
        }
        assert!(describe(&wheel(&[METADATA, RECORD])).is_err());
    }
}
