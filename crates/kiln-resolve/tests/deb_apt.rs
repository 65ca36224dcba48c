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
use kiln_resolve::deb::{Index, Request, load, solve};
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

// Where apt chooses otherwise. apt goes depth first, and takes the first alternative of a relation when it
// meets it, unless one is chosen by then. kiln follows first what is needed without alternatives, and takes
// an alternative only where nothing chosen satisfies the relation.

/// numpy needs `libblas3 | libblas.so.3`. apt meets that before OpenBLAS, which provides the latter.
const BLAS: &str = "python3-numpy libopenblas0";
/// libtool needs `gcc | c-compiler`; so here with clang.
const COMPILER: &str = "libtool clang";
/// GDAL needs `libcurl4-gnutls-dev | libcurl-ssl-dev`, and what apt meets earlier, HDF5, needs
/// `libcurl4-openssl-dev | libcurl-dev`. Each of the two packages satisfies both, and excludes the other.
const CURL: &str = "libgdal-dev";
/// R needs `libncurses5-dev`, which is empty but for its need of `libncurses-dev`, which provides it.
const TRANSITIONAL: &str = "r-base-dev";
/// The files that podman shares with others need a `container-network-stack`; podman itself needs
/// netavark, which is one, but apt meets the virtual package first.
const NETWORK: &str = "podman";

/// What apt brings with its `gcc` on trixie.
const GCC_14: [&str; 5] = [
    "-gcc",
    "-gcc-14",
    "-gcc-14-x86-64-linux-gnu",
    "-gcc-x86-64-linux-gnu",
    "-libcc1-0",
];
/// What kiln brings with its `libcurl4-gnutls-dev` on trixie.
const GNUTLS: [&str; 4] = [
    "+libcurl4-gnutls-dev",
    "+libngtcp2-crypto-gnutls-dev",
    "+libngtcp2-dev",
    "-libcurl4-openssl-dev",
];
/// What apt brings with its `containernetworking-plugins`.
const CNI: [&str; 9] = [
    "-containernetworking-plugins",
    "-iptables",
    "-libip4tc2",
    "-libip6tc2",
    "-libmnl0",
    "-libnetfilter-conntrack3",
    "-libnfnetlink0",
    "-libnftnl11",
    "-libxtables12",
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

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env("APT_CONFIG", self.path().join("apt.conf"))
            .env("LC_ALL", "C");
        command
    }

    fn run(&self, arguments: &[&str]) -> String {
        stdout_of(self.command("apt-get").args(arguments))
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

    /// What apt says when `names` are asked for and exactly `choice` is installed: unmet dependencies and
    /// conflicts, or what it would install, remove or upgrade.
    fn says_of(&self, choice: &BTreeSet<String>, names: &str) -> Vec<String> {
        let versions = choice.iter().map(|it| it.replace(' ', "="));
        let stanzas = stdout_of(self.command("apt-cache").arg("show").args(versions));
        let status = self.path().join("installed");
        let installed = "\nStatus: install ok installed\nArchitecture: ";
        fs::write(&status, stanzas.replace("\nArchitecture: ", installed)).unwrap();
        let state = format!("Dir::State::status={}", status.display());
        let check = self
            .command("apt-get")
            .args(["--option", &state, "check"])
            .output()
            .unwrap();
        if !check.status.success() {
            let said = [check.stdout, check.stderr].concat();
            let said = String::from_utf8_lossy(&said);
            return said.lines().map(str::to_owned).collect();
        }
        let names: Vec<&str> = names.split(' ').collect();
        let arguments = ["--option", &state, "--simulate", "install"];
        let output = self.run(&[&arguments, &names[..]].concat());
        let changes = |line: &&str| line.starts_with("Inst ") || line.starts_with("Remv ");
        output.lines().filter(changes).map(str::to_owned).collect()
    }
}

fn stdout_of(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

fn labels(debs: &[Deb]) -> BTreeSet<String> {
    debs.iter()
        .map(|deb| format!("{} {}", deb.name, deb.version))
        .collect()
}

/// A suite as kiln and apt know it, and kiln's choice for the base.
struct Suite {
    name: &'static str,
    apt: Apt,
    index: Index,
    below: Vec<Deb>,
}

impl Suite {
    fn new(name: &'static str, platform: Platform) -> Self {
        let apt = Apt::new(name, platform);
        let fetcher = Fetcher::new(FetchOptions::new(sources())).unwrap();
        let now = jiff::Timestamp::now();
        let archives = archives(name);
        let archives: Vec<&Archive> = archives.iter().collect();
        let (index, _) = load(&fetcher, &archives, platform, &[], now, None).unwrap();
        println!("{name} {platform}: {} packages", index.packages().len());
        let request = Request {
            wanted: &wanted(BASE),
            essential: true,
            ..Request::default()
        };
        let below = solve(&index, &request).unwrap();
        Self {
            name,
            apt,
            index,
            below,
        }
    }

    /// kiln's choice for a top, with the base below it.
    fn ours(&self, top: &str) -> Vec<Deb> {
        let start = Instant::now();
        let request = Request {
            wanted: &wanted(top),
            installed: &self.below,
            ..Request::default()
        };
        let above = solve(&self.index, &request).unwrap();
        println!("{}: solved `{top}` in {:?}", self.name, start.elapsed());
        [self.below.as_slice(), &above].concat()
    }

    fn theirs(&self, top: &str) -> BTreeSet<String> {
        self.apt.choice(&format!("{BASE} {top}"))
    }
}

/// `+name version` for what only `ours` has, `-name version` for what only `theirs` has.
fn differences(ours: &BTreeSet<String>, theirs: &BTreeSet<String>) -> Vec<String> {
    let more = ours.difference(theirs).map(|it| format!("+{it}"));
    let less = theirs.difference(ours).map(|it| format!("-{it}"));
    more.chain(less).collect()
}

/// That kiln and apt choose the same for the base and for each top on it.
fn assert_same(suite: &Suite, tops: &[&str]) {
    let found = differences(&labels(&suite.below), &suite.apt.choice(BASE));
    assert_eq!(found, [""; 0], "{} for {BASE}", suite.name);
    let mut sources = BTreeSet::new();
    for &top in tops {
        let ours = suite.ours(top);
        let found = differences(&labels(&ours), &suite.theirs(top));
        assert_eq!(found, [""; 0], "{} for {top}", suite.name);
        sources.extend(ours.into_iter().map(|deb| deb.source));
    }
    assert_eq!(
        Vec::from_iter(sources),
        ["debian", "debian-security"],
        "versions of both are among what was chosen"
    );
}

/// That they differ as it is written, and that apt has nothing to say against ours.
fn assert_otherwise(suite: &Suite, tops: &[(&str, &[&str])]) {
    for (top, expected) in tops {
        let ours = suite.ours(top);
        let found = differences(&labels(&ours), &suite.theirs(top));
        let names: Vec<&str> = found.iter().filter_map(|it| it.split(' ').next()).collect();
        assert_eq!(names, *expected, "{} for {top}", suite.name);
        let said = suite.apt.says_of(&labels(&ours), &format!("{BASE} {top}"));
        assert_eq!(said, [""; 0], "{} for {top}", suite.name);
    }
}

/// That apt has something to say against a choice that lacks a package.
fn assert_apt_notices(suite: &Suite) {
    let mut ours = labels(&suite.below);
    ours.retain(|it| !it.starts_with("libcurl4 ") && !it.starts_with("libcurl4t64 "));
    assert_eq!(ours.len(), suite.below.len() - 1);
    let said = suite.apt.says_of(&ours, BASE);
    assert!(said.iter().any(|it| it.contains("libcurl4")), "{said:?}");
}

#[test]
fn bookworm_is_solved_as_apt_solves_it_or_as_well() {
    let suite = Suite::new("bookworm", Platform::LinuxAmd64);
    assert_same(&suite, &TOPS);
    assert_apt_notices(&suite);
    assert_otherwise(
        &suite,
        &[
            (BLAS, &["-libblas3", "-liblapack3"]),
            (COMPILER, &["-gcc", "-gcc-12", "-libcc1-0"]),
            (CURL, &["+libcurl4-gnutls-dev", "-libcurl4-openssl-dev"]),
            (TRANSITIONAL, &["-libncurses5-dev"]),
        ],
    );
}

#[test]
fn trixie_is_solved_as_apt_solves_it_or_as_well() {
    let suite = Suite::new("trixie", Platform::LinuxAmd64);
    assert_same(&suite, &TOPS);
    assert_apt_notices(&suite);
    assert_otherwise(
        &suite,
        &[
            (BLAS, &["-libblas3", "-liblapack3"]),
            (COMPILER, &GCC_14),
            (CURL, &GNUTLS),
            (NETWORK, &CNI),
        ],
    );
}

#[test]
fn another_architecture_is_solved_as_apt_solves_it() {
    let suite = Suite::new("bookworm", Platform::LinuxArm64);
    assert_same(&suite, &TOPS[..6]);
}
