//! Unpacking, also of layers that mean harm; and what captures are asked for besides everything.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _, symlink},
        net::UnixListener,
    },
    process::Command,
};

use kiln_layer::EntryKind;

use super::{
    Bench, Made, SOMEBODY, Way, blob, directory, entry, file, in_namespace, owned, summary,
    ways_to_own,
};
use crate::{
    LayerBlob,
    tree::{Owners, Rootfs, TreeError, owners::recorded, remove::clear_directory, remove_tree},
};

/// Makes a tar stream that no layer writer would make.
fn tar(bench: &Bench, entries: &[(&str, u8, &str, &str)]) -> LayerBlob {
    let mut stream = Vec::new();
    for (path, kind, link, content) in entries {
        let mut header = [0_u8; 512];
        let mut put = |at: usize, text: &str| {
            header[at..at + text.len()].copy_from_slice(text.as_bytes());
        };
        put(0, path);
        put(100, "0000644\0");
        put(108, "0000000\0");
        put(116, "0000000\0");
        put(124, &format!("{:011o}\0", content.len()));
        put(136, "00000000000\0");
        put(148, "        ");
        put(157, link);
        put(257, "ustar\x0000");
        header[156] = *kind;
        let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        stream.extend(header);
        let mut content = content.as_bytes().to_vec();
        content.resize(content.len().next_multiple_of(512), 0);
        stream.extend(content);
    }
    stream.extend([0; 1024]);
    let path = bench.directory.path().join("foreign.tar");
    fs::write(&path, &stream).unwrap();
    LayerBlob {
        diff_id: kiln_digest::Digest::of(&stream),
        path,
    }
}

const FILE: u8 = b'0';
const LINK: u8 = b'1';
const SYMLINK: u8 = b'2';
const DEVICE: u8 = b'3';
const DIRECTORY: u8 = b'5';
const FIFO: u8 = b'6';

#[test]
fn a_layer_cannot_write_through_its_own_link() {
    let bench = Bench::new(ways_to_own()[0]);
    let victim = bench.make("victim");
    let target = victim.to_str().unwrap();
    fs::write(victim.join("secret"), "as it was").unwrap();
    for entries in [
        vec![("way", SYMLINK, target, ""), ("way/new", FILE, "", "bad")],
        vec![("way", SYMLINK, target, ""), ("way/new", DIRECTORY, "", "")],
        vec![
            ("way", SYMLINK, target, ""),
            ("way/deep/new", SYMLINK, "/", ""),
        ],
        vec![
            ("way", SYMLINK, target, ""),
            ("own", LINK, "way/secret", ""),
        ],
        vec![
            ("way", SYMLINK, target, ""),
            ("way/.wh.secret", FILE, "", ""),
        ],
    ] {
        let result = bench.rootfs().layer(&tar(&bench, &entries));
        assert!(
            matches!(result, Err(TreeError::File { .. })),
            "{entries:?}: {result:?}"
        );
    }
    let names: Vec<_> = fs::read_dir(&victim).unwrap().collect();
    assert_eq!(names.len(), 1);
    assert_eq!(fs::metadata(victim.join("secret")).unwrap().nlink(), 1);
}

#[test]
fn a_link_that_is_written_again_is_replaced_and_not_followed() {
    let bench = Bench::new(ways_to_own()[0]);
    let victim = bench.make("victim").join("file");
    fs::write(&victim, "as it was").unwrap();
    let target = victim.to_str().unwrap();
    let entries = [("way", SYMLINK, target, ""), ("way", FILE, "", "mine")];
    let layer = bench.rootfs().layer(&tar(&bench, &entries)).unwrap();
    assert_eq!(fs::read_to_string(layer.path.join("way")).unwrap(), "mine");
    assert_eq!(fs::read_to_string(&victim).unwrap(), "as it was");
}

#[test]
fn of_entries_with_one_path_the_last_holds() {
    let bench = Bench::new(ways_to_own()[0]);
    let entries = [
        ("a", DIRECTORY, "", ""),
        ("a/b/c", FILE, "", "deep"),
        ("a", FILE, "", "flat"),
        ("d", FILE, "", "flat"),
        ("d", DIRECTORY, "", ""),
        ("d/e", FILE, "", "deep"),
    ];
    let layer = bench.rootfs().layer(&tar(&bench, &entries)).unwrap();
    assert_eq!(fs::read_to_string(layer.path.join("a")).unwrap(), "flat");
    assert_eq!(fs::read_to_string(layer.path.join("d/e")).unwrap(), "deep");
}

#[test]
fn devices_are_refused_but_in_dev_where_nobody_sees_them() {
    let bench = Bench::new(ways_to_own()[0]);
    for (kind, path) in [(DEVICE, "etc/device"), (FIFO, "etc/fifo")] {
        let result = bench.rootfs().layer(&tar(&bench, &[(path, kind, "", "")]));
        assert!(
            matches!(result, Err(TreeError::Special { .. })),
            "{result:?}"
        );
    }
    let layer = bench
        .rootfs()
        .layer(&tar(&bench, &[("dev/null", DEVICE, "", "")]))
        .unwrap();
    assert!(!layer.path.join("dev/null").exists());
}

#[test]
fn a_damaged_layer_is_named_and_leaves_nothing() {
    let bench = Bench::new(ways_to_own()[0]);
    let good = blob(bench.directory.path(), &[file("a", "one")]);
    let other = blob(bench.directory.path(), &[file("a", "two")]);
    fs::copy(&other.path, &good.path).unwrap();
    let error = bench.rootfs().layer(&good).unwrap_err();
    let expected = TreeError::Damaged {
        expected: good.diff_id,
        found: other.diff_id,
    };
    assert_eq!(error, expected);
    fs::write(
        &good.path,
        "no layer at all, though long enough to be a header? no",
    )
    .unwrap();
    assert!(matches!(
        bench.rootfs().layer(&good),
        Err(TreeError::Layer { .. })
    ));
    assert!(left_over(&bench).is_empty());
}

/// All that is in the directories of boots.
fn left_over(bench: &Bench) -> Vec<std::path::PathBuf> {
    let label = bench.directory.path().join("rootfs/test");
    let boots = fs::read_dir(label)
        .unwrap()
        .map(|boot| boot.unwrap().path());
    boots
        .flat_map(|boot| fs::read_dir(boot).unwrap())
        .map(|entry| entry.unwrap().path())
        .collect()
}

#[test]
fn what_dead_workers_and_other_boots_left_is_removed() {
    let bench = Bench::new(ways_to_own()[0]);
    bench.unpack(&[file("a", "one")]).unwrap();
    let [layer] = &left_over(&bench)[..] else {
        panic!("one layer")
    };
    let boot = layer.parent().unwrap();
    fs::create_dir_all(boot.join(".dead/tree/deep")).unwrap();
    fs::create_dir_all(boot.with_file_name("another-boot/layer/tree")).unwrap();
    let living = boot.join(".living");
    fs::create_dir(&living).unwrap();
    let lock = fs::File::open(&living).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let _rootfs = bench.rootfs();
    let mut left = left_over(&bench);
    left.sort();
    assert_eq!(left, [living, layer.clone()]);
}

#[test]
fn many_workers_unpack_one_layer_at_once() {
    let bench = Bench::new(ways_to_own()[0]);
    let files: Vec<_> = (0..200)
        .map(|n| file(&format!("f{n:03}"), "content"))
        .collect();
    let layer = blob(bench.directory.path(), &files);
    let rootfs = bench.directory.path().join("rootfs");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let rootfs = Rootfs::open(&rootfs, "test", bench.owners).unwrap();
                let tree = rootfs.layer(&layer).unwrap();
                assert_eq!(fs::read_dir(tree.path).unwrap().count(), 200);
            });
        }
    });
    assert_eq!(left_over(&bench).len(), 1);
}

#[test]
fn times_and_links_are_those_of_the_layer() {
    let bench = Bench::new(ways_to_own()[0]);
    let mut linked = file("d/one", "content");
    linked.mtime = 1_000_000_000;
    let mut other = linked.clone();
    other.path = kiln_layer::EntryPath::new("d/two").unwrap();
    other.kind = EntryKind::Hardlink(linked.path.clone());
    let mut link = entry("d/link", EntryKind::Symlink(b"one".to_vec()), 0o777);
    link.mtime = -5;
    let layer = bench
        .unpack(&[directory("d"), link, linked, other])
        .unwrap();
    let stat = |path: &str| fs::symlink_metadata(layer.path.join(path)).unwrap();
    assert_eq!(stat("d").mtime(), 315_532_800);
    assert_eq!(stat("d/one").mtime(), 1_000_000_000);
    assert_eq!(stat("d/one").ino(), stat("d/two").ino());
    assert_eq!(stat("d/link").mtime(), -5);
}

#[test]
fn records_say_what_the_kernel_cannot() {
    let bench = Bench::new(Owners::Recorded);
    let mut shared = owned(directory("shared"), 0, 50);
    shared.mode = 0o2775;
    let layer = [
        owned(file("mine", ""), 33, 44),
        owned(
            entry("link", EntryKind::Symlink(b"mine".to_vec()), 0o777),
            33,
            44,
        ),
        file("plain", ""),
        shared,
        file("shared/roots", ""),
    ];
    let mut layer = layer.to_vec();
    layer.sort_by(|a, b| a.path.cmp(&b.path));
    let tree = bench.unpack(&layer).unwrap();
    let record = |path: &str| recorded(fs::File::open(tree.path.join(path)).unwrap()).unwrap();
    assert_eq!(record("mine"), SOMEBODY.into());
    assert_eq!(record("plain").uid, None);
    // Else overlayfs would copy it up without a record, and it would look like a new file.
    assert_eq!(record("shared/roots").gid, Some(0));
    assert_eq!(
        tree.symlinks,
        BTreeMap::from([(b"link".to_vec(), SOMEBODY)])
    );
    // They are still known when the layer is there already.
    assert_eq!(bench.unpack(&layer).unwrap(), tree);
}

#[test]
fn a_job_that_only_reads_changes_nothing() {
    let name = "tree::tests::layers::a_job_that_only_reads_changes_nothing";
    in_namespace(name, || {
        for owners in ways_to_own() {
            for way in [Way::Overlay, Way::Copy] {
                let bench = Bench::new(owners);
                let lower = bench.unpack(&[directory("d"), file("d/f", "x")]).unwrap();
                let made = Made::new(&bench, way, vec![lower]);
                // Written again as it was, touched, and a mode changed and changed back.
                let path = made.tree.join("d/f");
                fs::write(&path, "x").unwrap();
                for mode in [0o600, 0o644] {
                    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
                }
                assert_eq!(summary(&made.captured(None).unwrap()), BTreeMap::new());
            }
        }
    });
}

#[test]
fn captures_are_of_what_was_asked_for() {
    let name = "tree::tests::layers::captures_are_of_what_was_asked_for";
    in_namespace(name, || {
        for way in [Way::Overlay, Way::Copy] {
            let bench = Bench::new(ways_to_own()[0]);
            let lower = [
                directory("opt"),
                directory("opt/old"),
                file("opt/old/f", "x"),
            ];
            let made = Made::new(&bench, way, vec![bench.unpack(&lower).unwrap()]);
            for path in ["tmp", "run/x", "srv/cache/deep", "srv/data", "venv/lib"] {
                fs::create_dir_all(made.tree.join(path)).unwrap();
            }
            for path in [
                "tmp/x",
                "run/x/y",
                "srv/cache/deep/input",
                "srv/data/f",
                "venv/lib/f",
            ] {
                fs::write(made.tree.join(path), "x").unwrap();
            }
            fs::remove_dir_all(made.tree.join("opt")).unwrap();
            let captured = |prefixes: &[&str], mount_points: &[&str]| {
                let owned = |list: &[&str]| list.iter().map(|&path| path.to_owned()).collect();
                let (prefixes, mount_points): (Vec<_>, Vec<_>) =
                    (owned(prefixes), owned(mount_points));
                let captured = made.captured_below(None, &prefixes, &mount_points);
                summary(&captured.unwrap().entries)
            };
            let expected = |list: &[(&str, &'static str)]| -> BTreeMap<String, &'static str> {
                list.iter()
                    .map(|&(path, kind)| (path.to_owned(), kind))
                    .collect()
            };
            let mounted = [
                "/srv",
                "/srv/cache",
                "/srv/cache/deep",
                "/srv/cache/deep/input",
            ];
            assert_eq!(
                captured(&["/venv", "/srv/"], &mounted),
                expected(&[
                    ("srv", "directory"),
                    ("srv/data", "directory"),
                    ("srv/data/f", "file"),
                    ("venv", "directory"),
                    ("venv/lib", "directory"),
                    ("venv/lib/f", "file"),
                ])
            );
            assert_eq!(
                captured(&["/opt/old"], &[]),
                expected(&[("opt/old", "removed")])
            );
            assert_eq!(captured(&["/op", "/srv/dat"], &[]), expected(&[]));
            let all = captured(&[], &[]);
            assert_eq!(all.get("opt"), Some(&"removed"));
            assert!(
                all.keys()
                    .all(|path| !path.starts_with("tmp") && !path.starts_with("run"))
            );
        }
    });
}

#[test]
fn what_is_no_file_is_an_error_that_names_it() {
    let name = "tree::tests::layers::what_is_no_file_is_an_error_that_names_it";
    in_namespace(name, || {
        for way in [Way::Overlay, Way::Copy] {
            let bench = Bench::new(ways_to_own()[0]);
            let made = Made::new(
                &bench,
                way,
                vec![bench.unpack(&[directory("srv")]).unwrap()],
            );
            let (fifo, socket) = (made.tree.join("srv/pipe"), made.tree.join("srv/socket"));
            assert!(
                Command::new("mkfifo")
                    .arg(&fifo)
                    .status()
                    .unwrap()
                    .success()
            );
            let special = |kind: &str, path: &str| TreeError::Special {
                path: path.to_owned(),
                kind: kind.to_owned(),
            };
            assert_eq!(
                made.captured(None).unwrap_err(),
                special("FIFO", "srv/pipe")
            );
            fs::remove_file(&fifo).unwrap();
            let _listener = UnixListener::bind(&socket).unwrap();
            assert_eq!(
                made.captured(None).unwrap_err(),
                special("socket", "srv/socket")
            );
        }
    });
}

#[test]
fn links_that_were_planted_are_captured_as_links() {
    let name = "tree::tests::layers::links_that_were_planted_are_captured_as_links";
    in_namespace(name, || {
        for way in [Way::Overlay, Way::Copy] {
            let bench = Bench::new(ways_to_own()[0]);
            let lower = [directory("etc"), directory("etc/d"), file("etc/d/f", "x")];
            let made = Made::new(&bench, way, vec![bench.unpack(&lower).unwrap()]);
            fs::remove_dir_all(made.tree.join("etc/d")).unwrap();
            symlink("/etc", made.tree.join("etc/d")).unwrap();
            let expected = BTreeMap::from([("etc/d".to_owned(), "symlink")]);
            assert_eq!(summary(&made.captured(None).unwrap()), expected);
        }
    });
}

#[test]
fn directories_of_layers_are_removed_from_a_tree() {
    let name = "tree::tests::layers::directories_of_layers_are_removed_from_a_tree";
    in_namespace(name, || {
        for way in [Way::Overlay, Way::Copy] {
            let bench = Bench::new(ways_to_own()[0]);
            let lower = ["a", "a/b", "a/b/c"].map(directory);
            let upper = ["a", "a/b", "a/b/d"].map(directory);
            let layers = [bench.unpack(&lower).unwrap(), bench.unpack(&upper).unwrap()];
            let made = Made::new(&bench, way, layers.to_vec());
            fs::create_dir_all(made.tree.join("a/b/c/new/deep")).unwrap();
            fs::write(made.tree.join("a/b/d/file"), "x").unwrap();
            remove_tree(&made.tree.join("a")).unwrap();
            let expected = BTreeMap::from([("a".to_owned(), "removed")]);
            assert_eq!(summary(&made.captured(None).unwrap()), expected);
        }
    });
}

#[test]
fn a_tree_is_removed_however_deep_and_closed_it_is() {
    let bench = Bench::new(ways_to_own()[0]);
    let outside = bench.make("outside").join("file");
    fs::write(&outside, "stays").unwrap();
    let top = bench.make("top");
    let mut here = rustix::fs::open(
        &top,
        rustix::fs::OFlags::DIRECTORY,
        rustix::fs::Mode::empty(),
    )
    .unwrap();
    // Deeper than a path may be long, and than files may be open.
    for _ in 0..3_000 {
        rustix::fs::mkdirat(&here, "d", rustix::fs::Mode::RWXU).unwrap();
        rustix::fs::symlinkat(outside.parent().unwrap(), &here, "link").unwrap();
        here = rustix::fs::openat(
            &here,
            "d",
            rustix::fs::OFlags::DIRECTORY,
            rustix::fs::Mode::empty(),
        )
        .unwrap();
    }
    drop(here);
    fs::create_dir_all(top.join("closed/.removed-0")).unwrap();
    fs::write(top.join("closed/.removed-0/file"), "").unwrap();
    remove_tree(&top).unwrap();
    assert!(!top.exists());
    assert_eq!(fs::read_to_string(outside).unwrap(), "stays");
    remove_tree(&top).unwrap();

    let kept = bench.make("kept");
    fs::create_dir_all(kept.join("a/b")).unwrap();
    clear_directory(fs::File::open(&kept).unwrap()).unwrap();
    assert_eq!(fs::read_dir(kept).unwrap().count(), 0);
}

#[test]
fn several_may_remove_one_tree_at_once() {
    let bench = Bench::new(ways_to_own()[0]);
    // Every level comes to the top once, and there somebody else may just have seen nothing.
    let deep = "a/b/".repeat(50);
    for round in 0..20 {
        let top = bench.make(&format!("top-{round}"));
        for place in ["one", "other"] {
            fs::create_dir_all(top.join(place).join(&deep)).unwrap();
            fs::write(top.join(place).join("a/file"), "").unwrap();
        }
        std::thread::scope(|scope| {
            let removals: Vec<_> = (0..4).map(|_| scope.spawn(|| remove_tree(&top))).collect();
            for removal in removals {
                removal.join().unwrap().unwrap();
            }
        });
        assert!(!top.exists());
    }
}
