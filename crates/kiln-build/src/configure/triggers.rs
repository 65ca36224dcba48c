//! File triggers: deb-triggers(5), and dpkg's `triggers/File`.

use std::collections::BTreeSet;

/// The file triggers that the unpacking of files activates: `interests` is `triggers/File` of the
/// system to which they come, lines of a path and the package that wants to know of changes at or
/// below it; `paths` are the files, as their packages spell them.
pub(super) fn activated<'a>(
    interests: &'a str,
    paths: impl IntoIterator<Item = &'a str>,
) -> BTreeSet<&'a str> {
    let wanted: BTreeSet<&str> = interests
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(path, _)| path)
        .collect();
    let mut activated = BTreeSet::new();
    for path in paths {
        let ends = path.match_indices('/').map(|(end, _)| end);
        for prefix in ends.skip(1).chain([path.len()]).map(|end| &path[..end]) {
            if let Some(trigger) = wanted.get(prefix) {
                activated.insert(*trigger);
            }
        }
    }
    activated
}

/// The content of `triggers/Unincorp` that has dpkg run those triggers. Nobody waits for them:
/// all packages are configured before anybody asks.
pub(super) fn unincorporated(activated: &BTreeSet<&str>) -> String {
    activated.iter().flat_map(|path| [path, " -\n"]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_activates_triggers_at_it_and_above_it_only() {
        let interests = "/usr/share/man man-db/noawait\n/usr/share/fonts fontconfig\n\
                         /etc/init.d/x y\n/usr/share/ma other\n";
        let paths = [
            "/.",
            "/usr/share/man/man1/a.1.gz",
            "/usr/share/fontsy",
            "/etc/init.d/x",
        ];
        let activated = activated(interests, paths);
        assert_eq!(
            unincorporated(&activated),
            "/etc/init.d/x -\n/usr/share/man -\n"
        );
    }
}
