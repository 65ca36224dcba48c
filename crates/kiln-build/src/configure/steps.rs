//! What happens in the sandbox, as data.

use std::collections::{BTreeMap, BTreeSet};

use kiln_layer::{EntryKind, Payload};
use kiln_package::deb::{DebFacts, unpacked_onto};
use kiln_sandbox::{Command, Step};

use super::below::DATABASE;
use super::order::{Preparation, essential, preparations};

/// A set of packages to configure.
#[derive(Debug, Default)]
pub(super) struct Set<'a> {
    /// Those that are unpacked.
    pub(super) unpacked: Vec<&'a DebFacts>,
    /// Those that dpkg itself installs, and their archives as the sandbox sees them.
    pub(super) archives: Vec<(&'a DebFacts, String)>,
    /// The lists of the database below; empty for a system of its own.
    pub(super) database: BTreeMap<String, String>,
    /// The content of `triggers/Unincorp`: what the files of the set mean to the packages below.
    pub(super) activated: String,
    /// The directories of the system below that got files of the set.
    pub(super) directories: Vec<String>,
}

/// Where the archives of packages that dpkg installs are mounted.
pub(super) const ARCHIVES: &str = "/run/kiln/archives";
/// dpkg unpacks the control files of a package there, and its scripts look for each other there.
const CONTROL: &str = "/var/lib/dpkg/tmp.ci";
/// invoke-rc.d asks it whether services may be started: 101 is "no".
const POLICY: &str = "/usr/sbin/policy-rc.d";
/// Leaves triggers to the run that configures everything, as apt does: what they bring up to date
/// must see what all scripts have made, such as man-db the manuals of alternatives.
const NO_TRIGGERS: &str = "--no-triggers";
/// Says what is wrong with the database, if anything is.
const AUDIT: &str =
    r#"found=$(dpkg --audit) || exit; [ -z "$found" ] || { echo "$found"; exit 1; }"#;
/// A list of directories, and what gives them the time of now.
const DIRECTORIES: &str = "/run/kiln/directories";
const TOUCH: &str = r"xargs -d '\n' touch -c -- </run/kiln/directories";
/// apt downloads as its own user, and gives it these directories when it first runs.
const PARTIAL: &str = "install -d -m 700 -o _apt -g root /var/lib/apt/lists/partial \
                       /var/cache/apt/archives/partial";

/// What configures `set`.
pub(super) fn steps(set: &Set<'_>) -> Vec<Step> {
    let all: Vec<&DebFacts> = set
        .unpacked
        .iter()
        .copied()
        .chain(set.archives.iter().map(|(facts, _)| *facts))
        .collect();
    let mut steps = database(set);
    if !set.directories.is_empty() {
        let list = set.directories.join("\n");
        steps.push(write(DIRECTORIES, 0o644, list.into_bytes()));
        steps.push(run(&["/bin/sh", "-c", TOUCH]));
    }
    steps.push(write(POLICY, 0o755, b"#!/bin/sh\nexit 101\n".to_vec()));

    let dpkg = all.iter().find(|facts| facts.name == "dpkg");
    let version = dpkg.map(|facts| upstream(&facts.version));
    let first = if set.database.is_empty() {
        essential(&set.unpacked)
    } else {
        Vec::new()
    };
    for facts in first.iter().filter(|facts| has_preinst(facts)) {
        steps.extend(preinst(facts, version));
    }
    for facts in &first {
        steps.push(configure(facts));
    }
    let configured: BTreeSet<&str> = first.iter().map(|facts| facts.name.as_str()).collect();
    for preparation in preparations(&set.unpacked, &configured) {
        match preparation {
            Preparation::Preinst(facts) => steps.extend(preinst(facts, version)),
            Preparation::Configure(facts) => steps.push(configure(facts)),
        }
    }
    for (_, archive) in &set.archives {
        steps.push(run(&[
            "/usr/bin/dpkg",
            "--force-depends",
            NO_TRIGGERS,
            "--unpack",
            archive,
        ]));
    }
    steps.push(run(&["/usr/bin/dpkg", "--configure", "-a"]));
    steps.push(run(&["/bin/sh", "-c", AUDIT]));
    if all.iter().any(|facts| facts.name == "apt") {
        steps.push(run(&["/bin/sh", "-c", PARTIAL]));
    }
    for path in [POLICY, CONTROL] {
        steps.push(Step::Remove { path: path.into() });
    }
    if has_fontconfig(&all, &set.database) {
        // Its caches hold the times of directories.
        steps.push(Step::DirectoryTimes);
        steps.push(run(&["/usr/bin/fc-cache", "-s", "-f"]));
    }
    steps
}

/// The database of the packages below and of the unpacked ones.
fn database(set: &Set<'_>) -> Vec<Step> {
    let mut steps: Vec<Step> = unpacked_onto(&set.database, &set.unpacked)
        .into_iter()
        .filter_map(|entry| {
            let path = format!("/{}", entry.path);
            match entry.kind {
                EntryKind::Directory => Some(Step::Directory {
                    path,
                    mode: entry.mode,
                    uid: entry.uid,
                    gid: entry.gid,
                }),
                EntryKind::File(Payload::Plain(content)) => {
                    Some(write(&path, entry.mode, content.to_vec()))
                }
                _ => None,
            }
        })
        .collect();
    if !set.activated.is_empty() {
        let path = format!("/{DATABASE}triggers/Unincorp");
        steps.push(write(&path, 0o644, set.activated.clone().into_bytes()));
    }
    steps
}

/// Runs the `preinst` script of a package as dpkg does: beside the other control files, and told
/// by the variables of dpkg(1) for whom it runs.
fn preinst(facts: &DebFacts, dpkg: Option<&str>) -> Vec<Step> {
    let info = facts.info_name();
    let mut steps = vec![
        Step::Remove {
            path: CONTROL.into(),
        },
        Step::Directory {
            path: CONTROL.into(),
            mode: 0o755,
            uid: 0,
            gid: 0,
        },
    ];
    for name in &facts.control_files {
        let to = format!("{CONTROL}/{name}");
        match name.as_str() {
            "control" => steps.push(write(&to, 0o644, control(facts).into_bytes())),
            // dpkg replaces it by a list of its own.
            "list" => {}
            _ => steps.push(Step::Copy {
                from: format!("/{DATABASE}info/{info}.{name}"),
                to,
            }),
        }
    }
    let script = format!("{CONTROL}/preinst");
    let mut variables = vec![
        ("DPKG_MAINTSCRIPT_PACKAGE", facts.name.as_str()),
        ("DPKG_MAINTSCRIPT_PACKAGE_REFCOUNT", "1"),
        ("DPKG_MAINTSCRIPT_ARCH", &facts.architecture),
        ("DPKG_MAINTSCRIPT_NAME", "preinst"),
        ("DPKG_MAINTSCRIPT_DEBUG", "0"),
        ("DPKG_ADMINDIR", "/var/lib/dpkg"),
        ("DPKG_ROOT", ""),
    ];
    variables.extend(dpkg.map(|version| ("DPKG_RUNNING_VERSION", version)));
    steps.push(command(&[&script, "install"], &variables));
    steps
}

fn control(facts: &DebFacts) -> String {
    let field = |(name, value): (&str, &str)| {
        let blank = if value.starts_with('\n') { "" } else { " " };
        format!("{name}:{blank}{value}\n")
    };
    facts.control.iter().map(field).collect()
}

/// Configures one package, whatever it depends on.
fn configure(facts: &DebFacts) -> Step {
    let name = format!("{}:{}", facts.name, facts.architecture);
    // A qualified name is refused for `all`, a plain one for packages of several architectures.
    let name = if facts.architecture == "all" {
        &facts.name
    } else {
        &name
    };
    run(&[
        "/usr/bin/dpkg",
        "--force-depends",
        NO_TRIGGERS,
        "--configure",
        name,
    ])
}

fn has_preinst(facts: &DebFacts) -> bool {
    facts.control_files.iter().any(|name| name == "preinst")
}

/// A version without epoch and revision.
fn upstream(version: &str) -> &str {
    let version = version.split_once(':').map_or(version, |(_, rest)| rest);
    version.rsplit_once('-').map_or(version, |(start, _)| start)
}

fn has_fontconfig(packages: &[&DebFacts], database: &BTreeMap<String, String>) -> bool {
    let status = database.get("status").map_or("", String::as_str);
    packages.iter().any(|facts| facts.name == "fontconfig")
        || status.lines().any(|line| line == "Package: fontconfig")
}

fn write(path: &str, mode: u32, content: Vec<u8>) -> Step {
    Step::Write {
        path: path.to_owned(),
        mode,
        uid: 0,
        gid: 0,
        content,
    }
}

fn run(argv: &[&str]) -> Step {
    command(argv, &[])
}

/// A command that asks nobody anything, and whose hash tables have the same order every time.
/// `SOURCE_DATE_EPOCH` is not set: it would turn compiled Python modules into ones that are
/// checked against a hash at every start.
fn command(argv: &[&str], variables: &[(&str, &str)]) -> Step {
    let fixed = [
        ("DEBCONF_NONINTERACTIVE_SEEN", "true"),
        ("DEBIAN_FRONTEND", "noninteractive"),
        ("HOME", "/root"),
        ("LANG", "C.UTF-8"),
        ("LC_ALL", "C.UTF-8"),
        (
            "PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        ),
        ("PERL_HASH_SEED", "0"),
        ("PYTHONHASHSEED", "0"),
        ("SHELL", "/bin/sh"),
    ];
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    Step::Run(Command {
        argv: argv.iter().map(ToString::to_string).collect(),
        env: fixed.iter().chain(variables).map(owned).collect(),
        cwd: "/".into(),
        uid: 0,
        gid: 0,
        umask: 0o022,
    })
}

#[cfg(test)]
mod tests {
    use kiln_package::deb::{MultiArch, Paragraph, Triggers};

    use super::*;

    fn package(name: &str, fields: &str, control_files: &[&str]) -> DebFacts {
        DebFacts {
            name: name.to_owned(),
            version: "1:2.3-4".to_owned(),
            architecture: "amd64".to_owned(),
            multi_arch: MultiArch::No,
            control: Paragraph::parse(&format!("Package: {name}\n{fields}")).unwrap(),
            conffiles: Vec::new(),
            triggers: Triggers::default(),
            control_files: control_files.iter().map(ToString::to_string).collect(),
            built: 0,
        }
    }

    fn spoken(steps: &[Step]) -> Vec<String> {
        steps
            .iter()
            .filter_map(|step| match step {
                Step::Run(command) => Some(command.argv.join(" ")),
                Step::Copy { from, to } => Some(format!("copy {from} {to}")),
                Step::DirectoryTimes => Some("directory times".to_owned()),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn essential_packages_are_configured_before_other_scripts_run() {
        let dash = package("dash", "Essential: yes\n", &["control", "preinst"]);
        let dpkg = package("dpkg", "Essential: yes\n", &["control"]);
        let git = package("git", "", &["control", "md5sums", "preinst"]);
        let steps = steps(&Set {
            unpacked: vec![&git, &dpkg, &dash],
            ..Set::default()
        });
        let info = "/var/lib/dpkg/info";
        assert_eq!(
            spoken(&steps),
            [
                format!("copy {info}/dash.preinst {CONTROL}/preinst"),
                format!("{CONTROL}/preinst install"),
                "/usr/bin/dpkg --force-depends --no-triggers --configure dash:amd64".into(),
                "/usr/bin/dpkg --force-depends --no-triggers --configure dpkg:amd64".into(),
                format!("copy {info}/git.md5sums {CONTROL}/md5sums"),
                format!("copy {info}/git.preinst {CONTROL}/preinst"),
                format!("{CONTROL}/preinst install"),
                "/usr/bin/dpkg --configure -a".into(),
                format!("/bin/sh -c {AUDIT}"),
            ]
        );
    }

    #[test]
    fn triggers_wait_until_everything_is_configured() {
        let essential = package("dash", "Essential: yes\n", &["control"]);
        let needed = package("passwd", "", &["control"]);
        let needs = package("sshd", "Pre-Depends: passwd\n", &["control", "preinst"]);
        let guard = package("molly-guard", "", &["control"]);
        let steps = steps(&Set {
            unpacked: vec![&essential, &needed, &needs],
            archives: vec![(&guard, "/run/kiln/archives/molly-guard.deb".into())],
            ..Set::default()
        });
        let spoken = spoken(&steps);
        let runs = spoken.iter().filter(|it| it.starts_with("/usr/bin/dpkg"));
        let with_triggers: Vec<_> = runs
            .clone()
            .filter(|it| !it.contains(" --no-triggers "))
            .collect();
        assert_eq!(with_triggers, ["/usr/bin/dpkg --configure -a"]);
        assert_eq!(runs.clone().next_back(), Some(with_triggers[0]));
        assert_eq!(runs.count(), 4);
    }

    #[test]
    fn scripts_are_told_for_whom_they_run_and_nothing_of_the_clock() {
        let dpkg = package("dpkg", "Essential: yes\n", &["control", "preinst"]);
        let steps = steps(&Set {
            unpacked: vec![&dpkg],
            ..Set::default()
        });
        let env = steps.iter().find_map(|step| match step {
            Step::Run(command) => Some(command.env.clone()),
            _ => None,
        });
        let env: BTreeMap<_, _> = env.unwrap().into_iter().collect();
        assert_eq!(env["DPKG_MAINTSCRIPT_PACKAGE"], "dpkg");
        assert_eq!(env["DPKG_RUNNING_VERSION"], "2.3");
        assert_eq!(env["DEBIAN_FRONTEND"], "noninteractive");
        assert!(!env.contains_key("SOURCE_DATE_EPOCH"));
    }

    #[test]
    fn services_are_refused_and_no_trace_of_that_stays() {
        let steps = steps(&Set::default());
        let at = |wanted: fn(&Step) -> bool| steps.iter().position(wanted).unwrap();
        let made = at(|step| matches!(step, Step::Write { path, .. } if path == POLICY));
        let ran = at(|step| matches!(step, Step::Run(_)));
        let gone = at(|step| matches!(step, Step::Remove { path } if path == POLICY));
        assert!(made < ran && ran < gone);
    }

    #[test]
    fn a_delta_leaves_essential_packages_alone_and_activates_triggers() {
        let status = "Package: dpkg\nEssential: yes\n\nPackage: fontconfig\n\n";
        let zip = package("zip", "", &["control"]);
        let steps = steps(&Set {
            unpacked: vec![&zip],
            database: BTreeMap::from([("status".into(), status.into())]),
            activated: "/usr/share/fonts -\n".into(),
            ..Set::default()
        });
        let content = |wanted: &str| {
            let mut written = steps.iter().rev().filter_map(|step| match step {
                Step::Write { path, content, .. } if path == wanted => Some(content.clone()),
                _ => None,
            });
            String::from_utf8(written.next().unwrap()).unwrap()
        };
        assert!(content("/var/lib/dpkg/status").starts_with(status));
        assert_eq!(
            content("/var/lib/dpkg/triggers/Unincorp"),
            "/usr/share/fonts -\n"
        );
        assert_eq!(
            spoken(&steps),
            [
                "/usr/bin/dpkg --configure -a".to_owned(),
                format!("/bin/sh -c {AUDIT}"),
                "directory times".into(),
                "/usr/bin/fc-cache -s -f".into(),
            ]
        );
    }

    #[test]
    fn dpkg_installs_from_archives_after_the_scripts_of_the_others() {
        let git = package("git", "", &["control", "preinst"]);
        let guard = package("molly-guard", "", &["control", "preinst"]);
        let steps = steps(&Set {
            unpacked: vec![&git],
            archives: vec![(&guard, "/run/kiln/archives/molly-guard.deb".into())],
            ..Set::default()
        });
        let spoken = spoken(&steps);
        assert_eq!(
            spoken[2..4],
            [
                "/usr/bin/dpkg --force-depends --no-triggers --unpack \
                 /run/kiln/archives/molly-guard.deb",
                "/usr/bin/dpkg --configure -a",
            ]
        );
        let wrote_guard = steps.iter().any(|step| {
            matches!(step, Step::Write { path, content, .. } if path.ends_with("/status")
                && content.windows(5).any(|part| part == b"molly"))
        });
        assert!(!wrote_guard, "dpkg makes that entry itself");
    }
}
