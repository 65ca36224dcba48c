//! With the Python of the host in place of the sandbox: what `compile.py` does is the same there.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Command as Process, Stdio},
    sync::{Mutex, atomic::AtomicBool},
};

use kiln_fetch::{FetchOptions, Fetcher, SourceConfig, Sources};
use kiln_layer::EntryKind;
use kiln_package::zip::{self, Member, NewMember};
use kiln_plan::{
    ACTION_FORMAT, Action, Archive, Compression, Files, Input, Kind, Origin, Placement, Plan, Step,
};
use kiln_recipe::{ComponentId, ComponentKind, Platform, PythonVersion};
use kiln_sandbox::Choice;
use kiln_store::Store;
use tempfile::TempDir;

use super::*;
use crate::{
    Builder, Event, FamilyFiles, Options,
    error::BuildError,
    execute::{Product, product},
};

/// Major and minor version of the host's Python.
fn host_python() -> PythonVersion {
    let script = "import sys; print(sys.version_info[0], sys.version_info[1])";
    let output = Process::new("python3")
        .args(["-c", script])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let (major, minor) = text.trim().split_once(' ').unwrap();
    PythonVersion {
        major: major.parse().unwrap(),
        minor: minor.parse().unwrap(),
    }
}

fn placement() -> Placement {
    Placement {
        prefix: "/opt/app-root".into(),
        python: host_python(),
        uid: 1001,
        gid: 0,
    }
}

/// A wheel of these files.
fn wheel_of(name: &str, files: &[(&str, &str)]) -> Bytes {
    let info = format!("{name}-1.dist-info");
    let metadata = format!("Metadata-Version: 2.1\nName: {name}\nVersion: 1\n");
    let (metadata_path, wheel_path) = (format!("{info}/METADATA"), format!("{info}/WHEEL"));
    let mut files = files.to_vec();
    files.push((&metadata_path, &metadata));
    files.push((&wheel_path, "Wheel-Version: 1.0\nTag: py3-none-any\n"));
    let record: String = files
        .iter()
        .map(|(path, _)| format!("{path},,\n"))
        .chain([format!("{info}/RECORD,,\n")])
        .collect();
    let record_path = format!("{info}/RECORD");
    files.push((&record_path, &record));
    let members = files.iter().map(|(name, content)| NewMember {
        name,
        mode: 0o644,
        content: content.as_bytes(),
    });
    let mut wheel = Vec::new();
    zip::write(members, &mut wheel).unwrap();
    wheel.into()
}

struct Bench {
    directory: TempDir,
    wheels: BTreeMap<Digest, Bytes>,
}

impl Bench {
    fn new() -> Self {
        Self {
            directory: TempDir::new().unwrap(),
            wheels: BTreeMap::new(),
        }
    }

    fn action(&mut self, name: &str, files: &[(&str, &str)]) -> Bytecode {
        let wheel = wheel_of(name, files);
        let sha256 = Digest::of(&wheel);
        self.wheels.insert(sha256, wheel);
        Bytecode {
            runtime: Digest::of(b"runtime"),
            executable: "python3".into(),
            placement: placement(),
            wheel: Archive {
                file: format!("{name}-1-py3-none-any.whl"),
                sha256,
            },
        }
    }

    /// What [`compile`] does, without a sandbox: the workers have standard input and output as
    /// their channels.
    fn compile(&self, batch: &[&Bytecode], workers: usize) -> Vec<Bytes> {
        let script = self.directory.path().join("compile.py");
        fs::write(&script, SCRIPT).unwrap();
        let mut python = Process::new("python3");
        python.args(OPTIONS).arg(&script);
        python.args(arguments([0, 1].into_iter().take(workers)));
        let (archives, ended) = self.converse(batch, workers, python);
        ended.unwrap();
        archives.into_iter().map(Option::unwrap).collect()
    }

    /// The archives that come of a conversation with a process, and how that ended.
    fn converse(
        &self,
        batch: &[&Bytecode],
        workers: usize,
        mut process: Process,
    ) -> (Vec<Option<Bytes>>, Result<(), ExecuteError>) {
        let archives = Mutex::new(vec![None; batch.len()]);
        let take = |wheel: usize, archive| {
            let before = archives.lock().unwrap()[wheel].replace(archive);
            assert_eq!(before, None, "an archive is given once");
            true
        };
        let open = |digest: &Digest| Ok(self.wheels[digest].clone());
        let context = Context::packing(&open, self.directory.path());
        let sources = Batch::new(batch, &context, &take).unwrap();
        sources.finish_empty().unwrap();
        let (ours, theirs) = batch::channels(workers).unwrap();
        let ended = sources.compile(ours, || {
            let mut theirs = theirs
                .into_iter()
                .map(|end| Stdio::from(OwnedFd::from(end)));
            process.stdin(theirs.next().unwrap());
            process.stdout(theirs.next().unwrap_or_else(Stdio::null));
            let mut child = process.spawn().unwrap();
            // Our copies of the workers' ends are in it.
            drop(process);
            if child.wait().unwrap().success() {
                Ok(())
            } else {
                Err(ExecuteError::NoResult(Digest::of(b"failed")))
            }
        });
        drop(sources);
        (archives.into_inner().unwrap(), ended)
    }
}

fn names(archive: &Bytes) -> Vec<String> {
    let members = zip::files(archive).unwrap();
    members.into_iter().map(|member| member.name).collect()
}

fn module(archive: &Bytes, stem: &str) -> Bytes {
    let mut members = zip::files(archive).unwrap().into_iter();
    let member = members.find(|member| member.name.contains(&format!("/{stem}.")));
    member.unwrap().read(1 << 20).unwrap()
}

/// Sources whose marshalled form depends on what the process compiled before: texts that are
/// interned by another module, single characters, sets, names of classes.
const FIRST: &str = r#"
import sys
names = {"b.c", "a b", None, 7, "first", ".", "é"}
def f(x):
    return x in {"b.c", "a b", None, 7, "first"} or x in {"first", None, "a b", 7, "b.c"}
class A:
    class B: "A.B"
text = "A.B", ".", "é"
"#;
const SECOND: &str = r#"
é = 1
class A:
    class B: pass
    class C: "a b"
def f(x, y=("b.c", ".", (1.5, -0.0, 2j, b"\x00"))):
    return lambda: (x, y, "A.B", "A.C", "first", ...)
"#;

#[test]
fn a_wheel_alone_gives_the_bytes_that_it_gives_in_a_batch() {
    let mut bench = Bench::new();
    let first = bench.action("first", &[("first.py", FIRST), ("pkg/second.py", SECOND)]);
    let second = bench.action("second", &[("second.py", SECOND), ("pkg/first.py", FIRST)]);
    let third = bench.action("third", &[("a.py", SECOND), ("z.py", FIRST)]);
    let together = bench.compile(&[&third, &first, &second], 1);
    let side_by_side = bench.compile(&[&second, &third, &first], 2);
    for (position, other, action) in [(0, 1, &third), (1, 2, &first), (2, 0, &second)] {
        let alone = bench.compile(&[action], 1).remove(0);
        assert_eq!(names(&alone).len(), 2);
        assert_eq!(alone, together[position]);
        assert_eq!(alone, side_by_side[other]);
    }
}

#[test]
fn all_that_pip_compiles_is_compiled_and_nothing_else() {
    let mut bench = Bench::new();
    let files = [
        ("module.py", "x = 1"),
        ("pkg/__init__.py", ""),
        ("pkg/stub.pyi", "x: int"),
        ("pkg/data.txt", "x = 1"),
        ("pkg/broken.py", "print 'for another Python'"),
        ("pkg/null.py", "x = '\0'"),
        ("pkg/encoding.py", "# coding: no-such-encoding\n"),
        ("pkg/latin.py", "# coding: latin-1\nx = '\u{e9}'\n"),
        ("all-1.data/scripts/tool.py", "#!python\nx = 1"),
        ("all-1.data/data/share/example.py", "x = 1"),
    ];
    let action = bench.action("all", &files);
    let archive = bench.compile(&[&action], 2).remove(0);
    let PythonVersion { major, minor } = host_python();
    let site = format!("lib/python{major}.{minor}/site-packages");
    let expected = [
        ("bin", "tool"),
        (&site, "module"),
        (&format!("{site}/pkg"), "__init__"),
        (&format!("{site}/pkg"), "latin"),
        ("share", "example"),
    ]
    .map(|(directory, stem)| format!("{directory}/__pycache__/{stem}.cpython-{major}{minor}.pyc"));
    let mut expected = expected.to_vec();
    expected.sort();
    assert_eq!(names(&archive), expected);
}

#[test]
fn a_wheel_without_modules_gives_an_empty_archive() {
    let mut bench = Bench::new();
    let action = bench.action("empty", &[("data.txt", "")]);
    // There is nothing to run, and no sandbox is asked for.
    let open = |digest: &Digest| Ok(bench.wheels[digest].clone());
    let context = Context::packing(&open, bench.directory.path());
    let given = Mutex::new(Vec::new());
    let take = |wheel, archive| {
        given.lock().unwrap().push((wheel, names(&archive)));
        true
    };
    compile(&[&action], &context, &take).unwrap();
    assert_eq!(given.into_inner().unwrap(), [(0, Vec::new())]);
}

#[test]
fn large_sources_give_the_bytes_that_they_would_give_in_a_worker() {
    let mut bench = Bench::new();
    let many = format!("{FIRST}{}", "# a line of a long comment\n".repeat(30_000));
    assert!(many.len() as u64 > LARGE);
    let plain = bench.action("a", &[("first.py", FIRST)]);
    let large = bench.action("a", &[("first.py", &many), ("second.py", SECOND)]);
    let [plain, large] = [plain, large].map(|action| bench.compile(&[&action], 2).remove(0));
    // The hash of the source stands in the header.
    assert_eq!(module(&plain, "first")[16..], module(&large, "first")[16..]);
    assert_eq!(names(&large).len(), 2);
}

#[test]
fn workers_that_end_early_or_answer_nonsense_fail_the_batch() {
    let mut bench = Bench::new();
    let action = bench.action("first", &[("a.py", FIRST), ("b.py", SECOND)]);
    let shell = |script: &str| {
        let mut shell = Process::new("sh");
        shell.args(["-c", script]);
        bench.converse(&[&action], 1, shell)
    };
    // They end well, and have not answered.
    let (archives, ended) = shell("exit 0");
    assert!(matches!(
        ended,
        Err(ExecuteError::Bytecode(BytecodeError::Channel(_)))
    ));
    assert_eq!(archives, [None]);
    // They fail, and that explains the silence.
    assert!(matches!(shell("exit 1").1, Err(ExecuteError::NoResult(_))));
    let (archives, ended) = shell(r"printf '\003\000\000\000abc' >&0; cat >/dev/null");
    assert!(matches!(
        ended,
        Err(ExecuteError::Bytecode(BytecodeError::Module { .. }))
    ));
    assert_eq!(archives, [None]);
}

#[test]
fn who_takes_the_archives_can_end_the_batch() {
    let mut bench = Bench::new();
    let first = bench.action("first", &[("a.py", FIRST), ("b.py", SECOND)]);
    let second = bench.action("second", &[("a.py", ""), ("b.py", ""), ("c.py", "")]);
    let open = |digest: &Digest| Ok(bench.wheels[digest].clone());
    let context = Context::packing(&open, bench.directory.path());
    let given = Mutex::new(Vec::new());
    let take = |wheel, _| {
        given.lock().unwrap().push(wheel);
        false
    };
    let wheels = [&second, &first];
    let batch = Batch::new(&wheels, &context, &take).unwrap();
    let (ours, theirs) = batch::channels(1).unwrap();
    // None of them compiles.
    let run = || {
        let mut theirs = &theirs[0];
        io::Write::write_all(&mut theirs, &[0; 5 * size_of::<u32>()]).unwrap();
        // Until our end is closed: with answers unread, that is an error here.
        let _ = io::copy(&mut theirs, &mut io::sink());
        Ok(())
    };
    batch.compile(ours, run).unwrap();
    // The larger wheel comes first; of the other one not all has been asked for.
    assert_eq!(given.into_inner().unwrap(), [1]);
}

/// Python itself is the judge: it loads our file as it stands, from the path that it looks at,
/// with the source's path in the image; and loads what its own `py_compile` gives.
#[test]
fn python_loads_what_its_own_compiler_would_have_written() {
    let mut bench = Bench::new();
    let action = bench.action("judged", &[("first.py", FIRST), ("second.py", SECOND)]);
    let archive = bench.compile(&[&action], 1).remove(0);
    let site = bench.directory.path().join("site");
    fs::create_dir_all(site.join("__pycache__")).unwrap();
    for (stem, source) in [("first", FIRST), ("second", SECOND)] {
        fs::write(site.join(format!("{stem}.py")), source).unwrap();
        let PythonVersion { major, minor } = host_python();
        let path = format!("__pycache__/{stem}.cpython-{major}{minor}.pyc");
        fs::write(site.join(path), module(&archive, stem)).unwrap();
    }
    let script = r#"
import importlib.util, marshal, py_compile, sys, types
def same(a, b):
    if type(a) is not type(b):
        return False
    if isinstance(a, types.CodeType):
        plain = ("argcount", "code", "name", "names", "varnames", "flags", "filename", "stacksize",
                 "freevars", "cellvars", "firstlineno", "linetable", "exceptiontable", "qualname")
        return all(getattr(a, "co_" + n, None) == getattr(b, "co_" + n, None) for n in plain) \
            and same(a.co_consts, b.co_consts)
    if isinstance(a, tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return repr(a) == repr(b) or (isinstance(a, frozenset) and a == b)
sys.path.insert(0, sys.argv[1])
for name in ("first", "second"):
    source = f"{sys.argv[1]}/{name}.py"
    cache = importlib.util.cache_from_source(source)
    ours = open(cache, "rb").read()
    in_image = "/opt/app-root/lib/python%d.%d/site-packages/%s.py" % (*sys.version_info[:2], name)
    reference = py_compile.compile(source, cfile=source + "c", dfile=in_image, doraise=True,
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    theirs = open(reference, "rb").read()
    assert ours[:16] == theirs[:16], name
    assert same(marshal.loads(ours[16:]), marshal.loads(theirs[16:])), name
    module = __import__(name)
    assert module.f.__code__.co_filename == source  # fixed on loading, as for any .pyc
    assert marshal.loads(ours[16:]).co_filename == in_image
import first, second
assert first.names == {"b.c", "a b", None, 7, "first", ".", "é"}
assert first.f(None) and first.A.B.__doc__ == first.text[0] == "A.B"
assert second.f(1)()[1] == ("b.c", ".", (1.5, -0.0, 2j, b"\x00"))
"#;
    let output = Process::new("python3")
        .args(["-B", "-c", script])
        .arg(&site)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn of_modules_that_two_wheels_ship_the_winner_s_is_packed() {
    let mut bench = Bench::new();
    let first = bench.action("first", &[("pkg/__init__.py", "x = 1"), ("pkg/a.py", "")]);
    let second = bench.action("second", &[("pkg/__init__.py", "x = 2"), ("pkg/b.py", "")]);
    let archives = bench.compile(&[&first, &second], 1);
    let keys = [
        Digest::of(b"key of the first"),
        Digest::of(b"key of the second"),
    ];
    let paths = [0, 1].map(|index: usize| {
        let path = bench.directory.path().join(index.to_string());
        fs::write(&path, &archives[index]).unwrap();
        path
    });
    let open = |_: &Digest| Err(io::Error::other("no archive is needed"));
    let result = |key: &Digest| {
        let index = keys.iter().position(|other| other == key).unwrap();
        Ok(Found::Blob(paths[index].clone()))
    };
    let context = Context {
        result: &result,
        ..Context::packing(&open, bench.directory.path())
    };
    let PythonVersion { major, minor } = host_python();
    let package = format!("opt/app-root/lib/python{major}.{minor}/site-packages/pkg");
    let mut action = PackBytecode {
        placement: placement(),
        parts: keys.to_vec(),
        winners: BTreeMap::new(),
    };
    assert!(matches!(
        pack(&action, &context),
        Err(ExecuteError::Merge(_))
    ));

    action.winners = BTreeMap::from([(format!("/{package}/__init__.py"), keys[1])]);
    let entries = pack(&action, &context).unwrap();
    let path = format!("{package}/__pycache__/__init__.cpython-{major}{minor}.pyc");
    let init = entries
        .iter()
        .find(|entry| entry.path.as_bytes() == path.as_bytes());
    let EntryKind::File(payload) = &init.unwrap().kind else {
        panic!("a module is a file");
    };
    let packed = Member {
        name: path,
        unix_mode: 0,
        payload: payload.clone(),
    };
    let packed = packed.read(1 << 20).unwrap();
    assert_eq!(packed, module(&archives[1], "__init__"));
    let files = entries
        .iter()
        .filter(|entry| !matches!(entry.kind, EntryKind::Directory));
    assert_eq!(files.count(), 3);
    let owned = |entry: &&Entry| entry.path.as_bytes().starts_with(b"opt/app-root");
    assert!(
        entries
            .iter()
            .filter(owned)
            .all(|entry| (entry.uid, entry.gid) == (1001, 0))
    );
}

#[test]
fn a_file_of_the_family_removes_the_module_of_the_source_that_it_replaces() {
    let module = "/opt/app-root/lib/python3.11/site-packages/pkg/__pycache__/a.cpython-311.pyc";
    let action = Action {
        format: ACTION_FORMAT,
        platform: Platform::LinuxAmd64,
        compression: Compression::default(),
        kind: Kind::Files(Files {
            files: Vec::new(),
            placement: placement(),
            removed: vec![module.into()],
        }),
    };
    let open = |_: &Digest| Err(io::Error::other("no archive is needed"));
    let context = Context::packing(&open, Path::new("/"));
    let Product::Entries(entries) = product(&action, &context).unwrap() else {
        panic!("files make a layer");
    };
    let last = entries.last().unwrap();
    assert_eq!(last.path.as_bytes(), &module.as_bytes()[1..]);
    assert!(matches!(last.kind, EntryKind::Whiteout));
}

/// Wheels without sources need no compiler. Of the others nothing is there: the runtime is missing.
#[test]
fn what_a_failed_batch_has_recorded_is_not_made_again() {
    let mut bench = Bench::new();
    let root = bench.directory.path().join("family");
    fs::create_dir(&root).unwrap();
    let wheels = [("empty", "empty/data"), ("full", "full/module.py")];
    let steps = wheels.map(|(name, path)| {
        let bytecode = bench.action(name, &[(path, "x = 1\n")]);
        let wheel = &bench.wheels[&bytecode.wheel.sha256];
        fs::write(root.join(&bytecode.wheel.file), wheel).unwrap();
        let input = Input {
            sha256: bytecode.wheel.sha256,
            size: wheel.len() as u64,
            origin: Origin::Family(bytecode.wheel.file.clone()),
        };
        let action = Action {
            format: ACTION_FORMAT,
            platform: Platform::LinuxAmd64,
            compression: Compression::default(),
            kind: Kind::Bytecode(bytecode),
        };
        Step {
            key: action.key(),
            action,
            component: ComponentId {
                kind: ComponentKind::Bundle,
                name: "a".into(),
            },
            title: name.to_owned(),
            inputs: vec![input],
            needs: Vec::new(),
        }
    });
    let plan = Plan {
        steps: steps.to_vec(),
        images: Vec::new(),
    };
    let store = Store::open(bench.directory.path().join("store")).unwrap();
    let sources = Sources::new(SourceConfig::new(BTreeMap::new()));
    let started = Mutex::new(Vec::new());
    let error = Builder {
        store: &store,
        fetcher: &Fetcher::new(FetchOptions::new(sources)).unwrap(),
        family: &FamilyFiles { root },
        options: &Options {
            jobs: 2,
            sandbox: Choice::default(),
            twice: false,
        },
        events: &|event| {
            if let Event::StepStarted { title, .. } = event {
                started.lock().unwrap().push(title);
            }
        },
        cancelled: &AtomicBool::new(false),
    }
    .steps(&plan, &[0, 1])
    .unwrap_err();
    assert!(
        matches!(&error, BuildError::Step { title, .. } if title == "full"),
        "{error:?}"
    );
    assert_eq!(started.into_inner().unwrap(), ["compile 2 wheels", "full"]);
    let known = store.results(&[plan.steps[0].key, plan.steps[1].key]);
    assert_eq!(known.unwrap().len(), 1);
}
