//! Packages, the Python tree and files of the family → the entries of a layer.

use std::collections::BTreeMap;

use bytes::Bytes;
use kiln_layer::{
    Contribution, DirectoryMetadata, Entry, EntryKind, EntryPath, EntryPathError, OwnedTree,
    ParentPolicy, Payload, REPRODUCIBLE_MTIME, merge,
};
use kiln_package::{
    deb::{self, DebError, UsrMerge},
    wheel,
};
use kiln_plan::{Archive, DebDatabase, Files, PackDebs, PackWheels, PlacedFile, Placement, Venv};
use rayon::prelude::*;

use crate::execute::{Context, ExecuteError, OpenInput, read};

/// The files of Debian packages.
pub(super) fn debs(pack: &PackDebs, context: &Context<'_>) -> Result<Vec<Entry>, ExecuteError> {
    let usr_merge = UsrMerge(pack.usr_merge.clone());
    let packages = each_deb(&pack.debs, context.open, |bytes, file| {
        deb::read(bytes, file, &usr_merge, context.spool)
    })?;
    let mut contributions: Vec<_> = packages
        .into_iter()
        .map(|deb| Contribution {
            package: deb.facts.name,
            entries: deb.entries,
        })
        .collect();
    if pack.links {
        contributions.push(Contribution {
            package: "usr-merge".into(),
            entries: deb::usr_merge_links(&usr_merge),
        });
    }
    let winners = winners(&pack.winners)?;
    Ok(merge(contributions, &winners, &ParentPolicy::default())?)
}

/// dpkg's database of packages that are unpacked and not configured.
pub(super) fn deb_database(
    database: &DebDatabase,
    context: &Context<'_>,
) -> Result<Vec<Entry>, ExecuteError> {
    let usr_merge = UsrMerge(database.usr_merge.clone());
    let facts = each_deb(&database.debs, context.open, |bytes, file| {
        deb::read_facts(bytes, file, &usr_merge, context.spool)
    })?;
    let entries = deb::unpacked_database(&facts.iter().collect::<Vec<_>>());
    alone("dpkg database", entries, &ParentPolicy::default())
}

/// The Python tree without packages.
pub(super) fn venv(venv: &Venv) -> Result<Vec<Entry>, ExecuteError> {
    let parents = parents(&venv.placement)?;
    alone("Python tree", venv_entries(venv)?, &parents)
}

/// The files of wheels.
pub(super) fn wheels(pack: &PackWheels, context: &Context<'_>) -> Result<Vec<Entry>, ExecuteError> {
    let placement = wheel_placement(&pack.placement)?;
    let contributions = pack
        .wheels
        .par_iter()
        .map(|archive| {
            let bytes = read(archive, context.open)?;
            let file = &archive.file;
            let entries =
                wheel::entries(&bytes, file, &placement).map_err(|source| ExecuteError::Wheel {
                    file: file.clone(),
                    source,
                })?;
            let package = file.split('-').next().unwrap_or(file).to_owned();
            Ok(Contribution { package, entries })
        })
        .collect::<Result<Vec<_>, ExecuteError>>()?;
    let (winners, parents) = (winners(&pack.winners)?, parents(&pack.placement)?);
    Ok(merge(contributions, &winners, &parents)?)
}

/// Files of the family.
pub(super) fn files(files: &Files, context: &Context<'_>) -> Result<Vec<Entry>, ExecuteError> {
    let parents = parents(&files.placement)?;
    alone("family files", file_entries(files, context.open)?, &parents)
}

/// The entries of one contributor, with their parents.
fn alone(
    package: &str,
    entries: Vec<Entry>,
    parents: &ParentPolicy,
) -> Result<Vec<Entry>, ExecuteError> {
    let contribution = Contribution {
        package: package.to_owned(),
        entries,
    };
    Ok(merge(vec![contribution], &BTreeMap::new(), parents)?)
}

/// Reads Debian packages side by side.
pub(crate) fn each_deb<T: Send>(
    archives: &[Archive],
    open: &OpenInput<'_>,
    read_one: impl Fn(Bytes, &str) -> Result<T, DebError> + Sync,
) -> Result<Vec<T>, ExecuteError> {
    archives
        .par_iter()
        .map(|archive| {
            let file = &archive.file;
            read_one(read(archive, open)?, file).map_err(|source| ExecuteError::Deb {
                file: file.clone(),
                source,
            })
        })
        .collect()
}

fn winners(
    winners: &BTreeMap<String, String>,
) -> Result<BTreeMap<EntryPath, String>, EntryPathError> {
    winners
        .iter()
        .map(|(path, package)| Ok((relative(path)?, package.clone())))
        .collect()
}

/// An absolute path of an image as a path in a layer.
pub(crate) fn relative(path: &str) -> Result<EntryPath, EntryPathError> {
    EntryPath::new(path.strip_prefix('/').unwrap_or(path))
}

/// Who owns directories that no package lists: the family's user in the Python tree, else root.
pub(crate) fn parents(placement: &Placement) -> Result<ParentPolicy, EntryPathError> {
    let Placement { uid, gid, .. } = *placement;
    let directory = DirectoryMetadata {
        mode: DIRECTORY_MODE,
        uid,
        gid,
    };
    let tree = OwnedTree {
        prefix: relative(&placement.prefix)?,
        directory,
    };
    Ok(ParentPolicy {
        trees: vec![tree],
        ..ParentPolicy::default()
    })
}

/// Group-writable, because arbitrary-UID platforms run containers as a random user in group 0.
const DIRECTORY_MODE: u32 = 0o775;
const FILE_MODE: u32 = 0o664;
const EXECUTABLE_MODE: u32 = 0o775;

pub(crate) fn wheel_placement(placement: &Placement) -> Result<wheel::Placement, EntryPathError> {
    Ok(wheel::Placement {
        prefix: relative(&placement.prefix)?,
        python: (placement.python.major, placement.python.minor),
        uid: placement.uid,
        gid: placement.gid,
        directory_mode: DIRECTORY_MODE,
        file_mode: FILE_MODE,
        executable_mode: EXECUTABLE_MODE,
    })
}

fn venv_entries(venv: &Venv) -> Result<Vec<Entry>, ExecuteError> {
    let mut entries =
        wheel::venv(&wheel_placement(&venv.placement)?, &venv.executable).map_err(|source| {
            ExecuteError::Wheel {
                file: "the Python tree".into(),
                source,
            }
        })?;
    let home = relative(&venv.home)?;
    if !entries.iter().any(|entry| entry.path == home) {
        entries.push(Entry {
            path: home,
            kind: EntryKind::Directory,
            mode: DIRECTORY_MODE,
            uid: venv.placement.uid,
            gid: venv.placement.gid,
            mtime: REPRODUCIBLE_MTIME,
            capability: None,
        });
    }
    Ok(entries)
}

fn file_entries(files: &Files, open: &OpenInput<'_>) -> Result<Vec<Entry>, ExecuteError> {
    let entry = |file: &PlacedFile| {
        let archive = Archive {
            file: file.to.clone(),
            sha256: file.sha256,
        };
        Ok(Entry {
            path: relative(&file.to)?,
            kind: EntryKind::File(Payload::Plain(read(&archive, open)?)),
            mode: file.mode,
            uid: file.uid,
            gid: file.gid,
            mtime: REPRODUCIBLE_MTIME,
            capability: None,
        })
    };
    let whiteout = |path: &String| {
        Ok(Entry {
            path: relative(path)?,
            kind: EntryKind::Whiteout,
            mode: 0,
            uid: 0,
            gid: 0,
            mtime: REPRODUCIBLE_MTIME,
            capability: None,
        })
    };
    let placed = files.files.iter().map(entry);
    placed.chain(files.removed.iter().map(whiteout)).collect()
}
