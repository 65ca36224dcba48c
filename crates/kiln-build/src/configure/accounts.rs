//! `/etc/passwd`, `/etc/group` and `/etc/shadow`: passwd(5), group(5), shadow(5).

use std::collections::BTreeSet;
use std::fmt::Write as _;

use kiln_plan::UserEntry;

const SECONDS_OF_A_DAY: i64 = 86_400;
/// The field of `/etc/shadow` that says on which day the password was last changed.
const DAY_FIELD: usize = 2;

/// Brings the days on which passwords were last changed to that of `time`, but for lines that
/// `below` has: those are of the layers below.
pub(super) fn with_days(shadow: &str, below: &str, time: i64) -> String {
    let kept: BTreeSet<&str> = below.lines().collect();
    let day = time.div_euclid(SECONDS_OF_A_DAY).to_string();
    let mut text = String::with_capacity(shadow.len());
    for line in shadow.lines() {
        let mut fields: Vec<&str> = line.split(':').collect();
        if !kept.contains(line) && fields.get(DAY_FIELD).is_some_and(|day| !day.is_empty()) {
            fields[DAY_FIELD] = &day;
        }
        text.push_str(&fields.join(":"));
        text.push('\n');
    }
    text
}

/// The lines that make a user, to be appended to the files of the same names.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) passwd: String,
    pub(super) group: String,
    pub(super) shadow: String,
    pub(super) gshadow: String,
}

/// What `user` needs where `passwd` and `group` are what they are: nothing when the name or the
/// id is taken, and no group when there is one with the id. Nobody can log in by a password.
pub(super) fn account(user: &UserEntry, passwd: &str, group: &str, time: i64) -> Account {
    let mut account = Account::default();
    let UserEntry {
        name,
        uid,
        gid,
        home,
        shell,
    } = user;
    let is_taken = |line: &str| field(line, 0) == name || field(line, 2) == uid.to_string();
    if passwd.lines().any(is_taken) {
        return account;
    }
    let day = time.div_euclid(SECONDS_OF_A_DAY);
    // Writing to a string cannot fail.
    // As the other lines: without /etc/shadow they say `*`.
    let password = match passwd.lines().next().map_or("x", |line| field(line, 1)) {
        "x" => "x",
        _ => "*",
    };
    let _ = writeln!(
        account.passwd,
        "{name}:{password}:{uid}:{gid}::{home}:{shell}"
    );
    let _ = writeln!(account.shadow, "{name}:!:{day}:0:99999:7:::");
    let has_id = |line: &str| field(line, 2) == gid.to_string();
    let has_name = |line: &str| field(line, 0) == name;
    if !group.lines().any(|line| has_id(line) || has_name(line)) {
        let _ = writeln!(account.group, "{name}:x:{gid}:");
        let _ = writeln!(account.gshadow, "{name}:!::");
    }
    account
}

fn field(line: &str, index: usize) -> &str {
    line.split(':').nth(index).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(uid: u32, gid: u32) -> UserEntry {
        UserEntry {
            name: "default".into(),
            uid,
            gid,
            home: "/opt/app-root/src".into(),
            shell: "/bin/bash".into(),
        }
    }

    #[test]
    fn days_of_new_lines_are_set() {
        let below = "root:*:19000:0:99999:7:::\nsync:!::::::\n";
        let shadow = format!("{below}sshd:!:20774::::::\n_apt:!*::::::\n");
        assert_eq!(
            with_days(&shadow, below, 19_500 * 86_400 + 5),
            format!("{below}sshd:!:19500::::::\n_apt:!*::::::\n")
        );
    }

    #[test]
    fn a_user_in_the_group_root_needs_no_group() {
        let account = account(
            &user(1001, 0),
            "root:x:0:0::/:/bin/sh\n",
            "root:x:0:\n",
            86_400,
        );
        assert_eq!(
            account.passwd,
            "default:x:1001:0::/opt/app-root/src:/bin/bash\n"
        );
        assert_eq!(account.shadow, "default:!:1:0:99999:7:::\n");
        assert_eq!((account.group.as_str(), account.gshadow.as_str()), ("", ""));
    }

    #[test]
    fn a_system_without_shadow_has_no_passwords_there() {
        let passwd = account(&user(1001, 0), "root:*:0:0::/:/bin/sh\n", "", 0).passwd;
        assert_eq!(passwd, "default:*:1001:0::/opt/app-root/src:/bin/bash\n");
    }

    #[test]
    fn a_group_of_its_own_is_made() {
        let account = account(&user(1001, 1002), "", "root:x:0:\n", 0);
        assert_eq!(account.group, "default:x:1002:\n");
        assert_eq!(account.gshadow, "default:!::\n");
    }

    #[test]
    fn who_has_the_name_or_the_id_already_keeps_it() {
        for passwd in ["default:x:5:5::/:/bin/sh\n", "other:x:1001:5::/:/bin/sh\n"] {
            assert_eq!(account(&user(1001, 0), passwd, "", 0), Account::default());
        }
    }
}
