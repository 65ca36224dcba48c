//! Files that no package may ship, one promise a test.

use kiln_package::deb::{Fault, TreeError};

use crate::archive::{Tar, package, refusal};

fn tree_error(files: Tar) -> TreeError {
    match refusal(package(files)) {
        Fault::Tree(error) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_file_below_a_link_of_the_same_package_is_refused() {
    let files = Tar::default()
        .symlink("./usr/share/x", "/etc")
        .file("./usr/share/x/passwd", b"root::0:0::/:/bin/sh\n");
    assert!(matches!(tree_error(files), TreeError::ThroughLink { .. }));
}

#[test]
fn a_file_below_a_later_link_is_refused() {
    let files = Tar::default()
        .file("./usr/share/x/deep/er/passwd", b"")
        .file("./usr/share/x-sibling", b"")
        .symlink("./usr/share/x", "../../../etc");
    assert!(matches!(tree_error(files), TreeError::ThroughLink { .. }));
}

#[test]
fn a_file_below_a_link_is_refused_when_only_usr_merge_brings_them_together() {
    let files = Tar::default()
        .symlink("./lib/x", "/etc")
        .file("./usr/lib/x/passwd", b"");
    assert!(matches!(tree_error(files), TreeError::ThroughLink { .. }));
}

#[test]
fn a_file_below_a_file_is_refused() {
    let files = Tar::default().file("./etc/a", b"").file("./etc/a/b", b"");
    assert!(matches!(tree_error(files), TreeError::ThroughLink { .. }));
}

#[test]
fn a_link_in_the_place_of_an_info_directory_is_refused() {
    let files = Tar::default().symlink("./var/lib/dpkg/info", "/etc/cron.d");
    assert!(matches!(tree_error(files), TreeError::ThroughLink { .. }));
}

#[test]
fn a_package_cannot_ship_its_own_info_files() {
    let files = Tar::default().file("./var/lib/dpkg/info/probe.list", b"/etc/passwd\n");
    assert!(matches!(tree_error(files), TreeError::Duplicate(_)));
}

#[test]
fn paths_that_climb_are_refused() {
    for name in [
        "../etc/passwd",
        "./../etc/passwd",
        "./usr/../../etc/passwd",
        "..",
        "./usr/..",
    ] {
        let error = tree_error(Tar::default().file(name, b""));
        assert!(matches!(error, TreeError::Path(_)), "{name}: {error:?}");
    }
}

#[test]
fn absolute_paths_are_refused() {
    for name in ["/etc/passwd", ".//etc/passwd", "//etc", "/"] {
        let error = tree_error(Tar::default().file(name, b""));
        assert!(matches!(error, TreeError::Path(_)), "{name}: {error:?}");
    }
}

#[test]
fn paths_that_are_not_normal_are_refused() {
    for name in ["./usr//bin/x", "./usr/./bin/x", "././x", "", "."] {
        let error = tree_error(Tar::default().file(name, b"x"));
        assert!(matches!(error, TreeError::Path(_)), "{name}: {error:?}");
    }
}

#[test]
fn a_nul_in_a_long_name_does_not_hide_the_rest_of_it() {
    let files = Tar::default()
        .pax(&[("path", b"./etc/a\0/../../b")])
        .file("./short", b"");
    assert!(matches!(tree_error(files), TreeError::Path(_)));
}

#[test]
fn a_newline_in_a_name_is_refused() {
    let files = Tar::default().file("./etc/a\n/etc/passwd", b"");
    assert!(matches!(tree_error(files), TreeError::Newline(_)));
}

#[test]
fn whiteout_names_are_refused() {
    for name in ["./etc/.wh.passwd", "./etc/.wh..wh..opq", "./.wh.etc/x"] {
        let error = tree_error(Tar::default().file(name, b""));
        assert!(matches!(error, TreeError::Whiteout(_)), "{name}: {error:?}");
    }
}

#[test]
fn a_path_shipped_twice_is_refused() {
    let first = Tar::default().file("./etc/a", b"1");
    for files in [
        first.clone().file("./etc/a", b"1"),
        first.clone().symlink("etc/a", "b"),
        first.clone().directory("./etc/a/"),
        Tar::default()
            .file("./bin/sh", b"")
            .file("./usr/bin/sh", b""),
    ] {
        assert!(matches!(tree_error(files), TreeError::Duplicate(_)));
    }
}

#[test]
fn hard_links_that_do_not_lead_to_an_earlier_file_of_the_package_are_refused() {
    for files in [
        Tar::default().hardlink("./a", "./etc/shadow"),
        Tar::default().hardlink("./a", "../etc/shadow"),
        Tar::default().hardlink("./a", "/etc/shadow"),
        Tar::default().hardlink("./a", "./a"),
        Tar::default().hardlink("./a", "./b").file("./b", b""),
        Tar::default().directory("./b/").hardlink("./a", "./b"),
        Tar::default()
            .symlink("./b", "/etc/shadow")
            .hardlink("./a", "./b"),
    ] {
        assert!(matches!(tree_error(files), TreeError::Hardlink { .. }));
    }
}

#[test]
fn a_symbolic_link_needs_a_target_that_a_system_can_store() {
    let long = "x".repeat(4097);
    for files in [
        Tar::default().symlink("./a", ""),
        Tar::default()
            .pax(&[("linkpath", b"a\0b")])
            .symlink("./a", ""),
        Tar::default()
            .pax(&[("linkpath", long.as_bytes())])
            .symlink("./a", ""),
    ] {
        assert!(matches!(tree_error(files), TreeError::Symlink(_)));
    }
}

#[test]
fn only_the_table_says_where_a_merged_directory_leads() {
    for files in [
        Tar::default().symlink("./bin", "/srv"),
        Tar::default().symlink("./lib", "usr/lib64"),
        Tar::default().file("./sbin", b""),
    ] {
        assert!(matches!(tree_error(files), TreeError::Merged(_)));
    }
}
