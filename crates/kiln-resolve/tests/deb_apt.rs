//! The same question to kiln and to apt, about the archives that this host's apt knows.
//!
//! Runs with `--features online`: it reads the archives from the net. Needs `apt-get` and the
//! keyring of Debian's archives.
#![cfg(feature = "online")]
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a failed step fails the test; figures are for people"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::Command,
    time::Instant,
};

use kiln_fetch::{FetchOptions, Fetcher, SourceConfig, SourceKind, Sources};
use kiln_lock::Deb;
use kiln_recipe::{Archive, Location, OsPackage, Platform};
use kiln_resolve::deb::{Request, load, solve};
use tempfile::TempDir;

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
const BASE: &str = "python3 ca-certificates tzdata curl git less procps";

/// What stands on the base, each by itself: packages with alternatives, virtual packages (also such
/// as only one package provides), conflicts, needs of any architecture, and versions of the updates
/// and the security archive among their needs.
const TOPS: [&str; 8] = [
    "unixodbc libodbc2 fontconfig r-base default-jre-headless",
    "build-essential gfortran python3-dev python3-venv",
    "postgresql-client default-libmysqlclient-dev libgl1 libglib2.0-0",
    "texlive-xetex pandoc nodejs npm",
    "openssh-server nginx supervisor vim-nox sudo",
    "systemd-sysv dbus exim4 xvfb chromium",
    "default-mta mailutils cron logrotate",
    "xfce4 firefox-esr libreoffice-calc tigervnc-standalone-server",
];

fn sources() -> Sources {
    Sources::new(SourceConfig::new(BTreeMap::new()))
}

fn place() -> Location {
    Location {
        file: "base.toml".to_owned(),
        line: 1,
        column: 1,
    }
}

fn archives(suite: &str) -> Vec<Archive> {
    let archive = |source: &str, suite: String| Archive {
        source: source.to_owned(),
        suite,
        components: vec!["main".to_owned()],
        keyring: "debian.gpg".to_owned(),
        keyring_bytes: fs::read(KEYRING).unwrap(),
        check_valid_until: false,
        bases: Vec::new(),
        at: place(),
    };
    vec![
        archive("debian", suite.to_owned()),
        archive("debian", format!("{suite}-updates")),
        archive("debian-security", format!("{suite}-security")),
    ]
}

fn wanted(names: &str) -> Vec<OsPackage> {
    let package = |name: &str| OsPackage {
        text: name.to_owned(),
        name: name.to_owned(),
        constraint: None,
        at: place(),
    };
    names.split(' ').map(package).collect()
}

/// An apt of its own, with nothing installed.
struct Apt {
    root: TempDir,
}

impl Apt {
    fn new(suite: &str, platform: Platform) -> Self {
        let root = TempDir::new().unwrap();
        let apt = Self { root };
        for directory in [
            "etc/apt/apt.conf.d",
            "etc/apt/sources.list.d",
            "etc/apt/preferences.d",
            "etc/apt/trusted.gpg.d",
            "var/lib/apt/lists/partial",
            "var/cache/apt/archives/partial",
            "var/lib/dpkg",
            "var/log/apt",
        ] {
            fs::create_dir_all(apt.path().join(directory)).unwrap();
        }
        fs::write(apt.path().join("var/lib/dpkg/status"), "").unwrap();
        let sources = sources();
        let line = |archive: &Archive| {
            let kind = SourceKind::Deb {
                suite: archive.suite.clone(),
            };
            let address = sources
                .locate(&archive.source, &kind)
                .unwrap()
                .url
                .to_string();
            format!(
                "deb [signed-by={KEYRING}] {address} {} main\n",
                archive.suite
            )
        };
        let list: String = archives(suite).iter().map(line).collect();
        fs::write(apt.path().join("etc/apt/sources.list"), list).unwrap();
        let root = apt.path().display();
        let architecture = platform.architecture();
        let configuration = format!(
            "Dir \"{root}\";\nDir::State::status \"{root}/var/lib/dpkg/status\";\n\
             APT::Architecture \"{architecture}\";\nAPT::Architectures \"{architecture}\";\n\
             APT::Install-Recommends \"false\";\nAcquire::Languages \"none\";\n\
             Acquire::Check-Valid-Until \"false\";\nAPT::Sandbox::User \"root\";\n"
        );
        fs::write(apt.path().join("apt.conf"), configuration).unwrap();
        apt.run(&["update"]);
        apt
    }

    fn path(&self) -> &Path {
        self.root.path()
    }

    fn run(&self, arguments: &[&str]) -> String {
        let output = Command::new("apt-get")
            .env("APT_CONFIG", self.path().join("apt.conf"))
            .env("LC_ALL", "C")
            .args(arguments)
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "apt-get {arguments:?}: {stderr}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// `name version` of what apt would install, with the Essential packages.
    fn choice(&self, names: &str) -> BTreeSet<String> {
        let names: Vec<&str> = names.split(' ').collect();
        // For apt, apt itself is Essential.
        let essential = "?and(?essential, ?not(?exact-name(apt)))";
        let output = self.run(&[&["--simulate", "install", essential], &names[..]].concat());
        let choice = |line: &str| {
            let (name, rest) = line.strip_prefix("Inst ")?.split_once(" (")?;
            let (version, _) = rest.split_once(' ')?;
            Some(format!("{name} {version}"))
        };
        output.lines().filter_map(choice).collect()
    }
}

fn labels(debs: &[Deb]) -> BTreeSet<String> {
    debs.iter()
        .map(|deb| format!("{} {}", deb.name, deb.version))
        .collect()
}

/// Both choices, for the base and for each top on it; what differs, both ways.
fn differences(suite: &str, platform: Platform, tops: &[&str]) -> Vec<String> {
    let apt = Apt::new(suite, platform);
    let fetcher = Fetcher::new(FetchOptions::new(sources())).unwrap();
    let start = Instant::now();
    let archives = archives(suite);
    let archives: Vec<&Archive> = archives.iter().collect();
    let now = jiff::Timestamp::now();
    let (index, _) = load(&fetcher, &archives, platform, &[], now, None).unwrap();
    println!(
        "{suite} {platform}: {} packages in {:?}",
        index.packages().len(),
        start.elapsed()
    );
    let mut found = Vec::new();
    let mut compare = |what: &str, ours: &BTreeSet<String>, theirs: &BTreeSet<String>| {
        println!("{suite} {platform}: {} packages for {what}", ours.len());
        found.extend(
            ours.difference(theirs)
                .map(|it| format!("{suite}: +{it} for {what}")),
        );
        found.extend(
            theirs
                .difference(ours)
                .map(|it| format!("{suite}: -{it} for {what}")),
        );
    };
    let request = Request {
        wanted: &wanted(BASE),
        essential: true,
        ..Request::default()
    };
    let start = Instant::now();
    let below = solve(&index, &request).unwrap();
    println!("solved in {:?}", start.elapsed());
    compare(BASE, &labels(&below), &apt.choice(BASE));
    let mut sources = BTreeSet::new();
    for &top in tops {
        let start = Instant::now();
        let request = Request {
            wanted: &wanted(top),
            installed: &below,
            ..Request::default()
        };
        let above = solve(&index, &request).unwrap();
        println!("solved in {:?}", start.elapsed());
        let all = [below.as_slice(), &above].concat();
        let ours = labels(&all);
        compare(top, &ours, &apt.choice(&format!("{BASE} {top}")));
        sources.extend(all.into_iter().map(|deb| deb.source));
    }
    assert_eq!(
        Vec::from_iter(sources),
        ["debian", "debian-security"],
        "versions of both are among what was chosen"
    );
    found
}

#[test]
fn bookworm_is_solved_as_apt_solves_it() {
    assert_eq!(
        differences("bookworm", Platform::LinuxAmd64, &TOPS),
        [""; 0]
    );
}

#[test]
fn trixie_is_solved_as_apt_solves_it() {
    assert_eq!(differences("trixie", Platform::LinuxAmd64, &TOPS), [""; 0]);
}

#[test]
fn another_architecture_is_solved_as_apt_solves_it() {
    let found = differences("bookworm", Platform::LinuxArm64, &TOPS[..6]);
    assert_eq!(found, [""; 0]);
}
