//! Diversions that hit the package that makes them: dpkg-divert(1).
//!
//! A package that takes the place of another's file diverts it in its `preinst`, before its own
//! file is there. Here its own file is there already, and would be moved away. Such packages are
//! installed by dpkg itself; this module notices those that nobody knew of.

use std::collections::BTreeSet;

use kiln_layer::{Entry, EntryKind, EntryPath};
use kiln_package::deb::UsrMerge;

/// Packages that moved a file away, and the file. `diversions` is dpkg's list, three lines each:
/// the path, where it is diverted to, and by which package.
pub(super) fn moved<'a>(
    diversions: &'a str,
    captured: &[Entry],
    merge: &UsrMerge,
) -> Vec<(&'a str, &'a str)> {
    let removed: BTreeSet<&EntryPath> = captured
        .iter()
        .filter(|entry| matches!(entry.kind, EntryKind::Whiteout))
        .map(|entry| &entry.path)
        .collect();
    let lines: Vec<&str> = diversions.lines().collect();
    let diversions = lines.chunks_exact(3).map(|lines| (lines[2], lines[0]));
    diversions
        .filter(|(_, path)| {
            let path = EntryPath::new(path.trim_start_matches('/'));
            path.is_ok_and(|path| removed.contains(&merge.place(&path)))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use kiln_layer::REPRODUCIBLE_MTIME;

    use super::*;

    #[test]
    fn only_diverted_files_that_are_gone_count() {
        let removed = |path: &str| Entry {
            path: EntryPath::new(path).unwrap(),
            kind: EntryKind::Whiteout,
            mode: 0,
            uid: 0,
            gid: 0,
            mtime: REPRODUCIBLE_MTIME,
            capability: None,
        };
        let diversions = "/lib/x.so\n/lib/x.so.orig\nguard\n/sbin/halt\n/sbin/halt.orig\nguard\n";
        let merge = UsrMerge(vec!["sbin".into()]);
        let captured = [removed("usr/sbin/halt"), removed("usr/sbin/other")];
        assert_eq!(
            moved(diversions, &captured, &merge),
            [("guard", "/sbin/halt")]
        );
        assert_eq!(moved(diversions, &[], &merge), []);
    }
}
