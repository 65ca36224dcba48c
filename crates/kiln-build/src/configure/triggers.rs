//! What unpacking does besides writing files. File triggers: deb-triggers(5), and dpkg's
//! `triggers/File`.

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

/// The directories that get files when `paths` are unpacked. Of the paths, those that others are
/// below are directories.
pub(super) fn changed_directories<'a>(
    paths: impl IntoIterator<Item = &'a str>,
) -> BTreeSet<&'a str> {
    let paths: BTreeSet<&str> = paths.into_iter().collect();
    let parent = |path: &'a str| path.rsplit_once('/').map(|(parent, _)| parent);
    let directories: BTreeSet<&str> = paths.iter().filter_map(|path| parent(path)).collect();
    let files = paths.iter().filter(|path| !directories.contains(*path));
    files
        .filter_map(|path| parent(path))
        .filter(|directory| !directory.is_empty())
        .collect()
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

    #[test]
    fn directories_of_files_change() {
        let paths = [
            "/.",
            "/usr",
            "/usr/bin",
            "/usr/bin/x",
            "/usr/share",
            "/usr/share/y",
        ];
        let changed: Vec<_> = changed_directories(paths).into_iter().collect();
        assert_eq!(changed, ["/usr/bin", "/usr/share"]);
    }
}
