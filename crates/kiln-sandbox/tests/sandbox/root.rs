//! A small root file system made of the host's own programs, and jobs in it.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
};

use kiln_layer::{
    Compression, Entry, EntryKind, EntryPath, Payload, REPRODUCIBLE_MTIME, write_layer,
};
use kiln_sandbox::{
    Captured, Choice, Command, Job, LayerBlob, Limits, Sandbox, SandboxError, Step,
};

/// What scripts of the tests use.
const PROGRAMS: [&str; 26] = [
    "cat", "chmod", "chown", "cp", "dash", "date", "dd", "echo", "hostname", "id", "kill", "ln",
    "ls", "mkdir", "mkfifo", "mknod", "mv", "perl", "readlink", "rm", "rmdir", "setcap", "sleep",
    "stat", "touch", "unshare",
];

static NUMBER: AtomicUsize = AtomicUsize::new(0);

pub(crate) fn entry(path: &str, kind: EntryKind, mode: u32, uid: u32, gid: u32) -> Entry {
    Entry {
        path: EntryPath::new(path).unwrap(),
        kind,
        mode,
        uid,
        gid,
        mtime: REPRODUCIBLE_MTIME,
        capability: None,
    }
}

pub(crate) fn file(path: &str, content: &str, mode: u32) -> Entry {
    let payload = Payload::Plain(content.as_bytes().to_vec().into());
    entry(path, EntryKind::File(payload), mode, 0, 0)
}

pub(crate) fn directory(path: &str) -> Entry {
    entry(path, EntryKind::Directory, 0o755, 0, 0)
}

pub(crate) fn symlink(path: &str, target: &str) -> Entry {
    entry(path, EntryKind::Symlink(target.into()), 0o777, 0, 0)
}

/// Writes a layer below `directory`, with the parents of its entries.
pub(crate) fn layer(directory: &Path, entries: Vec<Entry>) -> LayerBlob {
    let mut all = BTreeMap::new();
    for entry in entries {
        let mut above = entry.path.parent();
        while let Some(path) = above {
            above = path.parent();
            let parent = self::directory(&path.to_string());
            all.entry(path.as_bytes().to_vec()).or_insert(parent);
        }
        all.insert(entry.path.as_bytes().to_vec(), entry);
    }
    let entries: Vec<_> = all.into_values().collect();
    let path = directory.join(format!("{}.layer", NUMBER.fetch_add(1, Ordering::Relaxed)));
    let out = File::create(&path).unwrap();
    let summary = write_layer(&entries, Compression::Gzip, out).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    LayerBlob {
        diff_id: summary.diff_id,
        path,
    }
}

/// The host's programs with what they are linked with, as a merged-usr layer.
fn programs(directory: &Path) -> LayerBlob {
    let mut files = BTreeMap::new();
    for program in PROGRAMS {
        let path = which(program);
        let listed = process::Command::new("ldd").arg(&path).output().unwrap();
        for word in String::from_utf8(listed.stdout).unwrap().split_whitespace() {
            if word.starts_with('/') {
                files.insert(usr(word), PathBuf::from(word));
            }
        }
        files.insert(format!("usr/bin/{program}"), path);
    }
    let mut entries: Vec<_> = files
        .into_iter()
        .map(|(path, source)| {
            let payload = Payload::Plain(fs::read(source).unwrap().into());
            entry(&path, EntryKind::File(payload), 0o755, 0, 0)
        })
        .collect();
    for name in ["bin", "lib", "lib64", "sbin"] {
        entries.push(symlink(name, &usr(name)));
    }
    entries.push(symlink("usr/bin/sh", "dash"));
    entries.push(symlink("usr/sbin", "bin"));
    layer(directory, entries)
}

/// Where a file of the host is in the layer.
fn usr(path: &str) -> String {
    let path = path.trim_start_matches('/');
    match path.strip_prefix("usr/") {
        Some(_) => path.to_owned(),
        None => format!("usr/{path}"),
    }
}

fn which(program: &str) -> PathBuf {
    ["/usr/bin", "/bin", "/usr/sbin", "/sbin"]
        .iter()
        .map(|directory| Path::new(directory).join(program))
        .find(|path| path.is_file())
        .unwrap_or_else(|| panic!("the tests need `{program}`"))
}

/// A store of a test, with a layer of programs.
pub(crate) struct Store {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) programs: LayerBlob,
}

impl Store {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let programs = programs(directory.path());
        Self {
            directory,
            programs,
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn sandbox(&self, choice: Choice) -> Result<Sandbox, SandboxError> {
        open(self.path(), choice)
    }

    /// A job that runs a script on the programs and these layers.
    pub(crate) fn job(&self, layers: &[LayerBlob], script: &str) -> Job {
        Job {
            layers: [std::slice::from_ref(&self.programs), layers].concat(),
            compare: None,
            binds: Vec::new(),
            steps: vec![Step::Run(shell(script))],
            limits: Limits::default(),
            capture: Vec::new(),
        }
    }

    /// Runs a job as root, and gives what it printed.
    pub(crate) fn run(&self, job: &Job) -> (Result<Captured, SandboxError>, String) {
        let sandbox = self.sandbox(Choice::default()).unwrap();
        run(&sandbox, job, self.path())
    }

    /// What a script prints that must succeed.
    pub(crate) fn output(&self, script: &str) -> String {
        let (result, output) = self.run(&self.job(&[], script));
        result.unwrap_or_else(|error| panic!("{error}: {output}"));
        output
    }
}

pub(crate) fn open(rootfs: &Path, choice: Choice) -> Result<Sandbox, SandboxError> {
    let worker = Path::new(env!("CARGO_BIN_EXE_kiln-sandbox-worker"));
    Sandbox::with_worker(&rootfs.join("rootfs"), choice, worker, &[])
}

pub(crate) fn run(
    sandbox: &Sandbox,
    job: &Job,
    spool: &Path,
) -> (Result<Captured, SandboxError>, String) {
    let mut output = Vec::new();
    let result = sandbox.run(
        job,
        spool,
        &mut |bytes| output.extend_from_slice(bytes),
        &AtomicBool::new(false),
    );
    (result, String::from_utf8_lossy(&output).into_owned())
}

pub(crate) fn shell(script: &str) -> Command {
    Command {
        argv: ["/bin/sh", "-euc", script].map(str::to_owned).to_vec(),
        env: vec![("PATH".to_owned(), "/usr/bin".to_owned())],
        cwd: "/".to_owned(),
        uid: 0,
        gid: 0,
        umask: 0o022,
    }
}
