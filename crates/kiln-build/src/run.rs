//! `run`: a command of the family, and what it changes.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{File, Permissions},
    io::{self, Write as _},
    os::unix::fs::PermissionsExt as _,
    time::{Duration, UNIX_EPOCH},
};

use kiln_digest::Digest;
use kiln_layer::{
    Contribution, DirectoryMetadata, Entry, EntryPath, LayerRecord, ParentPolicy,
    REPRODUCIBLE_MTIME, ReadError, ReadLimits, RecordKind, merge, read_layer,
};
use kiln_plan::{MountedArtifact, Run};
use kiln_sandbox::{Bind, Command, Job, LayerBlob, Limits, Step};
use tempfile::NamedTempFile;

use crate::execute::{Context, ExecuteError};

/// What the command of `run` changes in the layers below it.
pub(crate) fn entries(run: &Run, context: &Context<'_>) -> Result<Vec<Entry>, ExecuteError> {
    let artifacts = artifacts(run, context)?;
    let variable = |text: &String| {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        (name.to_owned(), value.to_owned())
    };
    let command = Command {
        argv: run.command.clone(),
        env: run.env.iter().map(variable).collect(),
        cwd: run.cwd.clone(),
        uid: run.uid,
        gid: run.gid,
        // What the images' user makes stays writable for the group, as the rest of its tree.
        umask: if run.uid == 0 { 0o022 } else { 0o002 },
    };
    let job = Job {
        layers: context.layers(&run.layers)?,
        compare: None,
        binds: artifacts.iter().map(|(bind, _)| bind.clone()).collect(),
        steps: vec![Step::Run(command)],
        limits: Limits::default(),
        capture: Vec::new(),
    };
    let entries = context.run(&job)?;
    let parents = ParentPolicy {
        trees: Vec::new(),
        table: directories_above(&entries, &job.layers)?,
    };
    let contribution = Contribution {
        package: "command of the family".to_owned(),
        entries,
    };
    Ok(merge(vec![contribution], &BTreeMap::new(), &parents)?)
}

/// Owner and mode, in the layers below, of every directory above an entry that is no entry itself:
/// a command may write anywhere, and must change no directory that it did not change.
fn directories_above(
    entries: &[Entry],
    layers: &[LayerBlob],
) -> Result<BTreeMap<EntryPath, DirectoryMetadata>, ExecuteError> {
    let mut wanted = BTreeSet::new();
    for entry in entries {
        let mut next = entry.path.parent();
        while let Some(directory) = next {
            next = directory.parent();
            if !wanted.insert(directory) {
                break;
            }
        }
    }
    let mut found = BTreeMap::new();
    // The topmost layer that lists a directory decides, and a layer lists all above its entries.
    for layer in layers.iter().rev() {
        find_directories(layer, &mut wanted, &mut found).map_err(|source| ExecuteError::Input {
            what: "a layer below".to_owned(),
            digest: layer.diff_id,
            source,
        })?;
    }
    Ok(found)
}

/// Moves from `wanted` what the layer lists. Reads no further than that needs.
fn find_directories(
    layer: &LayerBlob,
    wanted: &mut BTreeSet<EntryPath>,
    found: &mut BTreeMap<EntryPath, DirectoryMetadata>,
) -> io::Result<()> {
    let is_past = |path: &EntryPath, wanted: &BTreeSet<EntryPath>| {
        wanted.last().is_none_or(|last| path > last)
    };
    if wanted.is_empty() {
        return Ok(());
    }
    let mut enough = false;
    let visit = |record: &LayerRecord, _: &mut dyn io::Read| {
        if is_past(&record.path, wanted) {
            enough = true;
            return Err(io::Error::other("no further"));
        }
        if record.kind == RecordKind::Directory
            && let Some(path) = wanted.take(&record.path)
        {
            let LayerRecord { mode, uid, gid, .. } = *record;
            found.insert(path, DirectoryMetadata { mode, uid, gid });
        }
        Ok(())
    };
    match read_layer(File::open(&layer.path)?, ReadLimits::default(), visit) {
        Err(_) if enough => Ok(()),
        Err(ReadError::Io(error)) => Err(error),
        Err(error) => Err(io::Error::new(io::ErrorKind::InvalidData, error)),
        Ok(_) => Ok(()),
    }
}

/// A copy of each artifact, which lives as long as what is returned with it. Whose the file on this
/// machine is, who may read it and when it was written is none of the command's business, and
/// would be seen through a mount of the file itself.
fn artifacts(run: &Run, context: &Context<'_>) -> Result<Vec<(Bind, NamedTempFile)>, ExecuteError> {
    let copy = |digest: &Digest| -> io::Result<NamedTempFile> {
        let bytes = (context.open)(digest)?;
        let mut copy = NamedTempFile::new_in(context.spool)?;
        copy.write_all(&bytes)?;
        let file = copy.as_file();
        file.set_permissions(Permissions::from_mode(0o444))?;
        file.set_modified(UNIX_EPOCH + Duration::from_secs(REPRODUCIBLE_MTIME.unsigned_abs()))?;
        Ok(copy)
    };
    let bind = |artifact: &MountedArtifact| {
        let copy = copy(&artifact.sha256).map_err(|source| ExecuteError::Input {
            what: artifact.to.clone(),
            digest: artifact.sha256,
            source,
        })?;
        let bind = Bind {
            source: copy.path().to_owned(),
            target: artifact.to.clone(),
        };
        Ok((bind, copy))
    };
    run.artifacts.iter().map(bind).collect()
}

#[cfg(test)]
mod tests {
    use kiln_layer::{Compression, EntryKind, write_layer};

    use super::*;

    fn entry(path: &str, kind: EntryKind, metadata: (u32, u32, u32)) -> Entry {
        let (mode, uid, gid) = metadata;
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

    fn layer(dir: &tempfile::TempDir, name: &str, directories: &[(&str, u32, u32)]) -> LayerBlob {
        let entries: Vec<_> = directories
            .iter()
            .map(|&(path, mode, uid)| entry(path, EntryKind::Directory, (mode, uid, 0)))
            .collect();
        let path = dir.path().join(name);
        let mut file = File::create(&path).unwrap();
        let summary = write_layer(&entries, Compression::Gzip, &mut file).unwrap();
        let diff_id = summary.diff_id;
        LayerBlob { diff_id, path }
    }

    fn above(entries: &[Entry], layers: &[LayerBlob]) -> Vec<(String, u32, u32)> {
        let found = directories_above(entries, layers).unwrap().into_iter();
        let line = |(path, it): (EntryPath, DirectoryMetadata)| {
            let path = String::from_utf8(path.as_bytes().to_vec()).unwrap();
            (path, it.mode, it.uid)
        };
        found.map(line).collect()
    }

    #[test]
    fn directories_above_a_change_are_as_the_topmost_layer_has_them() {
        let dir = tempfile::tempdir().unwrap();
        let lower = [
            ("opt", 0o755, 0),
            ("opt/app", 0o755, 0),
            ("var", 0o755, 0),
            ("var/data", 0o750, 7),
        ];
        let upper = [
            ("opt", 0o755, 0),
            ("opt/app", 0o775, 1001),
            ("srv", 0o700, 3),
        ];
        let layers = [layer(&dir, "lower", &lower), layer(&dir, "upper", &upper)];
        let changed = [
            entry("opt/app/x", EntryKind::Whiteout, (0, 0, 0)),
            entry("var/data/a/b", EntryKind::Directory, (0o755, 0, 0)),
        ];
        let expected = [
            ("opt".to_owned(), 0o755, 0),
            ("opt/app".to_owned(), 0o775, 1001),
            ("var".to_owned(), 0o755, 0),
            ("var/data".to_owned(), 0o750, 7),
        ];
        assert_eq!(above(&changed, &layers), expected);
        assert_eq!(above(&[], &layers), []);
    }

    #[test]
    fn a_layer_below_that_is_damaged_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let layer = layer(&dir, "layer", &[("opt", 0o755, 0)]);
        std::fs::write(&layer.path, b"no layer").unwrap();
        let changed = [entry("opt/x", EntryKind::Whiteout, (0, 0, 0))];
        assert!(directories_above(&changed, &[layer]).is_err());
    }
}
