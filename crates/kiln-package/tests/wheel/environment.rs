//! The empty environment, used by shells and by Python itself.

use std::{fs, process::Command};

use kiln_layer::{EntryKind, EntryPath, Payload};
use kiln_package::wheel::{Placement, WheelError, venv};

fn placement(prefix: &str) -> Placement {
    Placement {
        prefix: EntryPath::new(prefix).unwrap(),
        python: (3, 13),
        uid: 1001,
        gid: 0,
        directory_mode: 0o775,
        file_mode: 0o664,
        executable_mode: 0o775,
    }
}

fn file(prefix: &str, path: &str) -> String {
    let entries = venv(&placement(prefix), "/usr/bin/python3.13").unwrap();
    let entry = entries
        .iter()
        .find(|entry| entry.path.to_string() == format!("{prefix}/{path}"))
        .unwrap();
    match &entry.kind {
        EntryKind::File(Payload::Plain(content)) => String::from_utf8(content.to_vec()).unwrap(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_environment_is_what_venv_makes() {
    let listed: Vec<String> = venv(&placement("opt/app-root"), "/usr/bin/python3.13")
        .unwrap()
        .into_iter()
        .map(|entry| match entry.kind {
            EntryKind::Directory => format!("{}/ {:o}", entry.path, entry.mode),
            EntryKind::Symlink(target) => {
                format!("{} -> {}", entry.path, String::from_utf8(target).unwrap())
            }
            _ => format!("{} {:o}", entry.path, entry.mode),
        })
        .collect();
    assert_eq!(
        listed,
        [
            "opt/app-root/ 775",
            "opt/app-root/bin/ 775",
            "opt/app-root/bin/activate 664",
            "opt/app-root/bin/activate.csh 664",
            "opt/app-root/bin/activate.fish 664",
            "opt/app-root/bin/python -> python3.13",
            "opt/app-root/bin/python3 -> python3.13",
            "opt/app-root/bin/python3.13 -> /usr/bin/python3.13",
            "opt/app-root/include/ 775",
            "opt/app-root/include/python3.13/ 775",
            "opt/app-root/lib/ 775",
            "opt/app-root/lib/python3.13/ 775",
            "opt/app-root/lib/python3.13/site-packages/ 775",
            "opt/app-root/lib64 -> lib",
            "opt/app-root/pyvenv.cfg 664",
        ]
    );
    assert_eq!(
        file("opt/app-root", "pyvenv.cfg"),
        "home = /usr/bin\n\
         include-system-site-packages = false\n\
         version = 3.13\n\
         executable = /usr/bin/python3.13\n\
         command = /usr/bin/python3.13 -m venv --without-pip /opt/app-root\n"
    );
}

#[test]
fn a_base_with_another_name_is_linked_by_that_name() {
    let entries = venv(&placement("p"), "/usr/local/bin/python3").unwrap();
    let links: Vec<(String, &[u8])> = entries
        .iter()
        .filter_map(|entry| match &entry.kind {
            EntryKind::Symlink(target) => Some((entry.path.to_string(), &target[..])),
            _ => None,
        })
        .collect();
    let link = |path: &str| (format!("p/bin/{path}"), &b"python3"[..]);
    assert_eq!(links[0], link("python"));
    assert_eq!(
        links[1],
        ("p/bin/python3".to_owned(), &b"/usr/local/bin/python3"[..])
    );
    assert_eq!(links[2], link("python3.13"));
}

#[test]
fn a_base_that_is_no_absolute_path_is_refused() {
    for base in [
        "python3",
        "bin/python3",
        "/usr/bin/",
        "",
        "/usr/bin/python\nhome = /x",
    ] {
        let outcome = venv(&placement("p"), base);
        assert!(matches!(outcome, Err(WheelError::Interpreter(_))), "{base}");
    }
}

/// What a shell prints that sources `activate` and then runs `commands`.
fn in_shell(shell: &str, commands: &str) -> String {
    let directory = tempfile::tempdir().unwrap();
    let script = directory.path().join("activate");
    fs::write(&script, file("opt/app-root", "bin/activate")).unwrap();
    let show = "echo \"$1|${VIRTUAL_ENV-unset}|${VIRTUAL_ENV_PROMPT-unset}|$PATH|$PS1|${PYTHONHOME-unset}\"";
    let text = format!(
        "set -eu\nPS1='> '\nshow() {{ {show}; }}\nACTIVATE='{}'\n{commands}",
        script.display()
    );
    let output = Command::new(shell)
        .args(["-c", &text])
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("PYTHONHOME", "/elsewhere")
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && errors.is_empty(),
        "{shell}: {errors}"
    );
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn activating_and_leaving_again_restores_everything() {
    for shell in ["bash", "dash"] {
        assert_eq!(
            in_shell(
                shell,
                ". \"$ACTIVATE\"\nshow on\ndeactivate\nshow off\ncommand -v deactivate || :"
            ),
            "on|/opt/app-root|app-root|/opt/app-root/bin:/usr/bin:/bin|(app-root) > |unset\n\
             off|unset|unset|/usr/bin:/bin|> |/elsewhere\n",
            "{shell}"
        );
    }
}

#[test]
fn activating_twice_is_like_activating_once() {
    let twice = ". \"$ACTIVATE\"\n. \"$ACTIVATE\"\nshow on\ndeactivate\nshow off";
    assert_eq!(
        in_shell("bash", twice),
        "on|/opt/app-root|app-root|/opt/app-root/bin:/usr/bin:/bin|(app-root) > |unset\n\
         off|unset|unset|/usr/bin:/bin|> |/elsewhere\n"
    );
}

#[test]
fn the_prompt_stays_when_the_user_wants_that() {
    let printed = in_shell(
        "bash",
        "VIRTUAL_ENV_DISABLE_PROMPT=1\n. \"$ACTIVATE\"\nshow on",
    );
    assert!(printed.ends_with("|> |unset\n"), "{printed}");
}

#[test]
fn no_placeholder_is_left_in_a_script() {
    for script in ["bin/activate", "bin/activate.csh", "bin/activate.fish"] {
        let text = file("opt/app-root", script);
        assert!(
            text.contains("/opt/app-root") && !text.contains('@'),
            "{script}"
        );
    }
}
