//! The same wheels, installed by pip and placed by us: path by path, with every difference
//! written down. And what is placed works: commands run, pip lists, checks and uninstalls.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs,
    io::Read,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use flate2::bufread::DeflateDecoder;
use kiln_layer::{Entry, EntryKind, EntryPath, Payload};
use kiln_package::wheel::{Placement, entries, venv};
use tempfile::TempDir;

/// What may differ, and why. The first words say how it differs.
const DIFFERENCES: &[(&str, &str)] = &[
    ("content of */INSTALLER", "it names the installer"),
    (
        "only in pip's: */REQUESTED",
        "the files of a package must not depend on who asked for it",
    ),
    (
        "only in pip's: */direct_url.json",
        "pip installs from files here, kiln from an index",
    ),
    (
        "only in pip's: bin/Activate.ps1",
        "no PowerShell in the images",
    ),
    ("content of bin/activate*", "kiln's own scripts"),
    (
        "content of pyvenv.cfg",
        "Python's version as X.Y: a bug-fix release changes no layer",
    ),
];

/// A difference that only newer versions of `venv` make.
const GITIGNORE: &str = "only in pip's: .gitignore";

/// An environment made by `venv`, tools beside it, and the nasty wheels.
struct Fixture {
    directory: TempDir,
    python: (u8, u8),
    wheels: Vec<PathBuf>,
}

impl Fixture {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let path = |name: &str| directory.path().join(name);
        run(command("python3").args(["-m", "venv"]).arg(path("tools")));
        run(command("python3")
            .args(["-m", "venv", "--without-pip"])
            .arg(path("env")));
        fs::create_dir(path("wheels")).unwrap();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/wheel/nasty_wheels.py");
        run(command("python3").arg(script).arg(path("wheels")));
        let mut wheels: Vec<_> = fs::read_dir(path("wheels"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        wheels.sort();
        assert_eq!(wheels.len(), 4);
        let version = "import sys; print(*sys.version_info[:2])";
        let version = run(command("python3").args(["-c", version]));
        let (major, minor) = version.trim().split_once(' ').unwrap();
        Self {
            python: (major.parse().unwrap(), minor.parse().unwrap()),
            wheels,
            directory,
        }
    }

    fn environment(&self) -> PathBuf {
        self.directory.path().join("env")
    }

    fn interpreter(&self) -> PathBuf {
        let (major, minor) = self.python;
        self.environment()
            .join(format!("bin/python{major}.{minor}"))
    }

    /// Runs pip for the environment.
    fn pip(&self, arguments: &[&str]) -> String {
        let python = self.directory.path().join("tools/bin/python");
        run(command(python)
            .args(["-m", "pip", "--python"])
            .arg(self.interpreter())
            .args(["--disable-pip-version-check", "--no-cache-dir"])
            .args(arguments)
            .env("PIP_ROOT_USER_ACTION", "ignore")
            .env("PIP_CONFIG_FILE", "/dev/null"))
    }

    fn placement(&self) -> Placement {
        let prefix = self.environment();
        let prefix = prefix.to_str().unwrap().strip_prefix('/').unwrap();
        Placement {
            prefix: EntryPath::new(prefix).unwrap(),
            python: self.python,
            uid: 0,
            gid: 0,
            directory_mode: 0o775,
            file_mode: 0o664,
            executable_mode: 0o775,
        }
    }

    /// The interpreter that `venv` linked to.
    fn base_executable(&self) -> String {
        let targets = fs::read_dir(self.environment().join("bin")).unwrap();
        targets
            .filter_map(|entry| fs::read_link(entry.unwrap().path()).ok())
            .find(|target| target.is_absolute())
            .map(|target| target.to_str().unwrap().to_owned())
            .unwrap()
    }

    /// The empty environment that we make: path below its directory → entry.
    fn empty(&self) -> BTreeMap<String, Entry> {
        self.below_prefix(venv(&self.placement(), &self.base_executable()).unwrap())
    }

    /// The environment with all wheels that we make.
    fn placed(&self) -> BTreeMap<String, Entry> {
        let mut placed = self.empty();
        for wheel in &self.wheels {
            let archive = fs::read(wheel).unwrap().into();
            let name = wheel.file_name().unwrap().to_str().unwrap();
            let entries = entries(&archive, name, &self.placement()).unwrap();
            for (path, entry) in self.below_prefix(entries) {
                let other = placed.insert(path, entry);
                assert!(other.as_ref().is_none_or(is_directory), "{other:?}");
            }
        }
        placed
    }

    fn below_prefix(&self, entries: Vec<Entry>) -> BTreeMap<String, Entry> {
        let prefix = format!("{}/", self.placement().prefix);
        let below = |entry: Entry| {
            let path = entry.path.to_string();
            Some((path.strip_prefix(&prefix)?.to_owned(), entry))
        };
        entries.into_iter().filter_map(below).collect()
    }
}

fn is_directory(entry: &Entry) -> bool {
    matches!(entry.kind, EntryKind::Directory)
}

/// A command with the policy of `placement` as its umask.
fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("sh");
    command
        .args(["-c", "umask 002; exec \"$@\"", "sh"])
        .arg(program);
    command
}

/// Runs a command and returns what it prints.
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

fn content(payload: &Payload) -> Vec<u8> {
    match payload {
        Payload::Plain(content) => content.to_vec(),
        Payload::Deflated { data, crc32, size } => {
            let mut content = Vec::new();
            DeflateDecoder::new(&data[..])
                .read_to_end(&mut content)
                .unwrap();
            assert_eq!(
                (content.len() as u64, crc32fast::hash(&content)),
                (*size, *crc32)
            );
            content
        }
    }
}

/// All paths below a directory, links not followed.
fn walk(root: &Path) -> Vec<String> {
    let mut paths = Vec::new();
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.is_symlink() {
                directories.push(path.clone());
            }
            paths.push(
                path.strip_prefix(root)
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .to_owned(),
            );
        }
    }
    paths
}

/// How one path differs.
fn difference(path: &str, theirs: &Path, ours: &Entry) -> Option<String> {
    let metadata = theirs.symlink_metadata().unwrap();
    let differs = |what: &str| Some(format!("{what} of {path}"));
    match &ours.kind {
        EntryKind::Directory if metadata.is_dir() => {}
        EntryKind::Symlink(target) if metadata.is_symlink() => {
            let theirs = fs::read_link(theirs).unwrap();
            return (theirs.to_str().unwrap().as_bytes() != target)
                .then(|| format!("target of {path}"));
        }
        EntryKind::File(payload) if metadata.is_file() => {
            let (theirs, ours) = (fs::read(theirs).unwrap(), content(payload));
            let (theirs, ours) = if path.ends_with("/RECORD") && !path.contains("inner-9") {
                (rows(&theirs), rows(&ours))
            } else if path.starts_with("bin/") {
                (current_launcher(theirs), ours)
            } else {
                (theirs, ours)
            };
            if theirs != ours {
                let difference = format!("content of {path}");
                if !is_written_down(&difference) {
                    let show = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                    eprintln!(
                        "--- pip's {path}\n{}\n--- ours\n{}",
                        show(&theirs),
                        show(&ours)
                    );
                }
                return Some(difference);
            }
        }
        _ => return differs("type"),
    }
    let same = metadata.permissions().mode() & 0o7777 == ours.mode;
    if same { None } else { differs("mode") }
}

/// Rows of RECORD without those that may differ: of files that only pip writes, of launchers of
/// the wheel that were replaced; and without hash and size for files that differ.
fn rows(record: &[u8]) -> Vec<u8> {
    let record = std::str::from_utf8(record).unwrap();
    assert!(record.ends_with("\r\n"));
    let launchers = ["nasty", "versioned", "pip", "easy_install"];
    let kept: Vec<String> = record
        .split("\r\n")
        .filter(|row| !row.contains("/REQUESTED,") && !row.contains("/direct_url.json,"))
        .filter(|row| !row.starts_with("Nasty.Project_One-1.0.post1.data/scripts/nasty"))
        .map(|row| {
            let (path, _) = row.split_once(',').unwrap_or((row, ""));
            let is_launcher = path
                .strip_prefix("../../../bin/")
                .is_some_and(|name| launchers.iter().any(|launcher| name.starts_with(launcher)));
            if path.ends_with("/INSTALLER") || is_launcher {
                path.to_owned()
            } else {
                row.to_owned()
            }
        })
        .collect();
    kept.join("\n").into_bytes()
}

/// A launcher of an older pip as pip 26 writes it: without `re` and a coding line.
fn current_launcher(text: Vec<u8>) -> Vec<u8> {
    let old = "# -*- coding: utf-8 -*-\nimport re\nimport sys\n";
    let old_line = "sys.argv[0] = re.sub(r'(-script\\.pyw|\\.exe)?$', '', sys.argv[0])";
    match String::from_utf8(text) {
        Ok(text) => text
            .replace(old, "import sys\n")
            .replace(old_line, "sys.argv[0] = sys.argv[0].removesuffix('.exe')")
            .into_bytes(),
        Err(error) => error.into_bytes(),
    }
}

fn is_written_down(difference: &str) -> bool {
    DIFFERENCES
        .iter()
        .any(|(pattern, _)| matches(pattern, difference))
}

fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        Some((start, end)) => text.starts_with(start) && text.ends_with(end),
        None => pattern == text,
    }
}

#[test]
fn placed_wheels_differ_from_pips_only_as_written_down() {
    let fixture = Fixture::new();
    let wheels: Vec<&str> = fixture
        .wheels
        .iter()
        .map(|path| path.to_str().unwrap())
        .collect();
    let options = ["install", "--no-deps", "--no-compile", "--no-index"];
    fixture.pip(&[&options[..], &wheels].concat());

    let mut ours = fixture.placed();
    let mut differences = Vec::new();
    for path in walk(&fixture.environment()) {
        differences.extend(match ours.remove(&path) {
            Some(entry) => {
                let theirs = fixture.environment().join(&path);
                difference(&path, &theirs, &entry)
            }
            None => Some(format!("only in pip's: {path}")),
        });
    }
    differences.extend(ours.keys().map(|path| format!("only in ours: {path}")));

    for (pattern, _) in DIFFERENCES {
        let found = differences.iter().any(|text| matches(pattern, text));
        assert!(found, "`{pattern}` is no difference any more");
    }
    differences.retain(|text| text != GITIGNORE && !is_written_down(text));
    assert!(differences.is_empty(), "{differences:#?}");
}

/// Writes entries to disk, at the place that they are for.
fn write_out(environment: &Path, placed: &BTreeMap<String, Entry>) {
    fs::create_dir(environment).unwrap();
    for (path, entry) in placed {
        let path = environment.join(path);
        match &entry.kind {
            EntryKind::Directory => fs::create_dir(&path).unwrap(),
            EntryKind::Symlink(target) => {
                symlink(std::str::from_utf8(target).unwrap(), &path).unwrap();
                continue;
            }
            EntryKind::File(payload) => fs::write(&path, content(payload)).unwrap(),
            other => panic!("{other:?}"),
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(entry.mode)).unwrap();
    }
}

/// Every file of RECORD exists and has the recorded hash; prints how many were checked.
const VERIFY_RECORDS: &str = "
import base64, hashlib, importlib.metadata
count = 0
for distribution in importlib.metadata.distributions(path=[__import__('site').getsitepackages()[0]]):
    for file in distribution.files:
        content = file.locate().read_bytes()
        if file.hash:
            digest = hashlib.new(file.hash.mode, content).digest()
            assert base64.urlsafe_b64encode(digest).rstrip(b'=').decode() == file.hash.value, file
            assert file.size == len(content), file
            count += 1
print(count)
";

#[test]
fn placed_wheels_work_and_pip_can_manage_them() {
    let fixture = Fixture::new();
    let environment = fixture.environment();
    let placed = fixture.placed();
    fs::remove_dir_all(&environment).unwrap();
    write_out(&environment, &placed);

    let script = |name: &str| run(&mut command(environment.join("bin").join(name)));
    assert_eq!(script("nasty"), "module ran\n");
    assert_eq!(script("nasty-inner"), "inner ran\n");
    assert_eq!(script("tool.py"), "tool ran\n");
    assert_eq!(script("shell"), "shell\n");

    let python = fixture.interpreter();
    let prefix = run(command(&python).args(["-c", "import sys; print(sys.prefix)"]));
    assert_eq!(Path::new(prefix.trim()), environment);
    let checked = run(command(&python).args(["-B", "-c", VERIFY_RECORDS]));
    assert!(checked.trim().parse::<u32>().unwrap() > 50, "{checked}");

    fixture.pip(&["check"]);
    let listed = fixture.pip(&["list", "--format", "freeze"]).to_lowercase();
    for project in [
        "nasty",
        "versioned==2",
        "signed==0.1",
        "streamed==1!2.0+local.1",
    ] {
        assert!(listed.contains(project), "{listed}");
    }
    let projects = ["nasty-project-one", "versioned", "signed", "streamed"];
    fixture.pip(&[&["uninstall", "--yes"][..], &projects].concat());
    let mut left = walk(&environment);
    left.retain(|path| {
        let path = environment.join(path);
        path.is_symlink() || !path.is_dir()
    });
    left.sort();
    let mut expected = fixture.empty();
    expected.retain(|_, entry| !is_directory(entry));
    assert_eq!(left, expected.into_keys().collect::<Vec<_>>());
}
