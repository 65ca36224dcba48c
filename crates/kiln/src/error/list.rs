//! Every error that a command may end with: what it says, what it hints at, its exit code. A
//! variant that is not in the list fails a test.

use std::{
    collections::BTreeSet,
    fmt::{Debug, Write as _},
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

use kiln_build::{
    BuildError, BuildWheelError, BytecodeError, ConfigureError, ExecuteError, LibraryError,
};
use kiln_digest::Digest;
use kiln_fetch::{FetchError, SourceError, Subject, Transport, Url, UrlError};
use kiln_layer::{CorruptPayload, EntryPath, EntryPathError, LayerError, MergeError};
use kiln_lock::{Difference, LockError, Stale};
use kiln_oci::{ArchiveError, DocumentError, ImageError, LayoutError, SavedError};
use kiln_package::libraries::LibrariesError;
use kiln_plan::PlanError;
use kiln_recipe::{
    ComponentId, ComponentKind, Location, Platform, ReadError, RecipeError, RecipeErrors,
    SelectError,
};
use kiln_resolve::{
    ResolveError,
    deb::{DebError, ReleaseError, SolveError, signature::SignatureError},
    python::PythonError,
};
use kiln_sandbox::{ExitStatus, Resource, SandboxError, TreeError};
use kiln_store::StoreError;

use super::{Failure, words::words};
use crate::{args::Global, output::Output};

/// The enums whose variants commands end with: each variant has a line in [`failures`].
const OUTERMOST: [&str; 16] = [
    "kiln-build BuildError",
    "kiln-build ExecuteError",
    "kiln-build LibraryError",
    "kiln-fetch FetchError",
    "kiln-fetch SourceError",
    "kiln-fetch Transport",
    "kiln-lock LockError",
    "kiln-oci ArchiveError",
    "kiln-oci ImageError",
    "kiln-oci SavedError",
    "kiln-plan PlanError",
    "kiln-recipe ReadError",
    "kiln-recipe SelectError",
    "kiln-resolve ResolveError",
    "kiln-sandbox SandboxError",
    "kiln-store StoreError",
];

/// What commands may end with, each with the variant that it is.
#[derive(Default)]
struct Failures(Vec<(String, Failure)>);

impl Failures {
    fn add<E: Debug + Into<Failure>>(&mut self, of: &str, error: E) {
        let name = variant(of, &error);
        self.0.push((name, error.into()));
    }
}

/// `kiln-lock LockError TooLarge`.
fn variant(of: &str, error: &impl Debug) -> String {
    let debug = format!("{error:?}");
    let end = debug.find(|c: char| !c.is_alphanumeric());
    format!("{of} {}", &debug[..end.unwrap_or(debug.len())])
}

fn digest() -> Digest {
    Digest::of(b"")
}

fn at() -> Location {
    Location {
        file: "bundles/minimal/bundle.toml".to_owned(),
        line: 3,
        column: 5,
    }
}

fn text(text: &str) -> String {
    text.to_owned()
}

fn denied() -> io::Error {
    ErrorKind::PermissionDenied.into()
}

fn no_json() -> serde_json::Error {
    serde_json::from_str::<u8>("x").unwrap_err()
}

fn path(path: &str) -> EntryPath {
    EntryPath::new(path).unwrap()
}

fn failures() -> Vec<(String, Failure)> {
    let mut all = Failures::default();
    of_files(&mut all);
    of_fetching(&mut all);
    of_locking(&mut all);
    of_actions(&mut all);
    of_building(&mut all);
    of_libraries(&mut all);
    of_sandboxes(&mut all);
    of_stores(&mut all);
    of_saved(&mut all);
    all.0
}

fn of_files(all: &mut Failures) {
    let file = || PathBuf::from("/family/bundles/minimal");
    let read = "kiln-recipe ReadError";
    all.add(read, ReadError::NoFamily("/family".into()));
    let (name, known) = (text("2026c"), vec![text("2026a"), text("2026b")]);
    all.add(read, ReadError::NoRelease { name, known });
    let (path, source) = (file(), denied());
    all.add(read, ReadError::Io { path, source });
    all.add(read, ReadError::Symlink(file()));
    all.add(read, ReadError::NotUtf8(file()));
    let (path, what) = (file(), text("has more than 16 MiB"));
    all.add(read, ReadError::TooMuch { path, what });
    let wrong = RecipeError {
        at: at(),
        line_text: text("requirments = []"),
        width: 4,
        message: text("unknown key `requirments`"),
        hint: Some(text("did you mean `requirements`?")),
    };
    all.add("kiln-recipe RecipeErrors", RecipeErrors(vec![wrong]));
    let select = "kiln-recipe SelectError";
    let part = || text("jupiter");
    let all_images = || vec![text("jupyter-minimal-d12-py311_1_20261122")];
    let unknown = SelectError::Unknown {
        part: part(),
        nearest: None,
        all: all_images(),
    };
    all.add(select, unknown);
    let ambiguous = SelectError::Ambiguous {
        part: part(),
        candidates: all_images(),
    };
    all.add(select, ambiguous);
    let (part, message) = (text("a["), text("unclosed character class"));
    all.add(select, SelectError::Glob { part, message });
    let plan = "kiln-plan PlanError";
    all.add(
        plan,
        PlanError::Dangling(text("set `linux/amd64 debian-12`")),
    );
    let image = || text("jupyter-minimal-d12-py311_1_20261122");
    let missing = PlanError::NoComponent {
        image: image(),
        component: text("ide/jupyter"),
    };
    all.add(plan, missing);
    let undefined = PlanError::UndefinedVariable {
        at: at().to_string(),
        variable: text("PATH"),
        missing: text("HOME"),
    };
    all.add(plan, undefined);
    let (image, layers) = (image(), 300);
    all.add(plan, PlanError::TooManyLayers { image, layers });
}

fn of_fetching(all: &mut Failures) {
    let fetch = "kiln-fetch FetchError";
    let subject = || {
        let url = Url::parse("https://mirror.example.org/pool/bash.deb").unwrap();
        Box::new(Subject {
            from: text("debian"),
            what: text("bash.deb"),
            url,
        })
    };
    let (from, what) = (|| text("debian"), || text("bash.deb"));
    for error in [
        FetchError::Offline {
            from: from(),
            what: what(),
        },
        FetchError::Gone { subject: subject() },
        FetchError::Denied {
            subject: subject(),
            status: 401,
        },
        FetchError::Status {
            subject: subject(),
            status: 500,
        },
        FetchError::WrongDigest {
            subject: subject(),
            expected: digest(),
            actual: Digest::of(b"other"),
        },
        FetchError::WrongSize {
            subject: subject(),
            expected: 10,
            actual: text("11"),
        },
        FetchError::OtherFileAnnounced {
            from: from(),
            what: what(),
            expected: digest(),
            announced: Digest::of(b"other"),
        },
        FetchError::TooLarge {
            subject: subject(),
            limit: 1 << 20,
        },
        FetchError::Malformed {
            subject: subject(),
            why: text("it is not HTML"),
        },
        FetchError::BadPath {
            from: from(),
            path: text("../etc/passwd"),
        },
        FetchError::Disk {
            action: "write",
            path: "/store/downloads/bash.deb".into(),
            cause: ErrorKind::StorageFull.into(),
        },
        FetchError::Setup(Transport::Client(text(
            "no certificate of this machine can be read",
        ))),
        FetchError::Cancelled,
    ] {
        all.add(fetch, error);
    }
    for cause in [
        Transport::Truncated {
            got: 5,
            expected: 10,
        },
        Transport::Stalled { seconds: 60 },
        Transport::WrongRange,
        Transport::Redirect(text("more than 10 redirects")),
        Transport::Client(text("invalid peer certificate: UnknownIssuer")),
    ] {
        let of = variant("kiln-fetch Transport", &cause);
        let subject = subject();
        let error = FetchError::Unreachable { subject, cause };
        all.0.push((of, error.into()));
    }
    let unreachable = FetchError::Unreachable {
        subject: subject(),
        cause: Transport::Client(text("connection refused")),
    };
    all.add(fetch, unreachable);
    for cause in [
        SourceError::Unknown {
            name: from(),
            suite: Some(text("trixie")),
        },
        SourceError::Address {
            name: from(),
            place: text("KILN_SOURCE_DEBIAN"),
            cause: UrlError::Scheme(text("ftp")),
        },
    ] {
        let of = variant("kiln-fetch SourceError", &cause);
        all.0.push((of, FetchError::Source(cause.clone()).into()));
        all.add(fetch, FetchError::Source(cause));
    }
}

fn of_locking(all: &mut Failures) {
    for error in [
        LockError::TooLarge,
        LockError::Syntax {
            line: 3,
            column: 1,
            message: text("unknown field `x`"),
        },
        LockError::Newer { found: 2 },
        LockError::NoVersion { found: 0 },
        LockError::Invariant(text("`debian/bash` stands twice in the debs")),
    ] {
        let of = variant("kiln-lock LockError", &error);
        all.0
            .push((of, Failure::lock(Path::new("kiln.lock"), &error)));
    }
    let difference = Difference {
        subject: text("bundle/minimal"),
        what: text("requirement added `scipy~=1.18.0`"),
        at: Some(at()),
    };
    let differences = vec![difference];
    all.add("kiln-lock Stale", Stale { differences });
    let resolve = "kiln-resolve ResolveError";
    let source = SourceError::Unknown {
        name: text("debian"),
        suite: Some(text("trixie")),
    };
    let unknown = DebError::Fetch {
        at: at(),
        from: text("debian"),
        suite: text("trixie"),
        cause: Box::new(source.into()),
    };
    let unsigned = DebError::Release {
        at: at(),
        from: text("debian"),
        suite: text("bookworm"),
        keyring: text("keyrings/debian.asc"),
        cause: Box::new(ReleaseError::Signature(SignatureError::UnknownKey {
            signers: vec![text("6ED0E7B82643E131")],
        })),
    };
    for cause in [unknown, unsigned] {
        let component = ComponentId {
            kind: ComponentKind::Base,
            name: text("debian-12"),
        };
        let cause = Box::new(cause);
        all.add(resolve, ResolveError::Archives { component, cause });
    }
    let set = || text("linux/amd64 debian-12");
    let unlisted = SolveError::Unlisted {
        id: text("debian/bash_5.2_amd64"),
    };
    let (set_, cause) = (set(), Box::new(unlisted));
    all.add(resolve, ResolveError::Os { set: set_, cause });
    let (set, cause) = (set(), Box::new(PythonError::Offline));
    all.add(resolve, ResolveError::Python { set, cause });
    let base = text("debian-12");
    all.add(resolve, ResolveError::NoLibc { base });
    let (project, cause) = (text("numpy"), Box::new(FetchError::Cancelled));
    all.add(resolve, ResolveError::Gone { project, cause });
}

fn actions() -> Vec<ExecuteError> {
    let file = || text("numpy-2.4.0-py3-none-any.whl");
    vec![
        ExecuteError::Format(9),
        ExecuteError::Input {
            what: file(),
            digest: digest(),
            source: ErrorKind::NotFound.into(),
        },
        ExecuteError::Wheel {
            file: file(),
            source: kiln_package::wheel::WheelError::DistInfoCount(2),
        },
        ExecuteError::Deb {
            file: text("bash.deb"),
            source: kiln_package::deb::DebError {
                file_name: text("bash.deb"),
                fault: kiln_package::deb::Fault::Version(text("3.0")),
            },
        },
        ExecuteError::Merge(MergeError::NotADirectory {
            path: path("usr/share/doc"),
            directory: text("bash"),
            other: text("dash"),
        }),
        ExecuteError::Path(EntryPathError::Empty),
        ExecuteError::Layer(LayerError::Corrupt {
            path: path("usr/bin/bash"),
            source: CorruptPayload::Mismatch,
        }),
        ExecuteError::Blob(denied()),
        ExecuteError::DamagedBlob(digest()),
        ExecuteError::NoResult(digest()),
        ExecuteError::NotALayer(digest()),
        ExecuteError::NotABlob(digest()),
        ExecuteError::ForeignPlatform(Platform::LinuxArm64),
        ExecuteError::Sandbox(SandboxError::Cancelled),
        ExecuteError::Configure(ConfigureError::Diverted {
            package: text("dash"),
            path: text("/bin/sh"),
        }),
        ExecuteError::Bytecode(BytecodeError::Channel(denied())),
        ExecuteError::BuildWheel {
            sdist: text("numpy-2.4.0.tar.gz"),
            source: BuildWheelError::Count(0),
        },
    ]
}

fn of_actions(all: &mut Failures) {
    for error in actions() {
        all.add("kiln-build ExecuteError", error);
    }
}

fn of_building(all: &mut Failures) {
    let build = "kiln-build BuildError";
    let title = || text("debian-12: configure 122 OS packages");
    for error in [
        BuildError::Fetch(FetchError::Cancelled),
        BuildError::Step {
            title: title(),
            key: digest(),
            source: Box::new(ExecuteError::Blob(ErrorKind::StorageFull.into())),
        },
        BuildError::NotRepeatable {
            title: title(),
            difference: text("`/var/log/x` has other content"),
        },
        BuildError::Unreproducible {
            title: text("wheel of pyspark 4.0"),
            expected: digest(),
            found: Digest::of(b"other"),
        },
        BuildError::FamilyFile {
            path: text("ides/jupyter/start.sh"),
            expected: digest(),
        },
        BuildError::Plan(PlanError::Dangling(text("set `linux/amd64 debian-12`"))),
        BuildError::Store(StoreError::MissingBlob(digest())),
        BuildError::Conflict {
            path: text("/usr/bin/x"),
            lower: text("bash"),
            upper: text("numpy"),
        },
        BuildError::Layer {
            digest: digest(),
            source: kiln_layer::ReadError::Limit("entries"),
        },
        BuildError::Image(ImageError::Env(text("PATH"))),
        BuildError::Interrupted,
    ] {
        all.add(build, error);
    }
}

fn of_libraries(all: &mut Failures) {
    let file = || text("numpy-2.4.6-cp311-cp311-linux_x86_64.whl");
    let source = LibrariesError::TooMuch;
    let spool = LibrariesError::Spool {
        name: text("numpy/core.so"),
        source: denied(),
    };
    for error in [
        LibraryError::Store(StoreError::MissingBlob(digest())),
        LibraryError::Open {
            path: "/store/downloads/sha256/00".into(),
            source: denied(),
        },
        LibraryError::Damaged { file: file() },
        LibraryError::Read {
            file: file(),
            source,
        },
        LibraryError::Read {
            file: file(),
            source: spool,
        },
    ] {
        all.add("kiln-build LibraryError", error);
    }
}

fn of_sandboxes(all: &mut Failures) {
    let argv = || vec![text("/bin/sh"), text("-c"), text("make")];
    let reason = || text("why not");
    for error in [
        SandboxError::NoUserNamespaces {
            reason: text("user.max_user_namespaces is 0"),
            hint: text("as root, `sysctl -w user.max_user_namespaces=15000`"),
        },
        SandboxError::Ids {
            reason: text("a command runs as 1001:0, and this user has no subordinate ids"),
            hint: Some(text("add a line for this user to /etc/subuid")),
        },
        SandboxError::CommandFailed {
            argv: argv(),
            status: ExitStatus::Exited(3),
            cause: None,
            tail: vec![text("what it printed last")],
            state: None,
        },
        SandboxError::CommandFailed {
            argv: argv(),
            status: ExitStatus::Exited(2),
            cause: Some(std::io::Error::from_raw_os_error(28).into()), // ENOSPC
            tail: vec![text("make: write error")],
            state: None,
        },
        SandboxError::CommandNotStarted {
            argv: argv(),
            reason: reason(),
        },
        SandboxError::Limit {
            resource: Resource::Memory,
            allowed: 8 << 30,
            found: 9 << 30,
        },
        SandboxError::LeftProcesses {
            names: vec![text("sleep")],
        },
        SandboxError::Step {
            step: text("write `/etc/hosts`"),
            cause: reason().into(),
        },
        SandboxError::Tree(TreeError::Damaged {
            expected: digest(),
            found: Digest::of(b"other"),
        }),
        SandboxError::Tree(TreeError::File {
            action: text("write"),
            path: text("usr/bin/python3"),
            cause: std::io::Error::from_raw_os_error(28).into(), // ENOSPC
        }),
        SandboxError::Cancelled,
        SandboxError::Setup {
            what: text("mount overlayfs"),
            cause: reason().into(),
        },
        SandboxError::WorkerDied(text("killed by signal 9")),
        SandboxError::Io {
            what: text("no pipe could be made"),
            source: denied(),
        },
    ] {
        all.add("kiln-sandbox SandboxError", error);
    }
}

fn of_stores(all: &mut Failures) {
    let document = || DocumentError::Invalid {
        what: "image index",
        source: no_json(),
    };
    for error in [
        StoreError::NoHome,
        StoreError::NotAStore("/srv".into()),
        StoreError::NewerFormat {
            path: "/store".into(),
            found: 2,
        },
        StoreError::Damaged {
            path: "/store/index.json".into(),
            source: Box::new(document()),
        },
        StoreError::Io {
            action: "write",
            path: "/store/tmp/x".into(),
            source: denied(),
        },
        StoreError::WrongSize {
            digest: digest(),
            expected: 10,
            written: 9,
        },
        StoreError::MissingBlob(digest()),
        StoreError::CorruptBlob(digest()),
        StoreError::Image {
            name: text("foreign"),
            source: ImageError::LayerCount {
                layers: 2,
                diff_ids: 1,
            },
        },
        StoreError::SeveralPlatforms(text("two")),
        StoreError::Name(LayoutError::Name(text("a b"))),
    ] {
        all.add("kiln-store StoreError", error);
    }
    for error in [
        ImageError::Env(text("PATH")),
        ImageError::DuplicatePlatform(kiln_oci::Platform {
            os: text("linux"),
            architecture: text("amd64"),
        }),
        ImageError::Document(document()),
        ImageError::OtherConfig {
            expected: text("sha256:0"),
            found: digest(),
        },
        ImageError::LayerCount {
            layers: 2,
            diff_ids: 1,
        },
        ImageError::Layer {
            index: 0,
            problem: "has no size",
        },
    ] {
        all.add("kiln-oci ImageError", error);
    }
    for error in [
        ArchiveError::OpenLayer {
            digest: digest(),
            source: ErrorKind::NotFound.into(),
        },
        ArchiveError::Write {
            what: text("index.json"),
            source: denied(),
        },
        ArchiveError::Write {
            what: text("blob"),
            source: ErrorKind::InvalidData.into(),
        },
        ArchiveError::NotALayout("/srv".into()),
        ArchiveError::Layout(LayoutError::Name(text("a b"))),
    ] {
        all.add("kiln-oci ArchiveError", error);
    }
}

fn of_saved(all: &mut Failures) {
    let path = || PathBuf::from("/srv/image.tar");
    for error in [
        SavedError::NotALayout(path()),
        SavedError::Read {
            what: text("index.json"),
            source: denied(),
        },
        SavedError::NoImage {
            path: path(),
            name: text("jupyter"),
        },
        SavedError::Damaged(digest()),
        SavedError::Document(DocumentError::TooLarge { size: 5 << 20 }),
        SavedError::Layout(LayoutError::Name(text("a b"))),
    ] {
        all.add("kiln-oci SavedError", error);
    }
}

#[test]
fn what_commands_end_with_and_what_they_hint_at() {
    let output = Output::new(&Global::default());
    let mut list = String::new();
    for (name, failure) in failures() {
        let said = output.failure_text(&failure);
        writeln!(list, "{name}, exit code {}\n{said}", failure.code).unwrap();
    }
    insta::assert_snapshot!(list);
}

#[test]
fn every_variant_that_commands_end_with_is_in_the_list() {
    let shown: BTreeSet<_> = failures().into_iter().map(|(name, _)| name).collect();
    let outermost = |name: &String| {
        let of = name.rsplit_once(' ').map(|(of, _)| of);
        of.is_some_and(|of| OUTERMOST.contains(&of))
    };
    let declared: BTreeSet<_> = words()
        .into_keys()
        .map(|(name, _)| name)
        .filter(outermost)
        .collect();
    assert!(declared.len() > 80, "the sources were read");
    let missing: Vec<_> = declared.difference(&shown).collect();
    assert!(missing.is_empty(), "not in the list: {missing:#?}");
}
