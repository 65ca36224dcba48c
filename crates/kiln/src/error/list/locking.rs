//! Sources, locks, choosing versions.

use std::{io::ErrorKind, path::Path};

use kiln_digest::Digest;
use kiln_fetch::{FetchError, SourceError, Subject, Transport, Url, UrlError};
use kiln_lock::{Difference, LockError, Stale};
use kiln_recipe::{ComponentId, ComponentKind};
use kiln_resolve::{
    ResolveError,
    deb::{DebError, ReleaseError, SolveError, signature::SignatureError},
    python::PythonError,
};

use super::{Failures, at, digest, text, variant};
use crate::error::Failure;

pub(super) fn of_fetching(all: &mut Failures) {
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

pub(super) fn of_locking(all: &mut Failures) {
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
    let cause = FetchError::Offline {
        from: text("pypi"),
        what: text("page of project `numpy`"),
    };
    let (project, cause) = (text("numpy"), Box::new(cause));
    all.add(resolve, ResolveError::Versions { project, cause });
}
