//! Single promises about the entries of wheels; the whole is compared with pip in `pip.rs`.

use bytes::Bytes;
use kiln_layer::{Entry, EntryKind, EntryPath, Payload};
use kiln_package::wheel::{Placement, WheelError, entries};
use proptest::prelude::*;

use crate::archive::{Member, deflate, record_member, wheel, wheel_members, zip};

const FILE_NAME: &str = "demo-1.0-py3-none-any.whl";
const SITE_PACKAGES: &str = "opt/app-root/lib/python3.11/site-packages";

fn placement() -> Placement {
    Placement {
        prefix: EntryPath::new("opt/app-root").unwrap(),
        python: (3, 11),
        uid: 1001,
        gid: 0,
        directory_mode: 0o775,
        file_mode: 0o664,
        executable_mode: 0o775,
    }
}

fn place(archive: &Bytes) -> Result<Vec<Entry>, WheelError> {
    entries(archive, FILE_NAME, &placement())
}

fn error(archive: &Bytes) -> WheelError {
    place(archive).unwrap_err()
}

fn find<'a>(entries: &'a [Entry], path: &str) -> &'a Entry {
    let found = entries.iter().find(|entry| entry.path.to_string() == path);
    found.unwrap_or_else(|| panic!("no {path} in {entries:#?}"))
}

fn text(entry: &Entry) -> String {
    match &entry.kind {
        EntryKind::File(Payload::Plain(content)) => String::from_utf8(content.to_vec()).unwrap(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn untouched_files_keep_the_bytes_of_the_archive() {
    let content = b"x = 1\n".repeat(100);
    let placed = place(&wheel(vec![Member::deflated("demo/a.py", &content)])).unwrap();
    let entry = find(&placed, &format!("{SITE_PACKAGES}/demo/a.py"));
    let EntryKind::File(Payload::Deflated { data, size, .. }) = &entry.kind else {
        panic!("{entry:?}");
    };
    assert_eq!((&data[..], *size), (&deflate(&content)[..], 600));
}

#[test]
fn entries_are_sorted_and_own_all_their_parents() {
    let placed = place(&wheel(vec![
        Member::deflated("demo/b/c.py", b""),
        Member::deflated("demo-1.0.data/data/share/x", b""),
    ]))
    .unwrap();
    let paths: Vec<&EntryPath> = placed.iter().map(|entry| &entry.path).collect();
    assert!(paths.is_sorted());
    for entry in &placed {
        assert_eq!((entry.uid, entry.gid, entry.mtime), (1001, 0, 315_532_800));
        if entry.path != placement().prefix {
            assert!(
                paths.contains(&&entry.path.parent().unwrap()),
                "{}",
                entry.path
            );
        }
    }
}

#[test]
fn record_and_installer_are_written_anew() {
    let members = vec![
        Member::deflated("demo/a,b.py", b"1"),
        Member::deflated("demo-1.0.dist-info/INSTALLER", b"somebody\n"),
    ];
    let mut members = wheel_members(members);
    members.last_mut().unwrap().clone_from(&record_member(
        "\"demo/a,b.py\",sha256=kept,1\n\
         demo-1.0.dist-info/INSTALLER,sha256=gone,9\n\
         demo-1.0.dist-info/METADATA,sha256=kept,\n\
         demo-1.0.dist-info/WHEEL,sha256=kept\n",
    ));
    let placed = place(&zip(&members)).unwrap();
    let dist_info = format!("{SITE_PACKAGES}/demo-1.0.dist-info");
    assert_eq!(
        text(find(&placed, &format!("{dist_info}/INSTALLER"))),
        "kiln\n"
    );
    // The digest is sha256sum's of `kiln\n`, in base 64.
    assert_eq!(
        text(find(&placed, &format!("{dist_info}/RECORD"))),
        "demo-1.0.dist-info/INSTALLER,sha256=7Ny9UCx8NBt9VHdgzAknCkPYLbMle4sPlumAg-TlZD0,5\r\n\
         demo-1.0.dist-info/METADATA,sha256=kept,\r\n\
         demo-1.0.dist-info/RECORD,,\r\n\
         demo-1.0.dist-info/WHEEL,sha256=kept,\r\n\
         \"demo/a,b.py\",sha256=kept,1\r\n"
    );
}

#[test]
fn lib64_is_a_link_to_lib_and_stays_one() {
    let placed = place(&wheel(vec![Member::deflated(
        "demo-1.0.data/data/lib64/x.so",
        b"",
    )]));
    let placed = placed.unwrap();
    find(&placed, "opt/app-root/lib/x.so");
    let record = format!("{SITE_PACKAGES}/demo-1.0.dist-info/RECORD");
    assert!(text(find(&placed, &record)).contains("../../../lib64/x.so,"));
    assert!(
        placed
            .iter()
            .all(|entry| !entry.path.to_string().contains("lib64"))
    );
}

#[test]
fn another_project_or_version_inside_is_refused() {
    let archive = wheel(Vec::new());
    for name in ["other-1.0-py3-none-any.whl", "demo-1.1-py3-none-any.whl"] {
        let outcome = entries(&archive, name, &placement());
        assert!(
            matches!(outcome, Err(WheelError::OtherProject { .. })),
            "{name}"
        );
    }
    entries(&archive, "Demo-1.0.0-py3-none-any.whl", &placement()).unwrap();

    let mut members = wheel_members(Vec::new());
    members[0] = Member::deflated(
        "demo-1.0.dist-info/METADATA",
        b"Metadata-Version: 2.1\nName: demo2\nVersion: 1.0\n\ntext\n",
    );
    assert!(matches!(
        error(&zip(&members)),
        WheelError::OtherProject { .. }
    ));
}

#[test]
fn exactly_one_dist_info_is_needed() {
    let file = || Member::deflated("demo/a.py", b"");
    assert!(matches!(
        error(&zip(&[file()])),
        WheelError::DistInfoCount(0)
    ));
    let second = Member::deflated("other-1.0.dist-info/METADATA", b"");
    assert!(matches!(
        error(&wheel(vec![second])),
        WheelError::DistInfoCount(2)
    ));
    let nested = Member::deflated("demo/other-1.0.dist-info/METADATA", b"");
    place(&wheel(vec![nested])).unwrap();
}

#[test]
fn every_required_file_is_missed() {
    for index in 0..3 {
        let mut members = wheel_members(Vec::new());
        let gone = members.remove(index);
        let gone = String::from_utf8(gone.central.name).unwrap();
        let outcome = error(&zip(&members));
        assert!(
            matches!(&outcome, WheelError::Missing(name) if *name == gone),
            "{outcome}"
        );
    }
}

#[test]
fn later_major_versions_of_the_format_are_refused() {
    for (version, accepted) in [("1.9", true), ("1", true), ("2.0", false), ("x", false)] {
        let mut members = wheel_members(Vec::new());
        let text = format!("Wheel-Version: {version}\n");
        members[1] = Member::deflated("demo-1.0.dist-info/WHEEL", text.as_bytes());
        members[2] = record_member("demo-1.0.dist-info/METADATA,,\ndemo-1.0.dist-info/WHEEL,,\n");
        assert_eq!(place(&zip(&members)).is_ok(), accepted, "{version}");
    }
}

#[test]
fn record_must_agree_with_the_archive() {
    let with_record = |extra: &str, change: fn(String) -> String| {
        let mut members = wheel_members(vec![Member::deflated("demo/a.py", b"12345")]);
        let record = "demo/a.py,sha256=x,5\ndemo-1.0.dist-info/METADATA,,\n\
                      demo-1.0.dist-info/WHEEL,,\n";
        *members.last_mut().unwrap() = record_member(&change(format!("{record}{extra}")));
        place(&zip(&members))
    };
    with_record("", |record| record).unwrap();
    with_record("demo/,,\n", |record| record).unwrap();
    assert!(matches!(
        with_record("", |record| record.replace("demo/a.py,sha256=x,5\n", "")),
        Err(WheelError::NotRecorded(path)) if path == "demo/a.py"
    ));
    assert!(matches!(
        with_record("demo/b.py,sha256=x,5\n", |record| record),
        Err(WheelError::NotInArchive(path)) if path == "demo/b.py"
    ));
    for wrong in ["4", "05x", "-5", "99999999999999999999999"] {
        let record = format!("demo/a.py,sha256=x,{wrong}\n");
        let outcome = with_record(&record, |record| {
            record.replace("demo/a.py,sha256=x,5\n", "")
        });
        assert!(
            matches!(outcome, Err(WheelError::RecordedSize { actual: 5, .. })),
            "{wrong}"
        );
    }
}

#[test]
fn metadata_that_would_become_too_many_files_is_refused() {
    let points = [&b"[console_scripts]\n"[..], &b"a=b:c\n".repeat(1 << 18)].concat();
    let points = Member::deflated("demo-1.0.dist-info/entry_points.txt", &points);
    assert!(matches!(error(&wheel(vec![points])), WheelError::Zip(_)));
}

#[test]
fn only_signatures_of_record_may_be_unlisted() {
    for (name, accepted) in [
        ("RECORD.jws", true),
        ("RECORD.p7s", true),
        ("RECORD.txt", false),
    ] {
        let mut members = wheel_members(Vec::new());
        let name = format!("demo-1.0.dist-info/{name}");
        members.push(Member::deflated(&name, b"{}"));
        match place(&zip(&members)) {
            Ok(placed) => {
                assert!(accepted, "{name}");
                let record = find(
                    &placed,
                    &format!("{SITE_PACKAGES}/demo-1.0.dist-info/RECORD"),
                );
                assert!(text(record).contains(&format!("{name},,\r\n")));
            }
            Err(error) => {
                assert!(!accepted, "{error}");
            }
        }
    }
}

#[test]
fn files_of_unknown_schemes_are_refused() {
    for path in [
        "demo-1.0.data/other/x",
        "demo-1.0.data/scripts",
        "demo-1.0.data/x",
        "demo.data",
    ] {
        let outcome = error(&wheel(vec![Member::deflated(path, b"")]));
        assert!(
            matches!(&outcome, WheelError::Scheme(found) if found == path),
            "{outcome}"
        );
    }
}

#[test]
fn two_files_for_one_place_are_refused() {
    let twice = [
        ["demo/a.py", "demo-1.0.data/purelib/demo/a.py"],
        ["demo/a.py", "demo-1.0.data/platlib/demo"],
        ["demo-1.0.data/scripts/x", "demo-1.0.data/data/bin/x"],
        ["demo-1.0.data/data/lib/x", "demo-1.0.data/data/lib64/x"],
    ];
    for paths in twice {
        let members = paths.map(|path| Member::deflated(path, b"")).to_vec();
        let outcome = error(&wheel(members));
        assert!(
            matches!(outcome, WheelError::Collision(_)),
            "{paths:?}: {outcome}"
        );
    }
}

#[test]
fn what_makes_the_environment_is_not_replaced() {
    for path in ["bin/python3.11", "bin/python", "lib64", "pyvenv.cfg/x"] {
        let file = Member::deflated(&format!("demo-1.0.data/data/{path}"), b"");
        assert!(
            matches!(error(&wheel(vec![file])), WheelError::Reserved(_)),
            "{path}"
        );
    }
    let points = b"[console_scripts]\npython3 = a:b\n";
    let points = Member::deflated("demo-1.0.dist-info/entry_points.txt", points);
    assert!(matches!(
        error(&wheel(vec![points])),
        WheelError::Reserved(_)
    ));
}

#[test]
fn errors_say_what_and_why_and_what_to_do() {
    let shown = |error: &WheelError| {
        let mut text = error.to_string();
        let mut source = std::error::Error::source(error);
        while let Some(cause) = source {
            text = format!("{text}: {cause}");
            source = cause.source();
        }
        match error.hint() {
            Some(hint) => format!("{text}\nhint: {hint}"),
            None => text,
        }
    };
    let link = Member::deflated("demo/link", b"/etc/passwd").with_mode(0o120_777);
    insta::assert_snapshot!(shown(&error(&wheel(vec![link]))), @r"
    the zip member `demo/link` is refused: it is neither a regular file nor a directory (mode 120777)
    hint: the archive is damaged or misleading; fetch it again, or use another version
    ");
    let renamed = entries(
        &wheel(Vec::new()),
        "demo-2.0-py3-none-any.whl",
        &placement(),
    );
    insta::assert_snapshot!(shown(&renamed.unwrap_err()), @r"
    demo-1.0.dist-info says `demo 1.0`, but the file name says `demo 2.0`
    hint: the file may have been renamed; fetch it again
    ");
    let mut unlisted = wheel_members(Vec::new());
    unlisted.push(Member::deflated("demo/hidden.py", b""));
    insta::assert_snapshot!(shown(&error(&zip(&unlisted))), @r"
    RECORD does not list `demo/hidden.py`
    hint: the wheel was changed after it was built, or was built wrongly; another version of the package may be sound
    ");
    let command = Member::deflated(
        "demo-1.0.dist-info/entry_points.txt",
        b"[console_scripts]\n../../etc/cron.d/x = a:b\n",
    );
    insta::assert_snapshot!(shown(&error(&wheel(vec![command]))), @r"
    the entry point `../../etc/cron.d/x = a:b` cannot become a command: the name is no plain file name
    ");
}

proptest! {
    /// Whatever the metadata files say, the outcome is entries or an error.
    #[test]
    fn arbitrary_metadata_never_panics(
        record in "(?s).{0,80}",
        points in "\\[console_scripts\\]\n[a-z./=: \\[\\]\n]{0,60}",
        script in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let script = [&b"#!python"[..], &script].concat();
        let mut members = wheel_members(vec![
            Member::deflated("demo-1.0.dist-info/entry_points.txt", points.as_bytes()),
            Member::deflated("demo-1.0.data/scripts/s", &script),
        ]);
        let _ = place(&zip(&members));
        *members.last_mut().unwrap() = record_member(&record);
        let _ = place(&zip(&members));
    }

    /// Whatever happens to the bytes of a wheel, the outcome is entries or an error.
    #[test]
    fn damaged_wheels_never_panic(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)
    ) {
        let script = Member::stored("demo-1.0.data/scripts/s", b"#!python\nx\n");
        let mut bytes = wheel(vec![Member::stored("demo/a.py", b"12345"), script]).to_vec();
        for (position, value) in damage {
            let position = position.index(bytes.len());
            bytes[position] = value;
        }
        let _ = place(&bytes.into());
    }

    /// Every file of a wheel is placed once, and RECORD lists what was placed and no more.
    #[test]
    fn record_lists_exactly_the_files(
        names in prop::collection::btree_set("[a-z]{1,3}(/[a-z,\" é]{1,4}[a-z]){1,2}", 0..9)
    ) {
        let members: Vec<_> = names.iter().map(|name| Member::deflated(name, b"x")).collect();
        let mut members = wheel_members(members);
        let quoted = |name: &str| format!("\"{}\",,\n", name.replace('"', "\"\""));
        let mut record: String = names.iter().map(|name| quoted(name)).collect();
        record += "demo-1.0.dist-info/METADATA,,\ndemo-1.0.dist-info/WHEEL,,\n";
        *members.last_mut().unwrap() = record_member(&record);
        // One of the names may be a directory of another.
        if let Ok(placed) = place(&zip(&members)) {
            let record = format!("{SITE_PACKAGES}/demo-1.0.dist-info/RECORD");
            let listed = text(find(&placed, &record)).lines().count();
            let is_file = |entry: &&Entry| matches!(entry.kind, EntryKind::File(_));
            prop_assert_eq!(placed.iter().filter(is_file).count(), listed);
            prop_assert_eq!(listed, names.len() + 4);
        }
    }
}
