//! Diversions that hit the package that makes them: dpkg-divert(1).
//!
//! A package that takes the place of another's file diverts it in its `preinst`, before its own
//! file is there. Here its own file is there already, and would be moved away. Such packages are
//! installed by dpkg itself; this module notices those that nobody knew of.

use std::collections::BTreeSet;

use kiln_layer::{Entry, EntryKind, EntryPath};
use kiln_package::deb::UsrMerge;

/// A package that moved its own file away, and the file. `diversions` is dpkg's list, three lines
/// each: the path, where it is diverted to, and by which package. `ships` tells whether a package
/// ships a path.
pub(super) fn of_own_files<'a>(
    diversions: &'a str,
    captured: &[Entry],
    merge: &UsrMerge,
    ships: impl Fn(&str, &str) -> bool,
) -> Option<(&'a str, &'a str)> {
    let removed: BTreeSet<&EntryPath> = captured
        .iter()
        .filter(|entry| matches!(entry.kind, EntryKind::Whiteout))
        .map(|entry| &entry.path)
        .collect();
    let lines: Vec<&str> = diversions.lines().collect();
    let diversions = lines.chunks_exact(3).map(|lines| (lines[2], lines[0]));
    let mut own = diversions.filter(|(package, path)| {
        let placed = EntryPath::new(path.trim_start_matches('/')).map(|path| merge.place(&path));
        placed.is_ok_and(|path| removed.contains(&path)) && ships(package, path)
    });
    own.next()
}

#[cfg(test)]
mod tests {
    use kiln_layer::REPRODUCIBLE_MTIME;

    use super::*;

    #[test]
    fn only_own_files_that_are_gone_count() {
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
        let find = |captured: &[Entry], shipped: &str| {
            of_own_files(diversions, captured, &merge, |package, path| {
                (package, path) == ("guard", shipped)
            })
        };
        let halt = [removed("usr/sbin/halt")];
        assert_eq!(find(&halt, "/sbin/halt"), Some(("guard", "/sbin/halt")));
        assert_eq!(find(&halt, "/lib/x.so"), None);
        assert_eq!(find(&[], "/sbin/halt"), None);
    }
}
