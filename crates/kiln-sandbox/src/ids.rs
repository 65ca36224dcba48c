//! How ids inside a sandbox map to ids outside (`user_namespaces(7)`).

use std::{
    fmt::Write as _,
    fs, io,
    path::PathBuf,
    process::{Command, Stdio},
};

use crate::{IdChoice, SandboxError, tree::Owners};

/// How many ids an image may use: Debian's and everybody's `nobody` is 65534.
const COUNT: u32 = 65536;

/// Ids in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Range {
    /// The first inside.
    pub(crate) inside: u32,
    /// The first outside.
    pub(crate) outside: u32,
    /// How many.
    pub(crate) count: u32,
}

/// Who may map what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Writer {
    /// This process, as it is privileged.
    Privileged,
    /// The set-user-id programs `newuidmap` and `newgidmap`.
    Programs,
    /// This process, its own id only.
    Own,
}

/// A mapping of ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IdMap {
    uids: Vec<Range>,
    gids: Vec<Range>,
    writer: Writer,
    /// Names the mapping in the paths of unpacked layers.
    pub(crate) label: String,
}

impl IdMap {
    /// The mappings that `choice` allows, the preferred one first.
    pub(crate) fn candidates(choice: IdChoice) -> Result<Vec<Self>, SandboxError> {
        match choice {
            IdChoice::Root => Ok(vec![Self::root()?]),
            IdChoice::Subordinate => Ok(vec![Self::subordinate()?]),
            IdChoice::Single => Ok(vec![Self::single()]),
            IdChoice::Auto => Ok([Self::root(), Self::subordinate()]
                .into_iter()
                .flatten()
                .chain([Self::single()])
                .collect()),
        }
    }

    /// Every id as it is.
    fn root() -> Result<Self, SandboxError> {
        let fails = |reason: &str| SandboxError::Ids {
            reason: reason.to_owned(),
            hint: None,
        };
        if !rustix::process::geteuid().is_root() {
            return Err(fails("this process does not run as root"));
        }
        if !(maps_all("/proc/self/uid_map") && maps_all("/proc/self/gid_map")) {
            return Err(fails("this root has fewer than 65536 ids"));
        }
        let all = vec![Range {
            inside: 0,
            outside: 0,
            count: COUNT,
        }];
        Ok(Self {
            uids: all.clone(),
            gids: all,
            writer: Writer::Privileged,
            label: "root".to_owned(),
        })
    }

    /// Id 0 is the caller, the others are the caller's subordinate ids.
    fn subordinate() -> Result<Self, SandboxError> {
        for program in ["newuidmap", "newgidmap"] {
            if find(program).is_none() {
                return Err(SandboxError::Ids {
                    reason: format!("there is no program `{program}`"),
                    hint: Some("install it (Debian: `apt-get install uidmap`)".to_owned()),
                });
            }
        }
        let (uid, gid) = caller();
        let names = names(uid);
        let uids = subordinate_range("/etc/subuid", &names)?;
        let gids = subordinate_range("/etc/subgid", &names)?;
        let map = |own, start| {
            let own = Range {
                inside: 0,
                outside: own,
                count: 1,
            };
            let others = Range {
                inside: 1,
                outside: start,
                count: COUNT - 1,
            };
            vec![own, others]
        };
        Ok(Self {
            uids: map(uid, uids),
            gids: map(gid, gids),
            writer: Writer::Programs,
            label: format!("sub-{uids}-{gids}"),
        })
    }

    /// Id 0 is the caller, and there is no other.
    fn single() -> Self {
        let (uid, gid) = caller();
        let own = |outside| {
            vec![Range {
                inside: 0,
                outside,
                count: 1,
            }]
        };
        Self {
            uids: own(uid),
            gids: own(gid),
            writer: Writer::Own,
            label: format!("single-{uid}"),
        }
    }

    /// The mapping for a program that runs as this user and group. Where ids are not as they are
    /// outside, the caller is that user: so what the program writes to volumes is the caller's.
    /// Ids above 65535, which some platforms choose, are mapped one by one.
    pub(crate) fn for_program(&self, uid: u32, gid: u32) -> Self {
        let mut map = self.clone();
        match self.writer {
            Writer::Privileged => {
                for (ranges, id) in [(&mut map.uids, uid), (&mut map.gids, gid)] {
                    if id >= COUNT {
                        ranges.push(Range {
                            inside: id,
                            outside: id,
                            count: 1,
                        });
                    }
                }
            }
            Writer::Own => {
                map.uids[0].inside = uid;
                map.gids[0].inside = gid;
            }
            Writer::Programs if uid == 0 && gid == 0 => {}
            Writer::Programs => {
                map.uids = keep(&self.uids, uid);
                map.gids = keep(&self.gids, gid);
                // The owners of unpacked files are other ids outside.
                map.label = format!("{}-as-{uid}-{gid}", self.label);
            }
        }
        map
    }

    /// How owners are kept under this mapping.
    pub(crate) fn owners(&self) -> Owners {
        match self.writer {
            Writer::Privileged | Writer::Programs => Owners::Mapped,
            Writer::Own => Owners::Recorded,
        }
    }

    /// Gives the process, which has just entered a user namespace, its ids.
    pub(crate) fn write(&self, process: u32) -> Result<(), SandboxError> {
        match self.writer {
            Writer::Privileged | Writer::Own => {
                self.write_files(process)
                    .map_err(|error| SandboxError::Ids {
                        reason: error.to_string(),
                        hint: None,
                    })
            }
            Writer::Programs => {
                map_by("newuidmap", process, &self.uids)?;
                map_by("newgidmap", process, &self.gids)
            }
        }
    }

    fn write_files(&self, process: u32) -> io::Result<()> {
        // One `write` call has to hold the whole map.
        fs::write(format!("/proc/{process}/uid_map"), lines(&self.uids))?;
        if self.writer == Writer::Own {
            // Without privileges the kernel asks for this before it takes a map of groups.
            fs::write(format!("/proc/{process}/setgroups"), "deny")?;
        }
        fs::write(format!("/proc/{process}/gid_map"), lines(&self.gids))
    }
}

/// A mapping of the caller (the first range) to `id`, and of the caller's subordinate ids (the
/// second range) to all others.
fn keep(ranges: &[Range], id: u32) -> Vec<Range> {
    let [own, others] = ranges else {
        return ranges.to_vec();
    };
    let below = id.min(others.count);
    let parts = [
        Range {
            inside: 0,
            outside: others.outside,
            count: below,
        },
        Range { inside: id, ..*own },
        Range {
            inside: id.saturating_add(1),
            outside: others.outside + below,
            count: others.count - below,
        },
    ];
    parts.into_iter().filter(|part| part.count > 0).collect()
}

fn caller() -> (u32, u32) {
    (
        rustix::process::geteuid().as_raw(),
        rustix::process::getegid().as_raw(),
    )
}

fn lines(ranges: &[Range]) -> String {
    let mut lines = String::new();
    for range in ranges {
        // Writing to a string does not fail.
        let _ = writeln!(lines, "{} {} {}", range.inside, range.outside, range.count);
    }
    lines
}

/// Whether the user namespace of this process has all ids that a sandbox needs.
fn maps_all(file: &str) -> bool {
    let Ok(text) = fs::read_to_string(file) else {
        return false;
    };
    text.lines().any(|line| {
        let mut numbers = line.split_whitespace().map(str::parse::<u32>);
        let (Some(Ok(0)), Some(Ok(_)), Some(Ok(count))) =
            (numbers.next(), numbers.next(), numbers.next())
        else {
            return false;
        };
        count >= COUNT
    })
}

/// The start of the first range in a file of subordinate ids (`subuid(5)`) that is large enough.
fn subordinate_range(file: &str, names: &[String]) -> Result<u32, SandboxError> {
    let text = fs::read_to_string(file).unwrap_or_default();
    find_range(&text, names).ok_or_else(|| SandboxError::Ids {
        reason: format!("`{file}` gives this user no range of 65535 ids"),
        hint: Some(
            "root can give one: `usermod --add-subuids 100000-165535 --add-subgids \
             100000-165535 USER`"
                .to_owned(),
        ),
    })
}

fn find_range(text: &str, names: &[String]) -> Option<u32> {
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, start, count) = (fields.next()?, fields.next()?, fields.next()?);
        let start: u32 = start.trim().parse().ok()?;
        let count: u32 = count.trim().parse().ok()?;
        let fits = count >= COUNT - 1 && start.checked_add(COUNT - 1).is_some();
        (fits && names.iter().any(|known| known == name)).then_some(start)
    })
}

/// How `/etc/subuid` may call a user: by number and by name.
fn names(uid: u32) -> Vec<String> {
    let number = uid.to_string();
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == number).then(|| name.to_owned())
    });
    name.into_iter().chain([number]).collect()
}

/// A program on the `PATH`.
fn find(program: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|directory| directory.join(program))
        .find(|path| path.is_file())
}

fn map_by(program: &str, process: u32, ranges: &[Range]) -> Result<(), SandboxError> {
    let mut command = Command::new(program);
    command.arg(process.to_string());
    for range in ranges {
        for number in [range.inside, range.outside, range.count] {
            command.arg(number.to_string());
        }
    }
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(SandboxError::io(format!("`{program}` could not be run")))?;
    if output.status.success() {
        return Ok(());
    }
    Err(SandboxError::Ids {
        reason: format!(
            "`{program}` refused: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        ),
        hint: Some(format!(
            "`{program}` must be owned by root and have the set-user-id bit"
        )),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_found_by_name_or_number_if_it_is_large_enough() {
        let text = "other:100000:65536\nme:5000:100\n1000:200000:65536\nme:300000:65535\n";
        let of = |names: &[&str]| {
            let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
            find_range(text, &names)
        };
        assert_eq!(of(&["me"]), Some(300_000));
        assert_eq!(of(&["me", "1000"]), Some(200_000));
        assert_eq!(of(&["you"]), None);
        assert_eq!(
            find_range("me:4294967000:65536\nme:x:y\nme\n", &["me".to_owned()]),
            None
        );
    }

    #[test]
    fn the_caller_can_be_any_user_inside() {
        let range = |inside, outside, count| Range {
            inside,
            outside,
            count,
        };
        let ranges = [range(0, 1000, 1), range(1, 100_000, 65535)];
        assert_eq!(
            keep(&ranges, 1001),
            [
                range(0, 100_000, 1001),
                range(1001, 1000, 1),
                range(1002, 101_001, 64534),
            ]
        );
        assert_eq!(keep(&ranges, 0), ranges);
        assert_eq!(
            keep(&ranges, 1_000_660_000),
            [range(0, 100_000, 65535), range(1_000_660_000, 1000, 1)]
        );
    }

    #[test]
    fn a_map_is_written_as_the_kernel_reads_it() {
        let ranges = [
            Range {
                inside: 0,
                outside: 1000,
                count: 1,
            },
            Range {
                inside: 1,
                outside: 100_000,
                count: 65535,
            },
        ];
        assert_eq!(lines(&ranges), "0 1000 1\n1 100000 65535\n");
    }
}
