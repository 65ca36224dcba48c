//! `kiln action exec`: any action in a fresh process, from its encoding and its inputs alone.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read, Write},
    path::{Path, PathBuf},
    sync::OnceLock,
};

use bytes::Bytes;
use kiln_build::{Context, ExecuteError, Found, Summary};
use kiln_digest::{Digest, Hasher};
use kiln_plan::Action;
use kiln_sandbox::{LayerBlob, Sandbox};
use kiln_store::ActionResult;
use serde_json::json;

use crate::{
    args::ActionCommand, error::Failure, exit, interrupt, output::Output, sandbox, whole_file,
};

/// No action that kiln makes comes near this.
const LARGEST_ACTION: u64 = 64 << 20;

/// The file among the inputs that says what other actions gave, in the form of the store's log.
const RESULTS: &str = "results";

pub(crate) fn run(args: &ActionCommand, output: &Output) -> Result<(), Failure> {
    let ActionCommand::Exec {
        action,
        inputs,
        layer,
    } = args;
    let encoded = read_action(action)?;
    let action: Action = serde_json::from_slice(&encoded).map_err(|error| Failure {
        causes: vec![error.to_string()],
        ..Failure::new(
            exit::USAGE,
            format!("`{}` is not an action", action.display()),
        )
    })?;
    let inputs = Inputs::open(inputs)?;
    let summary = whole_file::write(layer, |file, directory| {
        execute(&action, &inputs, directory, file, output)
    })?;
    let result = kiln_build::result(&summary, action.compression);
    let key = action.key();
    let record = result.record(&key);
    output.json(&match result {
        ActionResult::Layer(layer) => json!({
            "key": key, "digest": layer.digest, "size": layer.size,
            "diff_id": layer.diff_id, "unpacked_size": layer.unpacked_size, "record": record,
        }),
        ActionResult::Blob { digest, size } => {
            json!({"key": key, "digest": digest, "size": size, "record": record})
        }
    });
    Ok(())
}

/// Carries out the action. Layers that it runs in are unpacked in a directory of its own below
/// `directory`, which is gone afterwards.
fn execute(
    action: &Action,
    inputs: &Inputs,
    directory: &Path,
    out: &mut File,
    output: &Output,
) -> Result<Summary, Failure> {
    let rootfs = tempfile::Builder::new()
        .prefix(".kiln.")
        .tempdir_in(directory)
        .map_err(|error| Failure::io(&format!("using `{}`", directory.display()), &error))?;
    let choice = sandbox::choice()?;
    let opened: OnceLock<Sandbox> = OnceLock::new();
    let sandbox = || match opened.get() {
        Some(sandbox) => Ok(sandbox),
        None => Sandbox::open(rootfs.path(), choice).map(|it| opened.get_or_init(|| it)),
    };
    let context = Context {
        open: &|digest| inputs.read(digest),
        path: &|digest| inputs.verified(digest),
        result: &|key| inputs.result(key),
        unpacked: &|_| None,
        spool: directory,
        sandbox: &sandbox,
        output: &|bytes| show(bytes, output),
        cancelled: &interrupt::flag(),
    };
    let done = kiln_build::execute(action, &context, out);
    if let Some(sandbox) = opened.get() {
        sandbox.clear()?;
    }
    Ok(done?)
}

/// What commands print goes where what is not a result goes, when the user wants to know.
fn show(bytes: &[u8], output: &Output) {
    if output.verbosity > 0 {
        let _ = io::stderr().lock().write_all(bytes);
    }
}

/// A directory of files that are named by their digests.
struct Inputs {
    directory: PathBuf,
    /// What other actions gave.
    results: BTreeMap<Digest, ActionResult>,
}

impl Inputs {
    fn open(directory: &Path) -> Result<Self, Failure> {
        // The sandbox, for one, has another working directory.
        let directory = directory
            .canonicalize()
            .map_err(|error| Failure::io(&format!("opening `{}`", directory.display()), &error))?;
        let log = match std::fs::read(directory.join(RESULTS)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            read => read.map_err(|error| Failure::io("reading the results", &error))?,
        };
        let results = ActionResult::parse_log(&log);
        Ok(Self { directory, results })
    }

    fn read(&self, digest: &Digest) -> io::Result<Bytes> {
        let bytes = std::fs::read(self.directory.join(digest.hex()))?;
        if Digest::of(&bytes) == *digest {
            return Ok(Bytes::from(bytes));
        }
        Err(other_content())
    }

    /// The path of a file whose content is what its name says.
    fn verified(&self, digest: &Digest) -> io::Result<PathBuf> {
        let path = self.directory.join(digest.hex());
        let mut file = File::open(&path)?;
        let mut hasher = Hasher::new();
        let mut buffer = vec![0; 1 << 20];
        loop {
            match file.read(&mut buffer)? {
                0 => break,
                length => hasher.update(&buffer[..length]),
            }
        }
        if hasher.finish() == *digest {
            return Ok(path);
        }
        Err(other_content())
    }

    fn result(&self, key: &Digest) -> Result<Found, ExecuteError> {
        let result = self.results.get(key).ok_or(ExecuteError::NoResult(*key))?;
        let (digest, _) = result.blob();
        let path = self
            .verified(&digest)
            .map_err(|source| ExecuteError::Input {
                what: "a result".to_owned(),
                digest,
                source,
            })?;
        Ok(match result {
            ActionResult::Layer(layer) => Found::Layer(LayerBlob {
                diff_id: layer.diff_id,
                path,
            }),
            ActionResult::Blob { .. } => Found::Blob(path),
        })
    }
}

fn other_content() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "its content has another digest")
}

fn read_action(path: &Path) -> Result<Vec<u8>, Failure> {
    let mut encoded = Vec::new();
    let read = if path == Path::new("-") {
        io::stdin()
            .lock()
            .take(LARGEST_ACTION)
            .read_to_end(&mut encoded)
    } else {
        File::open(path).and_then(|file| file.take(LARGEST_ACTION).read_to_end(&mut encoded))
    };
    read.map_err(|error| Failure::io(&format!("reading `{}`", path.display()), &error))?;
    Ok(encoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs(files: &[(&str, &[u8])]) -> (tempfile::TempDir, Inputs) {
        let directory = tempfile::tempdir().unwrap();
        for (name, content) in files {
            std::fs::write(directory.path().join(name), content).unwrap();
        }
        let inputs = Inputs::open(directory.path()).unwrap();
        (directory, inputs)
    }

    #[test]
    fn an_input_is_what_its_name_says() {
        let digest = Digest::of(b"whole");
        let (_directory, inputs) = inputs(&[(&digest.hex(), b"whole")]);
        assert_eq!(inputs.read(&digest).unwrap(), &b"whole"[..]);
        let path = inputs.verified(&digest).unwrap();
        std::fs::write(path, b"other").unwrap();
        let invalid = io::ErrorKind::InvalidData;
        assert_eq!(inputs.read(&digest).unwrap_err().kind(), invalid);
        assert_eq!(inputs.verified(&digest).unwrap_err().kind(), invalid);
    }

    #[test]
    fn the_result_of_another_action_is_found_by_its_record_and_verified() {
        let (key, digest) = (Digest::of(b"action"), Digest::of(b"blob"));
        let record = ActionResult::Blob { digest, size: 4 }.record(&key);
        let files: [(&str, &[u8]); 2] = [(RESULTS, record.as_bytes()), (&digest.hex(), b"blob")];
        let (directory, inputs) = inputs(&files);
        let Found::Blob(path) = inputs.result(&key).unwrap() else {
            panic!("the result is a blob");
        };
        assert_eq!(std::fs::read(path).unwrap(), b"blob");
        let unknown = inputs.result(&digest);
        assert!(matches!(unknown, Err(ExecuteError::NoResult(key)) if key == digest));
        std::fs::write(directory.path().join(digest.hex()), b"blub").unwrap();
        assert!(matches!(
            inputs.result(&key),
            Err(ExecuteError::Input { .. })
        ));
    }
}
