//! Comparing what two views have at one path.

use std::{
    fs::File,
    io::{self, Read as _},
};

use super::{
    TreeError, capability,
    view::{Forest, Node, NodeKind},
};

/// Whether a path is not the same in two views.
pub(super) fn differ(
    forest: &Forest<'_>,
    path: &[u8],
    now: Option<&Node>,
    before: Option<&Node>,
) -> Result<bool, TreeError> {
    let (Some(now), Some(before)) = (now, before) else {
        return Ok(now.is_some() != before.is_some());
    };
    let same_owner = now.owner == before.owner;
    let same_mode = now.mode == before.mode;
    Ok(match (&now.kind, &before.kind) {
        (NodeKind::Directory(_), NodeKind::Directory(_)) => !same_owner || !same_mode,
        _ if now.root == before.root => false,
        (NodeKind::Symlink, NodeKind::Symlink) => {
            !same_owner || forest.link(now.root, path)? != forest.link(before.root, path)?
        }
        (NodeKind::File, NodeKind::File) => {
            if !same_owner || !same_mode || now.size != before.size {
                return Ok(true);
            }
            let [mut now, mut before] = [
                forest.file(now.root, path)?,
                forest.file(before.root, path)?,
            ];
            let mut compare = || {
                let same = capability::get(&now)? == capability::get(&before)?;
                Ok(!same || !same_content(&mut now, &mut before)?)
            };
            compare().map_err(TreeError::file("compare", path))?
        }
        _ => true,
    })
}

fn same_content(a: &mut File, b: &mut File) -> io::Result<bool> {
    const AT_ONCE: u64 = 256 << 10;
    let (mut left, mut right) = (Vec::new(), Vec::new());
    loop {
        left.clear();
        right.clear();
        a.take(AT_ONCE).read_to_end(&mut left)?;
        b.take(AT_ONCE).read_to_end(&mut right)?;
        if left != right {
            return Ok(false);
        }
        if left.is_empty() {
            return Ok(true);
        }
    }
}
