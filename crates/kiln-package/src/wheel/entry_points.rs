//! `entry_points.txt` and the launchers that it asks for.
//!
//! Source: the Python packaging specification "Entry points". Where it leaves something open, this reads
//! as `importlib.metadata` and pip do.

use std::collections::BTreeMap;

use kiln_layer::EntryPath;

use super::WheelError;

/// The longest `#!` line (with its end) that Linux has always accepted (`BINPRM_BUF_SIZE`).
const MAX_SHEBANG: usize = 127;

/// The entry points that become commands: name → object reference, as written.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct EntryPoints {
    console: BTreeMap<String, String>,
    gui: BTreeMap<String, String>,
}

impl EntryPoints {
    /// Reads the groups `console_scripts` and `gui_scripts`. The last of equal names counts.
    pub(super) fn parse(file: &str, text: &str) -> Result<Self, WheelError> {
        let mut points = Self::default();
        let mut section = "";
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if line.starts_with('[') && line.ends_with(']') {
                section = line.trim_matches(['[', ']']);
                continue;
            }
            let group = match section {
                "console_scripts" => &mut points.console,
                "gui_scripts" => &mut points.gui,
                _ => continue,
            };
            let (name, value) = line.split_once('=').ok_or_else(|| WheelError::Malformed {
                path: file.to_owned(),
                reason: format!("line {}: no `=`", number + 1),
            })?;
            group.insert(name.trim().to_owned(), value.trim().to_owned());
        }
        Ok(points)
    }

    /// Whether a file of the `scripts` scheme is a launcher that the build tool put there for
    /// one of these entry points: installers write their own.
    pub(super) fn replaces(&self, script: &str) -> bool {
        let stem = |suffix: &str| {
            let cut = script.len().checked_sub(suffix.len())?;
            let tail = script.get(cut..)?;
            tail.eq_ignore_ascii_case(suffix).then(|| &script[..cut])
        };
        let name = stem(".exe")
            .or_else(|| stem("-script.py"))
            .or_else(|| stem(".pya"))
            .unwrap_or(script);
        self.console.contains_key(name) || self.gui.contains_key(name)
    }

    /// The launchers: file name → text.
    pub(super) fn launchers(
        mut self,
        (major, minor): (u8, u8),
        interpreter: &str,
    ) -> Result<BTreeMap<String, String>, WheelError> {
        // Names with a version in them are baked into a wheel for the Python that built it.
        // pip replaces them by those of the Python at hand; so does everybody, for pip's sake.
        for (tool, versioned) in [
            (
                "pip",
                [format!("pip{major}"), format!("pip{major}.{minor}")].as_slice(),
            ),
            (
                "easy_install",
                [format!("easy_install-{major}.{minor}")].as_slice(),
            ),
        ] {
            let Some(value) = self.console.get(tool).cloned() else {
                continue;
            };
            self.console
                .retain(|name, _| name == tool || !is_versioned(tool, name));
            for name in versioned {
                self.console.insert(name.clone(), value.clone());
            }
        }
        let mut launchers = BTreeMap::new();
        // A GUI launcher of the same name comes later, as in pip.
        for (name, value) in self.console.iter().chain(&self.gui) {
            launchers.insert(name.clone(), launcher(name, value, interpreter)?);
        }
        Ok(launchers)
    }
}

/// `pip3`, `pip3.11`; `easy_install-3.11`.
fn is_versioned(tool: &str, name: &str) -> bool {
    let Some(version) = name.strip_prefix(tool) else {
        return false;
    };
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match (tool, version.split_once('.')) {
        ("pip", None) => is_number(version),
        ("pip", Some((major, minor))) => is_number(major) && is_number(minor),
        (_, Some((major, minor))) => {
            major.strip_prefix('-').is_some_and(is_number) && is_number(minor)
        }
        _ => version.is_empty(),
    }
}

/// The text of one launcher, byte for byte what pip 26 writes.
fn launcher(name: &str, value: &str, interpreter: &str) -> Result<String, WheelError> {
    let error = |reason| WheelError::EntryPoint {
        name: name.to_owned(),
        value: value.to_owned(),
        reason,
    };
    let is_file_name = EntryPath::new(name).is_ok() && !name.contains('/');
    if !is_file_name || name.contains(|part: char| part.is_whitespace() || part.is_control()) {
        return Err(error("the name is no plain file name"));
    }
    let (module, function) = object_reference(value)
        .split_once(':')
        .ok_or_else(|| error("it names no function of a module"))?;
    if module.is_empty() || function.is_empty() || function.contains(':') {
        return Err(error("it names no function of a module"));
    }
    let import = function.split('.').next().unwrap_or(function);
    let shebang = shebang(interpreter);
    Ok(format!(
        "{shebang}\
         import sys\n\
         from {module} import {import}\n\
         if __name__ == '__main__':\n\
         \x20   sys.argv[0] = sys.argv[0].removesuffix('.exe')\n\
         \x20   sys.exit({function}())\n"
    ))
}

/// The longest start of `value` of the form `word((.|:)word)*`. What follows it (extras, which
/// mean nothing once a package is installed) is ignored.
fn object_reference(value: &str) -> &str {
    let is_word = |character: char| character.is_alphanumeric() || character == '_';
    let mut end = 0;
    loop {
        let word = value[end..]
            .find(|next| !is_word(next))
            .unwrap_or(value.len() - end);
        if word == 0 {
            // A separator without a word behind it does not belong to the reference.
            return value[..end].trim_end_matches(['.', ':']);
        }
        end += word;
        if !value[end..].starts_with(['.', ':']) {
            return &value[..end];
        }
        end += 1;
    }
}

/// The first line or lines of a launcher. A path that is too long for a `#!` line goes through
/// the shell, in lines that Python reads as a string.
fn shebang(interpreter: &str) -> String {
    if "#!".len() + interpreter.len() + "\n".len() <= MAX_SHEBANG {
        format!("#!{interpreter}\n")
    } else {
        format!("#!/bin/sh\n'''exec' {interpreter} \"$0\" \"$@\"\n' '''\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PYTHON: &str = "/opt/app-root/bin/python3.11";

    fn names(text: &str) -> Vec<String> {
        let points = EntryPoints::parse("entry_points.txt", text).unwrap();
        points
            .launchers((3, 11), PYTHON)
            .unwrap()
            .into_keys()
            .collect()
    }

    #[test]
    fn only_commands_are_read_and_comments_are_not() {
        let text = "lost = a:b\n[console_scripts]\n # x = y:z\n a=m:f\n\n[other]\nnonsense\n\
                    [gui_scripts]\r\ng = m:g\r\n";
        assert_eq!(names(text), ["a", "g"]);
    }

    #[test]
    fn the_last_of_equal_names_counts() {
        let text = "[console_scripts]\na = m:first\na = m:second\n";
        let points = EntryPoints::parse("", text).unwrap();
        let launchers = points.launchers((3, 11), PYTHON).unwrap();
        assert!(launchers["a"].contains("import second\n"));
    }

    #[test]
    fn pip_gets_the_versions_of_this_python() {
        let text = "[console_scripts]\npip = p:m\npip3 = p:m\npip3.7 = p:m\npipx = x:y\n\
                    pip3.7.1 = z:z\n";
        assert_eq!(names(text), ["pip", "pip3", "pip3.11", "pip3.7.1", "pipx"]);
        let text = "[console_scripts]\neasy_install = p:m\neasy_install-3.6 = p:m\npip3.7 = a:b\n";
        assert_eq!(names(text), ["easy_install", "easy_install-3.11", "pip3.7"]);
    }

    #[test]
    fn references_may_have_attributes_and_extras() {
        assert_eq!(
            launcher("x", "a.b:C.d.e [extra1,extra2]", PYTHON).unwrap(),
            "#!/opt/app-root/bin/python3.11\n\
             import sys\n\
             from a.b import C\n\
             if __name__ == '__main__':\n    \
             sys.argv[0] = sys.argv[0].removesuffix('.exe')\n    \
             sys.exit(C.d.e())\n"
        );
        assert_eq!(object_reference("m:f()"), "m:f");
        assert_eq!(object_reference("m:f."), "m:f");
        assert_eq!(object_reference("módulo:función"), "módulo:función");
        assert_eq!(object_reference(""), "");
    }

    #[test]
    fn a_long_interpreter_goes_through_the_shell() {
        let fits = format!("/{}", "a".repeat(123));
        assert_eq!(shebang(&fits), format!("#!{fits}\n"));
        let long = format!("/{}", "a".repeat(124));
        assert_eq!(
            shebang(&long),
            format!("#!/bin/sh\n'''exec' {long} \"$0\" \"$@\"\n' '''\n")
        );
    }

    #[test]
    fn what_cannot_be_a_command_is_refused() {
        for (name, value) in [
            ("x", "module"),
            ("x", "module:"),
            ("x", ":function"),
            ("x", "a:b:c"),
            ("x", ""),
            ("", "a:b"),
            ("..", "a:b"),
            ("../x", "a:b"),
            ("/x", "a:b"),
            ("a/x", "a:b"),
            ("a b", "a:b"),
        ] {
            assert!(launcher(name, value, PYTHON).is_err(), "{name} = {value}");
        }
    }

    #[test]
    fn launchers_of_build_tools_are_recognised() {
        let points = EntryPoints::parse("", "[console_scripts]\nrun = m:f\n").unwrap();
        for script in ["run", "run.exe", "run.EXE", "run-script.py", "run.pya"] {
            assert!(points.replaces(script), "{script}");
        }
        for script in ["run2", "run.py", "é.exe", ""] {
            assert!(!points.replaces(script), "{script}");
        }
    }
}
