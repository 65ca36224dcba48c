//! Programs and libraries as `readelf` sees them, and as they stand in wheels and packages.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use bytes::Bytes;
use kiln_package::{
    elf::{self, Dynamic, Machine},
    libraries::{Libraries, of_deb, of_wheel},
};

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// A library `libdemo.so.1` with versions, and a program that needs it.
struct Demo {
    home: tempfile::TempDir,
}

impl Demo {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let path = |name: &str| home.path().join(name);
        fs::write(
            path("demo.c"),
            "int old(void) { return 1; } int fresh(void) { return 2; }",
        )
        .unwrap();
        let versions = "DEMO_1.0 { global: old; local: *; }; DEMO_1.2 { global: fresh; } DEMO_1.0;";
        fs::write(path("demo.map"), versions).unwrap();
        fs::write(
            path("main.c"),
            "int fresh(void); int main(void) { return fresh(); }",
        )
        .unwrap();
        run(Command::new("cc").current_dir(home.path()).args([
            "-shared",
            "-fPIC",
            "-o",
            "libdemo.so.1.2",
            "demo.c",
            "-Wl,-soname,libdemo.so.1",
            "-Wl,--version-script,demo.map",
        ]));
        run(Command::new("cc").current_dir(home.path()).args([
            "-o",
            "main",
            "main.c",
            "libdemo.so.1.2",
            "-Wl,--enable-new-dtags,-rpath,$ORIGIN/../lib:/opt/demo",
        ]));
        Self { home }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn read(&self, name: &str) -> Dynamic {
        let bytes = fs::read(self.path(name)).unwrap();
        elf::read(&bytes).unwrap().unwrap().1
    }
}

fn machine() -> Machine {
    match std::env::consts::ARCH {
        "aarch64" => Machine::Aarch64,
        _ => Machine::X86_64,
    }
}

/// The values of one tag in what `readelf -d` prints.
fn tags(printed: &str, tag: &str) -> Vec<String> {
    let lines = printed
        .lines()
        .filter(|line| line.contains(&format!("({tag})")));
    lines
        .map(|line| {
            line.split('[')
                .nth(1)
                .unwrap()
                .trim_end_matches(']')
                .to_owned()
        })
        .collect()
}

/// What `readelf -V` prints: the versions that are required of each library, without the weak
/// ones, and those that are defined, without the file's own name.
fn versions_in(printed: &str) -> (Vec<(String, Vec<String>)>, Vec<String>) {
    let (mut required, mut defined) = (Vec::<(String, Vec<String>)>::new(), Vec::new());
    let field = |line: &str, name: &str| {
        let (_, rest) = line.split_once(&format!("{name}: "))?;
        rest.split_whitespace().next().map(str::to_owned)
    };
    let mut in_definitions = false;
    for line in printed.lines() {
        if line.starts_with("Version ") {
            in_definitions = line.starts_with("Version definition");
        } else if let Some(file) = field(line, "File") {
            required.push((file, Vec::new()));
        } else if let Some(name) = field(line, "Name") {
            if in_definitions && !line.contains("BASE") {
                defined.push(name);
            } else if !in_definitions && !line.contains("WEAK") {
                required.last_mut().unwrap().1.push(name);
            }
        }
    }
    required.retain(|(_, versions)| !versions.is_empty());
    (required, defined)
}

#[test]
fn a_library_says_its_name_and_its_versions() {
    let demo = Demo::new();
    let found = demo.read("libdemo.so.1.2");
    assert_eq!(found.soname.as_deref(), Some("libdemo.so.1"));
    assert_eq!(found.defines, ["DEMO_1.0", "DEMO_1.2"]);
    assert!(!found.program);
}

#[test]
fn a_program_says_what_it_needs_and_where() {
    let demo = Demo::new();
    let found = demo.read("main");
    assert!(found.program);
    assert_eq!(found.runpath, ["$ORIGIN/../lib", "/opt/demo"]);
    assert_eq!(found.rpath, [""; 0]);
    assert!(found.needed.contains(&"libdemo.so.1".to_owned()));
    let required = found
        .requires
        .iter()
        .find(|it| it.library == "libdemo.so.1");
    assert_eq!(required.unwrap().versions, ["DEMO_1.2"]);
}

#[test]
fn an_old_search_path_is_told_from_a_new_one() {
    let demo = Demo::new();
    run(Command::new("cc").current_dir(demo.home.path()).args([
        "-o",
        "old",
        "main.c",
        "libdemo.so.1.2",
        "-Wl,--disable-new-dtags,-rpath,/opt/old",
    ]));
    let found = demo.read("old");
    assert_eq!(
        (found.rpath, found.runpath),
        (vec!["/opt/old".to_owned()], vec![])
    );
}

#[test]
fn the_systems_own_files_are_read_as_readelf_reads_them() {
    let mut seen = 0;
    for directory in [
        "/usr/bin",
        "/usr/lib/x86_64-linux-gnu",
        "/usr/lib/aarch64-linux-gnu",
    ] {
        let Ok(entries) = fs::read_dir(directory) else {
            continue;
        };
        let files = entries.map(|entry| entry.unwrap().path());
        let regular = files.filter(|path| path.is_file() && !path.is_symlink());
        for path in regular.take(60) {
            let bytes = fs::read(&path).unwrap();
            let Ok(Some((_, found))) = elf::read(&bytes) else {
                continue;
            };
            let printed = run(Command::new("readelf").args(["-d", "-W"]).arg(&path));
            assert_eq!(tags(&printed, "NEEDED"), found.needed, "{}", path.display());
            let soname = tags(&printed, "SONAME").pop();
            assert_eq!(soname, found.soname, "{}", path.display());
            let printed = run(Command::new("readelf").args(["-V", "-W"]).arg(&path));
            let required: Vec<_> = found
                .requires
                .iter()
                .map(|it| (it.library.clone(), it.versions.clone()))
                .collect();
            let versions = (required, found.defines);
            assert_eq!(versions, versions_in(&printed), "{}", path.display());
            seen += 1;
        }
    }
    assert!(seen > 20, "only {seen} files were read");
}

/// What both kinds of archives must give of the demonstration.
fn objects(found: &Libraries) -> Vec<(&str, Option<&str>)> {
    let objects = found.objects.iter();
    objects
        .inspect(|it| assert_eq!(it.machine, machine()))
        .map(|it| (it.path.as_str(), it.dynamic.soname.as_deref()))
        .collect()
}

#[test]
fn the_libraries_of_a_wheel_are_found_whatever_their_names() {
    let demo = Demo::new();
    let script = "import sys, zipfile\n\
        z = zipfile.ZipFile(sys.argv[1], 'w')\n\
        z.write('libdemo.so.1.2', 'demo.libs/libdemo-1234.so', zipfile.ZIP_DEFLATED)\n\
        z.write('main', 'demo-1.data/scripts/demo', zipfile.ZIP_STORED)\n\
        z.writestr('demo/__init__.py', 'x = 1', zipfile.ZIP_DEFLATED)\n\
        z.writestr('demo/broken.so', b'\\x7fELF' + b'\\xff' * 100, zipfile.ZIP_DEFLATED)\n\
        z.writestr('demo/empty.so', '')\n";
    run(Command::new("python3")
        .current_dir(demo.home.path())
        .args(["-c", script, "demo.whl"]));
    let archive = Bytes::from(fs::read(demo.path("demo.whl")).unwrap());
    let found = of_wheel(&archive, demo.home.path()).unwrap();
    assert_eq!(
        objects(&found),
        [
            ("demo.libs/libdemo-1234.so", Some("libdemo.so.1")),
            ("demo-1.data/scripts/demo", None),
        ]
    );
}

fn package(demo: &Demo) -> PathBuf {
    let root = demo.path("root");
    let library = root.join("usr/lib/demo");
    fs::create_dir_all(&library).unwrap();
    fs::create_dir_all(root.join("DEBIAN")).unwrap();
    fs::create_dir_all(root.join("etc/ld.so.conf.d")).unwrap();
    let control = "Package: demo\nVersion: 1\nArchitecture: all\nMaintainer: D <d@example.org>\n\
                   Description: a demonstration\n";
    fs::write(root.join("DEBIAN/control"), control).unwrap();
    fs::write(
        root.join("etc/ld.so.conf.d/demo.conf"),
        "# ours\n/usr/lib/demo/ /opt/x:/opt/y\n",
    )
    .unwrap();
    fs::copy(demo.path("libdemo.so.1.2"), library.join("libdemo.so.1.2")).unwrap();
    std::os::unix::fs::symlink("libdemo.so.1.2", library.join("libdemo.so.1")).unwrap();
    std::os::unix::fs::symlink("nowhere", library.join("README")).unwrap();
    let archive = demo.path("demo.deb");
    run(Command::new("dpkg-deb")
        .args(["--root-owner-group", "-b"])
        .args([Path::new(&root), &archive]));
    archive
}

#[test]
fn the_libraries_links_and_directories_of_a_debian_package_are_found() {
    let demo = Demo::new();
    let archive = Bytes::from(fs::read(package(&demo)).unwrap());
    let found = of_deb(&archive, "demo.deb", demo.home.path()).unwrap();
    assert_eq!(
        objects(&found),
        [("usr/lib/demo/libdemo.so.1.2", Some("libdemo.so.1"))]
    );
    assert_eq!(found.directories, ["/usr/lib/demo", "/opt/x", "/opt/y"]);
    let links: Vec<_> = found
        .links
        .iter()
        .map(|it| (&*it.path, &*it.target))
        .collect();
    assert_eq!(links, [("usr/lib/demo/libdemo.so.1", "libdemo.so.1.2")]);
}
