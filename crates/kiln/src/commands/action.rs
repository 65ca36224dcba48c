//! `kiln action exec`: any action in a fresh process, from its encoding and its inputs alone.

use std::{fs::File, io::Read, path::Path};

use bytes::Bytes;
use kiln_digest::Digest;
use kiln_plan::Action;
use serde_json::json;

use crate::{args::ActionCommand, error::Failure, exit, output::Output, whole_file};

/// No action that kiln makes comes near this.
const LARGEST_ACTION: u64 = 64 << 20;

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
    let open = |digest: &Digest| {
        let bytes = std::fs::read(inputs.join(digest.hex()))?;
        if Digest::of(&bytes) == *digest {
            return Ok(Bytes::from(bytes));
        }
        Err(std::io::Error::new(
            std::io::ErrorKind::InvalidData,
            "its content has another digest",
        ))
    };
    let summary = whole_file::write(layer, |file, directory| {
        Ok(kiln_build::execute(&action, &open, directory, file)?)
    })?;
    output.json(&json!({
        "key": action.key(), "digest": summary.digest, "size": summary.size,
        "diff_id": summary.diff_id, "unpacked_size": summary.unpacked_size,
    }));
    Ok(())
}

fn read_action(path: &Path) -> Result<Vec<u8>, Failure> {
    let mut encoded = Vec::new();
    let read = if path == Path::new("-") {
        std::io::stdin()
            .lock()
            .take(LARGEST_ACTION)
            .read_to_end(&mut encoded)
    } else {
        File::open(path).and_then(|file| file.take(LARGEST_ACTION).read_to_end(&mut encoded))
    };
    read.map_err(|error| Failure::io(&format!("reading `{}`", path.display()), &error))?;
    Ok(encoded)
}
