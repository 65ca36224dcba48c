//! Archives that must be refused, one promise a test.

use bytes::Bytes;
use kiln_package::deb::{self, ArError, ControlError, Fault, Limits, TarError, TarProblem};

use crate::archive::{CONTROL, Tar, ar, bookworm, control, deb, gzip, package, read, refusal};

fn data(data: &[u8]) -> Fault {
    refusal(deb(&control(), data))
}

fn tar_problem(fault: Fault) -> TarProblem {
    match fault {
        Fault::Tar {
            source: TarError { problem, .. },
            ..
        } => problem,
        other => panic!("{other:?}"),
    }
}

#[test]
fn devices_and_fifos_are_refused() {
    for kind in [b'3', b'4', b'6'] {
        let files = Tar::default().member(kind, b"./dev/sda", b"", b"", 0o660);
        let problem = tar_problem(refusal(package(files)));
        assert_eq!(problem, TarProblem::Special("./dev/sda".into()));
    }
}

#[test]
fn unknown_members_are_refused() {
    for kind in [b'S', b'g', b'M', b'D', b'V', b'9', 0xff] {
        let files = Tar::default().member(kind, b"./x", b"", b"", 0o644);
        let problem = tar_problem(refusal(package(files)));
        assert!(
            matches!(problem, TarProblem::Type(_)),
            "{kind}: {problem:?}"
        );
    }
}

#[test]
fn attributes_that_would_be_lost_are_refused() {
    for key in [
        "SCHILY.xattr.user.x",
        "SCHILY.acl.access",
        "GNU.sparse.major",
    ] {
        let files = Tar::default().pax(&[(key, b"1")]).file("./a", b"");
        let problem = tar_problem(refusal(package(files)));
        assert_eq!(problem, TarProblem::Attribute(key.into()));
    }
}

#[test]
fn a_capability_for_the_root_of_some_namespace_is_refused() {
    let mut value = vec![0, 0, 0, 3];
    value.resize(20, 0);
    value.extend_from_slice(&1000_u32.to_le_bytes());
    let files = Tar::default()
        .pax(&[("SCHILY.xattr.security.capability", &value)])
        .file("./a", b"");
    assert_eq!(tar_problem(refusal(package(files))), TarProblem::Extension);
}

#[test]
fn two_names_for_one_member_are_refused() {
    let files = Tar::default()
        .member(b'L', b"././@LongLink", b"", b"./a\0", 0)
        .pax(&[("path", b"./b")])
        .file("./c", b"");
    assert_eq!(tar_problem(refusal(package(files))), TarProblem::Ambiguous);
}

#[test]
fn malformed_extended_headers_are_refused() {
    for records in [
        "",
        "5",
        "99 path=a\n",
        "10 pathab\n",
        "11 path=abc",
        "-3 a=b\n",
    ] {
        let files = Tar::default().member(b'x', b"pax", b"", records.as_bytes(), 0);
        let files = files.file("./a", b"").finish();
        if records.is_empty() {
            read(deb(&control(), &files)).unwrap();
        } else {
            assert_eq!(
                tar_problem(data(&files)),
                TarProblem::Extension,
                "{records:?}"
            );
        }
    }
}

#[test]
fn a_header_that_belongs_to_no_member_is_refused() {
    let files = Tar::default().pax(&[("path", b"./a")]).finish();
    assert_eq!(tar_problem(data(&files)), TarProblem::Extension);
}

#[test]
fn a_damaged_header_is_refused() {
    let mut files = Tar::default().file("./etc/a", b"x").finish();
    files[3] ^= 1;
    assert_eq!(tar_problem(data(&files)), TarProblem::Checksum);
}

#[test]
fn a_tar_archive_without_an_end_is_refused() {
    let files = Tar::default().file("./etc/a", b"x").unfinished();
    assert_eq!(tar_problem(data(&files)), TarProblem::Truncated);
    assert_eq!(tar_problem(data(&files[..700])), TarProblem::Truncated);
    assert_eq!(tar_problem(data(&files[..512])), TarProblem::Truncated);
    assert_eq!(tar_problem(data(b"")), TarProblem::Truncated);
}

#[test]
fn members_behind_the_end_mark_are_refused() {
    let mut files = Tar::default().file("./etc/a", b"x").finish();
    files.extend(Tar::default().file("./etc/hidden", b"x").finish());
    assert_eq!(tar_problem(data(&files)), TarProblem::Trailing);
}

#[test]
fn a_size_beyond_the_archive_is_refused() {
    let files = Tar::default()
        .pax(&[("size", b"18446744073709551615")])
        .file("./a", b"x")
        .finish();
    assert_eq!(tar_problem(data(&files)), TarProblem::Truncated);
}

#[test]
fn a_bomb_is_refused_before_it_is_unpacked() {
    let limits = Limits {
        data_bytes: 1 << 20,
        ..Limits::default()
    };
    let bomb = gzip(&vec![0; 64 << 20]);
    let archive = ar(&[
        ("debian-binary", b"2.0\n"),
        ("control.tar", &control()),
        ("data.tar.gz", &bomb),
    ]);
    let spool = tempfile::tempdir().unwrap();
    let error = deb::read_within(archive, "bomb.deb", &bookworm(), spool.path(), &limits);
    let fault = error.unwrap_err().fault;
    assert!(
        matches!(
            fault,
            Fault::TooLarge {
                limit: 1_048_576,
                ..
            }
        ),
        "{fault:?}"
    );
}

#[test]
fn a_control_archive_that_is_a_bomb_is_refused() {
    let bomb = gzip(&vec![0; 65 << 20]);
    let fault = refusal(ar(&[
        ("debian-binary", b"2.0\n"),
        ("control.tar.gz", &bomb),
        ("data.tar", &Tar::default().finish()),
    ]));
    assert!(matches!(fault, Fault::TooLarge { .. }), "{fault:?}");
}

#[test]
fn an_xz_stream_that_asks_for_much_memory_is_refused() {
    use liblzma::stream::{Check, Filters, LzmaOptions, Stream};
    let mut options = LzmaOptions::new_preset(0).unwrap();
    options.dict_size(512 << 20);
    let mut filters = Filters::new();
    filters.lzma2(&options);
    let stream = Stream::new_stream_encoder(&filters, Check::Crc32).unwrap();
    let files = Tar::default().finish();
    let mut encoder = liblzma::bufread::XzEncoder::new_stream(&files[..], stream);
    let mut packed = Vec::new();
    std::io::Read::read_to_end(&mut encoder, &mut packed).unwrap();
    let fault = refusal(ar(&[
        ("debian-binary", b"2.0\n"),
        ("control.tar", &control()),
        ("data.tar.xz", &packed),
    ]));
    assert!(matches!(fault, Fault::Decompress { .. }), "{fault:?}");
}

#[test]
fn bytes_behind_a_compressed_stream_are_refused() {
    let files = Tar::default().finish();
    let mut packed = Vec::new();
    let mut encoder = liblzma::bufread::XzEncoder::new(&files[..], 0);
    std::io::Read::read_to_end(&mut encoder, &mut packed).unwrap();
    packed.extend(packed.clone());
    let fault = refusal(ar(&[
        ("debian-binary", b"2.0\n"),
        ("control.tar", &control()),
        ("data.tar.xz", &packed),
    ]));
    assert!(matches!(fault, Fault::Decompress { .. }), "{fault:?}");
}

#[test]
fn too_many_members_are_refused() {
    let limits = Limits {
        members: 2,
        ..Limits::default()
    };
    let files = Tar::default()
        .file("./a", b"")
        .file("./b", b"")
        .file("./c", b"");
    let spool = tempfile::tempdir().unwrap();
    let result = deb::read_within(package(files), "x.deb", &bookworm(), spool.path(), &limits);
    assert_eq!(
        tar_problem(result.unwrap_err().fault),
        TarProblem::TooMany(2)
    );
}

#[test]
fn every_truncation_is_refused() {
    let files = Tar::default().file("./etc/a", b"content\n").finish();
    let archive = ar(&[
        ("debian-binary", b"2.0\n"),
        ("control.tar.gz", &gzip(&control())),
        ("data.tar.gz", &gzip(&files)),
    ]);
    // The last byte may be padding, which some writers leave out.
    for length in 0..archive.len() - 1 {
        assert!(read(archive.slice(..length)).is_err(), "{length} bytes");
    }
}

#[test]
fn members_in_the_wrong_order_are_refused() {
    let (control, data) = (control(), Tar::default().finish());
    let version: (&str, &[u8]) = ("debian-binary", b"2.0\n");
    let control: (&str, &[u8]) = ("control.tar", &control);
    let data: (&str, &[u8]) = ("data.tar", &data);
    for members in [
        [version, data, control],
        [control, version, data],
        [data, control, version],
        [version, ("something", b""), control],
    ] {
        let fault = refusal(ar(&members));
        assert!(matches!(fault, Fault::Order { .. }), "{fault:?}");
    }
}

#[test]
fn a_missing_part_is_refused() {
    let control = control();
    let version: (&str, &[u8]) = ("debian-binary", b"2.0\n");
    for (members, missing) in [
        (&[][..], "debian-binary"),
        (&[version][..], "control.tar"),
        (&[version, ("control.tar", &control)][..], "data.tar"),
    ] {
        let fault = refusal(ar(members));
        assert!(
            matches!(fault, Fault::Missing(part) if part == missing),
            "{fault:?}"
        );
    }
}

#[test]
fn a_second_data_member_is_refused() {
    for name in ["data.tar", "data.tar.gz", "control.tar.xz", "debian-binary"] {
        let fault = refusal(ar(&[
            ("debian-binary", b"2.0\n"),
            ("control.tar", &control()),
            ("data.tar", &Tar::default().finish()),
            (name, &Tar::default().file("./etc/other", b"").finish()),
        ]));
        assert!(
            matches!(&fault, Fault::Repeated(found) if found == name),
            "{fault:?}"
        );
    }
}

#[test]
fn other_compressions_are_refused() {
    for name in ["data.tar.bz2", "data.tar.lzma", "data.tar.Z", "data.tarx"] {
        let fault = refusal(ar(&[
            ("debian-binary", b"2.0\n"),
            ("control.tar", &control()),
            (name, b""),
        ]));
        assert!(
            matches!(&fault, Fault::Compression(found) if found == name),
            "{fault:?}"
        );
    }
}

#[test]
fn other_format_versions_are_refused() {
    for version in [
        &b"3.0\n"[..],
        b"0.939000\n",
        b"2\n",
        b"2.\n",
        b"",
        b"2.0x\n",
    ] {
        let fault = refusal(ar(&[
            ("debian-binary", version),
            ("control.tar", &control()),
            ("data.tar", &Tar::default().finish()),
        ]));
        assert!(matches!(fault, Fault::Version(_)), "{fault:?}");
    }
}

#[test]
fn what_is_no_archive_is_refused() {
    let fault = refusal(Bytes::from_static(b"<html>not found</html>"));
    assert!(matches!(fault, Fault::Ar(ArError::Magic)), "{fault:?}");
}

#[test]
fn links_and_folders_in_the_control_archive_are_refused() {
    let paragraph = || Tar::default().file("./control", CONTROL.as_bytes());
    for files in [
        paragraph().symlink("./postinst", "/etc/shadow"),
        paragraph().directory("./scripts"),
        paragraph().file("./scripts/postinst", b""),
        paragraph().file("../postinst", b""),
        paragraph().file("./postinst", b"").file("postinst", b""),
        paragraph().file(&format!("./{}", "x".repeat(60)), b""),
    ] {
        let fault = refusal(deb(&files.finish(), &Tar::default().finish()));
        assert!(matches!(fault, Fault::ControlMember(_)), "{fault:?}");
    }
}

#[test]
fn names_that_would_lead_out_of_the_database_are_refused() {
    for (field, value) in [
        ("Package", "../../etc/x"),
        ("Package", "a/b"),
        ("Package", ".hidden"),
        ("Package", "Upper"),
        ("Version", "1.0/../x"),
        ("Version", "1 0"),
        ("Architecture", "../x"),
        ("Multi-Arch", "maybe"),
    ] {
        let mut text = String::new();
        for line in CONTROL.lines().filter(|line| !line.starts_with(field)) {
            text.push_str(line);
            text.push('\n');
        }
        text.extend([field, ": ", value, "\n"]);
        let files = Tar::default().file("./control", text.as_bytes());
        let fault = refusal(deb(&files.finish(), &Tar::default().finish()));
        let Fault::Control(ControlError::Value { field: found, .. }) = &fault else {
            panic!("{field} {value}: {fault:?}");
        };
        assert_eq!(*found, field);
    }
}

#[test]
fn a_conffile_must_be_a_file_of_the_package() {
    for line in [
        "/etc/other",
        "etc/a",
        "/etc/link",
        "/etc",
        "remove-on-upgrade etc/a",
    ] {
        let files = Tar::default().directory("./etc/").file("./etc/a", b"");
        let files = files.symlink("./etc/link", "a").finish();
        let control = Tar::default()
            .file("./control", CONTROL.as_bytes())
            .file("./conffiles", format!("{line}\n").as_bytes())
            .finish();
        let fault = refusal(deb(&control, &files));
        assert!(
            matches!(&fault, Fault::Conffile(path) if path == line),
            "{fault:?}"
        );
    }
}

#[test]
fn a_conffile_listed_twice_is_refused() {
    let files = Tar::default().file("./etc/a", b"").finish();
    for again in ["/etc/a", "remove-on-upgrade /etc/a"] {
        let control = Tar::default()
            .file("./control", CONTROL.as_bytes())
            .file("./conffiles", format!("/etc/a\n{again}\n").as_bytes())
            .finish();
        let fault = refusal(deb(&control, &files));
        assert!(
            matches!(&fault, Fault::RepeatedConffile(line) if line == again),
            "{fault:?}"
        );
    }
}
