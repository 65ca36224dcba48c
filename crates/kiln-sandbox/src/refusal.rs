//! Why a machine refuses user namespaces, and what to do about it.

use std::fs;

use crate::SandboxError;

/// The switches that forbid user namespaces, the value that does, and the one that allows them.
const SWITCHES: [(&str, &str, &str); 3] = [
    ("user.max_user_namespaces", "0", "15000"),
    ("kernel.unprivileged_userns_clone", "0", "1"),
    ("kernel.apparmor_restrict_unprivileged_userns", "1", "0"),
];

/// Finds what made the kernel refuse `what` with this error number.
pub(crate) fn explain(what: &str, os_error: i32) -> SandboxError {
    let read = |name: &str| {
        fs::read_to_string(format!("/proc/sys/{}", name.replace('.', "/")))
            .ok()
            .map(|text| text.trim().to_owned())
    };
    let (reason, hint) = found(read, rustix::process::geteuid().is_root(), what, os_error);
    SandboxError::NoUserNamespaces {
        reason,
        hint: format!(
            "{hint}; images without configured packages are built without: `--pack-only`"
        ),
    }
}

fn found(
    read: impl Fn(&str) -> Option<String>,
    root: bool,
    what: &str,
    os_error: i32,
) -> (String, String) {
    for (name, forbids, allows) in SWITCHES {
        // The last two do not concern root.
        let concerns = !root || name == "user.max_user_namespaces";
        if concerns && read(name).as_deref() == Some(forbids) {
            return (
                format!("{name} is {forbids}"),
                format!("enable them as root: `sysctl -w {name}={allows}`"),
            );
        }
    }
    let error = std::io::Error::from_raw_os_error(os_error);
    (
        format!("{what}: {error}"),
        "in a container, its seccomp or security profile forbids them: run it with \
         `--security-opt seccomp=unconfined --security-opt apparmor=unconfined --security-opt \
         systempaths=unconfined`"
            .to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_switch_that_forbids_is_named_with_the_value_that_allows() {
        for (name, forbids, allows) in SWITCHES {
            let read = |asked: &str| (asked == name).then(|| forbids.to_owned());
            let (reason, hint) = found(read, false, "unshare", libc::EPERM);
            assert_eq!(reason, format!("{name} is {forbids}"));
            assert!(
                hint.contains(&format!("sysctl -w {name}={allows}")),
                "{hint}"
            );
        }
    }

    #[test]
    fn switches_for_plain_users_do_not_explain_what_root_is_refused() {
        let read = |asked: &str| {
            (asked != "user.max_user_namespaces")
                .then(|| if asked.contains("apparmor") { "1" } else { "0" }.to_owned())
        };
        let (reason, hint) = found(read, true, "unshare", libc::EPERM);
        assert!(reason.starts_with("unshare: "), "{reason}");
        assert!(hint.contains("seccomp=unconfined"), "{hint}");
    }
}
