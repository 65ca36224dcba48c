//! Loading whole archives from a directory, as a mirror serves them.

use std::{collections::BTreeMap, fmt::Write as _, fs, io::Write, path::Path};

use crate::signers::Signers;
use jiff::Timestamp;
use kiln_digest::Digest;
use kiln_fetch::{FetchOptions, Fetcher, SourceConfig, Sources};
use kiln_lock::DebIndex;
use kiln_recipe::{Archive, Location, Platform};
use kiln_resolve::deb::{DebError, Index, Package, ReleaseError, load};
use tempfile::TempDir;

const SIGNED_AT: &str = "20260301T120000";

fn now() -> Timestamp {
    "2026-03-02T00:00:00Z".parse().unwrap()
}

pub(crate) struct Mirror {
    pub(crate) root: TempDir,
    pub(crate) signers: Signers,
}

impl Mirror {
    pub(crate) fn new() -> Self {
        let signers = Signers::new();
        signers.key("archive", "ed25519", "sign", "never");
        Self {
            root: TempDir::new().unwrap(),
            signers,
        }
    }

    /// Publishes a suite of which each component holds one package of that name.
    pub(crate) fn publish(&self, suite: &str, date: &str, components: &[&str]) {
        let directory = self.root.path().join("dists").join(suite);
        let mut listed = String::new();
        for (number, component) in components.iter().enumerate() {
            let text = format!(
                "Package: {component}\nVersion: {suite}1\nArchitecture: amd64\n\
                 Filename: pool/{component}.deb\nSize: 1\nSHA256: {}\n",
                Digest::of(format!("{component} of {suite}").as_bytes()).hex()
            );
            // The first component is packed with xz, others with gzip.
            let (suffix, packed) = if number == 0 {
                (".xz", xz(text.as_bytes()))
            } else {
                (".gz", gzip(text.as_bytes()))
            };
            let place = format!("{component}/binary-amd64/Packages");
            write(&directory.join(format!("{place}{suffix}")), &packed);
            for (path, bytes) in [
                (place.clone(), text.as_bytes()),
                (format!("{place}{suffix}"), &packed),
            ] {
                let digest = Digest::of(bytes).hex();
                listed.extend([
                    " ",
                    &digest,
                    " ",
                    &bytes.len().to_string(),
                    " ",
                    &path,
                    "\n",
                ]);
            }
        }
        let release = format!(
            "Codename: {suite}\nDate: {date}\nArchitectures: amd64\nComponents: {}\nSHA256:\n{listed}",
            components.join(" ")
        );
        write(
            &directory.join("InRelease"),
            &self.signers.sign(SIGNED_AT, &release, &["archive"]),
        );
    }

    /// The text of a suite's release, without its signature.
    fn text(&self, suite: &str) -> String {
        let file = self.root.path().join("dists").join(suite).join("InRelease");
        let signed = fs::read_to_string(file).unwrap();
        let lines = signed
            .lines()
            .skip_while(|line| !line.starts_with("Codename"));
        let lines = lines.take_while(|line| !line.starts_with("-----"));
        lines.map(|line| line.to_owned() + "\n").collect()
    }

    fn archive(&self, suite: &str, components: &[&str]) -> Archive {
        Archive {
            source: "debian".to_owned(),
            suite: suite.to_owned(),
            components: components.iter().map(|&it| it.to_owned()).collect(),
            keyring: "keys/debian.asc".to_owned(),
            keyring_bytes: self.signers.export_armored(&[]),
            check_valid_until: true,
            bases: Vec::new(),
            at: Location {
                file: "bases/d12/base.toml".to_owned(),
                line: 9,
                column: 1,
            },
        }
    }

    fn load(
        &self,
        archives: &[Archive],
        previous: &[DebIndex],
    ) -> Result<(Index, Vec<DebIndex>), DebError> {
        self.load_above(None, archives, previous)
    }

    /// The same, with what an index below has before.
    fn load_above(
        &self,
        below: Option<&Index>,
        archives: &[Archive],
        previous: &[DebIndex],
    ) -> Result<(Index, Vec<DebIndex>), DebError> {
        let address = format!("file://{}", self.root.path().display());
        let overrides = BTreeMap::from([("debian".to_owned(), address)]);
        let sources = Sources::new(SourceConfig::new(overrides));
        let fetcher = Fetcher::new(FetchOptions::new(sources)).unwrap();
        let archives: Vec<&Archive> = archives.iter().collect();
        load(
            &fetcher,
            &archives,
            Platform::LinuxAmd64,
            previous,
            now(),
            below,
        )
    }

    /// Publishes a flat repository in a directory (empty, or ending in a slash), as
    /// dpkg-scanpackages and apt-ftparchive make one; signed in itself or apart.
    pub(crate) fn publish_flat(&self, directory: &str, detached: bool) {
        let packages = ["amd64", "arm64", "all"].map(|architecture| {
            format!(
                "Package: cuda-{architecture}\nVersion: 12.9-1\nArchitecture: {architecture}\n\
                 Filename: ./{directory}cuda_{architecture}.deb\nSize: 1\nSHA256: {}\n",
                Digest::of(architecture.as_bytes()).hex()
            )
        });
        // A newer version of what a base may have.
        let newer = format!(
            "\nPackage: main\nVersion: zz9\nArchitecture: amd64\n\
             Filename: ./{directory}main.deb\nSize: 1\nSHA256: {}\n",
            Digest::of(b"newer").hex()
        );
        let text = packages.join("\n") + &newer;
        let packed = gzip(text.as_bytes());
        let root = self.root.path().join(directory);
        write(&root.join("Packages.gz"), &packed);
        let mut release = "Date: Sat, 28 Feb 2026 10:16:37 UTC\nSHA256:\n".to_owned();
        for (name, bytes) in [("Packages", text.as_bytes()), ("./Packages.gz", &packed)] {
            let _ = writeln!(
                release,
                " {} {} {name}",
                Digest::of(bytes).hex(),
                bytes.len()
            );
        }
        if detached {
            let signature = &["--local-user", "archive", "--armor", "--detach-sign"];
            let signature = self
                .signers
                .gpg_at(SIGNED_AT, release.as_bytes(), signature);
            write(&root.join("Release"), release.as_bytes());
            write(&root.join("Release.gpg"), &signature);
        } else {
            let signed = self.signers.sign(SIGNED_AT, &release, &["archive"]);
            write(&root.join("InRelease"), &signed);
        }
    }
}

fn write(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 6);
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn all_archives_and_components_make_one_index() {
    let mirror = Mirror::new();
    mirror.publish(
        "stable",
        "Sat, 28 Feb 2026 10:16:37 UTC",
        &["main", "contrib"],
    );
    mirror.publish("updates", "Sun, 01 Mar 2026 00:00:00 UTC", &["main"]);
    let archives = vec![
        mirror.archive("updates", &["main"]),
        mirror.archive("stable", &["main", "contrib"]),
    ];
    let (index, indexes) = mirror.load(&archives, &[]).unwrap();
    let labels: Vec<String> = index.packages().iter().map(Package::label).collect();
    assert_eq!(labels, ["contrib stable1", "main updates1", "main stable1"]);
    let suites: Vec<(&str, &str)> = indexes
        .iter()
        .map(|it| (it.suite.as_str(), it.date.as_str()))
        .collect();
    assert_eq!(
        suites,
        [
            ("stable", "2026-02-28T10:16:37Z"),
            ("updates", "2026-03-01T00:00:00Z")
        ]
    );
    let in_release = fs::read(mirror.root.path().join("dists/stable/InRelease")).unwrap();
    assert_eq!(indexes[0].sha256, Digest::of(&in_release));
    assert_eq!(
        indexes[0].signed_by,
        [mirror.signers.fingerprint("archive")]
    );
    assert_eq!(
        index.archive(index.versions("main")[0].archive).suite,
        "updates"
    );
}

#[test]
fn indexes_are_fetched_by_hash_and_by_name_where_a_mirror_has_no_hashes() {
    let mirror = Mirror::new();
    mirror.publish("stable", "Sat, 28 Feb 2026 10:16:37 UTC", &["main"]);
    let directory = mirror.root.path().join("dists/stable");
    let release = mirror
        .text("stable")
        .replace("Date:", "Acquire-By-Hash: yes\nDate:");
    let signed = mirror.signers.sign(SIGNED_AT, &release, &["archive"]);
    write(&directory.join("InRelease"), &signed);
    let archives = || vec![mirror.archive("stable", &["main"])];
    assert_eq!(mirror.load(&archives(), &[]).unwrap().0.packages().len(), 1);

    let file = directory.join("main/binary-amd64/Packages.xz");
    let bytes = fs::read(&file).unwrap();
    let hashes = directory.join("main/binary-amd64/by-hash/SHA256");
    write(&hashes.join(Digest::of(&bytes).hex()), &bytes);
    fs::write(&file, "of the next update").unwrap();
    assert_eq!(mirror.load(&archives(), &[]).unwrap().0.packages().len(), 1);
}

#[test]
fn an_index_older_than_the_locks_is_refused_by_name() {
    let mirror = Mirror::new();
    mirror.publish("stable", "Sat, 28 Feb 2026 10:16:37 UTC", &["main"]);
    let (_, mut previous) = mirror
        .load(&[mirror.archive("stable", &["main"])], &[])
        .unwrap();
    assert!(
        mirror
            .load(&[mirror.archive("stable", &["main"])], &previous)
            .is_ok()
    );
    mirror.publish("stable", "Fri, 27 Feb 2026 10:16:37 UTC", &["main"]);
    let error = mirror
        .load(&[mirror.archive("stable", &["main"])], &previous)
        .unwrap_err();
    assert!(error.is_integrity());
    insta::assert_snapshot!(error, @"bases/d12/base.toml:9:1: cannot use the release `stable` of source `debian`");
    assert!(
        matches!(&error, DebError::Release { cause, .. } if matches!(**cause, ReleaseError::Rollback { .. }))
    );
    "yesterday".clone_into(&mut previous[0].date);
    let error = mirror
        .load(&[mirror.archive("stable", &["main"])], &previous)
        .unwrap_err();
    insta::assert_snapshot!(error, @"the lock's index of `stable` from source `debian` has no date, but `yesterday`");
}

#[test]
fn a_changed_index_is_refused() {
    let mirror = Mirror::new();
    mirror.publish("stable", "Sat, 28 Feb 2026 10:16:37 UTC", &["main"]);
    let file = mirror
        .root
        .path()
        .join("dists/stable/main/binary-amd64/Packages.xz");
    fs::write(&file, xz(b"Package: evil\n")).unwrap();
    let error = mirror
        .load(&[mirror.archive("stable", &["main"])], &[])
        .unwrap_err();
    assert!(error.is_integrity(), "{error:?}");
    fs::remove_file(&file).unwrap();
    let error = mirror
        .load(&[mirror.archive("stable", &["main"])], &[])
        .unwrap_err();
    assert!(
        matches!(&error, DebError::Fetch { cause, .. } if cause.is_gone()),
        "{error:?}"
    );
}

#[test]
fn an_index_that_unpacks_to_more_than_the_release_says_is_refused() {
    let mirror = Mirror::new();
    mirror.publish("stable", "Sat, 28 Feb 2026 10:16:37 UTC", &["main"]);
    let file = mirror.root.path().join("dists/stable/InRelease");
    // The release is honest about the packed bytes, and lies about the unpacked ones.
    let release: String = mirror
        .text("stable")
        .lines()
        .map(
            |line| match line.strip_suffix(" main/binary-amd64/Packages") {
                Some(rest) => format!(
                    " {} 10 main/binary-amd64/Packages\n",
                    rest.split_whitespace().next().unwrap()
                ),
                None => format!("{line}\n"),
            },
        )
        .collect();
    write(
        &file,
        &mirror.signers.sign(SIGNED_AT, &release, &["archive"]),
    );
    let error = mirror
        .load(&[mirror.archive("stable", &["main"])], &[])
        .unwrap_err();
    let DebError::Packages { cause, .. } = &error else {
        panic!("{error:?}")
    };
    let cause = std::error::Error::source(cause).unwrap().to_string();
    assert_eq!(cause, "it has more than 10 bytes unpacked");
}

#[test]
fn a_suite_that_the_source_lacks_and_a_foreign_key_are_named() {
    let mirror = Mirror::new();
    mirror.publish("stable", "Sat, 28 Feb 2026 10:16:37 UTC", &["main"]);
    let error = mirror
        .load(&[mirror.archive("sid", &["main"])], &[])
        .unwrap_err();
    insta::assert_snapshot!(error, @"bases/d12/base.toml:9:1: cannot read the index of `sid` from source `debian`");
    assert!(
        error
            .hint()
            .unwrap()
            .contains("does the source have this suite?")
    );
    let other = Mirror::new();
    let archive = Archive {
        keyring_bytes: other.signers.export(&[]),
        ..mirror.archive("stable", &["main"])
    };
    let error = mirror.load(&[archive], &[]).unwrap_err();
    assert!(error.is_integrity());
    assert!(error.hint().unwrap().ends_with("(`keys/debian.asc`)"));
    let error = mirror
        .load(&[mirror.archive("stable", &["contrib"])], &[])
        .unwrap_err();
    assert!(
        matches!(&error, DebError::Release { cause, .. } if matches!(**cause, ReleaseError::NotListed { .. }))
    );
}

#[test]
fn a_flat_repository_is_read_whether_its_signature_stands_apart_or_not() {
    for (suite, directory) in [("./", ""), ("/", ""), ("debian12/x86/", "debian12/x86/")] {
        for detached in [false, true] {
            let mirror = Mirror::new();
            mirror.publish_flat(directory, detached);
            let (index, read) = mirror.load(&[mirror.archive(suite, &[])], &[]).unwrap();
            let packages: Vec<(&str, &str)> = index
                .packages()
                .iter()
                .map(|it| (&*it.name, &*it.path))
                .collect();
            let path = |architecture| format!("{directory}cuda_{architecture}.deb");
            assert_eq!(
                packages,
                [
                    ("cuda-all", path("all").as_str()),
                    ("cuda-amd64", &path("amd64")),
                    ("main", &format!("{directory}main.deb")),
                ],
                "{suite} {detached}"
            );
            assert_eq!(read[0].suite, suite);
            assert_eq!(read[0].signed_by, [mirror.signers.fingerprint("archive")]);

            // Whoever changes it is noticed.
            let name = if detached { "Release" } else { "InRelease" };
            let file = mirror.root.path().join(directory).join(name);
            let text = fs::read_to_string(&file).unwrap();
            fs::write(&file, text.replace("28 Feb", "27 Feb")).unwrap();
            let error = mirror.load(&[mirror.archive(suite, &[])], &[]).unwrap_err();
            assert!(error.is_integrity(), "{error:?}");
        }
    }
}

#[test]
fn a_signature_apart_must_be_one_of_the_keyring() {
    let mirror = Mirror::new();
    mirror.publish_flat("", true);
    let archive = || vec![mirror.archive("./", &[])];
    let file = mirror.root.path().join("Release.gpg");
    let refusal = |bytes: &[u8]| {
        fs::write(&file, bytes).unwrap();
        let error = mirror.load(&archive(), &[]).unwrap_err();
        let DebError::Release { cause, .. } = &error else {
            panic!("{error:?}")
        };
        std::error::Error::source(&**cause).unwrap().to_string()
    };
    let release = fs::read(mirror.root.path().join("Release")).unwrap();
    let other = Mirror::new();
    let signature = &["--local-user", "archive", "--detach-sign"];
    let foreign = other.signers.gpg_at(SIGNED_AT, &release, signature);
    let text = refusal(&foreign);
    assert!(
        text.contains("holds none of the keys that signed it"),
        "{text}"
    );
    for nothing in [&b""[..], b"nonsense"] {
        let text = refusal(nothing);
        assert!(text.contains("no detached signature"), "{text}");
    }
    // Binary ones count as well as armored ones.
    let own = mirror.signers.gpg_at(SIGNED_AT, &release, signature);
    fs::write(&file, own).unwrap();
    assert!(mirror.load(&archive(), &[]).is_ok());
    // Without either there is no release.
    fs::remove_file(&file).unwrap();
    let error = mirror.load(&archive(), &[]).unwrap_err();
    assert!(
        matches!(&error, DebError::Fetch { cause, .. } if cause.is_gone()),
        "{error:?}"
    );
}

#[test]
fn archives_of_an_accelerator_come_after_those_of_the_base() {
    let mirror = Mirror::new();
    mirror.publish("stable", "Sat, 28 Feb 2026 10:16:37 UTC", &["main"]);
    mirror.publish_flat("nvidia/", false);
    let (base, _) = mirror
        .load(&[mirror.archive("stable", &["main"])], &[])
        .unwrap();
    let nvidia = Archive {
        source: "debian".to_owned(),
        ..mirror.archive("nvidia/", &[])
    };
    let (both, read) = mirror.load_above(Some(&base), &[nvidia], &[]).unwrap();
    assert_eq!(read.len(), 1, "the base's are not read again");
    let suites: Vec<(&str, &str)> = both
        .packages()
        .iter()
        .map(|it| (&*it.name, both.archive(it.archive).suite.as_str()))
        .collect();
    assert_eq!(
        suites,
        [
            ("cuda-all", "nvidia/"),
            ("cuda-amd64", "nvidia/"),
            ("main", "nvidia/"),
            ("main", "stable")
        ]
    );
    assert_eq!(base.packages().len(), 1);
}
