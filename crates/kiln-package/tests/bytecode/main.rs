//! What a real Python writes: its standard library, compiled by two processes in other orders and
//! with other hash seeds.
#![expect(
    clippy::unwrap_used,
    reason = "functions that tests call are part of the tests"
)]

use std::{
    path::Path,
    process::{Child, Command, Stdio},
};

use kiln_package::bytecode::canonical;

/// Writes the version, and then length, name and module file of each module. What it compiles
/// stays in memory, and so do its interned texts.
const SCRIPT: &str = r#"
import glob, importlib.util, marshal, os, struct, sys
step = int(sys.argv[1])
files = sorted(glob.glob(os.path.dirname(os.__file__) + "/*.py"))[::step]
files += sorted(glob.glob(os.path.dirname(os.__file__) + "/asyncio/*.py"))[::step]
kept = {}
for path in files:
    source = open(path, "rb").read()
    code = compile(source, path, "exec", dont_inherit=True)
    kept[path] = code, source
    if step < 0:
        exec(compile("class A:\n class B: pass\n def é(_): 'é'", path, "exec"), {})
out = sys.stdout.buffer
out.write(bytes(sys.version_info[:2]))
for path, (code, source) in sorted(kept.items()):
    module = importlib.util.MAGIC_NUMBER + struct.pack("<I", 1) + importlib.util.source_hash(source)
    module += marshal.dumps(code)
    out.write(struct.pack("<II", len(path), len(module)) + path.encode() + module)
"#;

fn start(order: &str, hash_seed: &str) -> Child {
    Command::new("python3")
        .args(["-W", "ignore", "-c", SCRIPT, order])
        .env("PYTHONHASHSEED", hash_seed)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// A source and its compiled form.
type Module<'a> = (&'a Path, &'a [u8]);

/// The modules, and the version of the Python that compiled them.
fn modules(output: &[u8]) -> ((u8, u8), Vec<Module<'_>>) {
    let ([major, minor], mut rest) = output.split_first_chunk().unwrap();
    let mut modules = Vec::new();
    while let Some((lengths, after)) = rest.split_first_chunk::<8>() {
        let length =
            |at: usize| u32::from_le_bytes(lengths[at..at + 4].try_into().unwrap()) as usize;
        let (path, after) = after.split_at(length(0));
        let (module, after) = after.split_at(length(4));
        modules.push((Path::new(std::str::from_utf8(path).unwrap()), module));
        rest = after;
    }
    ((*major, *minor), modules)
}

#[test]
fn the_standard_library_has_one_canonical_form() {
    let children = [start("1", "0"), start("-1", "77")];
    let outputs = children.map(|child| {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        output.stdout
    });
    let [(python, one), (_, other)] = [modules(&outputs[0]), modules(&outputs[1])];
    assert!(one.len() > 100, "{} modules", one.len());
    assert_eq!(one.len(), other.len());
    for ((path, module), (other_path, other_module)) in one.iter().zip(&other) {
        assert_eq!(path, other_path);
        let one = canonical(module, python).unwrap();
        assert_eq!(one, canonical(&one, python).unwrap(), "{}", path.display());
        let other = canonical(other_module, python).unwrap();
        assert!(one == other, "{}", path.display());
    }
}
