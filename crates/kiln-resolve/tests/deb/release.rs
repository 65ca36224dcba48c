//! Which releases are believed: signatures by the real `gpg`, and what the text must say.

use std::sync::LazyLock;

use crate::signers::Signers;
use jiff::Timestamp;
use kiln_resolve::deb::{
    Compression, Release, ReleaseError,
    release::Expected,
    signature::{Refusal, SignatureError, Signed, verify},
};
use proptest::prelude::*;

const SIGNED_AT: &str = "20260301T120000";
const TEXT: &str = "Suite: stable\n- dashed\n-----BEGIN NOTHING\nlast  \n";

fn now() -> Timestamp {
    "2026-03-02T00:00:00Z".parse().unwrap()
}

fn refusals(result: Result<Signed, SignatureError>) -> Vec<Refusal> {
    match result {
        Err(SignatureError::Refused { refused }) => refused.into_iter().map(|it| it.1).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_signature_by_a_key_of_the_keyring_is_believed() {
    let signers = Signers::new();
    let edwards = signers.key("edwards", "ed25519", "sign", "never");
    let rsa = signers.key("rsa", "rsa2048", "sign", "never");
    let message = signers.sign(SIGNED_AT, TEXT, &["edwards", "rsa"]);
    let mut both = vec![edwards.clone(), rsa.clone()];
    both.sort();
    for keyring in [
        signers.export(&[]),
        signers.export_armored(&[]),
        [
            signers.export_armored(&["rsa"]),
            signers.export_armored(&["edwards"]),
        ]
        .concat(),
    ] {
        assert_eq!(verify(&message, &keyring, now()).unwrap().signed_by, both);
    }
    // A keyring with one of the two is enough.
    for (name, fingerprint) in [("edwards", edwards), ("rsa", rsa)] {
        let signed = verify(&message, &signers.export(&[name]), now()).unwrap();
        assert_eq!(signed.signed_by, [fingerprint]);
        // The signed text: dash escapes undone, trailing blanks not part of it (RFC 9580, 7.1).
        assert_eq!(
            signed.text.replace("\r\n", "\n"),
            TEXT.replace("last  \n", "last")
        );
    }
}

#[test]
fn a_signature_by_a_subkey_counts_for_its_primary_key() {
    let signers = Signers::new();
    let primary = signers.key("archive", "ed25519", "cert", "never");
    signers.gpg_at(
        "20260101T000000",
        b"",
        &["--quick-add-key", &primary, "ed25519", "sign", "2026-06-01"],
    );
    let keyring = signers.export(&[]);
    let message = signers.sign(SIGNED_AT, TEXT, &["archive"]);
    assert_eq!(
        verify(&message, &keyring, now()).unwrap().signed_by,
        [primary]
    );
    let late = "2027-01-01T00:00:00Z".parse().unwrap();
    assert!(
        verify(&message, &keyring, late).is_ok(),
        "it had not expired when it signed"
    );
}

#[test]
fn changed_text_is_refused() {
    let signers = Signers::new();
    signers.key("archive", "ed25519", "sign", "never");
    let keyring = signers.export(&[]);
    let message = String::from_utf8(signers.sign(SIGNED_AT, TEXT, &["archive"])).unwrap();
    let changed = message.replace("Suite: stable", "Suite: stablE");
    assert_eq!(
        refusals(verify(changed.as_bytes(), &keyring, now())),
        [Refusal::Bad]
    );
}

#[test]
fn unknown_keys_are_named() {
    let signers = Signers::new();
    let unknown = signers.key("stranger", "ed25519", "sign", "never");
    signers.key("friend", "ed25519", "sign", "never");
    let message = signers.sign(SIGNED_AT, TEXT, &["stranger"]);
    let error = verify(&message, &signers.export(&["friend"]), now()).unwrap_err();
    assert_eq!(
        error,
        SignatureError::UnknownKey {
            signers: vec![unknown.clone()]
        }
    );
    assert_eq!(
        error.to_string(),
        format!("the keyring holds none of the keys that signed it: {unknown}")
    );
}

#[test]
fn expired_and_revoked_keys_are_refused() {
    let signers = Signers::new();
    signers.key("short", "ed25519", "sign", "2026-02-01");
    let message = signers.sign_with("20260115T000000", TEXT, &["short"], &[]);
    let keyring = signers.export(&[]);
    assert!(
        verify(&message, &keyring, now()).is_ok(),
        "it had not expired when it signed"
    );

    // The same key, with a shorter life in the keyring than in the signer's hands.
    signers.gpg_at(
        "20260101T000010",
        b"",
        &[
            "--quick-set-expire",
            &signers.fingerprint("short"),
            "2026-01-10",
        ],
    );
    let shorter = signers.export(&[]);
    assert_eq!(
        refusals(verify(&message, &shorter, now())),
        [Refusal::KeyExpired]
    );

    let fingerprint = signers.key("lost", "ed25519", "sign", "never");
    let message = signers.sign(SIGNED_AT, TEXT, &["lost"]);
    let before = signers.export(&["lost"]);
    let certificate = signers
        .home()
        .join(format!("openpgp-revocs.d/{fingerprint}.rev"));
    let certificate = std::fs::read_to_string(certificate)
        .unwrap()
        .replace(":-----BEGIN", "-----BEGIN");
    signers.gpg_at("20260501T000000", certificate.as_bytes(), &["--import"]);
    let keyring = signers.export(&["lost"]);
    let twice = [before.clone(), keyring.clone()].concat();
    assert!(verify(&message, &before, now()).is_ok());
    assert_eq!(
        refusals(verify(&message, &twice, now())),
        [Refusal::KeyRevoked]
    );
    assert_eq!(
        refusals(verify(&message, &keyring, now())),
        [Refusal::KeyRevoked]
    );
}

#[test]
fn weak_hashes_and_keys_are_refused() {
    let signers = Signers::new();
    signers.key("strong", "rsa2048", "sign", "never");
    signers.key("weak", "rsa1024", "sign", "never");
    signers.key("dsa", "dsa2048", "sign", "never");
    let keyring = signers.export(&[]);
    let sha1 = signers.sign_with(SIGNED_AT, TEXT, &["strong"], &["--digest-algo", "SHA1"]);
    assert_eq!(
        refusals(verify(&sha1, &keyring, now())),
        [Refusal::WeakHash]
    );
    for name in ["weak", "dsa"] {
        let message = signers.sign_with(SIGNED_AT, TEXT, &[name], &["--digest-algo", "SHA256"]);
        assert_eq!(
            refusals(verify(&message, &keyring, now())),
            [Refusal::WeakKey],
            "{name}"
        );
    }
}

#[test]
fn signatures_from_the_future_and_expired_ones_are_refused() {
    let signers = Signers::new();
    signers.key("archive", "ed25519", "sign", "never");
    let keyring = signers.export(&[]);
    let future = signers.sign("20260305T000000", TEXT, &["archive"]);
    assert_eq!(
        refusals(verify(&future, &keyring, now())),
        [Refusal::Future]
    );
    let brief = signers.sign_with(
        "20260201T000000",
        TEXT,
        &["archive"],
        &["--default-sig-expire", "10d"],
    );
    assert_eq!(
        refusals(verify(&brief, &keyring, now())),
        [Refusal::SignatureExpired]
    );
}

#[test]
fn nothing_may_stand_outside_the_signed_message() {
    let signers = Signers::new();
    signers.key("archive", "ed25519", "sign", "never");
    let keyring = signers.export(&[]);
    let message = signers.sign(SIGNED_AT, TEXT, &["archive"]);
    let message = String::from_utf8(message).unwrap();
    for text in [
        format!("Suite: evil\n{message}"),
        format!("{message}Suite: evil\n"),
        format!("{message}{message}"),
        message.replace(
            "-----BEGIN PGP SIGNED MESSAGE-----\n",
            "-----BEGIN PGP SIGNED MESSAGE-----\nSuite: evil\n",
        ),
        message
            .split("-----BEGIN PGP SIGNATURE")
            .next()
            .unwrap()
            .to_owned(),
        TEXT.to_owned(),
        String::new(),
    ] {
        let result = verify(text.as_bytes(), &keyring, now());
        assert!(
            matches!(result, Err(SignatureError::Form { .. })),
            "{text}: {result:?}"
        );
    }
    assert!(verify(format!("{message}\n\n").as_bytes(), &keyring, now()).is_ok());
}

#[test]
fn a_keyring_without_keys_is_an_error() {
    for keyring in [
        &b""[..],
        b"garbage",
        b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nAAAA\n",
        &[0x99, 1, 2],
    ] {
        let result = verify(b"", keyring, now());
        assert!(
            matches!(result, Err(SignatureError::Keyring { .. })),
            "{result:?}"
        );
    }
}

struct Sample {
    message: Vec<u8>,
    keyring: Vec<u8>,
    text: String,
}

static SAMPLE: LazyLock<Sample> = LazyLock::new(|| {
    let signers = Signers::new();
    signers.key("archive", "ed25519", "sign", "never");
    let keyring = signers.export(&[]);
    let message = signers.sign(SIGNED_AT, TEXT, &["archive"]);
    let text = verify(&message, &keyring, now()).unwrap().text;
    assert!(signers.gpgv(&message, &keyring));
    Sample {
        message,
        keyring,
        text,
    }
});

proptest! {
    #[test]
    fn no_change_of_a_message_changes_what_is_believed(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut message = SAMPLE.message.clone();
        message[at.index(SAMPLE.message.len())] = byte;
        if let Ok(signed) = verify(&message, &SAMPLE.keyring, now()) {
            prop_assert_eq!(&signed.text, &SAMPLE.text);
        }
    }

    #[test]
    fn broken_keyrings_never_panic(at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<prop::sample::Index>()) {
        let mut keyring = SAMPLE.keyring.clone();
        keyring[at.index(SAMPLE.keyring.len())] = byte;
        let _ = verify(&SAMPLE.message, &keyring, now());
        let _ = verify(&SAMPLE.message, &keyring[..cut.index(keyring.len())], now());
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), text in "\\PC{0,200}") {
        let _ = verify(&bytes, &SAMPLE.keyring, now());
        let _ = verify(&SAMPLE.message, &bytes, now());
        let _ = Release::parse(&text);
    }

    #[test]
    fn nearly_good_releases_never_panic(at in any::<prop::sample::Index>(), text in "\\PC{0,4}") {
        let mut release = RELEASE.to_owned();
        let at = at.index(release.len());
        release.insert_str(at, &text);
        let _ = Release::parse(&release);
    }
}

const RELEASE: &str = "\
Origin: Debian
Suite: oldstable
Codename: bookworm
Date: Sat, 28 Feb 2026 10:16:37 UTC
Valid-Until: Sat, 07 Mar 2026 10:16:37 UTC
Acquire-By-Hash: yes
No-Support-for-Architecture-all: Packages
Architectures: all amd64 arm64
Components: main contrib
SHA256:
 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 1000 main/binary-amd64/Packages
 abcdef4298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855   300 main/binary-amd64/Packages.gz
 123456429afc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855   200 main/binary-amd64/Packages.xz
 aaaaaa4298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855   200 main/binary-all/Packages.gz
";

struct Archive {
    signers: Signers,
    keyring: Vec<u8>,
}

impl Archive {
    fn new() -> Self {
        let signers = Signers::new();
        signers.key("archive", "ed25519", "sign", "never");
        let keyring = signers.export(&[]);
        Self { signers, keyring }
    }

    fn open(
        &self,
        text: &str,
        change: impl Fn(&mut Expected<'_>),
    ) -> Result<Release, ReleaseError> {
        let mut expected = Expected {
            suite: "bookworm",
            keyring: &self.keyring,
            check_valid_until: true,
            previous: None,
            now: now(),
        };
        change(&mut expected);
        Release::open(&self.signers.sign(SIGNED_AT, text, &["archive"]), &expected)
    }

    fn failure(&self, text: &str, change: impl Fn(&mut Expected<'_>)) -> String {
        let error = self.open(text, change).unwrap_err();
        error.hint().map_or_else(
            || error.to_string(),
            |hint| format!("{error}\nhint: {hint}"),
        )
    }
}

#[test]
fn a_release_names_its_indexes_by_hash() {
    let archive = Archive::new();
    let release = archive.open(RELEASE, |_| ()).unwrap();
    assert_eq!(release.signed_by, [archive.signers.fingerprint("archive")]);
    assert_eq!(release.date, "2026-02-28T10:16:37Z".parse().unwrap());
    let files = release.packages("bookworm", "main", "amd64").unwrap();
    let [file] = files.as_slice() else {
        panic!("{files:?}")
    };
    assert_eq!(
        file.by_hash.as_deref(),
        Some(
            "dists/bookworm/main/binary-amd64/by-hash/SHA256/\
         123456429afc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        )
    );
    assert_eq!(file.path, "dists/bookworm/main/binary-amd64/Packages.xz");
    assert_eq!((file.compression, file.file.size), (Compression::Xz, 200));
    assert_eq!(file.unpacked_limit, 1000);
}

#[test]
fn old_archives_have_no_hashes_and_others_list_all_apart() {
    let text = RELEASE
        .replace("Acquire-By-Hash: yes\n", "")
        .replace("No-Support-for-Architecture-all: Packages\n", "");
    let release = Release::parse(&text).unwrap();
    let files = release.packages("bookworm", "main", "amd64").unwrap();
    let paths: Vec<&str> = files.iter().map(|it| it.path.as_str()).collect();
    assert_eq!(
        paths,
        [
            "dists/bookworm/main/binary-amd64/Packages.xz",
            "dists/bookworm/main/binary-all/Packages.gz"
        ]
    );
}

#[test]
fn an_index_that_is_not_listed_is_an_error_with_what_is() {
    let release = Release::parse(RELEASE).unwrap();
    insta::assert_snapshot!(
        release.packages("bookworm", "non-free", "amd64").unwrap_err(),
        @"it lists no packages of component `non-free` for `amd64`; it has components main, contrib for all, amd64, arm64"
    );
}

#[test]
fn a_release_is_found_by_its_codename_or_its_suite_and_nothing_else() {
    let archive = Archive::new();
    assert!(archive.open(RELEASE, |it| it.suite = "oldstable").is_ok());
    insta::assert_snapshot!(
        archive.failure(RELEASE, |it| it.suite = "trixie"),
        @"it describes the suite `bookworm (oldstable)`, not `trixie`"
    );
    // Ubuntu's pockets share a codename.
    let pocket = RELEASE
        .replace("oldstable", "noble-updates")
        .replace("bookworm", "noble");
    assert!(
        archive
            .open(&pocket, |it| it.suite = "noble-updates")
            .is_ok()
    );
    insta::assert_snapshot!(
        archive.failure(&pocket, |it| it.suite = "noble"),
        @"it describes the suite `noble (noble-updates)`, not `noble`"
    );
}

#[test]
fn an_expired_release_is_refused_unless_the_archive_says_otherwise() {
    let archive = Archive::new();
    let late = "2026-03-08T00:00:00Z".parse().unwrap();
    insta::assert_snapshot!(archive.failure(RELEASE, |it| it.now = late), @r"
    it has expired: it was valid until 2026-03-07T10:16:37Z
    hint: use a mirror that is up to date; for a snapshot or a slow mirror set `check-valid-until = false` on the archive
    ");
    let unchecked = archive.open(RELEASE, |it| {
        it.now = late;
        it.check_valid_until = false;
    });
    assert!(unchecked.is_ok());
}

#[test]
fn an_older_release_than_the_locks_is_refused() {
    let archive = Archive::new();
    let same = "2026-02-28T10:16:37Z".parse().unwrap();
    assert!(archive.open(RELEASE, |it| it.previous = Some(same)).is_ok());
    let newer = "2026-02-28T10:16:38Z".parse().unwrap();
    insta::assert_snapshot!(archive.failure(RELEASE, |it| it.previous = Some(newer)), @r"
    it is of 2026-02-28T10:16:37Z, older than the one in the lock, of 2026-02-28T10:16:38Z
    hint: the mirror is out of date, or somebody holds back updates: use another mirror; if the older state is meant, remove the `[[index]]` entry from the lock
    ");
}

#[test]
fn a_release_from_the_future_is_refused() {
    let archive = Archive::new();
    let future = RELEASE.replace("28 Feb 2026", "28 Mar 2026");
    insta::assert_snapshot!(archive.failure(&future, |_| ()), @r"
    it is from the future: its date is 2026-03-28T10:16:37Z
    hint: check the clock of this machine
    ");
}

#[test]
fn an_unsigned_release_says_why() {
    let archive = Archive::new();
    let expected = Expected {
        suite: "bookworm",
        keyring: &archive.keyring,
        check_valid_until: true,
        previous: None,
        now: now(),
    };
    let error = Release::open(RELEASE.as_bytes(), &expected).unwrap_err();
    assert!(matches!(
        error,
        ReleaseError::Signature(SignatureError::Form { .. })
    ));
}

#[test]
fn malformed_releases_are_refused() {
    for (from, to, expected) in [
        (
            "Date: Sat, 28 Feb 2026 10:16:37 UTC\n",
            "",
            "it is malformed: it has no `Date`",
        ),
        (
            "10:16:37 UTC\nValid",
            "10:16:37 CET\nValid",
            "its `Date` is no date",
        ),
        (
            "37 UTC\nAcquire",
            "37\nAcquire",
            "its `Valid-Until` is no date",
        ),
        (" e3b0", " E3b0", "names no file"),
        (
            "main/binary-amd64/Packages\n",
            "../Packages\n",
            "names no file",
        ),
        ("   300 main", "   -3 main", "names no file"),
        ("Codename: bookworm\n", "\n", "it is not one paragraph"),
        ("Codename: bookworm\n", "Codename\n", "malformed"),
    ] {
        let error = Release::parse(&RELEASE.replace(from, to)).unwrap_err();
        assert!(error.to_string().contains(expected), "{error} / {expected}");
    }
}
