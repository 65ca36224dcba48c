//! Actions, builds, what archives hold, the sandbox.

use std::io::ErrorKind;

use kiln_build::{
    BuildError, BuildWheelError, BytecodeError, ConfigureError, ExecuteError, LibraryError,
};
use kiln_digest::Digest;
use kiln_fetch::FetchError;
use kiln_layer::{CorruptPayload, EntryPathError, LayerError, MergeError};
use kiln_oci::ImageError;
use kiln_package::libraries::LibrariesError;
use kiln_plan::PlanError;
use kiln_recipe::Platform;
use kiln_sandbox::{ExitStatus, Resource, SandboxError, TreeError};
use kiln_store::StoreError;

use super::{Failures, denied, digest, path, text};

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

pub(super) fn of_actions(all: &mut Failures) {
    for error in actions() {
        all.add("kiln-build ExecuteError", error);
    }
}

pub(super) fn of_building(all: &mut Failures) {
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

pub(super) fn of_libraries(all: &mut Failures) {
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

pub(super) fn of_sandboxes(all: &mut Failures) {
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
