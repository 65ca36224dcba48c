//! Packages that `dpkg-deb --build` makes, and what several tests do with them.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use kiln_layer::Payload;
use kiln_package::deb::{self, DebPackage};
use tempfile::TempDir;

use crate::archive::bookworm;

pub(crate) fn run(command: &mut Command) -> Vec<u8> {
    let output = command.stderr(Stdio::piped()).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {stderr}");
    output.stdout
}

pub(crate) fn walk(path: &Path, visit: &mut dyn FnMut(&Path)) {
    visit(path);
    if !fs::symlink_metadata(path).unwrap().is_dir() {
        return;
    }
    for entry in fs::read_dir(path).unwrap() {
        walk(&entry.unwrap().path(), visit);
    }
}

pub(crate) fn is_info(path: &[u8]) -> bool {
    path.starts_with(b"var/lib/dpkg/info/")
}

pub(crate) fn plain(payload: &Payload) -> Vec<u8> {
    match payload {
        Payload::Plain(bytes) => bytes.to_vec(),
        Payload::Deflated { .. } => panic!("packages hold no deflated members"),
    }
}

pub(crate) fn read(archive: &Path) -> DebPackage {
    let spool = TempDir::new().unwrap();
    let name = archive.file_name().unwrap().to_str().unwrap();
    deb::read(
        fs::read(archive).unwrap().into(),
        name,
        &bookworm(),
        spool.path(),
    )
    .unwrap()
}

/// A directory of packages that `dpkg-deb` built.
pub(crate) struct Built {
    directory: TempDir,
}

impl Built {
    pub(crate) fn new() -> Self {
        let directory = TempDir::new().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        Self { directory }
    }

    /// Builds a package of what `fill` writes into its directory and returns its archive.
    pub(crate) fn build(
        &self,
        name: &str,
        control: &str,
        options: &[&str],
        fill: impl Fn(&Path),
    ) -> PathBuf {
        let source = self.directory.path().join(name);
        fs::create_dir_all(source.join("DEBIAN")).unwrap();
        fs::set_permissions(source.join("DEBIAN"), fs::Permissions::from_mode(0o755)).unwrap();
        write(&source, "DEBIAN/control", control.as_bytes(), 0o644);
        fill(&source);
        let archive = self.directory.path().join(format!("{name}.deb"));
        run(Command::new("dpkg-deb")
            .args(options)
            .args(["--root-owner-group", "--build"])
            .args([&source, &archive]));
        archive
    }
}

pub(crate) fn write(root: &Path, path: &str, content: &[u8], mode: u32) {
    let path = root.join(path);
    for parent in path
        .parent()
        .unwrap()
        .ancestors()
        .take_while(|parent| *parent != root)
    {
        if !parent.exists() {
            fs::create_dir_all(parent).unwrap();
            fs::set_permissions(parent, fs::Permissions::from_mode(0o755)).unwrap();
        }
    }
    fs::write(&path, content).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
}

/// A library with all that a tree can have.
pub(crate) fn library(built: &Built, compression: &str) -> PathBuf {
    let control = "\
Package: libprobe1
Source: probe (2:1.0-1)
Version: 0:1.0-1
Architecture: amd64
Homepage: https://example.org
Multi-Arch: same
Essential: no
Maintainer: Ånn Bödy <a@example.org>
Installed-Size: 12
Depends: base (>=2.0),
 foo|bar (<< 0:3)  , baz:any, odd (= 1:2.0-1)
Provides: virtual-probe (= 1.0)
Breaks: old(<<2~)
Section: misc
Priority: Optional
X-Odd:  two  
\tlines  
Description:   short  
  verbatim
 .
 text  
";
    built.build("libprobe1", control, &[compression], |root| {
        write(
            root,
            "DEBIAN/conffiles",
            b"/etc/probe.conf\n/lib/probe.d/conf\nremove-on-upgrade /etc/gone\n",
            0o644,
        );
        write(
            root,
            "DEBIAN/triggers",
            b"# comment\ninterest /usr/share/probe\ninterest-noawait named\n\
              interest-await /usr/share/other\ninterest-noawait /usr/share/probe\nactivate named\n",
            0o644,
        );
        write(root, "DEBIAN/shlibs", b"libprobe 1 libprobe1\n", 0o644);
        write(root, "DEBIAN/symbols", b"libprobe.so.1 libprobe1\n", 0o644);
        write(root, "DEBIAN/odd.name", b"with a dot\n", 0o644);
        write(root, "etc/probe.conf", b"key = value\n", 0o640);
        write(root, "lib/probe.d/conf", b"merged\n", 0o644);
        write(
            root,
            "lib/x86_64-linux-gnu/libprobe.so.1.0",
            &[7; 5000],
            0o644,
        );
        symlink(
            "libprobe.so.1.0",
            root.join("lib/x86_64-linux-gnu/libprobe.so.1"),
        )
        .unwrap();
        symlink("/nowhere", root.join("lib/dangling")).unwrap();
        write(root, "usr/lib/probe/tool", b"#!/bin/sh\n", 0o4755);
        fs::hard_link(
            root.join("usr/lib/probe/tool"),
            root.join("usr/lib/probe/again"),
        )
        .unwrap();
        fs::hard_link(root.join("usr/lib/probe/tool"), root.join("lib/moved")).unwrap();
        write(root, "usr/share/probe/empty", b"", 0o600);
        write(
            root,
            "usr/share/probe/with space and (парус)",
            "ü".as_bytes(),
            0o644,
        );
        write(
            root,
            &format!("usr/share/probe/{}/{}", "d".repeat(120), "n".repeat(200)),
            b"long",
            0o644,
        );
        symlink("t".repeat(300), root.join("usr/share/probe/far")).unwrap();
        write(root, "usr/share/big", &vec![b'x'; 2 << 20], 0o644);
        for (name, mode) in [("sticky", 0o1777), ("setgid", 0o2775), ("secret", 0o700)] {
            fs::create_dir_all(root.join("var").join(name)).unwrap();
            fs::set_permissions(
                root.join("var").join(name),
                fs::Permissions::from_mode(mode),
            )
            .unwrap();
        }
        fs::set_permissions(root.join("var"), fs::Permissions::from_mode(0o755)).unwrap();
        let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_007);
        let file = fs::File::open(root.join("etc/probe.conf")).unwrap();
        file.set_modified(old).unwrap();
    })
}

/// An architecture-independent package with digests of its own and a file for the library.
pub(crate) fn data(built: &Built) -> PathBuf {
    let control = "\
Package: a-probe-data
Version: 1.0
Architecture: all
Multi-Arch: foreign
Maintainer: A <a@example.org>
Priority: optional
Section: misc
Description: data
";
    built.build("a-probe-data", control, &["-Zgzip"], |root| {
        write(
            root,
            "DEBIAN/md5sums",
            b"900150983cd24fb0d6963f7d28e17f72  usr/share/probe/data\n",
            0o644,
        );
        write(
            root,
            "DEBIAN/triggers",
            b"interest-noawait named\nactivate-noawait named\n",
            0o644,
        );
        write(root, "usr/share/probe/data", b"abc", 0o644);
    })
}
